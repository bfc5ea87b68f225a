//! A pool: backends, the rule by which one is picked, and how it is reached.

use std::sync::Arc;

use super::{Backend, Counters, Limit, Permit};
use crate::balance::{Ask, Candidate, Candidates, Selector};
use crate::config::{Connect, State, Timeouts};
use crate::net::ConnectOptions;

/// Rounds of picking for one attempt: another worker may take the last permit in between.
const ROUNDS: usize = 8;

/// A pool. It outlives the snapshots that name it; its identity is its name.
#[derive(Debug)]
pub struct Pool {
    /// Its name in the file.
    pub name: Arc<str>,
    /// `max_connections`
    pub limit: Arc<Limit>,
    /// What happened.
    pub counters: Counters,
}

/// A backend as one snapshot sees it.
#[derive(Debug)]
pub struct Member {
    /// What outlives the snapshot.
    pub backend: Arc<Backend>,
    /// Share of new sessions.
    pub weight: u32,
    /// The operator's will.
    pub state: State,
}

/// A pool as one snapshot sees it.
pub struct PoolView {
    /// What outlives the snapshot.
    pub pool: Arc<Pool>,
    /// How connects are made.
    pub connect: Connect,
    /// What upstream sockets are made with.
    pub options: ConnectOptions,
    /// Bounds in time.
    pub timeouts: Arc<Timeouts>,
    /// Its backends, names looked up.
    pub members: Vec<Member>,
    /// The rule of choice over `members`.
    pub selector: Box<dyn Selector>,
    /// Asked when this one has no usable backend.
    pub fallback: Option<Arc<PoolView>>,
}

impl std::fmt::Debug for PoolView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolView").field("name", &self.pool.name).finish_non_exhaustive()
    }
}

/// What came out of a pick.
#[derive(Debug)]
pub enum Picked {
    /// This backend, and the right to a session with it.
    Backend(Arc<Backend>, Permit),
    /// Those that would do have all the sessions they may have.
    Full,
    /// None would do.
    None,
}

/// The members as candidates of one session.
struct Possible<'a> {
    members: &'a [Member],
    tried: &'a [Arc<Backend>],
}

impl Candidates for Possible<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn at(&self, index: usize) -> Candidate {
        let member = &self.members[index];
        let tried = self.tried.iter().any(|tried| Arc::ptr_eq(tried, &member.backend));
        Candidate {
            weight: member.weight,
            active: member.backend.limit.current(),
            limit: member.backend.limit.max(),
            usable: member.state == State::Ready && !tried,
        }
    }
}

impl PoolView {
    /// Picks a backend that this session has not tried.
    pub fn pick(&self, ask: &Ask, tried: &[Arc<Backend>]) -> Picked {
        let possible = Possible { members: &self.members, tried };
        for _ in 0..ROUNDS {
            let picked = self.selector.pick(ask, &possible);
            // A policy of somebody else's may name what it must not.
            let picked = picked.and_then(|index| self.members.get(index).map(|it| (index, it)));
            let Some((_, member)) = picked.filter(|(index, _)| possible.at(*index).eligible())
            else {
                break;
            };
            if let Some(permit) = member.backend.limit.acquire() {
                return Picked::Backend(Arc::clone(&member.backend), permit);
            }
        }
        if self.is_exhausted(tried) { Picked::None } else { Picked::Full }
    }

    /// True exactly when no backend is left that would do if it had room.
    pub fn is_exhausted(&self, tried: &[Arc<Backend>]) -> bool {
        let possible = Possible { members: &self.members, tried };
        let would_do = |index| possible.at(index).usable && possible.at(index).weight > 0;
        !(0..possible.count()).any(would_do)
    }
}
