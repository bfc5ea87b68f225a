//! The watchdog: tells of workers whose loop does not turn, and does nothing to them.
//!
//! A worker that sleeps in its poll is well, however long it sleeps. Looking allocates nothing and
//! takes no lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::model::{Gauges, Model, Pulse, Snapshot};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// A loop that is at one piece of work for so long does not turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at every worker until it is dropped.
pub(super) async fn watch(model: Arc<Model>) {
    let mut watchdog = Watchdog::new(&model.gauges, Instant::now());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        watchdog.look(Instant::now(), &model.gauges, |number, change| tell(&model, number, change));
    }
}

/// What has become of a worker since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It stands, for at least so long.
    Stands(Duration),
    /// It turns again, after it had stood for about so long.
    Turns(Duration),
}

/// What was seen of one worker.
#[derive(Debug, Clone, Copy)]
struct Seen {
    beat: u64,
    /// When it was first seen so.
    since: Instant,
    /// True exactly when it was told of.
    told: bool,
}

#[derive(Debug)]
struct Watchdog {
    seen: Box<[Seen]>,
    looked: Instant,
}

impl Watchdog {
    /// Goes on from what was told before control was started anew.
    fn new(gauges: &[Gauges], now: Instant) -> Self {
        let seen = |Gauges { pulse, .. }: &Gauges| Seen {
            beat: pulse.beat(),
            since: now,
            told: pulse.stands(),
        };
        Self { seen: gauges.iter().map(seen).collect(), looked: now }
    }

    /// Looks at all workers, and tells what has changed.
    fn look(&mut self, now: Instant, gauges: &[Gauges], mut tell: impl FnMut(usize, Change)) {
        // Whoever was late itself, as when the whole process was stopped, must not accuse others.
        let late = now.saturating_duration_since(self.looked) >= 2 * LOOK;
        self.looked = now;
        for (number, (seen, gauges)) in self.seen.iter_mut().zip(gauges).enumerate() {
            if let Some(change) = seen.look(now, late, gauges.pulse.beat()) {
                let stands = matches!(change, Change::Stands(_));
                gauges.pulse.set_stands(stands);
                gauges.stalls.add(u64::from(stands));
                tell(number, change);
            }
        }
    }
}

impl Seen {
    fn look(&mut self, now: Instant, late: bool, beat: u64) -> Option<Change> {
        let stood = now.saturating_duration_since(self.since);
        let working = beat % 2 == 1;
        if beat != self.beat || !working {
            let told = std::mem::take(&mut self.told);
            (self.beat, self.since) = (beat, now);
            return told.then_some(Change::Turns(stood));
        }
        if self.told {
            return None;
        }
        if late {
            self.since = now;
            return None;
        }
        self.told = stood >= PATIENCE;
        self.told.then_some(Change::Stands(stood))
    }
}

fn tell(model: &Model, worker: usize, change: Change) {
    match change {
        Change::Stands(stood) => tell_where(model, worker, stood),
        Change::Turns(stood) => {
            let stood_s = stood.as_secs_f64();
            tracing::warn!(worker, stood_s, "a worker that did not turn turns again");
        }
    }
}

fn tell_where(model: &Model, worker: usize, stood: Duration) {
    let standing = Place::of(&model.gauges[worker].pulse, &model.snapshot.load());
    let Place { work, listener, client, pool, backend } = standing;
    tracing::error!(
        worker,
        stood_s = stood.as_secs_f64(),
        at = work,
        listener,
        client,
        pool,
        backend,
        "a worker does not turn: its sessions wait, other workers go on",
    );
}

/// Where a worker stands, in names.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    work: &'static str,
    listener: Option<String>,
    client: Option<String>,
    pool: Option<String>,
    backend: Option<String>,
}

