//! A connection: a socket of Forebay, the network, and the peer at the other end.
//!
//! Bytes are numbered, so that whoever receives one knows which it has to be.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Result};
use std::rc::Rc;
use std::time::Duration;

use super::chance::Chance;
use super::kernel::{Family, Kernel};
use super::peer::Peer;
use super::{MILLISECOND, Micros, SECOND};
use crate::net::Liveness;

/// Byte `number` of the stream that `link` sends.
fn byte(link: u8, number: u64) -> u8 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ link
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: u8,
    pub(super) kernel: Kernel,
    pub(super) peer: Peer,
    pub(super) clock: Rc<Cell<Micros>>,
    pub(super) chance: Chance,
    /// True exactly when calls are interrupted and refused at random.
    pub(super) moody: bool,
    /// Forebay's socket is closed.
    pub(super) dropped: bool,
    pub(super) linger_zero: bool,
    rst_out: bool,
    /// The source from which this connection's bytes for the peer come.
    pub(super) from: u8,
    /// When the RST came and how many bytes had come before it.
    pub(super) reset_at: Option<(Micros, u64)>,
    /// True exactly when splice(2) has kept the error to itself, and with it whether a FIN came.
    pub(super) error_lost: bool,
    /// True exactly when a FIN came, and before any RST.
    pub(super) fin_arrived: bool,
    pub(super) last_acknowledgement: Micros,
    /// When something was sent after all had been acknowledged.
    pub(super) sent: Micros,
    /// When the peer took something last.
    pub(super) last_taken: Micros,
    pub(super) pipe_capacity: usize,
}

pub(super) type Shared = Rc<RefCell<Link>>;

