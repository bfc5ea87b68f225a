//! Limits, lists, timeouts and socket options that change while the process runs.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::support::{
    Backend, End, Forebay, Netns, Peer, SOON, Start, comes_true, eventually, root_or_left_out,
};
use super::{listening, say, served_by, simple, visit};

#[test]
fn a_raised_limit_lets_in_who_waits_and_a_lowered_one_cuts_nobody() {
    let a = Backend::naming("a");
    let limit = |most: u32| simple(&[&a], &format!("max_connections = {most}"), "");
    let forebay = Forebay::start(&limit(1));
    let (mut first, _) = visit(&forebay);
    let mut second = Peer::connect(forebay.address("web"));
    assert!(!comes_true(Duration::from_millis(300), || a.accepted() > 1), "over the limit");
    forebay.reload(&limit(2)).expect_applied();
    assert_eq!(second.line().as_deref(), Some("a"));
    let status = forebay.reload(&limit(1)).expect_applied();
    let change = status.changes()[0];
    assert!(change.starts_with("listener web: max_connections 2 → 1"), "{change}");
    say(&mut first);
    say(&mut second);
    let mut third = Peer::connect(forebay.address("web"));
    first.reset();
    assert!(!comes_true(Duration::from_millis(300), || a.accepted() > 2), "over the limit");
    second.reset();
    assert_eq!(third.line().as_deref(), Some("a"));
}

#[test]
fn the_limits_of_process_pool_backend_and_source_change() {
    let a = Backend::naming("a");
    let file = |process: u32, pool: u32, source: u32| {
        format!(
            "[limits]\nmax_connections = {process}\n{}",
            simple(
                &[&a],
                &format!("over = \"reject\"\nper_source = {{ max_connections = {source} }}"),
                &format!("max_connections = {pool}"),
            )
        )
    };
    let forebay = Forebay::start(&file(1, 9, 9));
    let (_first, _) = visit(&forebay);
    let address = forebay.address("web");
    for (process, pool, source) in [(9, 1, 9), (9, 9, 1)] {
        Peer::expect_rejection(address);
        forebay.reload(&file(process, pool, source)).expect_applied();
    }
    Peer::expect_rejection(address);
    forebay.reload(&file(9, 9, 2)).expect_applied();
    let (_second, _) = visit(&forebay);
    Peer::expect_rejection(address);
}

#[test]
fn lists_of_sources_change() {
    let a = Backend::naming("a");
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut client, _) = visit(&forebay);
    forebay.reload(&simple(&[&a], "deny = [\"127.0.0.0/8\"]", "")).expect_applied();
    Peer::expect_rejection(forebay.address("web"));
    say(&mut client);
    forebay.reload(&simple(&[&a], "allow = [\"127.0.0.1/32\"]", "")).expect_applied();
    assert_eq!(served_by(&forebay), "a");
}

#[test]
fn timeouts_hold_for_new_sessions() {
    let a = Backend::naming("a");
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let (mut old, _) = visit(&forebay);
    let idle = simple(&[&a], "", "timeout = { idle = \"300ms\" }");
    forebay.reload(&idle).expect_applied();
    let (mut new, _) = visit(&forebay);
    let began = Instant::now();
    assert_eq!(new.read_some(1), Err(End::Reset));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    say(&mut old);
}

#[test]
fn the_size_of_buffers_and_the_use_of_splice_change_under_sessions() {
    let a = Backend::echo();
    let file = |buffer: &str, splice: &str, pin: bool| {
        format!(
            "[limits]\nbuffer = \"{buffer}\"\n[runtime]\nsplice = \"{splice}\"\npin_cpus = {pin}\n{}",
            simple(&[&a], "", "")
        )
    };
    let forebay = Forebay::start(&file("64KiB", "never", false));
    let mut client = Peer::connect(forebay.address("web"));
    let bytes = vec![7; 300_000];
    for (buffer, splice, pin) in [
        ("4KiB", "never", true),
        ("1MiB", "always", false),
        ("4KiB", "always", true),
        ("64KiB", "auto", false),
    ] {
        // Held back in Forebay while the size changes: the client does not read yet.
        client.send(&bytes);
        forebay.reload(&file(buffer, splice, pin)).expect_applied();
        client.expect(&bytes);
        client.send(&bytes);
        client.expect(&bytes);
    }
}

