//! The control plane: start-up, signals, host names, the workers' lives, shutdown.
//!
//! One thread on a current-thread tokio runtime. It may allocate and wait, and never touches a
//! session but by a command to its worker. If it dies of a fault, relaying goes on and it is
//! started anew on the same plant.

mod bind;
mod capacity;
mod events;
mod plant;
mod resolve;
mod shutdown;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

pub use self::bind::{Bound, Refusal};
use self::plant::Plant;
use crate::config::{Config, Problem};
use crate::plugin::{Observer, Registry, SessionFacts};

/// Facts that may wait for the observer.
const FACTS: usize = 4096;

/// Told where the listeners really listen.
pub type OnReady = Box<dyn FnOnce(&[Bound]) -> io::Result<()> + Send>;

/// What the process starts with.
pub struct Start {
    /// The checked file.
    pub config: Config,
    /// Built-in and added plug-ins.
    pub registry: Registry,
    /// Called once, when every listener listens; an error stops the start.
    pub ready: Option<OnReady>,
    /// Told of every session that ended.
    pub observer: Option<Box<dyn Observer>>,
}

/// Why the process could not start, or stopped unasked.
#[derive(Debug)]
pub enum Failure {
    /// Addresses that could not be listened on, each with its cause.
    Listen(Vec<Refusal>),
    /// The choice of a plug-in is wrong.
    Plugin(Vec<Problem>),
    /// A system call that everything depends on failed.
    System {
        /// What was attempted.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(refusals) => {
                for (index, refusal) in refusals.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    write!(f, "{gap}{refusal}")?;
                }
                Ok(())
            }
            Self::Plugin(problems) => write!(f, "{} invalid choices of a plug-in", problems.len()),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub fn run(start: Start) -> Result<(), Failure> {
    let facts = start.observer.map(observe).transpose()?;
    let plant = Plant::start(start.config, start.registry, facts)?;
    keep_serving(&Arc::new(Mutex::new(plant)), start.ready)
}

/// Runs the control thread, and runs it anew if it dies of a fault: the plant goes on meanwhile.
fn keep_serving(plant: &Arc<Mutex<Plant>>, ready: Option<OnReady>) -> Result<(), Failure> {
    let ready = Arc::new(Mutex::new(ready));
    loop {
        let (lent, ready) = (Arc::clone(plant), Arc::clone(&ready));
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || events::serve(&lent, &ready))
            .map_err(|error| Failure::System { what: "start the control thread", error })?;
        match thread.join() {
            Ok(result) => return result,
            Err(_) => tracing::error!("a fault ended the control thread; starting it anew"),
        }
    }
}

/// Starts the thread on which an observer is told.
fn observe(mut observer: Box<dyn Observer>) -> Result<SyncSender<SessionFacts>, Failure> {
    let (sender, facts) = sync_channel::<SessionFacts>(FACTS);
    std::thread::Builder::new()
        .name("observer".into())
        .spawn(move || facts.iter().for_each(|facts| observer.session_ended(&facts)))
        .map_err(|error| Failure::System { what: "start the observer's thread", error })?;
    Ok(sender)
}

/// The plant, also after a fault while it was locked: each of its changes is whole or not begun.
fn lock(plant: &Mutex<Plant>) -> std::sync::MutexGuard<'_, Plant> {
    plant.lock().unwrap_or_else(PoisonError::into_inner)
}
