//! The far end of a connection: an application that reads while it is willing, and its socket.

use super::Micros;
use super::kernel::Family;
use super::link::Link;

/// How the peer stands. Its reading side is an application that reads while it is willing.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) written: u64,
    /// Of those, how many have come to Forebay's socket.
    pub(super) carried: u64,
    /// The urgent byte comes after so many.
    pub(super) urgent: Option<u64>,
    pub(super) half_closed: bool,
    pub(super) closed: bool,
    /// An RST is on its way to Forebay.
    pub(super) aborting: bool,
    /// Its machine is gone.
    pub(super) vanished: Option<Micros>,
    pub(super) reading: bool,
    /// True exactly when it never stopped reading before the end.
    pub(super) willing: bool,
    /// In its socket, not read yet.
    pub(super) queued: usize,
    pub(super) receive_buffer: usize,
    pub(super) received: u64,
    pub(super) fin_queued: bool,
    pub(super) saw_fin: bool,
    pub(super) saw_reset: bool,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            written: 0,
            carried: 0,
            urgent: None,
            half_closed: false,
            closed: false,
            aborting: false,
            vanished: None,
            reading: true,
            willing: true,
            queued: 0,
            receive_buffer: 4096,
            received: 0,
            fin_queued: false,
            saw_fin: false,
            saw_reset: false,
        }
    }
}

impl Link {
    /// True exactly when the peer's application has something to read and reads.
    pub(super) fn can_read(&self) -> bool {
        let peer = &self.peer;
        let something = peer.queued > 0 || peer.fin_queued && !peer.saw_fin;
        peer.reading && !peer.closed && peer.vanished.is_none() && something
    }

    pub(super) fn peer_reads(&mut self) {
        let count = self.chance.usize(0..=self.peer.queued).max(self.peer.queued.min(64));
        self.peer.queued -= count;
        self.peer.received += count as u64;
        self.peer.saw_fin |= self.peer.queued == 0 && self.peer.fin_queued;
    }

    // What the peer's application does.

    pub(super) fn peer_sips(&mut self) {
        if !self.peer.closed {
            self.peer.received += self.peer.queued as u64;
            self.peer.queued = 0;
        }
    }

    fn can_send(&self) -> bool {
        let peer = &self.peer;
        !(peer.half_closed || peer.closed || peer.aborting || peer.saw_reset)
            && peer.vanished.is_none()
    }

    pub(super) fn peer_writes(&mut self, count: u64) {
        if self.can_send() {
            self.peer.written += count;
        }
    }

    pub(super) fn peer_sends_urgent(&mut self) {
        if self.can_send() && self.peer.urgent.is_none() && self.family() == Family::Tcp {
            self.peer.urgent = Some(self.peer.written);
        }
    }

    pub(super) fn peer_half_closes(&mut self) {
        if self.can_send() {
            self.peer.half_closed = true;
        }
    }

    pub(super) fn peer_closes(&mut self) {
        if self.peer.queued > 0 {
            return self.peer_resets();
        }
        self.peer_half_closes();
        self.peer.closed = true;
        self.peer.willing = false;
    }

    pub(super) fn peer_resets(&mut self) {
        let peer = &mut self.peer;
        if !peer.closed && peer.vanished.is_none() {
            peer.aborting = true;
            peer.closed = true;
            peer.willing = false;
        }
    }

    pub(super) fn peer_vanishes(&mut self) {
        self.peer.vanished = Some(self.clock.get());
        self.peer.willing = false;
    }

    pub(super) fn peer_stops_reading(&mut self) {
        self.peer.reading = false;
        self.peer.willing = false;
    }
}
