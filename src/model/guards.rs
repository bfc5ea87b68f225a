//! The guards of a listener: asked one after the other, until one does not allow.
//!
//! A guard may be somebody else's: what it says is checked, and if it panics, that connection alone is
//! refused.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{PoolView, Pools};
use crate::config::{Choice, Config, Listener, Problem};
use crate::plugin::{Connection, Decision, Guard, Registry, unknown_pools};

/// The guards of one listener, in the order of the file.
#[derive(Clone, Default)]
pub struct Guards {
    /// Each with the choice that it was made from.
    chosen: Vec<(Choice, Arc<dyn Guard>)>,
    /// What they may send a connection to.
    pools: Arc<Pools>,
}

/// A guard's word against a connection.
#[derive(Debug)]
pub struct Objection<'a> {
    /// The guard's name in the file.
    pub guard: &'a str,
    /// What it said.
    pub why: Why<'a>,
}

/// Why a guard keeps a connection out.
#[derive(Debug)]
pub enum Why<'a> {
    /// It denies it.
    Denied,
    /// It sends it to a pool that the file does not have.
    UnknownPool(&'a str),
    /// It panicked.
    Panicked,
}

impl Guards {
    /// True exactly when there are none to ask.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// The pool that a connection is sent to; none if all guards allow it where it would go.
    ///
    /// # Errors
    /// Which guard keeps it out, and why.
    pub fn ask(&self, connection: &Connection<'_>) -> Result<Option<Arc<PoolView>>, Objection<'_>> {
        for (choice, guard) in &self.chosen {
            // What a panic leaves of the guard's state is the guard's own affair.
            let decision = catch_unwind(AssertUnwindSafe(|| guard.decide(connection)));
            let why = match decision {
                Ok(Decision::Allow) => continue,
                Ok(Decision::Deny) => Why::Denied,
                Ok(Decision::Pool(name)) => match self.pools.get(name) {
                    Some(pool) => return Ok(Some(Arc::clone(pool))),
                    None => Why::UnknownPool(name),
                },
                Err(_) => Why::Panicked,
            };
            return Err(Objection { guard: &choice.name, why });
        }
        Ok(None)
    }

    /// These guards, free to name `pools`.
    pub(super) fn among(&self, pools: &Arc<Pools>) -> Self {
        match self.is_empty() {
            true => Self::default(),
            false => Self { chosen: self.chosen.clone(), pools: Arc::clone(pools) },
        }
    }

    /// The guards of `listener`. One of `old` lives on, with its state, while its name and options
    /// are equal.
    fn choose(
        listener: &Listener,
        old: Option<&Self>,
        pools: &[&str],
        registry: &Registry,
    ) -> Result<Self, Vec<Problem>> {
        let mut old = old.map(|guards| guards.chosen.clone()).unwrap_or_default();
        let mut chosen = Vec::new();
        let mut problems = Vec::new();
        for choice in &listener.guards {
            let kept = old.iter().position(|(before, _)| before == choice);
            let guard = match kept.map(|index| old.remove(index)) {
                Some((_, guard)) => Ok(guard),
                None => registry.build_guard(choice),
            };
            match guard {
                Ok(guard) => {
                    problems.extend(unknown_pools(choice, &*guard, pools));
                    chosen.push((choice.clone(), guard));
                }
                Err(found) => problems.extend(found),
            }
        }
        let pools = Arc::default();
        if problems.is_empty() { Ok(Self { chosen, pools }) } else { Err(problems) }
    }
}

/// The guards of every listener of `config`, by its name.
pub(super) fn choose_all(
    config: &Config,
    old: &HashMap<Arc<str>, Guards>,
    registry: &Registry,
) -> Result<HashMap<Arc<str>, Guards>, Vec<Problem>> {
    let pools: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    let mut all = HashMap::new();
    let mut problems = Vec::new();
    for listener in &config.listeners {
        match Guards::choose(listener, old.get(&listener.name), &pools, registry) {
            Ok(guards) => drop(all.insert(Arc::clone(&listener.name), guards)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chosen.iter().map(|(choice, _)| &choice.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Instant;

    use serde::Deserialize;

    use super::super::{NoWaiters, Objects, Snapshot, SocketId};
    use super::*;
    use crate::config;
    use crate::net::Peer;

    /// Lets `count` in, then says `then`.
    #[derive(Deserialize)]
    struct After {
        count: usize,
        then: String,
        #[serde(skip)]
        seen: AtomicUsize,
    }

    impl Guard for After {
        fn decide(&self, _: &Connection<'_>) -> Decision<'_> {
            if self.seen.fetch_add(1, Relaxed) < self.count {
                return Decision::Allow;
            }
            match &*self.then {
                "deny" => Decision::Deny,
                "panic" => panic!("told to"),
                pool => Decision::Pool(pool),
            }
        }
    }

    struct Stage {
        objects: Objects,
        registry: Registry,
    }

    impl Stage {
        fn new() -> Self {
            let mut registry = Registry::with_builtins();
            registry.guard("after", config::Options::read::<After>);
            Self { objects: Objects::new(Arc::new(NoWaiters), Instant::now()), registry }
        }

        /// A listener with these guards, a pool `p`, and more.
        fn assemble_with(&mut self, guards: &str, more: &str) -> Result<Snapshot, Vec<Problem>> {
            let text = format!(
                "[listener.l]\naddress = '127.0.0.1:1'\npool = 'p'\nguards = [{guards}]\n\
                 [pool.p]\nbackends = ['127.0.0.1:2']\n{more}"
            );
            let config = config::parse(&text, "f", &|_| None).config.unwrap();
            let sockets = [(SocketId(0), Arc::clone(&config.listeners[0].name))];
            self.objects.assemble(&config, &HashMap::new(), &sockets, &self.registry)
        }

        fn assemble(&mut self, guards: &str) -> Snapshot {
            self.assemble_with(guards, "[pool.q]\nbackends = ['127.0.0.1:3']\n").unwrap()
        }
    }

    /// What the guards of a snapshot say of a client.
    fn ask(snapshot: &Snapshot) -> String {
        let client = Peer::Unix;
        let connection =
            Connection { listener: "l", client: &client, local: None, accepted: Instant::now() };
        match snapshot.listeners[&SocketId(0)].guards.ask(&connection) {
            Ok(None) => "allowed".to_owned(),
            Ok(Some(pool)) => format!("to {}", pool.pool.name),
            Err(Objection { guard, why }) => format!("{guard}: {why:?}"),
        }
    }

    const ONCE: &str = "{ after = { count = 1, then = 'deny' } }";

    #[test]
    fn the_first_guard_that_does_not_allow_decides() {
        let mut stage = Stage::new();
        let to = |pool: &str| format!("{{ after = {{ count = 0, then = '{pool}' }} }}");
        for (guards, said) in [
            (String::new(), "allowed"),
            (ONCE.to_owned(), "allowed"),
            (format!("{}, {}", to("q"), to("deny")), "to q"),
            (format!("{}, {}", to("deny"), to("q")), "after: Denied"),
            (format!("{ONCE}, {}", to("q")), "to q"),
            (to("r"), "after: UnknownPool(\"r\")"),
            (to("panic"), "after: Panicked"),
        ] {
            stage.assemble("");
            assert_eq!(ask(&stage.assemble(&guards)), said, "{guards}");
        }
    }

    #[test]
    fn a_guards_state_lives_on_while_its_name_and_options_are_equal() {
        let mut stage = Stage::new();
        assert_eq!(ask(&stage.assemble(ONCE)), "allowed");
        assert_eq!(ask(&stage.assemble(ONCE)), "after: Denied");
        // Another one before it changes nothing for it; twice the same are two.
        let spaced =
            "{ after = { count = 9, then = 'q' } }, { after = { then = 'deny', count = 1 } }";
        assert_eq!(ask(&stage.assemble(spaced)), "after: Denied");
        let twice = format!("{ONCE}, {ONCE}");
        assert_eq!(ask(&stage.assemble(&twice)), "after: Denied");
        let other = "{ after = { count = 2, then = 'deny' } }";
        assert_eq!(ask(&stage.assemble(other)), "allowed");
        assert_eq!(ask(&stage.assemble(ONCE)), "allowed");
    }

    #[test]
    fn a_guard_that_is_kept_is_asked_for_its_pools_anew() {
        let mut stage = Stage::new();
        let route = "{ source_route = { networks = ['::/0'], pool = 'q' } }";
        stage.assemble(route);
        let problems = stage.assemble_with(route, "").map(|_| ()).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["f:4:58: unknown pool `q`; did you mean `p`?; known: `p`"]);
    }
}
