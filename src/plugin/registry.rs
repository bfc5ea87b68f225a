//! The kinds that the file can choose among, by name: the built-in ones and the user's own.
//!
//! Both come through the same door: a name and a factory that reads its own options. Building reports
//! every problem of the options at once and never panics; an unknown name is a problem that lists
//! the known ones. It knows no model, no pool and no worker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::balance::{
    Balancer, First, LeastConnections, NoOptions, RandomTwo, RoundRobin, SourceHash,
};
use crate::config::{Choice, Choices, Options, Problem};

/// Makes a balancer from its options, or says all that is wrong with them.
pub type BalancerFactory = Factory<dyn Balancer>;

type Factory<T> = Box<dyn Fn(&Options) -> Result<Box<T>, Vec<Problem>> + Send + Sync>;

/// Factories by name.
#[derive(Debug)]
pub struct Registry {
    balancers: Kinds<dyn Balancer>,
}

impl Registry {
    /// What Forebay brings along.
    pub fn with_builtins() -> Self {
        let mut registry = Self { balancers: Kinds::new("balancer") };
        registry
            .balancer("first", without_options(|| First))
            .balancer("least_connections", without_options(|| LeastConnections))
            .balancer("random_two", without_options(|| RandomTwo))
            .balancer("round_robin", without_options(RoundRobin::default))
            .balancer("source_hash", |options: &Options| {
                Ok(Box::new(SourceHash::new(options.read()?)))
            });
        registry
    }

    /// Registers what `balance = "NAME"` makes. A name that is taken gets the new meaning, built-in
    /// or not.
    pub fn balancer<F>(&mut self, name: &str, factory: F) -> &mut Self
    where
        F: Fn(&Options) -> Result<Box<dyn Balancer>, Vec<Problem>> + Send + Sync + 'static,
    {
        self.balancers.factories.insert(name.to_owned(), Box::new(factory));
        self
    }

    /// Makes the balancer that `choice` names.
    ///
    /// # Errors
    /// All that is wrong with its options, or that no balancer has the name.
    pub fn build_balancer(&self, choice: &Choice) -> Result<Arc<dyn Balancer>, Vec<Problem>> {
        self.balancers.build(choice).map(Arc::from)
    }

    /// Everything that is wrong with these choices.
    pub fn check(&self, choices: &Choices) -> Vec<Problem> {
        let balancers =
            choices.balancers.iter().filter_map(|choice| self.build_balancer(choice).err());
        let guards = choices.guards.iter().map(|choice| choice.unknown("guard", &[]));
        balancers.flatten().chain(guards).collect()
    }

    /// The names that `balance` understands, in alphabetical order.
    pub fn balancers(&self) -> impl Iterator<Item = &str> {
        self.balancers.names()
    }
}

/// The factories of one seam.
struct Kinds<T: ?Sized> {
    /// What one of them is called in messages.
    kind: &'static str,
    factories: BTreeMap<String, Factory<T>>,
}

impl<T: ?Sized> Kinds<T> {
    fn new(kind: &'static str) -> Self {
        Self { kind, factories: BTreeMap::new() }
    }

    fn build(&self, choice: &Choice) -> Result<Box<T>, Vec<Problem>> {
        match self.factories.get(&choice.name) {
            Some(factory) => factory(&choice.options),
            None => Err(vec![choice.unknown(self.kind, &self.names().collect::<Vec<_>>())]),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }
}

impl<T: ?Sized> fmt::Debug for Kinds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.factories.keys()).finish()
    }
}

/// The factory of a kind that has no options, and says so when it is given some.
fn without_options<B: Balancer + 'static>(
    make: impl Fn() -> B + Send + Sync,
) -> impl Fn(&Options) -> Result<Box<dyn Balancer>, Vec<Problem>> + Send + Sync {
    move |options| {
        options.read::<NoOptions>()?;
        Ok(Box::new(make()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{Ask, Candidate, Candidates, Member, Selector};
    use crate::config;

    fn choice(name: &str, options: &str) -> Choice {
        let file = format!(
            "listener.l = {{ address = '127.0.0.1:1', pool = 'p' }}\n\
             pool.p = {{ backends = ['127.0.0.1:2'], balance = {{ {name} = {{ {options} }} }} }}\n"
        );
        let loaded = config::parse(&file, "test.toml", &|_| None);
        loaded.config.unwrap().pools[0].balance.clone()
    }

    fn problems(registry: &Registry, choice: &Choice) -> String {
        let problems = registry.build_balancer(choice).map(|_| ()).unwrap_err();
        problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn every_builtin_is_built_and_picks() {
        let registry = Registry::with_builtins();
        let names: Vec<_> = registry.balancers().collect();
        let expected = ["first", "least_connections", "random_two", "round_robin", "source_hash"];
        assert_eq!(names, expected);
        let member = Member { identity: "10.0.0.1:80".to_owned(), weight: 1 };
        let pool = vec![Candidate { weight: 1, active: 0, limit: 1, usable: true }];
        for name in names {
            let balancer = registry.build_balancer(&choice(name, "")).unwrap();
            let selector = balancer.selector(std::slice::from_ref(&member));
            assert_eq!(selector.pick(&Ask { source: None, random: 3 }, &pool), Some(0), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let choice = choice("roundrobin", "");
        let problems = Registry::with_builtins().build_balancer(&choice).map(|_| ()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("unknown balancer"), "{}", problems[0].message);
        let help = problems[0].help.join(" ");
        for word in ["round_robin", "first", "least_connections", "random_two", "source_hash"] {
            assert!(help.contains(word), "{help}");
        }
    }

    #[test]
    fn options_are_read_by_the_kind_alone() {
        let registry = Registry::with_builtins();
        assert!(registry.build_balancer(&choice("source_hash", "seed = 7")).is_ok());
        assert!(problems(&registry, &choice("source_hash", "sead = 7")).contains("sead"));
        for name in ["first", "least_connections", "random_two", "round_robin"] {
            assert!(problems(&registry, &choice(name, "seed = 7")).contains("seed"), "{name}");
        }
    }

    #[test]
    fn a_user_brings_a_balancer_or_replaces_one() {
        struct Last;
        impl Balancer for Last {
            fn selector(&self, _members: &[Member]) -> Box<dyn Selector> {
                Box::new(Self)
            }
        }
        impl Selector for Last {
            fn pick(&self, _ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
                (0..candidates.count()).rev().find(|&index| candidates.at(index).eligible())
            }
        }
        let mut registry = Registry::with_builtins();
        registry.balancer("last", without_options(|| Last));
        registry.balancer("first", |_: &Options| Ok(Box::new(Last)));
        assert!(registry.balancers().any(|name| name == "last"));
        assert!(registry.build_balancer(&choice("last", "")).is_ok());
        assert!(registry.build_balancer(&choice("first", "any = 1")).is_ok());
    }
}
