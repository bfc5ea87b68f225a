//! Connects that take long or fail: a second one beside, and how many there may be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use support::{
    Backend, Forebay, Peer, SOON, Start, deaf_address, eventually, pause, refusing_address,
};

/// Before these backends, of which the first is asked first.
fn before(backends: &[SocketAddr], connect: &str) -> Forebay {
    let lines = format!("balance = \"first\"\neject = false\nconnect = {connect}");
    Start::new(Forebay::simple(backends, &lines)).sessions().start()
}

#[test]
fn who_does_not_answer_has_another_one_tried_beside() {
    let (deaf, held) = deaf_address();
    let b = Backend::naming("b");
    let forebay = before(&[deaf, b.address()], "{ timeout = \"1m\", hedge = \"50ms\" }");
    let sockets = forebay.sockets();
    let mut clients: Vec<Peer> = (0..8).map(|_| Peer::connect(forebay.address("web"))).collect();
    for client in &mut clients {
        assert_eq!(client.line().as_deref(), Some("b"));
    }
    drop(clients);
    eventually(SOON, || forebay.sessions().len() == 8);
    for session in forebay.sessions() {
        assert_eq!((session.attempts, session.backend), (2, b.address().to_string()));
    }
    eventually(SOON, || forebay.sockets() == sockets);
    drop(held);
}

#[test]
fn who_answers_too_late_is_not_counted_as_failing() {
    let (deaf, held) = deaf_address();
    let b = Backend::naming("b");
    let lines = "balance = \"first\"\neject = { failures = 1, time = \"1h\", max_time = \"1h\" }\n\
                 connect = { timeout = \"1m\", hedge = \"50ms\" }";
    let config = Forebay::simple(&[deaf, b.address()], lines);
    let forebay = Start::new(config).sessions().start();
    for visits in 1..=4 {
        assert_eq!(Peer::connect(forebay.address("web")).line().as_deref(), Some("b"));
        eventually(SOON, || forebay.sessions().len() == visits);
    }
    // It is asked first each time, so nobody has left it out.
    assert!(forebay.sessions().iter().all(|it| it.attempts == 2), "{:?}", forebay.sessions());
    let said = forebay.said();
    assert!(!said.contains("connect failed") && !said.contains("ejected"), "{said}");
    drop(held);
}

#[test]
fn a_backend_that_answers_no_syn_is_left_out_though_each_client_tries_once() {
    let (deaf, held) = deaf_address();
    let b = Backend::naming("b");
    let lines = "balance = \"first\"\neject = { failures = 3, time = \"1m\", max_time = \"1m\" }\n\
                 connect = { timeout = \"50ms\", attempts = 1 }";
    let forebay = Start::new(Forebay::simple(&[deaf, b.address()], lines)).sessions().start();
    for _ in 0..3 {
        Peer::connect(forebay.address("web")).expect_reset();
    }
    forebay.expect_said("backend ejected");
    assert_eq!(Peer::connect(forebay.address("web")).line().as_deref(), Some("b"));
    eventually(SOON, || forebay.sessions().len() == 4);
    let reasons: Vec<String> = forebay.sessions().into_iter().map(|it| it.reason).collect();
    assert_eq!(reasons[..3], ["connect_timeout/connect"; 3]);
    let complaint =
        forebay.said().lines().find(|line| line.contains("no backend took")).map(str::to_owned);
    assert!(complaint.is_some_and(|line| line.contains("timed out")), "{}", forebay.said());
    drop(held);
}

#[test]
fn a_second_may_go_through_a_socket_whose_connection_is_over() {
    let (deaf, held) = deaf_address();
    let echo = Backend::echo();
    let lines = "balance = \"first\"\neject = false\n\
         connect = { timeout = \"1m\", hedge = \"20ms\", retry_budget = \"100%\" }";
    let simple = Forebay::simple(&[deaf, echo.address()], lines);
    let forebay = Start::new(format!("[runtime]\nworkers = 1\n{simple}")).sessions().start();
    let before = forebay.sockets();
    for round in 0..20 {
        let mut client = Peer::connect(forebay.address("web"));
        client.ask(format!("number {round}").as_bytes()).unwrap();
        client.finish();
        client.expect_eof();
    }
    // Each is kept for a second, unless it is used again.
    assert!(forebay.sockets() < before + 10, "{} and {before} before", forebay.sockets());
    eventually(SOON, || forebay.sessions().len() == 20);
    for session in forebay.sessions() {
        assert_eq!((session.attempts, &*session.reason), (2, "finished/relay"), "{session:?}");
    }
    drop(held);
}

