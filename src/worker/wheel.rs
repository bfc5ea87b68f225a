//! Timers of one worker: a hierarchical wheel whose entries are linked through an array.
//!
//! Arming, disarming and firing cost O(1) and allocate nothing, but for the array when the table
//! grows. Six levels of 64 slots, each slot of a level as long as the whole level below it, reach
//! 2^36 milliseconds, over two years (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
//! 1987, scheme 7). A timer fires at its tick or later, never before.

/// Slots of a level.
const SLOTS: usize = 64;
const LEVELS: usize = 6;
const BITS: u32 = 6;
/// The farthest that a timer can be armed ahead, in ticks; farther ones fire early and are armed
/// anew by whoever asked.
const FARTHEST: u64 = (1 << (BITS * 6)) - 1;
/// No link, no slot.
const NONE: u32 = u32::MAX;

/// The place of one timer.
#[derive(Debug, Clone, Copy)]
struct Node {
    when: u64,
    previous: u32,
    next: u32,
    /// `level * SLOTS + slot`, or `NONE` when it is not armed.
    slot: u32,
}

const IDLE: Node = Node { when: 0, previous: NONE, next: NONE, slot: NONE };

/// The timers of one worker, at most one for each index.
#[derive(Debug)]
pub(super) struct Wheel {
    nodes: Vec<Node>,
    /// First timer of every slot.
    heads: [u32; SLOTS * LEVELS],
    /// A bit for every slot that is not empty, by level.
    occupied: [u64; LEVELS],
    /// Ticks that have passed.
    now: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "levels, slots and indices are below 2^31")]
impl Wheel {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), heads: [NONE; SLOTS * LEVELS], occupied: [0; LEVELS], now: 0 }
    }

    /// When the timer of `index` fires, if it is armed.
    pub(super) fn armed(&self, index: usize) -> Option<u64> {
        self.nodes.get(index).filter(|node| node.slot != NONE).map(|node| node.when)
    }

    /// Arms the timer of `index` for the tick `when`, instead of any moment before.
    pub(super) fn arm(&mut self, index: usize, when: u64) {
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, IDLE);
        }
        self.disarm(index);
        self.link(index, when.clamp(self.now + 1, self.now + FARTHEST));
    }

    /// Forgets the timer of `index`.
    pub(super) fn disarm(&mut self, index: usize) {
        let Some(&Node { previous, next, slot, .. }) = self.nodes.get(index) else { return };
        if slot == NONE {
            return;
        }
        match self.nodes.get_mut(previous as usize) {
            Some(node) => node.next = next,
            None => self.heads[slot as usize] = next,
        }
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
        if self.heads[slot as usize] == NONE {
            self.occupied[slot as usize / SLOTS] &= !(1 << (slot as usize % SLOTS));
        }
        self.nodes[index] = IDLE;
    }

    /// The tick at which [`expire`](Self::expire) has something to do.
    pub(super) fn next(&self) -> Option<u64> {
        self.earliest().map(|(_, tick)| tick)
    }

    /// Moves time to `now` and puts the indices whose timers fire into `fired`.
    pub(super) fn expire(&mut self, now: u64, fired: &mut Vec<usize>) {
        while let Some((slot, tick)) = self.earliest().filter(|(_, tick)| *tick <= now) {
            self.now = self.now.max(tick);
            self.empty(slot, fired);
        }
        self.now = self.now.max(now);
    }

    /// Fires what is due of a slot and links the rest into a lower level.
    fn empty(&mut self, slot: usize, fired: &mut Vec<usize>) {
        let mut index = std::mem::replace(&mut self.heads[slot], NONE);
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        while let Some(node) = self.nodes.get_mut(index as usize) {
            let Node { when, next, .. } = std::mem::replace(node, IDLE);
            if when <= self.now {
                fired.push(index as usize);
            } else {
                self.link(index as usize, when);
            }
            index = next;
        }
    }

    fn link(&mut self, index: usize, when: u64) {
        // The level is that of the highest bit in which the moment differs from now.
        let differs = (self.now ^ when) | (SLOTS as u64 - 1);
        let level = (((63 - differs.leading_zeros()) / BITS) as usize).min(LEVELS - 1);
        let within = (when >> (level as u32 * BITS)) as usize % SLOTS;
        let slot = level * SLOTS + within;
        let first = std::mem::replace(&mut self.heads[slot], index as u32);
        if let Some(node) = self.nodes.get_mut(first as usize) {
            node.previous = index as u32;
        }
        self.nodes[index] = Node { when, previous: NONE, next: first, slot: slot as u32 };
        self.occupied[level] |= 1 << within;
    }

    /// The first slot to be emptied and when. A lower level always comes before a higher one.
    fn earliest(&self) -> Option<(usize, u64)> {
        (0..LEVELS).find(|&level| self.occupied[level] != 0).map(|level| {
            let shift = level as u32 * BITS;
            let here = (self.now >> shift) % SLOTS as u64;
            let ahead = u64::from(self.occupied[level].rotate_right(here as u32).trailing_zeros());
            let within = (here + ahead) % SLOTS as u64;
            let tick = ((self.now >> shift) + ahead) << shift;
            (level * SLOTS + within as usize, tick)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Arm(usize, u64),
        Disarm(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ahead = prop_oneof![0..70u64, 0..5_000u64, 0..300_000u64, 0..(1u64 << 33)];
        prop_oneof![
            3 => (0..40usize, ahead.clone()).prop_map(|(index, ahead)| Step::Arm(index, ahead)),
            1 => (0..40usize).prop_map(Step::Disarm),
            2 => ahead.prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn fires_what_a_sorted_map_would_fire(steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Arm(index, ahead) => {
                        wheel.arm(index, now + ahead);
                        model.insert(index, (now + ahead).max(now + 1));
                    }
                    Step::Disarm(index) => {
                        wheel.disarm(index);
                        model.remove(&index);
                    }
                    Step::Pass(ticks) => {
                        now += ticks;
                        let mut fired = Vec::new();
                        wheel.expire(now, &mut fired);
                        fired.sort_unstable();
                        let due: Vec<usize> =
                            model.iter().filter(|(_, when)| **when <= now).map(|(i, _)| *i).collect();
                        model.retain(|_, when| *when > now);
                        prop_assert_eq!(fired, due);
                    }
                }
                let first = model.values().min().copied();
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next(), first) {
                    prop_assert!(next <= first && next > now);
                }
                for index in 0..40 {
                    prop_assert_eq!(wheel.armed(index), model.get(&index).copied());
                }
            }
        }
    }
}
