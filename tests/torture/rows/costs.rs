//! F, what a session costs: memory while it is idle, memory under a cap, and its line in the log.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::crowd::{BLAST, Crowd, Fate, count, fates, load, milliseconds, percentile, trip};
use crate::proxy::{Kind, Proxy, Setup};
use crate::rest::Rest;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::stage::Stage;
use crate::support::{
    Forebay, Netns, Peer, Process, SOON, SessionLine, Start, comes_true, leave_out, left_out,
    pause, root_or_left_out,
};

pub const ROWS: &[Row] = &[
    Row {
        name: "F2",
        what: "5,000 clients that do not read, backends that send all they can, 64 MiB for the proxy (cgroup v1)",
        should: "not killed; all 5,000 and 20 newcomers are served",
        when: When::LongRun,
        peers: true,
        play: |kind, length| Verdict::of(f2(kind, length)),
    },
    Row {
        name: "F5",
        what: "9,000 idle sessions (500 at every commit) with one worker, each after 1 MB each way",
        should: "at most 512 B of process memory each but for the first (Pss), under 1 % CPU (at every commit and for a debug build: 1 KiB, 5 %)",
        when: When::Commit,
        peers: true,
        play: f5,
    },
    Row {
        name: "F7",
        what: "a line logged for each of 20,000 sessions (5,000 at every commit): to a pipe that nobody reads for now, and for 2,000 (500) to a \
               file that can grow no more for now",
        should: "all are served; what is dropped is counted; in the long run p99 at most doubles (or is 10 ms)",
        when: When::Commit,
        peers: false,
        play: f7,
    },
];

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn f2_a_cap_on_memory_kills_nobody() {
    let missing = root_or_left_out() || left_out(&["ip", "sysctl"]);
    if !missing && (Path::new(CGROUPS).join("cgroup.procs").exists() || !leave_out("no cgroup v1"))
    {
        must_hold("F2");
    }
}

#[test]
fn f5_an_idle_session_costs_next_to_nothing() {
    must_hold("F5");
}

#[test]
fn f7_a_log_that_cannot_be_written_stops_no_session() {
    must_hold("F7");
}

/// Where the memory controller of cgroup v1 is (cgroups(7)).
const CGROUPS: &str = "/sys/fs/cgroup/memory";

const CAP: u64 = 64 << 20;

/// A group of processes that may have `CAP` of memory; dropping it removes it.
struct Group {
    path: PathBuf,
}