impl Place {
    /// What the snapshot does not name any more stays without a name.
    fn of(pulse: &Pulse, snapshot: &Snapshot) -> Self {
        let standing = pulse.standing();
        let mut listeners = snapshot.listeners.values().map(|view| &view.listener);
        let listener = listeners.find(|it| Arc::as_ptr(it) as usize == standing.listener);
        let mut backends = snapshot
            .pools
            .values()
            .flat_map(|view| view.members.iter().map(|member| (&view.pool, &member.backend)));
        let found = backends.find(|(_, it)| Arc::as_ptr(it) as usize == standing.backend);
        Self {
            work: standing.work.name(),
            listener: listener.map(|it| it.name.to_string()),
            client: standing.client.map(|client| client.to_string()),
            pool: found.map(|(pool, _)| pool.name.to_string()),
            backend: found.map(|(_, backend)| backend.name.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = LOOK;

    /// Workers that are looked at as time goes by, without any passing.
    struct Yard {
        watchdog: Watchdog,
        gauges: Vec<Gauges>,
        now: Instant,
        told: Vec<(usize, Change)>,
    }

    impl Yard {
        fn new(workers: usize) -> Self {
            let now = Instant::now();
            let gauges: Vec<Gauges> = (0..workers).map(|_| Gauges::default()).collect();
            Self { watchdog: Watchdog::new(&gauges, now), gauges, now, told: Vec::new() }
        }

        fn look_after(&mut self, time: Duration) {
            self.now += time;
            let told = &mut self.told;
            self.watchdog.look(self.now, &self.gauges, |who, change| told.push((who, change)));
        }

        fn looks(&mut self, count: usize) {
            (0..count).for_each(|_| self.look_after(STEP));
        }
    }

    #[test]
    fn one_that_stands_is_told_of_once_and_once_again_when_it_turns() {
        let mut yard = Yard::new(3);
        yard.gauges[1].pulse.begin();
        yard.looks(4);
        assert_eq!(yard.told, [], "not before two seconds have passed since it was first seen so");
        yard.looks(6);
        assert_eq!(yard.told, [(1, Change::Stands(PATIENCE))]);
        yard.gauges[1].pulse.rest();
        yard.looks(3);
        // Seen at 0.5 s for the first time, and at 5.5 s at rest.
        assert_eq!(yard.told[1..], [(1, Change::Turns(Duration::from_secs(5)))]);
        let stalls: Vec<u64> = yard.gauges.iter().map(|gauges| gauges.stalls.value()).collect();
        assert_eq!(stalls, [0, 1, 0]);
    }

    #[test]
    fn one_that_sleeps_is_well_however_long() {
        let mut yard = Yard::new(1);
        yard.gauges[0].pulse.begin();
        yard.gauges[0].pulse.rest();
        yard.looks(1000);
        assert_eq!(yard.told, []);
    }

    #[test]
    fn one_that_is_at_work_at_every_look_is_well_while_it_turns() {
        let mut yard = Yard::new(1);
        for _ in 0..100 {
            yard.gauges[0].pulse.rest();
            yard.gauges[0].pulse.begin();
            yard.looks(1);
        }
        assert_eq!(yard.told, []);
    }

    #[test]
    fn nobody_is_accused_by_a_control_that_was_late_itself() {
        let mut yard = Yard::new(1);
        yard.gauges[0].pulse.begin();
        yard.looks(2);
        yard.look_after(Duration::from_secs(60));
        yard.looks(3);
        assert_eq!(yard.told, [], "the time in which control did not look does not count");
        yard.looks(1);
        assert_eq!(yard.told, [(0, Change::Stands(PATIENCE))]);
        // One that was told of stays so, late or not.
        yard.look_after(Duration::from_secs(60));
        yard.looks(10);
        assert_eq!(yard.told.len(), 1);
    }

    #[test]
    fn a_control_that_is_started_anew_goes_on_from_what_was_told() {
        let mut yard = Yard::new(1);
        yard.gauges[0].pulse.begin();
        yard.looks(6);
        assert!(yard.gauges[0].pulse.stands());
        yard.watchdog = Watchdog::new(&yard.gauges, yard.now);
        yard.looks(10);
        assert_eq!(yard.told.len(), 1);
        yard.gauges[0].pulse.rest();
        yard.looks(1);
        assert_eq!(yard.told.len(), 2);
        assert!(!yard.gauges[0].pulse.stands());
    }

    #[test]
    fn one_that_stands_again_is_told_of_again() {
        let mut yard = Yard::new(1);
        for round in 1..=3 {
            yard.gauges[0].pulse.begin();
            yard.looks(6);
            yard.gauges[0].pulse.rest();
            yard.looks(1);
            assert_eq!(yard.told.len(), 2 * round);
        }
        assert_eq!(yard.gauges[0].stalls.value(), 3);
    }
}
