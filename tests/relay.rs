//! What each side sees when the other half-closes, closes or resets: the oracle cases that tell proxies apart.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::{
    Backend, End, Forebay, Pattern, Peer, RESET_BOUND, SOON, Start, comes_true, deaf_address,
    eventually, pause, refusing_address,
};

/// Both states of a relay half, and the choice between them.
const SPLICE: [&str; 3] = ["never", "always", "auto"];

/// Plays `client` against `backend` through the binary, in each state.
fn through(backend: &Backend, client: impl Fn(Peer)) {
    for splice in SPLICE {
        let forebay = before(backend, splice);
        client(Peer::connect(forebay.address("web")));
    }
}

fn before(backend: &Backend, splice: &str) -> Forebay {
    let config = Forebay::simple(&[backend.address()], "");
    Start::new(config).splice(splice).start()
}

/// A backend that tells what it has read and how that ended.
fn telling(
    script: impl Fn(&mut Peer) + Send + Sync + 'static,
) -> (Backend, Receiver<(usize, End)>) {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        script(peer);
        let (bytes, end) = peer.read_all();
        let _ = tells.send((bytes.len(), end));
    });
    (backend, told)
}

#[test]
fn half_close_keeps_other_direction_open() {
    let backend = Backend::scripted(|peer| {
        peer.expect_then_eof(b"ask");
        peer.send(b"answer");
    });
    through(&backend, |mut client| {
        client.send(b"ask");
        client.finish();
        client.expect_then_eof(b"answer");
    });
}

#[test]
fn upstream_half_close_keeps_the_client_direction_open() {
    let (backend, told) = telling(|peer| {
        peer.send(b"all");
        peer.finish();
    });
    through(&backend, |mut client| {
        client.expect_then_eof(b"all");
        client.send(b"and more");
        client.finish();
        assert_eq!(told.recv_timeout(SOON).unwrap(), (8, End::Eof));
    });
}

#[test]
fn upstream_reset_while_idle_is_a_reset_for_the_client() {
    let backend = Backend::scripted(|peer| {
        peer.expect(b"hello");
        peer.send(b"hello");
        peer.expect(b"now");
        peer.reset_when_closed();
    });
    through(&backend, |mut client| {
        client.send(b"hello");
        client.expect(b"hello");
        client.send(b"now");
        client.expect_reset();
    });
}

#[test]
fn client_reset_while_idle_is_a_reset_for_the_upstream() {
    let (backend, told) = telling(|peer| peer.send(b"hello"));
    through(&backend, |mut client| {
        client.expect(b"hello");
        client.reset();
        assert_eq!(told.recv_timeout(SOON).unwrap(), (0, End::Reset));
    });
}

#[test]
fn a_slow_client_gets_all_before_the_fin() {
    let pattern = Pattern::new(5);
    let backend = Backend::scripted(move |peer| {
        peer.send_pattern(pattern, 1_000_000);
    });
    through(&backend, |mut client| {
        let mut got = 0;
        while got < 200_000 {
            let bytes = client.read_some(4096).unwrap();
            assert_eq!(pattern.first_difference(got, &bytes), None);
            got += bytes.len() as u64;
            pause(Duration::from_millis(1));
        }
        let (rest, end) = client.read_all();
        assert_eq!(pattern.first_difference(got, &rest), None);
        assert_eq!((got + rest.len() as u64, end), (1_000_000, End::Eof));
    });
}

#[test]
fn what_came_before_a_reset_is_delivered_and_then_the_reset() {
    let pattern = Pattern::new(6);
    let backend = Backend::scripted(move |peer| {
        peer.send_pattern(pattern, 100_000);
        peer.expect_acknowledged();
        peer.reset_when_closed();
    });
    through(&backend, |mut client| client.expect_pattern(pattern, 100_000, End::Reset));
}

