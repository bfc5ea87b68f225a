//! Upstream sockets that are connected once more.
//!
//! To connect a socket again whose connection is over (connect(2) with AF_UNSPEC, then as ever) spares the
//! kernel to free one and to make another: its descriptor, its place in the poll and its options stay. What
//! belongs to a connection is begun anew (tcp_disconnect), with another source port; only its sequence numbers
//! go on from the last ones. So a socket goes to the address again that knows them, and to no other.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Socket;

/// As many are kept: what a worker connects in a few turns.
pub const SPARES: usize = 64;

/// For so long each is kept.
const KEPT: Duration = Duration::from_secs(1);

/// Sockets of one worker, with which its poll is still registered.
#[derive(Debug, Default)]
pub struct Spares {
    /// The one that came first in front.
    free: VecDeque<Spare>,
}

#[derive(Debug)]
struct Spare {
    since: Instant,
    address: SocketAddr,
    socket: Socket,
}

impl Spares {
    /// Keeps a socket that was connected to `address`, if that is over and it has no options of its own; the
    /// oldest one goes if there are enough.
    ///
    /// What the kernel still has to see to (a FIN that is not acknowledged) is left to it: such a socket
    /// is only closed.
    pub fn give(&mut self, socket: Socket, address: SocketAddr, now: Instant) {
        if !socket.is_plain() || !socket.is_over() {
            return;
        }
        if self.free.len() == SPARES {
            self.free.pop_front();
        }
        self.free.push_back(Spare { since: now, address, socket: socket.again() });
    }

    /// One that was connected to this address before.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<Socket> {
        let at = self.free.iter().rposition(|spare| spare.address == address)?;
        let Spare { socket, .. } = self.free.remove(at)?;
        rustix::net::connect_unspec(&socket).is_ok().then_some(socket)
    }

    /// When [`expire`](Self::expire) is to be called.
    pub fn expire_at(&self) -> Option<Instant> {
        self.free.front().map(|oldest| oldest.since + KEPT)
    }

    /// Lets go of those that nobody needed for a while.
    pub fn expire(&mut self, now: Instant) {
        while self.expire_at().is_some_and(|at| now >= at) {
            self.free.pop_front();
        }
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        self.free.clear();
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
                before = Some((ours.raw_fd(), ours.local()));
                talk((&mut ours, &mut theirs), [round, !round], (true, true));
                spares.give(ours, listener.local_addr().unwrap(), Instant::now());
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
            spares.give(ours, listener.local_addr().unwrap(), Instant::now());
            assert!(spares.free.is_empty(), "{fins:?}");
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
            assert_eq!(ours.has_bounded_buffers(), options.socket_buffer.is_some());
            talk((&mut ours, &mut theirs), [1, 2], (true, true));
            spares.give(ours, listener.local_addr().unwrap(), Instant::now());
            assert!(spares.free.is_empty(), "{options:?}");
        }
        let (mut ours, mut theirs) = dial(&listener, &ConnectOptions::default(), &mut spares);
        let keepalive = Keepalive { idle: SECOND, interval: SECOND, count: 3 };
        ours.keep_alive(keepalive).unwrap();
        talk((&mut ours, &mut theirs), [1, 2], (true, true));
        spares.give(ours, listener.local_addr().unwrap(), Instant::now());
        assert!(spares.free.is_empty(), "one that is kept alive");
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spares = Spares::default();
        let mut all: Vec<_> = (0..=SPARES)
            .map(|_| dial(&listener, &ConnectOptions::default(), &mut spares))
            .collect();
        for (ours, theirs) in &mut all {
            talk((ours, theirs), [1, 2], (true, true));
        }
        let last = all[SPARES].0.raw_fd();
        let (address, now) = (listener.local_addr().unwrap(), Instant::now());
        all.into_iter().for_each(|(ours, _)| spares.give(ours, address, now));
        assert_eq!(spares.free.len(), SPARES);
        let taken = spares.take(address).unwrap();
        assert_eq!(taken.raw_fd(), last, "the oldest has made room");
        spares.expire(now + KEPT - Duration::from_millis(1));
        assert_eq!(spares.free.len(), SPARES - 1);
        spares.expire(spares.expire_at().unwrap());
        assert!(spares.free.is_empty() && spares.expire_at().is_none());
    }

    #[test]
    fn a_socket_goes_to_no_address_that_did_not_have_it_before() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let mut spares = Spares::default();
        let (mut ours, mut theirs) = dial(&listeners[0], &ConnectOptions::default(), &mut spares);
        talk((&mut ours, &mut theirs), [1, 2], (true, true));
        spares.give(ours, listeners[0].local_addr().unwrap(), Instant::now());
        let (ours, _theirs) = dial(&listeners[1], &ConnectOptions::default(), &mut spares);
        assert!(!ours.is_known());
        let (ours, _theirs) = dial(&listeners[0], &ConnectOptions::default(), &mut spares);
        assert!(ours.is_known());
    }

    const SECOND: Duration = Duration::from_secs(1);
}