#[test]
fn options_of_an_open_socket_change() {
    let a = Backend::silent();
    let forebay = Forebay::start(&simple(&[&a], "backlog = 128", ""));
    let address = forebay.address("web");
    let before = listening(address);
    let _talks = Peer::connect(address);
    eventually(SOON, || a.accepted() == 1);
    let reno = before[0].1 == "reno";
    let other = if reno { "cubic" } else { "reno" };
    let options =
        format!("client_first = true\nbacklog = 64\ntcp_fastopen = 16\ncongestion = \"{other}\"");
    let keepalive = "keepalive = { idle = \"7s\" }";
    let status = forebay.reload(&simple(&[&a], &options, keepalive)).expect_applied();
    assert_eq!(status.address("web"), Some(address));
    let sockets = listening(address);
    assert_eq!(sockets, vec![(64, other.to_owned()); before.len()]);
    // A client that has sent nothing is not accepted any more (TCP_DEFER_ACCEPT).
    let mut silent = Peer::connect(address);
    assert!(!comes_true(Duration::from_millis(500), || a.accepted() > 1), "it was accepted");
    silent.send(b"x");
    eventually(SOON, || a.accepted() == 2);
    forebay.reload(&simple(&[&a], "backlog = 128", "keepalive = false")).expect_applied();
    assert_eq!(listening(address), before);
    let _silent = Peer::connect(address);
    eventually(SOON, || a.accepted() == 3);
}

#[test]
fn the_mode_of_a_socket_file_changes_and_comes_back_to_what_the_umask_left() {
    let a = Backend::naming("a");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("local");
    let file = |mode: &str| {
        let path = path.display();
        let local = format!("[listener.local]\naddress = \"unix:{path}\"\npool = \"app\"\n");
        simple(&[&a], "", "") + &local + mode
    };
    let under_a_umask = ["sh", "-c", "umask 027; exec \"$@\"", "sh"];
    let forebay = Start::new(file("mode = \"622\"")).under(&under_a_umask).start();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(), 0o622);
    forebay.reload(&file("mode = \"600\"")).expect_applied();
    assert_eq!(mode(), 0o600);
    let status = forebay.reload(&file("")).expect_applied();
    assert_eq!(status.changes()[0], "listener local: mode 0600 → by the umask");
    assert_eq!(mode(), 0o750);
}

#[test]
fn another_interface_gets_a_new_socket_beside_the_old_one() {
    if root_or_left_out() {
        return;
    }
    let netns = Netns::new();
    netns.run(&["ip", "link", "add", "spare", "type", "veth", "peer", "other"]);
    netns.run(&["ip", "addr", "add", "10.77.0.1/24", "dev", "spare"]);
    netns.run(&["ip", "link", "set", "spare", "up"]);
    let backend = netns.enter(|| Backend::naming("a"));
    let file = |interface: &str| {
        simple(&[&backend], interface, "").replace("127.0.0.1:0", "0.0.0.0:20000")
    };
    let forebay = Start::new(file("interface = \"lo\"")).under(&netns.prefix()).start();
    let address: SocketAddr = "127.0.0.1:20000".parse().unwrap();
    let ask = || {
        netns.enter(|| {
            let stream = TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
            Peer::new(stream).line()
        })
    };
    assert_eq!(ask().as_deref(), Some("a"));
    let mut old = netns.enter(|| Peer::connect(address));
    assert_eq!(old.line().as_deref(), Some("a"));
    let status = forebay.reload(&file("interface = \"spare\"")).expect_applied();
    assert!(status.changes()[0].contains("beside"), "{status:?}");
    eventually(SOON, || ask().is_none());
    say(&mut old);
    forebay.reload(&file("")).expect_applied();
    eventually(SOON, || ask().as_deref() == Some("a"));
}