#[test]
fn what_a_client_sent_before_its_reset_is_delivered_and_then_the_reset() {
    let (backend, told) = telling(|peer| peer.send(b"hello"));
    through(&backend, |mut client| {
        client.expect(b"hello");
        assert_eq!(client.send_pattern(Pattern::new(6), 100_000), 100_000);
        client.expect_acknowledged();
        client.reset();
        assert_eq!(told.recv_timeout(SOON).unwrap(), (100_000, End::Reset));
    });
}

#[test]
fn a_server_may_speak_first() {
    let backend = Backend::naming("banner");
    through(&backend, |mut client| assert_eq!(client.line().unwrap(), "banner"));
}

#[test]
fn data_and_fin_before_the_upstream_is_up_are_kept() {
    let backend = Backend::scripted(|peer| {
        peer.expect_then_eof(b"early");
        peer.send(b"reply");
    });
    for splice in SPLICE {
        let forebay = before(&backend, splice);
        forebay.freeze();
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"early");
        client.finish();
        forebay.wake();
        client.expect_then_eof(b"reply");
    }
}

#[test]
fn a_client_that_connects_and_leaves_leaves_nothing_behind() {
    let backend = Backend::echo();
    let forebay = before(&backend, "auto");
    let sockets = forebay.sockets();
    for _ in 0..50 {
        drop(Peer::connect(forebay.address("web")));
        Peer::connect(forebay.address("web")).reset();
    }
    eventually(SOON, || forebay.sockets() == sockets && backend.live() == 0);
}

#[test]
fn client_reset_cuts_a_blasting_upstream_at_once() {
    let backend = Backend::blasting();
    for splice in SPLICE {
        let forebay = before(&backend, splice);
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let mut client = Peer::connect(forebay.address("web"));
                client.read_some(64 * 1024).unwrap();
                time_until(|| client.reset(), || backend.live() == 0)
            })
            .collect();
        expect_median(&mut times, RESET_BOUND);
    }
}

#[test]
fn client_reset_while_it_does_not_read_cuts_a_blasting_upstream_at_once() {
    let backend = Backend::blasting();
    for splice in SPLICE {
        let forebay = before(&backend, splice);
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let client = Peer::connect_small(forebay.address("web"), 16 * 1024);
                let mut last = 0;
                // Everything on the way is full once the proxy's own memory stands still.
                eventually(SOON, || {
                    pause(Duration::from_millis(30));
                    let unread = support::unread(client.stream());
                    std::mem::replace(&mut last, unread) == unread && unread > 0
                });
                time_until(|| client.reset(), || backend.live() == 0)
            })
            .collect();
        expect_median(&mut times, RESET_BOUND);
    }
}

#[test]
fn no_upstream_socket_outlives_a_client_that_leaves_while_connecting() {
    let (deaf, _held) = deaf_address();
    // No attempt ends by itself while the test waits for something.
    let pool = "connect = { timeout = \"60s\" }";
    let forebay = Forebay::start(&Forebay::simple(&[deaf], pool));
    let sockets = forebay.sockets();
    // So many, since a busy machine delays some by more than the bound.
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let client = Peer::connect(forebay.address("web"));
            eventually(SOON, || forebay.sockets() == sockets + 2);
            time_until(|| client.reset(), || forebay.sockets() == sockets)
        })
        .collect();
    expect_median(&mut times, Duration::from_millis(100));
}

#[test]
fn a_refused_connect_moves_to_the_next_backend_at_once() {
    let (refusing, _held) = refusing_address();
    let backend = Backend::naming("second");
    let forebay = Forebay::before(&[refusing, backend.address()]);
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "second");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn a_client_of_refusing_backends_is_reset_at_once() {
    let (first, _first) = refusing_address();
    let (second, _second) = refusing_address();
    let forebay = Start::new(Forebay::simple(&[first, second], "")).sessions().start();
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let began = Instant::now();
            Peer::expect_rejection(forebay.address("web"));
            began.elapsed()
        })
        .collect();
    expect_median(&mut times, Duration::from_millis(50));
    eventually(SOON, || forebay.sessions().len() == times.len());
    for session in forebay.sessions() {
        assert_eq!((&*session.reason, session.attempts), ("connect_failed/connect", 2));
    }
}

