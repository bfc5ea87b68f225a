//! The end of a session: one function, one reason, one line.

use std::sync::atomic::Ordering::Relaxed;

use super::Worker;
use super::table::Entry;
use super::token::Key;
use crate::plugin::{Cause, EndReason};

impl Worker {
    /// Ends a session. Unless it is finished both sides are reset.
    pub(super) fn end(&mut self, key: Key, reason: EndReason) {
        self.wheel.disarm(key.index);
        let Some(mut entry) = self.table.remove(key) else { return };
        if reason.cause == Cause::Finished {
            entry.session.finish();
        }
        self.gauges().sessions.fetch_sub(1, Relaxed);
        self.model.ends.add(reason.cause);
        count(&entry);
        self.log(&entry, reason);
    }

    /// Ends all sessions.
    pub(super) fn end_all(&mut self, cause: Cause) {
        for key in self.table.keys() {
            let Some(entry) = self.table.get_mut(key) else { continue };
            let phase = entry.session.phase();
            self.end(key, EndReason { cause, phase });
        }
    }

    fn log(&self, entry: &Entry, reason: EndReason) {
        let (bytes_up, bytes_down) = entry.session.moved();
        let backend = entry.route.backend.as_ref().map_or("-", |(backend, _)| &*backend.name);
        let connect = entry.connected.map(|at| at.saturating_duration_since(entry.accepted));
        tracing::debug!(
            target: "forebay::session",
            worker = self.number,
            listener = &*entry.listener.listener.name,
            client = %entry.client,
            pool = &*entry.route.pool.pool.name,
            backend,
            attempts = entry.route.attempts,
            bytes_up,
            bytes_down,
            spliced = entry.session.spliced(),
            connect_us = connect.map_or(-1, |connect| i128::from(connect.as_micros() as u64) as i64),
            duration_us = self.now.saturating_duration_since(entry.accepted).as_micros() as u64,
            %reason,
            "session ended",
        );
    }
}

fn count(entry: &Entry) {
    let (up, down) = entry.session.moved();
    let backend = entry.route.backend.as_ref().map(|(backend, _)| &backend.counters);
    let of_all = [&entry.listener.listener.counters, &entry.route.pool.pool.counters];
    for counters in of_all.into_iter().chain(backend) {
        counters.sessions.add(1);
        counters.bytes_up.add(up);
        counters.bytes_down.add(down);
    }
}
