//! The data plane: one thread per core, each with its own poll, sessions, timers and buffers.
//!
//! A worker never blocks but to let streams gather (`pace`), takes no lock but those of the per-source table
//! and of a pool's queue, reads no file, and logs only what an operator must know or has asked for. One turn
//! of its loop: events, commands, timers, listening sockets, then the sessions that have something to do.

mod accept;
mod command;
mod connect;
mod drive;
mod ears;
mod eject;
mod end;
mod entry;
mod hearing;
mod hedge;
mod hold;
mod judge;
mod line;
mod moving;
mod pace;
mod spare;
mod table;
mod tell;
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
pub use self::command::{Accepted, Command, Fleet, Moving, Whom};
use self::ears::Ears;
pub use self::eject::tell_of_return;
use self::entry::Entry;
use self::pace::Pace;
use self::table::{Key, Table};
use self::token::About;
use self::wheel::Wheel;
use crate::model::{Gauges, Model, Pulse, Snapshot, Work};
use crate::net::{Pipe, Spares, pin_to_cpu, rest, unpin};
use crate::plugin::{Cause, SessionEvent};
use crate::session::{Buffers, News, Pipes, Readiness};

/// Events taken from the kernel in one turn.
const EVENTS: usize = 1024;

/// Commands that are done in one turn.
const COMMANDS: usize = 64;

/// Sessions that have their turn before the poll is asked again, so that nobody waits for long.
const SESSIONS: usize = 256;

/// With more sessions than so what comes has left a processor's cache: of answers of 16 KiB a splice cost
/// more than two copies over 128 connections, as much over 256, and less over 512.
const CROWD: usize = 128;

/// One worker.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    model: Arc<Model>,
    fleet: Arc<Fleet>,
    /// Where it goes what observers are told.
    facts: Option<SyncSender<SessionEvent>>,
    snapshot: Arc<Snapshot>,
    poll: Poll,
    inbox: Inbox,
    ears: Ears,
    table: Table<Entry>,
    wheel: Wheel,
    ready: VecDeque<Key>,
    /// Second connects of which something was heard in this turn, and whether it was an error.
    hedges: Vec<(Key, bool)>,
    /// Sessions that are to be ended, and why.
    doomed: VecDeque<(Key, Cause)>,
    /// True exactly when commands may have been left for the next turn.
    commanded: bool,
    fired: Vec<usize>,
    scratch: Box<[u8]>,
    buffers: Buffers,
    pipes: Pipes<Pipe>,
    spares: Spares,
    random: fastrand::Rng,
    now: Instant,
    /// When the poll last gave it something to do.
    active: Instant,
    /// In this turn it has taken a new snapshot into use.
    has_seen: bool,
    pace: Pace,
    stopping: bool,
}

