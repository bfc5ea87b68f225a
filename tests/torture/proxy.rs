//! A proxy under test: one listener in front of some backends. Dropping it stops it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::peers::Peer;
use super::support::{Exit, Forebay, Netns, Process, SOON, Start, found};

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours, with `runtime.splice` set so.
    Forebay {
        /// "auto" is the default.
        splice: &'static str,
    },
    /// HAProxy in TCP mode.
    Haproxy,
    /// nginx with its stream module.
    Nginx,
    /// Envoy with its TCP proxy filter.
    Envoy,
}

/// What a proxy is started with. What is not said is left at its default.
#[derive(Debug, Clone, Default)]
pub struct Setup<'a> {
    /// The backends of its only pool.
    pub backends: Vec<SocketAddr>,
    /// Each backend has a listener of its own, instead of one for all.
    pub apart: bool,
    /// Workers, processes or threads that relay.
    pub workers: Option<usize>,
    /// The longest that one attempt to connect may take.
    pub connect: Option<Duration>,
    /// How long sessions may go on after `Proxy::drain`.
    pub drain: Option<Duration>,
    /// How long what was sent may stay unacknowledged, or what is closest to it.
    pub dead_peer: Option<Duration>,
    /// True exactly when it is to be reloaded: HAProxy has to be started for that.
    pub reloads: bool,
    /// The network that it runs in, and where it listens there; else the loopback address.
    pub within: Option<(&'a Netns, std::net::IpAddr)>,
    /// The most descriptors that it may open (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
    /// The most sessions at once, for a peer that must be told.
    pub sessions: Option<usize>,
    /// True exactly when no line is logged for a session, as it is by default.
    pub quiet: bool,
    /// A program that starts it, and becomes it.
    pub under: Vec<String>,
    /// Further lines for Forebay's pool, as TOML.
    pub pool: &'a str,
    /// Further tables for Forebay's file, as TOML.
    pub tables: &'a str,
}

impl Setup<'_> {
    /// Every default, in front of these backends.
    pub fn before(backends: &[SocketAddr]) -> Self {
        Self { backends: backends.to_vec(), ..Self::default() }
    }

    /// What starts a program under it, and becomes that program.
    pub fn prefix(&self) -> Vec<String> {
        let mut words = self.under.clone();
        if let Some((netns, _)) = self.within {
            words.extend(netns.prefix().map(str::to_owned));
        }
        if let Some(most) = self.open_files {
            words.extend(["prlimit".to_owned(), format!("--nofile={most}")]);
        }
        words
    }

    /// Does this in its network.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        match self.within {
            Some((netns, _)) => netns.enter(act),
            None => act(),
        }
    }

    /// Where it listens.
    pub fn listen(&self) -> std::net::IpAddr {
        self.within.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |(_, address)| address)
    }

    /// Starts a Forebay, with a line in its log for each session unless it is to be quiet.
    #[track_caller]
    pub fn start_forebay(&self, splice: &str) -> Forebay {
        let prefix = self.prefix();
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        let start = Start::new(self.forebay()).under(&prefix).splice(splice);
        let start = if self.quiet { start } else { start.sessions() };
        start.start()
    }

    fn forebay(&self) -> String {
        let workers = self.workers.map(|n| format!("workers = {n}\n")).unwrap_or_default();
        let connect =
            self.connect.map(|it| format!("connect = {{ timeout = \"{}ms\" }}\n", it.as_millis()));
        let connect = connect.unwrap_or_default();
        let dead_peer = self
            .dead_peer
            .map(|it| format!("timeout = {{ dead_peer = \"{}ms\" }}\n", it.as_millis()));
        let dead_peer = dead_peer.unwrap_or_default();
        let drain =
            self.drain.map(|it| format!("[shutdown]\ntimeout = \"{}ms\"\n", it.as_millis()));
        // Only a signal, so that one reload is one.
        let signal = if self.reloads { "[reload]\nwatch = \"off\"\n" } else { "" };
        let mut text = format!("[runtime]\n{workers}");
        for (name, backends) in self.pools() {
            let backends: Vec<String> = backends.iter().map(ToString::to_string).collect();
            let _ = write!(
                text,
                "[listener.{name}]\naddress = \"{}:0\"\npool = \"{name}\"\n\
                 [pool.{name}]\nbackends = {backends:?}\n{connect}{dead_peer}{}\n",
                self.listen(),
                self.pool,
            );
        }
        text + &drain.unwrap_or_default() + signal + self.tables
    }

    /// Each listener with its backends, named so that they sort in order.
    pub fn pools(&self) -> Vec<(String, &[SocketAddr])> {
        let name = |number| format!("web{number:03}");
        if self.apart {
            self.backends.chunks(1).enumerate().map(|(n, one)| (name(n), one)).collect()
        } else {
            vec![(name(0), &self.backends)]
        }
    }
}

