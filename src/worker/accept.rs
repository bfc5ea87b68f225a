//! Letting clients in: listening sockets, caps, and the way to a less loaded worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use super::Worker;
use super::command::{Accepted, Command, Counted};
use super::ears::{Retiring, Stop};
use super::entry::Entrance;
use super::token::About;
use crate::config::Over;
use crate::model::{Listener, ListenerView, SocketId, Work};
use crate::net::{ListeningSocket, Peer, Stream, is_exhaustion};
use crate::plugin::Cause;

/// Connections accepted from one socket in one turn; then others have theirs.
const BATCH: usize = 32;

/// A socket that is paused is looked at again after this, whatever else happens: after EMFILE no
/// event comes, even when descriptors are free again.
const RETRY: Duration = Duration::from_millis(100);

/// A worker with so many sessions more than another hands a new one over.
const IMBALANCE: usize = 2;

impl Worker {
    pub(super) fn adopt(
        &mut self,
        id: SocketId,
        socket: Arc<ListeningSocket>,
        view: Arc<ListenerView>,
    ) {
        // What the command was given may be of a snapshot of before.
        let view = self.snapshot.listeners.get(&id).map_or(view, Arc::clone);
        let known = self.ears.find(&socket).and_then(|index| self.ears.get_mut(index));
        let before = known.map(|ear| Arc::clone(&ear.view.listener));
        let index = self.ears.add(id, socket, view);
        self.hear(index);
        if let Some(before) = before {
            self.stop_waiting_for(&before);
        }
    }

    /// Leaves a socket to another worker.
    pub(super) fn let_go(&mut self, index: usize) {
        let Some(ear) = self.ears.get_mut(index) else { return };
        // Control holds the socket too, so closing it here would not take it off the poll.
        let _ = self.poll.registry().deregister(&mut SourceFd(&ear.socket.raw_fd()));
        let listener = Arc::clone(&ear.view.listener);
        self.ears.remove(index);
        self.stop_waiting_for(&listener);
    }

    /// A socket has left `listener`: a permit for which this worker waited goes to the next in line,
    /// and other sockets that waited try anew.
    pub(super) fn stop_waiting_for(&mut self, listener: &Listener) {
        listener.limit.stop_waiting(self.number);
        self.ears.permit_free();
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
            if let Some(ear) = self.ears.get_mut(index) {
                ear.view.listener.limit.pass_on();
            }
        }
    }

    fn accept_batch(&mut self, index: usize) {
        self.pulse().at(Work::Accept);
        let Some(ear) = self.ears.get_mut(index) else { return };
        let (socket, view) = (Arc::clone(&ear.socket), Arc::clone(&ear.view));
        let Some(Retiring { reset_after }) = ear.retiring else {
            let stop = self.accept_some(&socket, &view);
            return self.note_stop(index, stop);
        };
        // Looked at before a permit is waited for, which nobody may need.
        if matches!(socket.has_waiting(), Ok(false)) {
            return self.let_go(index);
        }
        let too_late = reset_after.is_some_and(|reset_after| self.now >= reset_after);
        let stop =
            if too_late { self.reset_some(&socket) } else { self.accept_some(&socket, &view) };
        if stop == Stop::Empty { self.let_go(index) } else { self.note_stop(index, stop) }
    }

    fn note_stop(&mut self, index: usize, stop: Stop) {
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
                        None => self.turn_down(socket, &client, view, Cause::Limit.into()),
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
            self.spares.clear();
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

    /// Serves a client here, or where there is clearly less to do.
    pub(super) fn place(&mut self, mut accepted: Accepted) {
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
        if !self.snapshot.runtime.spread || here < IMBALANCE {
            return None;
        }
        let (least, load) = self.least_loaded()?;
        if here < load + IMBALANCE || self.model.gauges[least].pulse.stands() {
            return None;
        }
        // A unix address has one socket for all workers, so there is no other way to the rest.
        let may = matches!(client, Peer::Unix) || self.ears.may_hand_over(self.now);
        may.then_some(least)
    }

    /// The other worker with the fewest sessions, and how many it has; one that stands only if there
    /// is no other.
    pub(super) fn least_loaded(&self) -> Option<(usize, usize)> {
        let others = (0..self.fleet.workers()).filter(|&worker| worker != self.number);
        others
            .filter(|&worker| self.fleet.is_there(worker))
            .map(|worker| (worker, self.model.gauges[worker].sessions.load(Relaxed)))
            .min_by_key(|&(worker, load)| (self.model.gauges[worker].pulse.stands(), load))
    }
}
