//! What a worker knows of one session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hearing::Hearing;
use super::hold::Aside;
use crate::model::{Backend, Listener, Permit, Pool, PoolView, Pulse, SourcePermit, Work};
use crate::net::{Peer, Socket};
use crate::session::{ConnectFailure, Session, Who};

/// The rights under which a client was let in, held for what their `Drop` does.
#[derive(Debug)]
#[allow(dead_code, reason = "a permit is held, not read")]
pub(super) struct Entrance {
    pub(super) process: Permit,
    pub(super) listener: Permit,
    pub(super) source: Option<SourcePermit>,
}

/// The way of a session to its upstream.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) pool: Arc<Pool>,
    /// The pool as a snapshot sees it, while it is needed: a session that relays holds no part of a
    /// snapshot of before.
    pub(super) view: Option<Arc<PoolView>>,
    pub(super) pool_permit: Option<Permit>,
    pub(super) backend: Option<(Arc<Backend>, Permit)>,
    pub(super) attempts: u32,
    /// Attempts after which this pool is given up.
    pub(super) most_attempts: u32,
    pub(super) last_failure: Option<ConnectFailure>,
    /// Where it came from, once it has gone elsewhere or has had to wait.
    pub(super) aside: Option<Box<Aside>>,
}

/// A session and what its worker knows of it.
///
/// The order of the fields matters: the sockets close before the permits are given back, so that
/// nobody ever sees one connection more than a limit allows.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) session: Session<Socket>,
    pub(super) route: Route,
    #[allow(dead_code, reason = "permits are held, not read")]
    pub(super) entrance: Entrance,
    pub(super) listener: Arc<Listener>,
    pub(super) client: Peer,
    /// Its number, which no other session has that lives at the same time.
    pub(super) id: u64,
    pub(super) accepted: Instant,
    pub(super) connected: Option<Instant>,
    /// True exactly when its backend was told that it has answered.
    pub(super) answered: bool,
    /// True exactly when it is on the ready list.
    pub(super) queued: bool,
    /// True exactly when it waits before it connects, for descriptors or for a backend, until its timer
    /// fires.
    pub(super) parked: bool,
    /// True exactly when the upstream's socket is kept alive, or is not to be.
    pub(super) kept_alive: bool,
    /// What the client's socket is registered for.
    pub(super) client_hearing: Hearing,
    /// What the upstream's socket is registered for, if there is one.
    pub(super) upstream_hearing: Hearing,
}

/// Keepalive is turned on after this, or after `keepalive.idle` if that is less.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);

impl Entry {
    /// When the upstream's socket is to be kept alive, if it is not yet.
    pub(super) fn keepalive_due(&self) -> Option<Instant> {
        let options = self.route.view.as_ref().map(|view| &view.options)?;
        let after = options.keepalive.filter(|_| !self.kept_alive)?.idle;
        Some(self.connected? + after.min(KEEPALIVE_AFTER))
    }

    /// The socket of a side.
    pub(super) fn stream(&self, who: Who) -> Option<&Socket> {
        match who {
            Who::Client => Some(self.session.client_stream()),
            Who::Upstream => self.session.upstream_stream(),
        }
    }

    /// What the poll tells of a side.
    pub(super) fn hearing(&self, who: Who) -> Hearing {
        match who {
            Who::Client => self.client_hearing,
            Who::Upstream => self.upstream_hearing,
        }
    }

    pub(super) fn hearing_mut(&mut self, who: Who) -> &mut Hearing {
        match who {
            Who::Client => &mut self.client_hearing,
            Who::Upstream => &mut self.upstream_hearing,
        }
    }

    /// True exactly when its bytes may gather: it streams, and into buffers that the kernel makes as large
    /// as it takes.
    pub(super) fn may_gather(&self) -> bool {
        let bounded = |who| self.stream(who).is_some_and(Socket::has_bounded_buffers);
        self.session.streams() && !bounded(Who::Client) && !bounded(Who::Upstream)
    }

    /// Notes that the worker is at this session.
    pub(super) fn tell(&self, pulse: &Pulse, work: Work) {
        let backend = self.route.backend.as_ref().map(|(backend, _)| backend);
        pulse.at_client(work, &self.listener, &self.client, backend);
    }

    /// Notes that the upstream is connected.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
        self.parked = false;
        if let Some((backend, _)) = &self.route.backend {
            backend.health.connected();
        }
        self.drop_hedge();
        self.route.wait_no_more();
        self.settle();
    }

    /// Notes that a byte came back, or that the session has ended well without one.
    #[cold]
    pub(super) fn answered(&mut self) {
        self.answered = true;
        let backend = self.route.backend.as_ref();
        backend.into_iter().for_each(|(backend, _)| backend.health.answered());
    }

    /// Lets go of the snapshot's view of the pool as soon as nothing more is to be asked of it.
    pub(super) fn settle(&mut self) {
        if self.connected.is_some() && self.kept_alive {
            self.route.view = None;
        }
    }
}
