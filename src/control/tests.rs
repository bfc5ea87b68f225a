//! Faults of our own: a worker and the control thread die, and clients hardly notice.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::events::Event;
use super::plant::Plant;
use super::resolve::LookedUp;
use super::{Failure, Hooks, keep_serving, lock};
use crate::balance::{Ask, Balancer, Candidates, Member, Selector};
use crate::config;
use crate::net::Address;
use crate::plugin::{Cause, Registry};
use crate::worker::Command;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running plant before an echoing backend.
struct Running {
    plant: Arc<Mutex<Plant>>,
    control: JoinHandle<Result<(), Failure>>,
    address: SocketAddr,
}

impl Running {
    fn start(balance: &str, registry: Registry) -> Self {
        let file = format!(
            "runtime.workers = 2\n\
             listener.l = {{ address = '127.0.0.1:0', pool = 'p' }}\n\
             pool.p = {{ backends = ['{}'], balance = '{balance}' }}\n",
            echo()
        );
        let config = config::parse(&file, "test.toml", &|_| None).config.unwrap();
        let plant = Plant::start(config, None, Arc::new(registry), None).unwrap();
        let Address::Tcp(address) = plant.bound()[0].address else { panic!("not TCP") };
        let plant = Arc::new(Mutex::new(plant));
        let lent = Arc::clone(&plant);
        let control = std::thread::spawn(move || keep_serving(&lent, Hooks::default()));
        Self { plant, control, address }
    }

    /// A client that was answered.
    fn client(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(&mut client).unwrap();
        client
    }

    fn stop(self) {
        let control = &self.control;
        eventually("control takes the order to stop", || {
            lock(&self.plant).report(Event::Quit);
            control.is_finished()
        });
        self.control.join().unwrap().unwrap();
    }
}

fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

fn exchange(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"ping")?;
    client.read_exact(&mut [0; 4])
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_its_sessions_are_reset() {
    let running = Running::start("round_robin", Registry::with_builtins());
    let mut clients: Vec<TcpStream> = (0..8).map(|_| running.client()).collect();
    lock(&running.plant).crew().command_all(|| Command::Fault);
    for client in &mut clients {
        let error = client.read(&mut [0; 1]).expect_err("a reset, not an end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    assert_eq!(lock(&running.plant).ended(Cause::Panic), 8);
    // Its listening sockets were never closed, so nobody is refused meanwhile.
    let again: Vec<TcpStream> = (0..8).map(|_| running.client()).collect();
    eventually("all sessions are with workers", || lock(&running.plant).sessions() == 8);
    drop(again);
    eventually("no session is left", || lock(&running.plant).sessions() == 0);
    running.stop();
}

#[test]
fn a_worker_that_dies_takes_no_session_of_another_along() {
    let running = Running::start("round_robin", Registry::with_builtins());
    let clients: Vec<TcpStream> = (0..10).map(|_| running.client()).collect();
    let loads = lock(&running.plant).sessions_by_worker();
    lock(&running.plant).crew().command(1, Command::Fault);
    eventually("its sessions are counted", || {
        lock(&running.plant).ended(Cause::Panic) == loads[1] as u64
    });
    let served = clients.into_iter().filter_map(|mut client| exchange(&mut client).ok()).count();
    assert_eq!(served, loads[0]);
    eventually("there are two again", || {
        let _again = running.client();
        lock(&running.plant).sessions_by_worker()[1] > 0
    });
    running.stop();
}

#[test]
fn control_is_started_anew_and_sessions_live_on() {
    let running = Running::start("round_robin", Registry::with_builtins());
    let mut client = running.client();
    eventually("control has died", || {
        lock(&running.plant).report(Event::Fault);
        running.plant.is_poisoned()
    });
    exchange(&mut client).unwrap();
    drop(client);
    running.client();
    running.stop();
}

#[test]
fn counters_go_on_under_load_while_a_reload_comes_every_100_ms() {
    let running = Running::start("round_robin", Registry::with_builtins());
    let (done, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let counted = || {
        let snapshot = lock(&running.plant).model().snapshot.load_full();
        let view = snapshot.listeners.values().next().unwrap();
        let pool = snapshot.pools.values().next().unwrap();
        let all = [&view.listener.counters, &pool.pool.counters, &pool.members[0].backend.counters];
        all.map(|it| [it.sessions.value(), it.bytes_up.value(), it.bytes_down.value()])
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    drop(running.client());
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        for number in 0..15 {
            std::thread::park_timeout(Duration::from_millis(100));
            let mut plant = lock(&running.plant);
            let mut config = plant.config().clone();
            config.shutdown.timeout += Duration::from_secs(1);
            plant.reload(config, LookedUp::default()).unwrap();
            assert_eq!(plant.generation(), number + 2);
        }
        done.store(true, Relaxed);
    });
    let served = served.into_inner();
    assert!(served > 100, "only {served}");
    eventually("every session is counted once", || {
        counted() == [[served, 4 * served, 4 * served]; 3]
    });
    running.stop();
}

#[test]
fn limits_of_the_process_are_in_effect_after_a_reload() {
    let running = Running::start("round_robin", Registry::with_builtins());
    for (sessions, buffers) in [(7, 4096), (9, 1 << 20)] {
        let mut plant = lock(&running.plant);
        let mut config = plant.config().clone();
        config.limits.max_connections = Some(sessions);
        config.limits.buffers = Some(buffers);
        plant.reload(config, LookedUp::default()).unwrap();
        assert_eq!(plant.model().sessions.max(), sessions);
        assert_eq!(plant.model().budget.most(), buffers);
    }
    running.stop();
}

/// Panics at every second session.
struct Shaky;

impl Balancer for Shaky {
    fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
        Box::new(ShakySelector(std::sync::atomic::AtomicUsize::new(0)))
    }
}

struct ShakySelector(std::sync::atomic::AtomicUsize);

impl Selector for ShakySelector {
    fn pick(&self, _ask: &Ask, _candidates: &dyn Candidates) -> Option<usize> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(number.is_multiple_of(2), "shaky");
        Some(0)
    }
}

#[test]
fn a_panic_in_one_sessions_handling_ends_that_session_alone() {
    let mut registry = Registry::with_builtins();
    registry.balancer("shaky", |_| Ok(Shaky));
    let running = Running::start("shaky", registry);
    for _ in 0..10 {
        let mut good = running.client();
        let mut bad = TcpStream::connect(running.address).unwrap();
        bad.set_read_timeout(Some(PATIENCE)).unwrap();
        let error = bad.read(&mut [0; 1]).expect_err("a reset, not an end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        exchange(&mut good).unwrap();
    }
    assert_eq!(lock(&running.plant).ended(Cause::Panic), 10);
    eventually("no session is left", || lock(&running.plant).sessions() == 0);
    running.stop();
}

#[test]
fn ten_long_connections_are_never_spread_worse_than_six_to_four() {
    let running = Running::start("round_robin", Registry::with_builtins());
    for trial in 0..100 {
        let clients: Vec<TcpStream> = (0..10).map(|_| running.client()).collect();
        let loads = lock(&running.plant).sessions_by_worker();
        assert_eq!(loads.iter().sum::<usize>(), 10, "trial {trial}: {loads:?}");
        assert!(loads.iter().all(|&load| (4..=6).contains(&load)), "trial {trial}: {loads:?}");
        drop(clients);
        eventually("no session is left", || lock(&running.plant).sessions() == 0);
    }
    running.stop();
}
