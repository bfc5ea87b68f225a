//! H: what it costs to measure many backends.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::crowd::load;
use crate::proxy::{Kind, Proxy};
use crate::rest::Rest;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::support::{SOON, Served, Start, comes_true, pause};

pub const ROWS: &[Row] = &[Row {
    name: "H3",
    what: "10,000 backends (500 at every commit), each probed by tcp every 5 s, for 20 s (1 s)",
    should: "each is probed at its interval; in the long run under 10 % of one CPU (a debug build: not judged)",
    when: When::Commit,
    peers: false,
    play: h3,
}];

#[test]
fn h3_thousands_of_backends_are_probed_for_next_to_nothing() {
    must_hold("H3");
}

const INTERVAL: Duration = Duration::from_secs(5);

fn h3(_: Kind, length: Length) -> Verdict {
    let (backends, time) = match length {
        Length::Long => (10_000, Duration::from_secs(20)),
        Length::Short => (500, Duration::from_secs(1)),
    };
    // One socket behind all of them: every address of 127.0.0.0/8 is here.
    let served: Served<AtomicUsize> = Served::at("0.0.0.0:0".parse().unwrap(), accept_all);
    let probes = || served.counts().load(Ordering::SeqCst);
    let mut forebay = Start::new(file(backends, served.address())).start();
    // The first of each are spread over a second.
    let first = comes_true(SOON, || probes() >= backends);
    pause(INTERVAL / 5);
    let rest = Rest::of(&forebay);
    let (before, began) = (probes(), Instant::now());
    let used = load(&Proxy::processes(&forebay), time);
    let took = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let rounds = (probes() - before) as f64 / backends as f64;
    rest.expect_back(&forebay, "H3", 0);
    Proxy::stop(&mut forebay);
    let long = length == Length::Long;
    let cheap = !long || cfg!(debug_assertions) || used < 10.0;
    // In a short time an interval may begin or not.
    let regular = !long || (rounds / took - 1.0).abs() < 0.1;
    Verdict {
        figure: format!("{rounds:.2} probes of each in {took:.2} intervals; {used:.1} % CPU"),
        met: first && cheap && regular,
    }
}

fn accept_all(listener: TcpListener, count: &AtomicUsize, stop: &AtomicBool) {
    listener.set_nonblocking(false).unwrap();
    let woken = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                pause(Duration::from_millis(20));
            }
            drop(std::net::TcpStream::connect(woken));
        });
        while !stop.load(Ordering::SeqCst) {
            drop(listener.accept());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
}

fn file(backends: usize, address: SocketAddr) -> String {
    let mut text =
        "[reload]\nwatch = \"off\"\n[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
                    [pool.app]\nprobe = { interval = \"5s\" }\nbackends = ["
            .to_owned();
    for number in 0..backends {
        let (high, low) = (1 + number / 250, 1 + number % 250);
        write!(text, "\"127.1.{high}.{low}:{}\", ", address.port()).unwrap();
    }
    text + "]\n"
}
