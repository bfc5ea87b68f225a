//! The data plane as a library: a worker on a thread, and no control plane.
//!
//! Compiled also without any feature (`cargo test --no-default-features --test data_plane`), so it uses
//! what the crate offers then, and nothing of the other tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay::config::{self, ListenAddress, Options};
use forebay::model::{Model, Objects, Resolved, SocketId};
use forebay::net::{Address, Company, ListenOptions, ListeningSocket};
use forebay::plugin::{Cause, Connection, Decision, Guard, Registry, SessionEvent};
use forebay::worker::{Command, Fleet, Worker};

const PATIENCE: Duration = Duration::from_secs(10);

/// One worker before one listener.
struct DataPlane {
    address: SocketAddr,
    model: Arc<Model>,
    fleet: Arc<Fleet>,
    events: Receiver<SessionEvent>,
    thread: JoinHandle<io::Result<()>>,
}

impl DataPlane {
    fn start(text: &str, registry: &Registry) -> Self {
        let config = config::parse(text, "f.toml", &|_| None).config.unwrap();
        let listener = &config.listeners[0];
        let ListenAddress::Tcp(wanted) = listener.addresses[0] else { panic!("not TCP") };
        let bound = ListeningSocket::bind(
            &Address::Tcp(wanted),
            &ListenOptions::default(),
            1,
            Company::None,
        );
        let socket = bound.unwrap().remove(0);
        socket.listen(listener.backlog).unwrap();
        let Address::Tcp(address) = *socket.address() else { panic!("not TCP") };

        let (fleet, epoch) = (Arc::new(Fleet::new(1, 1)), Instant::now());
        let id = SocketId(0);
        let places = [(id, Arc::clone(&listener.name))];
        let snapshot = Objects::new(Arc::clone(&fleet) as _, epoch)
            .assemble(&config, &Resolved::new(), &places, registry)
            .unwrap();
        let view = Arc::clone(&snapshot.listeners[&id]);
        let model = Arc::new(Model::new(snapshot, 1, Arc::clone(&fleet) as _, epoch));

        let (facts, events) = sync_channel(64);
        let worker = Worker::new(0, Arc::clone(&model), Arc::clone(&fleet), Some(facts)).unwrap();
        fleet.send(0, Command::Adopt { id, socket: Arc::new(socket), view }).unwrap();
        let thread = std::thread::spawn(move || worker.run());
        Self { address, model, fleet, events, thread }
    }

    /// A client; one that is refused may learn it here already.
    fn connect(&self) -> io::Result<TcpStream> {
        let client = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        client.set_read_timeout(Some(PATIENCE))?;
        Ok(client)
    }

    fn client(&self) -> TcpStream {
        self.connect().unwrap()
    }

    /// What a client reads to the end of its session.
    fn answer(&self) -> io::Result<String> {
        let mut client = self.connect()?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[track_caller]
    fn expect_refused(&self, cause: Cause) {
        let before = self.model.ends.value(cause);
        let ended = self.connect().and_then(|mut client| client.read(&mut [0; 1]));
        assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        let counted = || self.model.ends.value(cause) == before + 1;
        eventually(&format!("{} is counted", cause.name()), counted);
    }

    fn stop(self) {
        self.fleet.send(0, Command::Stop).unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A backend that says its name, then sends back what it gets.
fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                stream.write_all(name.as_bytes())?;
                io::copy(&mut &stream, &mut &stream)?;
                stream.shutdown(Shutdown::Write)
            });
        }
    });
    address
}

/// A listener with these lines, its pool `app`, and a pool `other` that takes one session.
fn file(listener: &str) -> String {
    format!(
        "[listener.web]\naddress = '127.0.0.1:0'\npool = 'app'\n{listener}\n\
         [pool.app]\nbackends = ['{}']\n\
         [pool.other]\nbackends = ['{}']\nmax_connections = 1\n",
        backend("app"),
        backend("other"),
    )
}

#[test]
fn a_worker_relays_without_a_control_plane() {
    let plane = DataPlane::start(&file(""), &Registry::with_builtins());
    let mut client = plane.client();
    client.write_all(b" and back").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "app and back");
    let SessionEvent::Started(start) = plane.events.recv_timeout(PATIENCE).unwrap() else {
        panic!("an end before a start")
    };
    let SessionEvent::Ended(end) = plane.events.recv_timeout(PATIENCE).unwrap() else {
        panic!("two starts")
    };
    assert_eq!((start.id, &*start.pool), (end.id, "app"));
    assert_eq!((end.bytes_up, end.bytes_down), (9, 12));
    assert_eq!(plane.model.ends.value(Cause::Finished), 1);
    plane.stop();
}

/// Says the same of everybody: "deny", "panic", or the pool that they go to.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stubborn {
    say: String,
}

