//! What runs: workers, listening sockets, and the snapshot that they serve.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::bind::{Bound, Sockets, bind_all};
use super::events::Event;
use super::{Failure, capacity, resolve};
use crate::config::{Config, Shutdown};
use crate::model::{Model, Objects, Resolved, Wake};
use crate::net::Stream;
use crate::plugin::{Cause, Registry, SessionFacts};
use crate::worker::{Command, Fleet, Settings, Worker};

/// Workers that there may ever be.
const WORKERS_MAX: usize = 256;

/// What runs.
pub(super) struct Plant {
    config: Config,
    registry: Registry,
    facts: Option<SyncSender<SessionFacts>>,
    model: Arc<Model>,
    fleet: Arc<Fleet>,
    objects: Objects,
    resolved: Resolved,
    sockets: Vec<Sockets>,
    workers: Vec<Option<JoinHandle<()>>>,
    /// Where workers say that they are gone; set once control listens.
    news: Arc<Mutex<Option<UnboundedSender<Event>>>>,
}

impl Plant {
    /// Binds, builds the first snapshot and starts the workers.
    pub(super) fn start(
        config: Config,
        registry: Registry,
        facts: Option<SyncSender<SessionFacts>>,
    ) -> Result<Self, Failure> {
        let workers = worker_count(&config);
        let fleet = Arc::new(Fleet::new(workers));
        let wake: Arc<dyn Wake> = Arc::clone(&fleet) as Arc<dyn Wake>;
        let epoch = Instant::now();
        let model = Arc::new(Model::new(workers, Arc::clone(&wake), epoch));
        let resolved = resolve::at_start(&config);
        let sockets = bind_all(&config, workers).map_err(Failure::Listen)?;
        let listening = sockets.iter().map(|bound| bound.sockets.len()).sum();
        let capacity = capacity::measure(&config.limits, listening);
        model.sessions.set_max(Some(capacity.sessions));
        model.budget.set(capacity.buffers);
        let mut plant = Self {
            objects: Objects::new(wake, epoch),
            config,
            registry,
            facts,
            model,
            fleet,
            resolved,
            sockets,
            workers: Vec::new(),
            news: Arc::new(Mutex::new(None)),
        };
        plant.publish().map_err(Failure::Plugin)?;
        for number in 0..workers {
            let worker = plant.start_worker(number)?;
            plant.workers.push(Some(worker));
        }
        plant.announce();
        Ok(plant)
    }

