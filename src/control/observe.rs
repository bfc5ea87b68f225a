//! The thread on which observers are told, and the bounded queue that leads to it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::Failure;
use crate::model::Throttle;
use crate::plugin::{Observer, SessionEvent};

/// What may wait for the observers.
const QUEUE: usize = 4096;

/// In the end observers are waited for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Observers that are being told.
pub(super) struct Observing {
    sender: SyncSender<SessionEvent>,
    /// Nothing comes here; it is closed when the thread is at its end.
    ended: Receiver<Infallible>,
}

impl Observing {
    /// Starts the thread; none if nobody wants to be told.
    pub(super) fn start(mut observers: Vec<Box<dyn Observer>>) -> Result<Option<Self>, Failure> {
        if observers.is_empty() {
            return Ok(None);
        }
        let (sender, events) = sync_channel::<SessionEvent>(QUEUE);
        let (end, ended) = sync_channel(0);
        let work = move || {
            let (epoch, complaints) = (Instant::now(), Throttle::default());
            for event in &events {
                if !tell_all(&mut observers, &event) && complaints.may_speak(epoch, Instant::now())
                {
                    tracing::error!("an observer panicked");
                }
            }
            // Whoever waits for the end wants the observers to be done, too.
            drop(observers);
            drop(end);
        };
        std::thread::Builder::new()
            .name("observer".into())
            .spawn(work)
            .map_err(|error| Failure::System { what: "start the observers' thread", error })?;
        Ok(Some(Self { sender, ended }))
    }

    /// Where workers put what is to be told.
    pub(super) fn sender(&self) -> SyncSender<SessionEvent> {
        self.sender.clone()
    }

    /// Lets the observers hear the rest, within a bound. All other senders are gone.
    pub(super) fn finish(self) {
        drop(self.sender);
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("an observer is too slow: it is not told the rest");
        }
    }
}

/// True exactly when none panicked.
fn tell_all(observers: &mut [Box<dyn Observer>], event: &SessionEvent) -> bool {
    let mut calm = true;
    for observer in observers {
        // What a panic leaves of the observer's state is the observer's own affair.
        calm &= catch_unwind(AssertUnwindSafe(|| event.tell(&mut **observer))).is_ok();
    }
    calm
}
