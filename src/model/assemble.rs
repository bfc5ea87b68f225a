//! Makes a snapshot from the file, reusing what outlives snapshots.

mod choosers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use self::choosers::{Chooser, Choosers, Listed, choosers, endpoints};
use super::guards::choose_all;
use super::{
    Backend, Counters, Endpoint, Guards, Health, Limit, Listener, ListenerView, Member, NoWaiters,
    Pool, PoolView, Pools, Queue, RateLimiter, Retries, Snapshot, SocketId, Sources, Throttle,
    Wake,
};
use crate::balance::Balancer;
use crate::config::{self, BackendAddress, Choice, Config};
use crate::net::{ConnectOptions, Keepalive};
use crate::plugin::{Answer, Question, Registry};

/// What stands behind the names of the file. A name that is not in it has no backend.
pub type Resolved = HashMap<Wanted, Answer>;

/// A name that a pool wants to know more of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// The name of the pool.
    pub pool: Arc<str>,
    /// What is asked for.
    pub question: Question,
}

impl Wanted {
    /// What has to be asked to know where a backend of `pool` is, if anything has.
    pub fn of(pool: &Arc<str>, address: &BackendAddress) -> Option<Self> {
        let question = match address {
            BackendAddress::Name(name, _) => Question::Host(Arc::clone(name)),
            BackendAddress::Service(name) => Question::Service(Arc::clone(name)),
            BackendAddress::Ip(..) | BackendAddress::Unix(_) => return None,
        };
        Some(Self { pool: Arc::clone(pool), question })
    }
}

/// A balancer of a pool with the choice that it was made from.
type Chosen = (Choice, Arc<dyn Balancer>);

/// A backend and the generation that named it last.
struct Known {
    backend: Arc<Backend>,
    named: u64,
}

/// What outlives snapshots, by identity. Kept by the control thread.
///
/// What the file does not name any more is kept while sessions use it, so that it is the same again,
/// with its counters and permits, if it comes back meanwhile.
pub struct Objects {
    wake: Arc<dyn Wake>,
    epoch: Instant,
    generation: u64,
    listeners: HashMap<Arc<str>, Arc<Listener>>,
    sources: HashMap<Arc<str>, Arc<Sources>>,
    pools: HashMap<Arc<str>, Arc<Pool>>,
    /// By the name of their pool.
    backends: HashMap<Arc<str>, HashMap<Endpoint, Known>>,
    balancers: HashMap<Arc<str>, Chosen>,
    guards: HashMap<Arc<str>, Guards>,
}

impl Objects {
    /// Nothing yet. `wake` is how a freed permit reaches a worker that waits for it.
    pub fn new(wake: Arc<dyn Wake>, epoch: Instant) -> Self {
        Self {
            wake,
            epoch,
            generation: 0,
            listeners: HashMap::new(),
            sources: HashMap::new(),
            pools: HashMap::new(),
            backends: HashMap::new(),
            balancers: HashMap::new(),
            guards: HashMap::new(),
        }
    }

    /// Makes the next snapshot. `sockets` says which listener each address serves.
    ///
    /// # Errors
    /// What is wrong with the choice of a plug-in. Nothing has changed then.
    pub fn assemble(
        &mut self,
        config: &Config,
        resolved: &Resolved,
        sockets: &[(SocketId, Arc<str>)],
        registry: &Registry,
    ) -> Result<Snapshot, Vec<config::Problem>> {
        let balancers = self.choose_balancers(config, registry);
        let guards = choose_all(config, &self.guards, registry);
        let (balancers, guards) = both(balancers, guards)?;
        let choosers = choosers(config, resolved, &balancers)?;
        (self.balancers, self.guards) = (balancers, guards);
        self.generation += 1;
        let pools = Arc::new(self.pool_views(config, choosers));
        let mut views = HashMap::new();
        for settings in &config.listeners {
            let Some(view) = self.listener_view(settings, &pools) else { continue };
            views.insert(Arc::clone(&settings.name), Arc::new(view));
        }
        let view = |(id, name): &(SocketId, Arc<str>)| Some((*id, Arc::clone(views.get(name)?)));
        let listeners = sockets.iter().filter_map(view).collect();
        self.forget(config);
        let (runtime, buffer) = (config.runtime.clone(), config.limits.buffer);
        Ok(Snapshot { generation: self.generation, listeners, pools, runtime, buffer })
    }

    /// The backends that were named once, are not any more, and are still in use, each with the name
    /// of its pool.
    pub fn departed(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Backend>)> {
        let of_pool =
            |(pool, backends)| <HashMap<_, Known>>::values(backends).map(move |it| (pool, it));
        let departed = |(_, known): &(_, &Known)| known.named < self.generation;
        self.backends
            .iter()
            .flat_map(of_pool)
            .filter(departed)
            .map(|(pool, it)| (pool, &it.backend))
    }

