//! Many reloads under load, each of which changes what runs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::quiet;
use super::support::{Backend, Forebay, Pattern, Peer, SOON, comes_true, eventually, pause};

/// Reloads of the run.
const RELOADS: usize = 1000;

/// New connections a second over the whole run, at the least.
const RATE: f64 = 500.0;

/// What memory may have grown by.
const GROWTH: u64 = 1 << 20;

/// Threads of clients that come and go.
const VISITORS: usize = 8;

/// New connections from one reload to the next, at the least: 500 a second and more at the 50 reloads
/// a second that two quiet processors manage. A busy machine takes longer for as many.
const VISITS: usize = 10;

/// Transfers at a time, and how many reloads each lives through at the least.
const TRANSFERS: usize = 20;
const LIVED_THROUGH: u64 = 10;

/// The file of the `number`th reload: a backend, a listener, a limit, a weight and a policy change in
/// turn, and each differs from the one before.
fn file(number: usize, backends: &[Backend]) -> String {
    let step = |every: usize| (number + every) / 5;
    let third = if step(4).is_multiple_of(2) { "" } else { "# " };
    let listener = match step(3).is_multiple_of(2) {
        true => "[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n",
        false => "",
    };
    let (limit, weight) = (5000 + step(2), 1 + step(1) % 7);
    let policies = ["round_robin", "least_connections", "random_two"];
    let policy = policies[step(0) % policies.len()];
    quiet(&format!(
        "[runtime]\nworkers = 2\n\
         [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\nmax_connections = {limit}\n\
         {listener}\
         [pool.app]\nbalance = \"{policy}\"\n\
         [[pool.app.backends]]\naddress = \"{}\"\nweight = {weight}\n\
         [[pool.app.backends]]\naddress = \"{}\"\n\
         {third}[[pool.app.backends]]\n{third}address = \"{}\"\n",
        backends[0].address(),
        backends[1].address(),
        backends[2].address(),
    ))
}

#[test]
fn reloads_under_load_fail_nobody_and_leave_nothing_behind() {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::echo()).collect();
    let forebay = Forebay::start(&file(0, &backends));
    let load = Load::new(forebay.address("web"));
    // What a run allocates once is there before it is measured.
    load.run(&forebay, || (1..=10).for_each(|number| load.reload(&forebay, number, &backends)));
    let (descriptors, memory) = (forebay.descriptors(), forebay.resident());
    let began = Instant::now();
    let before = load.served.load(Ordering::SeqCst);
    let mut took = Duration::ZERO;
    load.run(&forebay, || {
        (11..=10 + RELOADS).for_each(|number| load.reload(&forebay, number, &backends));
        took = began.elapsed();
    });
    let served = load.served.load(Ordering::SeqCst) - before;
    let rate = served as f64 / began.elapsed().as_secs_f64();
    assert!(served >= RELOADS * VISITS, "only {served} new connections");
    println!("{RELOADS} reloads in {took:?}, {rate:.0} new connections a second, {load:?}");
    assert!(rate >= RATE, "only {rate:.0} new connections a second");
    for (key, transferred) in load.transferred.iter().enumerate() {
        let transferred = transferred.load(Ordering::SeqCst);
        assert!(transferred > 0, "transfer {key} did not live through ten reloads");
    }
    let status = forebay.status();
    assert_eq!(status.generation(), 11 + RELOADS as u64);
    eventually(SOON, || {
        // An address that was removed goes on for 900 ms.
        let more = i64::from(status.address("more").is_some()) * 2;
        let listening = 2 + more;
        let grown = forebay.descriptors() as i64 - descriptors as i64;
        grown <= listening
    });
    let grown = || forebay.resident().saturating_sub(memory);
    let settled = comes_true(SOON, || grown() <= GROWTH);
    assert!(settled, "{} bytes more than before", grown());
    for number in 2..=11 + RELOADS as u64 {
        forebay.expect_said(&format!("reloaded generation={number} "));
    }
}

/// Clients that come and go, and transfers that last.
#[derive(Debug)]
struct Load {
    address: SocketAddr,
    /// Reloads that have been made.
    reloads: AtomicU64,
    served: AtomicUsize,
    /// Of each transfer, how often it lived through ten reloads and ended whole.
    transferred: [AtomicUsize; TRANSFERS],
}

impl Load {
    fn new(address: SocketAddr) -> Self {
        let (reloads, served) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { address, reloads, served, transferred: Default::default() }
    }

    fn reload(&self, forebay: &Forebay, number: usize, backends: &[Backend]) {
        let enough = self.served.load(Ordering::SeqCst) + VISITS;
        forebay.reload(&file(number, backends)).expect_applied();
        eventually(SOON, || self.served.load(Ordering::SeqCst) >= enough);
        self.reloads.fetch_add(1, Ordering::SeqCst);
    }

    /// Does `work` under load, and panics if anybody fails.
    fn run(&self, forebay: &Forebay, work: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..VISITORS {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let mut client = Peer::connect(self.address);
                        client.ask(b"hello").expect("served");
                        // No port is left in TIME_WAIT, of which a long run would make too many.
                        client.reset();
                        self.served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            let transfers: Vec<_> = (0..TRANSFERS)
                .map(|key| {
                    let stop = &stop;
                    scope.spawn(move || {
                        while !stop.load(Ordering::SeqCst) {
                            self.transfer(key, stop);
                        }
                    })
                })
                .collect();
            work();
            stop.store(true, Ordering::SeqCst);
            drop(transfers);
        });
        assert!(forebay.sockets() > 0, "it is gone");
    }

    /// Bytes that go round until ten reloads have gone by, and come back as they went.
    fn transfer(&self, key: usize, stop: &AtomicBool) {
        let until = self.reloads.load(Ordering::SeqCst) + LIVED_THROUGH;
        let (pattern, mut client) = (Pattern::new(key as u64), Peer::connect(self.address));
        let mut position = 0;
        while self.reloads.load(Ordering::SeqCst) < until && !stop.load(Ordering::SeqCst) {
            let piece = pattern.piece(position, 8 * 1024);
            client.send(piece);
            client.expect(piece);
            position += piece.len() as u64;
            pause(Duration::from_millis(20));
        }
        client.finish();
        client.expect_eof();
        if !stop.load(Ordering::SeqCst) {
            self.transferred[key].fetch_add(1, Ordering::SeqCst);
        }
    }
}
