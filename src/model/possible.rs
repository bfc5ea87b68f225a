//! The members of a pool as candidates of one session: who may be picked, tier by tier.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Backend, Member, PoolView, WHOLE};
use crate::balance::{Ask, Candidate, Candidates, Draws};

/// A tier counts as whole when so many hundredths of its healthy share make 100 percent: it may lose
/// some of its backends before another one is used.
const SPARE: u64 = 140;

/// What a weight is multiplied by where shares rise, so that there are parts of the least.
const PARTS: u32 = 64;

/// The weight as policies know it.
pub(super) fn balance_weight(weight: u32, slow_start: Option<Duration>) -> u32 {
    if slow_start.is_some() { weight.saturating_mul(PARTS) } else { weight }
}

/// The members as candidates of one session.
#[derive(Clone)]
pub(super) struct Possible<'a> {
    members: &'a [Member],
    tried: &'a [Arc<Backend>],
    /// In milliseconds of the clock of all; `None`: health is not looked at.
    now: Option<u64>,
    /// Those too that are ejected, for what others met there.
    ejected: bool,
    /// Those of this `priority` alone.
    tier: Option<u32>,
    slow_start: Option<Duration>,
}

impl<'a> Possible<'a> {
    /// All that the session has not tried.
    pub(super) fn of(view: &'a PoolView, tried: &'a [Arc<Backend>], now: u64) -> Self {
        let now = (!view.pool.panicking.load(Relaxed)).then_some(now);
        let slow_start = view.slow_start;
        Self { members: &view.members, tried, now, ejected: false, tier: None, slow_start }
    }

    /// Those too that are ejected.
    pub(super) fn with_ejected(self) -> Self {
        Self { ejected: true, ..self }
    }

    /// Those of one tier.
    pub(super) fn of_tier(&self, tier: u32) -> Self {
        Self { tier: Some(tier), ..self.clone() }
    }

    /// Those of the tier that this session should go to, if there are several: each has sessions in
    /// proportion to what it can carry.
    pub(super) fn of_fair_tier(&self, tiers: &[u32], ask: &Ask) -> Option<Self> {
        if tiers.len() < 2 {
            return None;
        }
        let random = Draws::of(&Ask { random: !ask.random, ..*ask }).next();
        self.draw_tier(tiers, random).map(|tier| self.of_tier(tier))
    }

    /// The first tier as far as it is healthy, then the second, and so on.
    fn draw_tier(&self, tiers: &[u32], random: u64) -> Option<u32> {
        let loads = || {
            tiers.iter().scan(100, |left, tier| {
                let load = self.health_of(*tier).min(*left);
                *left -= load;
                Some((*tier, load))
            })
        };
        let all: u64 = loads().map(|(_, load)| load).sum();
        let mut drawn = random.checked_rem(all)?;
        loads().find_map(|(tier, load)| {
            let found = drawn < load;
            drawn = drawn.saturating_sub(load);
            found.then_some(tier)
        })
    }

    /// How much of a tier's load its usable members can carry, in percent; all if there are some to spare.
    fn health_of(&self, tier: u32) -> u64 {
        let of_tier = || self.members.iter().filter(|it| it.tier == tier && it.is_wanted());
        let sum = |members: &mut dyn Iterator<Item = &Member>| {
            members.map(|it| u64::from(it.weight)).sum::<u64>()
        };
        let wanted = sum(&mut of_tier());
        let usable = sum(&mut of_tier().filter(|it| self.is_healthy(it)));
        (usable * SPARE).checked_div(wanted).unwrap_or(0).min(100)
    }

    /// Its weight, as [`balance_weight`] makes it, or less while its share rises.
    fn weight(&self, member: &Member) -> u32 {
        let whole = balance_weight(member.weight, self.slow_start);
        let (Some(slow_start), Some(now)) = (self.slow_start, self.now) else { return whole };
        let part = u64::from(whole) * member.backend.health.ramp(slow_start, now) / WHOLE;
        u32::try_from(part).unwrap_or(whole).max(u32::from(whole > 0))
    }

    fn is_healthy(&self, member: &Member) -> bool {
        let health = &member.backend.health;
        self.now.is_none_or(|now| match self.ejected {
            true => !health.is_unhealthy(),
            false => health.is_usable(now),
        })
    }
}

impl Candidates for Possible<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn at(&self, index: usize) -> Candidate {
        let member = &self.members[index];
        let tried = || self.tried.iter().any(|tried| Arc::ptr_eq(tried, &member.backend));
        Candidate {
            weight: self.weight(member),
            active: member.backend.limit.current(),
            limit: member.backend.limit.max(),
            usable: member.is_wanted()
                && self.tier.is_none_or(|tier| tier == member.tier)
                && self.is_healthy(member)
                && !tried(),
        }
    }
}
