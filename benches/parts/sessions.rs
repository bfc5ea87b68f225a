//! What a full worker keeps of its sessions: their timers and their table.

use crate::table::{Key, Table};
use crate::wheel::Wheel;

/// Sessions that a full worker has.
pub(crate) const SESSIONS: usize = 10_000;

/// About as large as an entry of the worker's table.
pub(crate) type Entry = [u64; 48];

pub(super) fn full_wheel() -> Wheel {
    let mut wheel = Wheel::new();
    (0..SESSIONS).for_each(|index| wheel.arm(index, 1 + index as u64 * 7 % 30_000));
    wheel
}

/// A full table, and the keys of its entries.
pub(crate) fn full_table() -> (Table<Entry>, Vec<Key>) {
    let mut table = Table::new();
    (0..SESSIONS).for_each(|_| table.insert([0; 48]));
    let keys = table.keys();
    (table, keys)
}

/// The one whose turn it is after `index`: all come, far from each other.
pub(crate) fn next(index: usize) -> usize {
    (index + 7_919) % SESSIONS
}
