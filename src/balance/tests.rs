//! What every policy promises, and the helpers of their tests.

use proptest::prelude::*;

use super::*;

mod counted;

use counted::Counted;

/// One of this weight with nothing against it.
pub(super) fn candidate(weight: u32) -> Candidate {
    Candidate { weight, active: 0, limit: u32::MAX, usable: true }
}

pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().map(|&weight| candidate(weight)).collect()
}

/// A list with addresses that are told apart.
pub(super) fn members(weights: &[u32]) -> Vec<Member> {
    let member = |(number, &weight)| Member { identity: format!("10.0.0.{number}:80"), weight };
    weights.iter().enumerate().map(member).collect()
}

/// An ask without a source.
pub(super) fn random(random: u64) -> Ask {
    Ask { source: None, random }
}

fn policies() -> [(&'static str, Box<dyn Balancer>); 5] {
    [
        ("first", Box::new(First)),
        ("least_connections", Box::new(LeastConnections)),
        ("random_two", Box::new(RandomTwo)),
        ("round_robin", Box::new(RoundRobin::default())),
        ("source_hash", Box::new(SourceHash::default())),
    ]
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let weight = prop_oneof![2 => 1..4_u32, 1 => Just(0), 1 => any::<u32>()];
    let (active, limit) =
        (prop_oneof![0..4_u32, any::<u32>()], prop_oneof![0..4_u32, any::<u32>()]);
    let parts = (weight, active, limit, any::<bool>());
    parts.prop_map(|(weight, active, limit, usable)| Candidate { weight, active, limit, usable })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    (any::<Option<std::net::IpAddr>>(), any::<u64>())
        .prop_map(|(source, random)| Ask { source, random })
}

/// Picks, checks the promise, and returns the pick.
fn checked_pick(
    name: &str,
    selector: &dyn Selector,
    ask: &Ask,
    candidates: &[Candidate],
) -> Option<usize> {
    let counted = Counted::new(candidates);
    let picked = selector.pick(ask, &counted);
    let exists = candidates.iter().any(Candidate::eligible);
    assert_eq!(picked.is_some(), exists, "{name}");
    assert!(picked.is_none_or(|index| candidates[index].eligible()), "{name} picked {picked:?}");
    assert!(counted.looks() <= counted.looks_max(), "{name}: {}", counted.looks());
    picked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Over any weights, states and limits; several picks, since some policies remember.
    #[test]
    fn every_policy_picks_an_eligible_candidate_exactly_when_there_is_one(
        rounds in prop::collection::vec(prop::collection::vec(any_candidate(), 0..12), 1..3),
        asks in prop::collection::vec(any_ask(), 1..8),
    ) {
        for (name, policy) in policies() {
            for candidates in &rounds {
                let weights: Vec<_> = candidates.iter().map(|one| one.weight).collect();
                let selector = policy.selector(&members(&weights));
                for ask in &asks {
                    checked_pick(name, &*selector, ask, candidates);
                }
            }
        }
    }

    /// The weights that count are those of the candidates, should they differ from the list's.
    #[test]
    fn weights_may_differ_from_the_list(
        weights in prop::collection::vec(0..3_u32, 5..=5),
        candidates in prop::collection::vec(any_candidate(), 5..=5),
        ask in any_ask(),
    ) {
        for (name, policy) in policies() {
            let selector = policy.selector(&members(&weights));
            checked_pick(name, &*selector, &ask, &candidates);
        }
    }
}

/// As a session does whose connects fail: each candidate once, then none.
#[test]
fn every_policy_names_each_candidate_once_as_they_are_tried() {
    let weights = [3, 1, 0, 2, 1, 9, 1];
    for (name, policy) in policies() {
        let selector = policy.selector(&members(&weights));
        let mut pool = candidates(&weights);
        for ask in 0..6 {
            let index = checked_pick(name, &*selector, &random(ask), &pool).unwrap();
            pool[index].usable = false;
        }
        assert_eq!(checked_pick(name, &*selector, &random(7), &pool), None);
    }
}

#[test]
fn first_keeps_to_the_order() {
    let mut pool = candidates(&[0, 1, 5]);
    let selector = First.selector(&members(&[0, 1, 5]));
    assert_eq!(selector.pick(&random(1), &pool), Some(1));
    pool[1].limit = 0;
    assert_eq!(selector.pick(&random(1), &pool), Some(2));
}
