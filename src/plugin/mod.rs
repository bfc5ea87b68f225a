//! The public seams, the plain facts that they are given, and the registry of kinds by name.
//!
//! A plug-in is a type that implements one of the traits, registered under the name by which the file
//! selects it; [`Options`] reads its options and says of each wrong one where it stands. What a
//! plug-in needs besides is exported here again. `examples/` has a whole program for each trait.

#[cfg(test)]
pub(crate) mod at_once;
mod guard;
mod observer;
mod probe;
mod provider;
mod reason;
mod registry;

mod source_route;

pub use crate::balance::{Ask, Balancer, Candidate, Candidates, Member, Selector};
pub use crate::config::{Options, Problem};
pub use crate::net::{Address, Peer};
pub use guard::{Connection, Decision, Guard, unknown_pools};
pub use observer::{Observer, SessionEvent, SessionFacts, SessionStart};
pub use probe::{Measuring, Probe, Target};
pub use provider::{Answer, Finding, Found, Provider, Question};
pub use reason::{Cause, EndReason, Phase};
pub use registry::Registry;
pub use source_route::SourceRoute;
