//! What every fuzz target does with its bytes; it panics when a promise is broken.
//!
//! Included by tests/fuzz.rs too, which replays the corpora without a fuzzer.

pub mod answers;
pub mod balance;
pub mod config;
pub mod session;
pub mod words;

mod bytes;
mod judge;

/// What a target does with the bytes of one run.
pub type Target = fn(&[u8]);

/// Every target by its name, under which its corpus stands.
pub const TARGETS: [(&str, Target); 5] = [
    ("config", config::run),
    ("session", session::run),
    ("balance", balance::run),
    ("words", words::run),
    ("answers", answers::run),
];
