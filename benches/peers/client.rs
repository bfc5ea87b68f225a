//! One client: a connection that sends and receives by a plan.

use std::io::{self, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use crate::server::{BUDGET, CHUNK};
use crate::workload::Plan;

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Exchanges that were completed.
    pub(crate) exchanges: u64,
    /// Bytes received.
    pub(crate) received: u64,
    /// Connections that failed, or ended before they should.
    pub(crate) errors: u64,
}

/// A connection and what it has still to do.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    to_send: usize,
    to_receive: usize,
    /// The length of a message.
    message: usize,
    /// When the exchange under way began, or was due.
    pub(crate) began: Instant,
    /// True exactly when nothing is under way.
    pub(crate) rests: bool,
}

/// What came of a client's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The next event goes on.
    Wait,
    /// It could go on at once.
    More,
    /// Everything was sent and received.
    Done,
    Failed,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, plan: &Plan, began: Instant) -> Self {
        Self {
            stream,
            to_send: plan.send,
            to_receive: plan.receive,
            message: plan.send,
            began,
            rests: false,
        }
    }

    /// Another exchange.
    pub(crate) fn again(&mut self, plan: &Plan, began: Instant) {
        (self.to_send, self.to_receive) = (plan.send, plan.receive);
        self.began = began;
        self.rests = false;
    }

    /// Sends and receives until the kernel would have it wait: events come once.
    pub(crate) fn turn(&mut self, scratch: &mut [u8], tally: &mut Tally) -> Turn {
        if self.rests {
            return self.look();
        }
        for _ in 0..BUDGET {
            let left = self.to_send;
            let Ok(sent) = self.send(scratch) else { return Turn::Failed };
            // Of what has been sent as a whole just now no echo can be there yet.
            if sent > 0 && left == self.message && self.to_send == 0 {
                return Turn::Wait;
            }
            let Ok(received) = self.receive(scratch) else { return Turn::Failed };
            tally.received += received as u64;
            if self.to_send == 0 && self.to_receive == 0 {
                return Turn::Done;
            }
            if sent == 0 && received == 0 {
                return Turn::Wait;
            }
        }
        Turn::More
    }

    fn send(&mut self, scratch: &[u8]) -> io::Result<usize> {
        if self.to_send == 0 {
            return Ok(0);
        }
        let sent = or_nothing(self.stream.write(&scratch[..self.to_send.min(CHUNK)]))?;
        if self.to_send != usize::MAX {
            self.to_send -= sent;
        }
        Ok(sent)
    }

    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        if self.to_receive == 0 {
            return Ok(0);
        }
        let received = match self.stream.read(&mut scratch[..self.to_receive.min(CHUNK)]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            other => or_nothing(other)?,
        };
        if self.to_receive != usize::MAX {
            self.to_receive -= received;
        }
        Ok(received)
    }

    /// While it rests nothing should come.
    fn look(&mut self) -> Turn {
        match self.stream.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Wait,
            Ok(_) | Err(_) => Turn::Failed,
        }
    }
}

/// What would block has moved nothing.
pub(crate) fn or_nothing(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
