//! A connected, non-blocking stream socket.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use rustix::pipe::{SpliceFlags, splice};

use socket2::SockRef;

use super::{Keepalive, Liveness, Pipe, Stream, listen::keepalive_of, raw};

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket, which has no address to speak of.
    Unix,
}

impl Peer {
    /// Its IP address, an IPv4 one also where it was mapped into IPv6.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// A connected, non-blocking stream socket, TCP or unix. Dropping it closes it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    tcp: bool,
    /// True exactly when it was made with no options but those that all upstreams' have, and has had none since.
    plain: bool,
    /// True exactly when it had another connection before.
    again: bool,
    /// True exactly when the kernel does not size its buffers.
    bounded: bool,
}

impl Socket {
    /// Takes over a non-blocking stream socket.
    pub fn new(fd: OwnedFd, tcp: bool) -> Self {
        Self { fd, tcp, plain: false, again: false, bounded: false }
    }

    /// Takes over a TCP socket with no options but those that all upstreams' have.
    pub(super) fn plain(fd: OwnedFd) -> Self {
        Self { plain: true, ..Self::new(fd, true) }
    }

    /// True exactly when it has no options but those that all upstreams' have.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// True exactly when a connect has led to a connection (getpeername(2), which leaves an error to be met by
    /// whom it concerns).
    pub(super) fn is_connected(&self) -> bool {
        rustix::net::getpeername(&self.fd).is_ok()
    }

    /// True exactly when it had a connection, for which the kernel has nothing left to do (TCP_CLOSE; one
    /// that is connecting has none yet either).
    pub(super) fn is_over(&self) -> bool {
        matches!(rustix::net::getpeername(&self.fd), Err(rustix::io::Errno::NOTCONN))
    }

    /// The same for another connection.
    pub(super) fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// True exactly when it had another connection before. Then the poll knows it, until a session takes it to
    /// another worker.
    pub fn is_known(&self) -> bool {
        self.again
    }

    /// The descriptor, for registration.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// True exactly when it is not a unix socket.
    pub fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// Turns TCP keepalive on. The kernel counts the silence from the last segment that came, so
    /// nothing is lost when this is done late, but before `keepalive.idle` has passed.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn keep_alive(&mut self, keepalive: Keepalive) -> io::Result<()> {
        self.plain = false;
        SockRef::from(&self.fd).set_tcp_keepalive(&keepalive_of(keepalive))
    }

    /// Bounds what the kernel holds in each direction, in bytes (SO_SNDBUF and SO_RCVBUF, socket(7); it
    /// doubles them for its own needs). It does not tune them itself any more then.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn bound_buffers(&mut self, bytes: u64) -> io::Result<()> {
        self.plain = false;
        self.bounded = true;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let socket = SockRef::from(&self.fd);
        socket.set_send_buffer_size(bytes)?;
        socket.set_recv_buffer_size(bytes)
    }

    /// True exactly when what the kernel holds for it was bounded.
    pub fn has_bounded_buffers(&self) -> bool {
        self.bounded
    }

    /// The address at this end; `None` for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        let address = rustix::net::getsockname(&self.fd).ok()?;
        SocketAddr::try_from(address).ok()
    }

    /// The port at this end; `None` for a unix socket.
    pub fn local_port(&self) -> Option<u16> {
        self.local().map(|address| address.port())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.fd, buffer, RecvFlags::empty())?.1)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.fd, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    type Pipe = Pipe;

    fn splices(&self) -> bool {
        self.tcp
    }

    fn take_connect_error(&mut self) -> Option<io::Error> {
        match sockopt::socket_error(&self.fd) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error.into()),
        }
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.fd, buffer, RecvFlags::PEEK)?.1)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.fd, bytes, SendFlags::NOSIGNAL | SendFlags::MORE)?)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(shutdown(&self.fd, Shutdown::Write)?)
    }

    fn reset(&mut self) {
        // Fails only for what is no socket; and closing follows in any case.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    fn unacknowledged(&self) -> io::Result<usize> {
        raw::unacknowledged(self.fd.as_fd())
    }

    fn unread(&self) -> io::Result<usize> {
        Ok(usize::try_from(rustix::io::ioctl_fionread(&self.fd)?).unwrap_or(usize::MAX))
    }

    fn liveness(&self) -> io::Result<Liveness> {
        if self.tcp {
            return raw::liveness(self.fd.as_fd());
        }
        // The kernel answers for the peer of a unix socket: it cannot die unnoticed.
        Ok(Liveness { last_acknowledgement: Duration::ZERO, unanswered: 0 })
    }

    fn splice_from(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(&self.fd, None, &pipe.write, None, pipe.capacity, flags)?)
    }

    fn splice_to(&mut self, pipe: &mut Pipe, length: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(&pipe.read, None, &self.fd, None, length, flags)?)
    }

    fn unsplice(pipe: &mut Pipe, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&pipe.read, buffer)?)
    }
}