/// A running proxy.
pub trait Proxy: Send + Sync {
    /// Where it listens: once, or in the order of the backends that are apart.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Where it listens, first.
    fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// All of its processes, so that descriptors and memory can be counted.
    fn processes(&self) -> Vec<Process>;

    /// Sessions that it has said to have ended, if it says so.
    fn ended(&self) -> Option<usize> {
        None
    }

    /// Why those sessions have ended, if it says so.
    fn reasons(&self) -> Vec<String> {
        Vec::new()
    }

    /// All that it has logged, if that is read.
    fn said(&self) -> String {
        String::new()
    }

    /// Lines that it has logged, if they are counted.
    fn lines(&self) -> Option<usize> {
        None
    }

    /// Puts this in place of what it was started with, while sessions live on; why not, if it cannot.
    fn reload(&self, setup: &Setup<'_>) -> Result<(), String>;

    /// Tells it to take nobody new, to let sessions finish, and to end: by its own signal for that.
    fn drain(&self);

    /// Ends it at once; panics if it then says that it still counts a session.
    fn stop(&mut self) {}
}

impl Kind {
    /// In the order of the table's columns.
    pub const ALL: [Self; 4] =
        [Self::Forebay { splice: "auto" }, Self::Haproxy, Self::Nginx, Self::Envoy];

    /// True exactly when it is ours.
    pub fn is_forebay(self) -> bool {
        matches!(self, Self::Forebay { .. })
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forebay { .. } => "Forebay",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx stream",
            Self::Envoy => "Envoy",
        }
    }

    /// Starts one and waits until it listens.
    pub fn start(self, setup: &Setup<'_>) -> Box<dyn Proxy> {
        match self {
            Self::Forebay { splice } => Box::new(setup.start_forebay(splice)),
            Self::Haproxy | Self::Nginx | Self::Envoy => Box::new(Peer::start(self, setup)),
        }
    }

    /// The number of its version.
    pub fn version(self) -> String {
        let (program, ask) = match self {
            Self::Forebay { .. } => (env!("CARGO_BIN_EXE_forebay").into(), "--version"),
            Self::Haproxy => (found("haproxy").unwrap(), "-v"),
            Self::Nginx => (found("nginx").unwrap(), "-v"),
            Self::Envoy => (found("envoy").unwrap(), "--version"),
        };
        let output = Command::new(program).arg(ask).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut parts = said.split([' ', '/', '\n']);
        let is_version = |part: &&str| part.contains('.') && part.starts_with(char::is_numeric);
        parts.find(is_version).unwrap_or_else(|| panic!("no version in {said}")).to_owned()
    }
}

impl Proxy for Forebay {
    fn addresses(&self) -> Vec<SocketAddr> {
        let address = |name: &String| Forebay::address(self, name);
        let mut names = self.listeners();
        names.sort();
        names.iter().map(address).collect()
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process::new(self.id())]
    }

    fn ended(&self) -> Option<usize> {
        Some(self.sessions().len())
    }

    fn reasons(&self) -> Vec<String> {
        self.sessions().into_iter().map(|session| session.reason).collect()
    }

    fn said(&self) -> String {
        Forebay::said(self)
    }

    fn lines(&self) -> Option<usize> {
        Some(Forebay::lines(self))
    }

    fn reload(&self, setup: &Setup<'_>) -> Result<(), String> {
        let status = Forebay::reload(self, &setup.forebay());
        if status.outcome() == "applied" { Ok(()) } else { Err(format!("{status:?}")) }
    }

    fn drain(&self) {
        self.signal(Signal::TERM);
    }

    fn stop(&mut self) {
        // The second signal spares the wait for who may be on the way to an address that is given up.
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
        assert_eq!(self.wait_exit(SOON), Exit::Code(0), "{}", self.said());
        // Its own look at the counts of sessions, of which none may be left.
        let left =
            self.said().lines().find(|line| line.contains("still counted")).map(str::to_owned);
        assert_eq!(left, None);
    }
}
