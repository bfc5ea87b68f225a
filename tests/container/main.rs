//! The image in a real engine: what it may do, how it finds backends, what limits mean to it, how it stops.
//!
//! It is built from docker/Dockerfile as users build it, but on this machine's own compiler and
//! crates, since no registry need be in reach. What a test makes in the engine goes with the test.

#![allow(unreachable_pub, reason = "the modules of a test crate are public in none")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails loudly and says where"
)]

mod compose;
mod confinement;
mod container;
mod engine;
mod image;
mod leftovers;
mod memory;
mod reload;
mod stop;
#[path = "../support/mod.rs"]
mod support;

use container::{Container, Run};
use engine::Engine;
use image::Image;
