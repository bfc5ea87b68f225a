//! The promises of `source_hash`: faithful, agreed upon, and hardly moved by changes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Candidate;
use super::super::tests::{candidates, members};
use super::*;

fn from(source: IpAddr) -> Ask {
    Ask { source: Some(source), random: 0 }
}

fn numbered(number: u32) -> Ask {
    from(IpAddr::V4(Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761))))
}

fn seeded(seed: u64, members: &[Member]) -> Box<dyn Selector> {
    SourceHash::new(SourceHashOptions { seed, ..Default::default() }).selector(members)
}

/// What each of so many sources picks.
fn picks(selector: &dyn Selector, pool: &Vec<Candidate>, sources: u32) -> Vec<usize> {
    (0..sources).map(|number| selector.pick(&numbered(number), pool).unwrap()).collect()
}

#[test]
fn instances_with_one_seed_agree_on_a_hundred_thousand_sources() {
    let list = members(&[3, 1, 1, 2, 5, 1, 1]);
    let pool = candidates(&[1; 7]);
    let one = picks(&*seeded(7, &list), &pool, 100_000);
    assert_eq!(one, picks(&*seeded(7, &list), &pool, 100_000));
    let mut reversed = list.clone();
    reversed.reverse();
    let other = picks(&*seeded(7, &reversed), &pool, 100_000);
    assert!(one.iter().zip(&other).all(|(one, other)| one + other == 6));
    let moved = picks(&*seeded(8, &list), &pool, 100_000);
    assert!(one.iter().zip(&moved).filter(|(one, moved)| one != moved).count() > 50_000);
}

/// Fixes the function itself: instances of different versions must agree as well.
#[test]
fn picks_stay_the_same_from_version_to_version() {
    let selector = seeded(7, &members(&[1; 10]));
    let expected = [2, 6, 5, 0, 5, 6, 6, 1, 5, 0, 6, 0, 5, 7, 6, 6];
    assert_eq!(picks(&*selector, &candidates(&[1; 10]), 16), expected);
}

#[test]
fn sources_are_shared_by_weight() {
    let weights = [1, 2, 3, 4];
    let mut shares = [0_u32; 4];
    for index in picks(&*seeded(7, &members(&weights)), &candidates(&weights), 100_000) {
        shares[index] += 1;
    }
    for (share, weight) in shares.into_iter().zip(weights) {
        assert!(share.abs_diff(weight * 10_000) < 600, "{shares:?}");
    }
}

#[test]
fn a_member_less_moves_its_own_sources_and_few_others() {
    for (count, gone) in [(3, 0), (10, 4), (100, 99)] {
        let list = members(&vec![1; count]);
        let mut fewer = list.clone();
        fewer.remove(gone);
        let before = picks(&*seeded(7, &list), &candidates(&vec![1; count]), 100_000);
        let after = picks(&*seeded(7, &fewer), &candidates(&vec![1; count - 1]), 100_000);
        let same =
            |(one, other): &(&usize, &usize)| **one == **other + usize::from(**other >= gone);
        let moved = 100_000 - before.iter().zip(&after).filter(same).count();
        assert!(moved <= 100_000 / count + 2_000, "{moved} of 100000 moved with {count} members");
    }
}

#[test]
fn a_member_that_is_out_moves_only_its_own_sources_and_gets_them_back() {
    let selector = seeded(7, &members(&[1; 10]));
    let mut pool = candidates(&[1; 10]);
    let before = picks(&*selector, &pool, 100_000);
    pool[3].usable = false;
    let during = picks(&*selector, &pool, 100_000);
    let mut shares = [0; 10];
    for (before, during) in before.iter().zip(during) {
        assert!(*before == during || *before == 3);
        shares[during] += usize::from(*before == 3);
    }
    assert_eq!(shares[3], 0);
    assert!(
        shares.iter().filter(|&&share| share > 800).count() == 9,
        "spread over all: {shares:?}"
    );
    pool[3].usable = true;
    assert_eq!(picks(&*selector, &pool, 100_000), before);
}

#[test]
fn sources_count_by_prefix() {
    let options = SourceHashOptions { ipv4_prefix: 24, ipv6_prefix: 48, ..Default::default() };
    let subject = |text: &str| options.subject(text.parse().unwrap());
    assert_eq!(subject("192.0.2.1"), subject("192.0.2.255"));
    assert_eq!(subject("192.0.2.1"), subject("::ffff:192.0.2.7"));
    assert_ne!(subject("192.0.2.1"), subject("192.0.3.1"));
    assert_eq!(subject("2001:db8::1"), subject("2001:db8:0:ffff::"));
    assert_ne!(subject("2001:db8::1"), subject("2001:db8:1::1"));
    let none = SourceHashOptions { ipv4_prefix: 0, ipv6_prefix: 0, seed: 0 };
    assert_eq!(none.subject(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))), 0);
    assert_ne!(none.subject(IpAddr::V4(Ipv4Addr::BROADCAST)), 0, "IPv4 is not IPv6's prefix of 0");
}

#[test]
fn without_a_source_the_draw_decides() {
    let selector = seeded(7, &members(&[1; 4]));
    let pool = candidates(&[1; 4]);
    let mut shares = [0_u32; 4];
    for random in 0..4_000 {
        shares[selector.pick(&Ask { source: None, random }, &pool).unwrap()] += 1;
    }
    assert!(shares.iter().all(|&share| share > 850), "{shares:?}");
}

#[test]
fn options_are_checked() {
    let read = |text: &str| toml::from_str::<SourceHashOptions>(text);
    assert_eq!(read("").unwrap(), SourceHashOptions::default());
    assert_eq!(read("seed = 7\nipv6_prefix = 128").unwrap().ipv6_prefix, 128);
    let refused = |text, why| {
        let error = read(text).unwrap_err();
        assert!(error.message().contains(why), "{error}");
    };
    refused("ipv4_prefix = 33", "a prefix has 0 to 32 bits, not 33");
    refused("ipv6_prefix = 300", "a prefix has 0 to 128 bits, not 300");
    refused("sed = 7", "unknown field `sed`");
    refused("seed = -1", "-1");
}
