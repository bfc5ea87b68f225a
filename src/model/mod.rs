//! model

mod limit;
mod rate;
mod sources;

pub use limit::{Limit, NoWaiters, Permit, WORKERS_MAX, Wake};
pub use rate::RateLimiter;
pub use sources::{Refused, SOURCES_MAX, SourcePermit, Sources};
