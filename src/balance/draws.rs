//! A sequence of random numbers out of the one that comes with an [`Ask`].
//!
//! SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014):
//! every 64-bit state gives another number, and neighbours look unrelated. It is not for secrets.

use super::Ask;

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers of one ask, the same for equal asks.
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn of(ask: &Ask) -> Self {
        Self(ask.random)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// A number below `count`, or 0 if `count` is 0. Lemire's multiplication without its rejection:
    /// the bias is below `count / 2^64`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        scale(self.next(), count)
    }
}

/// Maps all of u64 evenly to the numbers below `count`.
pub(super) fn scale(number: u64, count: usize) -> usize {
    let product = u128::from(number) * count as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_sequence() {
        // The first outputs of SplitMix64 with seed 1234567 (Rosetta Code, and Java's SplittableRandom).
        let mut draws = Draws::of(&Ask { source: None, random: 1_234_567 });
        assert_eq!(draws.next(), 6_457_827_717_110_365_317);
        assert_eq!(draws.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn stays_below_and_covers_all() {
        let mut seen = [0_u32; 7];
        for random in 0..7_000 {
            seen[Draws::of(&Ask { source: None, random }).below(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        assert_eq!((scale(u64::MAX, 3), scale(0, 3), scale(9, 0)), (2, 0, 0));
    }
}
