//! A proxy from its start to its end, and the hold that its starter has on it meanwhile.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use super::events::Event;
use super::observe::Observing;
use super::plant::Plant;
use super::{Bound, Failure, Hooks, Start, keep_serving, lock};

/// A proxy whose listeners listen.
pub(super) struct Proxy {
    plant: Arc<Mutex<Plant>>,
    hooks: Hooks,
    observing: Option<Observing>,
}

impl Proxy {
    pub(super) fn start(mut start: Start) -> Result<Self, Failure> {
        let observing = Observing::start(start.registry.take_observers())?;
        let facts = observing.as_ref().map(Observing::sender);
        let registry = Arc::new(start.registry);
        let plant = Plant::start(start.config, start.origin, registry, facts)?;
        let hooks = Hooks { ready: start.ready, reloaded: start.reloaded };
        Ok(Self { plant: Arc::new(Mutex::new(plant)), hooks, observing })
    }

    /// Serves until it is told to stop.
    pub(super) fn serve(self) -> Result<(), Failure> {
        let Self { plant, hooks, observing } = self;
        let result = keep_serving(&plant, hooks);
        // It holds a way to the observers, who hear the rest once all are closed.
        drop(plant);
        if let Some(observing) = observing {
            observing.finish();
        }
        result
    }
}

/// A proxy that runs beside whoever started it. Dropping this lets it run on.
#[derive(Debug)]
pub struct Running {
    plant: Weak<Mutex<Plant>>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Running {
    /// Starts the thread, and waits until control hears what it is told.
    pub(super) fn start(mut proxy: Proxy) -> Result<Self, Failure> {
        let plant = Arc::downgrade(&proxy.plant);
        let (tell, told) = sync_channel(1);
        let ready = proxy.hooks.ready.take();
        proxy.hooks.ready = Some(Box::new(move |bound| {
            ready.map_or(Ok(()), |ready| ready(bound))?;
            tell.send(()).map_err(io::Error::other)
        }));
        let thread = std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || proxy.serve())
            .map_err(|error| Failure::System { what: "start the proxy's thread", error })?;
        let running = Self { plant, thread };
        match told.recv() {
            Ok(()) => Ok(running),
            // It ended before it was ready.
            Err(_) => running.wait().and(Err(Failure::System {
                what: "start",
                error: io::ErrorKind::Interrupted.into(),
            })),
        }
    }

    /// Where the listeners listen, with the real ports; nowhere once it has ended.
    pub fn bound(&self) -> Vec<Bound> {
        self.plant.upgrade().map(|plant| lock(&plant).bound()).unwrap_or_default()
    }

    /// Stops it as SIGTERM does: new clients are turned away, sessions may end within
    /// `shutdown.timeout`. A second time it stops at once.
    pub fn drain(&self) {
        if let Some(plant) = self.plant.upgrade() {
            lock(&plant).report(Event::Terminate);
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Why it stopped unasked.
    pub fn wait(self) -> Result<(), Failure> {
        let fault =
            || Failure::System { what: "go on after a fault", error: io::Error::other("panic") };
        self.thread.join().unwrap_or_else(|_| Err(fault()))
    }
}
