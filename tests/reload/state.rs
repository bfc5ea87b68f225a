//! What a reload does not start anew: counters, limits, rates, and whose turn it is.

use std::time::Duration;

use super::support::{Backend, Forebay, Peer, eventually};
use super::{served_by, simple, visit};

/// A different file each time, by something that touches nobody.
fn changed(number: u32, backends: &[&Backend], listener: &str, pool: &str) -> String {
    let shutdown = format!("[shutdown]\ntimeout = \"{}s\"\n", 30 + number);
    shutdown + &simple(backends, listener, pool)
}

#[test]
fn round_robin_goes_on_where_it_was() {
    let backends: Vec<Backend> = ["a", "b", "c"].map(Backend::naming).into();
    let all: Vec<&Backend> = backends.iter().collect();
    let forebay = Forebay::start(&changed(0, &all, "", ""));
    let first: Vec<String> = (0..3).map(|_| served_by(&forebay)).collect();
    for number in 1..=30 {
        forebay.reload(&changed(number, &all, "", "")).expect_applied();
        let turn = &first[(number as usize - 1) % 3];
        assert_eq!(served_by(&forebay), *turn, "after reload {number}");
    }
}

#[test]
fn limits_and_rates_remember_what_they_counted() {
    let a = Backend::naming("a");
    let listener = "over = \"reject\"\nmax_connections = 3\nrate = \"6/h\"\n\
                    per_source = { rate = \"5/h\" }";
    let forebay = Forebay::start(&changed(0, &[&a], listener, ""));
    let mut held: Vec<Peer> = (0..3).map(|_| visit(&forebay).0).collect();
    for number in 1..=10 {
        forebay.reload(&changed(number, &[&a], listener, "")).expect_applied();
    }
    Peer::expect_rejection(forebay.address("web"));
    // Two more by the rate of the source, and then none, whatever is reloaded.
    for number in 11..=12 {
        held.remove(0).reset();
        eventually(Duration::from_secs(5), || a.live() == 2);
        forebay.reload(&changed(number, &[&a], listener, "")).expect_applied();
        held.push(visit(&forebay).0);
    }
    held.remove(0).reset();
    eventually(Duration::from_secs(5), || a.live() == 2);
    forebay.reload(&changed(13, &[&a], listener, "")).expect_applied();
    Peer::expect_rejection(forebay.address("web"));
}
