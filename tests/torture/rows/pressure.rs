//! E: who is slow, greedy or gone costs the others nothing.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::crowd::{BLAST, Crowd, Fate, SLOWER, count, fates, milliseconds, percentile, trips};
use crate::proxy::{Kind, Setup};
use crate::rest::KEPT;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::PATIENCE;
use crate::stage::Stage;
use crate::support::{Netns, Peer, Process, SOON, comes_true, left_out, pause, root_or_left_out};

pub const ROWS: &[Row] = &[
    Row {
        name: "E1",
        what: "2,000 clients that read 1 B/s each of backends that send all they can; they go, and 2,000 more come",
        should: "memory grows by at most 64 KiB + 10 % for each, also the second time, and is back when they have gone; the others' p99 at most doubles (or is 1 ms; a debug build: 10 ms)",
        when: When::LongRun,
        peers: true,
        play: e1,
    },
    Row {
        name: "E3",
        what: "20,000 clients that connect and close, as many that reset, 1,000 that do not finish the handshake for a minute (peers: 5 s)",
        should: "no upstream outlives the last client of a burst by 100 ms; half-open clients cost nothing, all others are served, also at the \
                 end of the minute",
        when: When::LongRun,
        peers: true,
        play: e3,
    },
    Row {
        name: "E4",
        what: "500 clients (100 at every commit) that ask now and then, beside one that takes all it can, through one worker",
        should: "each is answered; p99 ≤ 5 ms (at every commit, and again for a debug build: ten times that)",
        when: When::Commit,
        peers: true,
        play: e4,
    },
];

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn e1_slow_readers_cost_bounded_memory_and_nobody_else_time() {
    if !root_or_left_out() && !left_out(&["ip", "sysctl"]) {
        must_hold("E1");
    }
}

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn e3_floods_leave_nothing_behind() {
    if !root_or_left_out() && !left_out(&["ip", "nft"]) {
        must_hold("E3");
    }
}

#[test]
fn e4_small_ones_are_answered_beside_a_large_one() {
    must_hold("E4");
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn e1(kind: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let (readers, time) = if length == Length::Long { (2000, 20) } else { (200, 1) };
    let time = Duration::from_secs(time);
    let netns = Netns::new();
    // Left to itself the kernel gives such a load more than the sockets of a machine may have (tcp(7)).
    for which in ["tcp_rmem", "tcp_wmem"] {
        netns.run(&["sysctl", "-q", "-w", &format!("net.ipv4.{which}=4096 16384 16384")]);
    }
    let crowd = netns.enter(Crowd::start);
    let mut stage = Stage::new(kind);
    let within = Some((&netns, HERE));
    let sessions = Some(readers + 100);
    let setup = Setup { within, sessions, quiet: true, ..Setup::before(&[crowd.address()]) };
    stage.start(&setup);
    let others = netns.enter(|| stage.connect_all(20));
    let (_, calm) = trips(&others, time / 4);
    let first = slow_readers(&stage, &netns, readers, (&others, time));
    comes_true(SOON, || crowd.live() <= others.len());
    let second = slow_readers(&stage, &netns, readers, (&others, time));
    let memory = first.memory.max(second.memory);
    drop(others);
    comes_true(SOON, || crowd.live() == 0);
    // Its backend sees them go as soon as they do; what they had is given back a moment later.
    comes_true(SOON, || stage.grown() <= KEPT);
    let kept = stage.grown();
    if kind.is_forebay() {
        stage.expect_nothing_left("E1");
    }
    let most = readers as u64 * (64 << 10) * 11 / 10;
    let bound = (2 * calm).max(SLOWER * Duration::from_millis(1));
    let (served, p99) = (first.served.min(second.served), first.p99.max(second.p99));
    Verdict {
        figure: format!(
            "{} KiB each, {} MiB kept, {served} of {readers} read; p99 {}, before {}",
            memory / 1024 / readers as u64,
            kept >> 20,
            milliseconds(p99),
            milliseconds(calm),
        ),
        met: memory <= most
            && served == readers
            && first.unanswered + second.unanswered == 0
            && p99 <= bound,
    }
}

/// What came of slow readers.
struct Wave {
    /// Of them.
    served: usize,
    /// Of the others.
    unanswered: usize,
    p99: Duration,
    /// The most that memory grew by, in bytes.
    memory: u64,
}

/// Slow readers come, read for so long beside others that ask, and go.
fn slow_readers(
    stage: &Stage,
    netns: &Netns,
    readers: usize,
    (others, time): (&[Peer], Duration),
) -> Wave {
    let slow = netns.enter(|| stage.connect_all(readers));
    slow.iter().for_each(|client| drop(client.stream().write_all(&[BLAST])));
    let served = count(&fates(&slow, SOON), Fate::Served);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_slowly(&slow, &stop, || stage.grown()));
        let (unanswered, p99) = trips(others, time);
        stop.store(true, Ordering::SeqCst);
        Wave { served, unanswered, p99, memory: reading.join().unwrap() }
    })
}

