//! Letting the bytes of streams gather.

use std::time::{Duration, Instant};

/// So long bytes gather; with the slack of timers (50 µs, PR_SET_TIMERSLACK in prctl(2)) it is twice that.
const GATHER: Duration = Duration::from_micros(50);

/// Of a turn that moved less nothing is won: that takes a stream of more than ten gigabits a second.
const MUCH: u64 = 128 << 10;

/// Nobody else had anything to do for so long.
const CALM: Duration = Duration::from_millis(10);

/// What a worker has been at.
///
/// A worker that is faster than those who send and receive is woken for each few segments of a stream, and
/// wakes the receiver for as few: ten thousand times a second. While nobody else is there whom it would
/// keep waiting, it rests for a moment before it looks again.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that streams moved in this turn.
    streamed: u64,
    /// When it last did anything else.
    other: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { streamed: 0, other: now }
    }

    /// A session had its turn, in which so many bytes were moved, which may gather or not.
    pub(super) fn note(&mut self, may_gather: bool, moved: u64, now: Instant) {
        if may_gather {
            self.streamed += moved;
        } else {
            self.serve(now);
        }
    }

    /// There is somebody else: a new session, a command.
    pub(super) fn serve(&mut self, now: Instant) {
        self.other = now;
    }

    /// How long to rest after this turn before the poll is asked.
    pub(super) fn gather(&mut self, now: Instant) -> Option<Duration> {
        let much = std::mem::take(&mut self.streamed) >= MUCH;
        (much && now.saturating_duration_since(self.other) >= CALM).then_some(GATHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_millis(11);

    #[test]
    fn it_rests_where_streams_have_moved_much_and_nobody_else_is_there() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let now = begin + LATER;
        pace.note(true, MUCH / 2, now);
        pace.note(true, MUCH / 2, now);
        assert_eq!(pace.gather(now), Some(GATHER));
        assert_eq!(pace.gather(now), None, "a turn in which nothing was moved");
    }

    #[test]
    fn it_looks_at_once_for_whoever_else_was_there_just_now() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let now = begin + LATER;
        pace.note(false, 64, now);
        pace.note(true, MUCH, now);
        assert_eq!(pace.gather(now), None);
        pace.note(true, MUCH, now + LATER);
        assert_eq!(pace.gather(now + LATER), Some(GATHER));
    }

    #[test]
    fn a_stream_that_brings_little_is_looked_at_at_once() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        pace.note(true, MUCH - 1, begin + LATER);
        assert_eq!(pace.gather(begin + LATER), None);
    }
}
