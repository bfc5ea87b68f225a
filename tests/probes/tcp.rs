//! `tcp`, and where any probe connects to: what it costs who is probed.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::support::{Backend, End, Netns, Peer, eventually, root_or_left_out};

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
        // Whatever it met last: a probe may have been under way.
        eventually(SOON, || matches!(verdict(&forebay, backend.address()), Some(Err(_))));
    }
}

/// A backend that says so once it is asked, if it says anything, and counts how its connections end:
/// by a reset, or in another way.
fn counting(says: Option<&'static [u8]>) -> (Backend, Arc<[AtomicUsize; 2]>) {
    let ends = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counts = Arc::clone(&ends);
    let backend = Backend::scripted(move |peer| {
        if let Some(answer) = says
            && peer.read_some(4096).is_ok()
        {
            let _ = peer.stream().write_all(answer);
        }
        let reset = peer.read_all().1 == End::Reset;
        counts[usize::from(!reset)].fetch_add(1, Ordering::SeqCst);
    });
    (backend, ends)
}

#[test]
fn probes_end_by_a_reset_which_leaves_nobody_in_time_wait() {
    let answer = b"HTTP/1.1 204 x\r\nConnection: keep-alive\r\n\r\n";
    for (kind, says) in [("\"tcp\"", None), ("\"http\"", Some(&answer[..]))] {
        let (backend, ends) = counting(says);
        let forebay = probing(&[backend.address()], kind);
        expect_healthy(&forebay, backend.address());
        let [reset, otherwise] = &*ends;
        eventually(SOON, || reset.load(Ordering::SeqCst) >= 20);
        assert_eq!(otherwise.load(Ordering::SeqCst), 0, "{kind}");
    }
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
