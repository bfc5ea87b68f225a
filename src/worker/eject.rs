//! Failures of sessions, counted against the backend that they met: one too many in a row, and it is
//! left out for a while.

use std::fmt::Display;

use super::Worker;
use super::entry::Entry;
use crate::model::{Backend, Ejection, Pool, Return};
use crate::plugin::Cause;

impl Worker {
    /// Counts what the end of a session says of its backend. A reset after the client has sent is no
    /// reason to try another one, for what was asked may have been done.
    pub(super) fn judge_backend(&self, entry: &mut Entry, cause: Cause) {
        if cause == Cause::Finished && !entry.answered {
            // That is how some say all they have to say.
            entry.answered();
        }
        if cause == Cause::UpstreamReset
            && entry.session.is_unanswered()
            && let Some((backend, _)) = &entry.route.backend
        {
            self.count_against(backend, &entry.route.pool, true, &"reset before a byte came back");
        }
    }

    /// Counts a failure against a backend, before its connect was done or after, and tells if that
    /// was one too many.
    pub(super) fn count_against(
        &self,
        backend: &Backend,
        pool: &Pool,
        connected: bool,
        why: &dyn Display,
    ) {
        // A pool that is not named any more leaves nobody out.
        let Some(view) = self.snapshot.pools.get(&pool.name) else { return };
        let now = self.model.age(self.now);
        if let Some((ejection, how)) = backend.health.came_back(now) {
            tell_of_return(&pool.name, backend, &ejection, how);
        }
        let Some(time) = view.note_failure(backend, connected, why, now) else { return };
        let (pool, backend) = (&*pool.name, &*backend.name);
        tracing::info!(pool, backend, ?time, reason = %why, "backend ejected");
    }
}

/// Tells that a backend is not left out any more: by control, unless it is about to be left out again.
pub fn tell_of_return(pool: &str, backend: &Backend, ejection: &Ejection, how: Return) {
    let reason = match how {
        Return::InTime => "its time is over",
        Return::ByProbe => "a probe succeeded",
    };
    let after = ejection.since.elapsed().unwrap_or_default();
    tracing::info!(pool, backend = &*backend.name, ?after, reason, "backend is used again");
}
