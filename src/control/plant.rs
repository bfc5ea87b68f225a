//! What runs: workers, listening sockets, and the snapshot that they serve.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::counted::{Counted, report_leftovers};
use super::crew::Crew;
use super::departures::Departures;
use super::events::Event;
use super::prepare::Prepared;
use super::reload::Origin;
use super::resolve::LookedUp;
use super::retire::Retiring;
use super::shutdown::{Drain, Next};
use super::sockets::{Bound, Listening, Sockets};
use super::{Failure, capacity, resolve, upstream, verdict};
use crate::config::{Config, Plan, Shutdown};
use crate::health::Changed;
use crate::model::{Model, Objects, Resolved, Snapshot, WORKERS_MAX, Wake};
use crate::net::Stream;
use crate::plugin::{Cause, Registry, SessionEvent};
use crate::worker::{Command, Fleet, Whom};

/// How often what takes its time is gone on with, at the most and at the least.
const TICK: Duration = Duration::from_millis(20);
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// What runs.
pub(super) struct Plant {
    config: Config,
    origin: Option<Origin>,
    registry: Arc<Registry>,
    model: Arc<Model>,
    crew: Crew,
    objects: Objects,
    resolved: Resolved,
    listening: Listening,
    departures: Departures,
    /// Snapshots of before that a worker may still read: they are freed here, not by a worker.
    before: Vec<Arc<Snapshot>>,
    /// Set once it is to stop.
    drain: Option<Drain>,
}

impl Plant {
    /// Binds, builds the first snapshot and starts the workers.
    pub(super) fn start(
        config: Config,
        origin: Option<Origin>,
        registry: Arc<Registry>,
        facts: Option<SyncSender<SessionEvent>>,
    ) -> Result<Self, Failure> {
        let workers = worker_count(&config);
        let fleet = Arc::new(Fleet::new(WORKERS_MAX, workers));
        let wake: Arc<dyn Wake> = Arc::clone(&fleet) as Arc<dyn Wake>;
        let epoch = Instant::now();
        let looked_up = resolve::unknown(&config, &registry, &Resolved::new());
        upstream::check(&[], &config.pools)?;
        let mut listening = Listening::default();
        let prepared = listening.prepare(&config, workers).map_err(Failure::Listen)?;
        let mut objects = Objects::new(Arc::clone(&wake), epoch);
        let first = objects.assemble(&config, &looked_up.resolved, &prepared.places(), &registry);
        let first = first.map_err(Failure::Plugin)?;
        let model = Arc::new(Model::new(first, WORKERS_MAX, wake, epoch));
        listening.commit(prepared);
        looked_up.tell();
        let resolved = looked_up.resolved;
        let crew = Crew::new(Arc::clone(&model), fleet, facts);
        let (departures, before) = (Departures::default(), Vec::new());
        let mut plant = Self {
            config,
            origin,
            registry,
            model,
            crew,
            objects,
            resolved,
            listening,
            departures,
            before,
            drain: None,
        };
        plant.size();
        plant.crew.hire(0..workers)?;
        plant.share();
        plant.announce();
        Ok(plant)
    }

    /// Takes another file into use, or nothing of it. Returns what has changed, in words.
    ///
    /// What can fail comes first, and changes nothing: binding and listening on what is new,
    /// starting workers, building what plug-ins make. `looked_up` is what came of names that
    /// were not known.
    pub(super) fn reload(
        &mut self,
        config: Config,
        looked_up: LookedUp,
    ) -> Result<Vec<String>, Failure> {
        let plan = Plan::between(&self.config, &config);
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let counted = Counted::new(&self.objects, &self.resolved);
        let changes = plan.lines(Some(&counted));
        tracing::info!("plan: {}", plan.summary(Some(&counted)));
        upstream::check(&self.config.pools, &config.pools)?;
        looked_up.tell();
        let mut resolved = looked_up.resolved;
        let all = resolve::wanted(&config);
        let known = self.resolved.iter().filter(|(wanted, _)| all.contains_key(wanted));
        resolved.extend(known.map(|(wanted, answer)| (wanted.clone(), answer.clone())));
        let (before, workers) = (self.crew.workers(), worker_count(&config));
        self.crew.hire(before..workers)?;
        let made = self.make(&config, &resolved, workers);
        let (prepared, snapshot) = made.inspect_err(|_| self.crew.take_back(before..workers))?;
        // From here on nothing can fail.
        let old = std::mem::replace(&mut self.config, config);
        self.resolved = resolved;
        let shown = self.publish(snapshot);
        let gone = self.listening.commit(prepared);
        self.listening.announce(|id| !shown.listeners.contains_key(&id));
        self.crew.set_workers(workers);
        self.give_up(gone, &shown, Some(Instant::now() + self.config.shutdown.timeout));
        self.share();
        self.crew.settle();
        self.crew.dismiss(workers..before);
        self.departures.note(&self.objects, [&old.pools, &self.config.pools]);
        self.size();
        Ok(changes)
    }

