//! Letting clients in: listening sockets, caps, judgement, and the way to a less loaded worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use super::Worker;
use super::command::{Accepted, Command, Counted};
use super::ears::Stop;
use super::end::LOG;
use super::table::Entrance;
use super::token::About;
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

impl Worker {
    pub(super) fn adopt(&mut self, id: SocketId, socket: Arc<ListeningSocket>) {
        let index = self.ears.add(id, socket);
        self.hear(index);
    }

    /// Registers a socket with the poll. True exactly when events tell of clients from now on.
    fn hear(&mut self, index: usize) -> bool {
        let Some(ear) = self.ears.get_mut(index) else { return false };
        if !ear.heard {
            let (fd, token) = (ear.socket.raw_fd(), About::Ear(index).into());
            let registry = self.poll.registry();
            match registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                Ok(()) => ear.heard = true,
                Err(error) => {
                    tracing::error!(worker = self.number, %error, "cannot listen to a socket yet");
                }
            }
        }
        ear.heard
    }

    /// Accepts from every socket on which something may wait.
    pub(super) fn listen(&mut self) {
        let freed = self.inbox.permit_is_free();
        let waited = if freed { self.ears.permit_free() } else { Vec::new() };
        for index in self.ears.take_hot(self.now) {
            self.accept_batch(index);
        }
        if !freed {
            return;
        }
        // Whoever was woken and did not need the permit leaves it to the next in line.
        self.model.sessions.pass_on();
        for index in waited {
            if let Some(view) = self.ears.get_mut(index).and_then(|ear| ear.view.as_ref()) {
                view.listener.limit.pass_on();
            }
        }
    }

    fn accept_batch(&mut self, index: usize) {
        let Some(ear) = self.ears.get_mut(index) else { return };
        if let Some(view) = self.snapshot.listeners.get(&ear.id) {
            ear.view = Some(Arc::clone(view));
        }
        let (socket, view, retiring) = (Arc::clone(&ear.socket), ear.view.clone(), ear.retiring);
        let too_late = retiring
            .and_then(|retiring| retiring.reset_after)
            .is_some_and(|reset_after| self.now >= reset_after);
        let stop = match view {
            Some(view) if !too_late => self.accept_some(&socket, &view),
            Some(_) | None => self.reset_some(&socket),
        };
        if stop == Stop::Empty && retiring.is_some() {
            // Control holds the socket too, so closing it here would not take it off the poll.
            let _ = self.poll.registry().deregister(&mut SourceFd(&socket.raw_fd()));
            return self.ears.remove(index);
        }
        let deaf = stop == Stop::Empty && !self.hear(index);
        self.ears.stopped(index, if deaf { Stop::Paused(self.now + RETRY) } else { stop });
    }

    /// A client over a cap that is to wait stays in the kernel's backlog, so the rights of one more
    /// session come before accept(2). One that is to be rejected is accepted first: rights held on
    /// the chance that somebody waits would be missing elsewhere.
    fn accept_some(&mut self, socket: &ListeningSocket, view: &Arc<ListenerView>) -> Stop {
        for _ in 0..BATCH {
            let before = match view.over {
                Over::Reject => None,
                Over::Wait => match self.entrance_or_wait(view) {
                    Ok(entrance) => Some(entrance),
                    Err(stop) => return stop,
                },
            };
            match socket.accept() {
                Ok((socket, client)) => {
                    self.gauges().accepted.add(1);
                    match before.or_else(|| self.entrance(view)) {
                        Some(entrance) => self.judge(socket, client, view, entrance),
                        None => self.turn_down(socket, &client, view, Cause::Limit),
                    }
                }
                Err(error) => {
                    if before.is_some() {
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
            if self.model.complaints.may_speak(self.model.epoch, self.now) {
                tracing::error!(worker = self.number, %error, "cannot accept, trying again in 100 ms");
            }
            return Some(Stop::Paused(self.now + RETRY));
        }
        if error.raw_os_error() == Some(libc::EINVAL) {
            // A unix socket that was shut down, with nothing left in its queue.
            return Some(Stop::Empty);
        }
        None
    }

    /// The rights of one more session.
    fn entrance(&self, view: &ListenerView) -> Option<Entrance> {
        let process = self.model.sessions.acquire()?;
        let listener = view.listener.limit.acquire()?;
        view.listener.rate.try_take(self.now).ok()?;
        Some(Entrance { process, listener, source: None })
    }

    /// The rights of one more session; or why there are none, and this worker is woken when there
    /// may be.
    fn entrance_or_wait(&self, view: &ListenerView) -> Result<Entrance, Stop> {
        let full = Stop::Full(self.now + RETRY);
        let process = self.model.sessions.acquire_or_wait(self.number).ok_or(full)?;
        let listener = view.listener.limit.acquire_or_wait(self.number).ok_or(full)?;
        // Another worker may put back what it took on a chance, so it is not left for long.
        let later = |wait: Duration| Stop::Paused(self.now + wait.min(RETRY));
        view.listener.rate.try_take(self.now).map_err(later)?;
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
                let counted = Counted::new(&self.model, self.number);
                let at = self.now;
                self.place(Accepted { socket, client, listener, entrance, at, counted });
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
    fn place(&mut self, mut accepted: Accepted) {
        let here = self.gauges().sessions.load(Relaxed);
        let Some(there) = self.less_loaded(here, &accepted.client) else {
            return self.serve(accepted);
        };
        accepted.counted = Counted::new(&self.model, there);
        match self.fleet.send(there, Command::Serve(Box::new(accepted))) {
            Ok(()) => self.gauges().handed_over.add(1),
            Err(Command::Serve(mut accepted)) => {
                accepted.counted = Counted::new(&self.model, self.number);
                self.serve(*accepted);
            }
            Err(_) => debug_assert!(false, "the command that comes back is the one that was sent"),
        }
    }

    fn less_loaded(&mut self, here: usize, client: &Peer) -> Option<usize> {
        if !self.settings.spread || here < IMBALANCE {
            return None;
        }
        let load = |&worker: &usize| self.model.gauges[worker].sessions.load(Relaxed);
        let least = (0..self.fleet.room())
            .filter(|&worker| worker != self.number && self.fleet.is_there(worker))
            .min_by_key(load)?;
        if here < load(&least) + IMBALANCE {
            return None;
        }
        // A unix address has one socket for all workers, so there is no other way to the rest.
        let may = matches!(client, Peer::Unix) || self.ears.may_hand_over(self.now);
        may.then_some(least)
    }
}
