//! The data plane: one thread per core, each with its own poll, sessions, timers and buffers.
//!
//! A worker never blocks, takes no lock but the two that `model` names, reads no file, and logs
//! only what an operator must know or has asked for. One turn of its loop: events, commands,
//! timers, listening sockets, then the sessions that have something to do.

mod accept;
mod command;
mod connect;
mod drive;
mod ears;
mod end;
mod table;
mod token;
mod wheel;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use self::command::Inbox;
pub use self::command::{Accepted, Command, Fleet};
use self::ears::Ears;
use self::table::Table;
use self::token::{About, Key};
use self::wheel::Wheel;
use crate::config::Splice;
use crate::model::{Gauges, Model, Snapshot};
use crate::net::Pipe;
use crate::plugin::{Cause, SessionFacts};
use crate::session::{Buffers, Pipes, Readiness};

/// Events taken from the kernel in one turn.
const EVENTS: usize = 1024;

/// Sessions that have their turn before the poll is asked again, so that nobody waits for long.
const SESSIONS: usize = 256;

/// What a worker is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes that one half may hold, and that are read at once.
    pub buffer: usize,
    /// When bytes are moved by splice(2).
    pub splice: Splice,
    /// True exactly when accepted sockets go to a clearly less loaded worker.
    pub spread: bool,
    /// True exactly when the thread is pinned to one CPU.
    pub pin: bool,
    /// Where the facts of ended sessions go.
    pub facts: Option<SyncSender<SessionFacts>>,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    model: Arc<Model>,
    fleet: Arc<Fleet>,
    settings: Settings,
    snapshot: Arc<Snapshot>,
    poll: Poll,
    inbox: Inbox,
    ears: Ears,
    table: Table,
    wheel: Wheel,
    ready: VecDeque<Key>,
    fired: Vec<usize>,
    scratch: Box<[u8]>,
    buffers: Buffers,
    pipes: Pipes<Pipe>,
    random: fastrand::Rng,
    now: Instant,
    stopping: bool,
}

impl Worker {
    /// Worker `number` of `fleet`. From now on it takes commands, and does them once it runs.
    ///
    /// # Errors
    /// What epoll_create(2) or eventfd(2) says.
    pub fn new(
        number: usize,
        model: Arc<Model>,
        fleet: Arc<Fleet>,
        settings: Settings,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = fleet.open(number, poll.registry())?;
        let now = Instant::now();
        Ok(Self {
            number,
            snapshot: model.snapshot.load_full(),
            poll,
            inbox,
            ears: Ears::new(now),
            table: Table::default(),
            wheel: Wheel::new(),
            ready: VecDeque::new(),
            fired: Vec::new(),
            scratch: vec![0; settings.buffer].into_boxed_slice(),
            buffers: Buffers::new(settings.buffer, Arc::clone(&model.budget)),
            pipes: Pipes::new(Pipe::open),
            random: fastrand::Rng::new(),
            now,
            stopping: false,
            model,
            fleet,
            settings,
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// What epoll_wait(2) says, which leaves nothing to be done.
    pub fn run(mut self) -> io::Result<()> {
        if self.settings.pin
            && let Err(error) = crate::net::pin_to_cpu(self.number)
        {
            tracing::warn!(worker = self.number, %error, "cannot pin the worker to a cpu");
        }
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => self.turn(&events),
            }
        }
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        self.now = Instant::now();
        self.gauges().turns.add(1);
        for event in events {
            self.note(event);
        }
        while let Some(command) = self.inbox.next() {
            self.obey(command);
        }
        // After the commands: a socket comes only once the snapshot that knows it is published.
        if self.model.snapshot.load().generation != self.snapshot.generation {
            self.snapshot = self.model.snapshot.load_full();
        }
        self.fire_timers();
        self.listen();
        for _ in 0..self.ready.len().min(SESSIONS) {
            let Some(key) = self.ready.pop_front() else { break };
            self.drive(key);
        }
    }

    fn note(&mut self, event: &mio::event::Event) {
        match About::from(event.token()) {
            About::Waker => {}
            About::Ear(index) => self.ears.heard(index),
            About::Session(key, who) => {
                let Some(entry) = self.table.get_mut(key) else { return };
                entry.session.event(
                    who,
                    Readiness {
                        readable: event.is_readable(),
                        writable: event.is_writable(),
                        read_closed: event.is_read_closed(),
                        write_closed: event.is_write_closed(),
                        error: event.is_error(),
                        urgent: event.is_priority(),
                    },
                );
                self.make_ready(key);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Adopt(id, socket) => self.adopt(id, socket),
            Command::Retire { id, reset_after } => self.ears.retire(id, reset_after),
            Command::Serve(accepted) => self.serve(*accepted),
            Command::EndSessions(cause) => self.end_all(cause),
            Command::Stop => self.stopping = true,
            #[cfg(test)]
            Command::Fault => panic!("told to die of a fault"),
        }
    }

    fn make_ready(&mut self, key: Key) {
        if let Some(entry) = self.table.get_mut(key)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push_back(key);
        }
    }

    fn fire_timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.expire(self.tick(self.now, Rounding::Down), &mut fired);
        for index in fired.drain(..) {
            if let Some(key) = self.table.key_at(index) {
                self.make_ready(key);
            }
        }
        self.fired = fired;
    }

    /// How long the poll may sleep.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.ears.are_hot() {
            return Some(Duration::ZERO);
        }
        let timer = self.wheel.next().map(|tick| self.model.epoch + Duration::from_millis(tick));
        let next = [timer, self.ears.resume_at()].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Milliseconds since the epoch of the process.
    fn tick(&self, at: Instant, rounding: Rounding) -> u64 {
        let nanoseconds = at.saturating_duration_since(self.model.epoch).as_nanos();
        let tick = match rounding {
            Rounding::Down => nanoseconds / 1_000_000,
            Rounding::Up => nanoseconds.div_ceil(1_000_000),
        };
        u64::try_from(tick).unwrap_or(u64::MAX)
    }

    fn gauges(&self) -> &Gauges {
        &self.model.gauges[self.number]
    }
}

/// Which way a moment goes to a tick: timers up, so that none fires early; the time down.
#[derive(Debug, Clone, Copy)]
enum Rounding {
    Down,
    Up,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What comes from now on goes back to the sender; what came before is reset.
        self.fleet.close(self.number);
        while let Some(command) = self.inbox.next() {
            drop(command);
        }
        self.gauges().sessions.fetch_sub(self.table.len(), Ordering::Relaxed);
        self.model.sessions.stop_waiting(self.number);
        for view in self.snapshot.listeners.values() {
            view.listener.limit.stop_waiting(self.number);
        }
        // Only a fault leaves sessions behind. Dropping them resets both sides.
        self.model.ends.add_many(Cause::Panic, self.table.len() as u64);
    }
}
