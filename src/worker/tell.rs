//! What observers are told of sessions: put into a bounded queue, never waited for.

use std::sync::Arc;

use super::Worker;
use super::table::Key;
use crate::plugin::{SessionEvent, SessionStart};

impl Worker {
    /// Tells that a session has started, if anybody wants to know.
    pub(super) fn tell_started(&mut self, key: Key) {
        if self.facts.is_none() {
            return;
        }
        let Some(entry) = self.table.get_mut(key) else { return };
        let start = SessionStart {
            id: entry.id,
            listener: Arc::clone(&entry.listener.name),
            client: entry.client.clone(),
            pool: Arc::clone(&entry.route.pool.name),
        };
        self.tell(SessionEvent::Started(start));
    }

    /// What does not fit is counted.
    pub(super) fn tell(&self, event: SessionEvent) {
        if let Some(sender) = &self.facts
            && sender.try_send(event).is_err()
        {
            self.model.dropped_facts.add(1);
        }
    }
}