/// Takes a byte of each once a second; the most that `memory` ever was.
fn read_slowly(slow: &[Peer], stop: &AtomicBool, memory: impl Fn() -> u64) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        for client in slow {
            let _ = client.stream().set_nonblocking(true);
            let _ = client.stream().read(&mut [0]);
        }
        most = most.max(memory());
        pause(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
    most
}

/// Clients that come in one burst of a flood.
const BURST: usize = 500;

/// The source of handshakes that are never finished.
const HALF_OPEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn e3(kind: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let long = length == Length::Long;
    let (bursts, half_open) = if long { (40, 1000) } else { (4, 100) };
    let minute = Duration::from_secs(if long && kind.is_forebay() { 60 } else { 5 });
    let netns = Netns::new();
    let crowd = netns.enter(Crowd::start);
    let mut stage = Stage::new(kind);
    let within = Some((&netns, HERE));
    let sessions = Some(2000);
    let setup = Setup { within, sessions, quiet: true, ..Setup::before(&[crowd.address()]) };
    stage.start(&setup);
    let mut closed = netns.enter(|| flood(&stage, &crowd, bursts, drop));
    let mut reset = netns.enter(|| flood(&stage, &crowd, bursts, Peer::reset));
    let (cost, served) = never_finish(&stage, &netns, half_open, minute);
    if kind.is_forebay() {
        stage.expect_nothing_left("E3");
    }
    let mut text = Vec::new();
    for times in [&mut closed, &mut reset] {
        text.push(milliseconds(percentile(times, 90)));
    }
    let bound = Duration::from_millis(100);
    Verdict {
        figure: format!(
            "closed: {} (worst {}), reset: {} (worst {}); {cost} descriptors for {half_open} half-open, {served} of 100 served",
            text[0],
            milliseconds(percentile(&mut closed, 100)),
            text[1],
            milliseconds(percentile(&mut reset, 100)),
        ),
        met: [closed, reset].iter_mut().all(|times| percentile(times, 100) <= bound)
            && (cost, served) == (0, 100),
    }
}

/// Bursts of clients that come and go; how long the last upstream of each outlived the last client.
fn flood(stage: &Stage, crowd: &Crowd, bursts: usize, end: fn(Peer)) -> Vec<Duration> {
    let burst = |_| {
        for _ in 0..BURST {
            stage.try_connect().into_iter().for_each(end);
        }
        let (began, mut last) = (Instant::now(), Duration::ZERO);
        // Some may come to the backend yet: so it is watched for a while whatever there is now.
        comes_true(PATIENCE, || {
            if crowd.live() > 0 {
                last = began.elapsed();
            }
            began.elapsed() > last + Duration::from_millis(150)
        });
        last
    };
    (0..bursts).map(burst).collect()
}

