//! The workers' lives: hired, replaced when they die, dismissed when there are to be fewer.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::Failure;
use super::events::Event;
use super::sockets::{Handed, Listening};
use crate::model::{ListenerView, Model, SocketId};
use crate::plugin::SessionEvent;
use crate::worker::{Command, Fleet, Worker};

/// The longest that control waits for turns to end. A worker that stands is the watchdog's to tell of.
const MOMENT: Duration = Duration::from_millis(50);

/// How long it waits before it looks again.
const GLANCE: Duration = Duration::from_micros(50);

/// Where workers say that they are gone; set once control listens.
type News = Arc<Mutex<Option<UnboundedSender<Event>>>>;

/// The workers.
pub(super) struct Crew {
    model: Arc<Model>,
    fleet: Arc<Fleet>,
    facts: Option<SyncSender<SessionEvent>>,
    threads: HashMap<usize, JoinHandle<()>>,
    /// Those that were dismissed and give their sessions away.
    gone: HashMap<usize, JoinHandle<()>>,
    news: News,
}

impl Crew {
    pub(super) fn new(
        model: Arc<Model>,
        fleet: Arc<Fleet>,
        facts: Option<SyncSender<SessionEvent>>,
    ) -> Self {
        let (threads, gone, news) = (HashMap::new(), HashMap::new(), News::default());
        Self { model, fleet, facts, threads, gone, news }
    }

    /// How many there are to be.
    pub(super) fn workers(&self) -> usize {
        self.fleet.workers()
    }

    pub(super) fn set_workers(&self, workers: usize) {
        self.fleet.set_workers(workers);
    }

    pub(super) fn news(&self) -> &News {
        &self.news
    }

