//! What is logged: levels by target, as `info,worker=debug`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Levels by target.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Filter(Targets);

impl Filter {
    /// Reads `LEVEL`, `TARGET=LEVEL`, or several with commas between.
    ///
    /// `Targets` itself takes an unknown word for a target and then logs nothing else, so that
    /// `verbose` would mean silence; here it is an error. A target may leave out `forebay::`.
    /// An empty text counts as not said, and means `info`.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::level(LevelFilter::INFO));
        }
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            targets = match directive.split_once('=') {
                None => targets.with_default(level(directive)?),
                Some((target, name)) => {
                    let level = level(name.trim())?;
                    let target = target.trim();
                    targets
                        .with_target(target, level)
                        .with_target(format!("forebay::{target}"), level)
                }
            };
        }
        Ok(Self(targets))
    }

    /// This level for every target.
    pub(in crate::cli) fn level(level: LevelFilter) -> Self {
        Self(Targets::new().with_default(level))
    }

    pub(super) fn into_targets(self) -> Targets {
        self.0
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    name.parse().map_err(|_| {
        format!("`{name}` is no level; expected off, error, warn, info, debug or trace")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn targets_may_leave_out_the_name_of_the_program() {
        let targets = Filter::parse("warn, worker=debug").unwrap().into_targets();
        assert!(targets.would_enable("forebay::worker::accept", &Level::DEBUG));
        assert!(targets.would_enable("forebay::control", &Level::WARN));
        assert!(!targets.would_enable("forebay::control", &Level::INFO));
    }

    #[test]
    fn empty_variable_is_no_silence() {
        assert!(Filter::parse("").unwrap().into_targets().would_enable("any", &Level::INFO));
    }

    #[test]
    fn unknown_level_is_an_error() {
        assert!(Filter::parse("verbose").unwrap_err().contains("expected off, error"));
        assert!(Filter::parse("info,worker=loud").unwrap_err().contains("`loud`"));
    }
}
