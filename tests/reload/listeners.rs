//! Listeners that come, go, move and change.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::support::{
    Backend, Forebay, Netns, Peer, SOON, Start, eventually, pause, root_or_left_out,
};
use super::{quiet, say, served_by, simple, visit};

#[test]
fn a_listener_is_added_and_removed_and_its_sessions_live_on() {
    let a = Backend::naming("a");
    let one = simple(&[&a], "", "");
    let two = format!("{one}[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n");
    let forebay = Forebay::start(&one);
    let more = forebay.reload(&two).expect_applied().address("more").expect("it listens");
    let mut client = Peer::connect(more);
    assert_eq!(client.line().as_deref(), Some("a"));
    let status = forebay.reload(&one).expect_applied();
    assert_eq!(status.address("more"), None);
    eventually(SOON, || {
        TcpStream::connect_timeout(&more, Duration::from_millis(100))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    say(&mut client);
    assert_eq!(served_by(&forebay), "a");
}

#[test]
fn a_listener_moves_to_another_pool_on_the_same_socket() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let file = |pool: &str| {
        format!(
            "{}[pool.other]\nbackends = [\"{}\"]\n",
            simple(&[&a], "", "").replace("pool = \"app\"", &format!("pool = \"{pool}\"")),
            b.address()
        )
    };
    let forebay = Forebay::start(&file("app"));
    let (mut client, name) = visit(&forebay);
    assert_eq!(name, "a");
    let status = forebay.reload(&file("other")).expect_applied();
    assert_eq!(status.address("web"), Some(forebay.address("web")));
    assert_eq!(served_by(&forebay), "b");
    say(&mut client);
}

#[test]
fn an_address_goes_from_one_listener_to_another_with_those_who_wait_there() {
    let (a, b) = (Backend::naming("a"), Backend::naming("b"));
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let address = forebay.address("web");
    let file = |web: &str| {
        quiet(&format!(
            "{web}[pool.app]\nbackends = [\"{}\"]\n[pool.other]\nbackends = [\"{}\"]\n",
            a.address(),
            b.address()
        ))
    };
    let of = |name: &str, pool: &str, more: &str| {
        format!("[listener.{name}]\naddress = \"{address}\"\npool = \"{pool}\"\n{more}\n")
    };
    // Port 0 is another port for each listener, so the kernel's choice is given up first.
    forebay.reload(&file(&of("web", "app", "max_connections = 1"))).expect_applied();
    let (mut first, _) = visit(&forebay);
    let mut waits = Peer::connect(address);
    forebay.reload(&file(&of("new", "other", ""))).expect_applied();
    assert_eq!(waits.line().as_deref(), Some("b"));
    say(&mut first);
}

#[test]
fn what_was_removed_comes_back_before_its_handshakes_are_over() {
    let a = Backend::naming("a");
    let both = |address: &str| {
        format!(
            "{}[listener.more]\naddress = \"{address}\"\npool = \"app\"\n",
            simple(&[&a], "", "")
        )
    };
    let forebay = Forebay::start(&both("127.0.0.1:0"));
    let more = forebay.address("more");
    let stays = both(&more.to_string());
    forebay.reload(&stays).expect_applied();
    for _ in 0..5 {
        forebay.reload(&simple(&[&a], "", "")).expect_applied();
        let status = forebay.reload(&stays).expect_applied();
        assert_eq!(status.address("more"), Some(more));
        let mut client = Peer::connect(more);
        assert_eq!(client.line().as_deref(), Some("a"));
    }
    // And after the workers have let go of it.
    forebay.reload(&simple(&[&a], "", "")).expect_applied();
    eventually(SOON, || TcpStream::connect_timeout(&more, Duration::from_millis(50)).is_err());
    pause(Duration::from_millis(900));
    forebay.reload(&stays).expect_applied();
    assert_eq!(Peer::connect(more).line().as_deref(), Some("a"));
}

#[test]
fn a_wildcard_takes_the_place_of_one_of_its_addresses_and_back() {
    let a = Backend::naming("a");
    let forebay = Forebay::start(&simple(&[&a], "", ""));
    let port = forebay.address("web").port();
    for host in ["127.0.0.1", "0.0.0.0", "127.0.0.1", "0.0.0.0"] {
        let file = simple(&[&a], "", "").replace("127.0.0.1:0", &format!("{host}:{port}"));
        forebay.reload(&file).expect_applied();
        assert_eq!(served_by(&forebay), "a");
    }
}

#[test]
fn a_unix_listener_comes_and_goes() {
    let a = Backend::naming("a");
    let one = simple(&[&a], "", "");
    let forebay = Forebay::start(&one);
    let path = forebay.directory().join("app.sock");
    let two = format!(
        "{one}[listener.local]\naddress = \"unix:{}\"\nmode = \"600\"\npool = \"app\"\n",
        path.display()
    );
    for _ in 0..3 {
        forebay.reload(&two).expect_applied();
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        let mut name = [0; 2];
        std::io::Read::read_exact(&mut client, &mut name).unwrap();
        assert_eq!(&name, b"a\n");
        forebay.reload(&one).expect_applied();
        eventually(SOON, || UnixStream::connect(&path).is_err() && !path.exists());
        std::io::Write::write_all(&mut client, b"hi").unwrap();
        std::io::Read::read_exact(&mut client, &mut name).unwrap();
        assert_eq!(&name, b"hi");
    }
}

#[test]
fn a_range_of_ports_grows_and_shrinks() {
    let a = Backend::naming("a");
    let netns = if root_or_left_out() { return } else { Netns::new() };
    let backend = netns.enter(|| Backend::naming("a"));
    drop(a);
    let file = |ports: &str| {
        simple(&[&backend], "", "").replace("127.0.0.1:0", &format!("127.0.0.1:{ports}"))
    };
    let forebay = Start::new(file("20000-20004")).under(&netns.prefix()).start();
    let opens = |port: u16| {
        netns.enter(|| {
            let address = format!("127.0.0.1:{port}").parse().unwrap();
            TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
        })
    };
    assert!(opens(20_004) && !opens(20_005));
    forebay.reload(&file("20003-20009")).expect_applied();
    assert!(opens(20_009) && opens(20_003));
    eventually(SOON, || !opens(20_000));
    assert!(opens(20_004), "a port that stayed");
}

#[test]
fn a_path_is_taken_from_a_dead_socket_and_from_nothing_else() {
    let a = Backend::naming("a");
    let one = simple(&[&a], "", "");
    let forebay = Forebay::start(&one);
    let place = |name: &str| forebay.directory().join(name);
    let on = |path: &std::path::Path| {
        format!("{one}[listener.local]\naddress = \"unix:{}\"\npool = \"app\"\n", path.display())
    };
    std::fs::write(place("file"), "precious").unwrap();
    forebay.reload(&on(&place("file"))).expect_refused("in use");
    assert_eq!(std::fs::read_to_string(place("file")).unwrap(), "precious");
    let listener = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    forebay.reload(&on(&place("socket"))).expect_refused("in use");
    assert!(UnixStream::connect(place("socket")).is_ok());
    // Nobody is left to answer there.
    drop(listener);
    forebay.reload(&on(&place("socket"))).expect_applied();
    assert!(UnixStream::connect(place("socket")).is_ok());
}