/// Clients whose last segment of the handshake does not come for so long: how many descriptors they cost
/// at most, and how many of a hundred others are served meanwhile, half of them at the end.
fn never_finish(stage: &Stage, netns: &Netns, half_open: usize, time: Duration) -> (usize, usize) {
    let port = stage.address().port();
    let rules = format!(
        "table inet half {{\nchain dropping {{\ntype filter hook input priority 0\n\
         ip saddr {HALF_OPEN} tcp dport {port} tcp flags & syn == 0 drop\n}}\n}}\n"
    );
    netns.run(&["nft", &rules]);
    let held = || stage.proxy().processes().into_iter().map(Process::sockets).sum::<usize>();
    let before = held();
    let begun: Vec<Socket> = netns.enter(|| {
        let begin = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.bind(&SocketAddr::from((HALF_OPEN, 0)).into()).unwrap();
            let _ = socket.connect(&stage.address().into());
            socket
        };
        (0..half_open).map(begin).collect()
    });
    let began = Instant::now();
    let mut cost = held().saturating_sub(before);
    let others = || {
        let others = netns.enter(|| stage.connect_all(50));
        others.iter().for_each(|client| drop(client.stream().write_all(b"hello")));
        count(&fates(&others, PATIENCE), Fate::Served)
    };
    let served = others();
    while began.elapsed() < time {
        pause(Duration::from_millis(100));
        // Those who were served are gone by now, or soon.
        let now = || held().saturating_sub(before);
        comes_true(PATIENCE, || now() == 0);
        cost = cost.max(now());
    }
    let served = served + others();
    drop(begun);
    (cost, served)
}

fn e4(kind: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let (mice, time) = if long { (500, 20) } else { (100, 0) };
    // How the loop shares itself out is asked, not how the system shares its processors out.
    let placed = Placed::on(Processor::Last);
    let crowd = Crowd::start();
    let time = Duration::from_secs(time);
    let straight = |count| (0..count).map(|_| Peer::connect(crowd.address())).collect::<Vec<_>>();
    let (_, _, without) = beside_an_elephant(&straight(mice), &straight(1), time / 4);
    comes_true(SOON, || crowd.live() == 0);
    let mut stage = Stage::new(kind);
    let (workers, sessions) = (Some(1), Some(mice + 100));
    let setup = Setup { workers, sessions, quiet: true, ..Setup::before(&[crowd.address()]) };
    placed.to(Processor::First);
    stage.start(&setup);
    placed.to(Processor::Last);
    let clients = stage.connect_all(mice);
    let elephant = stage.connect_all(1);
    let (bytes, unanswered, p99) = beside_an_elephant(&clients, &elephant, time);
    let missing = mice - clients.len() + unanswered;
    drop((clients, elephant));
    if kind.is_forebay() {
        stage.expect_nothing_left("E4");
    }
    Verdict {
        figure: format!(
            "{missing} unanswered, p99 {} beside {} MB, {} without a proxy",
            milliseconds(p99),
            bytes / 1_000_000,
            milliseconds(without),
        ),
        met: missing == 0
            && bytes > 0
            && p99 <= SLOWER * Duration::from_millis(if long { 5 } else { 50 }),
    }
}

/// This thread, and all threads and programs that it starts meanwhile, on one processor.
struct Placed {
    /// How many there are to choose from.
    processors: usize,
}

/// One of those that the process may use.
enum Processor {
    First,
    Last,
}

impl Placed {
    fn on(processor: Processor) -> Self {
        let placed = Self { processors: thread::available_parallelism().map_or(1, usize::from) };
        placed.to(processor);
        placed
    }

    fn to(&self, processor: Processor) {
        let index = match processor {
            Processor::First => 0,
            Processor::Last => self.processors - 1,
        };
        forebay::net::pin_to_cpu(index).unwrap();
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        forebay::net::unpin().unwrap();
    }
}

/// Round trips of many beside one that takes all it can get: its bytes, how many trips got no answer,
/// and how long the 99th of 100 took.
fn beside_an_elephant(mice: &[Peer], elephant: &[Peer], time: Duration) -> (u64, usize, Duration) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let taking = scope.spawn(|| take_all(elephant, &stop));
        let (unanswered, p99) = trips(mice, time);
        stop.store(true, Ordering::SeqCst);
        (taking.join().unwrap(), unanswered, p99)
    })
}

/// Asks for all that can be had, and counts it.
fn take_all(elephant: &[Peer], stop: &AtomicBool) -> u64 {
    let Some(mut stream) = elephant.first().map(Peer::stream) else { return 0 };
    let _ = stream.write_all(&[BLAST]);
    let (mut taken, mut piece) = (0, vec![0; 256 << 10]);
    while !stop.load(Ordering::SeqCst)
        && let Ok(count @ 1..) = stream.read(&mut piece)
    {
        taken += count as u64;
    }
    taken
}
