//! The promises of a limit: exact, no wake lost, settable live.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::*;

/// Far longer than any scheduling delay: only a lost wake takes so long.
const LOST: Duration = Duration::from_secs(20);

/// Remembers who was woken, in order, and lets workers sleep until they are.
#[derive(Default)]
struct Sleepers {
    woken: Mutex<VecDeque<usize>>,
    changed: Condvar,
}

impl Wake for Sleepers {
    fn wake(&self, worker: usize) {
        self.woken.lock().unwrap().push_back(worker);
        self.changed.notify_all();
    }
}

impl Sleepers {
    fn taken(&self) -> Vec<usize> {
        self.woken.lock().unwrap().drain(..).collect()
    }

    /// Sleeps until `worker` is woken; false if that never comes.
    fn sleep(&self, worker: usize) -> bool {
        let woken = self.woken.lock().unwrap();
        let (mut woken, timeout) =
            self.changed.wait_timeout_while(woken, LOST, |woken| !woken.contains(&worker)).unwrap();
        woken.retain(|&other| other != worker);
        !timeout.timed_out()
    }
}

fn limit(max: u32) -> (Arc<Limit>, Arc<Sleepers>) {
    let sleepers = Arc::new(Sleepers::default());
    (Arc::new(Limit::new(Some(max), sleepers.clone())), sleepers)
}

#[test]
fn a_permit_is_one_pointer() {
    assert_eq!(size_of::<Permit>(), 8);
    assert_eq!(size_of::<Option<Permit>>(), 8);
}

#[test]
fn admits_exactly_max_and_counts_refusals() {
    let (limit, _) = limit(2);
    let first = limit.acquire();
    let second = limit.acquire();
    assert!(first.is_some() && second.is_some());
    assert!(limit.acquire().is_none() && limit.acquire().is_none());
    assert_eq!((limit.current(), limit.refused()), (2, 2));
    drop(first);
    assert!(limit.acquire().is_some());
    assert_eq!(Limit::new(None, Arc::new(NoWaiters)).max(), u32::MAX);
}

#[test]
fn zero_admits_none() {
    let (limit, _) = limit(0);
    assert!(limit.acquire().is_none());
}

#[test]
fn a_lowered_limit_cuts_none_and_admits_none_until_it_fits() {
    let (limit, _) = limit(5);
    let mut permits: Vec<_> = (0..5).map_while(|_| limit.acquire()).collect();
    limit.set_max(Some(2));
    assert_eq!((limit.max(), limit.current()), (2, 5));
    while permits.len() > 2 {
        assert!(limit.acquire().is_none());
        permits.pop();
    }
    assert!(limit.acquire().is_none());
    permits.pop();
    assert!(limit.acquire().is_some());
}

#[test]
fn a_raised_limit_wakes_as_many_as_it_has_room_for() {
    let (limit, sleepers) = limit(1);
    let _held = limit.acquire();
    for worker in [3, 70, 255] {
        assert!(limit.acquire_or_wait(worker).is_none());
    }
    limit.set_max(Some(3));
    assert_eq!(sleepers.taken(), [3, 70]);
    limit.set_max(None);
    assert_eq!(sleepers.taken(), [255]);
}

#[test]
fn a_release_wakes_one_and_all_get_their_turn() {
    let (limit, sleepers) = limit(1);
    let mut held = limit.acquire();
    let mut order = Vec::new();
    for _ in 0..8 {
        for worker in [0, 5, 64, 200] {
            assert!(limit.acquire_or_wait(worker).is_none());
        }
        drop(held.take());
        order.extend(sleepers.taken());
        held = limit.acquire();
    }
    assert_eq!(order, [0, 5, 64, 200, 0, 5, 64, 200]);
}

#[test]
fn a_permit_without_use_wakes_the_next() {
    let (limit, sleepers) = limit(1);
    let held = limit.acquire();
    assert!(limit.acquire_or_wait(1).is_none() && limit.acquire_or_wait(2).is_none());
    drop(held);
    assert_eq!(sleepers.taken(), [1]);
    let unused = limit.acquire_or_wait(1);
    assert!(unused.is_some());
    drop(unused);
    assert_eq!(sleepers.taken(), [2]);
}

#[test]
fn a_wake_without_use_is_passed_on() {
    let (limit, sleepers) = limit(1);
    let held = limit.acquire();
    assert!((1..=3).all(|worker| limit.acquire_or_wait(worker).is_none()));
    limit.pass_on();
    assert_eq!(sleepers.taken(), [0; 0], "there is no room to pass on");
    drop(held);
    assert_eq!(sleepers.taken(), [1]);
    limit.pass_on();
    assert_eq!(sleepers.taken(), [2]);
    limit.stop_waiting(3);
    limit.pass_on();
    assert_eq!(sleepers.taken(), [0; 0], "worker 3 waits no more");
}

