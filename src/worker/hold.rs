//! Sessions for which no backend can be used: those of a pool with `when_down` wait, and are let go on
//! one after the other once there is one again.

use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use super::end::LOG;
use super::entry::Route;
use super::hedge::Hedge;
use super::table::Key;
use crate::model::{Backend, Permit, Pool, PoolView, Ticket};
use crate::plugin::{Cause, EndReason, Phase};

/// What a session remembers that did not find its upstream straight away.
#[derive(Debug)]
pub(super) struct Aside {
    /// The pool that it was given to.
    pub(super) home: Arc<Pool>,
    /// Backends that it has tried and left.
    pub(super) tried: Vec<Arc<Backend>>,
    /// When it has waited for long enough, and what it met at first.
    bound: Option<(Instant, Cause)>,
    /// The right to wait, while it does.
    pub(super) held: Option<Permit>,
    /// By what right it looks again, if it had made an attempt before it began to wait.
    pub(super) again: Option<Again>,
    /// When a second connect is to begin.
    pub(super) hedge_at: Option<Instant>,
    /// The second connect.
    pub(super) hedge: Option<Hedge>,
    /// Its place in the line, while it stands there.
    pub(super) ticket: Option<Ticket>,
    /// When it has stood there for long enough.
    pub(super) line_until: Option<Instant>,
}

/// By what right a session looks for an upstream that had made an attempt before it waited. It covers
/// whatever it tries until it is served or has to wait anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// By none yet.
    Unasked,
    /// By one retry of its pool's budget.
    Retry,
    /// By what was earned when another one was served.
    Earned,
}

impl Aside {
    pub(super) fn of(home: &Arc<Pool>) -> Box<Self> {
        let home = Arc::clone(home);
        Box::new(Self {
            home,
            tried: Vec::new(),
            bound: None,
            held: None,
            again: None,
            hedge_at: None,
            hedge: None,
            ticket: None,
            line_until: None,
        })
    }
}

/// True exactly when a session that ends so was taken by no backend, though none of them is known to be full.
fn found_none(cause: Cause) -> bool {
    matches!(cause, Cause::NoBackend | Cause::ConnectFailed | Cause::ConnectTimeout)
}

impl Worker {
    /// No upstream can be had: the session waits for one, or ends.
    pub(super) fn give_up(&mut self, key: Key, cause: Cause) {
        let stands = self.table.get_mut(key).is_some_and(|entry| entry.route.ticket().is_some());
        if stands && cause == Cause::ConnectTimeout {
            let cause = Cause::QueueTimeout;
            return self.end(key, EndReason { cause, phase: Phase::Connect });
        }
        if self.stand_in_line(key, cause) || self.hold(key, cause) {
            return;
        }
        let aside = self.table.get_mut(key).and_then(|entry| entry.route.aside.as_ref());
        let cause = aside.and_then(|aside| aside.bound).map_or(cause, |(_, first)| first);
        let reason = EndReason { cause, phase: Phase::Connect };
        self.complain(key, reason);
        self.end(key, reason);
    }

    /// Says that no backend took a client, at most once a second for each pool.
    fn complain(&mut self, key: Key, reason: EndReason) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let (client, route, home) = (&entry.client, &entry.route, entry.route.home());
        if found_none(reason.cause) && home.complaints.may_speak(self.model.epoch, self.now) {
            let (pool, attempts) = (&*home.name, route.attempts);
            let failure = route.last_failure.map(tracing::field::display);
            tracing::warn!(pool, %client, attempts, %reason, failure, "no backend took a client, which is reset");
        }
    }

    /// True exactly when it waits.
    fn hold(&mut self, key: Key, cause: Cause) -> bool {
        if !found_none(cause) {
            return false;
        }
        let Some(entry) = self.table.get_mut(key) else { return false };
        // No connect is waited for any more.
        entry.drop_hedge();
        let route = &mut entry.route;
        let home = route.home();
        let Some(view) = self.snapshot.pools.get(&home.name) else { return false };
        let Some(hold) = view.hold else { return false };
        let aside = route.aside.get_or_insert_with(|| Aside::of(&view.pool));
        aside.ticket = None;
        let (until, _) = *aside.bound.get_or_insert((self.now + hold, cause));
        let new = aside.held.is_none();
        if new {
            aside.held = view.pool.held.acquire();
        }
        if self.now >= until || aside.held.is_none() {
            return false;
        }
        if new {
            let (pool, client) = (&*view.pool.name, &entry.client);
            tracing::debug!(target: LOG, pool, %client, "waits for a backend");
            if view.pool.complaints.may_speak(self.model.epoch, self.now) {
                tracing::warn!(pool, "no backend can be used, so clients wait");
            }
        }
        route.begin_anew(view);
        entry.session.hold(until);
        self.park(key);
        true
    }

    /// True exactly when a session may look for an upstream: it does not wait, or there is one again and
    /// it is its turn.
    pub(super) fn may_go_on(&mut self, key: Key) -> bool {
        let Some(entry) = self.table.get_mut(key) else { return false };
        let waits = entry.route.aside.as_ref().filter(|aside| aside.held.is_some());
        let Some(aside) = waits else { return true };
        // In the middle of a look, which its right covers.
        if aside.again.is_some_and(|again| again != Again::Unasked) {
            return true;
        }
        let Some(view) = self.snapshot.pools.get(&aside.home.name) else { return true };
        let now = self.model.age(self.now);
        if view.is_down(now)
            || view.pool.release.try_take(self.now).is_err()
            || !entry.route.may_try_again(view, now)
        {
            self.park(key);
            return false;
        }
        entry.session.connect_by(self.now + view.connect.deadline);
        true
    }
}

impl Route {
    /// The pool that the session was given to, whose fallback it may be served by.
    pub(super) fn home(&self) -> &Arc<Pool> {
        self.aside.as_ref().map_or(&self.pool, |aside| &aside.home)
    }

    /// As if it had tried nothing yet; only that it did is remembered.
    fn begin_anew(&mut self, view: &Arc<PoolView>) {
        if self.aside.as_ref().is_some_and(|aside| aside.again == Some(Again::Earned)) {
            view.pool.retries.failed_one();
        }
        self.go_home(view);
        let tried = self.attempts > 0;
        let aside = self.aside();
        aside.again = tried.then_some(Again::Unasked);
        aside.tried.clear();
    }

    /// True exactly when it may look for an upstream once more, which is counted then if it is a retry.
    fn may_try_again(&mut self, home: &PoolView, now: u64) -> bool {
        let again = self.aside.as_mut().and_then(|aside| aside.again.as_mut());
        let Some(again) = again else { return true };
        *again = if home.pool.retries.take_earned() {
            Again::Earned
        } else if home.may_retry(now) {
            Again::Retry
        } else {
            Again::Unasked
        };
        *again != Again::Unasked
    }

    /// It is connected, so it does not wait any more; how long it may in all stays.
    pub(super) fn wait_no_more(&mut self) {
        let Some(aside) = &mut self.aside else { return };
        if aside.held.take().is_some() {
            aside.home.retries.served_one();
        }
    }

    /// True exactly when it had made an attempt before it began to wait.
    pub(super) fn comes_again(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.again.is_some())
    }
}
