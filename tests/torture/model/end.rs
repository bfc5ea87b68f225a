//! One end of a connection while it plays its part: non-blocking, told when its socket is ready.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use rustix::event::PollFlags;
use socket2::SockRef;

use super::script::{Side, Step};
use crate::support::{Pattern, unacknowledged, unread};

/// Time since the driver began, in which a stall of the driver itself counts little.
pub type Moment = Duration;

/// Pause between two slow reads.
const SLOW: Duration = Duration::from_millis(3);

/// A receive buffer as large as any that a script chooses.
const WIDE: usize = 512 << 10;

/// Reads or writes of one turn, so that no end keeps the others waiting.
const BUDGET: usize = 16;

/// How the stream from the other end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A FIN.
    Eof,
    /// A reset.
    Reset,
}

/// How an end went away by its own will.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// True exactly when its kernel certainly sent a reset.
    pub aborted: bool,
    /// Bytes sent that the other kernel had acknowledged by then, at least.
    pub acknowledged: u64,
    /// True exactly when something sent was not acknowledged by then.
    pub in_flight: bool,
    /// Bytes received by then.
    pub got: u64,
    /// True exactly when a byte had gone through before, in either direction.
    pub crossed: bool,
}

/// What has become of an end; the oracle judges by this alone.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Bytes that the kernel took.
    pub sent: u64,
    /// Bytes read.
    pub got: u64,
    /// True exactly when it has said by a FIN that `sent` is all.
    pub finished: bool,
    /// How the other's stream ended, once it has.
    pub seen: Option<Seen>,
    /// True exactly when a reset was met after the other's FIN.
    pub reset_after_fin: bool,
    /// It went away by its own will.
    pub left: Option<Left>,
    /// The first byte that was not the expected one.
    pub wrong: Option<u64>,
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    /// What has become of it so far.
    pub record: Record,
    /// True exactly when the last write found no room.
    pub blocked: bool,
    socket: Option<TcpStream>,
    steps: VecDeque<Step>,
    part: Side,
    random: Rng,
    sends: Pattern,
    gets: Pattern,
    write_left: u64,
    write_most: usize,
    resume: Moment,
    awaited: u64,
    deaf_until: Moment,
    slow_until: Moment,
    slow_piece: usize,
    next_read: Moment,
    reset_met: bool,
}

impl End {
    /// An end that plays `part` on `socket`.
    pub fn new(socket: TcpStream, part: &Side, sends: Pattern, gets: Pattern) -> Self {
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let reference = SockRef::from(&socket);
        if let Some(bytes) = part.send_buffer {
            reference.set_send_buffer_size(bytes).unwrap();
        }
        if let Some(bytes) = part.receive_buffer {
            reference.set_recv_buffer_size(bytes).unwrap();
        }
        Self {
            record: Record::default(),
            blocked: false,
            socket: Some(socket),
            steps: part.steps.iter().copied().collect(),
            part: part.clone(),
            random: Rng::with_seed(part.seed),
            sends,
            gets,
            write_left: 0,
            write_most: 1,
            resume: Moment::ZERO,
            awaited: 0,
            deaf_until: Moment::ZERO,
            slow_until: Moment::ZERO,
            slow_piece: 1,
            next_read: Moment::ZERO,
            reset_met: false,
        }
    }

    /// Its socket, while it has one.
    pub fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    /// True exactly when nothing keeps it from reading all that comes.
    pub fn is_willing(&self, now: Moment) -> bool {
        self.socket.is_some()
            && self.record.seen.is_none()
            && now >= self.deaf_until
            && now >= self.slow_until
    }

    /// True exactly when nothing but a reset lets it go on.
    pub fn awaits_reset(&self) -> bool {
        let fin_seen = self.record.seen == Some(Seen::Eof) && !self.record.finished;
        self.part.awaits_reset && self.socket.is_some() && fin_seen && !self.reset_met
    }

    /// Offers a wide window from here on, if it has chosen a small receive buffer.
    pub fn widen(&mut self) {
        if let (Some(socket), Some(0..WIDE)) = (&self.socket, self.part.receive_buffer) {
            SockRef::from(socket).set_recv_buffer_size(WIDE).unwrap();
        }
    }

    /// What it waits for on its socket.
    pub fn wants(&self, now: Moment) -> PollFlags {
        let mut wants = PollFlags::empty();
        if self.may_read(now) {
            wants |= PollFlags::IN;
        }
        if self.write_left > 0 && self.blocked && !self.reset_met {
            wants |= PollFlags::OUT;
        }
        if self.awaits_reset() {
            // There is no urgent data, but with no interest at all it would not be looked at.
            wants |= PollFlags::PRI;
        }
        wants
    }

    /// Gives its socket up without a trace in the record.
    pub fn abandon(&mut self) {
        self.socket = None;
    }

