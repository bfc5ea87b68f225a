//! Sessions that go from one worker to another, because theirs leaves.
//!
//! A session is a value, and nothing in it points into its worker. The new worker registers its
//! sockets, and the poll tells anew what they may do, so that no event is lost on the way.

use std::thread;

use mio::unix::SourceFd;

use super::Worker;
use super::command::{Command, Counted, Moving};
use super::entry::Entry;
use super::line::moved;
use super::table::Key;
use super::token::About;
use crate::plugin::{Cause, EndReason};
use crate::session::Who;

impl Worker {
    /// Gives everything away: listening sockets are others' already, sessions and clients go to
    /// whoever has the fewest.
    pub(super) fn leave(&mut self) {
        self.end_doomed(usize::MAX);
        for index in self.ears.all() {
            self.let_go(index);
        }
        for key in self.table.keys() {
            self.give(key);
        }
        self.fleet.close(self.number, &self.inbox);
        loop {
            // Asked first: what comes before nobody sends any more is found after.
            let silent = self.inbox.is_silent();
            while let Some(command) = self.inbox.next() {
                self.forward(command);
            }
            if silent {
                break;
            }
            thread::yield_now();
        }
        self.stopping = true;
    }

    /// What reached a worker that leaves. Everything but clients and sessions has lost its meaning.
    fn forward(&mut self, command: Command) {
        if matches!(command, Command::Serve(_) | Command::Take(_)) {
            self.pass_on(command);
        }
    }

    /// Sends a client or a session to another worker, and counts it there.
    fn pass_on(&mut self, mut command: Command) {
        while let Some((there, _)) = self.least_loaded() {
            if let Some(counted) = command.counted() {
                *counted = Counted::new(&self.model, there);
            }
            match self.fleet.send(there, command) {
                // It leaves too, or has died: the next.
                Err(back) => command = back,
                Ok(()) => return,
            }
        }
        // No worker was left for it, and it is reset.
        self.model.ends.add(Cause::Panic);
    }

    fn give(&mut self, key: Key) {
        let Some(mut entry) = self.table.remove(key) else { return };
        self.wheel.disarm(key.index);
        entry.drop_hedge();
        let streams = [Some(entry.session.client_stream()), entry.session.upstream_stream()];
        for stream in streams.into_iter().flatten() {
            // Fails only for one that was never registered.
            let _ = self.poll.registry().deregister(&mut SourceFd(&stream.raw_fd()));
        }
        // It is in this worker's gauge.
        let counted = Counted::of(&self.model, self.number);
        self.pass_on(Command::Take(Box::new(Moving { entry, counted })));
    }

    /// Goes on with a session of another worker.
    pub(super) fn take(&mut self, moving: Moving) {
        let Moving { mut entry, mut counted } = moving;
        counted.keep();
        let key = self.table.next_key();
        entry.queued = false;
        let watched = self.register(key, &entry);
        entry.route.ticket().into_iter().for_each(|ticket| moved(ticket, self.number, key));
        let (phase, parked) = (entry.session.phase(), entry.parked);
        self.table.insert(entry);
        if watched.is_err() {
            return self.end(key, EndReason { cause: Cause::Resources, phase });
        }
        if parked {
            return self.arm_retry(key);
        }
        self.arm(key);
        self.make_ready(key);
    }

    fn register(&self, key: Key, entry: &Entry) -> std::io::Result<()> {
        for who in [Who::Client, Who::Upstream] {
            let Some(stream) = entry.stream(who) else { continue };
            let interest = entry.hearing(who).interest();
            let token = About::Session(key, who).into();
            self.poll.registry().register(&mut SourceFd(&stream.raw_fd()), token, interest)?;
        }
        Ok(())
    }
}
