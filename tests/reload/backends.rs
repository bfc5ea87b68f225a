//! Backends and pools that come, go and change.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::support::{Backend, Forebay, Peer, SOON, Start, deaf_address, eventually};
use super::{quiet, say, served_by, simple, visit};

#[test]
fn new_sessions_go_to_the_new_backend_and_old_ones_live_on() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut client, name) = visit(&forebay);
    assert_eq!(name, "a");
    let status = forebay.reload(&simple(&[&b], "", "")).expect_applied();
    assert_eq!(status.generation(), 2);
    assert_eq!(served_by(&forebay), "b");
    say(&mut client);
    let (gone, come) = (a.address(), b.address());
    forebay.expect_said(&format!("backend {gone} removed, 1 session drains"));
    forebay.expect_said(&format!("backend {come} added"));
}

#[test]
fn sessions_of_a_removed_backend_are_reset_when_its_drain_is_over() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let on_remove = "on_remove = { drain = { timeout = \"700ms\" } }";
    let forebay = Forebay::start(&simple(&[&a], "", on_remove));
    let (mut client, _) = visit(&forebay);
    let began = Instant::now();
    forebay.reload(&simple(&[&b], "", on_remove)).expect_applied();
    say(&mut client);
    client.expect_reset();
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    eventually(SOON, || a.live() == 0);
}

#[test]
fn sessions_of_a_removed_backend_are_reset_at_once_if_the_pool_says_so() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut client, _) = visit(&forebay);
    forebay.reload(&simple(&[&b], "", "on_remove = \"close\"")).expect_applied();
    client.expect_reset();
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn sessions_that_may_stay_stay_whatever_is_said_later() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::naming);
    let forebay = Forebay::start(&simple(&[&a], "", "on_remove = \"keep\""));
    let (mut client, _) = visit(&forebay);
    let status = forebay.reload(&simple(&[&b], "", "on_remove = \"keep\"")).expect_applied();
    assert!(status.changes().iter().any(|it| it.contains("1 session stays")), "{status:?}");
    forebay.reload(&simple(&[&b], "", "on_remove = \"close\"")).expect_applied();
    // One that is reset at once is gone by the time at which the next one is.
    let (mut other, _) = visit(&forebay);
    forebay.reload(&simple(&[&c], "", "on_remove = \"close\"")).expect_applied();
    other.expect_reset();
    say(&mut client);
}

#[test]
fn who_is_connecting_is_not_sent_to_a_backend_that_is_removed_meanwhile() {
    let (deaf, _held) = deaf_address();
    let (b, c) = (Backend::naming("b"), Backend::naming("c"));
    let pool = |second: &Backend| {
        quiet(&format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
             [pool.app]\nbalance = \"first\"\non_remove = \"close\"\n\
             connect = {{ timeout = \"2s\" }}\nbackends = [\"{deaf}\", \"{}\"]\n",
            second.address()
        ))
    };
    let forebay = Start::new(pool(&b)).sessions().start();
    let mut client = Peer::connect(forebay.address("web"));
    // The limit of the process counts it as soon as it is accepted, and so does the deaf backend.
    eventually(SOON, || forebay.sockets() > 0 && is_connecting_to(&forebay, deaf));
    forebay.reload(&pool(&c)).expect_applied();
    assert_eq!(client.line().as_deref(), Some("c"));
    assert_eq!(b.accepted(), 0);
    say(&mut client);
}

/// True exactly when a connect to `address` is under way on this machine (proc_net_tcp(5)).
fn is_connecting_to(forebay: &Forebay, address: SocketAddr) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", forebay.id())).unwrap();
    let to = format!(":{:04X} 02 ", address.port());
    table.lines().any(|line| line.contains(&to))
}

#[test]
fn guards_and_fallbacks_change() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let file = |guards: &str, backends: &str| {
        quiet(&format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n{guards}\n\
             [pool.app]\nfallback = \"other\"\nbackends = [{backends}]\n\
             [pool.other]\nbackends = [\"{}\"]\n",
            b.address()
        ))
    };
    let one = format!("\"{}\"", a.address());
    let forebay = Forebay::start(&file("", &one));
    assert_eq!(served_by(&forebay), "a");
    let route = "guards = [{ source_route = { networks = [\"127.0.0.0/8\"], pool = \"other\" } }]";
    forebay.reload(&file(route, &one)).expect_applied();
    assert_eq!(served_by(&forebay), "b");
    forebay.reload(&file("", &one)).expect_applied();
    assert_eq!(served_by(&forebay), "a");
    let drained = format!("{{ address = {one}, state = \"drain\" }}");
    forebay.reload(&file("", &drained)).expect_applied();
    assert_eq!(served_by(&forebay), "b");
    let lost = route.replace("other", "nowhere");
    forebay.reload(&file(&lost, &one)).expect_refused("nowhere");
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn a_removed_pool_drains_by_its_own_word() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let before = simple(&[&a], "", "on_remove = \"close\"");
    let forebay = Forebay::start(&before);
    let (mut client, _) = visit(&forebay);
    let after =
        before.replace("app", "other").replace(&a.address().to_string(), &b.address().to_string());
    forebay.reload(&after).expect_applied();
    client.expect_reset();
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn a_backend_that_comes_back_is_the_same_and_does_not_drain_any_more() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let pool = |backend: &Backend| {
        simple(&[backend], "", "on_remove = { drain = { timeout = \"800ms\" } }")
            .replace("backends = [", "backends = [{ max_connections = 1, address = ")
            .replace("\"]\n", "\" }]\n")
    };
    let forebay = Forebay::start(&pool(&a));
    let (mut client, _) = visit(&forebay);
    let removed = Instant::now();
    forebay.reload(&pool(&b)).expect_applied();
    forebay.reload(&pool(&a)).expect_applied();
    // Its only permit is still held by the session of before.
    Peer::expect_rejection(forebay.address("web"));
    eventually(SOON, || removed.elapsed() > Duration::from_millis(1200));
    say(&mut client);
}

#[test]
fn states_weights_and_policies_change() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let pool = |policy: &str, one: &str, two: &str| {
        quiet(&format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
             [pool.app]\nbalance = \"{policy}\"\nbackends = [{{ address = \"{}\", {one} }}, \
             {{ address = \"{}\", {two} }}]\n",
            a.address(),
            b.address()
        ))
    };
    let forebay = Forebay::start(&pool("first", "weight = 1", "weight = 1"));
    assert_eq!(served_by(&forebay), "a");
    forebay.reload(&pool("first", "state = \"drain\"", "weight = 1")).expect_applied();
    assert_eq!(served_by(&forebay), "b");
    forebay.reload(&pool("first", "weight = 1", "weight = 1")).expect_applied();
    assert_eq!(served_by(&forebay), "a");
    forebay.reload(&pool("first", "weight = 0", "weight = 1")).expect_applied();
    assert_eq!(served_by(&forebay), "b");
    forebay.reload(&pool("round_robin", "weight = 3", "weight = 1")).expect_applied();
    let names: Vec<String> = (0..8).map(|_| served_by(&forebay)).collect();
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 6, "{names:?}");
}