    /// Every address that is listened on.
    pub(super) fn bound(&self) -> Vec<Bound> {
        let bound = |sockets: &Sockets| Bound {
            listener: Arc::clone(&sockets.listener),
            address: sockets.address(),
        };
        self.sockets.iter().map(bound).collect()
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    pub(super) fn shutdown_settings(&self) -> &Shutdown {
        &self.config.shutdown
    }

    pub(super) fn sockets(&self) -> &[Sockets] {
        &self.sockets
    }

    /// Lets workers tell `events` when they are gone.
    pub(super) fn tell(&self, events: UnboundedSender<Event>) {
        *self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(events);
    }

    /// Takes new addresses of host names into use.
    pub(super) fn set_resolved(&mut self, resolved: Resolved) {
        if resolved == self.resolved {
            return;
        }
        let before = std::mem::replace(&mut self.resolved, resolved);
        if let Err(problems) = self.publish() {
            // The balancers were built from the same file before.
            tracing::error!(problems = problems.len(), "cannot take new addresses into use");
            self.resolved = before;
        }
    }

    /// Builds the next snapshot and shows it to the workers.
    fn publish(&mut self) -> Result<(), Vec<crate::config::Problem>> {
        let ids = self
            .sockets
            .iter()
            .map(|bound| ((Arc::clone(&bound.listener), bound.wanted.clone()), bound.id))
            .collect::<HashMap<_, _>>();
        let snapshot = self.objects.assemble(&self.config, &self.resolved, &ids, &self.registry)?;
        self.model.snapshot.store(Arc::new(snapshot));
        for worker in 0..self.fleet.room() {
            self.fleet.nudge(worker);
        }
        Ok(())
    }

    fn announce(&self) {
        for bound in self.sockets.iter().take(64) {
            tracing::info!(listener = &*bound.listener, address = %bound.address(), "listening");
        }
        tracing::info!(
            workers = self.workers.len(),
            max_connections = self.model.sessions.max(),
            buffers = self.model.budget.most(),
            "ready",
        );
    }

    /// Starts worker `number` with the listening sockets that are its.
    fn start_worker(&self, number: usize) -> Result<JoinHandle<()>, Failure> {
        let settings = Settings {
            buffer: self.config.limits.buffer,
            splice: self.config.runtime.splice,
            spread: self.config.runtime.spread,
            pin: self.config.runtime.pin_cpus,
            facts: self.facts.clone(),
        };
        let (model, fleet) = (Arc::clone(&self.model), Arc::clone(&self.fleet));
        let worker = Worker::new(number, model, fleet, settings)
            .map_err(|error| Failure::System { what: "make a worker", error })?;
        for bound in &self.sockets {
            if let Some(socket) = bound.of(number, self.fleet.room()) {
                // It was made a moment ago, so its queue is open.
                let _ = self.fleet.send(number, Command::Adopt(bound.id, Arc::clone(socket)));
            }
        }
        let news = Arc::clone(&self.news);
        std::thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(move || live(worker, number, &news))
            .map_err(|error| Failure::System { what: "start a worker", error })
    }

    /// A worker is gone: its sockets and number go to a new one. Its sessions were reset.
    pub(super) fn replace_worker(&mut self, number: usize) {
        if let Some(handle) = self.workers.get_mut(number).and_then(Option::take) {
            // It has said that it is at its end.
            let _ = handle.join();
        }
        match self.start_worker(number) {
            Ok(handle) => {
                tracing::error!(
                    worker = number,
                    "a worker died; its sessions were reset, it was started anew"
                );
                if let Some(place) = self.workers.get_mut(number) {
                    *place = Some(handle);
                }
            }
            Err(failure) => {
                tracing::error!(worker = number, %failure, "a worker died and cannot be replaced");
                self.hand_sockets_over(number);
            }
        }
    }

    /// Replaces workers that died while there was no control to be told.
    pub(super) fn replace_dead_workers(&mut self) {
        for number in 0..self.workers.len() {
            let worker = self.workers.get(number).and_then(Option::as_ref);
            if worker.is_some_and(JoinHandle::is_finished) {
                self.replace_worker(number);
            }
        }
    }

    /// Gives the listening sockets of a worker that is gone to one that is there.
    fn hand_sockets_over(&self, from: usize) {
        let Some(heir) = (0..self.fleet.room()).find(|&worker| self.fleet.is_there(worker)) else {
            return;
        };
        for bound in &self.sockets {
            if let Some(socket) = bound.of(from, self.fleet.room()) {
                let _ = self.fleet.send(heir, Command::Adopt(bound.id, Arc::clone(socket)));
            }
        }
    }

    /// Tells control something, as a worker would.
    #[cfg(test)]
    pub(super) fn report(&self, event: Event) {
        let news = self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(events) = &*news {
            let _ = events.send(event);
        }
    }

    /// Sends a command to every worker.
    pub(super) fn command_all(&self, command: impl Fn() -> Command) {
        for worker in 0..self.fleet.room() {
            // One that is gone has nothing left to be commanded.
            let _ = self.fleet.send(worker, command());
        }
    }

    /// Sessions of all workers.
    pub(super) fn sessions(&self) -> usize {
        self.sessions_by_worker().iter().sum()
    }

    /// Sessions of each worker.
    pub(super) fn sessions_by_worker(&self) -> Vec<usize> {
        self.model.gauges.iter().map(|gauges| gauges.sessions.load(Relaxed)).collect()
    }

    /// Sessions that ended for `cause`.
    pub(super) fn ended(&self, cause: Cause) -> u64 {
        self.model.ends.value(cause)
    }

    /// Ends all workers and waits for them.
    pub(super) fn stop(&mut self) {
        self.command_all(|| Command::EndSessions(Cause::Shutdown));
        self.command_all(|| Command::Stop);
        for worker in self.workers.iter_mut().filter_map(Option::take) {
            // A worker that dies of a fault while it stops has stopped.
            let _ = worker.join();
        }
        for socket in self.sockets.drain(..).flat_map(|bound| bound.sockets) {
            while let Ok((mut client, _)) = socket.accept() {
                client.reset();
                self.model.ends.add(Cause::Shutdown);
            }
            socket.unlink();
        }
    }
}

/// The life of a worker's thread.
fn live(worker: Worker, number: usize, news: &Mutex<Option<UnboundedSender<Event>>>) {
    let ended = catch_unwind(AssertUnwindSafe(|| worker.run()));
    match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => tracing::error!(worker = number, %error, "a worker cannot poll"),
        Err(_) => tracing::error!(worker = number, "a fault ended a worker"),
    }
    let news = news.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(events) = &*news {
        // Without control there is nobody who could replace it; the next control will look.
        let _ = events.send(Event::WorkerGone(number));
    }
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.runtime.workers.unwrap_or_else(cores).clamp(1, WORKERS_MAX)
}
