//! Starting the control plane, and being told what it does.

use std::io;
use std::time::Duration;

use crate::config::Config;

use crate::control;
pub(super) use crate::control::Bound;
use crate::plugin::{Observer, Registry, SessionFacts};

/// Called once, when every listener listens.
pub(super) type OnReady = Box<dyn FnOnce(&[Bound]) -> io::Result<()> + Send>;
/// Called after each session.
pub(super) type OnSession = Box<dyn Fn(Ended) + Send + Sync>;

/// What to run, and whom to tell.
pub(super) struct Launch {
    /// What to run.
    pub(super) config: Config,
    /// Built-in and added plug-ins.
    pub(super) registry: Registry,
    /// Told when it listens.
    pub(super) ready: Option<OnReady>,
    /// Told of each session.
    pub(super) observer: Option<OnSession>,
}

/// A session that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) client: String,
    /// The address of the backend that served it; none if it reached none.
    pub(super) backend: Option<String>,
    /// Backends that were tried.
    pub(super) attempts: u32,
    /// Bytes from the upstream to the client.
    pub(super) down: u64,
    /// From accept to the end.
    pub(super) took: Duration,
}

/// Runs until a signal ends it. An error names every cause on a line of its own.
pub(super) fn run(launch: Launch) -> Result<(), String> {
    let observer = launch.observer.map(|tell| Box::new(Teller(tell)) as Box<dyn Observer>);
    let Launch { config, registry, ready, .. } = launch;
    let start = control::Start { config, registry, ready, observer };
    control::run(start).map_err(|failure| failure.to_string())
}

/// Tells what the demo shows of a session.
struct Teller(OnSession);

impl Observer for Teller {
    fn session_ended(&mut self, facts: &SessionFacts) {
        (self.0)(Ended {
            client: facts.client.to_string(),
            backend: facts.backend.as_ref().map(ToString::to_string),
            attempts: facts.attempts,
            down: facts.bytes_down,
            took: facts.duration,
        });
    }
}

/// Ends what runs in this process as an operator would: with SIGTERM. To be called only once it is
/// ready, since before that the signal kills.
pub(super) fn stop() {
    let this = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(this, rustix::process::Signal::TERM) {
        tracing::error!(%error, "cannot signal this process");
    }
}
