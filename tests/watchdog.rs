//! A worker that stands is told of, and the others go on; nobody else is accused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

mod support;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use forebay::balance::{Ask, Balancer, Candidates, Member, Selector};
use forebay::net::{Address, Peer as ClientPeer};
use forebay::plugin::{Connection, Decision, Guard};
use forebay::{Builder, config};
use support::{Backend, Forebay, Peer, SOON, comes_true, eventually, pause};

/// A worker that stands so long is told of within a second more: control looks twice a second, and
/// begins to count at its first look.
const STANDS: Duration = Duration::from_secs(2);
const TOLD: Duration = Duration::from_millis(3500);

/// Whoever looks every few milliseconds and comes so late is on a machine that is busy with other work.
const LATE: Duration = Duration::from_millis(100);

/// Enough for an answer, less than a worker may stand.
const SHORT: Duration = Duration::from_millis(300);

/// Clients from here find the policy asleep, and those from there the guard.
const CURSED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const SUSPECT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));

/// A policy or a guard that holds a worker up.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Way>, Condvar)>);

#[derive(Default, PartialEq)]
enum Way {
    /// Nobody came.
    #[default]
    Shut,
    /// A worker waits here.
    Held,
    Open,
}

impl Gate {
    fn set(&self, way: Way) {
        *self.0.0.lock().unwrap() = way;
        self.0.1.notify_all();
    }

    fn is(&self, way: &Way) -> bool {
        *self.0.0.lock().unwrap() == *way
    }

    /// Waits until it is open.
    fn pass(&self) {
        let mut way = self.0.0.lock().unwrap();
        if *way == Way::Shut {
            *way = Way::Held;
        }
        drop(self.0.1.wait_while(way, |way| *way != Way::Open).unwrap());
    }
}

impl Guard for Gate {
    fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
        if matches!(connection.client, ClientPeer::Tcp(client) if client.ip() == SUSPECT) {
            self.pass();
        }
        Decision::Allow
    }
}

impl Balancer for Gate {
    fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
        Box::new(self.clone())
    }
}

impl Selector for Gate {
    fn pick(&self, ask: &Ask, _candidates: &dyn Candidates) -> Option<usize> {
        if ask.source == Some(CURSED) {
            self.pass();
        }
        Some(0)
    }
}

/// What is logged in this process, each line with when it came.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn lines(&self, part: &str) -> Vec<(Instant, String)> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(_, line)| line.contains(part)).cloned().collect()
    }

    fn stands(&self) -> Vec<(Instant, String)> {
        self.lines("a worker does not turn")
    }

    fn turns_again(&self) -> Vec<(Instant, String)> {
        self.lines("turns again")
    }

    /// Waits until it is told for the `number`th time that a worker stands, here: with this client,
    /// who came at `began`, at this work.
    ///
    /// A control thread that was late itself begins to count anew, so the bound holds for a machine on
    /// which this thread is not late either.
    #[track_caller]
    fn expect_stands(&self, number: usize, began: Instant, work: &str, client: SocketAddr) {
        let (mut looked, mut late) = (Instant::now(), false);
        eventually(SOON, || {
            late |= looked.elapsed() > LATE;
            looked = Instant::now();
            self.stands().len() == number
        });
        let (told, line) = self.stands().remove(number - 1);
        let after = told - began;
        assert!(after >= STANDS && (late || after <= TOLD), "told of after {after:?}: {line}");
        let stood = line.split("stood_s=").nth(1).and_then(|it| it.split(' ').next());
        let stood: f64 = stood.and_then(|it| it.parse().ok()).unwrap();
        assert!((2.0..3.0).contains(&stood), "{line}");
        let place = format!("at=\"{work}\" listener=\"web\" client=\"{client}\"");
        assert!(line.contains("ERROR") && line.contains(&place), "{line}");
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.0.lock().unwrap().push((Instant::now(), line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    assert!(is_answered(&mut client));
    client
}

/// A client of the unix listener, if it is answered in time.
fn local_client(path: &Path, time: Duration) -> Option<UnixStream> {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(time)).unwrap();
    is_answered(&mut client).then_some(client)
}

/// A client from `source` that holds up the worker that does not accept at the unix listener.
fn hold_up(gate: &Gate, source: IpAddr, address: SocketAddr, path: &Path) -> (Peer, Instant) {
    for _ in 0..64 {
        gate.set(Way::Shut);
        let began = Instant::now();
        let mut cursed = Peer::connect_from(source, address);
        eventually(SOON, || gate.is(&Way::Held));
        if local_client(path, SHORT).is_some() {
            return (cursed, began);
        }
        gate.set(Way::Open);
        cursed.ask(b"hello").expect("served");
    }
    panic!("the kernel gives one worker every client");
}

fn is_answered(client: &mut (impl Read + Write)) -> bool {
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).is_ok()
}

