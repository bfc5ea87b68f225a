//! Connections over loopback, both ends in this process. They end by a reset, so none is left in
//! TIME_WAIT.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::io::fcntl_dupfd_cloexec;
use socket2::SockRef;

/// Connections on which something happens in one iteration.
pub(crate) const ACTIVE: usize = 10;

/// What a process needs besides connections.
const SPARE: usize = 100;

/// Descriptors that `idle` and the active ones take.
pub(crate) fn descriptors(idle: usize) -> usize {
    2 * (idle + ACTIVE) + 2 * SPARE
}

pub(crate) struct Connections {
    /// The ends that are waited on. Their descriptors follow one another from a low number, as a
    /// server's do: what select(2) costs depends on the highest.
    watched: Vec<TcpStream>,
    peers: Vec<TcpStream>,
}

impl Connections {
    /// As many that nothing happens on, and the active ones.
    pub(crate) fn open(idle: usize) -> io::Result<Self> {
        let count = idle + ACTIVE;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let above = i32::try_from(count + SPARE).map_err(io::Error::other)?;
        let (mut watched, mut peers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let low = TcpStream::connect(address)?;
            let peer = TcpStream::from(fcntl_dupfd_cloexec(&low, above)?);
            drop(low);
            SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO))?;
            peer.set_nodelay(true)?;
            peers.push(peer);
            let (socket, _) = listener.accept()?;
            socket.set_nonblocking(true)?;
            watched.push(socket);
        }
        Ok(Self { watched, peers })
    }

    /// The first `idle` and the active ones.
    pub(crate) fn first(&mut self, idle: usize) -> Part<'_> {
        let count = idle + ACTIVE;
        Part { watched: &self.watched[..count], peers: &self.peers[..count] }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // Whoever closes first decides how the connection ends.
        self.peers.clear();
    }
}

/// The connections of one measurement.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) watched: &'a [TcpStream],
    peers: &'a [TcpStream],
}

impl Part<'_> {
    /// Makes the active ones readable; they are spread evenly among all.
    pub(crate) fn stir(&self) -> io::Result<()> {
        let step = self.peers.len() / ACTIVE;
        (0..ACTIVE).try_for_each(|at| (&self.peers[at * step]).write_all(b"x"))
    }

    /// Reads what there is on one. A read that is short has emptied it.
    pub(crate) fn read(&self, index: usize) -> io::Result<usize> {
        (&self.watched[index]).read(&mut [0; 64])
    }
}
