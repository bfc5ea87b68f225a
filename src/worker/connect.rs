//! From a client to an upstream: pick, connect, and move on to the next when that fails.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;

use super::command::Accepted;
use super::end::LOG;
use super::entry::{Entry, Route};
use super::hearing::Hearing;
use super::hold::Aside;
use super::table::Key;
use super::token::About;
use super::{Rounding, Worker};
use crate::balance::Ask;
use crate::model::{Backend, Permit, Picked, PoolView, Work};
use crate::net::{self, Attempt, Socket, is_exhaustion, is_out_of_ports};
use crate::plugin::{Cause, EndReason, Phase};
use crate::session::{ConnectFailure, Session, Turn, Who};

/// A session that found no descriptor for its upstream tries again after this.
const RETRY: Duration = Duration::from_millis(100);

/// How an attempt went, as far as it is known at once.
pub(super) enum Begun {
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
        self.pace.serve(self.now);
        let listener = Arc::clone(&accepted.listener.listener);
        let client_first = accepted.listener.client_first;
        let id = (self.number as u64) << 48 | self.gauges().started.next();
        let key = self.table.next_key();
        let pool = Arc::clone(&accepted.pool);
        let timeouts = Arc::clone(&pool.timeouts);
        let luck = self.random.u64(..);
        let mut session = Session::new(socket, timeouts, self.now, luck);
        session.connect_by(self.now + pool.connect.deadline);
        self.table.insert(Entry {
            session,
            route: Route::new(pool),
            entrance,
            listener,
            client: accepted.client.clone(),
            id,
            accepted: accepted.at,
            connected: None,
            answered: false,
            queued: false,
            parked: false,
            kept_alive: true,
            client_hearing: Hearing::Bytes,
            upstream_hearing: Hearing::Bytes,
        });
        self.tell_started(key);
        self.guard(key, |worker| {
            worker.connect(key, client_first);
            worker.hear_client(key);
        });
    }

    /// Registers a client, of which nothing was heard so far: what was read early is no news.
    fn hear_client(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let fd = entry.session.client_stream().raw_fd();
        let token = About::Session(key, Who::Client).into();
        let interest = entry.hearing(Who::Client).interest();
        if self.poll.registry().register(&mut SourceFd(&fd), token, interest).is_err() {
            self.end(key, EndReason { cause: Cause::Resources, phase: Phase::Accept });
        }
    }

    /// Reads what a client that sends first has sent, once there is somebody to send it to: one that
    /// waits for that is not read. True exactly when there is something.
    fn read_early(&mut self, key: Key) -> bool {
        let crowded = self.is_crowded();
        let Some(entry) = self.table.get_mut(key) else { return false };
        let mut turn = Turn {
            now: self.now,
            scratch: &mut self.scratch,
            buffers: &mut self.buffers,
            pipes: &mut self.pipes,
            splice: self.snapshot.runtime.splice,
            crowded,
        };
        entry.session.expect_data();
        entry.session.read_early(&mut turn)
    }

    /// Connects a session to the next candidate, and ends it when there is none. Candidates are those
    /// of the snapshot of now, unless that does not have the pool any more. With `early` what the client
    /// has sent goes with the connect.
    pub(super) fn connect(&mut self, key: Key, early: bool) {
        if self.go_on_with_hedge(key) || !self.may_go_on(key) || !self.has_its_turn(key) {
            return;
        }
        loop {
            let Some(entry) = self.table.get_mut(key) else { return };
            if let Some(view) = self.snapshot.pools.get(&entry.route.pool.name) {
                entry.route.view = Some(Arc::clone(view));
            }
            entry.route.backend = None;
            entry.parked = false;
            if entry.session.is_late(self.now) {
                return self.give_up(key, Cause::ConnectTimeout);
            }
            entry.tell(&self.model.gauges[self.number].pulse, Work::Connect);
            let ask = Ask { source: entry.client.ip(), random: self.random.u64(..) };
            let now = self.model.age(self.now);
            let backend = match entry.route.next(&ask, now) {
                Ok(backend) => backend,
                Err(cause) => return self.give_up(key, cause),
            };
            let early = early && self.read_early(key);
            match self.begin(key, &backend, early) {
                Begun::Yes => return,
                Begun::Failed(kind) => {
                    self.leave_backend(key, ConnectFailure::Failed(kind));
                }
                Begun::Exhausted => {
                    // That was no attempt.
                    let entry = self.table.get_mut(key);
                    entry.into_iter().for_each(|entry| entry.route.attempts -= 1);
                    return self.park(key);
                }
            }
        }
    }

    /// Notes that the backend of a session would not do.
    pub(super) fn leave_backend(&mut self, key: Key, failure: ConnectFailure) {
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.connected = None;
        let Some((backend, permit)) = entry.route.backend.take() else { return };
        self.note_failed(key, backend, permit, failure);
    }

    /// Notes that a backend would not do for a session.
    pub(super) fn note_failed(
        &mut self,
        key: Key,
        backend: Arc<Backend>,
        permit: Permit,
        failure: ConnectFailure,
    ) {
        drop(permit);
        let Some(entry) = self.table.get_mut(key) else { return };
        backend.counters.connect_failures.add(1);
        entry.route.pool.counters.connect_failures.add(1);
        tracing::debug!(
            target: LOG,
            pool = &*entry.route.pool.name,
            backend = &*backend.name,
            client = %entry.client,
            failure = %failure,
            "connect failed",
        );
        entry.route.last_failure = Some(failure);
        entry.route.aside().tried.push(Arc::clone(&backend));
        let pool = Arc::clone(&entry.route.pool);
        if failure.is_the_backends() {
            let connected = failure == ConnectFailure::ResetUnused;
            self.count_against(&backend, &pool, connected, &failure);
        }
    }

    fn begin(&mut self, key: Key, backend: &Backend, early: bool) -> Begun {
        let Some(entry) = self.table.get_mut(key) else { return Begun::Yes };
        let Some(view) = entry.route.view.clone() else { return Begun::Yes };
        match self.open(key, backend, &view, early) {
            Ok(Attempt::Connected(socket)) => self.attach(key, socket, &view, true),
            Ok(Attempt::Pending(socket)) => self.attach(key, socket, &view, false),
            Err(begun) => begun,
        }
    }

    /// Begins to connect to a backend.
    pub(super) fn open(
        &mut self,
        key: Key,
        backend: &Backend,
        view: &PoolView,
        early: bool,
    ) -> Result<Attempt, Begun> {
        let Some(entry) = self.table.get_mut(key) else { return Err(Begun::Yes) };
        let follows = backend.endpoint.follows_client();
        let local_port = follows.then(|| entry.session.client_stream().local_port()).flatten();
        let Some(destination) = backend.endpoint.destination(local_port) else {
            return Err(Begun::Failed(io::ErrorKind::AddrNotAvailable));
        };
        let attempt = net::connect(&destination, &view.options, early, &mut self.spares);
        attempt.map_err(|error| self.not_opened(backend, &error))
    }

    /// What an error of connect(2), or on the way there, means for the attempt.
    fn not_opened(&mut self, backend: &Backend, error: &io::Error) -> Begun {
        if is_exhaustion(error) {
            self.spares.clear();
            if self.model.complaints.may_speak(self.model.epoch, self.now) {
                tracing::error!(worker = self.number, %error, "cannot connect, trying again in 100 ms");
            }
            return Begun::Exhausted;
        }
        if is_out_of_ports(error) {
            self.gauges().out_of_ports.add(1);
            if self.model.complaints.may_speak(self.model.epoch, self.now) {
                let backend = &*backend.name;
                tracing::error!(worker = self.number, backend, "no source port is left");
            }
        }
        Begun::Failed(error.kind())
    }

    fn attach(&mut self, key: Key, socket: Socket, view: &PoolView, connected: bool) -> Begun {
        let hearing = if connected { Hearing::Bytes } else { Hearing::Both };
        if self.hear_upstream(&socket, About::Session(key, Who::Upstream), hearing).is_err() {
            return Begun::Exhausted;
        }
        let now = self.now;
        let Some(entry) = self.table.get_mut(key) else { return Begun::Yes };
        entry.upstream_hearing = hearing;
        entry.kept_alive = view.options.keepalive.is_none() || !socket.is_tcp();
        if connected {
            entry.session.connected(socket, now);
            entry.connected(now);
            self.make_ready(key);
        } else {
            entry.session.connect_started(socket, now + view.connect.timeout);
            entry.hedge_later(now);
            self.arm(key);
        }
        Begun::Yes
    }

    /// Leaves a session without upstream for a while.
    pub(super) fn park(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.route.backend = None;
        entry.parked = true;
        self.arm_retry(key);
    }

    /// Lets a session that is parked try again in a while.
    pub(super) fn arm_retry(&mut self, key: Key) {
        let tick = self.tick(self.now + RETRY, Rounding::Up);
        self.wheel.arm(key.index, tick);
    }
}

