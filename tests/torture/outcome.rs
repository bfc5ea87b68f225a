//! What happened in a case, as a value and as one line, and what should have happened.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use super::support::Pattern;

/// How a stream of bytes ended for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By a FIN: all was sent.
    Fin,
    /// By a reset: something is missing.
    Reset,
    /// Not at all, for as long as was waited.
    Never,
}

/// What one end of a connection read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes that came before the first wrong one.
    pub bytes: u64,
    /// Bytes that should have come: all that the proxy's kernel had taken.
    pub of: u64,
    /// True exactly when a byte came that had not been sent at its place.
    pub wrong: bool,
    /// How it ended.
    pub ending: Ending,
}

/// What happened in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What the client read, where the case is about that.
    pub client: Option<Received>,
    /// What the upstream read, where the case is about that; `None` also if there was none.
    pub upstream: Option<Received>,
    /// How long it took, where the case is about that.
    pub after: Option<Duration>,
}

/// What should happen: whoever is named reads every byte, and then this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Should {
    /// How it ends for the client.
    pub client: Option<Ending>,
    /// How it ends for the upstream.
    pub upstream: Option<Ending>,
    /// The longest that it may take.
    pub within: Option<Duration>,
}

impl Should {
    /// Nothing said of anybody yet.
    pub const NOTHING: Self = Self { client: None, upstream: None, within: None };

    /// The client reads all, then this.
    pub const fn client(self, ending: Ending) -> Self {
        Self { client: Some(ending), ..self }
    }

    /// The upstream reads all, then this.
    pub const fn upstream(self, ending: Ending) -> Self {
        Self { upstream: Some(ending), ..self }
    }

    /// So long at most.
    pub const fn within(self, milliseconds: u64) -> Self {
        Self { within: Some(Duration::from_millis(milliseconds)), ..self }
    }

    /// True exactly when all of it happened.
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        let all_then = |ending: Option<Ending>, received: Option<Received>| match ending {
            None => true,
            Some(ending) => received.is_some_and(|it| it.is_whole() && it.ending == ending),
        };
        all_then(self.client, outcome.client)
            && all_then(self.upstream, outcome.upstream)
            && self.within.is_none_or(|bound| outcome.after.is_some_and(|after| after <= bound))
    }
}

impl Received {
    /// Nothing has come yet of so many bytes.
    pub fn nothing_yet(of: u64) -> Self {
        Self { bytes: 0, of, wrong: false, ending: Ending::Never }
    }

    /// Counts what came next, up to the first byte that is not the pattern's.
    pub fn take(&mut self, pattern: Pattern, bytes: &[u8]) {
        if self.wrong {
            return;
        }
        let difference = pattern.first_difference(self.bytes, bytes);
        self.bytes = difference.unwrap_or(self.bytes + bytes.len() as u64);
        self.wrong = difference.is_some();
    }

    /// True exactly when every byte came.
    pub fn is_whole(&self) -> bool {
        self.bytes == self.of && !self.wrong
    }
}

impl Display for Ending {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fin => "FIN",
            Self::Reset => "RST",
            Self::Never => "no end",
        })
    }
}

impl Display for Received {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match (self.is_whole(), self.wrong) {
            (true, _) if self.of == 0 => {}
            (true, _) => write!(f, "all {} B, ", self.of)?,
            (false, false) => write!(f, "{} of {} B, ", self.bytes, self.of)?,
            (false, true) => write!(f, "a wrong byte after {} of {} B, ", self.bytes, self.of)?,
        }
        write!(f, "{}", self.ending)
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let client = self.client.map(|it| format!("client: {it}"));
        let upstream = self.upstream.map(|it| format!("upstream: {it}"));
        let after = self.after.map(|it| format!("after {:.2} s", it.as_secs_f64()));
        let parts: Vec<String> = [client, upstream, after].into_iter().flatten().collect();
        f.write_str(&parts.join("; "))
    }
}

impl Display for Should {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let client = self.client.map(|ending| format!("client: all, {ending}"));
        let upstream = self.upstream.map(|ending| format!("upstream: all, {ending}"));
        let within = self.within.map(|it| format!("within {:.2} s", it.as_secs_f64()));
        let parts: Vec<String> = [client, upstream, within].into_iter().flatten().collect();
        f.write_str(&parts.join("; "))
    }
}
