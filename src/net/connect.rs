//! Connecting to a backend without waiting for it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as Socket2, Type};

use super::listen::set_congestion;
use super::{Address, Keepalive, Socket, Spares, raw};

/// What an upstream socket is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Address to connect from; its port is 0.
    pub source: Option<SocketAddr>,
    /// TCP keepalive, for [`Socket::keep_alive`] once the connection has lived for a while: four
    /// system calls that a short one need not pay for.
    pub keepalive: Option<Keepalive>,
    /// TCP_CONGESTION.
    pub congestion: Option<String>,
    /// SO_SNDBUF and SO_RCVBUF, in bytes.
    pub socket_buffer: Option<u64>,
}

impl ConnectOptions {
    /// True exactly when a socket is made with no options but those that all have.
    fn is_plain(&self) -> bool {
        // Keepalive comes later, and is noted then.
        let Self { source, keepalive: _, congestion, socket_buffer } = self;
        source.is_none() && congestion.is_none() && socket_buffer.is_none()
    }
}

/// A connect that has begun.
#[derive(Debug)]
pub enum Attempt {
    /// Established already, as happens on loopback and with unix sockets.
    Connected(Socket),
    /// The first writable event tells.
    Pending(Socket),
}

/// Begins to connect. With `early` the acknowledgement of the handshake is held back, so that it
/// rides with data which is there already.
///
/// # Errors
/// What socket(2), bind(2), connect(2) or an option says. EADDRNOTAVAIL: every source port
/// towards this destination is taken. EAGAIN of a unix socket: the backend's backlog is full.
pub fn connect(
    address: &Address,
    options: &ConnectOptions,
    early: bool,
    spares: &mut Spares,
) -> io::Result<Attempt> {
    match address {
        Address::Tcp(address) => connect_tcp(*address, options, early, spares),
        Address::Unix(path) => {
            let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(Attempt::Connected(Socket::new(OwnedFd::from(socket), false)))
        }
    }
}

/// Whether sockets may have this TCP_CONGESTION: tried on one that is thrown away.
///
/// # Errors
/// What setsockopt(2) says.
pub fn try_congestion(name: &str) -> io::Result<()> {
    set_congestion(&Socket2::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?, name)
}

/// Whether connects can be made from this address: tried on a socket that is thrown away.
///
/// # Errors
/// What bind(2) says.
pub fn try_source(source: SocketAddr) -> io::Result<()> {
    let domain = Domain::for_address(source);
    bind_source(&Socket2::new(domain, Type::STREAM, Some(Protocol::TCP))?, source)
}

fn connect_tcp(
    address: SocketAddr,
    options: &ConnectOptions,
    early: bool,
    spares: &mut Spares,
) -> io::Result<Attempt> {
    let spare = if options.is_plain() { spares.take(address) } else { None };
    let socket = spare.map_or_else(|| make(address, options), Ok)?;
    if early {
        SockRef::from(&socket).set_tcp_quickack(false)?;
    }
    match SockRef::from(&socket).connect(&address.into()) {
        Ok(()) => Ok(Attempt::Connected(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            // Within a host the kernel has done the handshake by now.
            let connected = early && socket.is_connected();
            Ok(if connected { Attempt::Connected(socket) } else { Attempt::Pending(socket) })
        }
        Err(error) => Err(error),
    }
}

/// A new socket for connects to such addresses.
fn make(address: SocketAddr, options: &ConnectOptions) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket2::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if options.is_plain() {
        return Ok(Socket::plain(OwnedFd::from(socket)));
    }
    if let Some(congestion) = &options.congestion {
        socket.set_tcp_congestion(congestion.as_bytes())?;
    }
    if let Some(source) = options.source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        bind_source(&socket, source)?;
    }
    let mut socket = Socket::new(OwnedFd::from(socket), true);
    if let Some(bytes) = options.socket_buffer {
        socket.bound_buffers(bytes)?;
    }
    Ok(socket)
}

/// Begins to connect, only to see whether somebody is there: what is closed is reset, which leaves no TIME_WAIT.
/// True: it is connected already. So it is on the same host, whose kernel does the whole handshake within
/// connect(2) but does not say so at the first call.
///
/// # Errors
/// What socket(2), connect(2) or an option says.
pub fn knock(address: SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket2::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    for _ in 0..2 {
        match socket.connect(&address.into()) {
            Ok(()) => return Ok((socket.into(), true)),
            Err(error)
                if [libc::EINPROGRESS, libc::EALREADY]
                    .map(Some)
                    .contains(&error.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((socket.into(), false))
}

fn bind_source(socket: &Socket2, source: SocketAddr) -> io::Result<()> {
    raw::set_bind_address_no_port(socket.as_fd())?;
    socket.bind(&source.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Company, ListenOptions, ListeningSocket, Stream as _};

    #[test]
    fn a_connect_within_the_host_that_data_waits_for_is_known_to_be_done() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let connect =
            || super::connect(&address, &ConnectOptions::default(), true, &mut Spares::default());
        assert!(matches!(connect().unwrap(), Attempt::Connected(_)));
        drop(listener);
        let Attempt::Pending(mut refused) = connect().unwrap() else { panic!("nobody was there") };
        let error = refused.take_connect_error().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn small_writes_are_held_back_on_neither_side() {
        let any = Address::Tcp("127.0.0.1:0".parse().unwrap());
        let options = ListenOptions::default();
        let all = ListeningSocket::bind(&any, &options, 1, Company::None).unwrap();
        all[0].listen(1).unwrap();
        let attempt =
            connect(all[0].address(), &ConnectOptions::default(), false, &mut Spares::default())
                .unwrap();
        let (Attempt::Connected(ours) | Attempt::Pending(ours)) = attempt;
        let (theirs, _) = std::iter::repeat_with(|| all[0].accept()).find_map(Result::ok).unwrap();
        for socket in [ours, theirs] {
            assert!(SockRef::from(&socket).tcp_nodelay().unwrap());
        }
    }
}
