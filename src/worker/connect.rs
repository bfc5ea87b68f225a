//! From a client to an upstream: pick, connect, and move on to the next when that fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use super::command::Accepted;
use super::end::LOG;
use super::table::{Entry, Route};
use super::token::{About, Key};
use super::{Rounding, Worker};
use crate::balance::Ask;
use crate::model::{Backend, Picked, PoolView};
use crate::net::{self, Attempt, Socket, is_exhaustion, is_out_of_ports};
use crate::plugin::{Cause, EndReason, Phase};
use crate::session::{ConnectFailure, Session, Turn, Who};

/// A session that found no descriptor for its upstream tries again after this.
const RETRY: Duration = Duration::from_millis(100);

/// What every connection is registered for. Urgent data shows as EPOLLPRI.
const READ: Interest = Interest::READABLE.add(Interest::PRIORITY);

/// How an attempt went, as far as it is known at once.
enum Begun {
    Yes,
    /// The backend would not have it: the next one.
    Failed(io::ErrorKind),
    /// There is no descriptor to be had.
    Exhausted,
}

impl Worker {
    /// Serves a client that has been let in.
    pub(super) fn serve(&mut self, mut accepted: Accepted) {
        let (Some(socket), Some(entrance)) = (accepted.socket.take(), accepted.entrance.take())
        else {
            return;
        };
        accepted.counted.keep();
        let listener = Arc::clone(&accepted.listener);
        let key = self.table.next_key();
        let registry = self.poll.registry();
        let fd = socket.raw_fd();
        let token = About::Session(key, Who::Client).into();
        let registered = registry.register(&mut SourceFd(&fd), token, READ);
        let pool = Arc::clone(&listener.pool);
        let timeouts = Arc::clone(&pool.timeouts);
        let luck = self.random.u64(..);
        let mut session = Session::new(socket, timeouts, self.now, luck);
        session.connect_by(self.now + pool.connect.deadline);
        let client_first = listener.client_first;
        self.table.insert(Entry {
            session,
            route: Route::new(pool),
            entrance,
            listener,
            client: accepted.client.clone(),
            accepted: accepted.at,
            connected: None,
            generation: key.generation,
            queued: false,
            parked: false,
            kept_alive: true,
            client_write: false,
            upstream_write: false,
        });
        if registered.is_err() {
            return self.end(key, EndReason { cause: Cause::Resources, phase: Phase::Accept });
        }
        self.guard(key, |worker| {
            let early = client_first && worker.read_early(key);
            worker.connect(key, early);
        });
    }

    /// Reads what a client that sends first has sent. True exactly when that was something.
    fn read_early(&mut self, key: Key) -> bool {
        let Some(entry) = self.table.get_mut(key) else { return false };
        let mut turn = Turn {
            now: self.now,
            scratch: &mut self.scratch,
            buffers: &mut self.buffers,
            pipes: &mut self.pipes,
            splice: self.settings.splice,
        };
        entry.session.expect_data();
        entry.session.read_early(&mut turn)
    }

    /// Connects a session to the next candidate, and ends it when there is none.
    pub(super) fn connect(&mut self, key: Key, early: bool) {
        loop {
            let Some(entry) = self.table.get_mut(key) else { return };
            entry.route.backend = None;
            entry.parked = false;
            let ask = Ask { source: entry.client.ip(), random: self.random.u64(..) };
            let backend = match entry.route.next(&ask) {
                Ok(backend) => backend,
                Err(cause) => return self.end(key, EndReason { cause, phase: Phase::Connect }),
            };
            match self.begin(key, &backend, early) {
                Begun::Yes => return,
                Begun::Failed(kind) => {
                    self.leave_backend(key, ConnectFailure::Failed(kind));
                }
                Begun::Exhausted => return self.park(key),
            }
        }
    }

    /// Notes that the backend of a session would not do.
    pub(super) fn leave_backend(&mut self, key: Key, failure: ConnectFailure) {
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.connected = None;
        let Some((backend, permit)) = entry.route.backend.take() else { return };
        drop(permit);
        backend.counters.connect_failures.add(1);
        entry.route.pool.pool.counters.connect_failures.add(1);
        tracing::debug!(
            target: LOG,
            pool = &*entry.route.pool.pool.name,
            backend = &*backend.name,
            client = %entry.client,
            failure = %failure,
            "connect failed",
        );
        entry.route.tried.push(backend);
        entry.route.last_failure = Some(failure);
    }

