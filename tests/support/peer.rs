//! One end of a connection, a client or a backend's side: blocking, with a bound on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Pattern, SOON, eventually, unacknowledged};

/// How a stream of bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A FIN: the sender says that this was all.
    Eof,
    /// A reset: the sender says that something is missing.
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    /// A failed write has met the reset: the kernel reports it once, so later reads would end with 0.
    reset_met: bool,
}

impl Peer {
    /// Connects, or panics.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, within a generous bound.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self::new(TcpStream::connect_timeout(&address, SOON)?))
    }

    /// Connects with a small receive window, so that little is on the way when it does not read.
    #[track_caller]
    pub fn connect_small(address: SocketAddr, receive: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive).unwrap();
        socket.connect_timeout(&address.into(), SOON).unwrap();
        Self::new(socket.into())
    }

    /// Connects from this address of the machine.
    #[track_caller]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        Self::try_connect_from(source, address).unwrap()
    }

    fn try_connect_from(source: IpAddr, address: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&address.into(), SOON)?;
        Ok(Self::new(socket.into()))
    }

    /// A peer of a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let peer = Self { stream, reset_met: false };
        peer.within(SOON);
        peer
    }

    /// Bounds each wait from here on.
    pub fn within(&self, time: Duration) -> &Self {
        self.stream.set_read_timeout(Some(time)).unwrap();
        self.stream.set_write_timeout(Some(time)).unwrap();
        self
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Its own address.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends all of `bytes`, or panics.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends one byte out of band.
    pub fn send_urgent(&self, byte: u8) {
        SockRef::from(&self.stream).send_out_of_band(&[byte]).unwrap();
    }

    /// Sends `length` bytes of a pattern from its start; how many the kernel took before an error.
    pub fn send_pattern(&mut self, pattern: Pattern, length: u64) -> u64 {
        let mut sent = 0;
        while sent < length {
            let left = usize::try_from(length - sent).unwrap_or(usize::MAX);
            match self.stream.write(pattern.piece(sent, left.min(64 * 1024))) {
                Ok(count) => sent += count as u64,
                Err(error) => {
                    self.note(error.kind());
                    return sent;
                }
            }
        }
        sent
    }

    /// Sends until an error; how many bytes the kernel took.
    pub fn blast(&mut self) -> u64 {
        self.send_pattern(Pattern::new(0), u64::MAX)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Waits until the kernel at the other end of this connection holds all that was sent.
    #[track_caller]
    pub fn expect_acknowledged(&self) {
        eventually(SOON, || unacknowledged(&self.stream) == 0);
    }

    /// Ends with a reset, whatever is on the way.
    pub fn reset(self) {
        self.reset_when_closed();
    }

    /// Lets closing be a reset.
    pub fn reset_when_closed(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends the reset now, which closing would send once no thread of a backend holds the socket.
    pub fn close_with_reset(&self) {
        // connect(2) to AF_UNSPEC is the one call that resets without closing (tcp(7)).
        rustix::net::connect_unspec(&self.stream).unwrap();
    }

    /// Waits, without reading or writing, until a reset comes, be it after a FIN; false if none comes in time.
    pub fn is_reset(&self, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).unwrap();
        // HUP and ERR come unasked.
        let mut events = [PollFd::new(&self.stream, PollFlags::empty())];
        let _ = poll(&mut events, Some(&timeout));
        self.stream.take_error().unwrap().is_some()
    }

    /// Reads exactly these bytes, or panics.
    #[track_caller]
    pub fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        self.stream.read_exact(&mut got).unwrap_or_else(|error| panic!("nothing to read: {error}"));
        assert_eq!(got, expected);
    }

    /// Sends `bytes` and reads the same; if they do not come, how the stream ended, if it did.
    pub fn ask(&mut self, bytes: &[u8]) -> Result<(), Option<End>> {
        if let Err(error) = self.stream.write_all(bytes) {
            self.note(error.kind());
        }
        let mut got = vec![0; bytes.len()];
        match self.stream.read_exact(&mut got) {
            Ok(()) if got == bytes => Ok(()),
            Ok(()) => panic!("got {got:?} instead of {bytes:?}"),
            Err(error) => Err(match error.kind() {
                ErrorKind::UnexpectedEof if !self.reset_met => Some(End::Eof),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Some(End::Reset),
                _ => None,
            }),
        }
    }

    /// Reads up to the first newline, which it drops; `None` if the stream ends before.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.stream.read(&mut byte).ok()? == 1 {
            if byte == *b"\n" {
                return String::from_utf8(line).ok();
            }
            line.push(byte[0]);
        }
        None
    }

    /// Reads once, at most `most` bytes.
    pub fn read_some(&mut self, most: usize) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; most];
        match self.stream.read(&mut bytes) {
            Ok(0) if !self.reset_met => Err(End::Eof),
            Ok(0) => Err(End::Reset),
            Ok(count) => {
                bytes.truncate(count);
                Ok(bytes)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(error) => panic!("the stream neither went on nor ended: {error}"),
        }
    }

    /// Reads to the end, and how it ended.
    #[track_caller]
    pub fn read_all(&mut self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        loop {
            match self.read_some(64 * 1024) {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(end) => return (all, end),
            }
        }
    }

    /// Reads to the end without keeping it: length, SHA-256, how it ended.
    #[track_caller]
    pub fn digest(&mut self) -> (u64, Vec<u8>, End) {
        let (mut length, mut hash) = (0, Sha256::new());
        loop {
            match self.read_some(64 * 1024) {
                Ok(bytes) => {
                    length += bytes.len() as u64;
                    hash.update(&bytes);
                }
                Err(end) => return (length, hash.finalize().to_vec(), end),
            }
        }
    }

    /// Panics unless a FIN comes, with nothing before it.
    #[track_caller]
    pub fn expect_eof(&mut self) {
        assert_eq!(self.read_all(), (Vec::new(), End::Eof));
    }

    /// Panics unless a reset comes, with nothing before it.
    #[track_caller]
    pub fn expect_reset(&mut self) {
        assert_eq!(self.read_all(), (Vec::new(), End::Reset));
    }

    /// Connects, and panics unless that is answered by a reset and nothing else.
    #[track_caller]
    pub fn expect_rejection(address: SocketAddr) {
        Self::expect_rejected(Self::try_connect(address));
    }

    /// The same, from this address of the machine.
    #[track_caller]
    pub fn expect_rejection_from(source: IpAddr, address: SocketAddr) {
        Self::expect_rejected(Self::try_connect_from(source, address));
    }

    #[track_caller]
    fn expect_rejected(connected: std::io::Result<Self>) {
        match connected {
            Ok(mut client) => client.expect_reset(),
            // The reset may overtake connect(2) on its way back.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Panics unless these bytes come, then a FIN.
    #[track_caller]
    pub fn expect_then_eof(&mut self, expected: &[u8]) {
        let (bytes, end) = self.read_all();
        assert_eq!((bytes.len(), end), (expected.len(), End::Eof));
        assert!(bytes == expected, "other bytes than were sent");
    }

    /// Panics unless exactly `length` bytes of the pattern come, then `end`.
    #[track_caller]
    pub fn expect_pattern(&mut self, pattern: Pattern, length: u64, end: End) {
        let (bytes, ended) = self.read_all();
        assert_eq!(pattern.first_difference(0, &bytes), None, "a wrong byte");
        assert_eq!((bytes.len() as u64, ended), (length, end));
    }

    fn note(&mut self, kind: ErrorKind) {
        if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            self.reset_met = true;
        }
    }
}
