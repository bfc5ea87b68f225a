//! `first`: the first eligible member in the order of the file, so the others stand by.
//!
//! With `max_connections` on each member it fills one before it starts on the next. It holds no state.

use super::{Ask, Balancer, Candidates, Member, Selector, first_eligible};

/// Picks the first eligible member in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct First;

impl Balancer for First {
    fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
        Box::new(Self)
    }
}

impl Selector for First {
    fn pick(&self, _ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        first_eligible(0..candidates.count(), candidates)
    }
}
