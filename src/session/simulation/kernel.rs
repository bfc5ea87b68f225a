//! One socket of Forebay as the kernel shows it: calls, errors, event bits and edges.
//!
//! Follows Linux 6: `tcp_poll`, `tcp_recvmsg`, `tcp_splice_read`, `tcp_sendmsg`, `tcp_reset`,
//! `inet_shutdown`, `ep_poll_callback`, and for unix sockets `unix_poll` and
//! `unix_release_sock`. What a test depends on was also tried on a real kernel.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};

use crate::session::Readiness;

pub(super) const IN: u8 = 1;
pub(super) const OUT: u8 = 2;
pub(super) const PRI: u8 = 4;
const RDHUP: u8 = 8;
pub(super) const HUP: u8 = 16;
pub(super) const ERR: u8 = 32;
/// What mio registers for READABLE and PRIORITY; HUP and ERR come unasked.
pub(super) const READ: u8 = IN | RDHUP | PRI | HUP | ERR;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Tcp,
    Unix,
}

/// One socket.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) family: Family,
    pub(super) connecting: bool,
    /// Received, not yet read; the urgent byte is not in it.
    pub(super) queue: VecDeque<u8>,
    /// Bytes of `queue` before an urgent byte that is not passed yet.
    pub(super) mark: Option<usize>,
    pub(super) receive_buffer: usize,
    /// Written, not yet acknowledged.
    pub(super) send: VecDeque<u8>,
    pub(super) send_buffer: usize,
    /// SOCK_NOSPACE: somebody was told that there is no room.
    no_space: bool,
    pub(super) fin_in: bool,
    pub(super) fin_out: bool,
    pub(super) fin_acknowledged: bool,
    /// TCP_CLOSE; of a unix socket: the peer is gone.
    pub(super) closed: bool,
    error: Option<ErrorKind>,
    /// SIOCOUTQ keeps what it was when a reset came.
    left: usize,
    /// Registered for.
    pub(super) interest: u8,
    /// On epoll's ready list.
    pub(super) ready: bool,
}

impl Kernel {
    pub(super) fn new(family: Family, receive_buffer: usize, send_buffer: usize) -> Self {
        Self {
            family,
            connecting: false,
            queue: VecDeque::new(),
            mark: None,
            receive_buffer,
            send: VecDeque::new(),
            send_buffer,
            no_space: false,
            fin_in: false,
            fin_out: false,
            fin_acknowledged: false,
            closed: false,
            error: None,
            left: 0,
            interest: 0,
            ready: false,
        }
    }

    fn mask(&mut self) -> u8 {
        let mut mask = 0;
        let both = self.fin_in && self.fin_out;
        if both || self.closed {
            mask |= HUP;
        }
        if self.fin_in || self.closed {
            mask |= IN | RDHUP;
        }
        if !self.connecting {
            if !self.queue.is_empty() {
                mask |= IN;
            }
            if self.fin_out || self.closed || self.writeable() {
                mask |= OUT;
            } else {
                self.no_space = true;
            }
            if self.mark.is_some() {
                mask |= PRI;
            }
        }
        if self.error.is_some() {
            mask |= ERR;
        }
        mask
    }

    /// `__sk_stream_is_writeable`: a third is free.
    fn writeable(&self) -> bool {
        let free = self.send_buffer.saturating_sub(self.send.len());
        free > 0 && free * 2 >= self.send.len()
    }

    /// Something happened; `key` tells what, 0 that it may be anything.
    fn wake(&mut self, key: u8) {
        if self.interest != 0 && (key == 0 || key & self.interest != 0) {
            self.ready = true;
        }
    }

    /// epoll_ctl(2), which looks at once.
    pub(super) fn register(&mut self, interest: u8) {
        self.interest = interest;
        self.ready |= self.mask() & interest != 0;
    }

    /// epoll_wait(2), in the words of mio.
    pub(super) fn poll(&mut self) -> Option<Readiness> {
        if !std::mem::take(&mut self.ready) {
            return None;
        }
        let mask = self.mask() & self.interest;
        let has = |bit: u8| mask & bit != 0;
        (mask != 0).then(|| Readiness {
            readable: has(IN) || has(PRI),
            writable: has(OUT),
            read_closed: has(HUP) || has(IN) && has(RDHUP),
            write_closed: has(HUP) || has(OUT) && has(ERR) || mask == ERR,
            error: has(ERR),
            urgent: has(PRI),
        })
    }

    // What the network brings.

    pub(super) fn established(&mut self) {
        self.connecting = false;
        self.wake(0);
    }