impl Route {
    fn new(view: Arc<PoolView>) -> Self {
        Self {
            most_attempts: view.connect.attempts,
            pool: Arc::clone(&view.pool),
            view: Some(view),
            pool_permit: None,
            backend: None,
            attempts: 0,
            last_failure: None,
            aside: None,
        }
    }

    /// True exactly when one of `backends`, by their addresses in memory, serves the session or is
    /// asked to.
    pub(super) fn is_at(&self, backends: &HashMap<usize, Arc<Backend>>) -> bool {
        let at = self.backend.as_ref().map(|(backend, _)| Arc::as_ptr(backend) as usize);
        at.is_some_and(|at| backends.contains_key(&at))
    }

    /// The next candidate, of this pool or of its fallback; or why there is none.
    fn next(&mut self, ask: &Ask, now: u64) -> Result<Arc<Backend>, Cause> {
        loop {
            // Without a view the pool is not there any more.
            let Some(view) = self.view.clone() else { return Err(self.failed(Cause::NoBackend)) };
            let retry = self.is_retry(&view);
            let spent = self.attempts >= self.most_attempts;
            let refused = if (retry || spent) && view.is_exhausted(self.tried(), now) {
                Cause::ConnectFailed
            } else if spent || (retry && !self.may_retry(&view, now)) {
                return Err(self.failed(Cause::ConnectFailed));
            } else {
                match self.take(&view, ask, now) {
                    Ok(backend) => return Ok(backend),
                    Err(refused) => refused,
                }
            };
            let Some(fallback) = view.fallback.clone() else {
                return self.take_ejected(&view, ask, now).ok_or_else(|| self.failed(refused));
            };
            self.aside();
            self.pool_permit = None;
            self.most_attempts = self.attempts + fallback.connect.attempts;
            self.pool = Arc::clone(&fallback.pool);
            self.view = Some(fallback);
        }
    }

