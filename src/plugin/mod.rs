//! The public seams, the plain facts that they are given, and the registry of kinds by name.

mod facts;
mod reason;
mod registry;

pub use crate::balance::Balancer;
pub use facts::{Observer, SessionFacts};
pub use reason::{Cause, EndReason, Phase};
pub use registry::{BalancerFactory, Registry};
