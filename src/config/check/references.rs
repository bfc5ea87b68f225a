//! Names of pools: those that are used exist, those that exist are used, fallbacks end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::notes::Notes;
use super::super::problem::Problem;
use super::super::read_listener::RawListener;
use super::super::read_pool::RawPool;
use super::super::source::Place;
use super::super::suggest::{did_you_mean, listed, quoted};

/// Pools that a new session may be asked for, one after the other.
const FALLBACKS: usize = 16;

/// Names of pools that a message lists.
const SHOWN: usize = 20;

/// The pools by name.
pub(super) struct Pools<'a> {
    all: &'a [RawPool],
    by_name: HashMap<&'a str, &'a RawPool>,
}

impl<'a> Pools<'a> {
    pub(super) fn new(all: &'a [RawPool]) -> Self {
        Self { all, by_name: all.iter().map(|raw| (&*raw.pool.name, raw)).collect() }
    }

    pub(super) fn all(&self) -> &'a [RawPool] {
        self.all
    }

    pub(super) fn check(&self, listeners: &[RawListener], notes: &Notes) {
        // What uses an unknown name may mean any pool.
        let mut known = !listeners.is_empty();
        for raw in listeners {
            known &= raw.pool.is_some();
            known &= self.check_name(&raw.listener.pool, raw.pool.as_ref(), notes);
        }
        for raw in self.all {
            let name = raw.pool.fallback.as_deref().unwrap_or_default();
            known &= self.check_name(name, raw.fallback.as_ref(), notes);
        }
        self.check_cycles(notes);
        if known {
            self.check_use(listeners, notes);
        }
    }

    /// True exactly when there is such a pool, or a problem has said before why there is no name.
    fn check_name(&self, name: &str, place: Option<&Place>, notes: &Notes) -> bool {
        let unknown = place.filter(|_| !self.by_name.contains_key(name));
        let Some(place) = unknown else { return true };
        let known = || self.all.iter().map(|raw| &*raw.pool.name);
        let problem = Problem::error(place.clone(), format!("unknown pool {}", quoted(name)));
        if notes.is_full() {
            // Looking for what was meant takes a look at every pool.
            notes.add_absence(problem);
            return false;
        }
        notes.add_absence(match did_you_mean(name, known()) {
            Some(hint) => problem.help(hint),
            None if self.all.is_empty() => problem.help(format!("add [pool.{name}]")),
            None => problem.help(format!("known: {}", listed(known().take(SHOWN)))),
        });
        false
    }

    /// The pool of that name and those that it falls back to, each once, at most [`FALLBACKS`].
    pub(super) fn chain(&self, name: &str) -> Vec<&'a RawPool> {
        let mut chain: Vec<&RawPool> = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.by_name.get(name);
        while let Some(raw) = next.filter(|raw| seen.insert(Arc::clone(&raw.pool.name))) {
            if chain.len() > FALLBACKS {
                break;
            }
            chain.push(raw);
            next = raw.pool.fallback.as_deref().and_then(|name| self.by_name.get(name));
        }
        chain
    }

    /// Each circle is reported once, at its first pool in the file.
    fn check_cycles(&self, notes: &Notes) {
        let mut reported = HashSet::new();
        for raw in self.all {
            let chain = self.chain(&raw.pool.name);
            if chain.len() > FALLBACKS {
                let message = format!("more than {FALLBACKS} fallbacks, one behind the other");
                notes.add(Problem::error(raw.fallback.clone(), message));
                continue;
            }
            let last = chain.last().and_then(|last| last.pool.fallback.as_ref());
            let circle = last == Some(&raw.pool.name);
            if !circle || chain.iter().any(|raw| reported.contains(&raw.pool.name)) {
                continue;
            }
            reported.extend(chain.iter().map(|raw| Arc::clone(&raw.pool.name)));
            let names = chain.iter().map(|raw| &*raw.pool.name).chain([&*raw.pool.name]);
            let message =
                format!("fallbacks go in a circle: {}", names.collect::<Vec<_>>().join(" → "));
            let mut problem = Problem::error(raw.fallback.clone(), message);
            for place in chain.iter().skip(1).filter_map(|raw| raw.fallback.clone()) {
                problem = problem.related(place, "and from here");
            }
            notes.add(problem);
        }
    }

    /// A guard may send a session to any pool, so with guards every pool is used.
    fn check_use(&self, listeners: &[RawListener], notes: &Notes) {
        if listeners.iter().any(|raw| !raw.listener.guards.is_empty()) {
            return;
        }
        let chains = listeners.iter().flat_map(|raw| self.chain(&raw.listener.pool));
        let used: HashSet<&str> = chains.map(|raw| &*raw.pool.name).collect();
        for raw in self.all.iter().filter(|raw| !used.contains(&*raw.pool.name)) {
            let message = format!("pool `{}` is used by no listener", raw.pool.name);
            notes.add_absence(Problem::warning(raw.place.clone(), message));
        }
    }
}
