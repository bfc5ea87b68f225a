//! What is plugged in: the kinds that the file can choose among, by name, and the observers.
//!
//! Built-in kinds and the user's own come through the same door: a name and a factory that reads its
//! own options. Building reports every problem of the options at once and never panics; an unknown
//! name is a problem that lists the known ones. It knows no model and no worker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Guard, Observer, Probe, Provider, SourceRoute, unknown_pools};
use crate::balance::{
    Balancer, First, LeastConnections, NoOptions, RandomTwo, RoundRobin, SourceHash,
};
use crate::config::{Choice, Choices, Options, Problem};

/// Makes one of a kind from its options, or says all that is wrong with them.
type Factory<T> = Box<dyn Fn(&Options) -> Result<Box<T>, Vec<Problem>> + Send + Sync>;

/// Factories by name, and observers.
pub struct Registry {
    balancers: Kinds<dyn Balancer>,
    guards: Kinds<dyn Guard>,
    probes: Kinds<dyn Probe>,
    providers: Kinds<dyn Provider>,
    /// Locked by nobody: they are on their way to the thread that tells them.
    observers: Mutex<Vec<Box<dyn Observer>>>,
}

impl Registry {
    /// What Forebay brings along.
    pub fn with_builtins() -> Self {
        let mut registry = Self {
            balancers: Kinds::new("balancer"),
            guards: Kinds::new("guard"),
            probes: Kinds::new("probe"),
            providers: Kinds::new("resolver"),
            observers: Mutex::default(),
        };
        registry
            .balancer("first", without_options(|| First))
            .balancer("least_connections", without_options(|| LeastConnections))
            .balancer("random_two", without_options(|| RandomTwo))
            .balancer("round_robin", without_options(RoundRobin::default))
            .balancer("source_hash", |options| Ok(SourceHash::new(options.read()?)))
            .guard("source_route", SourceRoute::from_options);
        registry
    }

    /// Registers what `balance = "NAME"` makes. A name that is taken gets the new meaning, built-in
    /// or not. The factory may be called just to check a file, so it must do nothing else.
    pub fn balancer<B, F>(&mut self, name: &str, factory: F) -> &mut Self
    where
        B: Balancer + 'static,
        F: Fn(&Options) -> Result<B, Vec<Problem>> + Send + Sync + 'static,
    {
        self.balancers.add(name, move |options| Ok(Box::new(factory(options)?)));
        self
    }

    /// Registers what `guards = ["NAME"]` makes, as [`balancer`](Self::balancer) does.
    pub fn guard<G, F>(&mut self, name: &str, factory: F) -> &mut Self
    where
        G: Guard + 'static,
        F: Fn(&Options) -> Result<G, Vec<Problem>> + Send + Sync + 'static,
    {
        self.guards.add(name, move |options| Ok(Box::new(factory(options)?)));
        self
    }

    /// Registers what `probe = { kind = "NAME" }` makes, as [`balancer`](Self::balancer) does.
    pub fn probe<P, F>(&mut self, name: &str, factory: F) -> &mut Self
    where
        P: Probe + 'static,
        F: Fn(&Options) -> Result<P, Vec<Problem>> + Send + Sync + 'static,
    {
        self.probes.add(name, move |options| Ok(Box::new(factory(options)?)));
        self
    }

    /// Registers what `resolver = "NAME"` makes, as [`balancer`](Self::balancer) does.
    pub fn provider<P, F>(&mut self, name: &str, factory: F) -> &mut Self
    where
        P: Provider + 'static,
        F: Fn(&Options) -> Result<P, Vec<Problem>> + Send + Sync + 'static,
    {
        self.providers.add(name, move |options| Ok(Box::new(factory(options)?)));
        self
    }

    /// Adds an observer. All are told of every session, in this order.
    pub fn observer(&mut self, observer: impl Observer + 'static) -> &mut Self {
        self.waiting().push(Box::new(observer));
        self
    }

    /// Makes the balancer that `choice` names.
    ///
    /// # Errors
    /// All that is wrong with its options, or that no balancer has the name.
    pub fn build_balancer(&self, choice: &Choice) -> Result<Arc<dyn Balancer>, Vec<Problem>> {
        self.balancers.build(choice).map(Arc::from)
    }

    /// Makes the guard that `choice` names.
    ///
    /// # Errors
    /// All that is wrong with its options, or that no guard has the name.
    pub fn build_guard(&self, choice: &Choice) -> Result<Arc<dyn Guard>, Vec<Problem>> {
        self.guards.build(choice).map(Arc::from)
    }

    /// Makes the probe that `choice` names.
    ///
    /// # Errors
    /// All that is wrong with its options, or that no probe has the name.
    pub fn build_probe(&self, choice: &Choice) -> Result<Arc<dyn Probe>, Vec<Problem>> {
        self.probes.build(choice).map(Arc::from)
    }

    /// Makes the provider that `choice` names.
    ///
    /// # Errors
    /// All that is wrong with its options, or that no provider has the name.
    pub fn build_provider(&self, choice: &Choice) -> Result<Arc<dyn Provider>, Vec<Problem>> {
        self.providers.build(choice).map(Arc::from)
    }

    /// Takes the observers out.
    pub fn take_observers(&mut self) -> Vec<Box<dyn Observer>> {
        std::mem::take(self.waiting())
    }

    fn waiting(&mut self) -> &mut Vec<Box<dyn Observer>> {
        self.observers.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is wrong with these choices.
    pub fn check(&self, choices: &Choices) -> Vec<Problem> {
        let pools: Vec<&str> = choices.pools.iter().map(|name| &**name).collect();
        let balancers =
            choices.balancers.iter().filter_map(|choice| self.build_balancer(choice).err());
        let guards = choices.guards.iter().map(|choice| match self.build_guard(choice) {
            Ok(guard) => unknown_pools(choice, &*guard, &pools),
            Err(problems) => problems,
        });
        let probes = choices.probes.iter().filter_map(|choice| self.build_probe(choice).err());
        let resolvers =
            choices.resolvers.iter().filter_map(|choice| self.build_provider(choice).err());
        balancers.chain(guards).chain(probes).chain(resolvers).flatten().collect()
    }

    /// The names that `balance` understands, in alphabetical order.
    pub fn balancers(&self) -> impl Iterator<Item = &str> {
        self.balancers.names()
    }

    /// The names that `guards` understands, in alphabetical order.
    pub fn guards(&self) -> impl Iterator<Item = &str> {
        self.guards.names()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("balancers", &self.balancers)
            .field("guards", &self.guards)
            .field("probes", &self.probes)
            .field("providers", &self.providers)
            .finish_non_exhaustive()
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

    fn add<F>(&mut self, name: &str, factory: F)
    where
        F: Fn(&Options) -> Result<Box<T>, Vec<Problem>> + Send + Sync + 'static,
    {
        self.factories.insert(name.to_owned(), Box::new(factory));
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
fn without_options<T>(
    make: impl Fn() -> T + Send + Sync,
) -> impl Fn(&Options) -> Result<T, Vec<Problem>> + Send + Sync {
    move |options| {
        options.read::<NoOptions>()?;
        Ok(make())
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
        registry.balancer("first", |_| Ok(Last));
        assert!(registry.balancers().any(|name| name == "last"));
        assert!(registry.build_balancer(&choice("last", "")).is_ok());
        assert!(registry.build_balancer(&choice("first", "any = 1")).is_ok());
    }
}
