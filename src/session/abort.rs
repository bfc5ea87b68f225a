//! The end of a session of which one side is broken: the other gets what had arrived, then a reset.

use std::time::{Duration, Instant};

use super::Want;
use super::Who;
use super::half::{Flow, Half};
use super::side::{Ended, Side};
use super::turn::Turn;
use crate::config::Timeouts;
use crate::net::Stream;
use crate::plugin::{Cause, EndReason, Phase};

/// There is no event for "all was acknowledged", so it is asked for: at first so often,
const SOONEST: Duration = Duration::from_millis(1);
/// and in the end so seldom.
const LATEST: Duration = Duration::from_millis(50);

/// The state of an abort.
#[derive(Debug)]
pub(super) struct Abort {
    survivor: Who,
    /// `timeout.abort`, which starts anew with every progress.
    patience: Duration,
    /// `timeout.idle` bounds the whole.
    until: Option<Instant>,
    progress: Instant,
    /// Least that was held and unacknowledged so far.
    least: usize,
    moved: u64,
    poll: Instant,
    delay: Duration,
}

impl Abort {
    pub(super) fn new(survivor: Who, now: Instant, timeouts: &Timeouts) -> Self {
        Self {
            survivor,
            patience: timeouts.abort,
            until: timeouts.idle.map(|idle| now + idle),
            progress: now,
            least: usize::MAX,
            moved: 0,
            poll: now,
            delay: SOONEST,
        }
    }

    pub(super) fn survivor(&self) -> Who {
        self.survivor
    }

    pub(super) fn deadline(&self) -> Instant {
        let end = self.progress + self.patience;
        self.until.map_or(end, |until| until.min(end)).min(self.poll)
    }

    /// Moves what is left to the survivor, and ends once its kernel has acknowledged all of it.
    pub(super) fn advance<S: Stream>(
        &mut self,
        half: &mut Half<S::Pipe>,
        broken: &mut Side<S>,
        survivor: &mut Side<S>,
        turn: &mut Turn<'_, S::Pipe>,
    ) -> Want {
        let cause = match self.survivor {
            Who::Upstream => Cause::ClientReset,
            Who::Client => Cause::UpstreamReset,
        };
        let flow = half.pump(broken, survivor, turn);
        if flow == Flow::Cut || survivor.ended() == Ended::Reset {
            return end(cause);
        }
        // A socket that does not tell has nothing to wait for.
        let queued = survivor.stream.unacknowledged().unwrap_or(0);
        if flow == Flow::Drained && queued == 0 {
            return end(cause);
        }
        self.note_progress(queued + half.held(), half.moved, turn.now);
        if turn.now >= self.progress + self.patience {
            return end(Cause::AbortTimeout);
        }
        if self.until.is_some_and(|until| turn.now >= until) {
            return end(Cause::Idle);
        }
        if flow == Flow::Again { Want::Turn } else { Want::Nothing }
    }

    fn note_progress(&mut self, left: usize, moved: u64, now: Instant) {
        if left < self.least || moved != self.moved {
            self.least = left;
            self.moved = moved;
            self.progress = now;
        }
        if now >= self.poll {
            self.poll = now + self.delay;
            self.delay = (self.delay * 2).min(LATEST);
        }
    }
}

fn end(cause: Cause) -> Want {
    Want::End(EndReason { cause, phase: Phase::Abort })
}
