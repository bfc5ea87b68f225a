//! A listener is removed while clients wait in its queue and more are on their way.

use std::time::{Duration, Instant};

use super::quiet;
use super::support::{
    Arrivals, Backend, Fates, Line, Netns, RIGHT, SOON, Start, WITHOUT_RIGHTS, root_or_left_out,
};

/// For so long the handshakes of an address that was removed are completed.
const HANDSHAKES: Duration = Duration::from_millis(900);

/// A SYN that comes while the address is away is dropped, and the client's kernel sends it again after
/// one second, when the address is back: to the client it is a slow connect and no failed one. A third
/// SYN would be sent after three.
const SENT_AGAIN_ONCE: Duration = Duration::from_millis(2900);

/// Clients that are connected before the reload, beside those in the queue.
const BEFORE: usize = 300;

#[test]
fn whoever_got_through_to_a_removed_listener_is_served_by_1_worker() {
    expect_nobody_lost(1, false, &[]);
}

#[test]
fn whoever_got_through_to_a_removed_listener_is_served_by_4_workers() {
    expect_nobody_lost(4, false, &[]);
}

#[test]
fn a_listener_that_comes_back_within_900_ms_was_never_away() {
    expect_nobody_lost(2, true, &[]);
}

#[test]
fn without_rights_it_is_the_same() {
    expect_nobody_lost(2, false, &WITHOUT_RIGHTS);
    expect_nobody_lost(2, true, &WITHOUT_RIGHTS);
}

#[allow(clippy::print_stdout, reason = "what was measured is for whoever reads the run")]
fn expect_nobody_lost(workers: usize, comes_back: bool, rights: &[&str]) {
    if root_or_left_out() {
        return;
    }
    if !comes_back {
        let (fates, _) = play(workers, false, rights);
        return assert!(fates.not_connected() > 0, "it never went away: {fates:?}");
    }
    // A machine that is busy with other work may take longer for two reloads, which proves nothing.
    let in_time = (0..10).map(|_| play(workers, true, rights)).find(|(_, away)| *away < HANDSHAKES);
    let (fates, away) = in_time.expect("two reloads within 900 ms");
    assert_eq!(fates.not_connected(), 0, "{fates:?}");
    let longest = fates.longest_connect();
    assert!(longest < SENT_AGAIN_ONCE, "{longest:?}");
    println!("away for {away:?}, the longest connect took {longest:?}");
}

/// What became of everybody, of whom none was lost; and for how long the address was away at the most.
fn play(workers: usize, comes_back: bool, rights: &[&str]) -> (Fates, Duration) {
    let (left, right) = (Netns::new(), Netns::new());
    let _line = Line::round_trip(Duration::from_millis(20)).join(&left, &right);
    let backend = right.enter(Backend::echo);
    let with = |listeners: &str| {
        quiet(&format!(
            "[runtime]\nworkers = {workers}\n\
             [listener.stays]\naddress = \"{RIGHT}:20001\"\npool = \"app\"\n{listeners}\n\
             [pool.app]\nbackends = [\"{}\"]\n",
            backend.address()
        ))
    };
    let web = format!("[listener.web]\naddress = \"{RIGHT}:20000\"\npool = \"app\"");
    let forebay = Start::new(with(&web)).under(&[&right.prefix(), rights].concat()).start();
    let address = forebay.address("web");
    let arrivals = Arrivals { before: BEFORE, after: 1700, patience: SOON / 2, late: SOON };
    let mut away = Duration::ZERO;
    let change = || {
        let before = forebay.status();
        let began = Instant::now();
        forebay.save(&with(""));
        forebay.signal(rustix::process::Signal::HUP);
        forebay.wake();
        if comes_back {
            forebay.status_after(&before).expect_applied();
            forebay.reload(&with(&web)).expect_applied();
            away = began.elapsed();
        }
    };
    let fates = left.enter(|| arrivals.play(address, || forebay.freeze(), change));
    assert_eq!(fates.lost(), 0, "{fates:?}");
    assert!(fates.served() >= Fates::QUEUED + BEFORE, "{fates:?}");
    (fates, away)
}