    pub(super) fn refused(&mut self, error: ErrorKind) {
        self.connecting = false;
        self.fail(error);
    }

    pub(super) fn data_arrives(&mut self, bytes: impl Iterator<Item = u8>) {
        self.queue.extend(bytes);
        self.wake(IN | PRI);
    }

    pub(super) fn urgent_arrives(&mut self) {
        self.mark = Some(self.queue.len());
        self.wake(IN | PRI);
    }

    pub(super) fn fin_arrives(&mut self) {
        self.fin_in = true;
        self.close_if_done();
        self.wake(0);
    }

    /// `tcp_reset`.
    pub(super) fn reset_arrives(&mut self) {
        let after_fin = self.family == Family::Tcp && self.fin_in && !self.fin_out;
        self.fail(if after_fin { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
    }

    pub(super) fn fail(&mut self, error: ErrorKind) {
        if self.closed {
            return;
        }
        self.left = self.outstanding();
        self.error = Some(error);
        self.closed = true;
        self.send.clear();
        self.wake(0);
    }

    /// The peer of a unix socket closes it with nothing unread.
    pub(super) fn peer_gone(&mut self) {
        self.fin_in = true;
        self.closed = true;
        self.send.clear();
        self.wake(0);
    }

    pub(super) fn acknowledged(&mut self) {
        let unix = self.family == Family::Unix;
        if (unix || self.no_space) && self.writeable() {
            self.no_space = false;
            self.wake(OUT);
        }
    }

    pub(super) fn fin_is_acknowledged(&mut self) {
        self.fin_acknowledged = true;
        self.close_if_done();
        self.wake(0);
    }

    fn close_if_done(&mut self) {
        self.closed |= self.fin_in && self.fin_acknowledged && self.family == Family::Tcp;
    }

    // What the session calls.

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.look(buffer)?;
        self.queue.drain(..count);
        self.mark = self.mark.and_then(|mark| mark.checked_sub(count));
        Ok(count)
    }

    /// Reads without consuming. A read that begins at the urgent byte steps over it.
    pub(super) fn look(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.mark == Some(0) {
            self.mark = None;
        }
        let most = self.mark.unwrap_or(usize::MAX).min(self.queue.len()).min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.queue.iter().take(most)) {
            *to = *from;
        }
        if most > 0 { Ok(most) } else { self.nothing_to_read() }
    }

    /// `tcp_inq`: nothing, where the next byte is urgent.
    pub(super) fn unread(&self) -> usize {
        self.mark.unwrap_or(usize::MAX).min(self.queue.len())
    }

    fn nothing_to_read(&mut self) -> Result<usize> {
        // SOCK_DONE is looked at before the error in TCP, after it in unix sockets.
        if self.fin_in && self.family == Family::Tcp {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(error.into());
        }
        if self.fin_in || self.closed {
            return Ok(0);
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Takes at most `most` bytes as splice(2) does, which cannot step over an urgent byte.
    pub(super) fn splice(&mut self, most: usize) -> Result<Vec<u8>> {
        let count = self.mark.unwrap_or(usize::MAX).min(self.queue.len()).min(most);
        if count == 0 {
            return self.nothing_to_read().map(|_| Vec::new());
        }
        self.mark = self.mark.map(|mark| mark - count);
        Ok(self.queue.drain(..count).collect())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let tcp = self.family == Family::Tcp;
        if let Some(error) = self.error.take_if(|_| tcp) {
            return Err(error.into());
        }
        if self.closed || self.fin_out {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = self.send_buffer.saturating_sub(self.send.len()).min(bytes.len());
        self.send.extend(&bytes[..count]);
        self.no_space |= count < bytes.len();
        if count > 0 { Ok(count) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    /// Memory was short for a moment: EAGAIN, and an edge when there is some.
    pub(super) fn no_memory(&mut self) -> Error {
        self.wake(OUT);
        ErrorKind::WouldBlock.into()
    }

    pub(super) fn shutdown_write(&mut self) -> Result<()> {
        if self.closed && self.family == Family::Tcp {
            // The error stays for somebody else to meet.
            self.wake(0);
            return Err(ErrorKind::NotConnected.into());
        }
        self.fin_out = true;
        self.wake(0);
        Ok(())
    }

    /// SIOCOUTQ.
    pub(super) fn outstanding(&self) -> usize {
        if self.closed && self.family == Family::Tcp {
            return self.left;
        }
        let fin = self.family == Family::Tcp && self.fin_out && !self.fin_acknowledged;
        self.send.len() + usize::from(fin)
    }

    /// SO_ERROR.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.error.take().map(Error::from)
    }
}