    /// Goes on as far as it can. `ready` is what poll(2) said of the socket.
    pub fn step(&mut self, now: Moment, ready: PollFlags) {
        if !ready.is_empty() {
            if !(ready & !PollFlags::IN).is_empty() {
                self.blocked = false;
            }
            self.read(now);
            if self.awaits_reset() && ready.intersects(PollFlags::ERR) {
                self.met_reset();
            }
        }
        self.play(now);
        let ended = match self.record.seen {
            Some(Seen::Reset) => true,
            Some(Seen::Eof) => self.record.finished && self.steps.is_empty() || self.reset_met,
            None => false,
        };
        if ended {
            self.socket = None;
        }
    }

    fn may_read(&self, now: Moment) -> bool {
        self.record.seen.is_none() && now >= self.deaf_until && now >= self.next_read
    }

    fn read(&mut self, now: Moment) {
        for _ in 0..BUDGET {
            if !self.may_read(now) {
                return;
            }
            let Some(mut socket) = self.socket.as_ref() else { return };
            let slow = now < self.slow_until;
            let most = if slow { self.slow_piece } else { self.part.read_most };
            let mut bytes = vec![0; self.random.usize(1..=most)];
            match socket.read(&mut bytes) {
                Ok(0) if self.reset_met => self.record.seen = Some(Seen::Reset),
                Ok(0) => self.record.seen = Some(Seen::Eof),
                Ok(count) => {
                    let wrong = self.gets.first_difference(self.record.got, &bytes[..count]);
                    self.record.wrong = self.record.wrong.or(wrong);
                    self.record.got += count as u64;
                    if slow {
                        self.next_read = now + SLOW;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.record.seen = Some(Seen::Reset),
            }
        }
    }

    fn play(&mut self, now: Moment) {
        loop {
            if self.socket.is_none() || self.reset_met || self.awaits_reset() {
                return;
            }
            if self.write_left > 0 {
                if self.blocked || !self.write() {
                    return;
                }
                continue;
            }
            if now < self.resume && (self.awaited == 0 || self.record.got < self.awaited) {
                return;
            }
            self.awaited = 0;
            let Some(step) = self.steps.pop_front() else { return };
            self.take(step, now);
        }
    }

    fn take(&mut self, step: Step, now: Moment) {
        match step {
            Step::Write(bytes) => {
                self.write_left = bytes;
                let least = usize::try_from(bytes / 100).expect("a small number");
                self.write_most = self.part.write_most.max(least).max(1);
            }
            Step::Pause(time) => self.resume = now + time,
            Step::Await(bytes, time) => {
                self.awaited = self.record.got + bytes;
                // Nothing more can come after the other's end.
                self.resume = if self.record.seen.is_some() { now } else { now + time };
            }
            Step::StopReading(time) => self.deaf_until = now + time,
            Step::ReadSlowly(piece, time) => {
                self.slow_piece = piece;
                self.slow_until = now + time;
            }
            Step::HalfClose => self.half_close(),
            Step::Close => self.leave(false),
            Step::Reset => self.leave(true),
        }
    }

    /// True exactly when there may be room for more in this turn.
    fn write(&mut self) -> bool {
        for _ in 0..BUDGET {
            let Some(mut socket) = self.socket.as_ref() else { return false };
            let left = usize::try_from(self.write_left).expect("a small number");
            let piece = self
                .sends
                .piece(self.record.sent, self.random.usize(1..=self.write_most).min(left));
            match socket.write(piece) {
                Ok(count) => {
                    self.record.sent += count as u64;
                    self.write_left -= count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return false;
                }
                Err(_) => self.met_reset(),
            }
            if self.write_left == 0 {
                return true;
            }
        }
        true
    }

    fn half_close(&mut self) {
        let Some(socket) = &self.socket else { return };
        match socket.shutdown(Shutdown::Write) {
            Ok(()) => self.record.finished = true,
            Err(_) => self.met_reset(),
        }
    }

    /// The kernel reports a reset once; from here on a read of 0 is one. What has arrived is still read.
    fn met_reset(&mut self) {
        self.reset_met = true;
        self.record.reset_after_fin = self.record.seen == Some(Seen::Eof);
        self.write_left = 0;
        self.deaf_until = Moment::ZERO;
        self.slow_until = Moment::ZERO;
        self.next_read = Moment::ZERO;
    }

    fn leave(&mut self, reset: bool) {
        let Some(socket) = self.socket.take() else { return };
        let aborted = reset || unread(&socket) > 0;
        if reset {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let in_flight = unacknowledged(&socket);
        let acknowledged = self.record.sent.saturating_sub(in_flight);
        let in_flight = in_flight > 0;
        if !aborted {
            self.record.finished = true;
        }
        let got = self.record.got;
        self.record.left = Some(Left { aborted, acknowledged, in_flight, got, crossed: false });
    }
}