impl Worker {
    /// Worker `number` of `fleet`, which tells `facts` of its sessions. From now on it takes
    /// commands, and does them once it runs.
    ///
    /// # Errors
    /// What epoll_create(2) or eventfd(2) says.
    pub fn new(
        number: usize,
        model: Arc<Model>,
        fleet: Arc<Fleet>,
        facts: Option<SyncSender<SessionEvent>>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = fleet.open(number, poll.registry())?;
        let now = Instant::now();
        let snapshot = model.snapshot.load_full();
        Ok(Self {
            number,
            poll,
            inbox,
            ears: Ears::new(now),
            table: Table::new(),
            wheel: Wheel::new(),
            ready: VecDeque::new(),
            hedges: Vec::new(),
            doomed: VecDeque::new(),
            commanded: false,
            fired: Vec::new(),
            scratch: vec![0; snapshot.buffer].into_boxed_slice(),
            buffers: Buffers::new(snapshot.buffer, Arc::clone(&model.budget)),
            pipes: Pipes::new(Pipe::open),
            spares: Spares::default(),
            random: fastrand::Rng::new(),
            now,
            active: Instant::now(),
            has_seen: false,
            pace: Pace::new(now),
            stopping: false,
            snapshot,
            model,
            fleet,
            facts,
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// What epoll_wait(2) says, which leaves nothing to be done.
    pub fn run(mut self) -> io::Result<()> {
        if self.snapshot.runtime.pin_cpus {
            self.pin(true);
        }
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            let patience = if self.spins() { Some(Duration::ZERO) } else { self.patience() };
            self.pulse().rest();
            if let Some(pause) = self.pace.gather(self.now)
                && patience != Some(Duration::ZERO)
            {
                rest(pause);
            }
            let polled = self.poll.poll(&mut events, patience);
            self.pulse().begin();
            match polled {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => self.turn(&events),
            }
        }
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        self.now = Instant::now();
        if !events.is_empty() {
            self.active = self.now;
        }
        self.pulse().at(Work::Loop);
        for event in events {
            self.note(event);
        }
        // One that wins takes over the token of the first, of which an event may have been among these.
        for (key, failed) in std::mem::take(&mut self.hedges) {
            self.guard(key, |worker| worker.hear_of_hedge(key, failed));
        }
        self.commanded = self.obey_some();
        if self.stopping {
            return self.end_doomed(usize::MAX);
        }
        self.look();
        self.fire_timers();
        self.spares.expire(self.now);
        self.listen();
        for _ in 0..self.ready.len().min(SESSIONS) {
            let Some(key) = self.ready.pop_front() else { break };
            self.drive(key);
        }
        self.pulse().at(Work::Loop);
        self.end_doomed(SESSIONS);
        if std::mem::take(&mut self.has_seen) {
            let (worker, generation) = (self.number, self.snapshot.generation);
            tracing::debug!(worker, generation, turn = ?self.now.elapsed(), "a new snapshot is in use");
        }
    }

    /// Does what it was told. True exactly when there may be more: others have their turn first.
    fn obey_some(&mut self) -> bool {
        for _ in 0..COMMANDS {
            let Some(command) = self.inbox.next() else { return false };
            self.pulse().at(Work::Commands);
            self.obey(command);
            if self.stopping {
                return false;
            }
        }
        true
    }

    fn note(&mut self, event: &mio::event::Event) {
        match About::from(event.token()) {
            About::Waker => {}
            About::Ear(index) => self.ears.heard(index),
            About::Hedge(key) => self.hedges.push((key, event.is_error())),
            About::Session(key, who) => {
                let Some(entry) = self.table.get_mut(key) else { return };
                let news = entry.session.event(
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
                match news {
                    News::Some => self.make_ready(key),
                    News::Room | News::Bytes => self.overlook(key, who, news),
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever sent a client may have judged it by a snapshot that this worker has not seen yet.
        self.look();
        self.pace.serve(self.now);
        match command {
            Command::Adopt { id, socket, view } => self.adopt(id, socket, view),
            Command::LetGo(socket) => {
                self.ears.find(&socket).into_iter().for_each(|index| self.let_go(index));
            }
            Command::Retire { id, reset_after } => self.ears.retire(id, reset_after),
            Command::Serve(accepted) => self.serve(*accepted),
            Command::Take(moving) => self.take(*moving),
            Command::GoOn(token) => self.go_on(token),
            Command::EndSessions(whom, cause) => self.doom(&whom, cause),
            Command::Leave => self.leave(),
            Command::Stop => self.stopping = true,
            #[cfg(test)]
            Command::Fault => panic!("told to die of a fault"),
        }
    }

    /// Looks whether there is a new snapshot.
    fn look(&mut self) {
        if self.model.snapshot.load().generation != self.snapshot.generation {
            self.see(self.model.snapshot.load_full());
        }
    }

    /// Takes a new snapshot into use. The one before is control's to free.
    fn see(&mut self, next: Arc<Snapshot>) {
        self.has_seen = true;
        for listener in self.ears.see(&next) {
            self.stop_waiting_for(&listener);
        }
        if next.buffer != self.snapshot.buffer {
            self.scratch = vec![0; next.buffer].into_boxed_slice();
            self.buffers.resize(next.buffer);
        }
        if next.runtime.pin_cpus != self.snapshot.runtime.pin_cpus {
            self.pin(next.runtime.pin_cpus);
        }
        self.snapshot = next;
    }

    fn pin(&self, pinned: bool) {
        let done = if pinned { pin_to_cpu(self.number) } else { unpin() };
        if let Err(error) = done {
            tracing::warn!(worker = self.number, pinned, %error, "cannot change the worker's cpus");
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

    /// True exactly when it is to look for more at once, since it had something to do just now.
    fn spins(&self) -> bool {
        let spin = self.snapshot.runtime.spin;
        spin.is_some_and(|spin| self.active.elapsed() < spin)
    }

    /// True exactly when what comes for a session has left the cache before its turn.
    fn is_crowded(&self) -> bool {
        self.table.len() > CROWD
    }

    /// How long the poll may sleep.
    fn patience(&self) -> Option<Duration> {
        let busy = self.commanded || !self.doomed.is_empty();
        if busy || !self.ready.is_empty() || self.ears.are_hot() {
            return Some(Duration::ZERO);
        }
        let timer = self.wheel.next().map(|tick| self.model.epoch + Duration::from_millis(tick));
        let next = [timer, self.ears.resume_at(), self.spares.expire_at()];
        let next = next.into_iter().flatten().min()?;
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

    fn pulse(&self) -> &Pulse {
        &self.gauges().pulse
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
        self.fleet.close(self.number, &self.inbox);
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
        self.pulse().rest();
    }
}
