//! Whether every processor runs. Where the machine is a guest, its host may stop one of them for a
//! second or more: what ran there stands still, and nobody there is to blame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::pause;

/// From one beat to the next.
const EVERY: Duration = Duration::from_millis(5);

/// A processor without a beat for so long stands. A busy one is later than it should be, but not so late.
const LATE: Duration = Duration::from_millis(100);

/// A thread on each processor that this process may use, which says again and again that it runs.
#[derive(Debug)]
pub struct Beats {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    /// The last beat of each processor, in milliseconds since the epoch.
    last: Vec<AtomicU64>,
    over: AtomicBool,
}

impl Beats {
    /// Begins.
    pub fn start() -> Self {
        let allowed = sched_getaffinity(None).unwrap();
        let processors: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect();
        let last = processors.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = Shared { epoch: Instant::now(), last, over: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let beat = |(index, processor): (usize, usize)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.beat(index, processor))
        };
        let threads = processors.into_iter().enumerate().map(beat).collect();
        Self { shared, threads }
    }

    /// True exactly when some processor stands.
    pub fn one_stands(&self) -> bool {
        self.shared.one_stands(self.shared.epoch.elapsed())
    }
}

impl Shared {
    fn beat(&self, index: usize, processor: usize) {
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None, &only).unwrap();
        while !self.over.load(Ordering::SeqCst) {
            self.last[index].store(milliseconds(self.epoch.elapsed()), Ordering::SeqCst);
            pause(EVERY);
        }
    }

    fn one_stands(&self, now: Duration) -> bool {
        let stands =
            |last: &AtomicU64| milliseconds(now) > last.load(Ordering::SeqCst) + milliseconds(LATE);
        self.last.iter().any(stands)
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

#[test]
fn a_processor_without_a_beat_stands() {
    let last = [100, 150].map(AtomicU64::new).into();
    let shared = Shared { epoch: Instant::now(), last, over: AtomicBool::new(false) };
    assert!(!shared.one_stands(Duration::from_millis(200)));
    assert!(shared.one_stands(Duration::from_millis(201)));
}
