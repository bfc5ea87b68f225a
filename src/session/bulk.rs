//! Whether a half carries bulk, which is spliced.

/// Large reads in a row, which prove it.
const PROOF: u8 = 3;

/// A read is large that gives so many parts of the scratch memory (8 KiB of 64): two copies of it cost
/// more than the calls of a splice.
const LARGE: usize = 8;

/// A splice is small that moves less than so many parts (4 KiB): copying does it cheaper.
const SMALL: usize = 16;

/// An answer is large, or small, at so many parts (32 KiB): it comes alone, so that a splice of it cannot
/// gather more, and what is still in the processor's cache costs little to copy.
const ANSWER: usize = 2;

/// What the reads and splices of a half were like.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Large reads in a row.
    large_reads: u8,
    proven: bool,
    /// True exactly when the last bytes went the other way, and none this way with them.
    pub(super) answers: bool,
}

impl Bulk {
    /// True exactly when bytes are to be spliced.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// From now on they are, whatever they are like.
    pub(super) fn assume(&mut self) {
        self.proven = true;
    }

    /// They have to be like that anew.
    pub(super) fn forget(&mut self) {
        self.proven = false;
        self.large_reads = 0;
    }

    /// A read gave `count` of `room` bytes. `crowded` as in [`Turn`](super::Turn).
    pub(super) fn read(&mut self, count: usize, room: usize, crowded: bool) {
        if count >= self.least(LARGE, room, crowded) {
            self.large_reads = self.large_reads.saturating_add(1);
            self.proven = self.large_reads >= PROOF;
            // What follows a full read is more of the same message.
            self.answers &= count < room;
        } else if count > 0 {
            self.forget();
        }
    }

    /// A splice moved `count` bytes, where a read has `room`.
    pub(super) fn spliced(&mut self, count: usize, room: usize, crowded: bool) {
        self.large_reads = match count < self.least(SMALL, room, crowded) {
            true => self.large_reads.saturating_sub(1),
            false => PROOF,
        };
        self.proven = self.large_reads > 0;
    }

    /// From how many bytes on a read is large, or a splice not small: so many parts of the room.
    fn least(&self, parts: usize, room: usize, crowded: bool) -> usize {
        room / if self.answers && !crowded { ANSWER } else { parts }
    }
}