    /// Listens on what is new, and builds the snapshot. Who has come to a new address meanwhile is
    /// lost if that fails, so it comes last.
    fn make(
        &mut self,
        config: &Config,
        resolved: &Resolved,
        workers: usize,
    ) -> Result<(Prepared, Snapshot), Failure> {
        let prepared = self.listening.prepare(config, workers).map_err(Failure::Listen)?;
        let places = prepared.places();
        let snapshot = self.objects.assemble(config, resolved, &places, &self.registry);
        Ok((prepared, snapshot.map_err(Failure::Plugin)?))
    }

    /// Takes new addresses of host names into use.
    pub(super) fn set_resolved(&mut self, resolved: Resolved) {
        if resolved == self.resolved {
            return;
        }
        let places: Vec<_> = self
            .listening
            .sockets
            .iter()
            .map(|sockets| (sockets.id, Arc::clone(&sockets.listener)))
            .collect();
        match self.objects.assemble(&self.config, &resolved, &places, &self.registry) {
            Ok(snapshot) => {
                self.resolved = resolved;
                self.publish(snapshot);
                self.departures.note(&self.objects, [&[], &self.config.pools]);
            }
            // The balancers were built from the same file before.
            Err(problems) => {
                tracing::error!(problems = problems.len(), "cannot take new addresses into use");
            }
        }
    }

    /// Shows a snapshot to the workers. Returns the one before.
    fn publish(&mut self, snapshot: Snapshot) -> Arc<Snapshot> {
        let before = self.model.snapshot.swap(Arc::new(snapshot));
        self.crew.nudge();
        self.before.push(Arc::clone(&before));
        before
    }

    /// Gives every listening socket to the worker that is to accept from it.
    fn share(&mut self) {
        let workers = self.crew.workers();
        let snapshot = self.model.snapshot.load_full();
        for sockets in &mut self.listening.sockets {
            let Some(view) = snapshot.listeners.get(&sockets.id) else { continue };
            self.crew.hand_over(sockets.share(workers), sockets.id, view);
        }
        for retiring in &mut self.listening.retiring {
            let handed = retiring.sockets.share(workers);
            let again = !handed.is_empty() && retiring.told;
            self.crew.hand_over(handed, retiring.id(), &retiring.view);
            if again {
                self.crew.retire(retiring.id(), retiring.reset_after);
            }
        }
    }

    /// Gives addresses up that were listened on under the snapshot `shown`.
    fn give_up(&mut self, gone: Vec<Sockets>, shown: &Snapshot, reset_after: Option<Instant>) {
        let now = Instant::now();
        for sockets in gone {
            let Some(view) = shown.listeners.get(&sockets.id).map(Arc::clone) else { continue };
            self.listening.retiring.push(Retiring::start(sockets, view, now, reset_after));
        }
    }

    /// Gives every address up.
    pub(super) fn give_up_all(&mut self, reset_after: Option<Instant>) {
        let gone = std::mem::take(&mut self.listening.sockets);
        let shown = self.model.snapshot.load_full();
        self.give_up(gone, &shown, reset_after);
    }

    /// Begins to stop. Returns what comes next.
    pub(super) fn drain(&mut self, drain: Drain) -> Option<Next> {
        self.drain = Some(drain);
        self.drain_on()
    }

