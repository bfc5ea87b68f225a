//! One end of a connection in a case. It never panics: what a proxy does wrong is to be told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::outcome::{Ending, Received};
use super::support::{Pattern, Peer, comes_true, pause, unacknowledged};

/// The longest wait for a byte or an end. No correct proxy needs it, so it costs time only where one fails.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a client sends, unless a case says otherwise.
pub const UP: u64 = 1;

/// What an upstream sends, unless a case says otherwise.
pub const DOWN: u64 = 2;

/// Read at once, most of the time.
const PIECE: usize = 64 * 1024;

/// Read at once by a slow reader.
const SMALL_PIECE: usize = 16 * 1024;

/// Up to which byte to read, and how much at once.
#[derive(Debug, Clone, Copy)]
struct Pace {
    until: u64,
    piece: usize,
}

/// A borrowed end; two threads may use it, one to send and one to receive.
#[derive(Debug)]
pub struct Side<'a> {
    stream: &'a TcpStream,
    /// A write has met the reset: the kernel reports it once, so later reads would end with 0.
    reset_met: AtomicBool,
}

impl<'a> Side<'a> {
    /// This end of a peer's connection.
    pub fn of(peer: &'a Peer) -> Self {
        peer.within(PATIENCE);
        Self { stream: peer.stream(), reset_met: AtomicBool::new(false) }
    }

    /// Sends so many bytes of the pattern of this key; how many the kernel took.
    pub fn send(&self, key: u64, length: u64) -> u64 {
        self.send_pieces(key, length, || PIECE)
    }

    /// The same in pieces of random sizes.
    pub fn send_randomly(&self, key: u64, length: u64) -> u64 {
        let mut random = Rng::with_seed(key);
        self.send_pieces(key, length, move || random.usize(1..=PIECE))
    }

    fn send_pieces(&self, key: u64, length: u64, mut size: impl FnMut() -> usize) -> u64 {
        let (pattern, mut stream, mut sent) = (Pattern::new(key), self.stream, 0);
        while sent < length {
            let left = usize::try_from(length - sent).unwrap_or(usize::MAX);
            match stream.write(pattern.piece(sent, left.min(size()))) {
                Ok(count) => sent += count as u64,
                Err(error) => {
                    self.note(error.kind());
                    break;
                }
            }
        }
        sent
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Bytes sent that the proxy's kernel has not taken.
    pub fn unacknowledged(&self) -> u64 {
        unacknowledged(self.stream)
    }

    /// Waits until the proxy's kernel holds all that was sent.
    pub fn settle(&self) {
        comes_true(PATIENCE, || self.unacknowledged() == 0);
    }

    /// Reads so many bytes of the pattern of this key and no more.
    pub fn receive_first(&self, key: u64, of: u64) -> Received {
        self.read(Received::nothing_yet(of), key, Pace { until: of, piece: PIECE })
    }

    /// Reads to the end; so many bytes of the pattern of this key should come.
    pub fn receive(&self, key: u64, of: u64) -> Received {
        self.read(Received::nothing_yet(of), key, Pace { until: u64::MAX, piece: PIECE })
    }

    /// The same in small pieces with a pause after each, so that the proxy is always ahead.
    pub fn receive_slowly(&self, key: u64, of: u64) -> Received {
        let mut received = Received::nothing_yet(of);
        loop {
            let until = received.bytes + SMALL_PIECE as u64;
            received = self.read(received, key, Pace { until, piece: SMALL_PIECE });
            if received.bytes < until {
                return received;
            }
            pause(Duration::from_millis(1));
        }
    }

    /// Goes on after `received`, to the end or until so many bytes have come.
    fn read(&self, mut received: Received, key: u64, pace: Pace) -> Received {
        let mut stream = self.stream;
        let mut piece = vec![0; pace.piece];
        while received.bytes < pace.until {
            let left = usize::try_from(pace.until - received.bytes).unwrap_or(usize::MAX);
            match stream.read(&mut piece[..left.min(pace.piece)]) {
                Ok(0) => {
                    received.ending = self.end_of_reading();
                    break;
                }
                Ok(count) => received.take(Pattern::new(key), &piece[..count]),
                Err(error) => {
                    if error.kind() == ErrorKind::ConnectionReset {
                        received.ending = Ending::Reset;
                    }
                    break;
                }
            }
        }
        received
    }

    fn end_of_reading(&self) -> Ending {
        if self.reset_met.load(Ordering::SeqCst) { Ending::Reset } else { Ending::Fin }
    }

    fn note(&self, kind: ErrorKind) {
        if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            self.reset_met.store(true, Ordering::SeqCst);
        }
    }
}
