//! What a reload changes: one configuration held against another, in words.
//!
//! Pure: it looks at two values and nothing else. Every struct of the settings is taken apart field
//! by field, so that a field that no change tells of does not compile.

mod backends;
mod found;
mod listener;
mod pool;
mod process;
mod show;
mod tell;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::{BackendAddress, Config, OnRemove};

/// What differs between two configurations, in the order: process, listeners, pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    changes: Vec<Change>,
    remade: Vec<Arc<str>>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What changes.
    pub subject: Subject,
    /// How, on one line: `max_connections 100 → 200`.
    pub what: String,
    /// Whose sessions it reaches.
    pub touches: Touches,
}

/// What a change is a change of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A section of the whole process: `limits`, `shutdown`, `reload` or `runtime`.
    Process(&'static str),
    /// A listener by its name.
    Listener(Arc<str>),
    /// A pool by its name.
    Pool(Arc<str>),
}

/// Whose sessions a change reaches. What is changed in any other way holds for new sessions.
#[derive(Debug, Clone, PartialEq)]
pub enum Touches {
    /// None.
    Nothing,
    /// Those of its listener, which is removed. They live on.
    Listener,
    /// Those of these backends of its pool, which are removed.
    Backends(Vec<BackendAddress>, OnRemove),
    /// Those of its pool, which is removed.
    Pool(OnRemove),
}

/// How many sessions there are, as control knows it.
pub trait Sessions {
    /// Those that came through the listener of this name.
    fn of_listener(&self, name: &str) -> u32;
    /// Those with any backend of the pool of this name.
    fn of_pool(&self, name: &str) -> u32;
    /// Those with the backend at `address`, or with all that its host name stands for.
    fn of_backend(&self, pool: &str, address: &BackendAddress) -> u32;
}

impl Plan {
    /// What has to change for `new` to hold where `old` does.
    pub fn between(old: &Config, new: &Config) -> Self {
        let Config { limits, shutdown, reload, runtime, listeners, pools } = old;
        let mut changes = Vec::new();
        process::limits(limits, &new.limits, &mut changes);
        process::shutdown(shutdown, &new.shutdown, &mut changes);
        process::reload(reload, &new.reload, &mut changes);
        process::runtime(runtime, &new.runtime, &mut changes);
        let remade = listener::all(listeners, &new.listeners, &mut changes);
        pool::all(pools, &new.pools, &mut changes);
        Self { changes, remade }
    }

    /// True exactly when nothing changes. A listener's addresses and networks, the listeners and the
    /// pools may stand in another order: that means nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Every change.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Listeners of which every socket must be made anew, since an open one cannot be moved to
    /// another interface. All else that changes is set on the sockets that are open; `freebind`
    /// matters only when an address is bound.
    pub fn remade(&self) -> &[Arc<str>] {
        &self.remade
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(section) => out.write_str(section),
            Self::Listener(name) => write!(out, "listener {name}"),
            Self::Pool(name) => write!(out, "pool {name}"),
        }
    }
}
