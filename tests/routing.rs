//! Who is let in, by which address, and which backend serves: through the real binary.

#![allow(clippy::unwrap_used, reason = "a test fails loudly and says where")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Backend, Forebay, Peer, SOON, SessionLine, Start, eventually, left_out, refusing_address,
};

fn source(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Three backends that say their names, and a pool of them with more settings.
fn three(pool: &str, weights: [u32; 3]) -> ([Backend; 3], Forebay) {
    let backends = ["a", "b", "c"].map(Backend::naming);
    let mut config = format!(
        "[runtime]\nworkers = 2\n[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\n{pool}\n"
    );
    for (backend, weight) in backends.iter().zip(weights) {
        let address = backend.address();
        config += &format!("[[pool.app.backends]]\naddress = \"{address}\"\nweight = {weight}\n");
    }
    let forebay = Forebay::start(&config);
    (backends, forebay)
}

/// Who serves each of `count` sessions that come one after the other and stay open.
fn served(forebay: &Forebay, count: usize) -> (HashMap<String, usize>, Vec<Peer>) {
    let mut shares = HashMap::new();
    let mut open = Vec::new();
    for _ in 0..count {
        let mut client = Peer::connect(forebay.address("web"));
        *shares.entry(client.line().unwrap()).or_default() += 1;
        open.push(client);
    }
    (shares, open)
}

fn shares(of: [(&str, usize); 3]) -> HashMap<String, usize> {
    of.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect()
}

#[test]
fn round_robin_gives_exact_shares_over_all_workers() {
    let (_backends, forebay) = three("balance = \"round_robin\"", [5, 1, 1]);
    assert_eq!(served(&forebay, 70).0, shares([("a", 50), ("b", 10), ("c", 10)]));
}

#[test]
fn least_connections_fills_up_by_weight_and_where_there_is_room() {
    let (_backends, forebay) = three("balance = \"least_connections\"", [2, 1, 1]);
    let (first, _open) = served(&forebay, 40);
    assert_eq!(first, shares([("a", 20), ("b", 10), ("c", 10)]));
}

#[test]
fn first_serves_all_and_weight_zero_none() {
    let (_backends, forebay) = three("balance = \"first\"", [0, 1, 1]);
    assert_eq!(served(&forebay, 20).0, shares([("a", 0), ("b", 20), ("c", 0)]));
}

#[test]
fn random_two_gives_each_some() {
    let (_backends, forebay) = three("balance = \"random_two\"", [1, 1, 1]);
    let (shares, _open) = served(&forebay, 60);
    assert!(shares.len() == 3 && shares.values().all(|&count| count >= 10), "{shares:?}");
}

#[test]
fn source_hash_keeps_a_source_with_its_backend() {
    let (_backends, forebay) = three("balance = { source_hash = { seed = 7 } }", [1, 1, 1]);
    let mut homes = HashMap::new();
    for last in (1..=40).chain(1..=40) {
        let mut client = Peer::connect_from(source(last), forebay.address("web"));
        let name = client.line().unwrap();
        assert_eq!(homes.entry(last).or_insert_with(|| name.clone()), &name);
    }
    let used: std::collections::HashSet<_> = homes.values().collect();
    assert_eq!(used.len(), 3, "{homes:?}");
}

#[test]
fn drained_and_maintained_backends_get_nobody() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::naming);
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n[pool.app]\nbackends = [\n\
         {{ address = \"{}\", state = \"drain\" }}, {{ address = \"{}\", state = \"maint\" }},\n\
         \"{}\"]\n",
        a.address(),
        b.address(),
        c.address()
    ));
    assert_eq!(served(&forebay, 10).0, shares([("a", 0), ("b", 0), ("c", 10)]));
}

/// A pool `app` with these backends that falls back to a backend `spare`.
fn with_fallback(backends: &str, spare: &Backend) -> Forebay {
    Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [{backends}]\nfallback = \"standby\"\nconnect.attempts = 2\n\
         [pool.standby]\nbackends = [\"{}\"]\n",
        spare.address()
    ))
}

#[test]
fn the_fallback_serves_when_no_backend_is_in_use_refuses_or_has_room() {
    let spare = Backend::naming("spare");
    let (one, _one) = refusing_address();
    let (two, _two) = refusing_address();
    let maintained = format!("{{ address = \"{one}\", state = \"maint\" }}");
    for backends in [maintained, format!("\"{one}\", \"{two}\"")] {
        let forebay = with_fallback(&backends, &spare);
        for _ in 0..5 {
            assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "spare");
        }
    }
    let small = Backend::naming("small");
    let full = format!("{{ address = \"{}\", max_connections = 1 }}", small.address());
    let forebay = with_fallback(&full, &spare);
    let (shares, _open) = served(&forebay, 3);
    assert_eq!((shares["small"], shares["spare"]), (1, 2));
}

