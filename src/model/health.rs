//! The health of one backend: what probes say of it, and what its sessions say.
//!
//! Probes are counted by control, one at a time for each backend; workers read one flag of theirs.
//! Failures of sessions are counted by the workers, which leave a backend out at once.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

use crate::config::Eject;

/// All of a share, as [`Health::ramp`] has it.
pub const WHOLE: u64 = 1 << 16;

/// What was measured of a backend. It outlives the snapshots that name the backend.
#[derive(Debug, Default)]
pub struct Health {
    /// What workers read of `record`.
    unhealthy: AtomicBool,
    /// Touched by control alone.
    record: Mutex<Record>,
    /// Connects in a row that failed.
    refused: AtomicU32,
    /// Sessions in a row that were reset before a byte came back.
    reset: AtomicU32,
    /// Until when it is left out, in milliseconds of the clock of all; 0: it is not.
    ejected_until: AtomicU64,
    /// Why it is left out, until somebody is told that it is not any more.
    ejection: ArcSwapOption<Ejection>,
    /// How often in a row it was.
    ejections: AtomicU32,
    /// Since when it is in use, in milliseconds of the clock of all; 0: from the start on.
    since: AtomicU64,
}

/// What probes have found.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// `None` before the first probe.
    pub state: Option<State>,
    /// Probes in a row that speak against the state.
    pub against: u32,
}

/// What a backend is, since when, and why.
#[derive(Debug, Clone)]
pub struct State {
    /// True exactly when it is healthy.
    pub healthy: bool,
    /// When it became so.
    pub since: SystemTime,
    /// What the probe said that decided.
    pub reason: String,
    /// How long it was the opposite; `None` exactly when nothing was known before.
    pub after: Option<Duration>,
}

/// Why a backend is left out for what its sessions met, since when, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// When it began.
    pub since: SystemTime,
    /// What the last of the sessions met.
    pub reason: String,
    /// When it is over, in milliseconds of the clock of all.
    pub until: u64,
}

/// The end of an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Its time was over.
    InTime,
    /// A good probe came before.
    ByProbe,
}

impl Record {
    /// Notes one probe: `Err` is why it failed. True exactly when the state has changed. The first
    /// probe decides alone.
    pub fn note(
        &mut self,
        probe: &Result<(), String>,
        rise: u32,
        fall: u32,
        now: SystemTime,
    ) -> bool {
        let good = probe.is_ok();
        let enough = match &self.state {
            None => 1,
            Some(state) if state.healthy == good => {
                self.against = 0;
                return false;
            }
            Some(_) if good => rise,
            Some(_) => fall,
        };
        self.against += 1;
        if self.against < enough {
            return false;
        }
        let reason =
            probe.as_ref().err().cloned().unwrap_or_else(|| "the probe succeeded".to_owned());
        let past = |state: &State| now.duration_since(state.since).unwrap_or_default();
        let after = self.state.as_ref().map(past);
        self.state = Some(State { healthy: good, since: now, reason, after });
        self.against = 0;
        true
    }
}

impl Health {
    /// True exactly when nothing that was measured forbids new sessions at `now`, in milliseconds of
    /// the clock of all.
    pub fn is_usable(&self, now: u64) -> bool {
        !self.unhealthy.load(Relaxed) && !self.is_ejected(now)
    }

    /// True exactly when probes have found it unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    /// True exactly when it is left out for what its sessions met.
    pub fn is_ejected(&self, now: u64) -> bool {
        now < self.ejected_until.load(Relaxed)
    }

    /// What probes have found.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Notes one probe, as [`Record::note`] does. A good one brings back who was left out.
    /// `now` is in milliseconds of the clock of all.
    pub fn note_probe(
        &self,
        probe: &Result<(), String>,
        (rise, fall): (u32, u32),
        now: u64,
    ) -> bool {
        let mut record = self.lock();
        let changed = record.note(probe, rise, fall, SystemTime::now());
        let unhealthy = record.state.as_ref().is_some_and(|state| !state.healthy);
        if self.unhealthy.swap(unhealthy, Relaxed) && !unhealthy {
            self.begin(now);
        }
        if probe.is_ok() && self.is_ejected(now) {
            self.ejected_until.store(now, Relaxed);
        }
        changed
    }