#[test]
fn the_first_to_answer_serves_though_the_second_fails() {
    let (deaf, held) = deaf_address();
    let (dead, refusing) = refusing_address();
    let forebay = before(&[deaf, dead], "{ timeout = \"1m\", hedge = \"50ms\" }");
    let mut client = Peer::connect(forebay.address("web"));
    forebay.expect_said("connection refused");
    // Whoever filled its queue is accepted, and the next SYN gets through.
    let listener: TcpListener = held.into_iter().next().unwrap().into();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"late\n");
        }
    });
    assert_eq!(client.line().as_deref(), Some("late"));
    assert_eq!(forebay.said().matches("connect failed").count(), 1);
    drop(refusing);
}

#[test]
fn a_second_that_was_given_up_takes_nobody_over() {
    let (one, _held) = deaf_address();
    let (other, held) = deaf_address();
    let lines = "balance = \"first\"\neject = false\nwhen_down = { hold = \"1m\" }\n\
                 connect = { timeout = \"1m\", deadline = \"1s\", hedge = \"50ms\" }";
    let forebay = Start::new(Forebay::simple(&[one, other], lines)).sessions().start();
    let sockets = forebay.sockets();
    let (began, mut client) = (Instant::now(), Peer::connect(forebay.address("web")));
    eventually(SOON, || forebay.sockets() == sockets + 3);
    // Its SYN is sent again after a second: just when both were given up, and before the client is tried anew.
    let listener: TcpListener = held.into_iter().next().unwrap().into();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"late\n");
                let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
            });
        }
    });
    assert_eq!(client.line().as_deref(), Some("late"));
    // With one and the same to the end.
    while began.elapsed() < Duration::from_millis(2500) {
        client.ask(b"still there?").unwrap();
        pause(Duration::from_millis(10));
    }
    drop(client);
    eventually(SOON, || forebay.sockets() == sockets);
}

#[test]
fn no_second_is_tried_where_there_is_none_or_where_the_first_answers() {
    let (deaf, held) = deaf_address();
    let forebay = before(&[deaf], "{ timeout = \"400ms\", attempts = 1, hedge = \"50ms\" }");
    Peer::expect_rejection(forebay.address("web"));
    let session = forebay.only_session();
    assert_eq!(session.attempts, 1, "{session:?}");
    assert!(session.reason.contains("timeout"), "{session:?}");
    drop((forebay, held));
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = before(&[a.address(), b.address()], "{ hedge = \"1ms\" }");
    for _ in 0..50 {
        let line = Peer::connect(forebay.address("web")).line();
        assert!(line.is_some_and(|it| it == "a" || it == "b"));
    }
    eventually(SOON, || forebay.sessions().len() == 50);
    let odd: Vec<_> = forebay.sessions().into_iter().filter(|it| it.attempts > 2).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn a_client_that_leaves_takes_both_with_it() {
    let (one, held_one) = deaf_address();
    let (two, held_two) = deaf_address();
    let forebay = before(&[one, two], "{ timeout = \"1m\", hedge = \"20ms\" }");
    let sockets = forebay.sockets();
    let clients: Vec<Peer> = (0..10).map(|_| Peer::connect(forebay.address("web"))).collect();
    // A client, and two upstreams that do not answer.
    eventually(SOON, || forebay.sockets() == sockets + 30);
    clients.into_iter().for_each(Peer::reset);
    eventually(SOON, || forebay.sockets() == sockets);
    drop((held_one, held_two));
}

/// Clients of a pool in which one of two backends refuses: attempts beyond the first of each, how many
/// clients were not served, and how long that took.
fn retries(budget: &str, clients: usize) -> (u64, usize, Duration) {
    let (dead, held) = refusing_address();
    let b = Backend::naming("b");
    let lines = format!("eject = false\nconnect = {{ retry_budget = \"{budget}\" }}");
    let forebay = Start::new(Forebay::simple(&[dead, b.address()], &lines)).sessions().start();
    let began = Instant::now();
    let served = (0..clients)
        .filter(|_| {
            Peer::try_connect(forebay.address("web")).ok().and_then(|mut it| it.line()).is_some()
        })
        .count();
    let took = began.elapsed();
    eventually(SOON, || forebay.sessions().len() == clients);
    let more = forebay.sessions().iter().map(|it| it.attempts - 1).sum();
    drop(held);
    (more, clients - served, took)
}

#[test]
fn retries_are_bounded_by_a_share_of_the_clients_own_connects() {
    let (more, failed, _) = retries("100%", 100);
    assert_eq!((failed, more >= 40), (0, true), "{more}");
    let (more, failed, took) = retries("0%", 100);
    let tenths = u64::try_from(took.as_millis() / 100).unwrap();
    // Ten at once, and ten a second.
    let most = 11 + tenths;
    assert!(more >= 10 && more <= most, "{more} of {most}");
    assert!(failed > 0 || took > Duration::from_secs(3), "{failed} failed in {took:?}");
    let (more, _, took) = retries("20%", 100);
    let tenths = u64::try_from(took.as_millis() / 100).unwrap();
    let most = 20 + 11 + tenths;
    assert!(more <= most, "{more} of {most}");
}
