//! Who is left out, and when health does not count.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::*;
use crate::config;
use crate::model::{Objects, Resolved};
use crate::plugin::Registry;

/// A pool of so many backends, with more lines.
fn view(backends: usize, lines: &str) -> Arc<PoolView> {
    let addresses: Vec<String> = (0..backends).map(|it| format!("'10.0.0.{it}:1'")).collect();
    view_of(&format!("balance = 'first'\nbackends = [{}]\n{lines}\n", addresses.join(", ")))
}

/// The pool of which the file says this.
fn view_of(pool: &str) -> Arc<PoolView> {
    let text = format!("[listener.l]\naddress = '127.0.0.1:1'\npool = 'p'\n[pool.p]\n{pool}");
    let config = config::parse(&text, "f", &|_| None).config.unwrap();
    let mut objects = Objects::new(Arc::new(crate::model::NoWaiters), Instant::now());
    let registry = Registry::with_builtins();
    let snapshot = objects.assemble(&config, &Resolved::new(), &[], &registry).unwrap();
    Arc::clone(&snapshot.pools["p"])
}

/// How many of the backends, failing one after the other, are left out.
fn left_out(view: &PoolView) -> usize {
    let fail = |member: &Member| view.note_failure(&member.backend, false, &"refused", 0).is_some();
    (0..5).for_each(|_| assert!(view.members.iter().filter(|it| fail(it)).count() <= 9));
    view.members.iter().filter(|member| member.backend.health.is_ejected(1)).count()
}

fn picked(view: &PoolView, now: u64) -> Option<String> {
    match view.pick(&Ask { source: None, random: 0 }, &[], now) {
        Picked::Backend(backend, _) => Some(backend.name.to_string()),
        Picked::Full | Picked::None => None,
    }
}

#[test]
fn no_more_are_left_out_than_may_be_and_never_all() {
    assert_eq!(left_out(&view(1, "")), 0);
    assert_eq!(left_out(&view(2, "")), 1);
    assert_eq!(left_out(&view(3, "")), 1);
    assert_eq!(left_out(&view(10, "")), 5);
    assert_eq!(left_out(&view(10, "eject = { max_ejected = '100%' }")), 9);
    assert_eq!(left_out(&view(10, "eject = { max_ejected = '5%' }")), 1, "one always");
    assert_eq!(left_out(&view(10, "eject = { max_ejected = '0%' }")), 0);
    assert_eq!(left_out(&view(10, "eject = { failures = 6 }")), 0);
    assert_eq!(left_out(&view(10, "eject = false")), 0);
}

#[test]
fn the_last_that_is_healthy_is_not_left_out() {
    let view = view(3, "eject = { failures = 1, max_ejected = '100%' }");
    let [a, b, c] = [0, 1, 2].map(|index| &view.members[index].backend);
    b.health.note_probe(&Err("down".to_owned()), (1, 1), 0);
    assert!(view.note_failure(a, false, &"refused", 0).is_some(), "c is healthy");
    assert!(view.note_failure(c, false, &"refused", 0).is_none(), "nobody else is");
    assert_eq!(picked(&view, 1).as_deref(), Some("10.0.0.2:1"));
}

#[test]
fn who_is_left_out_comes_back_when_the_time_is_over() {
    let view = view(2, "eject = { failures = 1, time = '1s' }");
    view.note_failure(&view.members[0].backend, true, &"refused", 5_000);
    assert_eq!(picked(&view, 5_999).as_deref(), Some("10.0.0.1:1"));
    assert_eq!(picked(&view, 6_000).as_deref(), Some("10.0.0.0:1"));
}

#[test]
fn in_panic_health_does_not_count() {
    let view = view(3, "");
    for member in &view.members {
        member.backend.health.note_probe(&Err("down".to_owned()), (1, 1), 0);
    }
    assert_eq!(picked(&view, 1), None);
    assert!(view.is_below(1) && !view.is_below(0));
    view.pool.panicking.store(true, Relaxed);
    assert_eq!(picked(&view, 1).as_deref(), Some("10.0.0.0:1"));
}

#[test]
fn a_share_is_of_those_that_the_operator_wants() {
    let backend = |address: &str, weight: u8| {
        format!("[[pool.p.backends]]\naddress = '{address}:1'\nweight = {weight}\n")
    };
    let view =
        view_of(&(backend("10.0.0.9", 0) + &backend("10.0.0.1", 1) + &backend("10.0.0.2", 1)));
    view.members[1].backend.health.note_probe(&Err("down".to_owned()), (1, 1), 0);
    assert!(!view.is_below(50) && view.is_below(51));
}