    /// Takes the next step of stopping, if it is to stop.
    pub(super) fn drain_on(&mut self) -> Option<Next> {
        let mut drain = self.drain.take()?;
        let next = drain.step(self);
        self.drain = Some(drain);
        Some(next)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// True exactly when no worker accepts any more.
    pub(super) fn listens_no_more(&self) -> bool {
        self.listening.sockets.is_empty() && self.listening.retiring.is_empty()
    }

    /// Goes on with what takes its time.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        for retiring in &mut self.listening.retiring {
            if let Some(id) = retiring.step(now) {
                self.crew.retire(id, retiring.reset_after);
            }
        }
        self.listening.retiring.retain(|retiring| !retiring.is_over());
        self.departures.tick(now, &self.crew);
        self.before.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.crew.part_with_the_gone();
    }

    /// When to go on with what takes its time, if anything does.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        if !self.listening.retiring.is_empty() || !self.before.is_empty() {
            return Some(TICK);
        }
        self.departures.next(Instant::now()).map(|next| next.clamp(TICK, LONGEST_TICK))
    }

    /// Sizes the process by the file and by what the system allows.
    fn size(&self) {
        let sockets = self.listening.sockets.iter().map(|sockets| sockets.sockets.len()).sum();
        let capacity = capacity::measure(&self.config.limits, sockets);
        self.model.sessions.set_max(Some(capacity.sessions));
        self.model.budget.set(capacity.buffers);
    }

    fn announce(&self) {
        self.listening.announce(|_| true);
        tracing::info!(
            workers = self.crew.workers(),
            max_connections = self.model.sessions.max(),
            buffers = self.model.budget.most(),
            "ready",
        );
    }

    /// Every address that is listened on.
    pub(super) fn bound(&self) -> Vec<Bound> {
        self.listening.bound()
    }

    /// Acts on a change of a backend's health.
    pub(super) fn note_health(&mut self, changed: &Changed) {
        verdict::act_on(changed, &self.config, &self.model, &mut self.departures);
    }

    /// Looks at every pool, once probes are those of the file and the snapshot of now.
    pub(super) fn judge_health(&mut self) {
        verdict::judge_all(&self.config, &self.model, &mut self.departures);
    }

    /// Where the configuration came from.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Notes the content of the file that is in use.
    pub(super) fn came_from(&mut self, hash: u128) {
        self.origin.iter_mut().for_each(|origin| origin.hash = hash);
    }

    /// What workers share with control.
    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(super) fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    pub(super) fn generation(&self) -> u64 {
        self.model.snapshot.load().generation
    }

    pub(super) fn shutdown_settings(&self) -> &Shutdown {
        &self.config.shutdown
    }

    /// Lets workers tell `events` when they are gone.
    pub(super) fn tell(&self, events: UnboundedSender<Event>) {
        *self.crew.news().lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    /// A worker is gone: its sockets and number go to a new one. Its sessions were reset.
    pub(super) fn replace_worker(&mut self, number: usize, thread: ThreadId) {
        self.crew.replace(number, thread, &self.listening);
    }

    /// Replaces workers that died while there was no control to be told.
    pub(super) fn replace_dead_workers(&mut self) {
        for (number, thread) in self.crew.dead() {
            self.replace_worker(number, thread);
        }
    }

    /// Tells control something, as a worker would.
    pub(super) fn report(&self, event: Event) {
        if let Some(events) = &*self.crew.news().lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = events.send(event);
        }
    }

    #[cfg(test)]
    pub(super) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Sessions of all workers.
    pub(super) fn sessions(&self) -> usize {
        self.model.gauges.iter().map(|gauges| gauges.sessions.load(Relaxed)).sum()
    }

    /// Sessions of each worker.
    #[cfg(test)]
    pub(super) fn sessions_by_worker(&self) -> Vec<usize> {
        let gauges = self.model.gauges.iter().take(self.crew.workers());
        gauges.map(|gauges| gauges.sessions.load(Relaxed)).collect()
    }

    /// Sessions that ended for `cause`.
    pub(super) fn ended(&self, cause: Cause) -> u64 {
        self.model.ends.value(cause)
    }

    /// Ends all workers and waits for them.
    pub(super) fn stop(&mut self) {
        self.crew.command_all(|| Command::EndSessions(Whom::All, Cause::Shutdown));
        self.crew.stop();
        for sockets in &self.listening.sockets {
            sockets.sockets.iter().for_each(|socket| socket.unlink());
        }
        let retiring = self.listening.retiring.drain(..).map(|retiring| retiring.sockets);
        for socket in self.listening.sockets.drain(..).chain(retiring).flat_map(|it| it.sockets) {
            while let Ok((mut client, _)) = socket.accept() {
                client.reset();
                self.model.ends.add(Cause::Shutdown);
            }
        }
        report_leftovers(&self.objects, &self.model);
    }
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.runtime.workers.unwrap_or_else(cores).clamp(1, WORKERS_MAX)
}
