//! Plays many scripts at once: a few threads, each with its slots and one poll(2).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::beat::Beats;
use super::end::Moment;
use super::held::Left;
use super::network::Counters;
use super::oracle::{Kind, Violation};
use super::script::Script;
use super::slot::{Place, Ready, Slot};

/// Driver threads.
pub const THREADS: usize = 2;

/// Scripts in flight in each.
pub const SLOTS: usize = 32;

/// The driver's longest wait, and half of the most that one turn counts on its clock: while the machine
/// keeps the driver waiting, or one of its processors stands, nobody is blamed.
const TURN: Duration = Duration::from_millis(5);

/// `Run::enough` where none is expected.
pub const ENOUGH: usize = 10;

/// Which scripts to play.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Script `i` derives from `seed + i`.
    pub seed: u64,
    /// The first script.
    pub first: u64,
    /// One after the last script.
    pub end: u64,
    /// Broken promises after which no new script is begun.
    pub enough: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Scripts played to their end.
    pub played: u64,
    /// Scripts at whose end the kernel itself did not tell of a reset.
    pub untold: u64,
    /// Each broken promise with the number of its script.
    pub violations: Vec<(u64, Violation)>,
    /// What the kernel counted meanwhile.
    pub counted: Counters,
}

impl Run {
    /// As the environment says: FOREBAY_SCRIPTS, MODEL_SEED, MODEL_ONLY.
    pub fn from_environment(scripts: u64) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("MODEL_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
        let (first, end) = match number("MODEL_ONLY") {
            Some(only) => (only, only + 1),
            None => (0, number("FOREBAY_SCRIPTS").unwrap_or(scripts)),
        };
        Self { seed, first, end, enough: ENOUGH }
    }

    /// Plays them in these slots.
    pub fn play(self, slots: Vec<Slot>) -> Outcome {
        let next = AtomicU64::new(self.first);
        let outcome = Mutex::new(Outcome::default());
        let beats = Beats::start();
        let share = slots.len().div_ceil(THREADS);
        let mut slots = slots.into_iter();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let mine: Vec<Slot> = slots.by_ref().take(share).collect();
                scope.spawn(|| self.drive(mine, &next, &outcome, &beats));
            }
        });
        outcome.into_inner().unwrap()
    }

    fn drive(
        self,
        mut slots: Vec<Slot>,
        next: &AtomicU64,
        outcome: &Mutex<Outcome>,
        beats: &Beats,
    ) {
        let (mut now, mut turn) = (Moment::from_millis(1), Instant::now());
        let mut left = Left::default();
        loop {
            let ready = wait(&slots, now);
            if !beats.one_stands() {
                now += turn.elapsed().min(TURN * 2);
            }
            turn = Instant::now();
            for (slot, ready) in slots.iter_mut().zip(ready) {
                if let Some(played) = slot.advance(now, ready) {
                    left.add(now, &played);
                    let mut outcome = outcome.lock().unwrap();
                    outcome.played += 1;
                    outcome.note(played.number, played.violations);
                }
                if slot.is_free() && outcome.lock().unwrap().violations.len() < self.enough {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number < self.end {
                        slot.begin(Script::new(self.seed, number), self.seed);
                    }
                }
            }
            for (number, violation) in left.held(now) {
                outcome.lock().unwrap().note(number, vec![violation]);
            }
            if slots.iter().all(Slot::is_free) && left.is_empty() {
                return;
            }
        }
    }
}

impl Outcome {
    fn note(&mut self, number: u64, violations: Vec<Violation>) {
        for violation in violations {
            if violation.kind == Kind::UntoldByTcp {
                self.untold += 1;
            } else {
                self.violations.push((number, violation));
            }
        }
    }

    /// Panics with the way to play it again if a promise was broken.
    #[track_caller]
    pub fn expect_clean(&self, run: Run) {
        self.expect_clean_but(run, 2 + self.played / 1000);
    }

    /// The same with at most so many resets that were not told of, each of which the kernel's own
    /// counters must allow.
    #[track_caller]
    pub fn expect_clean_but(&self, run: Run, untold: u64) {
        self.tell(run);
        assert!(self.violations.is_empty(), "{} promises broken", self.violations.len());
        assert_eq!(self.played, run.end - run.first);
        let most = self.counted.most_untold().min(untold);
        assert!(self.untold <= most, "{} resets not told of, {most} allowed", self.untold);
    }

    /// Says what came of the run, and how to play again what broke a promise.
    pub fn tell(&self, run: Run) {
        println!(
            "MODEL_SEED={}: {} scripts, {} untold, {:?}",
            run.seed, self.played, self.untold, self.counted
        );
        for (number, violation) in &self.violations {
            println!("MODEL_SEED={} MODEL_ONLY={number}\n  {violation}", run.seed);
            println!("  {:?}", Script::new(run.seed, *number));
        }
    }
}

/// Slots whose backends listen on `host`, and whose `front` is what `front` makes of their number and
/// their backend's address.
pub fn slots(host: IpAddr, mut front: impl FnMut(usize, SocketAddr) -> SocketAddr) -> Vec<Slot> {
    let mut slots: Vec<Slot> = (0..THREADS * SLOTS).map(|_| Slot::new(host)).collect();
    for (number, slot) in slots.iter_mut().enumerate() {
        slot.front = front(number, slot.front);
    }
    slots
}

fn wait(slots: &[Slot], now: Moment) -> Vec<Ready> {
    let mut places: Vec<(usize, Place)> = Vec::new();
    let mut events: Vec<PollFd<'_>> = Vec::new();
    for (number, slot) in slots.iter().enumerate() {
        for (place, wants) in slot.sockets(now) {
            let Some(socket): Option<BorrowedFd<'_>> = slot.socket(place) else { continue };
            places.push((number, place));
            events.push(PollFd::from_borrowed_fd(socket, wants));
        }
    }
    let timeout = Timespec::try_from(TURN).unwrap();
    let _ = poll(&mut events, Some(&timeout));
    let none = Ready { client: PollFlags::empty(), upstream: PollFlags::empty() };
    let mut ready = vec![none; slots.len()];
    for ((number, place), event) in places.into_iter().zip(&events) {
        match place {
            Place::Client => ready[number].client = event.revents(),
            Place::Upstream => ready[number].upstream = event.revents(),
            Place::Listener => {}
        }
    }
    ready
}