/// How often each backend is picked by so many sessions.
fn shares(view: &PoolView, now: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut shares = vec![0; view.members.len()];
    for _ in 0..10_000 {
        let ask = Ask { source: None, random: random.u64(..) };
        let Picked::Backend(backend, _) = view.pick(&ask, &[], now) else { panic!("nobody") };
        let index = view.members.iter().position(|it| Arc::ptr_eq(&it.backend, &backend)).unwrap();
        shares[index] += 1;
    }
    shares
}

/// Six backends, of which the last two stand by.
fn two_tiers() -> Arc<PoolView> {
    let backend = |number: usize| {
        let backup = number >= 4;
        format!("[[pool.p.backends]]\naddress = '10.0.0.{number}:1'\nbackup = {backup}\n")
    };
    view_of(&(0..6).map(backend).collect::<String>())
}

fn fell(view: &PoolView, index: usize) {
    view.members[index].backend.health.note_probe(&Err("down".to_owned()), (1, 1), 0);
}

#[test]
fn the_next_tier_is_used_as_far_as_the_first_lacks_healthy_backends() {
    let view = two_tiers();
    assert_eq!(shares(&view, 1)[4..], [0, 0]);
    fell(&view, 0);
    assert_eq!(shares(&view, 1)[4..], [0, 0], "three of four can carry it");
    fell(&view, 1);
    let half = shares(&view, 1);
    assert!(half[4..].iter().all(|share| (1350..1650).contains(share)), "{half:?}");
    assert!(half[2..4].iter().all(|share| (3300..3700).contains(share)), "{half:?}");
    (2..4).for_each(|index| fell(&view, index));
    let none = shares(&view, 1);
    assert!(none[4..].iter().all(|share| (4700..5300).contains(share)), "{none:?}");
    fell(&view, 4);
    assert_eq!(shares(&view, 1)[5], 10_000);
}

#[test]
fn a_session_that_finds_its_tier_full_or_tried_goes_on_to_the_next() {
    let view = two_tiers();
    let tried: Vec<_> = view.members[..4].iter().map(|it| Arc::clone(&it.backend)).collect();
    let Picked::Backend(backend, _) = view.pick(&Ask { source: None, random: 0 }, &tried, 1) else {
        panic!("nobody");
    };
    assert!(view.members[4..].iter().any(|it| Arc::ptr_eq(&it.backend, &backend)));
    view.members[..4].iter().for_each(|it| it.backend.limit.set_max(Some(0)));
    assert_eq!(shares(&view, 1)[..4], [0; 4]);
}

/// Two backends, of which the first came back at 1 s.
fn one_came_back(policy: &str) -> Arc<PoolView> {
    let view = view_of(&format!(
        "balance = '{policy}'\nslow_start = '10s'\nbackends = ['10.0.0.0:1', '10.0.0.1:1']\n"
    ));
    fell(&view, 0);
    view.members[0].backend.health.note_probe(&Ok(()), (1, 1), 1_000);
    view
}

#[test]
fn the_share_of_one_that_comes_back_rises() {
    let view = one_came_back("round_robin");
    // A tenth against one, then a half, then the same.
    for (now, expected) in [(1_000, 857..=1_000), (6_000, 3_300..=3_400), (11_000, 4_990..=5_010)] {
        let share = shares(&view, now)[0];
        assert!(expected.contains(&share), "{share} at {now}");
    }
}

#[test]
fn one_that_comes_back_empty_is_not_given_all_at_once() {
    let view = one_came_back("least_connections");
    let mut random = fastrand::Rng::with_seed(7);
    let mut held = Vec::new();
    for _ in 0..1_100 {
        let ask = Ask { source: None, random: random.u64(..) };
        let Picked::Backend(_, permit) = view.pick(&ask, &[], 1_000) else { panic!("nobody") };
        held.push(permit);
    }
    let active = view.members[0].backend.limit.current();
    assert!((90..=100).contains(&active), "{active} of 1,100");
}

#[test]
fn one_that_just_came_is_used_all_the_same_if_there_is_nobody_else() {
    let view = view(2, "slow_start = '10s'");
    (0..2).for_each(|index| fell(&view, index));
    view.members[1].backend.health.note_probe(&Ok(()), (1, 1), 1_000);
    assert_eq!(shares(&view, 1_000), [0, 10_000]);
}
