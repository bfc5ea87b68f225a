//! Listening sockets: bind, listen, accept, and leave an address without losing a handshake.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket as Socket2, TcpKeepalive, Type};

use super::{Address, Keepalive, Peer, Socket, raw};

/// After this the kernel accepts a connection although its client has sent nothing (seconds).
const DEFER_ACCEPT: i32 = 3;

/// What listening sockets are made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// listen(2) backlog.
    pub backlog: u32,
    /// TCP_DEFER_ACCEPT.
    pub client_first: bool,
    /// TCP_FASTOPEN queue length.
    pub tcp_fastopen: Option<u32>,
    /// SO_BINDTODEVICE.
    pub interface: Option<String>,
    /// IP_FREEBIND.
    pub freebind: bool,
    /// TCP_CONGESTION; inherited by what is accepted.
    pub congestion: Option<String>,
    /// Inherited by what is accepted.
    pub keepalive: Option<Keepalive>,
    /// Mode bits of a unix socket file.
    pub mode: Option<u32>,
}

/// A listening socket. It belongs to its address; dropping it closes it.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: Socket2,
    address: Address,
}

impl ListeningSocket {
    /// Binds `address` and `others` more sockets beside it (SO_REUSEPORT), none of which listens
    /// yet. A unix address has one socket whatever `others` says.
    ///
    /// The first is bound as if it were to be alone, so that an address that another process
    /// holds is an error, also if that process would share it.
    ///
    /// # Errors
    /// What bind(2) or the setting of an option says.
    pub fn bind(
        address: &Address,
        options: &ListenOptions,
        others: usize,
    ) -> io::Result<Vec<Self>> {
        let wanted = match address {
            Address::Unix(path) => return Ok(vec![bind_unix(path, options)?]),
            Address::Tcp(wanted) => *wanted,
        };
        let first = tcp_socket(wanted, options)?;
        first.bind(&wanted.into())?;
        first.set_reuse_port(true)?;
        let actual = first.local_addr()?.as_socket().unwrap_or(wanted);
        let mut bound = vec![first];
        for _ in 0..others {
            let socket = tcp_socket(wanted, options)?;
            socket.set_reuse_port(true)?;
            socket.bind(&actual.into())?;
            bound.push(socket);
        }
        let address = Address::Tcp(actual);
        Ok(bound.into_iter().map(|socket| Self { socket, address: address.clone() }).collect())
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// What listen(2) says.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The descriptor, for registration.
    pub fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Accepts one connection, non-blocking.
    ///
    /// # Errors
    /// What accept4(2) says.
    pub fn accept(&self) -> io::Result<(Socket, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, peer) = acceptfrom_with(self.socket.as_fd(), flags)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let tcp = matches!(self.address, Address::Tcp(_));
        Ok((Socket::new(fd, tcp), peer.map_or(Peer::Unix, Peer::Tcp)))
    }

    /// Turns new clients away without touching those whose handshake is under way or done: drops
    /// segments with SYN and without ACK before the kernel sees them. A unix socket refuses.
    ///
    /// Closing, `listen(fd, 0)` and `shutdown` all lose handshakes in flight.
    ///
    /// # Errors
    /// What setsockopt(2) or shutdown(2) says.
    pub fn turn_away(&self) -> io::Result<()> {
        match &self.address {
            Address::Unix(_) => self.socket.shutdown(std::net::Shutdown::Read),
            Address::Tcp(_) => self.socket.attach_filter(&NO_NEW_CLIENTS),
        }
    }

    /// Undoes [`turn_away`](Self::turn_away); a unix socket cannot.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn welcome(&self) -> io::Result<()> {
        match &self.address {
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Address::Tcp(_) => self.socket.detach_filter(),
        }
    }

    /// Removes the file of a unix socket, once nobody is to find it any more.
    pub fn unlink(&self) {
        if let Address::Unix(path) = &self.address {
            // Somebody else may have removed it, which is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Classic BPF over the TCP header: byte 13 holds the flags; SYN is 0x02, ACK 0x10 (RFC 9293, 3.1).
const NO_NEW_CLIENTS: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),          // ldb [13]
    SockFilter::new(0x54, 0, 0, 0x12),        // and #0x12
    SockFilter::new(0x15, 0, 1, 0x02),        // jeq #2, next, skip
    SockFilter::new(0x06, 0, 0, 0),           // ret #0: drop
    SockFilter::new(0x06, 0, 0, 0xffff_ffff), // ret #-1: keep all
];

fn tcp_socket(address: SocketAddr, options: &ListenOptions) -> io::Result<Socket2> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if options.freebind {
        if address.is_ipv6() {
            socket.set_freebind_v6(true)?
        } else {
            socket.set_freebind_v4(true)?
        }
    }
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(congestion) = &options.congestion {
        socket.set_tcp_congestion(congestion.as_bytes())?;
    }
    if let Some(keepalive) = options.keepalive {
        socket.set_tcp_keepalive(&keepalive_of(keepalive))?;
    }
    if options.client_first {
        raw::set_defer_accept(socket.as_fd(), DEFER_ACCEPT)?;
    }
    if let Some(length) = options.tcp_fastopen {
        raw::set_fastopen_queue(socket.as_fd(), i32::try_from(length).unwrap_or(i32::MAX))?;
    }
    Ok(socket)
}

pub(super) fn keepalive_of(keepalive: Keepalive) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.count)
}

/// A file that is left of a socket nobody listens on any more is replaced; one that answers is not.
fn bind_unix(path: &Path, options: &ListenOptions) -> io::Result<ListeningSocket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    if let Some(mode) = options.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(ListeningSocket { socket, address: Address::Unix(path.to_path_buf()) })
}

fn is_stale(address: &SockAddr) -> bool {
    let Ok(probe) = Socket2::new(Domain::UNIX, Type::STREAM, None) else { return false };
    matches!(probe.connect(address), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
