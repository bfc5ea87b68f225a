//! The end of the process: addresses first, then sessions, each within its bound.
//!
//! ```text
//!   delay ─► give every address up ─► sessions end ─► stop
//! ```

use std::time::{Duration, Instant};

use super::plant::Plant;
use crate::config::Shutdown;
use crate::plugin::Cause;

/// How often it is looked whether all sessions are gone.
const LOOK: Duration = Duration::from_millis(20);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another step after this.
    After(Duration),
    /// The end.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Still accepting, so that whoever stands in front may notice.
    Delay,
    /// Addresses are given up; sessions end by themselves.
    Draining,
}

/// A drain of the whole process.
#[derive(Debug)]
pub(super) struct Drain {
    stage: Stage,
    delay: Duration,
    timeout: Option<Duration>,
    until: Option<Instant>,
}

impl Drain {
    /// As SIGTERM asks for it.
    pub(super) fn bounded(settings: &Shutdown) -> Self {
        let (delay, timeout) = (settings.delay, Some(settings.timeout));
        Self { stage: Stage::Delay, delay, timeout, until: None }
    }

    /// As SIGQUIT asks for it.
    pub(super) fn unbounded() -> Self {
        Self { stage: Stage::Delay, delay: Duration::ZERO, timeout: None, until: None }
    }

    /// Takes the next step.
    pub(super) fn step(&mut self, plant: &mut Plant) -> Next {
        match self.stage {
            Stage::Delay if self.delay > Duration::ZERO => {
                tracing::info!(delay = ?self.delay, "stopping after a delay");
                Next::After(std::mem::take(&mut self.delay))
            }
            Stage::Delay => {
                self.until = self.timeout.map(|timeout| Instant::now() + timeout);
                tracing::info!(sessions = plant.sessions(), timeout = ?self.timeout, "draining");
                plant.give_up_all(self.until);
                self.stage = Stage::Draining;
                Next::After(LOOK)
            }
            Stage::Draining => self.look(plant),
        }
    }

    fn look(&self, plant: &mut Plant) -> Next {
        plant.tick();
        let sessions = plant.sessions();
        if sessions == 0 && plant.listens_no_more() {
            tracing::info!(reset = plant.ended(Cause::Shutdown), "drained");
            return Next::Stop;
        }
        match self.until {
            Some(until) if Instant::now() >= until => {
                tracing::warn!(sessions, "the time to drain is over: resetting what is left");
                Next::Stop
            }
            Some(_) | None => Next::After(LOOK),
        }
    }
}
