//! Options of sockets and threads, as the kernel shows them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;
use socket2::{Domain, SockRef, Socket, Type};
use support::{
    Backend, Forebay, Netns, Peer, SOON, Start, eventually, left_out, obtain, root_or_left_out,
};

/// A busy machine may add so much to a time, never take it away.
const SLACK: Duration = Duration::from_secs(1);

/// The CPUs that each worker of two may run on, in the kernel's words.
fn cpus_of_workers(forebay: &Forebay) -> Vec<String> {
    let workers = forebay.threads().into_iter().filter(|(_, name)| name.starts_with("worker"));
    let cpus = workers.filter_map(|(thread, _)| {
        let file = format!("/proc/{}/task/{thread}/status", forebay.id());
        let status = std::fs::read_to_string(file).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(list.trim().to_owned())
    });
    cpus.collect()
}

#[test]
fn pinned_workers_have_one_cpu_each_and_others_have_all() {
    let cpus = usize::try_from(sched_getaffinity(None).unwrap().count()).unwrap();
    let backend = Backend::echo();
    for pinned in [true, false] {
        let config = Forebay::simple(&[backend.address()], "");
        let runtime = format!("[runtime]\nworkers = 2\npin_cpus = {pinned}\n");
        let forebay = Forebay::start(&(runtime + &config));
        // A worker names and pins itself when it runs, which may be later than that it can be reached.
        let expected = if pinned { cpus.min(2) } else { 1 };
        let lists = obtain(SOON, || {
            let lists = cpus_of_workers(&forebay);
            let different = lists.iter().collect::<BTreeSet<_>>().len();
            (lists.len() == 2 && different == expected).then_some(lists)
        });
        let one = |list: &String| list.parse::<u32>().is_ok();
        assert!(lists.iter().all(|list| one(list) == (pinned || cpus == 1)), "{lists:?}");
    }
}

/// A counter of the namespace that the calling thread is in (TcpExt, /proc/net/netstat).
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut both = names.split(' ').zip(values.split(' '));
    both.find(|(counter, _)| *counter == name).unwrap().1.parse().unwrap()
}

/// Connects by sending `bytes`: with the first segment, if there is a cookie from an earlier time.
fn connect_sending(address: SocketAddr, bytes: &[u8]) -> Peer {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    let sent = socket.send_to_with_flags(bytes, &address.into(), libc::MSG_FASTOPEN).unwrap();
    assert_eq!(sent, bytes.len());
    Peer::new(socket.into())
}

#[test]
fn what_a_client_sends_with_its_first_segment_arrives() {
    if root_or_left_out() || left_out(&["ip", "sysctl"]) {
        return;
    }
    let netns = Netns::new();
    netns.run(&["sysctl", "-q", "-w", "net.ipv4.tcp_fastopen=3"]);
    let backend = netns.enter(Backend::echo);
    for client_first in [false, true] {
        let config = format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\ntcp_fastopen = true\n\
             client_first = {client_first}\n[pool.app]\nbackends = [\"{}\"]\n",
            backend.address()
        );
        let forebay = Start::new(config).under(&netns.prefix()).start();
        let address = forebay.address("web");
        netns.enter(|| {
            let say = || {
                let before = counter("TCPFastOpenPassive");
                let mut client = connect_sending(address, b"hello");
                client.expect(b"hello");
                assert!(client.ask(b"and more").is_ok());
                counter("TCPFastOpenPassive") - before
            };
            // The first gets the cookie, unless it was got before.
            say();
            for _ in 0..5 {
                assert_eq!(say(), 1, "not with the first segment");
            }
        });
    }
}

/// How long until the keepalive timer of the connection from one port to another fires, if it runs.
fn keepalive(from: u16, to: u16) -> Option<Duration> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
    let port = |address: &str| number(address.split_once(':').unwrap().1);
    table.lines().skip(1).find_map(|line| {
        // Number, local and remote address, state, queues, timer (proc_net_tcp in the kernel's
        // documentation): 2 is the timer that keepalive uses, its time is in clock ticks.
        let words: Vec<&str> = line.split_whitespace().collect();
        let (timer, ticks) = words[5].split_once(':').unwrap();
        let ours = [port(words[1]), port(words[2])] == [u64::from(from), u64::from(to)];
        let left = number(ticks) * 1000 / rustix::param::clock_ticks_per_second();
        (ours && timer == "02").then_some(Duration::from_millis(left))
    })
}

/// How long after its connect an upstream is kept alive, and when its first probe is due then.
///
/// In a namespace of its own, since the kernel's table of all connections takes long to read.
fn kept_alive(netns: &Netns, idle: &str) -> (Duration, Duration) {
    netns.enter(|| kept_alive_here(&netns.prefix(), idle))
}

