//! One direction of a relay: reads from one side, writes to the other, holds what is refused.
//!
//! Promises that bytes leave in the order in which they came, that none is lost while the other
//! side lives, and that at most one buffer (or one pipe) of them is held. Copying and splicing are
//! two states of the same half.

use std::io;

use super::bulk::Bulk;
use super::side::{Ended, Side};
use super::turn::{Buffer, Turn};
use crate::config::Splice;
use crate::net::Stream;

/// Reads of one half in one turn; then others have theirs.
const READS: u32 = 16;

/// A splice, which may move a mebibyte at once, counts as a read for each of these, and one more.
const PIECE: usize = 64 << 10;

/// A splice that moves less than so many times the scratch memory may well have moved all there was.
const FEW: usize = 4;

/// Where a half stands at the end of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// It waits for the source.
    Idle,
    /// It waits for the destination.
    Blocked,
    /// It could go on, but others have their turn first.
    Again,
    /// The source has ended and all that it sent is with the destination's kernel.
    Drained,
    /// The destination is gone.
    Cut,
}

/// Bytes taken from the source and not yet given to the destination.
#[derive(Debug)]
enum Carry<P> {
    Empty,
    Buffer(Box<Buffer>),
    Pipe(Box<Piped<P>>),
}

#[derive(Debug)]
struct Piped<P> {
    pipe: P,
    held: usize,
}

/// One direction of a relay.
#[derive(Debug)]
pub(super) struct Half<P> {
    carry: Carry<P>,
    /// Bytes given to the destination.
    pub(super) moved: u64,
    /// Those of them that were spliced.
    pub(super) spliced: u64,
    /// Whether bytes are spliced.
    pub(super) bulk: Bulk,
    /// True exactly when the FIN of the source has been passed on, or follows from closing.
    pub(super) closed: bool,
    /// True exactly when the opposite half is closed: nothing is left to do after this one but to
    /// close both sockets, which sends the FIN as well.
    pub(super) last: bool,
}

impl<P> Half<P> {
    pub(super) fn new() -> Self {
        Self {
            carry: Carry::Empty,
            moved: 0,
            spliced: 0,
            bulk: Bulk::default(),
            closed: false,
            last: false,
        }
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        match &self.carry {
            Carry::Empty => 0,
            Carry::Buffer(buffer) => buffer.waiting().len(),
            Carry::Pipe(piped) => piped.held,
        }
    }

    /// What changes exactly when bytes or a FIN have been passed on.
    pub(super) fn progress(&self) -> (u64, bool) {
        (self.moved, self.closed)
    }

    /// Moves what can be moved.
    pub(super) fn pump<S: Stream<Pipe = P>>(
        &mut self,
        from: &mut Side<S>,
        to: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) -> Flow {
        let mut reads = READS;
        loop {
            if let Some(flow) = self.flush(to, turn) {
                return flow;
            }
            if from.exhausted() {
                return self.pass_on_end(from, to);
            }
            if !from.readable {
                return Flow::Idle;
            }
            if reads == 0 {
                return Flow::Again;
            }
            reads = reads.saturating_sub(self.read_once(from, to, turn));
        }
    }

    /// Reads at most what the source sent before the destination is there to take it.
    pub(super) fn read_early<S: Stream<Pipe = P>>(
        &mut self,
        from: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) {
        if self.held() > 0 || !turn.buffers.reserve() {
            return;
        }
        let count = receive(from, turn.scratch);
        if count > 0 {
            self.carry = Carry::Buffer(turn.buffers.keep(&turn.scratch[..count]));
        }
    }

    /// Throws away what is held: its destination is gone.
    pub(super) fn discard(&mut self) {
        self.carry = Carry::Empty;
    }

    fn pass_on_end<S: Stream<Pipe = P>>(&mut self, from: &Side<S>, to: &mut Side<S>) -> Flow {
        let clean = from.ended() == Ended::Fin && to.ended() == Ended::Fin;
        if from.fin() && !self.closed {
            if self.last && clean {
                self.closed = true;
                return Flow::Drained;
            }
            if let Err(error) = to.stream.shutdown_write() {
                to.failed(&error);
                return Flow::Cut;
            }
            self.closed = true;
        }
        Flow::Drained
    }

    /// As many reads as it counts for.
    fn read_once<S: Stream<Pipe = P>>(
        &mut self,
        from: &mut Side<S>,
        to: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) -> u32 {
        if turn.splice == Splice::Always {
            self.bulk.assume();
        }
        if !turn.buffers.reserve() {
            peek_and_move(self, from, to, turn);
            return 1;
        }
        if self.bulk.is_proven()
            && turn.splice != Splice::Never
            && from.splices()
            && to.splices()
            && let Some(pipe) = turn.pipes.take()
        {
            self.splice_in(pipe, from, turn);
            return u32::try_from(self.held() / PIECE).unwrap_or(READS) + 1;
        }
        self.copy(from, to, turn);
        1
    }

    fn copy<S: Stream<Pipe = P>>(
        &mut self,
        from: &mut Side<S>,
        to: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) {
        let count = receive(from, turn.scratch);
        self.bulk.read(count, turn.scratch.len(), turn.crowded);
        let bytes = &turn.scratch[..count];
        let sent = if count > 0 { self.send(from.ended() == Ended::Fin, bytes, to) } else { 0 };
        if sent < count {
            self.carry = Carry::Buffer(turn.buffers.keep(&turn.scratch[sent..count]));
        }
    }

