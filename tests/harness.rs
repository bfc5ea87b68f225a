//! The harness itself: the bad line delays as it says, the log is read, a backend counts.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{
    Backend, Counting, Line, Netns, Pattern, Peer, RIGHT, SOON, SessionLine, eventually,
    root_or_left_out,
};

#[test]
fn a_round_trip_takes_the_time_that_was_asked_for() {
    if root_or_left_out() {
        return;
    }
    let (left, right) = (Netns::new(), Netns::new());
    let _line = Line::round_trip(Duration::from_millis(20)).join(&left, &right);
    let backend =
        right.enter(|| Backend::at(SocketAddr::new(RIGHT.into(), 0), |peer| peer.expect_eof()));
    let began = Instant::now();
    let _client = left.enter(|| Peer::connect(backend.address()));
    let time = began.elapsed();
    assert!(time > Duration::from_millis(20) && time < Duration::from_millis(500), "{time:?}");
}

#[test]
fn bytes_come_whole_through_loss_repeats_and_disorder() {
    if root_or_left_out() {
        return;
    }
    let pattern = Pattern::new(4);
    let (left, right) = (Netns::new(), Netns::new());
    let bad = Line {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(2),
        lost: 10,
        repeated: 10,
        early: 20,
        seed: 1,
        ..Line::default()
    };
    let line = bad.join(&left, &right);
    let backend = right.enter(|| {
        Backend::at(SocketAddr::new(RIGHT.into(), 0), move |peer| {
            peer.send_pattern(pattern, 1_500_000);
        })
    });
    let mut client = left.enter(|| Peer::connect(backend.address()));
    client.expect_pattern(pattern, 1_500_000, support::End::Eof);
    let (carried, lost) = line.counts();
    assert!(carried > 1000 && lost > 0, "{carried} carried, {lost} lost");
}

#[test]
fn a_session_line_is_read_flat_or_nested() {
    let fields = r#""listener":"web","client":"127.0.0.1:5","attempts":1,"bytes_up":3,"bytes_down":4,"spliced":0,"reason":"finished/relay""#;
    let flat = SessionLine::read(&format!("{{{fields}}}")).unwrap();
    let nested = SessionLine::read(&format!(r#"{{"level":"DEBUG","fields":{{{fields}}}}}"#));
    assert_eq!((flat.bytes_up, flat.reason.as_str()), (3, "finished/relay"));
    assert_eq!(Some(flat), nested);
    assert_eq!(SessionLine::read("listening"), None);
}

#[test]
fn a_counting_backend_counts_what_is_open() {
    let counting = Counting::start();
    let mut clients: Vec<Peer> = (0..10).map(|_| Peer::connect(counting.address())).collect();
    clients.iter_mut().for_each(|client| client.expect(b"!"));
    clients.truncate(4);
    eventually(SOON, || counting.live() == 4);
    Peer::connect(counting.address()).expect(b"!");
    assert_eq!((counting.peak(), counting.accepted()), (10, 11));
}
