//! What a reload does not start anew: counters, limits, rates, and whose turn it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::support::{Backend, Counting, End, Forebay, Peer, eventually, pause};
use super::{served_by, simple, visit};

/// A different file each time, by something that touches nobody.
fn changed(number: u32, backends: &[&Backend], listener: &str, pool: &str) -> String {
    let shutdown = format!("[shutdown]\ntimeout = \"{}s\"\n", 30 + number);
    shutdown + &simple(backends, listener, pool)
}

#[test]
fn round_robin_goes_on_where_it_was() {
    let backends: Vec<Backend> = ["a", "b", "c"].map(Backend::naming).into();
    let all: Vec<&Backend> = backends.iter().collect();
    let forebay = Forebay::start(&changed(0, &all, "", ""));
    let first: Vec<String> = (0..3).map(|_| served_by(&forebay)).collect();
    for number in 1..=30 {
        forebay.reload(&changed(number, &all, "", "")).expect_applied();
        let turn = &first[(number as usize - 1) % 3];
        assert_eq!(served_by(&forebay), *turn, "after reload {number}");
    }
}

#[test]
fn limits_and_rates_remember_what_they_counted() {
    let a = Backend::naming("a");
    let listener = "over = \"reject\"\nmax_connections = 3\nrate = \"6/h\"\n\
                    per_source = { rate = \"5/h\" }";
    let forebay = Forebay::start(&changed(0, &[&a], listener, ""));
    let mut held: Vec<Peer> = (0..3).map(|_| visit(&forebay).0).collect();
    for number in 1..=10 {
        forebay.reload(&changed(number, &[&a], listener, "")).expect_applied();
    }
    Peer::expect_rejection(forebay.address("web"));
    // Two more by the rate of the source, and then none, whatever is reloaded.
    for number in 11..=12 {
        held.remove(0).reset();
        eventually(Duration::from_secs(5), || a.live() == 2);
        forebay.reload(&changed(number, &[&a], listener, "")).expect_applied();
        held.push(visit(&forebay).0);
    }
    held.remove(0).reset();
    eventually(Duration::from_secs(5), || a.live() == 2);
    forebay.reload(&changed(13, &[&a], listener, "")).expect_applied();
    Peer::expect_rejection(forebay.address("web"));
}

/// Does `work` in four threads over and over, while a reload comes every 100 ms, thirty in all.
fn reload_under_load(forebay: &Forebay, file: impl Fn(u32) -> String, work: impl Fn() + Sync) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    work();
                }
            });
        }
        for number in 1..=30 {
            pause(Duration::from_millis(100));
            forebay.reload(&file(number)).expect_applied();
        }
        stop.store(true, SeqCst);
    });
}

#[test]
fn turns_go_on_under_load_while_a_reload_comes_every_100_ms() {
    let backends: Vec<Backend> = ["a", "b", "c"].map(Backend::naming).into();
    let all: Vec<&Backend> = backends.iter().collect();
    let file = |number| changed(number, &all, "", "");
    let forebay = Forebay::start(&file(0));
    reload_under_load(&forebay, file, || visit(&forebay).0.reset());
    let served: Vec<usize> = backends.iter().map(Backend::accepted).collect();
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(*least > 100, "{served:?}");
    // Positions that started anew would give the first backend two more than the last in three reloads.
    // Turns that workers take by the old list while a reload is made are forgotten, but of any backend.
    assert!(most - least < 10, "{served:?}");
}

#[test]
fn limits_and_rates_hold_under_load_while_a_reload_comes_every_100_ms() {
    const MOST: usize = 5;
    let (capped, slow) = (Counting::start(), Backend::naming("slow"));
    let file = |number| {
        let capped = capped.address();
        super::quiet(&format!(
            "[shutdown]\ntimeout = \"{}s\"\n\
             [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"capped\"\n\
             [pool.capped]\nbackends = [\"{capped}\"]\nmax_connections = {MOST}\n\
             [listener.slow]\naddress = \"127.0.0.1:0\"\npool = \"slow\"\nover = \"reject\"\n\
             rate = \"5/s\"\n\
             [pool.slow]\nbackends = [\"{}\"]\n",
            30 + number,
            slow.address()
        ))
    };
    let forebay = Forebay::start(&file(0));
    let (web, slow) = (forebay.address("web"), forebay.address("slow"));
    let (began, by_rate) = (Instant::now(), AtomicUsize::new(0));
    let held = |address| match Peer::try_connect(address).map(|mut it| (it.read_some(1), it)) {
        Ok((Ok(_), client)) => Some(client),
        Ok((Err(end), _)) => {
            assert_eq!(end, End::Reset, "a rejected client is reset");
            None
        }
        // It may learn of its rejection while it still connects.
        Err(_) => None,
    };
    reload_under_load(&forebay, file, || {
        let clients = [held(web), held(web), held(slow)];
        by_rate.fetch_add(usize::from(clients[2].is_some()), SeqCst);
        clients.into_iter().flatten().for_each(Peer::reset);
    });
    assert_eq!(capped.peak(), MOST);
    let by_rate = by_rate.load(SeqCst);
    // What a second allows at once, and then as much a second; anew at each reload it would be 150.
    let allowed = 5.0 * (1.0 + began.elapsed().as_secs_f64());
    assert!(by_rate > 5 && by_rate as f64 <= allowed, "{by_rate} of {allowed}");
}
