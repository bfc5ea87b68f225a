//! Where a world takes its chances from: a seed, or bytes that somebody chose, a fuzzer say.
//!
//! Chosen bytes cannot do what no network does: a call is not interrupted for ever, and when all bytes are
//! used up, chance goes on by itself.

use std::cell::RefCell;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use fastrand::Rng;

/// Bad luck in a row, if bytes decide.
const BAD_LUCK: u32 = 3;

#[derive(Debug, Clone)]
pub(super) enum Chance {
    Seed(Rng),
    /// All that share a world share its bytes.
    Bytes(Rc<RefCell<Bytes>>),
}

#[derive(Debug)]
pub(super) struct Bytes {
    rest: Vec<u8>,
    bad_luck: u32,
    afterwards: Rng,
}

impl Chance {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self::Seed(Rng::with_seed(seed))
    }

    /// The first byte decides first.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let rest = bytes.iter().rev().copied().collect();
        let bytes = Bytes { rest, bad_luck: 0, afterwards: Rng::with_seed(1) };
        Self::Bytes(Rc::new(RefCell::new(bytes)))
    }

    /// For somebody else in the same world.
    pub(super) fn fork(&mut self) -> Self {
        match self {
            Self::Seed(random) => Self::Seed(random.fork()),
            Self::Bytes(bytes) => Self::Bytes(Rc::clone(bytes)),
        }
    }

    pub(super) fn bool(&mut self) -> bool {
        match self {
            Self::Seed(random) => random.bool(),
            Self::Bytes(bytes) => bytes.borrow_mut().up_to(1) == 1,
        }
    }

    pub(super) fn u8(&mut self, range: impl RangeBounds<u8>) -> u8 {
        match self {
            Self::Seed(random) => random.u8(range),
            Self::Bytes(bytes) => bytes.borrow_mut().within(range, u8::MAX),
        }
    }

    pub(super) fn u64(&mut self, range: impl RangeBounds<u64>) -> u64 {
        match self {
            Self::Seed(random) => random.u64(range),
            Self::Bytes(bytes) => bytes.borrow_mut().within(range, u64::MAX),
        }
    }

    pub(super) fn usize(&mut self, range: impl RangeBounds<usize>) -> usize {
        match self {
            Self::Seed(random) => random.usize(range),
            Self::Bytes(bytes) => bytes.borrow_mut().within(range, usize::MAX),
        }
    }

    /// True in so many of 256 cases.
    pub(super) fn bad_luck(&mut self, cases: u8) -> bool {
        match self {
            Self::Seed(random) => random.u8(..) < cases,
            Self::Bytes(bytes) => bytes.borrow_mut().bad_luck(cases),
        }
    }
}

impl Bytes {
    fn bad_luck(&mut self, cases: u8) -> bool {
        let bad = self.up_to(u8::MAX.into()) < cases.into() && self.bad_luck < BAD_LUCK;
        self.bad_luck = if bad { self.bad_luck + 1 } else { 0 };
        bad
    }

    fn within<T>(&mut self, range: impl RangeBounds<T>, most: T) -> T
    where
        T: Copy + TryInto<u64> + TryFrom<u64>,
    {
        let number = |it: &T| (*it).try_into().ok().unwrap();
        let first = match range.start_bound() {
            Bound::Included(first) => number(first),
            Bound::Excluded(before) => number(before) + 1,
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => number(last),
            Bound::Excluded(behind) => number(behind) - 1,
            Bound::Unbounded => number(&most),
        };
        T::try_from(first + self.up_to(last - first)).ok().unwrap()
    }

    /// A number up to `most`, out of as few bytes as can say it.
    fn up_to(&mut self, most: u64) -> u64 {
        let Some(count) = most.checked_add(1) else { return self.number(most) };
        if most == 0 { 0 } else { self.number(most) % count }
    }

    fn number(&mut self, most: u64) -> u64 {
        if self.rest.is_empty() {
            return self.afterwards.u64(..);
        }
        let bytes = (64 - most.leading_zeros()).div_ceil(8);
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.rest.pop().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_one_by_one_and_then_chance_goes_on() {
        let mut chance = Chance::of_bytes(&[7, 1, 44, 3, 2]);
        assert_eq!((chance.u8(..), chance.u64(0..=999), chance.usize(1..=2)), (7, 300, 2));
        let mut shared = chance.fork();
        assert!(!shared.bool() && !chance.bad_luck(0));
        assert!((0..100).any(|_| chance.u8(..) != 0));
        assert_eq!((chance.u64(5..=5), chance.u64(5..6)), (5, 5));
    }

    #[test]
    fn bad_luck_comes_to_an_end() {
        let mut chance = Chance::of_bytes(&[0; 8]);
        let luck: Vec<bool> = (0..8).map(|_| chance.bad_luck(10)).collect();
        assert_eq!(luck, [true, true, true, false, true, true, true, false]);
    }
}
