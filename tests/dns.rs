//! Host names that DNS knows: followed by their time to live, services too, whatever servers answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

#[path = "dns/dnsmasq.rs"]
mod dnsmasq;
#[path = "dns/hostile.rs"]
mod hostile;
#[path = "dns/system.rs"]
mod system;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use dnsmasq::Dnsmasq;
use support::{Backend, Forebay, Peer, SOON, Start, eventually, left_out};

/// Pool "app" of these backends by names that this server knows; answers alone say when to ask again.
fn before(backends: &[&str], server: SocketAddr, pool: &str) -> String {
    format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = {backends:?}\nresolve_interval = \"1h\"\n\
         resolver = {{ dns = {{ servers = [\"{server}\"] }} }}\n{pool}\n"
    )
}

/// One backend on each of these addresses, all on the same port, each naming its address.
fn on_one_port(ips: &[Ipv4Addr]) -> (Vec<Backend>, u16) {
    let port = support::obtain(SOON, || {
        let first = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = first.local_addr().ok()?.port();
        drop(first);
        let free = |ip: &Ipv4Addr| TcpListener::bind((*ip, port)).is_ok();
        ips.iter().all(free).then_some(port)
    });
    let backend = |ip: &Ipv4Addr| {
        let ip = *ip;
        Backend::at(SocketAddr::new(IpAddr::V4(ip), port), move |peer| {
            let mut stream = peer.stream();
            let _ = stream.write_all(format!("{ip}\n").as_bytes());
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                let _ = stream.write_all(&bytes[..count]);
            }
        })
    };
    (ips.iter().map(backend).collect(), port)
}

/// Whom a new client reaches.
fn reached(forebay: &Forebay) -> String {
    Peer::connect(forebay.address("web")).line().unwrap_or_default()
}

/// How often each backend is reached by so many clients.
fn shares(forebay: &Forebay, clients: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    (0..clients).for_each(|_| *shares.entry(reached(forebay)).or_default() += 1);
    shares
}

fn of(shares: &[(&str, usize)]) -> BTreeMap<String, usize> {
    shares.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[test]
fn an_answer_that_changes_is_followed_and_what_left_drains() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let (_backends, port) = on_one_port(&[ONE, TWO]);
    let dnsmasq = Dnsmasq::start(&["127.0.0.1 app.example"], &[]);
    let name = format!("app.example:{port}");
    let server = dnsmasq.address();
    // Another pool of the same name does not wait for its sessions.
    let closing = format!(
        "[listener.closing]\naddress = \"127.0.0.1:0\"\npool = \"closing\"\n\
         [pool.closing]\nbackends = [\"{name}\"]\nresolver = {{ dns = {{ servers = [\"{server}\"] }} }}\n\
         on_remove = \"close\"\n"
    );
    let forebay = Forebay::start(&before(&[&name], server, &closing));
    assert_eq!(shares(&forebay, 4), of(&[("127.0.0.1", 4)]));

    dnsmasq.say(&["127.0.0.1 app.example", "127.0.0.2 app.example"]);
    let both = of(&[("127.0.0.1", 2), ("127.0.0.2", 2)]);
    eventually(SOON, || shares(&forebay, 4) == both);

    let on_the_first = |listener: &str| {
        let address = forebay.address(listener);
        support::obtain(SOON, || {
            let mut peer = Peer::connect(address);
            (peer.line().as_deref() == Some("127.0.0.1")).then_some(peer)
        })
    };
    let (mut staying, mut closed) = (on_the_first("web"), on_the_first("closing"));
    dnsmasq.say(&["127.0.0.2 app.example"]);
    eventually(SOON, || shares(&forebay, 4) == of(&[("127.0.0.2", 4)]));
    closed.expect_reset();
    staying.send(b"still here");
    staying.expect(b"still here");
}

#[test]
fn a_name_that_is_not_known_at_the_start_comes_into_use() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let (_backends, port) = on_one_port(&[ONE]);
    let dnsmasq = Dnsmasq::start(&["127.0.0.9 other.example"], &[]);
    let name = format!("app.example:{port}");
    let config = before(&[&name], dnsmasq.address(), "").replace("\"1h\"", "\"1s\"");
    let forebay = Forebay::start(&config);
    forebay.expect_said("NXDOMAIN");
    Peer::expect_rejection(forebay.address("web"));
    dnsmasq.say(&["127.0.0.1 app.example"]);
    forebay.expect_said("addresses=[\"127.0.0.1\"]");
    eventually(SOON, || reached(&forebay) == "127.0.0.1");
}

