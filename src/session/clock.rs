//! When a session is to be looked at though nothing has happened: its bounds in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::side::Side;
use crate::config::Timeouts;
use crate::net::Stream;
use crate::plugin::Cause;

/// While a peer owes an answer it is looked at so often within `dead_peer`, and since when it owes
/// it is known to half the time between two looks: a dead peer is found within 5 %.
const LOOKS: u32 = 10;
/// And so often once that is over, but too little was sent that it could have answered.
const LAST_LOOKS: u32 = 20;

/// Unanswered segments or probes without which a peer is not held to be dead.
const UNANSWERED: u32 = 2;

/// The bounds in time of one session, and what they are measured from.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) timeouts: Arc<Timeouts>,
    /// When bytes or a FIN moved last, as far as it is known.
    moved: Instant,
    /// Bytes that the peers had not acknowledged when it was looked at after that.
    queued: Option<u32>,
    /// End of `timeout.lifetime`, jitter included.
    expires: Option<Instant>,
    /// When the peers' kernels are asked whether they still answer; none while nothing is owed.
    check: Option<Instant>,
    /// What client and upstream were seen to owe; boxed, as few ever do.
    owing: Option<Box<[Option<Owing>; 2]>>,
}

/// An answer that a peer owes and that has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owing {
    /// When it was seen first.
    seen: Instant,
    /// Since when it is owed, as well as that can be told.
    since: Instant,
}

/// What has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunOut {
    Idle,
    HalfClosed,
    Lifetime,
}

impl RunOut {
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::Idle => Cause::Idle,
            Self::HalfClosed => Cause::HalfClosed,
            Self::Lifetime => Cause::Lifetime,
        }
    }
}

impl Clock {
    /// `luck` is a random number that the jitter of the lifetime is drawn from.
    pub(super) fn new(timeouts: Arc<Timeouts>, now: Instant, luck: u64) -> Self {
        let expires = timeouts
            .lifetime
            .map(|lifetime| now + jittered(lifetime, timeouts.lifetime_jitter, luck));
        Self { timeouts, moved: now, queued: None, expires, check: None, owing: None }
    }

    /// Bytes or a FIN have moved: idleness starts anew, and a peer may owe an acknowledgement.
    pub(super) fn progressed(&mut self, now: Instant) {
        self.moved = now;
        self.queued = None;
        if self.check.is_none() {
            self.check = self.timeouts.dead_peer.map(|dead| now + dead / LOOKS);
        }
    }

    /// The earliest moment at which something can run out.
    pub(super) fn deadline(&self, half_closed: bool) -> Option<Instant> {
        let still = self.patience(half_closed).map(|(bound, _)| match self.queued {
            None => self.moved + bound / 2,
            Some(_) => self.moved + bound,
        });
        [still, self.expires, self.check].into_iter().flatten().min()
    }

    /// How long nothing may move, and what it is called when that is over.
    fn patience(&self, half_closed: bool) -> Option<(Duration, RunOut)> {
        let idle = self.timeouts.idle.map(|bound| (bound, RunOut::Idle));
        let half = self.timeouts.half_closed.filter(|_| half_closed);
        let half = half.map(|bound| (bound, RunOut::HalfClosed));
        half.into_iter().chain(idle).min_by_key(|(bound, _)| *bound)
    }

    /// What has run out by now.
    ///
    /// What the kernel holds may fill minutes of a slow reader's time, in which no byte moves here.
    /// So the unacknowledged bytes are looked at halfway and at the end: fewer is progress too.
    pub(super) fn run_out<S: Stream>(
        &mut self,
        sides: [&Side<S>; 2],
        now: Instant,
        half_closed: bool,
    ) -> Option<RunOut> {
        if self.expires.is_some_and(|expires| now >= expires) {
            return Some(RunOut::Lifetime);
        }
        let (bound, what) = self.patience(half_closed)?;
        let over = now >= self.moved + bound;
        if !over && (self.queued.is_some() || now < self.moved + bound / 2) {
            return None;
        }
        // What the kernel does not tell is no reason to let a session live.
        let queued: usize =
            sides.map(|side| side.stream.unacknowledged().unwrap_or(0)).iter().sum();
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        let before = self.queued.replace(queued);
        if !over {
            return None;
        }
        if before.is_none_or(|before| queued >= before) {
            return Some(what);
        }
        self.moved = now;
        None
    }

    /// Asks the kernel about client and upstream when that is due; true exactly when one of them is
    /// dead: it owes an answer, and gave none for `dead_peer`. Silence before that is no fault.
    ///
    /// TCP_USER_TIMEOUT would do this too, but kills a peer that merely does not read.
    pub(super) fn find_dead<S: Stream>(&mut self, sides: [&Side<S>; 2], now: Instant) -> bool {
        let Some(bound) = self.timeouts.dead_peer else { return false };
        let Some(check) = self.check.filter(|check| now >= *check) else { return false };
        self.check = None;
        // A look was at this moment or later, or nothing was owed before it.
        let before = check.checked_sub(bound / LOOKS).unwrap_or(check);
        let mut both = self.owing.take().map_or([None; 2], |owing| *owing);
        for (side, owing) in sides.into_iter().zip(&mut both) {
            // What the kernel does not tell is no reason to end a session.
            if side.stream.unacknowledged().unwrap_or(0) == 0 {
                *owing = None;
                continue;
            }
            let Ok(liveness) = side.stream.liveness() else { continue };
            let answered = now.checked_sub(liveness.last_acknowledgement);
            // What is owed now may have been sent after that answer.
            let still = owing.filter(|owing| answered < Some(owing.seen));
            let owed = still.unwrap_or_else(|| Owing {
                seen: now,
                since: midway(answered.map_or(before, |at| at.max(before)), self.moved.min(now)),
            });
            *owing = Some(owed);
            let waited = now.saturating_duration_since(owed.since);
            if waited >= bound && liveness.unanswered >= UNANSWERED {
                return true;
            }
            let left = bound.checked_sub(waited).filter(|left| !left.is_zero());
            let next = now + left.map_or(bound / LAST_LOOKS, |left| left.min(bound / LOOKS));
            self.check = Some(self.check.map_or(next, |check| check.min(next)));
        }
        self.owing = (both != [None; 2]).then(|| Box::new(both));
        false
    }
}

/// The middle of a time, or its begin if the end lies before that.
fn midway(begin: Instant, end: Instant) -> Instant {
    begin + end.saturating_duration_since(begin) / 2
}

/// `lifetime` give or take `percent` of it.
fn jittered(lifetime: Duration, percent: u8, luck: u64) -> Duration {
    let share = f64::from(percent.min(100)) / 100.0;
    // 53 bits make a float in [0, 1) without loss.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
    let unit = (luck >> 11) as f64 / (1u64 << 53) as f64;
    lifetime.mul_f64(1.0 - share + 2.0 * share * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_share() {
        let lifetime = Duration::from_secs(100);
        assert_eq!(jittered(lifetime, 0, 12345), lifetime);
        assert_eq!(jittered(lifetime, 10, 0), Duration::from_secs(90));
        let most = jittered(lifetime, 10, u64::MAX);
        assert!(most > Duration::from_secs(109) && most <= Duration::from_secs(110));
    }
}
