//! `random_two`: of two members drawn by weight, the one with the lower load for its weight.
//!
//! The power of two choices (Mitzenmacher 2001): close to `least_connections` without a look at every
//! member, and without the herd when many instances see the same numbers. If the draws do not meet
//! two eligible members within [`DRAWS_MAX`], it looks at all, as `least_connections` does.

use super::alias::Alias;
use super::draws::Draws;
use super::least_connections::{by_load, least_loaded};
use super::{Ask, Balancer, Candidates, Member, Selector};

/// Draws for one pick. With half of the members out, fewer than one pick in 3,000 needs more.
const DRAWS_MAX: usize = 16;

/// Picks the less loaded of two drawn members.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomTwo;

impl Balancer for RandomTwo {
    fn selector(&self, members: &[Member]) -> Box<dyn Selector> {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Box::new(TwoOf { alias: Alias::new(&weights) })
    }
}

/// Draws by the weights of its list.
#[derive(Debug)]
struct TwoOf {
    alias: Option<Alias>,
}

impl Selector for TwoOf {
    fn pick(&self, ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        let mut draws = Draws::of(ask);
        self.better_of_two(&mut draws, candidates).or_else(|| least_loaded(&mut draws, candidates))
    }
}

impl TwoOf {
    fn better_of_two(&self, draws: &mut Draws, candidates: &dyn Candidates) -> Option<usize> {
        let alias = self.alias.as_ref()?;
        let count = candidates.count();
        let mut first = None;
        for _ in 0..DRAWS_MAX {
            let index = alias.draw(draws);
            if index >= count || first.is_some_and(|(drawn, _)| drawn == index) {
                continue;
            }
            let candidate = candidates.at(index);
            if !candidate.eligible() {
                continue;
            }
            match first {
                None => first = Some((index, candidate)),
                Some((drawn, other)) if by_load(&other, &candidate).is_le() => return Some(drawn),
                Some(_) => return Some(index),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Candidate;
    use super::super::tests::{candidate, candidates, members, random};
    use super::*;

    #[test]
    fn an_even_pool_fills_evenly() {
        let mut pool = candidates(&[1; 100]);
        let selector = RandomTwo.selector(&members(&[1; 100]));
        for ask in 0..10_000 {
            let index = selector.pick(&random(ask), &pool).unwrap();
            pool[index].active += 1;
        }
        // Two choices keep the fullest within a few of the mean; one choice would exceed it by 25.
        let (least, most) =
            (pool.iter().map(|one| one.active).min(), pool.iter().map(|one| one.active).max());
        assert!(least.unwrap() >= 95 && most.unwrap() <= 105, "{least:?} to {most:?}");
    }

    #[test]
    fn a_pool_fills_by_weight() {
        let weights = [1, 2, 3, 10, 4];
        let mut pool = candidates(&weights);
        let selector = RandomTwo.selector(&members(&weights));
        for ask in 0..2_000 {
            let index = selector.pick(&random(ask), &pool).unwrap();
            pool[index].active += 1;
        }
        for (one, weight) in pool.iter().zip(weights) {
            assert!(one.active.abs_diff(weight * 100) <= 5, "{pool:?}");
        }
    }

    #[test]
    fn the_fullest_is_never_picked() {
        let mut pool = candidates(&[1; 4]);
        pool[2].active = 1;
        let selector = RandomTwo.selector(&members(&[1; 4]));
        assert!((0..1_000).all(|ask| selector.pick(&random(ask), &pool) != Some(2)));
    }

    #[test]
    fn finds_the_only_eligible_member_among_many() {
        let out = Candidate { usable: false, ..candidate(1_000) };
        let mut pool = vec![out; 1_000];
        pool[617] = candidate(1);
        let selector = RandomTwo.selector(&members(&[1_000; 1_000]));
        assert!((0..100).all(|ask| selector.pick(&random(ask), &pool) == Some(617)));
    }
}
