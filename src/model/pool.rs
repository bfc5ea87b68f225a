//! A pool: backends, the rule by which one is picked, and how it is reached.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use super::possible::Possible;
use super::{
    Backend, Counters, Ejection, Limit, Permit, Queue, RateLimiter, Retries, Return, Throttle,
};
use crate::balance::{Ask, Candidates, Selector};
use crate::config::{Connect, Eject, State, Timeouts};
use crate::net::ConnectOptions;

/// Rounds of picking for one attempt: another worker may take the last permit in between.
const ROUNDS: usize = 8;

/// A pool. It outlives the snapshots that name it; its identity is its name.
#[derive(Debug)]
pub struct Pool {
    /// Its name in the file.
    pub name: Arc<str>,
    /// `max_connections`
    pub limit: Arc<Limit>,
    /// True exactly when so few backends are healthy that health is not looked at.
    pub panicking: AtomicBool,
    /// Sessions that wait for a backend to have room.
    pub queue: Arc<Queue>,
    /// `connect.retry_budget`
    pub retries: Retries,
    /// `when_down.max`: clients that wait because no backend can be used.
    pub held: Arc<Limit>,
    /// `when_down.release_rate`
    pub release: RateLimiter,
    /// Held by the worker that is about to leave a backend out: one at a time.
    pub ejecting: AtomicBool,
    /// True when a backend was left out of which nobody was told yet that it came back.
    pub ejected: AtomicBool,
    /// Says when it may be said that a client found no backend.
    pub complaints: Throttle,
    /// What happened.
    pub counters: Counters,
}

/// A backend as one snapshot sees it.
#[derive(Debug)]
pub struct Member {
    /// What outlives the snapshot.
    pub backend: Arc<Backend>,
    /// Share of new sessions.
    pub weight: u32,
    /// Its `priority`.
    pub tier: u32,
    /// The operator's will.
    pub state: State,
}

/// A pool as one snapshot sees it.
pub struct PoolView {
    /// What outlives the snapshot.
    pub pool: Arc<Pool>,
    /// How connects are made.
    pub connect: Connect,
    /// What upstream sockets are made with.
    pub options: ConnectOptions,
    /// Bounds in time.
    pub timeouts: Arc<Timeouts>,
    /// Its backends, names looked up.
    pub members: Vec<Member>,
    /// The rule of choice over `members`.
    pub selector: Box<dyn Selector>,
    /// When a member is left out for what its sessions met.
    pub eject: Option<Eject>,
    /// How long clients wait while no backend has room.
    pub wait: Option<Duration>,
    /// How long clients wait while no backend can be used.
    pub hold: Option<Duration>,
    /// Every `priority` that members have, the lowest first.
    pub tiers: Vec<u32>,
    /// How long the share of a member rises that came into use.
    pub slow_start: Option<Duration>,
    /// Asked when this one has no usable backend.
    pub fallback: Option<Arc<PoolView>>,
}

impl std::fmt::Debug for PoolView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolView").field("name", &self.pool.name).finish_non_exhaustive()
    }
}

/// The pools of a snapshot by name.
pub type Pools = HashMap<Arc<str>, Arc<PoolView>>;

/// What came out of a pick.
#[derive(Debug)]
pub enum Picked {
    /// This backend, and the right to a session with it.
    Backend(Arc<Backend>, Permit),
    /// Those that would do have all the sessions they may have.
    Full,
    /// None would do.
    None,
}

impl Member {
    /// True exactly when the operator wants new sessions there.
    pub fn is_wanted(&self) -> bool {
        self.state == State::Ready && self.weight > 0
    }
}

impl PoolView {
    /// Picks a backend that this session has not tried. `now` is in milliseconds of the clock of all.
    pub fn pick(&self, ask: &Ask, tried: &[Arc<Backend>], now: u64) -> Picked {
        let possible = Possible::of(self, tried, now);
        let fair = possible.of_fair_tier(&self.tiers, ask);
        let tiers = self.tiers.iter().map(|tier| possible.of_tier(*tier));
        for possible in fair.into_iter().chain(tiers) {
            if let Some((backend, permit)) = self.pick_among(ask, &possible) {
                return Picked::Backend(backend, permit);
            }
        }
        if self.is_exhausted(tried, now) { Picked::None } else { Picked::Full }
    }

