//! The program from outside: for every command and every kind of bad input, what it prints where,
//! and its exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod program;

mod usage;

mod against;
mod check;
mod invalid;

mod demo;
mod run;
