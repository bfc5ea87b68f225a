//! The promises of the per-source table: exact, bounded, and forgetful only of what is idle.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use super::*;
use crate::config::Rate;

fn sources(max: Option<u32>, per_second: Option<u32>) -> (Arc<Sources>, Instant) {
    let epoch = Instant::now();
    (Arc::new(Sources::new(&settings(max, per_second), epoch)), epoch)
}

fn settings(max: Option<u32>, per_second: Option<u32>) -> PerSource {
    let rate = per_second.map(|count| Rate { count, per: Duration::from_secs(1) });
    PerSource { max_connections: max, rate, ipv6_prefix: 64 }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn numbered(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

#[test]
fn a_permit_is_small() {
    assert_eq!(size_of::<SourcePermit>(), 24);
    assert_eq!(size_of::<Option<SourcePermit>>(), 24);
}

#[test]
fn each_source_has_its_own_maximum() {
    let (sources, now) = sources(Some(2), None);
    let held: Vec<_> = (0..2).map(|_| sources.admit(ip("10.0.0.1"), now).unwrap()).collect();
    assert_eq!(sources.admit(ip("10.0.0.1"), now).unwrap_err(), Refused::Connections);
    assert!(sources.admit(ip("10.0.0.2"), now).is_ok());
    assert_eq!(sources.count_sources(), 1, "a source without sessions or rate is forgotten");
    drop(held);
    assert_eq!((sources.count_sources(), sources.refused()), (0, 1));
    assert!(sources.admit(ip("10.0.0.1"), now).is_ok());
}

#[test]
fn each_source_has_its_own_rate_and_sessions_do_not_give_it_back() {
    let (sources, now) = sources(None, Some(4));
    for _ in 0..4 {
        drop(sources.admit(ip("10.0.0.1"), now).unwrap());
    }
    let refused = sources.admit(ip("10.0.0.1"), now).unwrap_err();
    assert_eq!(refused, Refused::Rate(Duration::from_millis(250)));
    assert!(sources.admit(ip("10.0.0.2"), now).is_ok());
    let later = now + Duration::from_millis(250);
    assert!(sources.admit(ip("10.0.0.1"), later).is_ok());
    assert!(sources.admit(ip("10.0.0.1"), later).is_err());
}

#[test]
fn a_session_over_the_maximum_takes_no_token() {
    let (sources, now) = sources(Some(1), Some(2));
    let held = sources.admit(ip("10.0.0.1"), now).unwrap();
    for _ in 0..10 {
        assert_eq!(sources.admit(ip("10.0.0.1"), now).unwrap_err(), Refused::Connections);
    }
    drop(held);
    assert!(sources.admit(ip("10.0.0.1"), now).is_ok());
}

#[test]
fn ipv6_counts_by_prefix_and_mapped_ipv4_as_ipv4() {
    let (sources, now) = sources(Some(1), None);
    let _six = sources.admit(ip("2001:db8::1"), now).unwrap();
    assert!(sources.admit(ip("2001:db8::2:3:4:5"), now).is_err());
    assert!(sources.admit(ip("2001:db8:0:1::1"), now).is_ok());
    let _four = sources.admit(ip("::ffff:10.0.0.1"), now).unwrap();
    assert!(sources.admit(ip("10.0.0.1"), now).is_err());
    assert!(sources.admit(ip("::ffff:10.0.0.2"), now).is_ok());
    assert!(sources.admit(ip("::1"), now).is_ok());
}

#[test]
fn every_prefix_length_is_understood() {
    let address = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    for prefix in 0..=u8::MAX {
        let expected = match u32::from(prefix).min(128) {
            0 => 0,
            bits => u128::MAX << (128 - bits),
        };
        let masked = IpAddr::V6(Ipv6Addr::from_bits(expected));
        assert_eq!(Key::new(address, prefix), Key::new(masked, 128), "/{prefix}");
    }
}

#[test]
fn settings_change_while_sessions_live() {
    let (sources, now) = sources(Some(3), None);
    let mut held: Vec<_> = (0..3).map(|_| sources.admit(ip("10.0.0.1"), now).unwrap()).collect();
    sources.set(&settings(Some(1), Some(1)), now);
    held.truncate(1);
    assert_eq!(sources.admit(ip("10.0.0.1"), now).unwrap_err(), Refused::Connections);
    held.clear();
    assert!(sources.admit(ip("10.0.0.1"), now).is_ok());
    assert_eq!(
        sources.admit(ip("10.0.0.1"), now).unwrap_err(),
        Refused::Rate(Duration::from_secs(1))
    );
    sources.set(&settings(None, None), now);
    assert!((0..100).all(|_| sources.admit(ip("10.0.0.1"), now).is_ok()));
}

/// A session of a narrower or wider prefix is taken off where it was counted.
#[test]
fn another_prefix_leaves_no_count_behind() {
    let (sources, now) = sources(Some(1), None);
    let held = sources.admit(ip("2001:db8::1"), now).unwrap();
    sources.set(&PerSource { ipv6_prefix: 128, ..settings(Some(1), None) }, now);
    let other = sources.admit(ip("2001:db8::1"), now).unwrap();
    drop((held, other));
    assert_eq!(sources.count_sources(), 0);
}

#[test]
fn refilled_sources_make_room_before_memory_grows() {
    let (sources, epoch) = sources(None, Some(1));
    for number in 0..1_000_000 {
        // 1,000 new sources in each second, and each is full again after one second.
        let now = epoch + Duration::from_millis(u64::from(number));
        drop(sources.admit(numbered(number), now).unwrap());
    }
    assert!(sources.count_sources() <= 10_000, "{}", sources.count_sources());
}

#[test]
fn memory_is_bounded_when_nothing_refills() {
    let (sources, now) = sources(None, Some(1));
    let held = sources.admit(ip("192.0.2.1"), now).unwrap();
    for number in 0..1_200_000 {
        drop(sources.admit(numbered(number), now).unwrap());
    }
    assert!(sources.count_sources() <= SOURCES_MAX);
    assert!(sources.count_sources() > SOURCES_MAX / 2, "it did grow");
    let again = sources.admit(ip("192.0.2.1"), now).unwrap_err();
    assert!(matches!(again, Refused::Rate(_)), "a source with a session was forgotten");
    drop(held);
}

#[test]
fn a_faster_rate_does_not_inherit_a_slow_ones_debt() {
    let hourly = Rate { count: 1, per: Duration::from_secs(3600) };
    let (sources, now) = sources(None, None);
    sources.set(&PerSource { rate: Some(hourly), ..settings(None, None) }, now);
    assert!(sources.admit(ip("10.0.0.1"), now).is_ok());
    sources.set(&settings(None, Some(1_000)), now);
    assert_eq!(
        sources.admit(ip("10.0.0.1"), now).unwrap_err(),
        Refused::Rate(Duration::from_millis(1))
    );
}

fn admit(shard: &mut Shard, number: usize, terms: &Terms) -> Admission {
    shard.admit(Key::new(numbered(u32::try_from(number).unwrap()), 64), terms)
}

/// A shard of full size with a session for each of its sources.
fn full_shard() -> (Shard, Terms) {
    let rate = Rate { count: 2, per: Duration::from_secs(1) };
    let terms = Terms { max: 5, pace: Pace::new(Some(rate)), now: 0 };
    let mut shard = Shard::with_capacity(SHARD_MAX);
    for number in 0..SHARD_MAX {
        assert!(matches!(admit(&mut shard, number, &terms), Admission::Counted));
    }
    (shard, terms)
}

#[test]
fn a_shard_full_of_sessions_refuses_new_sources_only() {
    let (mut shard, terms) = full_shard();
    let new = admit(&mut shard, SHARD_MAX, &terms);
    assert!(matches!(new, Admission::Refused(Refused::Full)));
    assert!(matches!(admit(&mut shard, 7, &terms), Admission::Counted));
}

#[test]
fn the_only_idle_source_makes_room_wherever_it_is() {
    for idle in [0, 127, 128, 9_000, SHARD_MAX - 1] {
        let (mut shard, terms) = full_shard();
        let key = |number: usize| Key::new(numbered(u32::try_from(number).unwrap()), 64);
        shard.release(key(idle), true);
        assert!(matches!(admit(&mut shard, SHARD_MAX, &terms), Admission::Counted));
        assert_eq!(shard.len(), SHARD_MAX);
        // The others are still counted: all can be released, and none is left.
        (0..=SHARD_MAX).filter(|&number| number != idle).for_each(|n| shard.release(key(n), false));
        assert_eq!(shard.len(), 0);
    }
}

#[test]
fn of_the_idle_the_one_that_refills_soonest_makes_room() {
    let (mut shard, terms) = full_shard();
    let key = |number: usize| Key::new(numbered(u32::try_from(number).unwrap()), 64);
    // Of these three, 20 has taken one token, the others two.
    admit(&mut shard, 10, &terms);
    admit(&mut shard, 30, &terms);
    for idle in [10, 10, 20, 30, 30] {
        shard.release(key(idle), true);
    }
    assert!(matches!(admit(&mut shard, SHARD_MAX, &terms), Admission::Counted));
    let refused = |number| matches!(admit(&mut shard, number, &terms), Admission::Refused(_));
    assert!([10, 30].into_iter().all(refused), "their buckets are remembered to be empty");
}

#[test]
fn a_shard_grows_by_exchange_and_keeps_all() {
    let (mut shard, terms) = (Shard::with_capacity(4), full_shard().1);
    for number in 0..4 {
        admit(&mut shard, number, &terms);
    }
    assert!(matches!(admit(&mut shard, 4, &terms), Admission::NeedsRoom(8)));
    let mut room = Shard::with_capacity(8);
    shard.grow_into(&mut room);
    assert_eq!((shard.len(), room.len()), (4, 0));
    assert!(matches!(admit(&mut shard, 4, &terms), Admission::Counted));
    shard.grow_into(&mut Shard::with_capacity(8));
    assert_eq!(shard.len(), 5, "a second exchange for the same need changes nothing");
}

#[test]
fn racing_threads_get_exactly_the_maximum_and_the_rate() {
    const THREADS: u32 = 6;
    let (sources, now) = sources(Some(7), Some(5_000));
    let peak: [AtomicU32; 3] = Default::default();
    let admitted: [AtomicU32; 3] = Default::default();
    let inside: [AtomicU32; 3] = Default::default();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..20_000_usize {
                    let which = round % 3;
                    let source = numbered(u32::try_from(which).unwrap());
                    let mut permits = Vec::new();
                    for _ in 0..3 {
                        let Ok(permit) = sources.admit(source, now) else { continue };
                        admitted[which].fetch_add(1, Relaxed);
                        peak[which].fetch_max(inside[which].fetch_add(1, Relaxed) + 1, Relaxed);
                        permits.push(permit);
                    }
                    thread::yield_now();
                    for permit in permits {
                        inside[which].fetch_sub(1, Relaxed);
                        drop(permit);
                    }
                }
            });
        }
    });
    for which in 0..3 {
        assert!(peak[which].load(Relaxed) <= 7);
        assert_eq!(admitted[which].load(Relaxed), 5_000, "the whole burst and no more");
    }
}