#[test]
fn an_upstream_that_resets_before_any_byte_counts_as_a_failed_connect() {
    let (resetting, backend) = (Backend::resetting(), Backend::naming("second"));
    let forebay = Forebay::before(&[resetting.address(), backend.address()]);
    for _ in 0..20 {
        assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "second");
    }
}

#[test]
fn a_socket_that_is_connected_again_knows_nothing_of_the_connection_before() {
    let backend = Backend::scripted(|peer| {
        let asked = peer.line().unwrap();
        peer.send(format!("{asked} was asked\n").as_bytes());
        match &*asked {
            "reset" => peer.reset_when_closed(),
            _ => peer.expect_eof(),
        }
    });
    for client_first in [false, true] {
        let simple = Forebay::simple(&[backend.address()], "");
        let first = format!("[listener.web]\nclient_first = {client_first}\n");
        let config = simple.replace("[listener.web]\n", &first);
        let forebay = Start::new(format!("[runtime]\nworkers = 1\n{config}")).start();
        let before = forebay.sockets();
        let ask = |line: &str| {
            let mut client = Peer::connect(forebay.address("web"));
            client.send(format!("{line}\n").as_bytes());
            client.expect(format!("{line} was asked\n").as_bytes());
            client
        };
        for round in 0..20 {
            let clean = ask(&format!("number {round}"));
            clean.finish();
            let mut clean = clean;
            clean.expect_eof();
            ask("reset").expect_reset();
        }
        // What nobody needs any more is not kept for long.
        assert!(comes_true(SOON, || forebay.sockets() == before), "{before} before");
    }
}

#[test]
fn a_socket_that_is_connected_again_may_be_refused() {
    let backend = Backend::echo();
    let config = Forebay::simple(&[backend.address()], "");
    let forebay = Start::new(format!("[runtime]\nworkers = 1\n{config}")).sessions().start();
    for _ in 0..3 {
        let mut client = Peer::connect(forebay.address("web"));
        client.ask(b"hello").unwrap();
        client.finish();
        client.expect_eof();
    }
    drop(backend);
    Peer::connect(forebay.address("web")).expect_reset();
    eventually(SOON, || forebay.sessions().len() == 4);
    assert!(forebay.said().contains("connection refused"), "{}", forebay.said());
}

#[test]
fn a_client_that_stops_reading_costs_bounded_memory() {
    let backend = Backend::blasting();
    for splice in SPLICE {
        let forebay = before(&backend, splice);
        Peer::connect(forebay.address("web")).read_some(1).unwrap();
        let resident = forebay.resident();
        let clients: Vec<Peer> =
            (0..50).map(|_| Peer::connect_small(forebay.address("web"), 16 * 1024)).collect();
        eventually(SOON, || clients.iter().all(|client| support::unread(client.stream()) > 0));
        pause(Duration::from_millis(300));
        // 64 KiB for each half whose other side refuses bytes, the workers' scratch, and some slack.
        let grown = forebay.resident().saturating_sub(resident);
        assert!(grown < 50 * 128 * 1024 + (6 << 20), "{grown} bytes more, splice {splice}");
    }
}

/// How long after `act` it takes until `done`, at most SOON.
fn time_until(act: impl FnOnce(), done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    act();
    assert!(comes_true(SOON, done), "not within {SOON:?}");
    began.elapsed()
}

/// The worst but one keeps this at least.
const WORST: Duration = Duration::from_secs(1);

/// The middle one must keep the bound, and all but one keep a wide one: a busy machine may delay a single one.
#[track_caller]
fn expect_median(times: &mut [Duration], bound: Duration) {
    times.sort();
    assert!(times[times.len() / 2] <= bound, "{times:?} over {bound:?}");
    assert!(times[times.len() - 2] <= WORST, "{times:?} over {WORST:?}");
}