    /// Picks one that is ejected and that this session has not tried: to be ejected is a guess from what
    /// others met, and better tried than a client refused.
    pub fn pick_ejected(
        &self,
        ask: &Ask,
        tried: &[Arc<Backend>],
        now: u64,
    ) -> Option<(Arc<Backend>, Permit)> {
        self.pick_among(ask, &Possible::of(self, tried, now).with_ejected())
    }

    /// True exactly when neither this pool nor those that it falls back on have a backend that would
    /// do if it had room.
    pub fn is_down(&self, now: u64) -> bool {
        self.is_exhausted(&[], now) && self.fallback.as_ref().is_none_or(|it| it.is_down(now))
    }

    /// True exactly when a session may try one more of its backends, which is counted then.
    pub fn may_retry(&self, now: u64) -> bool {
        self.pool.retries.may_retry(self.connect.retry_budget, now)
    }

    fn pick_among(&self, ask: &Ask, possible: &Possible<'_>) -> Option<(Arc<Backend>, Permit)> {
        for _ in 0..ROUNDS {
            let index = self.selector.pick(ask, possible)?;
            // A policy of somebody else's may name what it must not.
            let member = self.members.get(index).filter(|_| possible.at(index).eligible())?;
            if let Some(permit) = member.backend.limit.acquire() {
                return Some((Arc::clone(&member.backend), permit));
            }
        }
        None
    }

    /// True exactly when no backend is left that would do if it had room.
    pub fn is_exhausted(&self, tried: &[Arc<Backend>], now: u64) -> bool {
        let possible = Possible::of(self, tried, now);
        let would_do = |index| possible.at(index).usable && possible.at(index).weight > 0;
        !(0..possible.count()).any(would_do)
    }

    /// Notes that a backend has failed a session, before its connect was done or after. If that was
    /// one too many: for how long it is left out from now on.
    pub fn note_failure(
        &self,
        backend: &Backend,
        connected: bool,
        why: &dyn Display,
        now: u64,
    ) -> Option<Duration> {
        let rule = self.eject.as_ref()?;
        let health = &backend.health;
        let too_many = if connected { health.reset(rule) } else { health.refused(rule) };
        if !too_many || health.is_ejected(now) || self.pool.ejecting.swap(true, Acquire) {
            return None;
        }
        let length = self.may_spare(backend, rule, now).then(|| health.eject(rule, why, now));
        self.pool.ejecting.store(false, Release);
        if length.is_some() {
            self.pool.ejected.store(true, Release);
        }
        length
    }

    /// Tells of every backend that was left out and is not any more, once. While there is none it costs
    /// next to nothing, however many backends there are.
    pub fn tell_of_returns(&self, now: u64, tell: impl Fn(&Backend, &Ejection, Return)) {
        if !self.pool.ejected.swap(false, Acquire) {
            return;
        }
        for Member { backend, .. } in &self.members {
            if let Some((ejection, how)) = backend.health.came_back(now) {
                tell(backend, &ejection, how);
            }
            if backend.health.ejection().is_some() {
                self.pool.ejected.store(true, Release);
            }
        }
    }

    /// True exactly when the pool may do without one more: there is another, and those that are left
    /// out are not too many. One may always be.
    fn may_spare(&self, backend: &Backend, rule: &Eject, now: u64) -> bool {
        let others = || {
            let other = |it: &&Member| !std::ptr::eq(&raw const *it.backend, backend);
            self.members.iter().filter(other)
        };
        let left_out = others().filter(|it| it.backend.health.is_ejected(now)).count();
        let most = (self.members.len() * usize::from(rule.max_ejected) / 100).max(1);
        left_out < most
            && rule.max_ejected > 0
            && others().any(|it| it.is_wanted() && it.backend.health.is_usable(now))
    }

    /// True exactly when fewer than `threshold` percent of those that the operator wants are healthy.
    pub fn is_below(&self, threshold: u8) -> bool {
        let wanted = || self.members.iter().filter(|it| it.is_wanted());
        let healthy = wanted().filter(|it| !it.backend.health.is_unhealthy()).count();
        healthy * 100 < wanted().count() * usize::from(threshold)
    }
}

#[cfg(test)]
mod tests;