#[test]
fn a_dead_backend_keeps_nobody_from_the_fallback_however_many_come() {
    let spare = Backend::naming("spare");
    let (dead, _held) = refusing_address();
    let forebay = with_fallback(&format!("\"{dead}\""), &spare);
    // More than a budget of retries would let through at once.
    for number in 0..100 {
        let line = Peer::connect(forebay.address("web")).line();
        assert_eq!(line.as_deref(), Some("spare"), "client {number}");
    }
}

#[test]
fn deny_and_allow_are_judged_in_this_order() {
    let backend = Backend::naming("in");
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         deny = [\"127.0.0.66\"]\nallow = [\"127.0.0.64/26\"]\n\
         [pool.app]\nbackends = [\"{}\"]\n",
        backend.address()
    ));
    let web = forebay.address("web");
    assert_eq!(Peer::connect_from(source(65), web).line().unwrap(), "in");
    for refused in [66, 1] {
        Peer::expect_rejection_from(source(refused), web);
    }
}

#[test]
fn a_rate_lets_its_burst_in_and_rejects_the_rest() {
    let backend = Backend::naming("in");
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\nrate = \"5/h\"\n\
         over = \"reject\"\n[listener.each]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         per_source = {{ rate = \"2/h\" }}\n[pool.app]\nbackends = [\"{}\"]\n",
        backend.address()
    ));
    for _ in 0..5 {
        assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "in");
    }
    Peer::expect_rejection(forebay.address("web"));
    // Clients of other tests may meet this port when it was theirs a moment ago, but not from here.
    for last in [101, 102] {
        for _ in 0..2 {
            let mut client = Peer::connect_from(source(last), forebay.address("each"));
            assert_eq!(client.line().unwrap(), "in");
        }
        Peer::expect_rejection_from(source(last), forebay.address("each"));
    }
}

#[test]
fn connects_come_from_the_source_address() {
    let backend = Backend::scripted(|peer| {
        let from = peer.stream().peer_addr().unwrap().ip();
        peer.send(format!("{from}\n").as_bytes());
    });
    let config = Forebay::simple(&[backend.address()], "source = \"127.0.0.9\"");
    let forebay = Forebay::start(&config);
    assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "127.0.0.9");
}

#[test]
fn a_backend_may_be_a_host_name() {
    let backend = Backend::naming("named");
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"localhost:{}\"]\n",
        backend.address().port()
    ));
    // ::1 may come first, where nobody listens; the next candidate does.
    assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "named");
}

#[test]
fn ipv6_is_served_on_both_sides() {
    let any: SocketAddr = "[::1]:0".parse().unwrap();
    let backend = Backend::at(any, |peer| peer.send(b"six\n"));
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"[::1]:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"{}\"]\n",
        backend.address()
    ));
    assert_eq!(Peer::connect(forebay.address("web")).line().unwrap(), "six");
}

/// Backends on three ports in a row at 127.0.0.2, which are free at 127.0.0.1 as well.
fn three_in_a_row() -> Vec<Backend> {
    let tell = |peer: &mut Peer| {
        let port = peer.local().port();
        peer.send(format!("{port}\n").as_bytes());
    };
    support::obtain(SOON, || {
        let first = Backend::at(SocketAddr::new(source(2), 0), tell);
        let port = first.address().port();
        let free = |port| std::net::TcpListener::bind((source(1), port)).is_ok();
        let next = |port| std::net::TcpListener::bind((source(2), port)).is_ok();
        let row =
            port < u16::MAX - 2 && (port..port + 3).all(free) && (port + 1..port + 3).all(next);
        row.then(|| {
            let rest = [1, 2].map(|add| Backend::at(SocketAddr::new(source(2), port + add), tell));
            [first].into_iter().chain(rest).collect()
        })
    })
}

#[test]
fn a_port_range_reaches_the_same_ports_of_a_backend() {
    let backends = three_in_a_row();
    let first = backends[0].address().port();
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:{first}-{}\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"127.0.0.2:+0\"]\n",
        first + 2
    ));
    assert_eq!(forebay.addresses("web").len(), 3);
    for port in first..first + 3 {
        let mut client = Peer::connect(SocketAddr::new(source(1), port));
        assert_eq!(client.line().unwrap(), port.to_string());
    }
}