    /// Gives `bytes` to the destination and tells how many it took.
    fn send<S: Stream<Pipe = P>>(&mut self, last: bool, bytes: &[u8], to: &mut Side<S>) -> usize {
        let sent = loop {
            let result = if last { to.stream.write_last(bytes) } else { to.stream.write(bytes) };
            match result {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    refused(to, &error);
                    break 0;
                }
            }
        };
        if sent < bytes.len() && to.ended() != Ended::Reset {
            // Taken in part: the socket is full, and the kernel will say when there is room.
            to.writable = false;
        }
        self.moved += sent as u64;
        sent
    }

    fn splice_in<S: Stream<Pipe = P>>(
        &mut self,
        mut pipe: P,
        from: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) {
        match from.stream.splice_from(&mut pipe) {
            Ok(held) if held > 0 => {
                if held < FEW * turn.scratch.len() {
                    from.splice_gave();
                }
                self.bulk.spliced(held, turn.scratch.len(), turn.crowded);
                self.carry = Carry::Pipe(Box::new(Piped { pipe, held }));
                return;
            }
            // An end or urgent data: a read will tell which.
            Ok(_) => self.read_instead(from, turn),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.readable = false,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.read_instead(from, turn);
            }
            // It stops at urgent data, behind which more may wait.
            Err(error) => from.failed(&error),
        }
        turn.pipes.give(pipe);
    }

    /// Copies once where splice(2) would not go on.
    fn read_instead<S: Stream<Pipe = P>>(&mut self, from: &mut Side<S>, turn: &mut Turn<'_, P>) {
        self.bulk.forget();
        self.read_early(from, turn);
    }

    /// Gives what is held to the destination. `None`: nothing is held any more.
    fn flush<S: Stream<Pipe = P>>(
        &mut self,
        to: &mut Side<S>,
        turn: &mut Turn<'_, P>,
    ) -> Option<Flow> {
        if to.ended() == Ended::Reset {
            return Some(Flow::Cut);
        }
        while self.held() > 0 {
            if !to.writable {
                return Some(Flow::Blocked);
            }
            self.flush_once(to);
            if to.ended() == Ended::Reset {
                return Some(Flow::Cut);
            }
        }
        match std::mem::replace(&mut self.carry, Carry::Empty) {
            Carry::Empty => {}
            Carry::Buffer(buffer) => turn.buffers.give(buffer),
            Carry::Pipe(piped) => turn.pipes.give(piped.pipe),
        }
        // Over the budget bytes stay with the source until the destination has room.
        if to.writable { None } else { Some(Flow::Blocked) }
    }

    fn flush_once<S: Stream<Pipe = P>>(&mut self, to: &mut Side<S>) {
        match std::mem::replace(&mut self.carry, Carry::Empty) {
            Carry::Empty => {}
            Carry::Buffer(mut buffer) => {
                let sent = self.send(false, buffer.waiting(), to);
                buffer.sent(sent);
                self.carry = Carry::Buffer(buffer);
            }
            Carry::Pipe(mut piped) => {
                match to.stream.splice_to(&mut piped.pipe, piped.held) {
                    Ok(count) => {
                        piped.held -= count;
                        self.moved += count as u64;
                        self.spliced += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable = false,
                    Err(error) => to.splice_failed(&error),
                }
                self.carry = Carry::Pipe(piped);
            }
        }
    }
}

/// Over the budget of buffers: looks at what has come, passes on what the destination takes, and
/// only then consumes that much. Nothing is held, and no half needs to be told when memory is free.
fn peek_and_move<S: Stream>(
    half: &mut Half<S::Pipe>,
    from: &mut Side<S>,
    to: &mut Side<S>,
    turn: &mut Turn<'_, S::Pipe>,
) {
    let count = match from.stream.peek(turn.scratch) {
        Ok(count) if count > 0 => count,
        Ok(_) => return from.read_ended(),
        Err(error) => return not_read(from, &error),
    };
    let sent = half.send(false, &turn.scratch[..count], to);
    let mut consumed = 0;
    while consumed < sent {
        match from.stream.read(&mut turn.scratch[consumed..sent]) {
            Ok(count) if count > 0 => consumed += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What was seen is there to be read; if not, the stream is not what it was.
            Ok(_) | Err(_) => return from.read_failed(),
        }
    }
}

/// Reads once and tells the side what it learnt. 0: nothing came, for now or for ever.
fn receive<S: Stream>(from: &mut Side<S>, scratch: &mut [u8]) -> usize {
    match from.stream.read(scratch) {
        Ok(0) => from.read_ended(),
        Ok(count) => {
            from.read_gave(count, scratch.len());
            return count;
        }
        Err(error) => not_read(from, &error),
    }
    0
}

fn not_read<S: Stream>(from: &mut Side<S>, error: &io::Error) {
    match error.kind() {
        io::ErrorKind::WouldBlock => from.readable = false,
        io::ErrorKind::Interrupted => {}
        _ => from.read_failed(),
    }
}

fn refused<S: Stream>(to: &mut Side<S>, error: &io::Error) {
    if error.kind() == io::ErrorKind::WouldBlock {
        to.writable = false;
    } else {
        to.failed(error);
    }
}