    /// Notes that it is in use from `now` on.
    pub fn begin(&self, now: u64) {
        self.since.store(now, Relaxed);
    }

    /// Which part of its share it takes at `now`, in 65,536ths: from a tenth to all of it within
    /// `slow_start` after it came into use, or came back.
    pub fn ramp(&self, slow_start: Duration, now: u64) -> u64 {
        let began = self.since.load(Relaxed).max(self.ejected_until.load(Relaxed));
        let (past, whole) = (now.saturating_sub(began), milliseconds(slow_start));
        if began == 0 || past >= whole {
            return WHOLE;
        }
        (past * WHOLE / whole).max(WHOLE / 10)
    }

    /// True exactly when the last probe spoke against the state.
    pub fn is_in_doubt(&self) -> bool {
        self.lock().against > 0
    }

    /// Forgets what probes have found: it is not probed any more.
    pub fn forget_probes(&self) {
        *self.lock() = Record::default();
        self.unhealthy.store(false, Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connect came to its end.
    pub fn connected(&self) {
        clear(&self.refused);
    }

    /// A byte came back.
    pub fn answered(&self) {
        clear(&self.reset);
    }

    /// A connect failed. True exactly when that was one too many.
    pub fn refused(&self, rule: &Eject) -> bool {
        self.refused.fetch_add(1, Relaxed) + 1 >= rule.failures
    }

    /// A session was reset before a byte came back. True exactly when that was one too many.
    pub fn reset(&self, rule: &Eject) -> bool {
        self.reset.fetch_add(1, Relaxed) + 1 >= rule.failures
    }

    /// Leaves it out from `now` on; for how long. A time that begins within the length of the one
    /// before is another in a row.
    pub fn eject(&self, rule: &Eject, why: &dyn Display, now: u64) -> Duration {
        let before = self.ejected_until.load(Relaxed);
        let last = length(rule, self.ejections.load(Relaxed));
        let in_a_row = before != 0 && now < before.saturating_add(milliseconds(last));
        let ejections = if in_a_row { self.ejections.load(Relaxed).saturating_add(1) } else { 1 };
        let length = length(rule, ejections);
        self.ejections.store(ejections, Relaxed);
        let until = now.saturating_add(milliseconds(length));
        // Whoever sees the ejection must see that it is not over.
        self.ejected_until.store(until, Relaxed);
        let (since, reason) = (SystemTime::now(), why.to_string());
        self.ejection.store(Some(Arc::new(Ejection { since, reason, until })));
        clear(&self.refused);
        clear(&self.reset);
        length
    }
}

impl Health {
    /// Why it is left out, or was, if nobody was told yet that it is not any more.
    pub fn ejection(&self) -> Option<Arc<Ejection>> {
        self.ejection.load_full()
    }

    /// The ejection that is over, and what ended it: for the first who asks.
    pub fn came_back(&self, now: u64) -> Option<(Arc<Ejection>, Return)> {
        let ejection = self.ejection.load_full()?;
        let ended = self.ejected_until.load(Relaxed);
        if now < ended {
            return None;
        }
        let found = self.ejection.compare_and_swap(&ejection, None);
        let first = found.as_ref().is_some_and(|found| Arc::ptr_eq(found, &ejection));
        let how = if ended < ejection.until { Return::ByProbe } else { Return::InTime };
        first.then_some((ejection, how))
    }
}

/// How long the time of this number in a row is.
fn length(rule: &Eject, ejections: u32) -> Duration {
    let times = 1_u32.checked_shl(ejections.saturating_sub(1)).unwrap_or(u32::MAX);
    rule.time.saturating_mul(times).min(rule.max_time.max(rule.time))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Written only if it is not zero, for most of the time it is.
fn clear(count: &AtomicU32) {
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Eject = Eject {
        failures: 3,
        time: Duration::from_secs(10),
        max_time: Duration::from_secs(60),
        max_ejected: 50,
    };

    fn good() -> Result<(), String> {
        Ok(())
    }

    fn bad() -> Result<(), String> {
        Err("connection refused".to_owned())
    }

    /// Which of these probes, `+` good and `-` bad, changed the state.
    fn changes(probes: &str) -> Vec<usize> {
        let mut record = Record::default();
        let note = |(at, letter): (usize, char)| {
            let probe = if letter == '+' { good() } else { bad() };
            record.note(&probe, 2, 3, SystemTime::UNIX_EPOCH).then_some(at)
        };
        probes.chars().enumerate().filter_map(note).collect()
    }

    #[test]
    fn the_first_probe_decides_alone_and_the_others_in_a_row() {
        assert_eq!(changes("+++"), [0]);
        assert_eq!(changes("---"), [0]);
        assert_eq!(changes("+--+---"), [0, 6], "a good one in between begins the count anew");
        assert_eq!(changes("-+-++-+---"), [0, 4, 9]);
    }

    #[test]
    fn a_state_has_a_reason_and_doubt_is_known() {
        let health = Health::default();
        assert!(health.note_probe(&good(), (2, 2), 0));
        assert!(health.is_usable(0) && !health.is_in_doubt());
        assert!(!health.note_probe(&bad(), (2, 2), 0));
        assert!(health.is_usable(0) && health.is_in_doubt());
        assert!(health.note_probe(&bad(), (2, 2), 0));
        assert!(!health.is_usable(0) && health.is_unhealthy() && !health.is_in_doubt());
        let state = health.record().state.unwrap();
        assert_eq!(state.reason, "connection refused");
        assert!(state.after.is_some() && state.since <= SystemTime::now());
        health.forget_probes();
        assert!(health.is_usable(0) && health.record().state.is_none());
    }

    #[test]
    fn failures_in_a_row_are_one_too_many() {
        let health = Health::default();
        assert!(!health.refused(&RULE) && !health.refused(&RULE));
        health.connected();
        assert!(!health.refused(&RULE) && !health.refused(&RULE));
        assert!(!health.reset(&RULE), "counted apart");
        assert!(health.refused(&RULE));
        health.answered();
        assert!(!health.reset(&RULE) && !health.reset(&RULE));
        health.connected();
        assert!(health.reset(&RULE), "a connect says nothing of what comes after it");
    }

    #[test]
    fn the_time_grows_while_it_is_one_in_a_row() {
        let health = Health::default();
        let mut now = 1_000;
        for seconds in [10, 20, 40, 60, 60] {
            let length = Duration::from_secs(seconds);
            assert_eq!(health.eject(&RULE, &"refused", now), length);
            assert!(health.is_ejected(now) && !health.is_usable(now + 1));
            now += milliseconds(length);
            assert!(!health.is_ejected(now) && health.is_usable(now));
        }
        assert_eq!(
            health.eject(&RULE, &"refused", now + 60_000),
            Duration::from_secs(10),
            "it held for long"
        );
    }

    #[test]
    fn a_good_probe_brings_back_who_was_left_out() {
        let health = Health::default();
        health.eject(&RULE, &"refused", 1_000);
        health.note_probe(&bad(), (1, 2), 2_000);
        assert!(health.is_ejected(2_000));
        health.note_probe(&good(), (1, 2), 2_000);
        assert!(health.is_usable(2_000));
        assert_eq!(
            health.eject(&RULE, &"refused", 2_500),
            Duration::from_secs(20),
            "again, in a row"
        );
    }
    #[test]
    fn a_return_is_told_to_the_first_who_asks() {
        let health = Health::default();
        assert_eq!(health.came_back(0), None);
        health.eject(&RULE, &"timed out", 1_000);
        let ejection = health.ejection().unwrap();
        assert_eq!((ejection.reason.as_str(), ejection.until), ("timed out", 11_000));
        assert!(ejection.since <= SystemTime::now());
        assert_eq!(health.came_back(10_999), None);
        assert_eq!(health.came_back(11_000), Some((ejection, Return::InTime)));
        assert_eq!(health.came_back(11_000), None);
        health.eject(&RULE, &"timed out", 12_000);
        health.note_probe(&good(), (1, 2), 13_000);
        assert!(matches!(health.came_back(13_000), Some((_, Return::ByProbe))));
        assert_eq!((health.came_back(13_000), health.ejection()), (None, None));
    }
}
