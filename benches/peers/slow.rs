//! Clients that read far less than is sent to them.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::{Tally, or_nothing};
use crate::timer::Timer;

/// Bytes that a client reads at a time.
const PIECE: usize = 16 << 10;

/// Pieces that all of them read in a second: 64 MB of them.
const PIECES: u32 = 4_000;

/// What the kernel may hold for a client.
const BUFFER: usize = 64 << 10;

/// Clients that take turns in reading a piece.
#[derive(Debug)]
pub(crate) struct SlowReaders {
    streams: Vec<TcpStream>,
    next: usize,
    pub(crate) tally: Tally,
}

impl SlowReaders {
    /// Connects so many.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> io::Result<Self> {
        let connect = |_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_recv_buffer_size(BUFFER)?;
            socket.connect(&address.into())?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        let streams = (0..count).map(connect).collect::<io::Result<_>>()?;
        Ok(Self { streams, next: 0, tally: Tally::default() })
    }

    /// Reads on, slowly, for so long.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<()> {
        let mut timer = Timer::every(Duration::from_secs(1) / PIECES)?;
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
        poll.registry().register(&mut timer.source(), Token(0), Interest::READABLE)?;
        let begin = Instant::now();
        let mut pieces = 0;
        while begin.elapsed() < duration {
            poll.poll(&mut events, Some(duration))?;
            timer.clear();
            while f64::from(pieces) < begin.elapsed().as_secs_f64() * f64::from(PIECES) {
                pieces += 1;
                self.read();
            }
        }
        Ok(())
    }

    fn read(&mut self) {
        let at = self.next % self.streams.len();
        self.next += 1;
        match self.streams[at].read(&mut [0; PIECE]) {
            Ok(0) => self.tally.errors += 1,
            other => match or_nothing(other) {
                Ok(count) => self.tally.received += count as u64,
                Err(_) => self.tally.errors += 1,
            },
        }
    }
}
