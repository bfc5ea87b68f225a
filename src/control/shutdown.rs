//! The end of the process: addresses first, then sessions, each within its bound.
//!
//! ```text
//!   delay ─► turn new clients away ─► 900 ms ─► accept what waits, close ─► sessions end ─► stop
//! ```

use std::time::{Duration, Instant};

use super::plant::Plant;
use crate::config::Shutdown;
use crate::plugin::Cause;
use crate::worker::Command;

/// After new handshakes are turned away, those under way get so long to complete.
const HANDSHAKES: Duration = Duration::from_millis(900);

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
    /// Only handshakes that had begun go on.
    TurningAway,
    /// What waits in the queues is accepted; sessions end by themselves.
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
    pub(super) fn step(&mut self, plant: &Plant) -> Next {
        match self.stage {
            Stage::Delay if self.delay > Duration::ZERO => {
                tracing::info!(delay = ?self.delay, "stopping after a delay");
                Next::After(std::mem::take(&mut self.delay))
            }
            Stage::Delay => {
                self.until = self.timeout.map(|timeout| Instant::now() + timeout);
                tracing::info!(sessions = plant.sessions(), timeout = ?self.timeout, "draining");
                turn_away(plant);
                self.stage = Stage::TurningAway;
                Next::After(HANDSHAKES)
            }
            Stage::TurningAway => {
                for bound in plant.sockets() {
                    let (id, reset_after) = (bound.id, self.until);
                    plant.command_all(|| Command::Retire { id, reset_after });
                }
                self.stage = Stage::Draining;
                Next::After(LOOK)
            }
            Stage::Draining => self.look(plant),
        }
    }

    fn look(&self, plant: &Plant) -> Next {
        let sessions = plant.sessions();
        if sessions == 0 && are_closed(plant) {
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

/// Turns new clients away at every address.
fn turn_away(plant: &Plant) {
    for socket in plant.sockets().iter().flat_map(|bound| &bound.sockets) {
        if let Err(error) = socket.turn_away() {
            tracing::warn!(address = %socket.address(), %error, "cannot turn new clients away");
        }
    }
}

/// True exactly when no worker holds a listening socket any more.
fn are_closed(plant: &Plant) -> bool {
    let sockets = plant.sockets().iter().flat_map(|bound| &bound.sockets);
    sockets.into_iter().all(|socket| std::sync::Arc::strong_count(socket) == 1)
}
