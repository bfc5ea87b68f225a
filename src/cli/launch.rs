//! Starting the control plane, and being told what it does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

use super::standin::control;
pub(super) use control::Bound;

/// Called once, when every listener listens.
pub(super) type OnReady = Box<dyn FnOnce(&[Bound]) -> io::Result<()> + Send>;
/// Called after each session.
pub(super) type OnSession = Box<dyn Fn(Ended) + Send + Sync>;

/// What to run, and whom to tell.
pub(super) struct Launch {
    /// What to run.
    pub(super) config: Config,
    /// The file that a reload reads again.
    pub(super) source: Option<PathBuf>,
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
    let observer = launch.observer.map(|tell| -> control::Observer {
        Box::new(move |facts: &control::Facts| {
            tell(Ended {
                client: facts.client.clone(),
                backend: facts.backend.clone(),
                attempts: facts.attempts,
                down: facts.down,
                took: facts.took,
            });
        })
    });
    let start = control::Start {
        config: launch.config,
        source: launch.source,
        ready: launch.ready,
        observer,
    };
    control::run(start).map_err(|failure| failure.to_string())
}

/// Ends what runs in this process as an operator would: with SIGTERM. To be called only once it is
/// ready, since before that the signal kills.
pub(super) fn stop() {
    let this = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(this, rustix::process::Signal::TERM) {
        tracing::error!(%error, "cannot signal this process");
    }
}
