//! What a session needs of a connection: the seam where tests put a fake one.

use std::io::{self, Read, Write};
use std::time::Duration;

/// One side of a session.
///
/// All calls are non-blocking and report `WouldBlock`. An error of the connection is reported by
/// the kernel once, to whichever call meets it first; afterwards reads give what had arrived and
/// then 0. Whoever calls must therefore remember it.
pub trait Stream: Read + Write {
    /// Memory of the kernel that bytes can be moved through without a copy (pipe(2)).
    type Pipe;

    /// True exactly when [`splice_from`](Self::splice_from) may be used (TCP only: a unix socket
    /// gains nothing by it).
    fn splices(&self) -> bool;

    /// The error that a connect failed with, which this consumes (SO_ERROR, socket(7)). For
    /// nothing but a connect: elsewhere it would eat a reset.
    fn take_connect_error(&mut self) -> Option<io::Error>;

    /// Reads without consuming (MSG_PEEK).
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes bytes that a FIN will follow at once, so that both fit one segment (MSG_MORE).
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends FIN (shutdown(2), SHUT_WR). ENOTCONN tells that the peer has reset.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Arranges that closing sends RST and throws away what is queued (SO_LINGER 0).
    ///
    /// A unix socket knows no RST; there closing looks like an end (unix(7)).
    fn reset(&mut self);

    /// Bytes, and a FIN, that the peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
    fn unacknowledged(&self) -> io::Result<usize>;

    /// Bytes that have come and are not read yet, at most up to an urgent byte (SIOCINQ, tcp(7)).
    fn unread(&self) -> io::Result<usize>;

    /// What the kernel knows of the peer (TCP_INFO).
    fn liveness(&self) -> io::Result<Liveness>;

    /// Moves received bytes into an empty pipe. 0 says nothing about the end of the stream: an
    /// urgent byte stops splice(2) as well, so only a read may tell.
    fn splice_from(&mut self, pipe: &mut Self::Pipe) -> io::Result<usize>;

    /// Moves at most `length` bytes from the pipe to the peer.
    fn splice_to(&mut self, pipe: &mut Self::Pipe, length: usize) -> io::Result<usize>;

    /// Brings back into memory what a pipe holds.
    fn unsplice(pipe: &mut Self::Pipe, buffer: &mut [u8]) -> io::Result<usize>;
}

/// What the kernel knows of a peer (struct tcp_info in linux/tcp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// Since the last acknowledgement came in (tcpi_last_ack_recv).
    pub last_acknowledgement: Duration,
    /// Retransmissions and window probes not answered yet (tcpi_retransmits + tcpi_probes).
    pub unanswered: u32,
}
