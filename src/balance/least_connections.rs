//! `least_connections`: the member that would have the fewest sessions for its weight.
//!
//! It compares `(active + 1) / weight`, so that an idle pool fills by weight, and lets the draw decide
//! between equals, so that an idle pool, or many instances in front of it, do not all turn to the
//! first. It holds no state and looks at each candidate once.

use std::cmp::Ordering;

use super::draws::Draws;
use super::{Ask, Balancer, Candidate, Candidates, Member, Selector};

/// Picks the member with the fewest sessions for its weight.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastConnections;

impl Balancer for LeastConnections {
    fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
        Box::new(Self)
    }
}

impl Selector for LeastConnections {
    fn pick(&self, ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        least_loaded(&mut Draws::of(ask), candidates)
    }
}

/// The eligible candidate with the least load; equals have equal chances.
pub(super) fn least_loaded(draws: &mut Draws, candidates: &dyn Candidates) -> Option<usize> {
    let mut best: Option<(usize, Candidate)> = None;
    let mut equals = 1;
    for index in 0..candidates.count() {
        let candidate = candidates.at(index);
        if !candidate.eligible() {
            continue;
        }
        let order = best.map_or(Ordering::Less, |(_, best)| by_load(&candidate, &best));
        let better = match order {
            Ordering::Less => {
                equals = 1;
                true
            }
            // The k-th of equals takes the place with a chance of 1/k (reservoir sampling).
            Ordering::Equal => {
                equals += 1;
                draws.below(equals) == 0
            }
            Ordering::Greater => false,
        };
        if better {
            best = Some((index, candidate));
        }
    }
    best.map(|(index, _)| index)
}

/// Compares `(active + 1) / weight` without dividing; the products fit, since
/// 2^32 (2^32 - 1) < 2^64.
pub(super) fn by_load(one: &Candidate, other: &Candidate) -> Ordering {
    let product = |load: &Candidate, weight: &Candidate| {
        (u64::from(load.active) + 1) * u64::from(weight.weight)
    };
    product(one, other).cmp(&product(other, one))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidate, random};
    use super::*;

    fn shares(candidates: Vec<Candidate>, asks: u64) -> Vec<u32> {
        let mut shares = vec![0; candidates.len()];
        for ask in 0..asks {
            shares[LeastConnections.pick(&random(ask), &candidates).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn picks_the_fewest_sessions_for_the_weight() {
        let loaded = |active, weight| Candidate { active, ..candidate(weight) };
        assert_eq!(shares(vec![loaded(3, 1), loaded(2, 1), loaded(9, 1)], 9), [0, 9, 0]);
        // 10/4 < 3/1, and then 12/4 = 3/1.
        assert_eq!(shares(vec![loaded(9, 4), loaded(2, 1)], 9), [9, 0]);
        assert!(shares(vec![loaded(11, 4), loaded(2, 1)], 900).iter().all(|&share| share > 350));
    }

    #[test]
    fn an_idle_pool_does_not_hammer_the_first() {
        let shares = shares(vec![candidate(1); 10], 10_000);
        assert!(shares.iter().all(|&share| (880..1_120).contains(&share)), "{shares:?}");
    }

    #[test]
    fn a_filling_pool_follows_the_weights() {
        let mut candidates = vec![candidate(5), candidate(3), candidate(2)];
        for ask in 0..1_000 {
            let index = LeastConnections.pick(&random(ask), &candidates).unwrap();
            candidates[index].active += 1;
        }
        let active: Vec<_> = candidates.iter().map(|candidate| candidate.active).collect();
        assert_eq!(active, [500, 300, 200]);
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let most = Candidate { active: u32::MAX - 1, weight: u32::MAX, ..candidate(1) };
        let other = Candidate { active: u32::MAX - 1, weight: 1, ..candidate(1) };
        assert_eq!(by_load(&most, &other), Ordering::Less);
        assert_eq!(by_load(&most, &most), Ordering::Equal);
    }
}
