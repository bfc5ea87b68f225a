//! `tcp`, and where any probe connects to: what it costs who is probed.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::support::{Backend, Netns, Peer, eventually, root_or_left_out};

#[test]
fn another_address_and_another_port_than_the_traffics_are_probed() {
    let backend = Backend::naming("traffic");
    let port = backend.address().port();
    let elsewhere = |ip: [u8; 4], port| SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port);
    // On the same port of another address, and on another port of a third.
    let same_port = Backend::at(elsewhere([127, 0, 0, 2], port), |peer| peer.send(b"up"));
    let both = Backend::at(elsewhere([127, 0, 0, 3], 0), |peer| peer.send(b"up"));
    let other_port = both.address().port();
    for (where_to, probed) in [
        ("address = \"127.0.0.2\"".to_owned(), same_port),
        (format!("address = \"127.0.0.3\", port = {other_port}"), both),
    ] {
        let steps = "kind = { send-expect = { steps = [{ expect = \"up\" }] } }";
        let probe =
            format!("probe = {{ {steps}, {where_to}, interval = \"50ms\", rise = 1, fall = 1 }}");
        let start = Start::new(Forebay::simple(&[backend.address()], &probe)).sessions();
        let forebay = start.start();
        expect_healthy(&forebay, backend.address());
        let mut client = Peer::connect(forebay.address("web"));
        assert_eq!(client.line().as_deref(), Some("traffic"));
        drop(probed);
        expect_unhealthy(&forebay, backend.address(), "connection refused");
    }
}

/// Connections to this port that stand in TIME_WAIT, wherever `process` is (proc(5), net/tcp).
fn in_time_wait(process: u32, port: u16) -> usize {
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let port = format!(":{port:04X}");
    let fields =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let lines = table.lines().map(fields);
    let to_it = |line: &Vec<String>| line[1].ends_with(&port) || line[2].ends_with(&port);
    lines.filter(to_it).filter(|line| line[3] == TIME_WAIT).count()
}

#[test]
fn probes_leave_no_connection_in_time_wait() {
    // The same for who says nothing, and for who talks and hangs up after it.
    let (silent, talking) = (
        Backend::silent(),
        Backend::scripted(|peer| {
            let _ = peer.read_some(1);
            peer.send(b"HTTP/1.1 204 x\r\nConnection: keep-alive\r\n\r\n");
            peer.expect_reset();
        }),
    );
    for (backend, kind) in [(silent, "\"tcp\""), (talking, "\"http\"")] {
        let forebay = probing(&[backend.address()], kind);
        expect_healthy(&forebay, backend.address());
        eventually(SOON, || backend.accepted() >= 30);
        let port = backend.address().port();
        assert_eq!(in_time_wait(forebay.id(), port), 0, "{kind}");
    }
    // Who ends first by a FIN leaves one: they are found where there are any.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(TcpStream::connect(address).unwrap());
    drop(listener.accept().unwrap());
    eventually(SOON, || in_time_wait(std::process::id(), address.port()) == 1);
}

#[test]
fn a_network_that_cannot_be_reached_is_told_as_such() {
    if root_or_left_out() {
        return;
    }
    // No route leads out of it.
    let netns = Netns::new();
    let far: SocketAddr = "198.51.100.7:80".parse().unwrap();
    let probe = "probe = { interval = \"50ms\", fall = 1 }";
    let start = Start::new(Forebay::simple(&[far], probe)).sessions();
    let forebay = start.under(&netns.prefix()).start();
    expect_unhealthy(&forebay, far, "network is unreachable");
}

/// Pools of which every other one is probed: the others' backends meet no connection but a client's.
#[test]
fn who_is_not_probed_meets_no_connection() {
    let probed: Vec<Backend> = (0..20).map(|_| Backend::silent()).collect();
    let plain: Vec<Backend> = (0..20).map(|_| Backend::naming("plain")).collect();
    let mut file = String::new();
    for (number, pair) in probed.iter().zip(&plain).enumerate() {
        for (name, backend, probe) in [
            ("probed", pair.0, "probe = { interval = \"50ms\" }"),
            ("plain", pair.1, "probe = false"),
        ] {
            file += &format!(
                "[listener.{name}-{number}]\naddress = \"127.0.0.1:0\"\npool = \"{name}-{number}\"\n\
                 [pool.{name}-{number}]\nbackends = [\"{}\"]\n{probe}\n",
                backend.address()
            );
        }
    }
    let forebay = Forebay::start(&file);
    eventually(SOON, || probed.iter().all(|backend| backend.accepted() >= 10));
    let met: Vec<usize> = plain.iter().map(Backend::accepted).collect();
    assert_eq!(met, [0; 20]);
    let mut client = Peer::connect(forebay.address("plain-7"));
    assert_eq!(client.line().as_deref(), Some("plain"));
    assert_eq!(plain[7].accepted(), 1);
}
