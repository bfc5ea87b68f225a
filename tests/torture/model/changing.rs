//! The promises while everything in the file changes all the time, also the number of workers:
//! sessions go from one worker to another in the middle of their scripts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::driver::Run;
use super::network::Network;
use super::slot::Slot;
use super::{FEW, ended};
use crate::alone;
use crate::proxy::Proxy;
use crate::rest::Rest;
use crate::row::Verdict;
use crate::support::{Forebay, SOON, Start, comes_true, eventually, pause};

/// From one reload to the next.
const EVERY: Duration = Duration::from_millis(50);

/// Workers, one after the other.
const WORKERS: [usize; 4] = [1, 2, 4, 1];

/// Memory that may stay of buffers of up to 1 MiB and of a few snapshots, however many reloads there are.
const KEPT: u64 = 16 << 20;

/// Sockets that the program keeps for an address: one for each worker that there ever was.
const MOST_WORKERS: usize = 4;

#[test]
fn the_promises_hold_through_reloads_with_splice_forced() {
    let _alone = alone();
    play("always", Run::from_environment(FEW));
}

#[test]
fn the_promises_hold_through_reloads_with_splice_off() {
    let _alone = alone();
    play("never", Run::from_environment(FEW));
}

#[test]
fn the_promises_hold_through_reloads_by_default() {
    let _alone = alone();
    play("auto", Run::from_environment(FEW));
}

/// Plays so many scripts for a row of the scorecard; it panics if a promise is broken.
pub fn play_row(scripts: u64) -> Verdict {
    let run = Run::from_environment(scripts);
    play("auto", run);
    Verdict { figure: format!("0 of {} scripts", run.end - run.first), met: true }
}

/// Plays the scripts while the program reloads.
fn play(splice: &str, run: Run) {
    let network = Network::new();
    let mut backends = Vec::new();
    let mut slots = network.slots(|_, backend| {
        backends.push(backend);
        backend
    });
    let mut forebay = network.start(Start::new(file(0, splice, &backends)).sessions());
    front(&mut slots, &forebay);
    let reload = |number| forebay.reload(&file(number, splice, &backends)).expect_applied();
    // As many sockets as there will ever be.
    let first = 2 * WORKERS.len();
    (1..=first).for_each(|number| drop(reload(number)));
    let before = settled(&forebay, &backends);
    let rest = Rest::of(&forebay).with_room(KEPT);
    let over = AtomicBool::new(false);
    let (outcome, reloads) = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut number = first;
            while !over.load(Ordering::SeqCst) || !number.is_multiple_of(first) {
                let began = Instant::now();
                number += 1;
                reload(number);
                pause(EVERY.saturating_sub(began.elapsed()));
            }
            number
        });
        let outcome = network.play(run, slots);
        over.store(true, Ordering::SeqCst);
        (outcome, reloading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    println!("{reloads} reloads");
    outcome.expect_clean(run);
    let most = before + 2 * usize::try_from(outcome.untold).unwrap();
    assert!(
        comes_true(SOON, || settled(&forebay, &backends) <= most),
        "{before} sockets before, {} after",
        forebay.sockets()
    );
    let sessions = ended(|| forebay.sessions(), run, &outcome);
    let fault = sessions.iter().find(|session| session.reason.starts_with("panic"));
    assert!(fault.is_none() && !forebay.said().contains("ERROR"), "{fault:?}");
    rest.expect_back(&forebay, "reloads", usize::try_from(outcome.untold).unwrap());
    Proxy::stop(&mut forebay);
}

/// Sockets without those of the listener that comes and goes, once each address has all of its own.
fn settled(forebay: &Forebay, backends: &[SocketAddr]) -> usize {
    eventually(SOON, || forebay.sockets() >= backends.len() * MOST_WORKERS);
    forebay.sockets()
}

fn front(slots: &mut [Slot], forebay: &Forebay) {
    for (number, slot) in slots.iter_mut().enumerate() {
        slot.front = forebay.address(&format!("s{number}"));
    }
}

/// The file of the `number`th reload: workers, buffers, weights, policies and limits change, and a
/// listener comes and goes.
fn file(number: usize, splice: &str, backends: &[SocketAddr]) -> String {
    let workers = WORKERS[number % WORKERS.len()];
    let policy = ["round_robin", "least_connections", "random_two"][number % 3];
    let (weight, limit) = (1 + number % 5, 500 + number % 7);
    let buffer = [4, 64, 1024][number % 3];
    let mut text = format!(
        "[reload]\nwatch = \"off\"\n[shutdown]\ntimeout = \"1s\"\n[limits]\nbuffer = \"{buffer}KiB\"\n\
         [runtime]\nworkers = {workers}\nsplice = \"{splice}\"\n"
    );
    if number % 2 == 1 {
        text.push_str("[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"s0\"\n");
    }
    for (slot, backend) in backends.iter().enumerate() {
        let _ = write!(
            text,
            "[listener.s{slot}]\naddress = \"127.0.0.1:0\"\npool = \"s{slot}\"\n\
             max_connections = {limit}\n\
             [pool.s{slot}]\nbalance = \"{policy}\"\n\
             [[pool.s{slot}.backends]]\naddress = \"{backend}\"\nweight = {weight}\n"
        );
    }
    text
}
