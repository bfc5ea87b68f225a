//! What the whole process shares: limits, counters, and the objects that outlive a reload.
//!
//! Does no I/O and logs nothing.

mod snapshot;

mod backend;
mod guards;
mod health;
mod listener;
mod pool;
mod possible;

mod assemble;
mod budget;
mod counters;
mod limit;
mod pulse;
mod queue;
mod rate;
mod retries;
mod sources;
mod throttle;

pub use assemble::{Objects, Resolved, Wanted, keepalive};
pub use backend::{Backend, Endpoint};
pub use budget::Budget;
pub use counters::{Count, Counters, Ends, Gauges};
pub use guards::{Guards, Objection, Why};
pub use health::{Ejection, Health, Record, Return, State as HealthState, WHOLE};
pub use limit::{Limit, NoWaiters, Permit, WORKERS_MAX, Wake};
pub use listener::{Listener, ListenerView, Verdict};
pub use pool::{Member, Picked, Pool, PoolView, Pools};
pub use pulse::{Pulse, Standing, Work};
pub use queue::{Queue, Ticket, Waiter};
pub use rate::RateLimiter;
pub use retries::Retries;
pub use snapshot::{Model, Snapshot, SocketId};
pub use sources::{Refused, SOURCES_MAX, SourcePermit, Sources};
pub use throttle::Throttle;
