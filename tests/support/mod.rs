//! What the end-to-end tests share: the program under test, backends, clients, clocks.
//!
//! Helpers read like English and wait with a deadline; nothing here sleeps for a fixed time,
//! uses a fixed port, or ends a process that it did not start.

#![allow(dead_code, unused_imports, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test crates, public in none")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails loudly and says where"
)]

mod arrivals;
mod backend;
mod careless;
mod child;
mod counting;
mod forebay;
mod impair;
mod log;
mod netns;
mod pattern;
mod peer;
mod process;
mod programs;
mod queue;
mod reload;
mod served;
mod server;
mod tun;
mod wait;
mod waves;

pub use arrivals::{Arrivals, Fates};
pub use backend::{Backend, deaf_address, refusing_address};
pub use careless::Careless;
pub use child::{Child, output_within, serve_if_asked};
pub use counting::Counting;
pub use forebay::{Exit, Forebay, Start};
pub use impair::{Impair, LEFT, Line, RIGHT};
pub use log::SessionLine;
pub use netns::{Netns, WITHOUT_RIGHTS};
pub use pattern::Pattern;
pub use peer::{End, Peer};
pub use process::{Process, kill};
pub use programs::{ci, found, leave_out, left_out, root_or_left_out};
pub use queue::{unacknowledged, unread};
pub use reload::Status;
pub use served::Served;
pub use server::{Server, run};
pub use wait::{comes_true, eventually, obtain, pause};
pub use waves::{Caps, THREADS, all_at_once, churn, comes_to_rest};

use std::time::Duration;

/// The product's bound on a client's RST reaching an upstream that is sending.
pub const RESET_BOUND: Duration = Duration::from_millis(250);

/// More than any healthy step takes, on a machine busy with other work.
pub const SOON: Duration = Duration::from_secs(10);
