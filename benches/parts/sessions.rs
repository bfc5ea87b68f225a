//! What a full worker keeps of its sessions: their timers and their table.

use slab::Slab;

use crate::wheel::Wheel;

/// Sessions that a full worker has.
pub(crate) const SESSIONS: usize = 10_000;

/// The worker's table is a slab whose entries carry a generation; an entry is about this large.
pub(crate) type Table = Slab<(u32, [u64; 48])>;

pub(super) fn full_wheel() -> Wheel {
    let mut wheel = Wheel::new();
    (0..SESSIONS).for_each(|index| wheel.arm(index, 1 + index as u64 * 7 % 30_000));
    wheel
}

pub(crate) fn full_table() -> Table {
    (0..SESSIONS).map(|at| (at, (7, [0; 48]))).collect()
}

/// The one whose turn it is after `index`: all come, far from each other.
pub(crate) fn next(index: usize) -> usize {
    (index + 7_919) % SESSIONS
}