    fn begin(&mut self, key: Key, backend: &Backend, early: bool) -> Begun {
        let Some(entry) = self.table.get_mut(key) else { return Begun::Yes };
        let follows = backend.endpoint.follows_client();
        let local_port = follows.then(|| entry.session.client_stream().local_port()).flatten();
        let Some(destination) = backend.endpoint.destination(local_port) else {
            return Begun::Failed(io::ErrorKind::AddrNotAvailable);
        };
        match net::connect(&destination, &entry.route.pool.options, early) {
            Ok(Attempt::Connected(socket)) => self.attach(key, socket, true),
            Ok(Attempt::Pending(socket)) => self.attach(key, socket, false),
            Err(error) if is_exhaustion(&error) => Begun::Exhausted,
            Err(error) => {
                if is_out_of_ports(&error) {
                    self.gauges().out_of_ports.add(1);
                }
                Begun::Failed(error.kind())
            }
        }
    }

    fn attach(&mut self, key: Key, socket: Socket, connected: bool) -> Begun {
        let interest = if connected { READ } else { READ.add(Interest::WRITABLE) };
        let token = About::Session(key, Who::Upstream).into();
        if self.poll.registry().register(&mut SourceFd(&socket.raw_fd()), token, interest).is_err()
        {
            return Begun::Exhausted;
        }
        let now = self.now;
        let Some(entry) = self.table.get_mut(key) else { return Begun::Yes };
        entry.upstream_write = !connected;
        entry.kept_alive = entry.route.pool.options.keepalive.is_none() || !socket.is_tcp();
        if connected {
            entry.connected = Some(now);
            entry.session.connected(socket, now);
            self.make_ready(key);
        } else {
            let timeout = entry.route.pool.connect.timeout;
            entry.session.connect_started(socket, now + timeout);
            self.arm(key);
        }
        Begun::Yes
    }

    /// Leaves a session without upstream for a while, for want of descriptors.
    fn park(&mut self, key: Key) {
        let tick = self.tick(self.now + RETRY, Rounding::Up);
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.route.backend = None;
        entry.route.attempts = entry.route.attempts.saturating_sub(1);
        entry.parked = true;
        self.wheel.arm(key.index, tick);
    }
}

impl Route {
    fn new(pool: Arc<PoolView>) -> Self {
        Self {
            most_attempts: pool.connect.attempts,
            pool,
            pool_permit: None,
            backend: None,
            tried: Vec::new(),
            attempts: 0,
            last_failure: None,
        }
    }

    /// The next candidate, of this pool or of its fallback; or why there is none.
    fn next(&mut self, ask: &Ask) -> Result<Arc<Backend>, Cause> {
        loop {
            let refused = if self.attempts < self.most_attempts {
                match self.take(ask) {
                    Ok(backend) => return Ok(backend),
                    Err(refused) => refused,
                }
            } else if self.pool.is_exhausted(&self.tried) {
                Cause::ConnectFailed
            } else {
                return Err(self.failed(Cause::ConnectFailed));
            };
            let Some(fallback) = self.pool.fallback.clone() else {
                return Err(self.failed(refused));
            };
            self.pool_permit = None;
            self.most_attempts = self.attempts + fallback.connect.attempts;
            self.pool = fallback;
        }
    }

    /// A candidate of this very pool, under its limits.
    fn take(&mut self, ask: &Ask) -> Result<Arc<Backend>, Cause> {
        if self.pool_permit.is_none() {
            self.pool_permit = Some(self.pool.pool.limit.acquire().ok_or(Cause::PoolLimit)?);
        }
        match self.pool.pick(ask, &self.tried) {
            Picked::Backend(backend, permit) => {
                self.attempts += 1;
                self.backend = Some((Arc::clone(&backend), permit));
                Ok(backend)
            }
            Picked::Full => Err(Cause::PoolLimit),
            Picked::None => Err(Cause::NoBackend),
        }
    }

    /// The cause of an end without upstream: what the last attempt met, if there was one.
    fn failed(&self, otherwise: Cause) -> Cause {
        match self.last_failure {
            None => otherwise,
            Some(ConnectFailure::TimedOut) => Cause::ConnectTimeout,
            Some(ConnectFailure::Failed(_) | ConnectFailure::ResetUnused) => Cause::ConnectFailed,
        }
    }
}