fn kept_alive_here(under: &[&str], idle: &str) -> (Duration, Duration) {
    let (tells, told) = channel();
    let backend = Backend::scripted(move |peer| {
        peer.expect(b"hello");
        peer.send(b"hello");
        let _ = tells.send(peer.stream().peer_addr().unwrap().port());
        let _ = peer.read_all();
    });
    let pool = format!("keepalive = {{ idle = \"{idle}\" }}");
    let forebay = Start::new(Forebay::simple(&[backend.address()], &pool)).under(under).start();
    let web = forebay.address("web");
    let began = Instant::now();
    let mut client = Peer::connect(web);
    assert_eq!(client.ask(b"hello"), Ok(()));
    // From the start; a segment on its way hides it in the table until it is acknowledged.
    eventually(SLACK / 2, || keepalive(web.port(), client.local().port()).is_some());
    let upstream = told.recv_timeout(SOON).unwrap();
    let left = obtain(SOON, || keepalive(upstream, backend.address().port()));
    (began.elapsed(), left)
}

#[test]
fn an_upstream_is_kept_alive_after_five_seconds_as_if_from_the_start() {
    if root_or_left_out() || left_out(&["ip"]) {
        return;
    }
    let (after, left) = kept_alive(&Netns::new(), "60s");
    let due = Duration::from_secs(5);
    assert!(after >= due && after < due + SLACK, "after {after:?}");
    // The kernel counts the silence from the last segment, not from when it is told to.
    let (probe, idle) = (after + left, Duration::from_secs(60));
    assert!(probe > idle - SLACK / 10 && probe < idle + SLACK, "probed after {probe:?}");
}

#[test]
fn an_upstream_is_kept_alive_by_the_time_at_which_its_first_probe_is_due() {
    if root_or_left_out() || left_out(&["ip"]) {
        return;
    }
    let (after, _) = kept_alive(&Netns::new(), "1s");
    let due = Duration::from_secs(1);
    assert!(after >= due && after < due + SLACK, "after {after:?}");
}

/// Bytes that a backend gets rid of while the client reads nothing.
fn held_for_who_does_not_read(listener: &str, pool: &str) -> u64 {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let backend = Backend::scripted(move |peer| {
        SockRef::from(peer.stream()).set_send_buffer_size(SMALL).unwrap();
        while let Ok(taken) = peer.stream().write(&[7; 4096]) {
            count.fetch_add(taken as u64, Ordering::SeqCst);
        }
    });
    let config =
        Forebay::simple(&[backend.address()], pool).replace("[pool", &format!("{listener}\n[pool"));
    let forebay = Start::new(config).splice("never").start();
    let _client = Peer::connect_small(forebay.address("web"), SMALL);
    let mut last = (0, Instant::now());
    obtain(SOON, || {
        let now = sent.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (now > 0 && last.1.elapsed() > Duration::from_millis(700)).then_some(now)
    })
}

/// A socket's buffer, as small as makes sense.
const SMALL: usize = 16 * 1024;

#[test]
fn a_socket_buffer_bounds_what_the_kernel_holds() {
    let bounded =
        held_for_who_does_not_read("socket_buffer = \"16KiB\"", "socket_buffer = \"16KiB\"");
    // What Forebay itself may hold, the ends' own buffers, and the two that are bounded.
    assert!(bounded < 400_000, "{bounded}");
}

#[test]
fn a_socket_buffer_bounds_its_own_side_alone() {
    if left_out(&["ss"]) {
        return;
    }
    // The kernel doubles what it is told (socket(7)).
    let told = "rb32768,t0,tb32768,";
    for (listener, pool) in [(true, false), (false, true), (true, true)] {
        let backend = Backend::echo();
        let line = |is| if is { "socket_buffer = \"16KiB\"" } else { "" };
        let config = Forebay::simple(&[backend.address()], line(pool))
            .replace("[pool", &format!("{}\n[pool", line(listener)));
        let forebay = Forebay::start(&config);
        let mut client = Peer::connect(forebay.address("web"));
        client.ask(b"hello").unwrap();
        let of_client = memory_of(&forebay, client.local());
        assert_eq!(of_client.contains(told), listener, "{of_client}");
        let of_upstream = memory_of(&forebay, backend.address());
        assert_eq!(of_upstream.contains(told), pool, "{of_upstream}");
    }
}

/// What the kernel says of the memory of Forebay's connection to this peer (skmem of ss(8)).
fn memory_of(forebay: &Forebay, peer: SocketAddr) -> String {
    let mut ss = std::process::Command::new("ss");
    let said = ss.args(["-tnmpO", "dst", &peer.to_string()]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let own = format!("pid={},", forebay.id());
    let line = said.lines().find(|line| line.contains(&own));
    line.unwrap_or_else(|| panic!("no connection to {peer} in:\n{said}")).to_owned()
}
