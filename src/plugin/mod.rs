//! The public seams, the plain facts that they are given, and the registry of kinds by name.

mod reason;

pub use reason::{Cause, EndReason, Phase};
