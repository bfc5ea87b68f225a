//! One socket of a session, and how its peer's sending came to an end.

use std::io;

use crate::net::Stream;

/// How the peer's direction of a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// More may come.
    Open,
    /// The peer has sent all it had, and a FIN.
    Fin,
    /// The connection is broken. What had arrived can still be read.
    Reset,
}

/// What the poll said of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// EPOLLIN
    pub readable: bool,
    /// EPOLLOUT
    pub writable: bool,
    /// EPOLLRDHUP or EPOLLHUP
    pub read_closed: bool,
    /// EPOLLHUP, or EPOLLERR
    pub write_closed: bool,
    /// EPOLLERR
    pub error: bool,
    /// EPOLLPRI
    pub urgent: bool,
}

/// Whether an event calls for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It does.
    Some,
    /// It told that there is room, as was known.
    Room,
    /// It told of bytes for which the other side has no room.
    Bytes,
}

/// One socket of a session.
///
/// The kernel reports an error of a connection once, to whichever call meets it first; afterwards
/// reads give what had arrived and then 0, as if a FIN had come, and the event bits are gone. So
/// every call that meets the end tells it here, and nowhere else is it judged what a 0 means.
#[derive(Debug)]
pub(super) struct Side<S> {
    pub(super) stream: S,
    ended: Ended,
    /// True exactly when a FIN came, be it that a reset came after it.
    fin: bool,
    /// True exactly when no read will ever give another byte.
    exhausted: bool,
    /// True exactly when a call has met the error, so that a read cannot meet it any more.
    error_met: bool,
    /// True exactly when a read may give something.
    pub(super) readable: bool,
    /// True exactly when no write has been refused since the socket was last writable.
    pub(super) writable: bool,
    /// True exactly when the poll saw a FIN and no error: what is queued is all there will be.
    fin_queued: bool,
    /// True exactly when the end was told of already. No event will tell of it again, so reads go
    /// on until one meets it.
    ending: bool,
    /// True exactly when urgent data has come: a read stops short at it though more is queued.
    urgent: bool,
}

impl<S: Stream> Side<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            ended: Ended::Open,
            fin: false,
            exhausted: false,
            error_met: false,
            readable: false,
            writable: true,
            fin_queued: false,
            ending: false,
            urgent: false,
        }
    }

    pub(super) fn ended(&self) -> Ended {
        self.ended
    }

    /// True exactly when a FIN is to be passed on, also one that a reset came after.
    pub(super) fn fin(&self) -> bool {
        self.fin
    }

    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// True exactly when bytes may be moved by splice(2), which cannot pass urgent data.
    pub(super) fn splices(&self) -> bool {
        self.stream.splices() && !self.urgent
    }

    /// Takes in what the poll said. `blocked`: what comes cannot be passed on now.
    pub(super) fn event(&mut self, seen: Readiness, blocked: bool) -> News {
        let room = seen.writable || seen.write_closed;
        let ends = seen.read_closed || seen.write_closed || seen.error || seen.urgent;
        let news = match seen.readable {
            _ if ends || room && !self.writable => News::Some,
            true if blocked => News::Bytes,
            true => News::Some,
            false => News::Room,
        };
        self.readable |= seen.readable || seen.read_closed || seen.error;
        self.writable |= room;
        self.urgent |= seen.urgent;
        self.ending |= seen.read_closed || seen.error;
        if seen.error {
            self.ended = Ended::Reset;
        } else if seen.read_closed && !seen.write_closed {
            // The event of a reset carries RDHUP too, and HUP stays when a call has met the error.
            self.fin_queued = true;
        }
        news
    }

    /// A read gave `count` of `room` bytes.
    pub(super) fn read_gave(&mut self, count: usize, room: usize) {
        // A read of a unix socket also stops where descriptors were passed (unix(7), SCM_RIGHTS).
        if count >= room || self.urgent || !self.stream.splices() {
            return;
        }
        // Less than there was room for: all that had arrived, so no second read to see WouldBlock.
        self.drained();
    }

    /// A splice has moved bytes. What a pipe takes is bounded by pieces, not by bytes, so that it was
    /// all cannot be told from their number; asking costs less than to try once more in vain.
    pub(super) fn splice_gave(&mut self) {
        if !self.urgent && matches!(self.stream.unread(), Ok(0)) {
            self.drained();
        }
    }

    fn drained(&mut self) {
        if self.fin_queued {
            self.read_ended();
        } else {
            self.readable = self.ending;
        }
    }

    /// A read gave 0, or it is known that it would.
    pub(super) fn read_ended(&mut self) {
        self.exhausted = true;
        self.readable = false;
        if self.ended == Ended::Open {
            self.ended = Ended::Fin;
        }
        // A reset that no call has met would have come out of this read, unless a FIN came before
        // it (SOCK_DONE is looked at first in tcp_recvmsg).
        self.fin |= !self.error_met || self.fin_queued;
    }

    /// A read met an error: nothing is left to be read.
    pub(super) fn read_failed(&mut self) {
        self.exhausted = true;
        self.readable = false;
        self.ended = Ended::Reset;
        self.error_met = true;
        // After a FIN a read of TCP gives 0. A unix socket may still tell that its peer has closed
        // with bytes unread, and has said EPIPE to a write before.
        self.fin = self.fin_queued;
    }

    /// A splice to this side met an error. It tells nothing of a FIN: splice(2) keeps an error to
    /// itself when it has moved some bytes before, and the next one says EPIPE whatever it was.
    pub(super) fn splice_failed(&mut self, error: &io::Error) {
        self.error_met = true;
        self.failed(error);
    }

    /// A write or a shutdown met an error, or a splice from this side. What had arrived is still to
    /// be read.
    pub(super) fn failed(&mut self, error: &io::Error) {
        // shutdown(2) says ENOTCONN and leaves the error to be met by a read.
        if error.kind() != io::ErrorKind::NotConnected {
            // A reset that follows a FIN is reported as EPIPE, any other as ECONNRESET
            // (tcp_reset). EPIPE is also what comes once the error has been met.
            self.fin |= !self.error_met && error.kind() == io::ErrorKind::BrokenPipe;
            self.error_met = true;
        }
        self.ended = Ended::Reset;
        self.ending = true;
        self.readable = !self.exhausted;
        self.writable = true;
    }
}
