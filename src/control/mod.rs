//! The control plane: start-up, signals, host names, the workers' lives, shutdown.
//!
//! One thread on a current-thread tokio runtime. It may allocate and wait, and never touches a
//! session but by a command to its worker. If it dies of a fault, relaying goes on and it is
//! started anew on the same plant.

mod capacity;
mod counted;
mod crew;
mod departures;
mod events;
mod look_ups;
mod observe;
mod plant;
mod prepare;
mod reload;
mod resolve;
mod retire;
mod returns;
mod running;
mod shutdown;
mod sockets;
#[cfg(test)]
mod tests;
mod upstream;
mod verdict;
mod watch;
mod watchdog;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use self::plant::Plant;
pub use self::reload::{OnReload, Origin, Outcome, Report};
use self::running::Proxy;
pub use self::running::Running;
pub use self::sockets::{Bound, Refusal};
use crate::config::{Config, Problem};
use crate::plugin::Registry;

/// Told where the listeners really listen.
pub type OnReady = Box<dyn FnOnce(&[Bound]) -> io::Result<()> + Send>;

/// What the process starts with.
pub struct Start {
    /// The checked file.
    pub config: Config,
    /// Where it came from. Without, it is not reloaded.
    pub origin: Option<Origin>,
    /// Built-in and added plug-ins, and the observers.
    pub registry: Registry,
    /// Called once, when every listener listens; an error stops the start.
    pub ready: Option<OnReady>,
    /// Told of the start and of every reload.
    pub reloaded: Option<OnReload>,
}

/// Why the process could not start, or stopped unasked.
#[derive(Debug)]
pub enum Failure {
    /// Addresses that could not be listened on, each with its cause.
    Listen(Vec<Refusal>),
    /// The choice of a plug-in is wrong.
    Plugin(Vec<Problem>),
    /// Pools ask of their sockets what the kernel does not do.
    Upstream(Vec<Problem>),
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
            Self::Listen(refusals) => lines(refusals, f),
            Self::Plugin(problems) | Self::Upstream(problems) => lines(problems, f),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

/// One a line.
fn lines<T: fmt::Display>(all: &[T], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, one) in all.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        write!(f, "{gap}{one}")?;
    }
    Ok(())
}

impl std::error::Error for Failure {}

/// Whom control tells.
#[derive(Default)]
struct Hooks {
    /// Told once.
    ready: Option<OnReady>,
    reloaded: Option<OnReload>,
}

impl Hooks {
    fn tell(&mut self, report: &Report) {
        if let Some(reloaded) = &mut self.reloaded {
            reloaded(report);
        }
    }
}

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub fn run(start: Start) -> Result<(), Failure> {
    Proxy::start(start)?.serve()
}

/// Runs the proxy beside the caller, who gets it back once its listeners listen.
///
/// # Errors
/// Why it could not start.
pub fn start(start: Start) -> Result<Running, Failure> {
    Running::start(Proxy::start(start)?)
}

/// Runs the control thread, and runs it anew if it dies of a fault: the plant goes on meanwhile.
fn keep_serving(plant: &Arc<Mutex<Plant>>, hooks: Hooks) -> Result<(), Failure> {
    let hooks = Arc::new(Mutex::new(hooks));
    loop {
        let (lent, hooks) = (Arc::clone(plant), Arc::clone(&hooks));
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || events::serve(&lent, &hooks))
            .map_err(|error| Failure::System { what: "start the control thread", error })?;
        match thread.join() {
            Ok(result) => return result,
            Err(_) => tracing::error!("a fault ended the control thread; starting it anew"),
        }
    }
}

/// The plant, also after a fault while it was locked: each of its changes is whole or not begun.
fn lock(plant: &Mutex<Plant>) -> std::sync::MutexGuard<'_, Plant> {
    plant.lock().unwrap_or_else(PoisonError::into_inner)
}