impl Link {
    pub(super) fn new(name: u8, from: u8, family: Family, clock: &Rc<Cell<Micros>>) -> Self {
        Self {
            name,
            from,
            kernel: Kernel::new(family, 4096, 4096),
            peer: Peer::new(),
            clock: Rc::clone(clock),
            chance: Chance::of_seed(0),
            moody: false,
            dropped: false,
            linger_zero: false,
            rst_out: false,
            reset_at: None,
            error_lost: false,
            fin_arrived: false,
            last_acknowledgement: clock.get(),
            sent: clock.get(),
            last_taken: clock.get(),
            pipe_capacity: 4096,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.kernel.family
    }

    /// True exactly when the network has something to bring to Forebay that fits.
    pub(super) fn can_bring(&self) -> bool {
        let (peer, kernel) = (&self.peer, &self.kernel);
        if peer.vanished.is_some() || kernel.connecting {
            return false;
        }
        if self.dropped {
            let lost = peer.carried < peer.written && !peer.saw_reset && !self.rst_out;
            return lost && self.reset_at.is_none();
        }
        if kernel.closed {
            return false;
        }
        let urgent = peer.urgent == Some(peer.carried) && kernel.mark.is_none();
        let room = kernel.queue.len() < kernel.receive_buffer;
        let bytes = peer.carried < self.next_stop() && room;
        let all = peer.carried == peer.written && peer.urgent.is_none();
        urgent || bytes || peer.aborting || all && peer.half_closed && !kernel.fin_in
    }

    fn next_stop(&self) -> u64 {
        self.peer.urgent.unwrap_or(self.peer.written)
    }

    pub(super) fn bring(&mut self) {
        if self.dropped {
            // Data for a socket that is closed is answered by RST.
            self.peer_is_reset();
            return;
        }
        let stop = self.next_stop();
        let (peer, kernel) = (&mut self.peer, &mut self.kernel);
        if peer.aborting {
            self.reset_at = Some((self.clock.get(), peer.carried));
            kernel.reset_arrives();
        } else if peer.urgent == Some(peer.carried) {
            peer.urgent = None;
            kernel.urgent_arrives();
        } else if peer.carried < stop {
            let room = kernel.receive_buffer - kernel.queue.len();
            let most = (stop - peer.carried).min(room as u64);
            let count = self.chance.u64(1..=most);
            let first = peer.carried;
            kernel.data_arrives((first..first + count).map(|number| byte(self.name, number)));
            peer.carried += count;
        } else {
            self.fin_arrived = true;
            if peer.closed && kernel.family == Family::Unix {
                kernel.peer_gone();
            } else {
                kernel.fin_arrives();
            }
        }
        self.last_acknowledgement = self.clock.get();
    }

    /// True exactly when something can leave Forebay's socket.
    pub(super) fn can_take(&self) -> bool {
        let (peer, kernel) = (&self.peer, &self.kernel);
        if peer.vanished.is_some() || peer.saw_reset {
            return false;
        }
        let cut = kernel.closed && kernel.family == Family::Tcp;
        let room = peer.queued < peer.receive_buffer || peer.closed;
        let bytes = !kernel.send.is_empty() && room;
        let fin = kernel.send.is_empty() && kernel.fin_out && !kernel.fin_acknowledged;
        self.rst_out || !cut && !peer.aborting && (bytes || fin)
    }

    pub(super) fn take(&mut self) {
        if self.rst_out {
            return self.peer_is_reset();
        }
        let (peer, kernel) = (&mut self.peer, &mut self.kernel);
        self.last_acknowledgement = self.clock.get();
        if peer.closed && !kernel.send.is_empty() {
            // Nobody is there to read: RST.
            peer.aborting = true;
            return;
        }
        if !self.dropped {
            self.last_taken = self.clock.get();
        }
        if kernel.send.is_empty() {
            peer.fin_queued = true;
            return kernel.fin_is_acknowledged();
        }
        let most = kernel.send.len().min(peer.receive_buffer - peer.queued);
        let count = self.chance.usize(1..=most);
        for got in kernel.send.drain(..count) {
            let number = peer.received + peer.queued as u64;
            assert_eq!(got, byte(self.from, number), "byte {number} for {}", self.name);
            peer.queued += 1;
        }
        kernel.acknowledged();
    }

    fn peer_is_reset(&mut self) {
        self.rst_out = false;
        self.peer.saw_reset = true;
        // What has come is still read.
        if !self.peer.closed {
            self.peer.received += self.peer.queued as u64;
            self.peer.saw_fin |= self.peer.fin_queued;
            self.peer.queued = 0;
        }
        self.peer.written = self.peer.carried;
    }

    pub(super) fn mood(&mut self) -> Result<()> {
        if self.moody && self.chance.bad_luck(10) {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    /// close(2).
    pub(super) fn close(&mut self) {
        self.dropped = true;
        self.kernel.interest = 0;
        self.kernel.ready = false;
        let tcp = self.kernel.family == Family::Tcp;
        if self.kernel.connecting || self.kernel.closed && tcp {
            return;
        }
        if tcp && (self.linger_zero || !self.kernel.queue.is_empty()) {
            self.kernel.send.clear();
            self.rst_out = true;
        } else {
            self.kernel.fin_out = true;
        }
    }
}

impl Link {
    /// write(2).
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.kernel.send.is_empty() {
            self.sent = self.clock.get();
        }
        self.kernel.write(bytes)
    }

    /// TCP_INFO. Retransmissions and window probes come at times that double from 200 ms; a peer
    /// that lives answers at once.
    pub(super) fn liveness(&self) -> Liveness {
        let now = self.clock.get();
        let from = self.sent.max(self.last_taken);
        let tries = (1..).map(|n| from + 200 * MILLISECOND * ((1 << n) - 1));
        let tries = tries.take_while(|at| *at <= now).collect::<Vec<_>>();
        let gone = self.peer.vanished.unwrap_or(Micros::MAX);
        // The answer to the last one may be under way still.
        let unanswered = tries.iter().filter(|at| **at >= gone || now - **at < SECOND / 100);
        let answered = tries.iter().filter(|at| **at < gone).max().copied().unwrap_or(0);
        let last = answered.max(self.last_acknowledgement);
        Liveness {
            last_acknowledgement: Duration::from_micros(now - last),
            unanswered: u32::try_from(unanswered.count()).unwrap_or(u32::MAX),
        }
    }
}
