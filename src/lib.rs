//! Forebay, a TCP (layer 4) proxy and load balancer, as a library.
//!
//! The modules are named in the order in which a newcomer should read them;
//! ARCHITECTURE.md draws the house that they stand in.

pub mod config;

pub mod balance;
pub mod net;

pub mod model;
pub mod plugin;
pub mod session;

#[cfg(feature = "control")]
pub mod control;
pub mod worker;

#[cfg(feature = "cli")]
pub mod cli;