#[test]
fn a_server_that_dies_leaves_its_last_answer_in_use_and_is_told_of_once() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let (_backends, port) = on_one_port(&[ONE, TWO]);
    let dnsmasq = Dnsmasq::start(&["127.0.0.1 app.example"], &[]);
    let (name, server) = (format!("app.example:{port}"), dnsmasq.address());
    let forebay = Forebay::start(&before(&[&name], server, ""));
    let ended = dnsmasq.end();
    forebay.expect_said("the last answer is kept");
    assert_eq!(shares(&forebay, 3), of(&[("127.0.0.1", 3)]));
    // Nor does a reload forget it, which asks nobody for what is known.
    let status = forebay.reload(&before(&[&name], server, "max_connections = 9"));
    assert_eq!(status.outcome(), "applied");
    assert_eq!(shares(&forebay, 3), of(&[("127.0.0.1", 3)]));
    let _dnsmasq = ended.start_again(&["127.0.0.2 app.example"]);
    forebay.expect_said("can be resolved again");
    eventually(SOON, || reached(&forebay) == "127.0.0.2");
    assert_eq!(forebay.said().matches("the last answer is kept").count(), 1);
}

#[test]
fn an_answer_too_long_for_a_datagram_is_fetched_by_tcp() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let lines: Vec<String> = (1..=60).map(|last| format!("127.1.0.{last} app.example")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let dnsmasq = Dnsmasq::start(&lines, &[]);
    let forebay = Forebay::start(&before(&["app.example:9"], dnsmasq.address(), ""));
    let listed = |said: &str| (1..=60).all(|last| said.contains(&format!("\"127.1.0.{last}\"")));
    eventually(SOON, || listed(&forebay.said()));
}

#[test]
fn a_service_says_ports_weights_and_priorities() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let [heavy, light, spare] = ["heavy", "light", "spare"].map(Backend::naming);
    let record = |backend: &Backend, rest: &str| {
        let port = backend.address().port();
        format!("--srv-host=_app._tcp.app.example,node.example,{port},{rest}")
    };
    let records = [record(&heavy, "10,3"), record(&light, "10,1"), record(&spare, "20,9")];
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let dnsmasq = Dnsmasq::start(&["127.0.0.1 node.example"], &records);
    let probe = "probe = { interval = \"50ms\", rise = 1, fall = 1 }";
    let service = before(&["srv:_app._tcp.app.example"], dnsmasq.address(), probe);
    let forebay = Start::new(service).start();
    assert_eq!(shares(&forebay, 40), of(&[("heavy", 30), ("light", 10)]));
    drop((heavy, light));
    eventually(SOON, || shares(&forebay, 4) == of(&[("spare", 4)]));
}

#[test]
fn a_resolver_that_is_changed_by_a_reload_is_asked_at_once() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let (_backends, port) = on_one_port(&[ONE, TWO]);
    let old = Dnsmasq::start(&["127.0.0.1 app.example"], &["--local-ttl=3600"]);
    let new = Dnsmasq::start(&["127.0.0.2 app.example"], &[]);
    let name = format!("app.example:{port}");
    let config = |server| before(&[&name], server, "[reload]\nwatch = \"off\"");
    let forebay = Forebay::start(&config(old.address()));
    assert_eq!(reached(&forebay), "127.0.0.1");
    forebay.reload(&config(new.address())).expect_applied();
    eventually(SOON, || shares(&forebay, 2) == of(&[("127.0.0.2", 2)]));
}

#[test]
fn addresses_of_both_families_are_asked_for() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let six = Backend::at("[::1]:0".parse().unwrap(), |peer| peer.send(b"six\n"));
    let port = six.address().port();
    let dnsmasq = Dnsmasq::start(&["::1 app.example"], &[]);
    let name = format!("app.example:{port}");
    let forebay = Forebay::start(&before(&[&name], dnsmasq.address(), ""));
    forebay.expect_said("addresses=[\"::1\"]");
    assert_eq!(shares(&forebay, 4), of(&[("six", 4)]));
    dnsmasq.say(&["::1 app.example", "127.0.0.2 app.example"]);
    forebay.expect_said("addresses=[\"127.0.0.2\", \"::1\"]");
    dnsmasq.say(&["127.0.0.2 app.example"]);
    forebay.expect_said("addresses=[\"127.0.0.2\"]");
    eventually(SOON, || {
        Peer::try_connect(forebay.address("web")).ok().and_then(|mut it| it.line()).is_none()
    });
}

#[test]
fn a_service_of_which_half_is_known_is_what_is_known() {
    if left_out(&["dnsmasq"]) {
        return;
    }
    let [known, other] = ["known", "other"].map(Backend::naming);
    let record = |host: &str, backend: &Backend| {
        format!("--srv-host=_app._tcp.app.example,{host}.example,{},10,1", backend.address().port())
    };
    let records = [record("known", &known), record("other", &other)];
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let both = ["127.0.0.1 known.example", "127.0.0.1 other.example"];
    let dnsmasq = Dnsmasq::start(&both[..1], &records);
    let forebay = Forebay::start(&before(&["srv:_app._tcp.app.example"], dnsmasq.address(), ""));
    assert_eq!(shares(&forebay, 4), of(&[("known", 4)]));
    dnsmasq.say(&both);
    eventually(SOON, || shares(&forebay, 4) == of(&[("known", 2), ("other", 2)]));
    // Of none: what was known last stays.
    dnsmasq.say(&["127.0.0.1 nobody.example"]);
    forebay.expect_said("the last answer is kept");
    assert_eq!(shares(&forebay, 4), of(&[("known", 2), ("other", 2)]));
}
