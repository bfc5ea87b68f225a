//! A second connect beside one that takes long (`connect.hedge`): the first that is answered wins, and
//! the other is closed.

use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;

use super::Worker;
use super::connect::Begun;
use super::entry::Entry;
use super::hearing::Hearing;
use super::table::Key;
use super::token::About;
use crate::balance::Ask;
use crate::model::{Backend, Permit, Picked};
use crate::net::{Attempt, Socket, Stream as _};
use crate::plugin::Phase;
use crate::session::{ConnectFailure, Who};

/// The second connect.
#[derive(Debug)]
pub(super) struct Hedge {
    socket: Socket,
    backend: Arc<Backend>,
    permit: Permit,
    /// When it has taken too long.
    until: Instant,
}

impl Entry {
    /// When a second connect is to begin, if one is.
    pub(super) fn hedge_due(&self) -> Option<Instant> {
        self.route.aside.as_ref()?.hedge_at
    }

    /// A connect has begun, beside which there is to be another one if it takes long.
    pub(super) fn hedge_later(&mut self, now: Instant) {
        let Some(view) = &self.route.view else { return };
        let Some(after) = view.connect.hedge else { return };
        self.route.aside().hedge_at = Some(now + after);
    }

    /// One of them is connected, or the session waits for something else: there is no second any more.
    pub(super) fn drop_hedge(&mut self) {
        if let Some(aside) = &mut self.route.aside {
            aside.hedge_at = None;
            aside.hedge = None;
        }
    }

    fn take_hedge(&mut self) -> Option<Hedge> {
        self.route.aside.as_mut()?.hedge.take()
    }
}

impl Worker {
    /// Begins a second connect if the first has taken too long already.
    pub(super) fn hedge(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        if entry.hedge_due().is_none_or(|due| self.now < due) {
            return;
        }
        entry.route.aside.iter_mut().for_each(|aside| aside.hedge_at = None);
        let connecting = entry.connected.is_none() && entry.session.upstream_stream().is_some();
        if !connecting || entry.route.attempts >= entry.route.most_attempts {
            return;
        }
        let now = self.model.age(self.now);
        let ask = Ask { source: entry.client.ip(), random: self.random.u64(..) };
        let Some(view) = entry.route.view.clone() else { return };
        let mut tried = entry.route.tried().to_vec();
        tried.extend(entry.route.backend.as_ref().map(|(backend, _)| Arc::clone(backend)));
        if !entry.route.may_pick(&view) {
            return;
        }
        let Picked::Backend(backend, permit) = view.pick(&ask, &tried, now) else { return };
        if !view.may_retry(now) {
            return;
        }
        entry.route.attempts += 1;
        let (socket, connected) = match self.open(key, &backend, &view, false) {
            Ok(Attempt::Connected(socket)) => (socket, true),
            Ok(Attempt::Pending(socket)) => (socket, false),
            Err(Begun::Failed(kind)) => {
                return self.note_failed(key, backend, permit, ConnectFailure::Failed(kind));
            }
            Err(Begun::Yes | Begun::Exhausted) => return,
        };
        let hearing = if connected { Hearing::Bytes } else { Hearing::Both };
        if self.hear_upstream(&socket, About::Hedge(key), hearing).is_err() {
            return;
        }
        let until = self.now + view.connect.timeout;
        let Some(entry) = self.table.get_mut(key) else { return };
        let Some(aside) = &mut entry.route.aside else { return };
        aside.hedge = Some(Hedge { socket, backend, permit, until });
        if connected {
            self.win(key);
        }
    }

    /// Something happened to the second connect.
    pub(super) fn hear_of_hedge(&mut self, key: Key, failed: bool) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let hedge = entry.route.aside.as_mut().and_then(|aside| aside.hedge.as_mut());
        let Some(hedge) = hedge else { return };
        let error = hedge.socket.take_connect_error();
        if !failed && error.is_none() {
            return self.win(key);
        }
        let Some(Hedge { backend, permit, socket, .. }) = entry.take_hedge() else { return };
        drop(socket);
        let kind = error.map_or(std::io::ErrorKind::ConnectionReset, |error| error.kind());
        self.note_failed(key, backend, permit, ConnectFailure::Failed(kind));
    }

    /// The second connect was answered first: it takes the place of the other one.
    fn win(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let Some(Hedge { socket, backend, permit, .. }) = entry.take_hedge() else { return };
        if entry.session.phase() != Phase::Connect {
            return;
        }
        let token = About::Session(key, Who::Upstream).into();
        let registry = self.poll.registry();
        let (fd, hearing) = (socket.raw_fd(), Hearing::Bytes);
        if registry.reregister(&mut SourceFd(&fd), token, hearing.interest()).is_err() {
            return;
        }
        // What it had begun before is closed here, and its permit given back.
        entry.route.backend = Some((backend, permit));
        entry.upstream_hearing = hearing;
        entry.session.connected(socket, self.now);
        entry.connected(self.now);
        self.make_ready(key);
    }

    /// The first connect has failed while there is a second: that one goes on alone. True exactly when
    /// there is one.
    pub(super) fn go_on_with_hedge(&mut self, key: Key) -> bool {
        let Some(entry) = self.table.get_mut(key) else { return false };
        let Some(hedge) = entry.take_hedge() else { return false };
        let Hedge { socket, backend, permit, until } = hedge;
        let token = About::Session(key, Who::Upstream).into();
        let registry = self.poll.registry();
        let (fd, hearing) = (socket.raw_fd(), Hearing::Both);
        if registry.reregister(&mut SourceFd(&fd), token, hearing.interest()).is_err() {
            return false;
        }
        entry.route.backend = Some((backend, permit));
        entry.parked = false;
        entry.upstream_hearing = hearing;
        entry.session.connect_started(socket, until);
        self.arm(key);
        true
    }
}