/// An earlier bit speaks for another listener of the same worker, which is still paused.
#[test]
fn a_late_success_takes_back_its_own_bit_only() {
    let (limit, _) = limit(2);
    let own = limit.wait_and_retry(3);
    assert!(own.is_some());
    assert_eq!(limit.waiting[0].load(SeqCst), 0);
    limit.waiting[0].store(1 << 3, SeqCst);
    let second = limit.wait_and_retry(3);
    assert!(second.is_some());
    assert_eq!(limit.waiting[0].load(SeqCst), 1 << 3);
}

#[test]
fn the_last_worker_has_a_bit_too() {
    let (limit, sleepers) = limit(1);
    let held = limit.acquire_or_wait(0);
    assert!(limit.acquire_or_wait(WORKERS_MAX - 1).is_none());
    drop(held);
    assert_eq!(sleepers.taken(), [WORKERS_MAX - 1]);
}

#[test]
fn racing_threads_never_exceed_max_and_reach_it() {
    const MAX: u32 = 3;
    let (limit, _) = limit(MAX);
    let inside = AtomicU32::new(0);
    let peak = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let Some(permit) = limit.acquire() else { continue };
                    peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(peak.load(SeqCst), MAX);
    assert_eq!(limit.current(), 0);
}

/// Every thread sleeps whenever it is refused, and nothing but a wake gets it on: one lost wake and
/// the test stands still.
#[test]
fn no_wake_is_lost_in_a_hundred_thousand_cycles() {
    const THREADS: usize = 5;
    const CYCLES: u32 = 20_000;
    for max in [1, 2] {
        let (limit, sleepers) = limit(max);
        let (inside, peak) = (AtomicU32::new(0), AtomicU32::new(0));
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for worker in 0..THREADS {
                let (limit, sleepers, inside, peak, start) =
                    (&limit, &sleepers, &inside, &peak, &start);
                scope.spawn(move || {
                    start.wait();
                    for cycle in 0..CYCLES / max {
                        let permit = loop {
                            match limit.acquire_or_wait(worker * 60) {
                                Some(permit) => break permit,
                                None => assert!(sleepers.sleep(worker * 60), "a wake was lost"),
                            }
                        };
                        peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        if cycle % 16 == 0 {
                            thread::yield_now();
                        }
                        inside.fetch_sub(1, SeqCst);
                        drop(permit);
                    }
                    // Bits of its own that are left over are wakes that others need.
                    limit.stop_waiting(worker * 60);
                });
            }
        });
        assert!(peak.load(SeqCst) <= max);
        assert_eq!(limit.current(), 0);
    }
}

/// Waits for another thread to come to `round`.
fn follow(word: &AtomicU32, round: u32) {
    for spins in 1_u64.. {
        if word.load(SeqCst) >= round {
            break;
        }
        // With fewer free cores than threads only the scheduler gets the other one on.
        if spins % 1_000 == 0 {
            thread::yield_now();
        }
    }
}

/// There is one release only, while the other thread is about to wait: if the two miss each other no
/// later release makes up for it. The spins move the one along the other.
#[test]
fn a_release_and_a_waiter_never_miss_each_other() {
    const ROUNDS: u32 = 100_000;
    let (limit, sleepers) = limit(1);
    let (held, served) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            for round in 1..=ROUNDS {
                follow(&held, round);
                while limit.acquire_or_wait(0).is_none() {
                    if !sleepers.sleep(0) {
                        served.store(u32::MAX, SeqCst);
                        return false;
                    }
                }
                served.store(round, SeqCst);
            }
            true
        });
        for round in 1..=ROUNDS {
            let permit = limit.acquire();
            held.store(round, SeqCst);
            (0..round % 200).for_each(|_| std::hint::spin_loop());
            drop(permit);
            follow(&served, round);
        }
        assert!(waiter.join().unwrap(), "a wake was lost");
    });
}

/// Permits are taken by one thread and given back by another, while a third moves the limit.
#[test]
fn waiters_are_served_when_others_release_and_the_limit_moves() {
    let (limit, sleepers) = limit(4);
    let handed: Mutex<VecDeque<Permit>> = Mutex::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|worker| {
                let (limit, sleepers, handed) = (&limit, &sleepers, &handed);
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        let permit = loop {
                            match limit.acquire_or_wait(worker) {
                                Some(permit) => break permit,
                                None => assert!(sleepers.sleep(worker), "a wake was lost"),
                            }
                        };
                        handed.lock().unwrap().push_back(permit);
                    }
                    limit.stop_waiting(worker);
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let one = handed.lock().unwrap().pop_front();
                if one.is_none() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            for max in (0..=4).cycle() {
                if done.load(SeqCst) {
                    break;
                }
                limit.set_max(Some(max));
                thread::yield_now();
            }
        });
        let results: Vec<_> = takers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, SeqCst);
        assert!(results.iter().all(Result::is_ok), "a wake was lost");
    });
    handed.lock().unwrap().clear();
    assert_eq!(limit.current(), 0);
}
