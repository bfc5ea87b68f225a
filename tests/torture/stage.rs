//! Where a case is played: one proxy, the clients that connect to it, and what it holds afterwards.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::proxy::{Kind, Proxy, Setup};
use super::support::{Peer, Process, SOON, comes_true, eventually};

/// The stage of one case.
pub struct Stage {
    kind: Kind,
    running: Option<Running>,
    connected: AtomicUsize,
}

struct Running {
    proxy: Box<dyn Proxy>,
    /// Descriptors before any client came.
    held: usize,
    /// Resident memory then, in bytes.
    resident: u64,
    /// True exactly when it logs no line for a session that ends.
    quiet: bool,
}

/// Resident memory in bytes that may stay with the process: freed, but not given back yet.
const KEPT: u64 = 8 << 20;

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
        self.adopt(self.kind.start(setup), setup.quiet)
    }

    /// Plays on this proxy, which a row has started in its own way.
    pub fn adopt(&mut self, proxy: Box<dyn Proxy>, quiet: bool) -> &Self {
        // A proxy that has just begun to listen may have a file open that it is reading yet.
        comes_true(SOON, || proxy.processes().into_iter().all(Process::is_asleep));
        let (held, resident) = (held(&*proxy), resident(&*proxy));
        self.running = Some(Running { proxy, held, resident, quiet });
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
        self.running.as_ref().is_some_and(|it| held(&*it.proxy) <= it.held)
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
    /// and the proxy, told to stop, counts nobody. The pipes that workers keep are not of a session.
    #[track_caller]
    pub fn expect_nothing_left(&mut self, case: &str) {
        self.expect_nothing_left_but(case, 0);
    }

    /// The same but for so many sessions, of whose end the kernel did not tell the proxy.
    #[track_caller]
    pub fn expect_nothing_left_but(&mut self, case: &str, untold: usize) {
        let began = self.connected.load(Ordering::SeqCst);
        let running = self.running.as_mut().expect("the case has started it");
        let held_before = running.held + 2 * untold;
        let said = || if running.quiet { None } else { running.proxy.ended() };
        let ended = || said().unwrap_or(began);
        let gone = comes_true(SOON, || {
            (began..=began + untold).contains(&ended()) && held(&*running.proxy) <= held_before
        });
        let (ended, held) = (ended(), held(&*running.proxy));
        assert!(
            gone,
            "{case}: {held} descriptors, {held_before} before; {ended} of {began} sessions ended"
        );
        let (now, before) = (resident(&*running.proxy), running.resident);
        assert!(now <= before + KEPT, "{case}: {now} bytes resident, {before} before");
        running.proxy.stop();
    }

    /// Lets it keep the memory that it has now; how much more that is than when it was started.
    pub fn keep(&mut self) -> u64 {
        let grown = self.grown();
        if let Some(running) = &mut self.running {
            running.resident += grown;
        }
        grown
    }

    /// How its resident memory has grown since it was started, or told to keep some, in bytes.
    pub fn grown(&self) -> u64 {
        let before = self.running.as_ref().map_or(0, |running| running.resident);
        resident(self.proxy()).saturating_sub(before)
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

/// Resident memory in bytes.
fn resident(proxy: &dyn Proxy) -> u64 {
    proxy.processes().into_iter().map(Process::resident).sum()
}

/// Open descriptors but for pipes.
fn held(proxy: &dyn Proxy) -> usize {
    let held = |process: &Process| process.descriptors().saturating_sub(process.pipes());
    proxy.processes().iter().map(held).sum()
}
