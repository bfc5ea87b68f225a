//! Bounds in time: whoever takes more is cut, at the bound and by a reset; others notice nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::{Backend, End, Forebay, Pattern, Peer, SOON, Start, deaf_address, eventually, pause};

/// Bounds of these tests; a busy machine may add to them, never take away.
const BOUND: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(500);

fn with(backend: &Backend, pool: &str) -> Forebay {
    Start::new(Forebay::simple(&[backend.address()], pool)).sessions().start()
}

/// A backend that plays `script` and then tells whether its connection was reset.
fn telling(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> (Backend, Receiver<bool>) {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        script(peer);
        let _ = tells.send(peer.is_reset(SOON));
    });
    (backend, told)
}

/// Plays until that ends at the bound, at most so often: others may have the machine meanwhile.
const TRIES: usize = 3;

/// Panics unless what is played, which tells how long it took, ends at the bound.
#[track_caller]
fn expect_bound(play: impl Fn() -> Duration) {
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let time = play();
        assert!(time > BOUND.mul_f64(0.95), "{time:?}");
        if time < BOUND + SLACK {
            return;
        }
        times.push(time);
    }
    panic!("{times:?}");
}

#[track_caller]
fn expect_reason(forebay: &Forebay, reason: &str) {
    assert_eq!(forebay.only_session().reason, reason);
}

#[test]
fn an_idle_session_is_reset_on_both_sides() {
    expect_bound(|| {
        let (backend, told) = telling(|peer| {
            peer.expect(b"hello");
            peer.send(b"hello");
        });
        let forebay = with(&backend, "timeout = { idle = \"1s\" }");
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"hello");
        client.expect(b"hello");
        let began = Instant::now();
        client.expect_reset();
        let time = began.elapsed();
        assert!(told.recv_timeout(SOON).unwrap(), "the upstream was not reset");
        expect_reason(&forebay, "idle_timeout/relay");
        time
    });
}

#[test]
fn a_session_that_moves_bytes_in_one_direction_is_not_idle() {
    let backend = Backend::scripted(|peer| while peer.read_some(16).is_ok() {});
    let forebay = with(&backend, "timeout = { idle = \"1s\" }");
    let mut client = Peer::connect(forebay.address("web"));
    for _ in 0..12 {
        client.send(b".");
        pause(BOUND / 5);
    }
    assert_eq!((backend.live(), forebay.sessions().len()), (1, 0));
}

#[test]
fn a_half_closed_session_that_stands_still_is_reset_on_both_sides() {
    expect_bound(|| {
        let (backend, told) = telling(|peer| peer.expect_then_eof(b"hello"));
        let forebay = with(&backend, "timeout = { half_closed = \"1s\" }");
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"hello");
        client.finish();
        let began = Instant::now();
        client.expect_reset();
        let time = began.elapsed();
        assert!(told.recv_timeout(SOON).unwrap(), "the upstream was not reset");
        expect_reason(&forebay, "half_closed_timeout/relay");
        time
    });
}

#[test]
fn a_session_lives_no_longer_than_its_lifetime_even_if_it_moves_bytes_and_is_reset_on_both_sides() {
    expect_bound(|| {
        let (tells, told) = channel();
        let backend = Backend::scripted(move |peer| {
            let end = loop {
                match peer.read_some(16) {
                    Ok(bytes) => drop(peer.send_pattern(Pattern::new(0), bytes.len() as u64)),
                    Err(end) => break end,
                }
            };
            let _ = tells.send(end);
        });
        let pool = "timeout = { lifetime = \"1s\", lifetime_jitter = \"0%\" }";
        let forebay = with(&backend, pool);
        let began = Instant::now();
        let mut client = Peer::connect(forebay.address("web"));
        let byte = Pattern::new(0).piece(0, 1);
        let end = loop {
            if let Err(end) = client.ask(byte) {
                break end;
            }
            // Nothing is on the way at the end, whose own reset would be taken for one of ours.
            pause(BOUND / 20);
        };
        let time = began.elapsed();
        assert_eq!((end, told.recv_timeout(SOON).unwrap()), (Some(End::Reset), End::Reset));
        expect_reason(&forebay, "lifetime/relay");
        time
    });
}

#[test]
fn one_attempt_takes_no_longer_than_the_connect_timeout() {
    expect_bound(|| {
        let (deaf, _held) = deaf_address();
        let config = Forebay::simple(&[deaf], "connect = { timeout = \"1s\", attempts = 1 }");
        let forebay = Start::new(config).sessions().start();
        let began = Instant::now();
        Peer::connect(forebay.address("web")).expect_reset();
        let time = began.elapsed();
        expect_reason(&forebay, "connect_timeout/connect");
        time
    });
}

#[test]
fn all_attempts_together_take_no_longer_than_the_connect_deadline() {
    expect_bound(|| {
        let deaf = [deaf_address(), deaf_address(), deaf_address(), deaf_address()];
        // The third attempt is cut short, and there is no fourth.
        let connect = "connect = { timeout = \"400ms\", attempts = 4, deadline = \"1s\" }";
        let config = Forebay::simple(&deaf.each_ref().map(|(address, _)| *address), connect);
        let forebay = Start::new(config).sessions().start();
        let began = Instant::now();
        Peer::connect(forebay.address("web")).expect_reset();
        let time = began.elapsed();
        let session = forebay.only_session();
        assert_eq!(session.reason, "connect_timeout/connect");
        assert!(session.attempts <= 3, "{session:?}");
        time
    });
}

#[test]
fn a_deaf_backend_costs_its_timeout_and_the_next_one_serves() {
    expect_bound(|| {
        let (deaf, _held) = deaf_address();
        let backend = Backend::naming("second");
        let pool = "balance = \"first\"\nconnect = { timeout = \"1s\", attempts = 2 }";
        let forebay = Forebay::start(&Forebay::simple(&[deaf, backend.address()], pool));
        let began = Instant::now();
        assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "second");
        began.elapsed()
    });
}

#[test]
fn clients_that_do_nothing_cost_others_nothing() {
    let backend = Backend::echo();
    let forebay = with(&backend, "timeout = { idle = \"2s\" }");
    let address = forebay.address("web");
    let idle: Vec<Peer> = (0..300).map(|_| Peer::connect(address)).collect();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(Peer::connect(address).ask(b"hello"), Ok(()));
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[50] < Duration::from_millis(50), "{:?}", times[50]);
    for mut client in idle {
        client.expect_reset();
    }
    eventually(SOON, || backend.live() == 0);
}
