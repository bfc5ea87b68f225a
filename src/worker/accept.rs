//! Letting clients in: listening sockets, caps, judgement, and the way to a less loaded worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::unix::SourceFd;
use slab::Slab;

use super::command::{Accepted, Command};
use super::end::LOG;
use super::table::Entrance;
use super::token::About;
use super::{Inbox, Worker};
use crate::config::Over;
use crate::model::{ListenerView, SocketId, Verdict};
use crate::net::{ListeningSocket, Peer, Socket, Stream, is_exhaustion};
use crate::plugin::{Cause, EndReason, Phase};

/// Connections accepted from one socket in one turn; then others have theirs.
const BATCH: usize = 32;

/// A socket that is paused is looked at again after this, whatever else happens: after EMFILE no
/// event comes, even when descriptors are free again.
const RETRY: Duration = Duration::from_millis(100);

/// A worker with so many sessions more than another hands a new one over.
const IMBALANCE: usize = 2;

/// Hand-overs of one worker in a second. Each costs a wake-up of a sleeping thread, which long
/// sessions repay and short ones do not.
const HAND_OVERS: u32 = 256;

/// A listening socket as one worker hears it.
#[derive(Debug)]
struct Ear {
    id: SocketId,
    socket: Arc<ListeningSocket>,
    /// True exactly when a connection may wait and nothing keeps us from accepting it.
    hot: bool,
    /// When a paused socket is looked at again.
    resume: Option<Instant>,
    /// Set once the socket is to be let go of when nothing waits any more.
    retiring: Option<Retiring>,
}

#[derive(Debug, Clone, Copy)]
struct Retiring {
    reset_after: Option<Instant>,
}

/// The listening sockets of one worker.
#[derive(Debug)]
pub(super) struct Ears {
    ears: Slab<Ear>,
    /// Hand-overs that may still be made in this second.
    hand_overs: u32,
    second: Instant,
    complained: Option<Instant>,
}

/// Why accepting from a socket stops for this turn.
enum Stop {
    /// Nothing waits.
    Empty,
    /// Something waits, and others have their turn.
    Batch,
    /// Nobody can be let in before this.
    Paused(Instant),
}

impl Ears {
    pub(super) fn new(now: Instant) -> Self {
        Self { ears: Slab::new(), hand_overs: HAND_OVERS, second: now, complained: None }
    }

    pub(super) fn heard(&mut self, index: usize) {
        if let Some(ear) = self.ears.get_mut(index)
            && ear.resume.is_none()
        {
            ear.hot = true;
        }
    }

    pub(super) fn retire(&mut self, id: SocketId, reset_after: Option<Instant>) {
        for (_, ear) in self.ears.iter_mut().filter(|(_, ear)| ear.id == id) {
            ear.retiring = Some(Retiring { reset_after });
            ear.hot = true;
            ear.resume = None;
        }
    }

    pub(super) fn are_hot(&self) -> bool {
        self.ears.iter().any(|(_, ear)| ear.hot)
    }

    pub(super) fn resume_at(&self) -> Option<Instant> {
        self.ears.iter().filter_map(|(_, ear)| ear.resume).min()
    }

    /// Makes hot what has waited long enough, or all that waits if a permit came free.
    fn wake(&mut self, now: Instant, inbox: &Inbox) -> bool {
        let freed = inbox.permit_is_free();
        for (_, ear) in &mut self.ears {
            if ear.resume.is_some_and(|resume| freed || now >= resume) {
                ear.resume = None;
                ear.hot = true;
            }
        }
        freed
    }

    /// True exactly when one more session may be handed over in this second.
    fn may_hand_over(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.hand_overs = HAND_OVERS;
        }
        let may = self.hand_overs > 0;
        self.hand_overs = self.hand_overs.saturating_sub(1);
        may
    }

    /// True exactly when nothing was said for a second.
    fn may_complain(&mut self, now: Instant) -> bool {
        let quiet = self
            .complained
            .is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if quiet {
            self.complained = Some(now);
        }
        quiet
    }
}