    /// Sessions of a listener that is or was named.
    pub fn sessions_of_listener(&self, name: &str) -> u32 {
        self.listeners.get(name).map_or(0, |listener| listener.limit.current())
    }

    /// Sessions with all backends of a pool that is or was named.
    pub fn sessions_of_pool(&self, name: &str) -> u32 {
        let of_pool = self.backends.get(name).into_iter().flat_map(HashMap::values);
        of_pool.map(|known| known.backend.limit.current()).sum()
    }

    /// Sessions with a backend that is or was named, or with all that its host name stands for.
    pub fn sessions_of_backend(
        &self,
        pool: &str,
        address: &BackendAddress,
        resolved: &Resolved,
    ) -> u32 {
        let sessions = |endpoint| {
            let known = self.backends.get(pool).and_then(|backends| backends.get(&endpoint));
            known.map_or(0, |known| known.backend.limit.current())
        };
        endpoints(&Arc::from(pool), address, resolved)
            .into_iter()
            .map(|place| sessions(place.endpoint))
            .sum()
    }

    /// What is counted anywhere, and how much of it: what it is, and the name of what counts it.
    pub fn still_counted(&self) -> Vec<(&'static str, &str, u64)> {
        let sessions = |limit: &Limit| u64::from(limit.current());
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|(name, it)| ("listener", &**name, sessions(&it.limit)));
        let sources = self.sources.iter();
        let sources = sources.map(|(name, it)| ("sources of listener", &**name, it.sessions()));
        let pools = self.pools.iter();
        let pools = pools.map(|(name, it)| ("pool", &**name, sessions(&it.limit)));
        let backends = self.backends.values().flat_map(HashMap::values).map(|known| &known.backend);
        let backends = backends.map(|it| ("backend", &*it.name, sessions(&it.limit)));
        let all = listeners.chain(sources).chain(pools).chain(backends);
        all.filter(|&(_, _, count)| count > 0).collect()
    }

    /// A balancer's state lives on while its name and options are equal.
    fn choose_balancers(
        &self,
        config: &Config,
        registry: &Registry,
    ) -> Result<HashMap<Arc<str>, Chosen>, Vec<config::Problem>> {
        let mut chosen = HashMap::new();
        let mut problems = Vec::new();
        for pool in &config.pools {
            let old = self.balancers.get(&pool.name).filter(|(choice, _)| *choice == pool.balance);
            let balancer = match old {
                Some((_, balancer)) => Ok(Arc::clone(balancer)),
                None => registry.build_balancer(&pool.balance),
            };
            match balancer {
                Ok(balancer) => {
                    chosen.insert(Arc::clone(&pool.name), (pool.balance.clone(), balancer));
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(chosen) } else { Err(problems) }
    }

    /// Lets go of what neither the file names any more nor anybody uses.
    fn forget(&mut self, config: &Config) {
        let listeners: HashSet<&Arc<str>> = config.listeners.iter().map(|l| &l.name).collect();
        let pools: HashSet<&Arc<str>> = config.pools.iter().map(|p| &p.name).collect();
        self.listeners.retain(|name, it| listeners.contains(name) || Arc::strong_count(it) > 1);
        self.sources.retain(|name, it| listeners.contains(name) || Arc::strong_count(it) > 1);
        self.pools.retain(|name, it| pools.contains(name) || Arc::strong_count(it) > 1);
        let generation = self.generation;
        let kept = |_: &_, known: &mut Known| {
            known.named == generation || Arc::strong_count(&known.backend) > 1
        };
        self.backends.retain(|_, backends| {
            backends.retain(kept);
            !backends.is_empty()
        });
    }

    fn listener_view(
        &mut self,
        settings: &config::Listener,
        pools: &Arc<Pools>,
    ) -> Option<ListenerView> {
        let pool = Arc::clone(pools.get(&settings.pool)?);
        let guards = self.guards.get(&settings.name).map(|guards| guards.among(pools));
        let listener = self.listeners.entry(Arc::clone(&settings.name)).or_insert_with(|| {
            Arc::new(Listener {
                name: Arc::clone(&settings.name),
                limit: Arc::new(Limit::new(None, Arc::clone(&self.wake))),
                rate: RateLimiter::new(settings.rate, self.epoch),
                counters: Counters::default(),
                complaints: Throttle::default(),
            })
        });
        listener.limit.set_max(settings.max_connections);
        listener.rate.set(settings.rate, Instant::now());
        let sources = settings.per_source.as_ref().map(|per_source| {
            let sources = self
                .sources
                .entry(Arc::clone(&settings.name))
                .or_insert_with(|| Arc::new(Sources::new(per_source, self.epoch)));
            sources.set(per_source, Instant::now());
            Arc::clone(sources)
        });
        Some(ListenerView {
            listener: Arc::clone(listener),
            over: settings.over,
            sources,
            deny: settings.deny.clone(),
            allow: settings.allow.clone(),
            guards: guards.unwrap_or_default(),
            client_first: settings.client_first,
            socket_buffer: settings.socket_buffer,
            pool,
        })
    }

    /// Views of all pools, those that are a fallback first; the file has no circles.
    fn pool_views(&mut self, config: &Config, mut choosers: Choosers<'_>) -> Pools {
        let mut views = Pools::new();
        let mut left: Vec<&config::Pool> = config.pools.iter().collect();
        let mut before = usize::MAX;
        while left.len() < before {
            before = left.len();
            left.retain(|settings| {
                let fallback = settings.fallback.as_ref();
                if fallback.is_some_and(|name| !views.contains_key(name)) {
                    return true;
                }
                let fallback = fallback.and_then(|name| views.get(name).cloned());
                // Every pool has been given one.
                if let Some(chooser) = choosers.remove(&settings.name) {
                    let view = self.pool_view(settings, fallback, chooser);
                    views.insert(Arc::clone(&settings.name), Arc::new(view));
                }
                false
            });
        }
        views
    }

    fn pool_view(
        &mut self,
        settings: &config::Pool,
        fallback: Option<Arc<PoolView>>,
        chooser: Chooser<'_>,
    ) -> PoolView {
        let pool = self.pools.entry(Arc::clone(&settings.name)).or_insert_with(|| {
            let queue = Arc::new(Queue::new(Arc::clone(&self.wake)));
            Arc::new(Pool {
                name: Arc::clone(&settings.name),
                limit: Arc::new(Limit::new(None, Arc::clone(&queue) as Arc<dyn Wake>)),
                queue,
                retries: Retries::new(self.epoch),
                panicking: AtomicBool::new(false),
                ejecting: AtomicBool::new(false),
                ejected: AtomicBool::new(false),
                held: Arc::new(Limit::new(None, Arc::new(NoWaiters))),
                release: RateLimiter::new(None, self.epoch),
                complaints: Throttle::default(),
                counters: Counters::default(),
            })
        });
        pool.limit.set_max(settings.max_connections);
        pool.queue.set_max(settings.queue.map(|queue| queue.max));
        pool.held.set_max(settings.when_down.map(|when_down| when_down.max));
        pool.release.set(settings.when_down.map(|it| it.release_rate), Instant::now());
        let pool = Arc::clone(pool);
        let members = self.members(settings, chooser.among, &pool.queue);
        let tiers: BTreeSet<u32> = members.iter().map(|member| member.tier).collect();
        PoolView {
            pool,
            connect: settings.connect.clone(),
            options: ConnectOptions {
                source: settings.source,
                keepalive: settings.keepalive.map(keepalive),
                congestion: settings.congestion.clone(),
                socket_buffer: settings.socket_buffer,
            },
            timeouts: Arc::new(settings.timeout.clone()),
            members,
            selector: chooser.selector,
            eject: settings.eject,
            tiers: tiers.into_iter().collect(),
            slow_start: settings.slow_start,
            wait: settings.queue.map(|queue| queue.timeout),
            hold: settings.when_down.map(|when_down| when_down.hold),
            fallback,
        }
    }

    /// The backends of these identities, named by the generation that is being made.
    fn members(
        &mut self,
        settings: &config::Pool,
        listed: Vec<Listed<'_>>,
        queue: &Arc<Queue>,
    ) -> Vec<Member> {
        let age = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let of_pool = self.backends.entry(Arc::clone(&settings.name)).or_default();
        let member = |listed: Listed<'_>| {
            let Listed { endpoint, entry, weight, tier } = listed;
            let known =
                of_pool.entry(endpoint).or_insert_with_key(|endpoint| Known::at(endpoint, queue));
            // Those of the first snapshot are all as new as each other.
            if known.named == 0 && self.generation > 1 {
                known.backend.health.begin(age);
            }
            known.named = self.generation;
            known.backend.limit.set_max(entry.max_connections);
            Member { backend: Arc::clone(&known.backend), weight, tier, state: entry.state }
        };
        listed.into_iter().map(member).collect()
    }
}

impl Known {
    fn at(endpoint: &Endpoint, queue: &Arc<Queue>) -> Self {
        let backend = Backend {
            name: endpoint.to_string().into(),
            endpoint: endpoint.clone(),
            limit: Arc::new(Limit::new(None, Arc::clone(queue) as Arc<dyn Wake>)),
            health: Health::default(),
            counters: Counters::default(),
        };
        Self { backend: Arc::new(backend), named: 0 }
    }
}

/// Both, or all that is wrong with either.
fn both<A, B, E>(one: Result<A, Vec<E>>, other: Result<B, Vec<E>>) -> Result<(A, B), Vec<E>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).flatten().collect()),
    }
}

/// The settings of the file as those of a socket.
pub fn keepalive(settings: config::Keepalive) -> Keepalive {
    let config::Keepalive { idle, interval, count } = settings;
    Keepalive { idle, interval, count }
}

#[cfg(test)]
mod tests;
