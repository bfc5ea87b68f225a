//! The end of a session: one function, one reason, one line.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Worker;
use super::command::Whom;
use super::entry::Entry;
use super::table::Key;
use crate::plugin::{Cause, EndReason, SessionEvent, SessionFacts};

/// The log's name for what happens with each session.
pub(super) const LOG: &str = "forebay::session";

impl Worker {
    /// Ends a session. Unless it is finished both sides are reset.
    pub(super) fn end(&mut self, key: Key, reason: EndReason) {
        let Some(mut entry) = self.table.remove(key) else { return };
        self.wheel.disarm(key.index);
        if reason.cause == Cause::Finished {
            let upstream = entry.session.finish();
            upstream.into_iter().for_each(|upstream| self.spare(upstream, &entry));
        }
        self.gauges().sessions.fetch_sub(1, Relaxed);
        self.model.ends.add(reason.cause);
        count(&entry);
        self.judge_backend(&mut entry, reason.cause);
        self.log(&entry, reason);
    }

    /// Dooms all sessions of `whom`. They end in the turns that follow, so many in each.
    pub(super) fn doom(&mut self, whom: &Whom, cause: Cause) {
        for key in self.table.keys() {
            let Some(entry) = self.table.get_mut(key) else { continue };
            let meant = match whom {
                Whom::All => true,
                Whom::Of(backends) => entry.route.is_at(backends),
            };
            if meant {
                self.doomed.push_back((key, cause));
            }
        }
    }

    /// Ends at most `most` of the doomed.
    pub(super) fn end_doomed(&mut self, most: usize) {
        for _ in 0..most {
            let Some((key, cause)) = self.doomed.pop_front() else { return };
            let Some(entry) = self.table.get_mut(key) else { continue };
            let phase = entry.session.phase();
            self.end(key, EndReason { cause, phase });
        }
    }

    fn log(&self, entry: &Entry, reason: EndReason) {
        if self.facts.is_none() && !tracing::enabled!(target: LOG, tracing::Level::DEBUG) {
            return;
        }
        let facts = self.facts_of(entry, reason);
        let SessionFacts { attempts, bytes_up, bytes_down, .. } = facts;
        tracing::debug!(
            target: LOG,
            worker = self.number,
            listener = &*facts.listener,
            client = %facts.client,
            pool = &*facts.pool,
            backend = facts.backend.as_deref(),
            attempts,
            bytes_up,
            bytes_down,
            spliced = entry.session.spliced(),
            connect_ms = facts.connect.map(|connect| connect.as_secs_f64() * 1e3),
            duration_ms = facts.duration.as_secs_f64() * 1e3,
            %reason,
            "session ended",
        );
        self.tell(SessionEvent::Ended(facts));
    }

    fn facts_of(&self, entry: &Entry, reason: EndReason) -> SessionFacts {
        let (bytes_up, bytes_down) = entry.session.moved();
        let since_accepted = |at: Instant| at.saturating_duration_since(entry.accepted);
        SessionFacts {
            id: entry.id,
            listener: Arc::clone(&entry.listener.name),
            client: entry.client.clone(),
            pool: Arc::clone(&entry.route.pool.name),
            backend: entry.route.backend.as_ref().map(|(backend, _)| Arc::clone(&backend.name)),
            attempts: entry.route.attempts,
            bytes_up,
            bytes_down,
            connect: entry.connected.map(since_accepted),
            duration: since_accepted(self.now),
            reason,
        }
    }
}

fn count(entry: &Entry) {
    let (up, down) = entry.session.moved();
    let backend = entry.route.backend.as_ref().map(|(backend, _)| &**backend);
    let backend = backend.map(|backend| &backend.counters);
    let of_all = [&entry.listener.counters, &entry.route.pool.counters];
    for counters in of_all.into_iter().chain(backend) {
        counters.sessions.add(1);
        counters.bytes_up.add(up);
        counters.bytes_down.add(down);
    }
}