    /// Starts workers, or none of them. They have no listening sockets yet.
    pub(super) fn hire(&mut self, numbers: Range<usize>) -> Result<(), Failure> {
        for number in numbers.clone() {
            match self.start(number) {
                Ok(thread) => {
                    self.threads.insert(number, thread);
                }
                Err(failure) => {
                    self.take_back(numbers.start..number);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, number: usize) -> Result<JoinHandle<()>, Failure> {
        if let Some(before) = self.gone.remove(&number) {
            // It gives its last sessions away; the number is free when it has ended.
            let _ = before.join();
        }
        let (model, fleet) = (Arc::clone(&self.model), Arc::clone(&self.fleet));
        let worker = Worker::new(number, model, fleet, self.facts.clone())
            .map_err(|error| Failure::System { what: "make a worker", error })?;
        let news = Arc::clone(&self.news);
        std::thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(move || live(worker, number, &news))
            .map_err(|error| Failure::System { what: "start a worker", error })
    }

    /// Lets workers go. Their sessions go to those that stay.
    pub(super) fn dismiss(&mut self, numbers: Range<usize>) {
        for number in numbers {
            // One that is dead has nothing to give away.
            let _ = self.fleet.send(number, Command::Leave);
            self.gone.extend(self.threads.remove(&number).map(|thread| (number, thread)));
        }
    }

    /// Ends workers that were started and are not to be after all, and waits for them: they have had
    /// no sessions, and what they hold (descriptors above all) may be wanted next.
    pub(super) fn take_back(&mut self, numbers: Range<usize>) {
        self.dismiss(numbers.clone());
        for thread in numbers.filter_map(|number| self.gone.remove(&number)) {
            // One that dies of a fault while it ends has ended.
            let _ = thread.join();
        }
    }

    /// Waits for those of the dismissed that have ended.
    pub(super) fn part_with_the_gone(&mut self) {
        self.gone.retain(|_, thread| !thread.is_finished());
    }

    /// Those that have died.
    pub(super) fn dead(&self) -> Vec<(usize, ThreadId)> {
        let dead = self.threads.iter().filter(|(_, thread)| thread.is_finished());
        dead.map(|(number, thread)| (*number, thread.thread().id())).collect()
    }

    /// Starts a worker anew that has died. Its sockets were never closed.
    pub(super) fn replace(&mut self, number: usize, thread: ThreadId, listening: &Listening) {
        // A number may have gone to another since.
        if self.threads.get(&number).is_none_or(|there| there.thread().id() != thread) {
            return;
        }
        let Some(thread) = self.threads.remove(&number) else { return };
        // It has said that it is at its end.
        let _ = thread.join();
        let heir = match self.start(number) {
            Ok(thread) => {
                tracing::error!(
                    worker = number,
                    "a worker died; its sessions were reset, it was started anew"
                );
                self.threads.insert(number, thread);
                Some(number)
            }
            Err(failure) => {
                tracing::error!(worker = number, %failure, "a worker died and cannot be replaced");
                (0..self.workers()).find(|&worker| self.fleet.is_there(worker))
            }
        };
        if let Some(heir) = heir {
            self.bequeath(number, heir, listening);
        }
    }

    /// Gives the listening sockets of one worker to another.
    fn bequeath(&self, from: usize, to: usize, listening: &Listening) {
        let snapshot = self.model.snapshot.load();
        for sockets in &listening.sockets {
            let Some(view) = snapshot.listeners.get(&sockets.id) else { continue };
            sockets.of(from).for_each(|socket| self.adopt(to, sockets.id, socket, view));
        }
        for retiring in &listening.retiring {
            let (id, view) = (retiring.id(), &retiring.view);
            for socket in retiring.sockets.of(from) {
                self.adopt(to, id, socket, view);
                if retiring.told {
                    let reset_after = retiring.reset_after;
                    let _ = self.fleet.send(to, Command::Retire { id, reset_after });
                }
            }
        }
    }

    fn adopt(
        &self,
        worker: usize,
        id: SocketId,
        socket: &Arc<crate::net::ListeningSocket>,
        view: &Arc<ListenerView>,
    ) {
        let (socket, view) = (Arc::clone(socket), Arc::clone(view));
        // One that dies this moment is replaced, and its successor is given the same.
        let _ = self.fleet.send(worker, Command::Adopt { id, socket, view });
    }

    /// Tells workers of sockets that changed hands.
    pub(super) fn hand_over(&self, handed: Vec<Handed>, id: SocketId, view: &Arc<ListenerView>) {
        for Handed { socket, to, from, .. } in handed {
            self.adopt(to, id, &socket, view);
            if let Some(from) = from {
                // One that leaves lets go of everything anyway.
                let _ = self.fleet.send(from, Command::LetGo(socket));
            }
        }
    }

    /// Tells workers to accept what waits at an address and to let go of it.
    pub(super) fn retire(&self, id: SocketId, reset_after: Option<Instant>) {
        self.command_all(|| Command::Retire { id, reset_after });
    }

    /// Wakes all workers to look at the snapshot.
    pub(super) fn nudge(&self) {
        self.threads.keys().for_each(|&number| self.fleet.nudge(number));
    }

    /// Waits, for a moment at the most, until no worker is in a turn that it began before this: what
    /// they were nudged to look at is in use then, and nothing of before.
    pub(super) fn settle(&self) {
        let beat = |number: usize| self.model.gauges[number].pulse.beat();
        let at_work = self.threads.keys().map(|&number| (number, beat(number)));
        let at_work: Vec<_> = at_work.filter(|(_, beat)| beat % 2 == 1).collect();
        let until = Instant::now() + MOMENT;
        for (number, before) in at_work {
            while beat(number) == before && Instant::now() < until {
                std::thread::park_timeout(GLANCE);
            }
        }
    }

    /// Sends a command to every worker.
    pub(super) fn command_all(&self, command: impl Fn() -> Command) {
        for &worker in self.threads.keys() {
            // One that is gone has nothing left to be commanded.
            let _ = self.fleet.send(worker, command());
        }
    }

    /// Sends a command to one worker.
    #[cfg(test)]
    pub(super) fn command(&self, worker: usize, command: Command) {
        self.fleet.send(worker, command).unwrap();
    }

    /// Ends all workers and waits for them.
    pub(super) fn stop(&mut self) {
        self.command_all(|| Command::Stop);
        for (_, worker) in self.threads.drain().chain(self.gone.drain()) {
            // A worker that dies of a fault while it stops has stopped.
            let _ = worker.join();
        }
    }
}

/// The life of a worker's thread.
fn live(worker: Worker, number: usize, news: &News) {
    let ended = catch_unwind(AssertUnwindSafe(|| worker.run()));
    match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => tracing::error!(worker = number, %error, "a worker cannot poll"),
        Err(_) => tracing::error!(worker = number, "a fault ended a worker"),
    }
    let news = news.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(events) = &*news {
        // Without control there is nobody who could replace it; the next control will look.
        let _ = events.send(Event::WorkerGone(number, std::thread::current().id()));
    }
}
