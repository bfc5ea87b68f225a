//! Files that are refused: nothing changes, and why is said.

use std::net::TcpListener;

use rustix::process::Signal;

use super::support::{Backend, Exit, Forebay, Peer, Start};
use super::{listening, served_by, simple};

#[test]
fn a_bad_file_changes_nothing_and_says_where_it_is_bad() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let bad = simple(&[&b], "max_conections = 5", "");
    let status = forebay.reload(&bad).expect_refused("unknown key");
    let problem = &status.problems()[0];
    assert_eq!(problem["line"], 6, "{problem}");
    assert_eq!(problem["column"], 1, "{problem}");
    assert!(problem["file"].as_str().unwrap().ends_with("forebay.toml"), "{problem}");
    assert_eq!(status.generation(), 1);
    assert_eq!(served_by(&forebay), "a");
    forebay.expect_said("forebay.toml:6:1");
    let bad = simple(&[&b], "", "balance = { source_hash = { sead = 1 } }");
    forebay.reload(&bad).expect_refused("sead");
    std::fs::remove_file(forebay.config()).unwrap();
    let before = forebay.status();
    forebay.signal(Signal::HUP);
    forebay.status_after(&before).expect_refused("cannot read");
    assert_eq!(served_by(&forebay), "a");
    let status = forebay.reload(&simple(&[&b], "", "")).expect_applied();
    assert_eq!(status.generation(), 2);
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn a_port_in_use_refuses_the_whole_file() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let descriptors = forebay.descriptors();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = taken.local_addr().unwrap();
    let free = {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let more = |address| format!("address = \"{address}\"\npool = \"app\"\nmax_connections = 1\n");
    let file = format!(
        "{}[listener.one]\n{}[listener.two]\n{}",
        simple(&[&b], "max_connections = 1", "balance = \"first\""),
        more(free),
        more(occupied)
    );
    let status = forebay.reload(&file).expect_refused("address in use by another process");
    assert_eq!(status.generation(), 1);
    assert_eq!(status.address("one"), None);
    assert_eq!(forebay.descriptors(), descriptors, "half of a refused file is open");
    assert!(Peer::try_connect(free).is_err(), "half of a refused file listens");
    assert_eq!(served_by(&forebay), "a");
    // No limit of the refused file holds.
    let held: Vec<Peer> = (0..3).map(|_| super::visit(&forebay).0).collect();
    drop(held);
    drop(taken);
    // The same content, now that the port is free.
    let before = forebay.status();
    forebay.signal(Signal::HUP);
    let status = forebay.status_after(&before).expect_applied();
    assert_eq!(status.address("two"), Some(occupied));
    assert_eq!(served_by(&forebay), "b");
    assert!(forebay.descriptors() > descriptors);
}

#[test]
fn an_option_that_an_open_socket_cannot_have_refuses_the_whole_file() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let address = forebay.address("web");
    let (before, descriptors) = (listening(address), forebay.descriptors());
    let (mut client, _) = super::visit(&forebay);
    let with = |congestion: &str| {
        let options = format!("congestion = {congestion:?}\nbacklog = 77\nclient_first = true");
        simple(&[&b], &options, "keepalive = { idle = \"7s\" }")
    };
    let said = "congestion \"nosuch\": the kernel does not have it";
    let status = forebay.reload(&with("nosuch")).expect_refused(said);
    assert_eq!((status.generation(), listening(address)), (1, before));
    // A session holds two.
    assert_eq!(forebay.descriptors(), descriptors + 2);
    // Whoever says nothing is accepted at once: there is no `client_first`.
    assert_eq!(served_by(&forebay), "a");
    super::say(&mut client);
    let status = forebay.reload(&with("reno")).expect_applied();
    assert_eq!(status.generation(), 2);
    assert!(listening(address).iter().all(|it| *it == (77, "reno".to_owned())));
    let mut client = Peer::connect(address);
    client.send(b"x");
    assert_eq!(client.line().as_deref(), Some("b"));
}

#[test]
fn a_mode_that_a_socket_file_cannot_have_refuses_the_whole_file() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let path = forebay.directory().join("local");
    let file = |backend: &Backend, mode: &str| {
        let path = path.display();
        let local = format!("[listener.local]\naddress = \"unix:{path}\"\npool = \"app\"\n");
        simple(&[backend], "", "") + &local + mode
    };
    forebay.reload(&file(&a, "")).expect_applied();
    std::fs::remove_file(&path).unwrap();
    let status = forebay.reload(&file(&b, "mode = \"600\"")).expect_refused("mode: No such file");
    assert_eq!((status.generation(), &*served_by(&forebay)), (2, "a"));
    std::fs::write(&path, "precious").unwrap();
    forebay.reload(&file(&b, "mode = \"666\"")).expect_refused("mode: its file is no socket");
    forebay.reload(&file(&b, "")).expect_applied();
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn a_pool_whose_sockets_the_kernel_would_not_make_is_refused_or_told_of() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let nosuch = simple(&[&b], "max_connections = 1", "congestion = \"nosuch\"");
    let said = "pool app: congestion \"nosuch\": the kernel does not have it";
    let status = forebay.reload(&nosuch).expect_refused(said);
    assert_eq!((status.generation(), &*served_by(&forebay)), (1, "a"));
    let (exit, log) = Start::new(nosuch).fail();
    assert!(exit == Exit::Code(1) && log.contains(said), "{exit:?}: {log}");
    // An address may come to this host later (192.0.2.0/24 is nobody's: RFC 5737).
    forebay.reload(&simple(&[&b], "", "source = \"192.0.2.1\"")).expect_applied();
    forebay.expect_said("no connect can be made from `source`");
    forebay.reload(&simple(&[&b], "", "congestion = \"reno\"")).expect_applied();
    assert_eq!(served_by(&forebay), "b");
}

#[test]
fn workers_that_cannot_be_started_refuse_the_whole_file() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut client, _) = super::visit(&forebay);
    let id = forebay.id().to_string();
    let allow = |most: &str| {
        let done = std::process::Command::new("prlimit").args(["--pid", &id, most]).status();
        assert!(done.unwrap().success());
    };
    let some = forebay.descriptors() + 30;
    allow(&format!("--nofile={some}:20000"));
    let file = |workers| format!("[runtime]\nworkers = {workers}\n{}", simple(&[&b], "", ""));
    // The limit is raised again by whoever asks how many descriptors there are, so that comes last.
    let status = forebay.reload(&file(60)).expect_refused("worker");
    assert_eq!(status.generation(), 1);
    super::say(&mut client);
    assert_eq!(served_by(&forebay), "a");
    allow("--nofile=20000:20000");
    let status = forebay.reload(&file(6)).expect_applied();
    assert_eq!(status.generation(), 2);
    assert_eq!(served_by(&forebay), "b");
    super::say(&mut client);
}

#[test]
fn a_file_that_says_what_runs_changes_nothing() {
    let a = Backend::naming("a");
    let file = simple(&[&a], "", "");
    let forebay = Forebay::start(&file);
    let status = forebay.reload(&format!("# a comment\n{file}"));
    assert_eq!((status.outcome(), status.generation()), ("unchanged", 1));
    let status = forebay.reload(&file);
    assert_eq!((status.outcome(), status.generation()), ("unchanged", 1));
}