impl Guard for Stubborn {
    fn decide(&self, _: &Connection<'_>) -> Decision<'_> {
        match &*self.say {
            "allow" => Decision::Allow,
            "deny" => Decision::Deny,
            "panic" => panic!("told to"),
            pool => Decision::Pool(pool),
        }
    }
}

fn guarded(listener: &str, say: &str) -> DataPlane {
    let mut registry = Registry::with_builtins();
    registry.guard("say", Options::read::<Stubborn>);
    let guards = format!("{listener}\nguards = [{{ say = {{ say = '{say}' }} }}]");
    DataPlane::start(&file(&guards), &registry)
}

#[test]
fn a_guard_allows_denies_or_sends_elsewhere() {
    let plane = guarded("", "allow");
    assert_eq!(plane.answer().unwrap(), "app");
    plane.stop();
    let plane = guarded("", "deny");
    plane.expect_refused(Cause::Denied);
    assert!(plane.events.try_recv().is_err(), "a refused client is no session");
    plane.stop();
    let plane = guarded("", "other");
    assert_eq!(plane.answer().unwrap(), "other");
    plane.stop();
}

#[test]
fn a_guards_other_pool_counts_under_that_pools_limits() {
    let plane = guarded("", "other");
    let mut first = plane.client();
    first.read_exact(&mut [0; 5]).unwrap();
    plane.expect_refused(Cause::PoolLimit);
    drop(first);
    eventually("there is room again", || plane.answer().is_ok_and(|answer| answer == "other"));
    plane.stop();
}

#[test]
fn an_unknown_pool_refuses_the_session() {
    let plane = guarded("", "nowhere");
    plane.expect_refused(Cause::NoBackend);
    plane.stop();
}

#[test]
fn a_guard_that_panics_refuses_that_connection_and_no_other() {
    /// Panics at every second connection.
    struct Shaky(std::sync::atomic::AtomicUsize);
    impl Guard for Shaky {
        fn decide(&self, _: &Connection<'_>) -> Decision<'_> {
            let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(number.is_multiple_of(2), "shaky");
            Decision::Allow
        }
    }
    let mut registry = Registry::with_builtins();
    registry.guard("shaky", |_| Ok(Shaky(0.into())));
    let plane = DataPlane::start(&file("guards = ['shaky']"), &registry);
    for _ in 0..5 {
        let mut good = plane.client();
        good.read_exact(&mut [0; 3]).unwrap();
        plane.expect_refused(Cause::Panic);
        good.write_all(b"x").unwrap();
        good.read_exact(&mut [0; 1]).unwrap();
    }
    plane.stop();
}

#[test]
fn limits_and_lists_are_judged_before_guards() {
    for (listener, cause) in [
        ("per_source = { rate = '1/h' }", Cause::SourceLimit),
        ("deny = ['127.0.0.0/8']", Cause::Denied),
        ("allow = ['10.0.0.0/8']", Cause::Denied),
    ] {
        let plane = guarded(listener, "panic");
        if cause == Cause::SourceLimit {
            // The one that the rate lets in.
            plane.expect_refused(Cause::Panic);
        }
        let panics = plane.model.ends.value(Cause::Panic);
        plane.expect_refused(cause);
        assert_eq!(plane.model.ends.value(Cause::Panic), panics, "{listener}");
        plane.stop();
    }
    let plane = guarded("max_connections = 1\nover = 'reject'", "other");
    let mut first = plane.client();
    first.read_exact(&mut [0; 5]).unwrap();
    plane.expect_refused(Cause::Limit);
    plane.stop();
}

#[test]
fn a_client_that_is_handed_over_is_served_by_the_snapshot_of_now() {
    let config = |text: &str| config::parse(text, "f.toml", &|_| None).config.unwrap();
    let (registry, listens) =
        (Registry::with_builtins(), "[listener.web]\naddress = '127.0.0.1:0'\npool = 'app'\n");
    let file = |name| config(&format!("{listens}[pool.app]\nbackends = ['{}']\n", backend(name)));
    let (old, new) = (file("old"), file("new"));
    let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
    let bound = ListeningSocket::bind(&address, &ListenOptions::default(), 1, Company::None);
    let socket = Arc::new(bound.unwrap().remove(0));
    socket.listen(128).unwrap();
    let Address::Tcp(address) = *socket.address() else { panic!("not TCP") };

    let (fleet, epoch) = (Arc::new(Fleet::new(2, 2)), Instant::now());
    let id = SocketId(0);
    let places = [(id, Arc::clone(&old.listeners[0].name))];
    let mut objects = Objects::new(Arc::clone(&fleet) as _, epoch);
    let mut assemble =
        |config| objects.assemble(config, &Resolved::new(), &places, &registry).unwrap();
    let first = assemble(&old);
    let view = Arc::clone(&first.listeners[&id]);
    let model = Arc::new(Model::new(first, 2, Arc::clone(&fleet) as _, epoch));
    let worker =
        |number| Worker::new(number, Arc::clone(&model), Arc::clone(&fleet), None).unwrap();
    // The second has seen the first snapshot, and does not run yet.
    let (quick, late) = (worker(0), worker(1));
    model.snapshot.store(Arc::new(assemble(&new)));
    fleet.send(0, Command::Adopt { id, socket, view }).unwrap();
    let quick = std::thread::spawn(move || quick.run());
    let clients: Vec<TcpStream> = (0..32).map(|_| TcpStream::connect(address).unwrap()).collect();
    eventually("clients are handed over", || {
        model.gauges[1].sessions.load(std::sync::atomic::Ordering::Relaxed) > 0
    });
    let late = std::thread::spawn(move || late.run());
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut name = [0; 3];
        client.read_exact(&mut name).unwrap();
        assert_eq!(&name, b"new");
    }
    for (number, thread) in [quick, late].into_iter().enumerate() {
        fleet.send(number, Command::Stop).unwrap();
        thread.join().unwrap().unwrap();
    }
}
