//! Sessions for which no backend has room: those of a pool with a `queue` wait in its line, and the
//! first goes on when a permit comes free.

use std::sync::Arc;
use std::time::Duration;

use mio::Token;

use super::end::LOG;
use super::entry::Route;
use super::table::Key;
use super::token::About;
use super::{Rounding, Worker};
use crate::model::{PoolView, Ticket, Waiter};
use crate::plugin::Cause;
use crate::session::Who;

/// A session that waits looks again after this, for room that nobody tells of: that of a backend
/// which is not ejected any more.
const GLANCE: Duration = Duration::from_secs(1);

impl Worker {
    /// True exactly when it waits in the line of the pool that it was given to, or has found room there
    /// now.
    pub(super) fn stand_in_line(&mut self, key: Key, cause: Cause) -> bool {
        if cause != Cause::PoolLimit {
            return false;
        }
        let who = Waiter { worker: self.number, session: session(key) };
        let Some(entry) = self.table.get_mut(key) else { return false };
        let route = &mut entry.route;
        let home = route.home();
        let Some(view) = self.snapshot.pools.get(&home.name) else { return false };
        let Some(wait) = view.wait else { return false };
        let aside = route.aside();
        let until = *aside.line_until.get_or_insert(self.now + wait);
        if self.now >= until {
            return false;
        }
        let new = aside.ticket.is_none();
        if new {
            aside.ticket = view.pool.queue.join(who);
        }
        let Some(ticket) = &aside.ticket else { return false };
        aside.held = None;
        if !new {
            ticket.stay();
        }
        let looks_again = new && ticket.is_first();
        if new {
            let (pool, client) = (&*view.pool.name, &entry.client);
            tracing::debug!(target: LOG, pool, %client, "waits for room");
        }
        route.go_home(view);
        entry.session.hold(until);
        entry.parked = true;
        if looks_again {
            self.connect(key, false);
        } else {
            self.wait_in_line(key);
        }
        true
    }

    /// The first of a line was called.
    pub(super) fn go_on(&mut self, Token(session): Token) {
        let About::Session(key, _) = About::from(Token(session)) else { return };
        let Some(entry) = self.table.get_mut(key) else { return };
        let Some(ticket) = entry.route.ticket() else { return };
        ticket.hear();
        self.guard(key, |worker| worker.connect(key, false));
    }

    /// True exactly when a session may look for room: it does not stand in a line, or is its first.
    pub(super) fn has_its_turn(&mut self, key: Key) -> bool {
        let Some(entry) = self.table.get_mut(key) else { return false };
        let Some(ticket) = entry.route.ticket() else { return true };
        let first = ticket.looks();
        if !first {
            self.wait_in_line(key);
        } else if let Some(view) = &entry.route.view {
            entry.session.connect_by(self.now + view.connect.deadline);
        }
        first
    }

    fn wait_in_line(&mut self, key: Key) {
        let tick = self.tick(self.now + GLANCE, Rounding::Up);
        self.wheel.arm(key.index, tick);
        self.arm(key);
    }
}

/// What a session that has come from another worker is called by from now on.
pub(super) fn moved(ticket: &Ticket, worker: usize, key: Key) {
    ticket.moved(Waiter { worker, session: session(key) });
}

fn session(key: Key) -> usize {
    Token::from(About::Session(key, Who::Client)).0
}

impl Route {
    pub(super) fn ticket(&self) -> Option<&Ticket> {
        self.aside.as_ref()?.ticket.as_ref()
    }

    /// True exactly when nobody came before it who still waits for room in this pool.
    pub(super) fn may_pick(&self, view: &PoolView) -> bool {
        let queue = &view.pool.queue;
        let has_turn = || self.ticket().is_some_and(|it| it.is_of(queue) && it.is_first());
        view.wait.is_none() || queue.waiting() == 0 || has_turn()
    }

    /// It has found room.
    pub(super) fn leave_the_line(&mut self) {
        self.aside.iter_mut().for_each(|aside| aside.ticket = None);
    }

    /// Back to the pool that it was given to.
    pub(super) fn go_home(&mut self, view: &Arc<PoolView>) {
        self.pool = Arc::clone(&view.pool);
        self.view = Some(Arc::clone(view));
        self.pool_permit = None;
        self.backend = None;
        self.most_attempts = self.attempts + view.connect.attempts;
    }
}
