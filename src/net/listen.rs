//! Listening sockets: bind, listen, accept, and leave an address without losing a handshake.

mod options;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket as Socket2, Type};

pub use self::options::ListenOptions;
pub(super) use self::options::{keepalive_of, set_congestion};
use super::{Address, Peer, Socket, raw};

/// Who else may hold an address that is to be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Nobody: an address that anybody holds is an error, also if that process would share it.
    None,
    /// Sockets of this process.
    Ours,
}

/// A listening socket. It belongs to its address; dropping it closes it.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: Socket2,
    address: Address,
    /// True once a time to live of [`NEAREST`] was asked of segments. What was accepted since then has
    /// inherited that, until it is undone there.
    near: AtomicBool,
    /// Mode bits that the umask left of a unix socket's file.
    unasked_mode: u32,
}

impl ListeningSocket {
    fn new(socket: Socket2, address: Address) -> Self {
        Self { socket, address, near: AtomicBool::new(false), unasked_mode: 0 }
    }

    /// Binds `count` sockets to `address` (SO_REUSEPORT), none of which listens yet. A unix address
    /// has one socket whatever `count` says.
    ///
    /// # Errors
    /// What bind(2) or the setting of an option says.
    pub fn bind(
        address: &Address,
        options: &ListenOptions,
        count: usize,
        company: Company,
    ) -> io::Result<Vec<Self>> {
        let mut wanted = match address {
            Address::Unix(path) => return Ok(vec![bind_unix(path, options)?]),
            Address::Tcp(wanted) => *wanted,
        };
        let mut sockets = Vec::new();
        for number in 0..count {
            let socket = tcp_socket(wanted, options)?;
            // The first is bound as if it were to be alone, so that an address in use is seen.
            let alone = number == 0 && company == Company::None;
            socket.set_reuse_port(!alone)?;
            socket.bind(&wanted.into())?;
            socket.set_reuse_port(true)?;
            wanted = socket.local_addr()?.as_socket().unwrap_or(wanted);
            sockets.push(Self::new(socket, Address::Tcp(wanted)));
        }
        Ok(sockets)
    }

    /// Whether [`change`](Self::change) can do this: tried on a socket that is thrown away, and on the
    /// file of a unix socket by giving it the mode that it has.
    ///
    /// # Errors
    /// What setsockopt(2) or chmod(2) says.
    pub fn try_change(&self, from: &ListenOptions, to: &ListenOptions) -> io::Result<()> {
        match &self.address {
            Address::Unix(path) if from.mode != to.mode => options::try_mode(path),
            Address::Unix(_) => Ok(()),
            Address::Tcp(address) => {
                let domain = Domain::for_address(*address);
                let thrown_away = Socket2::new(domain, Type::STREAM, Some(Protocol::TCP))?;
                options::change_tcp(&thrown_away, from, to)
            }
        }
    }

    /// Sets what differs between the options that it has and those that it is to have, as far as
    /// that can be done while it is open: not the interface. What has been accepted keeps its own.
    ///
    /// # Errors
    /// What setsockopt(2), listen(2) or chmod(2) says.
    pub fn change(&self, from: &ListenOptions, to: &ListenOptions) -> io::Result<()> {
        if from.backlog != to.backlog {
            self.listen(to.backlog)?;
        }
        match &self.address {
            Address::Unix(path) if from.mode != to.mode => {
                options::set_mode(path, to.mode.unwrap_or(self.unasked_mode))
            }
            Address::Unix(_) => Ok(()),
            Address::Tcp(_) => options::change_tcp(&self.socket, from, to),
        }
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
        if self.near.load(Ordering::Acquire) {
            raw::set_min_ttl(fd.as_fd(), self.is_ipv6(), 0)?;
        }
        Ok((Socket::new(fd, tcp), peer.map_or(Peer::Unix, Peer::Tcp)))
    }

    /// True exactly when a client waits to be accepted.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn has_waiting(&self) -> io::Result<bool> {
        let mut events = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut events, Some(&now))? > 0)
    }

    /// Turns new clients away without touching those whose handshake is under way or done: drops
    /// segments with SYN and without ACK before the kernel sees them. A unix socket refuses.
    ///
    /// Closing, `listen(fd, 0)` and `shutdown` all lose handshakes in flight.
    ///
    /// # Errors
    /// What setsockopt(2) or shutdown(2) says.
    pub fn turn_away(&self) -> io::Result<()> {
        if matches!(self.address, Address::Unix(_)) {
            return self.socket.shutdown(std::net::Shutdown::Read);
        }
        match self.socket.attach_filter(&NO_NEW_CLIENTS) {
            // On Linux 6.18 a filter was seen to be for those alone who have CAP_NET_ADMIN.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.near.store(true, Ordering::Release);
                self.set_min_ttl(NEAREST)
            }
            other => other,
        }
    }

    /// Undoes [`turn_away`](Self::turn_away); a unix socket cannot.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn welcome(&self) -> io::Result<()> {
        match &self.address {
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Address::Tcp(_) if self.near.load(Ordering::Acquire) => self.set_min_ttl(0),
            Address::Tcp(_) => self.socket.detach_filter(),
        }
    }

    fn set_min_ttl(&self, least: i32) -> io::Result<()> {
        raw::set_min_ttl(self.socket.as_fd(), self.is_ipv6(), least)
    }

    fn is_ipv6(&self) -> bool {
        matches!(self.address, Address::Tcp(address) if address.is_ipv6())
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

/// The time to live of a segment that no router has passed on, from one of the few systems that begin
/// with so much. A client's first segment has less, and is dropped; the last of its handshake is not
/// judged by this (tcp_v4_rcv), unless the kernel sends SYN cookies.
const NEAREST: i32 = 255;

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
    options::change_tcp(&socket, &ListenOptions::default(), options)?;
    Ok(socket)
}

/// A file that is left of a socket nobody listens on any more is replaced; one that answers is not.
fn bind_unix(path: &Path, options: &ListenOptions) -> io::Result<ListeningSocket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    let mut socket = ListeningSocket::new(socket, Address::Unix(path.to_path_buf()));
    socket.unasked_mode = std::fs::symlink_metadata(path)?.permissions().mode();
    if let Some(mode) = options.mode {
        options::set_mode(path, mode).inspect_err(|_| socket.unlink())?;
    }
    Ok(socket)
}

/// What is no socket is somebody's file, though connecting to it is refused too. The probe does not
/// wait: a queue that is full is somebody's.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let Ok(probe) = Socket2::new(Domain::UNIX, Type::STREAM, None) else { return false };
    is_socket
        && probe.set_nonblocking(true).is_ok()
        && matches!(probe.connect(address), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
