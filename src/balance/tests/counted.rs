//! Candidates that count how often a policy looks at one, for the tests and the fuzz target.

use std::cell::Cell;

use super::{Candidate, Candidates};

pub(super) struct Counted<'a> {
    candidates: &'a [Candidate],
    looks: Cell<usize>,
}

impl<'a> Counted<'a> {
    pub(super) fn new(candidates: &'a [Candidate]) -> Self {
        Self { candidates, looks: Cell::new(0) }
    }

    pub(super) fn looks(&self) -> usize {
        self.looks.get()
    }

    /// The most looks that a policy may take: one walk over all, and the draws before it.
    pub(super) fn looks_max(&self) -> usize {
        self.candidates.len() + 17
    }
}

impl Candidates for Counted<'_> {
    fn count(&self) -> usize {
        self.candidates.len()
    }
    fn at(&self, index: usize) -> Candidate {
        self.looks.set(self.looks.get() + 1);
        self.candidates[index]
    }
}
