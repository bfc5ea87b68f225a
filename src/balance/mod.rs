//! Which backend serves a new session: pure choice, no socket, no clock, no log.
//!
//! A [`Balancer`] is made once from its options and lives as long as they stay equal. For every list
//! of members it makes a [`Selector`], which workers share and ask without a lock. A session whose
//! first choice fails asks again, with the ones already tried no longer usable.
//!
//! Every policy picks an eligible candidate exactly when there is one, never one of weight 0, and looks
//! at each candidate a bounded number of times. None allocates, waits, logs or reads a clock to pick.

mod first;
mod least_connections;
mod random_two;
mod round_robin;
mod source_hash;

mod alias;
mod draws;
mod maglev;

pub(crate) use draws::Draws;
pub use first::First;
pub use least_connections::LeastConnections;
pub use random_two::RandomTwo;
pub use round_robin::RoundRobin;
pub use source_hash::{SourceHash, SourceHashOptions};

/// A backend as a policy knows it when the list of a pool changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Names the backend across lists, processes and restarts (its address as text).
    pub identity: String,
    /// Share of new sessions; 0: none.
    pub weight: u32,
}

/// A possible choice at this moment: plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Share of new sessions; 0: none.
    pub weight: u32,
    /// Sessions that it has now.
    pub active: u32,
    /// Sessions that it may have.
    pub limit: u32,
    /// True exactly when nothing but its limit forbids a new session: it is ready, healthy and not
    /// yet tried for this session.
    pub usable: bool,
}

impl Candidate {
    /// True exactly when it may be picked.
    pub fn eligible(&self) -> bool {
        self.usable && self.weight > 0 && self.active < self.limit
    }
}

/// The candidates of one pool, in the order of the members, read one by one.
pub trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at `index`, which is below `count`.
    fn at(&self, index: usize) -> Candidate;
}

impl Candidates for Vec<Candidate> {
    fn count(&self) -> usize {
        self.len()
    }
    fn at(&self, index: usize) -> Candidate {
        self[index]
    }
}

/// What is known of the session that asks.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The client's address; none for a unix socket.
    pub source: Option<std::net::IpAddr>,
    /// A random number, fresh for every ask.
    pub random: u64,
}

/// A rule of choice, made once from its options.
///
/// It is asked in the worker, once for each attempt to connect, so it must never block.
///
/// ```
/// use forebay::plugin::{Ask, Balancer, Candidates, Member, Options, Registry, Selector};
///
/// /// `balance = { fill_up = { keep_free = 10 } }`: the first backend that has so many sessions left.
/// #[derive(Clone, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct FillUp {
///     keep_free: u32,
/// }
///
/// impl Balancer for FillUp {
///     fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
///         Box::new(self.clone())
///     }
/// }
///
/// impl Selector for FillUp {
///     fn pick(&self, _ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
///         (0..candidates.count()).find(|&index| {
///             let candidate = candidates.at(index);
///             candidate.eligible() && candidate.limit - candidate.active > self.keep_free
///         })
///     }
/// }
///
/// let mut registry = Registry::with_builtins();
/// registry.balancer("fill_up", Options::read::<FillUp>);
/// ```
pub trait Balancer: Send + Sync {
    /// Arranges a list of members. What must outlive the list (positions) stays in `self`.
    fn selector(&self, members: &[Member]) -> Box<dyn Selector>;
}

/// A rule of choice over one list of members.
pub trait Selector: Send + Sync {
    /// The index of an eligible candidate, or `None` if there is none.
    fn pick(&self, ask: &Ask, candidates: &dyn Candidates) -> Option<usize>;
}

/// The options of a policy that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// The first eligible index in the order of `indices`.
fn first_eligible(
    mut indices: impl Iterator<Item = usize>,
    candidates: &dyn Candidates,
) -> Option<usize> {
    indices.find(|&index| candidates.at(index).eligible())
}

#[cfg(test)]
mod tests;