#[test]
fn a_worker_that_stands_is_told_of_once_and_the_others_go_on() {
    let (log, gate, backend) = (Log::start(), Gate::default(), Backend::echo());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("local");
    let text = format!(
        "runtime.workers = 2\n\
         listener.local = {{ address = 'unix:{}', pool = 'app' }}\n\
         listener.web = {{ address = '127.0.0.1:0', pool = 'app', guards = ['door'] }}\n\
         pool.app = {{ backends = ['{}'], balance = 'gate' }}\n",
        path.display(),
        backend.address()
    );
    let config = config::parse(&text, "test.toml", &|_| None).config.unwrap();
    let (policy, door) = (gate.clone(), Gate::default());
    let guard = door.clone();
    let builder = Builder::new().balancer("gate", move |_| Ok(policy.clone()));
    let running = builder.guard("door", move |_| Ok(guard.clone())).start(config).unwrap();
    let tcp = |address| if let Address::Tcp(address) = address { Some(address) } else { None };
    let address = running.bound().into_iter().find_map(|bound| tcp(bound.address)).unwrap();
    // Spread over both workers, never worse than six to four.
    let mut clients: Vec<TcpStream> = (0..10).map(|_| client(address)).collect();
    // Both sleep now, for longer than a worker may stand.
    assert!(!comes_true(STANDS + Duration::from_secs(1), || !log.stands().is_empty()));

    let (mut cursed, began) = hold_up(&gate, CURSED, address, &path);
    log.expect_stands(1, began, "connect", cursed.local());

    let (mut well, mut held): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for mut client in clients.drain(..) {
        client.set_read_timeout(Some(SHORT)).unwrap();
        if is_answered(&mut client) { well.push(client) } else { held.push(client) }
    }
    assert!((4..=6).contains(&well.len()), "{} of the other worker's are served", well.len());
    // It has the fewest by now, and would be handed what the other accepts.
    let local: Vec<_> = (0..20).map(|_| local_client(&path, SOON).expect("served")).collect();
    // It is not told of again while it stands.
    let again = comes_true(Duration::from_secs(1), || {
        well.iter_mut().for_each(|client| assert!(is_answered(client)));
        log.stands().len() > 1
    });
    assert!(!again && log.turns_again().is_empty(), "{:?}", log.stands());

    gate.set(Way::Open);
    eventually(SOON, || !log.turns_again().is_empty());
    for mut client in well.into_iter().chain(held) {
        client.set_read_timeout(Some(SOON)).unwrap();
        assert!(is_answered(&mut client), "nobody lost their session");
    }
    assert_eq!((log.stands().len(), log.turns_again().len()), (1, 1));
    cursed.ask(b"hello").expect("served in the end");
    drop((cursed, local));
    eventually(SOON, || backend.live() == 0);

    let (mut suspect, began) = hold_up(&door, SUSPECT, address, &path);
    log.expect_stands(2, began, "guards", suspect.local());
    door.set(Way::Open);
    suspect.ask(b"hello").expect("served in the end");
    eventually(SOON, || log.turns_again().len() == 2);
    drop(suspect);
    running.drain();
    running.wait().unwrap();
}

#[test]
fn a_process_that_was_stopped_accuses_nobody() {
    let backend = Backend::echo();
    let forebay = Forebay::before(&[backend.address()]);
    let mut sender = TcpStream::connect(forebay.address("web")).unwrap();
    let mut receiver = sender.try_clone().unwrap();
    let bytes = vec![7; 1 << 20];
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Its worker is at work nearly all the time, also when the process is stopped.
        scope.spawn(move || {
            while !done.load(SeqCst) {
                sender.write_all(&bytes).unwrap();
            }
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        scope.spawn(move || io::copy(&mut receiver, &mut io::sink()).unwrap());
        for _ in 0..2 {
            forebay.freeze();
            pause(STANDS + Duration::from_secs(1));
            forebay.wake();
            // Control looks a few times meanwhile.
            pause(STANDS);
        }
        done.store(true, SeqCst);
    });
    assert!(!forebay.said().contains("does not turn"), "{}", forebay.said());
}