    /// True exactly when it has made an attempt in this pool already, since it waited if it did.
    fn is_retry(&self, view: &PoolView) -> bool {
        self.attempts + view.connect.attempts > self.most_attempts
    }

    /// True exactly when it may make one more attempt, which is counted then.
    fn may_retry(&self, view: &PoolView, now: u64) -> bool {
        self.comes_again() || view.may_retry(now)
    }

    /// A candidate of this very pool, under its limits.
    fn take(&mut self, view: &PoolView, ask: &Ask, now: u64) -> Result<Arc<Backend>, Cause> {
        if !self.may_pick(view) {
            return Err(Cause::PoolLimit);
        }
        // A permit that is given back calls whoever waits, so none is taken in vain.
        if self.pool_permit.is_none() && self.pool.limit.is_full() {
            return Err(Cause::PoolLimit);
        }
        match view.pick(ask, self.tried(), now) {
            Picked::Backend(backend, permit) => {
                self.adopt(view, backend, permit, now).ok_or(Cause::PoolLimit)
            }
            Picked::Full => Err(Cause::PoolLimit),
            Picked::None => Err(Cause::NoBackend),
        }
    }

    /// The last resort of a session that has tried all others.
    fn take_ejected(&mut self, view: &PoolView, ask: &Ask, now: u64) -> Option<Arc<Backend>> {
        if self.attempts >= self.most_attempts || !view.is_exhausted(self.tried(), now) {
            return None;
        }
        let (backend, permit) = view.pick_ejected(ask, self.tried(), now)?;
        if self.is_retry(view) && !self.may_retry(view, now) {
            return None;
        }
        self.adopt(view, backend, permit, now)
    }

    /// Goes to this backend, if the pool may have one more session.
    fn adopt(
        &mut self,
        view: &PoolView,
        backend: Arc<Backend>,
        permit: Permit,
        now: u64,
    ) -> Option<Arc<Backend>> {
        if self.pool_permit.is_none() {
            self.pool_permit = Some(self.pool.limit.acquire()?);
        }
        if !self.is_retry(view) && !self.comes_again() {
            view.pool.retries.note_first(now);
        }
        self.attempts += 1;
        self.backend = Some((Arc::clone(&backend), permit));
        self.leave_the_line();
        Some(backend)
    }

    /// Backends that this session has tried and left.
    pub(super) fn tried(&self) -> &[Arc<Backend>] {
        self.aside.as_ref().map_or(&[], |aside| &aside.tried)
    }

    /// What it remembers, from now on.
    pub(super) fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_with(|| Aside::of(&self.pool))
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
