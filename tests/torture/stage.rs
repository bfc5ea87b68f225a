//! Where a case is played: one proxy, the clients that connect to it, and what it holds afterwards.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::proxy::{Kind, Proxy, Setup};
use super::rest::{KEPT, Rest, resident};
use super::support::{Peer, Process, SOON, comes_true, eventually};

/// The stage of one case.
pub struct Stage {
    kind: Kind,
    running: Option<Running>,
    connected: AtomicUsize,
}

struct Running {
    proxy: Box<dyn Proxy>,
    /// What it held before any client came.
    rest: Rest,
    /// True exactly when it logs no line for a session that ends.
    quiet: bool,
}

/// Memory in bytes that a table of sessions keeps for each of the most that it ever held.
const EACH: u64 = 1 << 10;

/// Less than the second after which a client knocks again at a full backlog, more than any other needs.
const ROOM: Duration = Duration::from_millis(900);

impl Stage {
    /// For this proxy, which is not started yet.
    pub fn new(kind: Kind) -> Self {
        Self { kind, running: None, connected: AtomicUsize::new(0) }
    }

    /// Which proxy is played on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Starts the proxy in front of these backends, with every default.
    pub fn before(&mut self, backends: &[SocketAddr]) -> &Self {
        self.start(&Setup::before(backends))
    }

    /// Starts the proxy.
    pub fn start(&mut self, setup: &Setup<'_>) -> &Self {
        let room = KEPT + EACH * setup.sessions.unwrap_or(0) as u64;
        self.put(self.kind.start(setup), setup.quiet, room)
    }

    /// Plays on this proxy, which a row has started in its own way.
    pub fn adopt(&mut self, proxy: Box<dyn Proxy>, quiet: bool) -> &Self {
        self.put(proxy, quiet, KEPT)
    }

    fn put(&mut self, proxy: Box<dyn Proxy>, quiet: bool, room: u64) -> &Self {
        let rest = Rest::of(&*proxy).with_room(room);
        self.running = Some(Running { proxy, rest, quiet });
        self
    }

    /// A client of the proxy; `None` if a reset overtook connect(2) on its way back.
    pub fn try_connect(&self) -> Option<Peer> {
        self.connected.fetch_add(1, Ordering::SeqCst);
        Peer::try_connect(self.address()).ok()
    }

    /// A client of the proxy.
    #[track_caller]
    pub fn connect(&self) -> Peer {
        self.try_connect().unwrap_or_else(|| panic!("cannot connect to {}", self.kind.name()))
    }

    /// So many clients, or as many as it has room for: none comes after one who had to wait.
    pub fn connect_all(&self, most: usize) -> Vec<Peer> {
        let connect = |_| TcpStream::connect_timeout(&self.address(), ROOM).ok().map(Peer::new);
        let clients: Vec<Peer> = (0..most).map_while(connect).collect();
        self.connected.fetch_add(clients.len(), Ordering::SeqCst);
        clients
    }

    /// Counts clients that connect by themselves.
    pub fn count_clients(&self, clients: usize) {
        self.connected.fetch_add(clients, Ordering::SeqCst);
    }

    /// A client with a small receive window.
    pub fn connect_small(&self, receive: usize) -> Peer {
        self.connected.fetch_add(1, Ordering::SeqCst);
        Peer::connect_small(self.address(), receive)
    }

    /// Stops the proxy without its knowledge, until `wake`.
    pub fn freeze(&self) {
        for process in self.proxy().processes() {
            process.signal(Signal::STOP);
            eventually(SOON, || process.is_stopped());
        }
    }

    /// Lets it go on after `freeze`.
    pub fn wake(&self) {
        for process in self.proxy().processes() {
            process.signal(Signal::CONT);
        }
    }

    /// True exactly when it holds no more descriptors than before any client came.
    pub fn holds_nobody(&self) -> bool {
        self.holds_only(0)
    }

    /// The same but for those of so many sessions.
    pub fn holds_only(&self, sessions: usize) -> bool {
        self.running.as_ref().is_some_and(|it| it.rest.holds_only(&*it.proxy, sessions))
    }

    /// Resident memory of the proxy in bytes.
    pub fn resident(&self) -> u64 {
        resident(self.proxy())
    }

    /// True exactly when all of its processes have ended.
    pub fn has_ended(&self) -> bool {
        self.proxy().processes().into_iter().all(Process::has_ended)
    }

    /// Panics unless every session has ended, every descriptor of one is closed, memory is back,
    /// and the proxy, told to stop, counts nobody.
    #[track_caller]
    pub fn expect_nothing_left(&mut self, case: &str) {
        self.expect_nothing_left_but(case, 0);
    }

    /// The same but for so many sessions, of whose end the kernel did not tell the proxy.
    #[track_caller]
    pub fn expect_nothing_left_but(&mut self, case: &str, untold: usize) {
        let began = self.connected.load(Ordering::SeqCst);
        let running = self.running.as_mut().expect("the case has started it");
        let said = || if running.quiet { None } else { running.proxy.ended() };
        let ended = || said().unwrap_or(began);
        let told = comes_true(SOON, || (began..=began + untold).contains(&ended()));
        assert!(told, "{case}: {} of {began} sessions ended", ended());
        running.rest.expect_back(&*running.proxy, case, untold);
        running.proxy.stop();
    }

    /// How its resident memory has grown since it was started, in bytes.
    pub fn grown(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.rest.grown(&*running.proxy))
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy().address()
    }

    /// The running proxy.
    pub fn proxy(&self) -> &dyn Proxy {
        &*self.running.as_ref().expect("the case has started it").proxy
    }
}
