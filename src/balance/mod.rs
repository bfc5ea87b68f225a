//! Which backend serves a new session: pure choice, no socket, no clock, no log.
//!
//! A [`Balancer`] is made once from its options and lives as long as they stay equal. For every list
//! of members it makes a [`Selector`], which workers share and ask without a lock. A session whose
//! first choice fails asks again, with the ones already tried no longer usable.

/// A backend as a policy knows it when the list of a pool changes.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Candidates for [Candidate] {
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
pub trait Balancer: Send + Sync {
    /// Arranges a list of members. What must outlive the list (positions) stays in `self`.
    fn selector(&self, members: &[Member]) -> Box<dyn Selector>;
}

/// A rule of choice over one list of members.
pub trait Selector: Send + Sync {
    /// The index of an eligible candidate, or `None` if there is none.
    fn pick(&self, ask: &Ask, candidates: &dyn Candidates) -> Option<usize>;
}

/// stub
#[derive(Debug)]
pub struct First;
struct FirstSel;
impl Balancer for First {
    fn selector(&self, _m: &[Member]) -> Box<dyn Selector> {
        Box::new(FirstSel)
    }
}
impl Selector for FirstSel {
    fn pick(&self, _a: &Ask, c: &dyn Candidates) -> Option<usize> {
        (0..c.count()).find(|&i| c.at(i).eligible())
    }
}
