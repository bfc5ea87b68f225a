//! What the whole process shares: limits, counters, and the objects that outlive a reload.
//!
//! Does no I/O and logs nothing.

mod budget;

pub use budget::Budget;
