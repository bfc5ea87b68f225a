//! F, what a session costs: memory while it is idle, memory under a cap, and its line in the log.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crowd::{BLAST, Crowd, Fate, count, fates, load, milliseconds, percentile, trip};
use crate::proxy::{Kind, Proxy, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::stage::Stage;
use crate::support::{
    Forebay, Netns, Peer, SOON, Start, comes_true, leave_out, left_out, pause, root_or_left_out,
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
        what: "9,000 idle sessions (1,500 at every commit)",
        should: "at most 512 B of process memory each, under 1 % CPU (at every commit and for a debug build: 1 KiB, 5 %)",
        when: When::Commit,
        peers: true,
        play: f5,
    },
    Row {
        name: "F7",
        what: "a line logged for each of 20,000 sessions (5,000 at every commit): to a pipe that nobody reads for now, and for 2,000 to a full disk",
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

/// Sessions that come and stay before the others are counted: what the first ones cost is not what each costs.
const FIRST: usize = 200;

fn f5(kind: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let long = length == Length::Long;
    let (sessions, seconds) = if long { (9000, 10) } else { (1500, 1) };
    let (bound, most_cpu) = if long && !cfg!(debug_assertions) { (512, 1.0) } else { (1024, 5.0) };
    let crowd = Crowd::start();
    let mut stage = Stage::new(kind);
    let most = Some(sessions + FIRST);
    let setup = Setup { sessions: most, quiet: true, ..Setup::before(&[crowd.address()]) };
    stage.start(&setup);
    let first = stage.connect_all(FIRST);
    let mut served = first.iter().map_while(trip).count();
    let before = stage.grown();
    let idle = stage.connect_all(sessions);
    served += idle.iter().map_while(trip).count();
    let each = stage.grown().saturating_sub(before) / sessions as u64;
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
        figure: format!("{each} B each, {cpu:.1} % CPU, {served} of {} served", sessions + FIRST),
        met: each <= bound && cpu < most_cpu && served == sessions + FIRST,
    }
}

/// Threads of clients.
const THREADS: usize = 4;

fn f7(_: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let backend = Crowd::start();
    let start = || Start::new(Forebay::simple(&[backend.address()], "")).sessions();
    let full = ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let sessions = if long { 20_000 } else { 5_000 };
    let few = sessions / 10;
    let mut running = [start().start(), start().under(&full).start(), start().unread_log().start()];
    let [calm, full, unread] = [(0, few), (1, few), (2, sessions)]
        .map(|(which, sessions)| play_sessions(&running[which], sessions));
    let (lines, dropped) = told(&running[2], sessions);
    running.iter_mut().for_each(Proxy::stop);
    let bound = (2 * calm.p99).max(Duration::from_millis(10));
    let unserved = unread.unserved + full.unserved;
    Verdict {
        figure: format!(
            "{unserved} not served; {lines} lines and {dropped} counted as dropped of {sessions}; \
             p99 {} unread, {} full, {} else",
            milliseconds(unread.p99),
            milliseconds(full.p99),
            milliseconds(calm.p99),
        ),
        met: unserved == 0
            && dropped > 0
            && lines + dropped == sessions
            && (!long || unread.p99.max(full.p99) <= bound),
    }
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

/// Reads the log; how many sessions it tells of, and how many lines it says are missing.
fn told(forebay: &Forebay, sessions: usize) -> (usize, usize) {
    forebay.read_log();
    let mut told = (0, 0);
    comes_true(SOON, || {
        told = (forebay.sessions().len(), dropped(&forebay.said()));
        told.0 + told.1 >= sessions
    });
    told
}

/// Lines that the log says are missing.
fn dropped(said: &str) -> usize {
    let told = said.lines().filter(|line| line.contains("log lines dropped"));
    let number = |line| serde_json::from_str::<serde_json::Value>(line).ok()?["lines"].as_u64();
    told.filter_map(number).filter_map(|lines| usize::try_from(lines).ok()).sum()
}