impl Worker {
    pub(super) fn adopt(&mut self, id: SocketId, socket: Arc<ListeningSocket>) {
        let fd = socket.raw_fd();
        let ear = Ear { id, socket, hot: true, resume: None, retiring: None };
        let index = self.ears.ears.insert(ear);
        let token = About::Ear(index).into();
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
            tracing::error!(worker = self.number, %error, "cannot listen to a socket");
        }
    }

    /// Accepts from every socket on which something may wait.
    pub(super) fn listen(&mut self) {
        let freed = self.ears.wake(self.now, &self.inbox);
        for index in 0..self.ears.ears.capacity() {
            if self.ears.ears.get(index).is_some_and(|ear| ear.hot) {
                self.accept_batch(index);
            }
        }
        if freed {
            // Whoever was woken and did not need the permit leaves it to the next in line.
            self.model.sessions.pass_on();
            for view in self.snapshot.listeners.values() {
                view.listener.limit.pass_on();
            }
        }
    }

    fn accept_batch(&mut self, index: usize) {
        let Some(ear) = self.ears.ears.get(index) else { return };
        let (id, socket, retiring) = (ear.id, Arc::clone(&ear.socket), ear.retiring);
        let too_late = retiring
            .and_then(|retiring| retiring.reset_after)
            .is_some_and(|reset_after| self.now >= reset_after);
        let stop = match self.snapshot.listeners.get(&id).cloned() {
            Some(view) if !too_late => self.accept_some(&socket, &view),
            Some(_) | None => self.reset_some(&socket),
        };
        let Some(ear) = self.ears.ears.get_mut(index) else { return };
        match stop {
            Stop::Batch => {}
            Stop::Paused(until) => {
                ear.hot = false;
                ear.resume = Some(until);
            }
            Stop::Empty => {
                ear.hot = false;
                if retiring.is_some() {
                    let _ = self.poll.registry().deregister(&mut SourceFd(&socket.raw_fd()));
                    self.ears.ears.remove(index);
                }
            }
        }
    }

    fn accept_some(&mut self, socket: &ListeningSocket, view: &Arc<ListenerView>) -> Stop {
        for _ in 0..BATCH {
            let entrance = self.entrance(view);
            if let (Err(until), Over::Wait) = (&entrance, view.over) {
                return Stop::Paused(*until);
            }
            match socket.accept() {
                Ok((socket, client)) => {
                    self.gauges().accepted.add(1);
                    match entrance {
                        Ok(entrance) => self.judge(socket, client, view, entrance),
                        Err(_) => self.turn_down(socket, &client, view, Cause::Limit),
                    }
                }
                Err(error) => {
                    if entrance.is_ok() {
                        view.listener.rate.put_back();
                    }
                    if let Some(stop) = self.not_accepted(&error) {
                        return stop;
                    }
                }
            }
        }
        Stop::Batch
    }

    /// Past all patience: accepts and resets.
    fn reset_some(&mut self, socket: &ListeningSocket) -> Stop {
        for _ in 0..BATCH {
            match socket.accept() {
                Ok((mut socket, _)) => {
                    socket.reset();
                    self.model.ends.add(Cause::Shutdown);
                }
                Err(error) => {
                    if let Some(stop) = self.not_accepted(&error) {
                        return stop;
                    }
                }
            }
        }
        Stop::Batch
    }

    /// What an error of accept4(2) means for the batch. `None`: that one connection is gone, go on.
    fn not_accepted(&mut self, error: &io::Error) -> Option<Stop> {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Some(Stop::Empty);
        }
        if is_exhaustion(error) {
            self.gauges().exhausted.add(1);
            if self.ears.may_complain(self.now) {
                let workers = self.number;
                tracing::error!(worker = workers, %error, "cannot accept, trying again in 100 ms");
            }
            return Some(Stop::Paused(self.now + RETRY));
        }
        if error.raw_os_error() == Some(libc::EINVAL) {
            // A unix socket that was shut down, with nothing left in its queue.
            return Some(Stop::Empty);
        }
        None
    }

    /// The rights of one more session, or when to ask again.
    fn entrance(&self, view: &ListenerView) -> Result<Entrance, Instant> {
        let again = self.now + RETRY;
        let process = self.model.sessions.acquire_or_wait(self.number).ok_or(again)?;
        let listener = view.listener.limit.acquire_or_wait(self.number).ok_or(again)?;
        view.listener.rate.try_take(self.now).map_err(|wait| self.now + wait)?;
        Ok(Entrance { process, listener, source: None })
    }

    fn judge(
        &mut self,
        socket: Socket,
        client: Peer,
        view: &Arc<ListenerView>,
        mut entrance: Entrance,
    ) {
        match view.judge(client.ip(), self.now) {
            Verdict::Denied => self.turn_down(socket, &client, view, Cause::Denied),
            Verdict::OverLimit => self.turn_down(socket, &client, view, Cause::SourceLimit),
            Verdict::Admitted(source) => {
                entrance.source = source;
                let listener = Arc::clone(view);
                let (socket, entrance) = (Some(socket), Some(entrance));
                self.place(Accepted { socket, client, listener, entrance, at: self.now });
            }
        }
    }

    fn turn_down(&self, mut socket: Socket, client: &Peer, view: &ListenerView, cause: Cause) {
        socket.reset();
        drop(socket);
        self.model.ends.add(cause);
        let reason = EndReason { cause, phase: Phase::Accept };
        tracing::debug!(
            target: LOG,
            listener = &*view.listener.name,
            %client,
            %reason,
            "session refused",
        );
    }

    /// Serves a client here, or where there is clearly less to do.
    fn place(&mut self, accepted: Accepted) {
        let here = self.gauges().sessions.fetch_add(1, Relaxed) + 1;
        let Some(there) = self.less_loaded(here) else { return self.serve(accepted) };
        self.model.gauges[there].sessions.fetch_add(1, Relaxed);
        self.gauges().sessions.fetch_sub(1, Relaxed);
        match self.fleet.send(there, Command::Serve(Box::new(accepted))) {
            Ok(()) => self.gauges().handed_over.add(1),
            Err(Command::Serve(accepted)) => {
                self.model.gauges[there].sessions.fetch_sub(1, Relaxed);
                self.gauges().sessions.fetch_add(1, Relaxed);
                self.serve(*accepted);
            }
            Err(_) => debug_assert!(false, "the command that comes back is the one that was sent"),
        }
    }

    fn less_loaded(&mut self, here: usize) -> Option<usize> {
        if !self.settings.spread || here < IMBALANCE {
            return None;
        }
        let load = |&worker: &usize| self.model.gauges[worker].sessions.load(Relaxed);
        let least = (0..self.fleet.room())
            .filter(|&worker| worker != self.number && self.fleet.is_there(worker))
            .min_by_key(load)?;
        if here < load(&least) + IMBALANCE || !self.ears.may_hand_over(self.now) {
            return None;
        }
        Some(least)
    }
}