#[test]
fn a_unix_listener_has_its_mode_serves_on_all_workers_and_leaves_no_file() {
    let backend = Backend::naming("in");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let mut forebay = Start::new(format!(
        "[runtime]\nworkers = 2\n[shutdown]\ntimeout = \"1s\"\n\
         [listener.web]\naddress = \"unix:{}\"\nmode = \"0640\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"{}\"]\n",
        path.display(),
        backend.address()
    ))
    .sessions()
    .start();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut clients: Vec<UnixStream> =
        (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(SOON)).unwrap();
        client.read_exact(&mut [0; 3]).unwrap();
        client.write_all(b"x").unwrap();
    }
    drop(clients);
    eventually(SOON, || forebay.sessions().len() == 20);
    forebay.signal(Signal::TERM);
    forebay.wait_exit(SOON);
    assert!(!path.exists());
}

#[test]
fn a_client_that_sends_first_is_served_with_client_first() {
    let backend = Backend::echo();
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\nclient_first = true\n\
         [pool.app]\nbackends = [\"{}\"]\n",
        backend.address()
    ));
    for _ in 0..20 {
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"question");
        client.finish();
        client.expect_then_eof(b"question");
    }
}

/// A way of congestion control that this machine allows and that is not its default, if there is one.
fn another_congestion() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    let default = read("tcp_congestion_control").trim().to_owned();
    let allowed = read("tcp_allowed_congestion_control");
    let other = allowed.split_whitespace().find(|name| *name != default);
    other.map_or(default.clone(), str::to_owned)
}

/// What ss(8) says of sockets with this port of their own, a line each.
fn ss(options: &str, port: u16) -> Vec<String> {
    let output = Command::new("ss").args([options, "sport", "=", &port.to_string()]).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn socket_options_of_a_listener_and_a_pool_are_taken() {
    if left_out(&["ss"]) {
        return;
    }
    let congestion = another_congestion();
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        let _ = tells.send(peer.stream().peer_addr().unwrap().port());
        peer.send(b"in\n");
        let _ = peer.read_all();
    });
    let forebay = Forebay::start(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\ninterface = \"lo\"\n\
         tcp_fastopen = true\nbacklog = 16\ncongestion = \"{congestion}\"\n\
         [listener.far]\naddress = \"192.0.2.1:0\"\npool = \"app\"\nfreebind = true\n\
         [pool.app]\nbackends = [\"{}\"]\ncongestion = \"{congestion}\"\nkeepalive = false\n",
        backend.address()
    ));
    let mut client = Peer::connect(forebay.address("web"));
    assert_eq!(client.line().unwrap(), "in");
    assert!(forebay.addresses("far")[0].starts_with("192.0.2.1:"));
    let own = [forebay.address("web").port(), told.recv_timeout(SOON).unwrap()];
    for port in own {
        let sockets = ss("-tniHO", port);
        let has = |line: &String| line.split_whitespace().any(|word| word == congestion);
        assert!(sockets.len() == 1 && sockets.iter().all(has), "{congestion}: {sockets:#?}");
    }
    // Of a listening socket ss(8) shows the backlog as Send-Q.
    let listening = ss("-tlnHO", own[0]);
    let backlog = |line: &String| line.split_whitespace().nth(2) == Some("16");
    assert!(!listening.is_empty() && listening.iter().all(backlog), "{listening:#?}");
}

#[test]
fn the_log_tells_of_a_session_with_all_its_fields() {
    let (refusing, _held) = refusing_address();
    let backend = Backend::echo();
    let pool = "balance = \"first\"";
    let config = Forebay::simple(&[refusing, backend.address()], pool);
    let forebay = Start::new(config).sessions().start();
    let began = Instant::now();
    let mut client = Peer::connect(forebay.address("web"));
    let own = client.local().to_string();
    client.send(b"question");
    client.finish();
    client.expect_then_eof(b"question");
    forebay.only_session();
    let most = began.elapsed().as_secs_f64() * 1e3;
    let said = forebay.said();
    let line = said.lines().find(|line| SessionLine::read(line).is_some()).unwrap();
    let mut line: Value = serde_json::from_str(line).unwrap();
    let mut take = |name| line.as_object_mut().unwrap().remove(name).unwrap();
    assert!(take("worker").is_u64() && take("timestamp").as_str().unwrap().ends_with('Z'));
    let [connect, duration] =
        ["connect_ms", "duration_ms"].map(|name| take(name).as_f64().unwrap());
    assert!(connect >= 0.0 && connect <= duration && duration <= most, "{connect}, {duration}");
    let expected = json!({
        "message": "session ended", "listener": "web", "client": own, "pool": "app",
        "backend": backend.address().to_string(), "attempts": 2, "bytes_up": 8, "bytes_down": 8,
        "spliced": 0, "reason": "finished/relay", "level": "DEBUG", "target": "forebay::session",
    });
    assert_eq!(line, expected);
}
