//! Upstream sockets that are connected once more.
//!
//! To connect a socket again whose connection is over (connect(2) with AF_UNSPEC, then as ever) spares the
//! kernel to free one and to make another: its descriptor, its place in the poll and its options stay. The
//! connection is as new as any: all that belongs to one is begun anew (tcp_disconnect), the source port too.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Socket;
use super::socket::Family;

/// As many are kept of each family: what a worker connects in a few turns.
const MOST: usize = 64;

/// All go once none has come for so long.
const KEPT: Duration = Duration::from_secs(1);

/// Sockets of one worker, which its poll still knows.
#[derive(Debug, Default)]
pub struct Spares {
    v4: Vec<Socket>,
    v6: Vec<Socket>,
    /// When the last one came.
    last: Option<Instant>,
}

impl Spares {
    /// Keeps a socket if both sides have ended its connection, it has no options of its own, and there are
    /// not enough. It must be the poll's that the sockets are registered with which are connected by these.
    ///
    /// What the kernel still has to see to (a FIN that is not acknowledged) is left to it: such a socket
    /// is connected still, and only closed.
    pub fn give(&mut self, socket: Socket, now: Instant) {
        let Some(family) = socket.family() else { return };
        let free = self.of(family);
        if free.len() < MOST && !socket.is_connected() {
            free.push(socket.again());
            self.last = Some(now);
        }
    }

    /// One that may be connected to this address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<Socket> {
        let free = self.of(Family::of(address));
        std::iter::from_fn(|| free.pop()).find(|socket| rustix::net::connect_unspec(socket).is_ok())
    }

    /// When [`expire`](Self::expire) is to be called.
    pub fn expire_at(&self) -> Option<Instant> {
        self.last.map(|last| last + KEPT)
    }

    /// Lets go of all if none has come for a while.
    pub fn expire(&mut self, now: Instant) {
        if self.expire_at().is_some_and(|at| now >= at) {
            self.clear();
        }
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn of(&mut self, family: Family) -> &mut Vec<Socket> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::RawFd;

    use super::*;
    use crate::net::{Address, Attempt, ConnectOptions, Keepalive, Stream as _, connect};

    /// Connects, and is accepted.
    fn dial(
        listener: &TcpListener,
        options: &ConnectOptions,
        spares: &mut Spares,
    ) -> (Socket, TcpStream) {
        let address = Address::Tcp(listener.local_addr().unwrap());
        let attempt = connect(&address, options, false, spares).unwrap();
        let (Attempt::Connected(ours) | Attempt::Pending(ours)) = attempt;
        (ours, listener.accept().unwrap().0)
    }

    /// Each side sends a byte, and a FIN if it is to.
    fn talk((ours, theirs): (&mut Socket, &mut TcpStream), bytes: [u8; 2], fins: (bool, bool)) {
        ours.write_all(&bytes[..1]).unwrap();
        let mut byte = [0];
        theirs.read_exact(&mut byte).unwrap();
        assert_eq!(byte, bytes[..1]);
        theirs.write_all(&bytes[1..]).unwrap();
        assert_eq!(ours.read(&mut [0; 9]).unwrap(), 1);
        if fins.0 {
            ours.shutdown_write().unwrap();
            assert_eq!(theirs.read(&mut byte).unwrap(), 0);
        }
        if fins.1 {
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(ours.read(&mut byte).unwrap(), 0);
        }
    }

    #[test]
    fn a_socket_whose_connection_is_over_has_another_as_new_as_any() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut spares = Spares::default();
            let mut before: Option<(RawFd, Option<SocketAddr>)> = None;
            for round in 0..100 {
                let (mut ours, mut theirs) =
                    dial(&listener, &ConnectOptions::default(), &mut spares);
                if let Some((fd, local)) = before {
                    assert_eq!(ours.raw_fd(), fd, "another socket");
                    assert_ne!(ours.local(), local, "the source port of the connection before");
                    assert!(ours.is_known());
                }
                assert_eq!(ours.unread().unwrap(), 0);
                before = Some((ours.raw_fd(), ours.local()));
                talk((&mut ours, &mut theirs), [round, !round], (true, true));
                spares.give(ours, Instant::now());
            }
        }
    }

    #[test]
    fn a_connection_that_is_not_over_is_not_given_up_for_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for fins in [(false, false), (true, false), (false, true)] {
            let mut spares = Spares::default();
            let (mut ours, mut theirs) = dial(&listener, &ConnectOptions::default(), &mut spares);
            talk((&mut ours, &mut theirs), [1, 2], fins);
            spares.give(ours, Instant::now());
            assert!(spares.v4.is_empty(), "{fins:?}");
        }
    }

    #[test]
    fn options_of_its_own_keep_a_socket_from_being_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source = ConnectOptions { source: "127.0.0.1:0".parse().ok(), ..Default::default() };
        let buffer = ConnectOptions { socket_buffer: Some(65_536), ..Default::default() };
        let congestion = ConnectOptions { congestion: Some("reno".into()), ..Default::default() };
        let mut spares = Spares::default();
        for options in [source, buffer, congestion] {
            let (mut ours, mut theirs) = dial(&listener, &options, &mut spares);
            talk((&mut ours, &mut theirs), [1, 2], (true, true));
            spares.give(ours, Instant::now());
            assert!(spares.v4.is_empty(), "{options:?}");
        }
        let (mut ours, mut theirs) = dial(&listener, &ConnectOptions::default(), &mut spares);
        let keepalive = Keepalive { idle: SECOND, interval: SECOND, count: 3 };
        ours.keep_alive(keepalive).unwrap();
        talk((&mut ours, &mut theirs), [1, 2], (true, true));
        spares.give(ours, Instant::now());
        assert!(spares.v4.is_empty(), "one that is kept alive");
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spares = Spares::default();
        let mut all: Vec<_> =
            (0..=MOST).map(|_| dial(&listener, &ConnectOptions::default(), &mut spares)).collect();
        for (ours, theirs) in &mut all {
            talk((ours, theirs), [1, 2], (true, true));
        }
        all.into_iter().for_each(|(ours, _)| spares.give(ours, Instant::now()));
        assert_eq!(spares.v4.len(), MOST);
        spares.expire(Instant::now());
        assert_eq!(spares.v4.len(), MOST);
        spares.expire(spares.expire_at().unwrap());
        assert!(spares.v4.is_empty() && spares.expire_at().is_none());
    }

    const SECOND: Duration = Duration::from_secs(1);
}
