//! Forebay, a TCP (layer 4) proxy and load balancer, as a library.
//!
//! What a user may want to decide differently is a small trait: [which backend](plugin::Balancer)
//! serves a session, [who is let in and to which pool](plugin::Guard), [what is told of
//! sessions](plugin::Observer). A program with plug-ins of its own is the whole of Forebay with these
//! beside the built-in ones:
//!
//! ```no_run
//! use forebay::Builder;
//! use forebay::plugin::{Connection, Decision, Guard, Options};
//!
//! /// `guards = [{ closed = { ports = [8081] } }]`
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Closed {
//!     ports: Vec<u16>,
//! }
//!
//! impl Guard for Closed {
//!     fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
//!         match connection.local {
//!             Some(local) if self.ports.contains(&local.port()) => Decision::Deny,
//!             _ => Decision::Allow,
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Builder::new().guard("closed", Options::read::<Closed>).run()
//! }
//! ```
//!
//! It understands the same arguments as `forebay`, and `check` judges the options of the new guard
//! as it does everything else in the file. `Builder::start` runs one configuration
//! without the command line.
//!
//! Features: `cli` (the command line) and `control` (the control plane) are on by default. Without
//! both, the crate is the data plane alone: [`config`] reads a file, [`model::Objects`] makes what it
//! says ready, and a [`worker::Worker`] serves it on a thread.
//!
//! The modules are named in the order in which a newcomer should read them;
//! ARCHITECTURE.md draws the house that they stand in.

pub mod config;

pub mod balance;
pub mod net;
#[cfg(feature = "control")]
pub mod wire;

pub mod model;
pub mod plugin;
pub mod session;

#[cfg(feature = "control")]
pub mod control;
#[cfg(feature = "control")]
pub mod discovery;
#[cfg(feature = "control")]
pub mod health;
pub mod worker;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "control")]
mod builder;
#[cfg(feature = "control")]
pub use builder::Builder;
