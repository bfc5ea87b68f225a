//! For tests: how many calls of a scripted plug-in are under way at once.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Calls under way, and the most that there were.
#[derive(Debug, Default)]
pub(crate) struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AtOnce {
    /// One more is under way until it is dropped.
    pub(crate) fn enter(&self) -> UnderWay<'_> {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        UnderWay(self)
    }

    /// The most that there ever were.
    pub(crate) fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

/// A call under way.
pub(crate) struct UnderWay<'a>(&'a AtOnce);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}
