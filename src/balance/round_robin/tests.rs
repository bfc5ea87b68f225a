//! The promises of `round_robin`: exact shares, evenly spread, no catching up, whatever races.

use proptest::prelude::*;

use super::super::Candidate;
use super::super::tests::{candidates, members, random};
use super::*;

fn picks(selector: &dyn Selector, pool: &Vec<Candidate>, count: usize) -> Vec<usize> {
    (0..count).map(|_| selector.pick(&random(0), pool).unwrap()).collect()
}

fn shares(picks: &[usize], members: usize) -> Vec<usize> {
    (0..members).map(|index| picks.iter().filter(|&&pick| pick == index).count()).collect()
}

fn letters(picks: &[usize]) -> String {
    picks.iter().map(|&pick| char::from(b'a' + u8::try_from(pick).unwrap())).collect()
}

fn fresh(weights: &[u32]) -> Box<dyn Selector> {
    RoundRobin::default().selector(&members(weights))
}

#[test]
fn equals_take_turns_in_order() {
    let picks = picks(&*fresh(&[7; 4]), &candidates(&[7; 4]), 12);
    assert_eq!(letters(&picks), "abcdabcdabcd");
}

#[test]
fn turns_are_spread() {
    let picks = picks(&*fresh(&[5, 1, 1]), &candidates(&[5, 1, 1]), 21);
    assert_eq!(letters(&picks), "aaabaacaaabaacaaabaac");
}

#[test]
fn weights_that_divide_nothing_still_get_their_share() {
    let weights = [1, 10, 100, 1_000, 889];
    let picks = picks(&*fresh(&weights), &candidates(&weights), 200_000);
    assert_eq!(shares(&picks, 5), [100, 1_000, 10_000, 100_000, 88_900]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In every window of picks each member has its share to within a bound that depends neither on
    /// the length of the window nor on when it starts.
    #[test]
    fn every_window_has_the_shares(weights in prop::collection::vec(1..30_u32, 1..12)) {
        let picks = picks(&*fresh(&weights), &candidates(&weights), 400);
        let sum: u32 = weights.iter().sum();
        for (index, &weight) in weights.iter().enumerate() {
            let share = f64::from(weight) / f64::from(sum);
            // Its own turn may fall on either side of each end; so may the turns of the others, and
            // it has its share of those.
            let bound = 2.0 + share * weights.len() as f64;
            for start in 0..picks.len() {
                let mut turns = 0.0;
                for (length, &pick) in (1..).zip(&picks[start..]) {
                    turns += f64::from(u8::from(pick == index));
                    let off = (turns - share * f64::from(length)).abs();
                    prop_assert!(off <= bound, "{off} in {length} from {start}: {weights:?}");
                }
            }
        }
    }

    #[test]
    fn whole_rounds_have_exact_shares(weights in prop::collection::vec(0..50_u32, 1..10)) {
        let sum: u32 = weights.iter().sum();
        prop_assume!(sum > 0);
        let selector = fresh(&weights);
        for round in 0..20 {
            let picks = picks(&*selector, &candidates(&weights), sum as usize);
            let shares = shares(&picks, weights.len());
            let expected: Vec<_> = weights.iter().map(|&weight| weight as usize).collect();
            prop_assert_eq!(shares, expected, "round {}", round);
        }
    }
}

#[test]
fn a_member_that_comes_back_does_not_catch_up() {
    let weights = [4, 4, 4];
    let selector = fresh(&weights);
    let mut pool = candidates(&weights);
    for absence in [1, 10, 1_000, 300_000] {
        pool[1].usable = false;
        let without = picks(&*selector, &pool, absence);
        assert!(!without.contains(&1));
        pool[1].usable = true;
        let back = picks(&*selector, &pool, 30);
        assert!(back[..3].contains(&1), "after {absence} it waits: {back:?}");
        assert!(shares(&back, 3)[1] <= 11, "after {absence} it catches up: {back:?}");
        assert!(back.windows(2).all(|pair| pair != [1, 1]), "{back:?}");
    }
}

/// Virtual time wraps after 65,536 turns of one member of weight 1; another that is out all the
/// while must not look as if it were ahead, wherever that is when it comes back.
#[test]
fn no_absence_is_so_long_that_time_wraps() {
    let weights = [1, 1];
    let selector = fresh(&weights);
    let mut pool = candidates(&weights);
    for absence in (1_000..80_000).step_by(9_973) {
        pool[1].usable = false;
        picks(&*selector, &pool, absence);
        pool[1].usable = true;
        assert!(picks(&*selector, &pool, 3).contains(&1), "after {absence}");
    }
}

#[test]
fn due_times_survive_a_new_list_by_identity() {
    let policy = RoundRobin::default();
    let list = members(&[1; 4]);
    let pool = candidates(&[1; 4]);
    let mut turns = Vec::new();
    // A new list before every pick: without memory the first would be picked each time.
    for _ in 0..8 {
        turns.extend(picks(&*policy.selector(&list), &pool, 1));
    }
    assert_eq!(letters(&turns), "abcdabcd");
    let reversed: Vec<_> = list.iter().rev().cloned().collect();
    let turns: Vec<_> = picks(&*policy.selector(&reversed), &pool, 4);
    assert_eq!(letters(&turns), "dcba", "it is the identity that counts, not the index");
}

#[test]
fn members_no_longer_listed_are_forgotten() {
    let policy = RoundRobin::default();
    for list in 0..100 {
        let member = Member { identity: format!("10.0.0.{list}:80"), weight: 1 };
        policy.selector(&[member]);
    }
    let last = policy.last.lock().unwrap();
    assert_eq!(last.as_ref().map(|turns| turns.clock.due.len()), Some(1));
}

#[test]
fn a_heavier_weight_counts_from_the_new_list_on() {
    let policy = RoundRobin::default();
    picks(&*policy.selector(&members(&[1, 1_000])), &candidates(&[1, 1_000]), 5_005);
    let selector = policy.selector(&members(&[1_000, 1_000]));
    let picks = picks(&*selector, &candidates(&[1_000, 1_000]), 100);
    assert!((48..=52).contains(&shares(&picks, 2)[0]), "{}", letters(&picks));
}

#[test]
fn racing_workers_share_the_turns_exactly() {
    const THREADS: usize = 4;
    let weights = [5, 3, 1, 1];
    let selector = fresh(&weights);
    let pool = candidates(&weights);
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| shares(&picks(&*selector, &pool, 25_000), 4)))
            .collect();
        workers.into_iter().fold([0; 4], |mut all, worker| {
            for (all, share) in all.iter_mut().zip(worker.join().unwrap()) {
                *all += share;
            }
            all
        })
    });
    for (share, weight) in all.into_iter().zip(weights) {
        let expected = weight as usize * 10_000;
        assert!(share.abs_diff(expected) <= 4 * THREADS, "{all:?}");
    }
}