impl Group {
    fn new() -> std::io::Result<Self> {
        let path = Path::new(CGROUPS).join(format!("forebay-{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Self { path };
        fs::write(group.path.join("memory.limit_in_bytes"), CAP.to_string())?;
        Ok(group)
    }

    /// What starts a program in it, and becomes that program.
    fn prefix(&self) -> Vec<String> {
        let join = "echo $$ >\"$1/cgroup.procs\" && shift && exec \"$@\"";
        let path = self.path.to_str().unwrap();
        ["sh", "-c", join, "sh", path].map(str::to_owned).to_vec()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }

    /// Processes of it that were killed for want of memory.
    fn killed(&self) -> u64 {
        let control = self.read("memory.oom_control");
        let killed = control.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The most that it has used, in MiB.
    fn peak(&self) -> u64 {
        self.read("memory.max_usage_in_bytes").trim().parse().unwrap_or(0) >> 20
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last process may be on its way out.
        comes_true(SOON, || fs::remove_dir(&self.path).is_ok());
    }
}

fn f2(kind: Kind, length: Length) -> Result<Verdict, String> {
    forebay::net::raise_descriptor_limit();
    let clients = if length == Length::Long { 5000 } else { 500 };
    let group = Group::new().map_err(|error| format!("blocked: {error}"))?;
    let netns = Netns::new();
    // Left to itself the kernel gives such a load more than the sockets of a machine may have (tcp(7)).
    for which in ["tcp_rmem", "tcp_wmem"] {
        netns.run(&["sysctl", "-q", "-w", &format!("net.ipv4.{which}=4096 16384 16384")]);
    }
    let crowd = netns.enter(Crowd::start);
    // Declared after the group, so that it is gone before the group goes.
    let mut stage = Stage::new(kind);
    let setup = Setup {
        within: Some((&netns, IpAddr::V4(Ipv4Addr::LOCALHOST))),
        sessions: Some(clients + 100),
        under: group.prefix(),
        quiet: true,
        // In a container it would find the cap itself, and take a quarter.
        tables: "[limits]\nbuffers = \"16MiB\"\n",
        ..Setup::before(&[crowd.address()])
    };
    stage.start(&setup);
    let slow = netns.enter(|| stage.connect_all(clients));
    slow.iter().for_each(|client| drop(client.stream().write_all(&[BLAST])));
    let served = count(&fates(&slow, SOON * 2), Fate::Served);
    let (newcomers, killed) = if group.killed() == 0 {
        let newcomers = netns.enter(|| stage.connect_all(20));
        (newcomers.iter().map_while(trip).count(), 0)
    } else {
        (0, group.killed())
    };
    drop(slow);
    if kind.is_forebay() {
        stage.expect_nothing_left("F2");
    }
    Ok(Verdict {
        figure: format!(
            "{killed} killed, {served} of {clients} and {newcomers} of 20 served, at most {} MiB",
            group.peak()
        ),
        met: (killed, served, newcomers) == (0, clients, 20),
    })
}

/// What each session moves each way before it rests.
const MOVED: usize = 1 << 20;

/// What it moves at once.
const PIECE: usize = 64 << 10;

fn f5(kind: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let long = length == Length::Long;
    let (sessions, seconds) = if long { (9000, 10) } else { (500, 1) };
    let (bound, most_cpu) = if long && !cfg!(debug_assertions) { (512, 1.0) } else { (1024, 5.0) };
    let crowd = Crowd::start();
    let mut stage = Stage::new(kind);
    let (workers, most) = (Some(1), Some(sessions + 1));
    let setup = Setup { workers, sessions: most, quiet: true, ..Setup::before(&[crowd.address()]) };
    stage.start(&setup);
    let memory = || {
        let processes = stage.proxy().processes();
        processes.into_iter().map(Process::proportional).sum::<u64>()
    };
    // One after the other: all at once they fill the queue of a proxy that has one thread to accept with.
    let one = |_| stage.connect_all(1).pop().filter(|client| moves(client).is_some());
    // What the first one costs is not what each costs.
    let first = one(0);
    let before = memory();
    let idle: Vec<Peer> = (0..sessions).map_while(one).collect();
    let served = idle.len() + usize::from(first.is_some());
    let each = memory().saturating_sub(before) / sessions as u64;
    if long {
        // Forebay sets the keepalive of a session that is five seconds old.
        pause(Duration::from_secs(6));
    }
    let cpu = load(&stage.proxy().processes(), Duration::from_secs(seconds));
    drop((first, idle));
    if kind.is_forebay() {
        stage.expect_nothing_left("F5");
    }
    Verdict {
        figure: format!("{each} B each, {cpu:.1} % CPU, {served} of {} served", sessions + 1),
        met: each <= bound && cpu < most_cpu && served == sessions + 1,
    }
}

/// Moves so much up and down again; none if it does not come back.
fn moves(client: &Peer) -> Option<()> {
    let (mut stream, sent, mut got) = (client.stream(), vec![b'.'; PIECE], vec![0; PIECE]);
    for _ in 0..MOVED / PIECE {
        stream.write_all(&sent).ok()?;
        stream.read_exact(&mut got).ok()?;
    }
    (got == sent).then_some(())
}

/// Threads of clients.
const THREADS: usize = 4;

/// The longest that a file of the program's may be while its log finds no room.
const FULL: u64 = 16 << 10;

/// What lets it go on where a file is full: told by an error, and by no signal (SIGXFSZ of setrlimit(2)).
const TOLD: &str = "trap '' XFSZ; exec \"$@\" 2>>\"$LOG\"";

fn f7(_: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let backend = Crowd::start();
    let start = || Start::new(Forebay::simple(&[backend.address()], "")).sessions();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let full = ["sh", "-c", TOLD, "sh"];
    let filled = start().under(&full).variable("LOG", log.to_str().unwrap()).start();
    limit_files(*filled, Some(FULL));
    let sessions = if long { 20_000 } else { 5_000 };
    let few = sessions / 10;
    let mut running = [start().start(), filled, start().unread_log().start()];
    let rests = running.each_ref().map(|it| Rest::of(it));
    let [calm, full, unread] = [(0, few), (1, few), (2, sessions)]
        .map(|(which, sessions)| play_sessions(&running[which], sessions));
    running[2].read_log();
    let (lines, dropped) = told(sessions, || running[2].said());
    limit_files(*running[1], None);
    // The first line after what was cut short is one with it, and cannot be read.
    let more = play_sessions(&running[1], 2);
    let read = || fs::read_to_string(&log).unwrap_or_default();
    let (lines_full, dropped_full) = told(few + 1, read);
    running.iter().zip(rests).for_each(|(it, rest)| rest.expect_back(it, "F7", 0));
    running.iter_mut().for_each(Proxy::stop);
    let bound = (2 * calm.p99).max(Duration::from_millis(10));
    let unserved = unread.unserved + full.unserved + more.unserved;
    Verdict {
        figure: format!(
            "{unserved} not served; {lines} lines and {dropped} counted as dropped of {sessions}, {lines_full} and {dropped_full} of {}; \
             p99 {} unread, {} full, {} else",
            few + 2,
            milliseconds(unread.p99),
            milliseconds(full.p99),
            milliseconds(calm.p99),
        ),
        met: unserved == 0
            && dropped > 0
            && lines + dropped == sessions
            // Of what was taken in part some is there and counted.
            && dropped_full > 0
            && dropped_full <= few
            && lines_full + dropped_full > few
            && (!long || unread.p99.max(full.p99) <= bound),
    }
}

/// Bounds the files that it writes (RLIMIT_FSIZE of setrlimit(2)).
fn limit_files(process: Process, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    prlimit(id, Resource::Fsize, limit).unwrap();
}

/// What came of sessions.
struct Played {
    unserved: usize,
    p99: Duration,
}

/// Plays so many sessions, one of them beside all others, and waits until all have ended.
fn play_sessions(forebay: &Forebay, sessions: usize) -> Played {
    let (address, sockets) = (forebay.address("web"), forebay.sockets());
    let one = || {
        let client = Peer::try_connect(address).ok()?;
        let time = trip(&client);
        client.reset();
        time
    };
    let old = Peer::connect(address);
    let others = sessions - 1;
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let share = |thread| (others + thread) / THREADS;
        let alone = |thread| move || (0..share(thread)).filter_map(|_| one()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(alone(thread))).collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let served = times.len() + usize::from(trip(&old).is_some());
    old.reset();
    assert!(comes_true(SOON, || forebay.sockets() == sockets), "a socket is left");
    Played { unserved: sessions - served, p99: percentile(&mut times, 99) }
}

/// How many sessions the log tells of, and how many lines it says are missing, once that is all.
fn told(all: usize, said: impl Fn() -> String) -> (usize, usize) {
    let mut told = (0, 0);
    comes_true(SOON, || {
        let said = said();
        told = (said.lines().filter_map(SessionLine::read).count(), dropped(&said));
        told.0 + told.1 >= all
    });
    told
}

/// Lines that the log says are missing.
fn dropped(said: &str) -> usize {
    let told = said.lines().filter(|line| line.contains("log lines dropped"));
    let number = |line| serde_json::from_str::<serde_json::Value>(line).ok()?["lines"].as_u64();
    told.filter_map(number).filter_map(|lines| usize::try_from(lines).ok()).sum()
}
