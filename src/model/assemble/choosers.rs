//! Who chooses among a pool's addresses.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::super::possible::balance_weight;
use super::{Chosen, Resolved, Wanted};
use crate::balance::{self, Selector};
use crate::config::{self, BackendAddress, BackendPort, Config};
use crate::model::Endpoint;
use crate::plugin::Found;

/// An address of a pool with what is said of it.
pub(super) struct Listed<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) entry: &'a config::Backend,
    pub(super) weight: u32,
    pub(super) tier: u32,
}

/// Who chooses among a pool's addresses.
pub(super) struct Chooser<'a> {
    pub(super) among: Vec<Listed<'a>>,
    pub(super) selector: Box<dyn Selector>,
}

/// By the name of the pool.
pub(super) type Choosers<'a> = HashMap<Arc<str>, Chooser<'a>>;

/// Makes them before anything is changed, since a balancer may be somebody else's and panic.
pub(super) fn choosers<'a>(
    config: &'a Config,
    resolved: &Resolved,
    balancers: &HashMap<Arc<str>, Chosen>,
) -> Result<Choosers<'a>, Vec<config::Problem>> {
    let mut choosers = Choosers::new();
    let mut problems = Vec::new();
    for settings in &config.pools {
        let Some((choice, balancer)) = balancers.get(&settings.name) else { continue };
        let among = listed(settings, resolved);
        let member = |listed: &Listed<'_>| balance::Member {
            identity: listed.endpoint.to_string(),
            weight: balance_weight(listed.weight, settings.slow_start),
        };
        let members: Vec<balance::Member> = among.iter().map(member).collect();
        match catch_unwind(AssertUnwindSafe(|| balancer.selector(&members))) {
            Ok(selector) => {
                drop(choosers.insert(Arc::clone(&settings.name), Chooser { among, selector }));
            }
            Err(_) => problems.push(choice.problem("the balancer panicked")),
        }
    }
    if problems.is_empty() { Ok(choosers) } else { Err(problems) }
}

/// Every address of a pool; the same address twice counts once.
fn listed<'a>(settings: &'a config::Pool, resolved: &Resolved) -> Vec<Listed<'a>> {
    let mut seen: HashSet<Endpoint> = HashSet::with_capacity(settings.backends.len());
    let all = settings.backends.iter().flat_map(|entry| {
        endpoints(&settings.name, &entry.address, resolved).into_iter().map(move |place| Listed {
            endpoint: place.endpoint,
            entry,
            weight: place.weight.unwrap_or(entry.weight),
            tier: place.tier.unwrap_or(entry.priority),
        })
    });
    all.filter(|listed| seen.insert(listed.endpoint.clone())).collect()
}

/// Where a backend is, and what is said of it elsewhere than in the file.
pub(super) struct At {
    pub(super) endpoint: Endpoint,
    weight: Option<u32>,
    tier: Option<u32>,
}

pub(super) fn endpoints(pool: &Arc<str>, address: &BackendAddress, resolved: &Resolved) -> Vec<At> {
    let plain = |endpoint| At { endpoint, weight: None, tier: None };
    let port = match address {
        BackendAddress::Unix(path) => return vec![plain(Endpoint::Unix(path.clone()))],
        BackendAddress::Ip(ip, port) => return vec![plain(Endpoint::Tcp(*ip, *port))],
        BackendAddress::Name(_, port) => Some(*port),
        BackendAddress::Service(_) => None,
    };
    let answer = Wanted::of(pool, address).and_then(|wanted| resolved.get(&wanted));
    let found = answer.into_iter().flat_map(|answer| &answer.found);
    let at = |found: &Found| match port {
        Some(port) => Some(plain(Endpoint::Tcp(found.ip, port))),
        None => {
            let endpoint = Endpoint::Tcp(found.ip, BackendPort::Fixed(found.port?));
            Some(At { endpoint, weight: found.weight, tier: found.priority })
        }
    };
    found.filter_map(at).collect()
}
