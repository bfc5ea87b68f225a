//! Where problems are noted while reading goes on.

use std::cell::{Cell, RefCell};

use super::problem::Problem;
use super::problems::Problems;

/// The problems found so far, shared by everything that reads.
#[derive(Debug, Default)]
pub(super) struct Notes {
    problems: RefCell<Problems>,
    broken: Cell<bool>,
}

impl Notes {
    pub(super) fn add(&self, problem: Problem) {
        // Nothing that runs inside `push` notes a problem, so the borrow cannot fail.
        if let Ok(mut problems) = self.problems.try_borrow_mut() {
            problems.push(problem);
        }
    }

    /// A part of the text could not be read, so what seems to be absent may stand there.
    pub(super) fn mark_broken(&self) {
        self.broken.set(true);
    }

    /// True exactly when a part of the text could not be read.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Notes that something is absent, unless it may stand where the text could not be read.
    pub(super) fn add_absence(&self, problem: Problem) {
        if !self.is_broken() {
            self.add(problem);
        }
    }

    /// True exactly when more has been noted than is kept: what looks for more may stop.
    pub(super) fn is_full(&self) -> bool {
        self.problems.try_borrow().is_ok_and(|problems| problems.omitted() > 0)
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }
}
