//! C: all clients come back at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, trip};
use crate::proxy::{Kind, Proxy};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::support::{Forebay, Peer, SOON, Start, comes_true, eventually};

pub const ROWS: &[Row] = &[Row {
    name: "C6",
    what: "9,000 sessions with 3 backends (900 at every commit): one backend dies and all clients are reset and come back at once; \
           the backend does once half of them are served, with slow start",
    should: "attempts at most 1.2 times the clients' connects (and 10 a second); no backend gets more than twice its share; all are served \
             within 10 s",
    when: When::Commit,
    peers: false,
    play: c6,
}];

#[test]
fn c6_a_storm_of_clients_that_come_back_hits_no_backend_twice_as_hard() {
    must_hold("C6");
}

const BACKENDS: usize = 3;

/// The longest that all may take to be served.
const RECOVERED: Duration = Duration::from_secs(10);

fn c6(_: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let clients = if length == Length::Long { 9000 } else { 900 };
    let mut crowds: Vec<Crowd> = (0..BACKENDS).map(|_| Crowd::start()).collect();
    let addresses: Vec<SocketAddr> = crowds.iter().map(Crowd::address).collect();
    let mut forebay = Start::new(file(&addresses)).sessions().start();
    let (before, _) = come(&forebay, clients, RECOVERED);
    let served_before = before.len();
    let victim = crowds.remove(0);
    let address = victim.address();
    drop(victim);
    // A reset at each client's end: it comes back at once.
    before.iter().for_each(Peer::close_with_reset);
    drop(before);
    eventually(SOON, || crowds.iter().all(|crowd| crowd.live() == 0));
    eventually(SOON, || forebay.sessions().len() == served_before);
    let steady: Vec<usize> = crowds.iter().map(Crowd::accepted).collect();
    let began = Instant::now();
    let got = || crowds.iter().zip(&steady).map(|(crowd, before)| crowd.accepted() - before);
    let half = || got().sum::<usize>() >= clients / 2;
    let ((after, failed), back) = std::thread::scope(|scope| {
        let back = scope.spawn(|| comes_true(SOON, half).then(|| Crowd::at(address)));
        (come(&forebay, clients, RECOVERED), back.join().unwrap())
    });
    let took = began.elapsed();
    let most = got().chain(back.iter().map(Crowd::accepted)).max().unwrap_or_default();
    let served = after.len();
    drop(after);
    let all = || forebay.sessions().len() >= served_before + served + failed;
    comes_true(SOON, all);
    let attempts: u64 = forebay.sessions().iter().skip(served_before).map(|it| it.attempts).sum();
    Proxy::stop(&mut forebay);
    let connects = served + failed;
    let bound = connects as f64 * 1.2 + took.as_secs_f64() * 10.0 + 10.0;
    let share = clients / BACKENDS;
    Verdict {
        figure: format!(
            "{served} of {clients} served in {:.1} s; {attempts} attempts for {connects} connects; at most {most} at a backend, its \
             share is {share}",
            took.as_secs_f64()
        ),
        met: served_before == clients
            && served == clients
            && took <= RECOVERED
            && attempts as f64 <= bound
            && most <= 2 * share,
    }
}

fn file(backends: &[SocketAddr]) -> String {
    Forebay::simple(
        backends,
        "slow_start = \"30s\"\nprobe = { interval = \"100ms\", fast_interval = \"50ms\" }",
    )
}

/// Clients that come at once and try again until they are served; how often one was not.
fn come(forebay: &Forebay, clients: usize, within: Duration) -> (Vec<Peer>, usize) {
    const THREADS: usize = 8;
    let (address, until) = (forebay.address("web"), Instant::now() + within);
    let failed = AtomicUsize::new(0);
    let one = || {
        while Instant::now() < until {
            match Peer::try_connect(address) {
                Ok(peer) if trip(&peer).is_some() => return Some(peer),
                Ok(_) => drop(failed.fetch_add(1, Ordering::SeqCst)),
                // It did not reach the proxy.
                Err(_) => {}
            }
        }
        None
    };
    let all = std::thread::scope(|scope| {
        let several = |thread| (thread..clients).step_by(THREADS).filter_map(|_| one());
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || several(thread).collect::<Vec<Peer>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (all, failed.load(Ordering::SeqCst))
}
