//! A lookup table that spreads hashes over members and hardly moves when members come and go.
//!
//! Maglev hashing (Eisenbud and others: Maglev, A Fast and Reliable Software Network Load Balancer,
//! NSDI 2016, section 3.4): each member walks the table in an order of its own and takes the next
//! free place whenever it is its turn. Turns come by weight. The table depends on the members'
//! identities and weights and on the key alone, not on their order in the list, so that instances
//! which learned of the members in another order agree.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::Member;

/// How many places a table may have: primes, as the walks need it, each just over a power of two.
const SIZES: [usize; 5] = [65_537, 131_101, 262_147, 524_309, 1_048_583];

/// With a hundred places for each member no share is off by more than about one percent. Beyond the
/// largest table, from 10,486 members on, shares become coarser.
const PLACES_EACH: usize = 100;

/// Which member takes a hash.
#[derive(Debug)]
pub(super) struct Maglev {
    /// For each place the index of its member in the list.
    places: Box<[u32]>,
    /// The indices of all members in the order of their identities.
    order: Box<[u32]>,
}

/// The walk of one member over the places.
#[derive(Debug)]
struct Walk {
    index: u32,
    position: usize,
    skip: usize,
    /// Virtual time between two of its turns.
    stride: u64,
}

impl Maglev {
    /// Takes a step for each place and, on average, a few more for each that is found taken.
    pub(super) fn new(members: &[Member], key: (u64, u64)) -> Self {
        let mut order: Vec<u32> = (0..u32::MAX).take(members.len()).collect();
        order.sort_by(|&one, &other| {
            members[one as usize].identity.cmp(&members[other as usize].identity)
        });
        let size = size(members.len());
        let walks = order.iter().map(|&index| (index, &members[index as usize]));
        let walks: Vec<Walk> = walks
            .filter(|(_, member)| member.weight > 0)
            .map(|(index, member)| Walk::new(index, member, size, key))
            .collect();
        let places = if walks.is_empty() { Vec::new() } else { populate(walks, size) };
        Self { places: places.into(), order: order.into() }
    }

    /// The member of `hash`; `None` if none has a weight.
    pub(super) fn at(&self, hash: u64) -> Option<usize> {
        let place = remainder(hash, self.places.len())?;
        self.places.get(place).map(|&index| index as usize)
    }

    /// All members once, each as the first for some hashes, in an order that all instances share.
    pub(super) fn all_from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let (before, from) = self.order.split_at(remainder(hash, self.order.len()).unwrap_or(0));
        from.iter().chain(before).map(|&index| index as usize)
    }
}

impl Walk {
    fn new(index: u32, member: &Member, size: usize, key: (u64, u64)) -> Self {
        let hash = |salt: u8| {
            let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
            hasher.write(member.identity.as_bytes());
            hasher.write_u8(salt);
            hasher.finish()
        };
        // Any step from 1 to size - 1 visits all places, because their number is prime.
        let position = remainder(hash(0), size).unwrap_or(0);
        let skip = remainder(hash(1), size - 1).unwrap_or(0) + 1;
        // At least 1: a weight has 32 bits. A table has fewer than 2^21 turns, so sums fit too.
        let stride = (1 << 42) / u64::from(member.weight);
        Self { index, position, skip, stride }
    }

    /// Goes on to the next free place.
    fn take(&mut self, places: &mut [u32]) {
        while places[self.position] != FREE {
            self.position = (self.position + self.skip) % places.len();
        }
        places[self.position] = self.index;
    }
}

fn size(members: usize) -> usize {
    let [smaller @ .., largest] = SIZES;
    let needed = members.saturating_mul(PLACES_EACH);
    smaller.into_iter().find(|&size| size >= needed).unwrap_or(largest)
}

const FREE: u32 = u32::MAX;

fn populate(mut walks: Vec<Walk>, size: usize) -> Vec<u32> {
    let mut places = vec![FREE; size];
    // Who is due first, and of those due at once the one whose identity comes first.
    let mut turns: BinaryHeap<_> =
        walks.iter().enumerate().map(|(turn, walk)| Reverse((walk.stride / 2, turn))).collect();
    for _ in 0..size {
        if let Some(mut first) = turns.peek_mut() {
            let Reverse((due, turn)) = *first;
            walks[turn].take(&mut places);
            *first = Reverse((due + walks[turn].stride, turn));
        }
    }
    places
}

fn remainder(hash: u64, count: usize) -> Option<usize> {
    usize::try_from(hash.checked_rem(count as u64)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::members;
    use super::*;

    fn shares(members: &[Member]) -> Vec<usize> {
        let mut shares = vec![0; members.len()];
        for &index in &Maglev::new(members, (1, 2)).places {
            shares[index as usize] += 1;
        }
        shares
    }

    #[test]
    fn sizes_are_prime() {
        for size in SIZES {
            assert!((2..size).take_while(|factor| factor * factor <= size).all(|f| size % f != 0));
        }
    }

    #[test]
    fn shares_of_the_table_follow_the_weights() {
        let weights = [5, 0, 1, 1, 93];
        for (share, weight) in shares(&members(&weights)).into_iter().zip(weights) {
            let expected = SIZES[0] * weight as usize / 100;
            assert!(share.abs_diff(expected) <= 2, "{share} of weight {weight}");
        }
        assert!(shares(&members(&[1; 700])).iter().all(|share| (187..=188).contains(share)));
        assert_eq!(shares(&members(&[u32::MAX, 1])), [SIZES[0], 0]);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let list = members(&[1, 2, 3, 4, 5]);
        let reversed: Vec<_> = list.iter().rev().cloned().collect();
        let (one, other) = (Maglev::new(&list, (1, 2)), Maglev::new(&reversed, (1, 2)));
        for hash in 0..200_000 {
            assert_eq!(one.at(hash).map(|index| 4 - index), other.at(hash));
        }
        assert!(one.all_from(3).map(|index| 4 - index).eq(other.all_from(3)));
    }

    #[test]
    fn without_weights_there_is_no_place() {
        assert_eq!(Maglev::new(&[], (1, 2)).at(7), None);
        let table = Maglev::new(&members(&[0, 0]), (1, 2));
        assert_eq!((table.at(7), table.all_from(7).count()), (None, 2));
    }
}
