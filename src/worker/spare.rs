//! Sockets of upstreams whose connection is over: they are kept for the next sessions with the same backend.

use super::Worker;
use super::entry::Entry;
use crate::net::{Address, SPARES, Socket};

/// Bytes of a session after which the kernel may have grown its socket's buffers.
const LITTLE: u64 = 64 << 10;

impl Worker {
    /// Keeps the socket of an upstream, if it is worth it.
    pub(super) fn spare(&mut self, upstream: Socket, entry: &Entry) {
        let (up, down) = entry.session.moved();
        if up + down > LITTLE || !self.has_room_for_spares() {
            return;
        }
        // One whose port follows the client's has none of its own.
        let backend = entry.route.backend.as_ref().map(|(backend, _)| backend);
        let address = backend.and_then(|backend| backend.endpoint.destination(None));
        if let Some(Address::Tcp(address)) = address {
            self.spares.give(upstream, address, self.now);
        }
    }

    /// True exactly when there are descriptors for what all workers may keep: a session takes two.
    fn has_room_for_spares(&self) -> bool {
        let all = u32::try_from(self.fleet.workers() * SPARES).unwrap_or(u32::MAX);
        let sessions = &self.model.sessions;
        sessions.current().saturating_add(all) <= sessions.max()
    }
}
