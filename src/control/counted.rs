//! How many sessions there are: for a plan that says whom a reload touches, and once all are gone.

use std::sync::Arc;

use crate::config::{BackendAddress, Sessions};
use crate::model::{Model, Objects, Resolved};

/// Counts sessions.
pub(super) struct Counted<'a> {
    objects: &'a Objects,
    resolved: &'a Resolved,
}

impl<'a> Counted<'a> {
    /// Among `objects`; `resolved` says which addresses a host name stands for.
    pub(super) fn new(objects: &'a Objects, resolved: &'a Resolved) -> Self {
        Self { objects, resolved }
    }
}

impl Sessions for Counted<'_> {
    fn of_listener(&self, name: &str) -> u32 {
        self.objects.sessions_of_listener(name)
    }

    fn of_pool(&self, name: &str) -> u32 {
        self.objects.sessions_of_pool(name)
    }

    fn of_backend(&self, pool: &str, address: &BackendAddress) -> u32 {
        self.objects.sessions_of_backend(&Arc::from(pool), address, self.resolved)
    }
}

/// Says what is still counted although every session is gone, which is a fault of this program.
pub(super) fn report_leftovers(objects: &Objects, model: &Model) {
    let process = [
        ("sessions", "of the process", u64::from(model.sessions.current())),
        ("bytes", "of buffers", model.budget.used()),
    ];
    let process = process.into_iter().filter(|&(_, _, count)| count > 0);
    for (what, name, count) in process.chain(objects.still_counted()) {
        tracing::error!(what, name, count, "still counted after the end of every session");
    }
}
