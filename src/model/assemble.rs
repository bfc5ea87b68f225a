//! Makes a snapshot from the file, reusing what outlives snapshots.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{
    Backend, Counters, Endpoint, Limit, Listener, ListenerView, Member, NoWaiters, Pool, PoolView,
    RateLimiter, Snapshot, SocketId, Sources, Wake,
};
use crate::balance::{self, Balancer};
use crate::config::{self, BackendAddress, Choice, Config, ListenAddress};
use crate::net::{ConnectOptions, Keepalive};
use crate::plugin::Registry;

/// Addresses of host names. A name that is not in it has none.
pub type Resolved = HashMap<Arc<str>, Vec<IpAddr>>;

/// A balancer of a pool with the choice that it was made from.
type Chosen = (Choice, Arc<dyn Balancer>);

/// What outlives snapshots, by identity. Kept by the control thread.
pub struct Objects {
    wake: Arc<dyn Wake>,
    epoch: Instant,
    generation: u64,
    listeners: HashMap<Arc<str>, Arc<Listener>>,
    sources: HashMap<Arc<str>, Arc<Sources>>,
    pools: HashMap<Arc<str>, Arc<Pool>>,
    backends: HashMap<(Arc<str>, Endpoint), Arc<Backend>>,
    balancers: HashMap<Arc<str>, Chosen>,
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
        }
    }

    /// Makes the next snapshot. `sockets` says which address of a listener is bound as what.
    ///
    /// # Errors
    /// What is wrong with the choice of a plug-in. Nothing has changed then.
    pub fn assemble(
        &mut self,
        config: &Config,
        resolved: &Resolved,
        sockets: &HashMap<(Arc<str>, ListenAddress), SocketId>,
        registry: &Registry,
    ) -> Result<Snapshot, Vec<config::Problem>> {
        let balancers = self.choose_balancers(config, registry)?;
        self.balancers = balancers;
        self.forget(config);
        let pools = self.pool_views(config, resolved);
        let mut listeners = HashMap::new();
        for settings in &config.listeners {
            let Some(pool) = pools.get(&settings.pool) else { continue };
            let view = Arc::new(self.listener_view(settings, Arc::clone(pool)));
            for address in &settings.addresses {
                let key = (Arc::clone(&settings.name), address.clone());
                if let Some(&id) = sockets.get(&key) {
                    listeners.insert(id, Arc::clone(&view));
                }
            }
        }
        self.generation += 1;
        Ok(Snapshot { generation: self.generation, listeners })
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

    /// Lets go of what the file does not name any more; sessions keep what they use.
    fn forget(&mut self, config: &Config) {
        self.listeners.retain(|name, _| config.listeners.iter().any(|l| l.name == *name));
        self.sources.retain(|name, _| {
            config.listeners.iter().any(|l| l.name == *name && l.per_source.is_some())
        });
        self.pools.retain(|name, _| config.pools.iter().any(|p| p.name == *name));
        self.backends.retain(|(pool, _), _| config.pools.iter().any(|p| p.name == *pool));
    }

    fn listener_view(&mut self, settings: &config::Listener, pool: Arc<PoolView>) -> ListenerView {
        let listener = self.listeners.entry(Arc::clone(&settings.name)).or_insert_with(|| {
            Arc::new(Listener {
                name: Arc::clone(&settings.name),
                limit: Arc::new(Limit::new(None, Arc::clone(&self.wake))),
                rate: RateLimiter::new(settings.rate, self.epoch),
                counters: Counters::default(),
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
        ListenerView {
            listener: Arc::clone(listener),
            over: settings.over,
            sources,
            deny: settings.deny.clone(),
            allow: settings.allow.clone(),
            client_first: settings.client_first,
            pool,
        }
    }

    /// Views of all pools, those that are a fallback first; the file has no circles.
    fn pool_views(
        &mut self,
        config: &Config,
        resolved: &Resolved,
    ) -> HashMap<Arc<str>, Arc<PoolView>> {
        let mut views: HashMap<Arc<str>, Arc<PoolView>> = HashMap::new();
        for _ in 0..config.pools.len() {
            for settings in &config.pools {
                let ready = settings.fallback.as_ref().is_none_or(|name| views.contains_key(name));
                if !ready || views.contains_key(&settings.name) {
                    continue;
                }
                let fallback = settings.fallback.as_ref().and_then(|name| views.get(name).cloned());
                let view = self.pool_view(settings, resolved, fallback);
                views.insert(Arc::clone(&settings.name), Arc::new(view));
            }
        }
        views
    }

    fn pool_view(
        &mut self,
        settings: &config::Pool,
        resolved: &Resolved,
        fallback: Option<Arc<PoolView>>,
    ) -> PoolView {
        let pool = self.pools.entry(Arc::clone(&settings.name)).or_insert_with(|| {
            Arc::new(Pool {
                name: Arc::clone(&settings.name),
                limit: Arc::new(Limit::new(None, Arc::new(NoWaiters))),
                counters: Counters::default(),
            })
        });
        pool.limit.set_max(settings.max_connections);
        let pool = Arc::clone(pool);
        let members = self.members(settings, resolved);
        let known: Vec<balance::Member> = members
            .iter()
            .map(|member| balance::Member {
                identity: member.backend.name.to_string(),
                weight: member.weight,
            })
            .collect();
        let selector = match self.balancers.get(&settings.name) {
            Some((_, balancer)) => balancer.selector(&known),
            // Every pool has been given one; `first` needs no options.
            None => balance::First.selector(&known),
        };
        PoolView {
            pool,
            connect: settings.connect.clone(),
            options: ConnectOptions {
                source: settings.source,
                keepalive: settings.keepalive.map(keepalive),
                congestion: settings.congestion.clone(),
            },
            timeouts: Arc::new(settings.timeout.clone()),
            members,
            selector,
            fallback,
        }
    }

    /// One member for each address; the same address twice counts once.
    fn members(&mut self, settings: &config::Pool, resolved: &Resolved) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        let mut seen: HashSet<Endpoint> = HashSet::new();
        for entry in &settings.backends {
            for endpoint in endpoints(&entry.address, resolved) {
                if !seen.insert(endpoint.clone()) {
                    continue;
                }
                let key = (Arc::clone(&settings.name), endpoint.clone());
                let backend = self.backends.entry(key).or_insert_with(|| {
                    Arc::new(Backend {
                        name: endpoint.to_string().into(),
                        endpoint,
                        limit: Arc::new(Limit::new(None, Arc::new(NoWaiters))),
                        counters: Counters::default(),
                    })
                });
                backend.limit.set_max(entry.max_connections);
                members.push(Member {
                    backend: Arc::clone(backend),
                    weight: entry.weight,
                    state: entry.state,
                });
            }
        }
        let kept =
            |backend: &Arc<Backend>| members.iter().any(|m| Arc::ptr_eq(&m.backend, backend));
        self.backends.retain(|(pool, _), backend| *pool != settings.name || kept(backend));
        members
    }
}

/// The settings of the file as those of a socket.
pub fn keepalive(settings: config::Keepalive) -> Keepalive {
    let config::Keepalive { idle, interval, count } = settings;
    Keepalive { idle, interval, count }
}

fn endpoints(address: &BackendAddress, resolved: &Resolved) -> Vec<Endpoint> {
    match address {
        BackendAddress::Unix(path) => vec![Endpoint::Unix(path.clone())],
        BackendAddress::Ip(ip, port) => vec![Endpoint::Tcp(*ip, *port)],
        BackendAddress::Name(name, port) => resolved
            .get(name)
            .map(|ips| ips.iter().map(|ip| Endpoint::Tcp(*ip, *port)).collect())
            .unwrap_or_default(),
    }
}
