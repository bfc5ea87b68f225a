//! Who chooses among a pool's addresses.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::super::possible::balance_weight;
use super::{Chosen, Resolved};
use crate::balance::{self, Selector};
use crate::config::{self, BackendAddress, Config};
use crate::model::Endpoint;

/// An address of a pool with what the file says of it.
pub(super) type Listed<'a> = (Endpoint, &'a config::Backend);

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
        let member = |(endpoint, entry): &Listed<'_>| balance::Member {
            identity: endpoint.to_string(),
            weight: balance_weight(entry.weight, settings.slow_start),
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
        endpoints(&entry.address, resolved).into_iter().map(move |endpoint| (endpoint, entry))
    });
    all.filter(|(endpoint, _)| seen.insert(endpoint.clone())).collect()
}

pub(super) fn endpoints(address: &BackendAddress, resolved: &Resolved) -> Vec<Endpoint> {
    match address {
        BackendAddress::Unix(path) => vec![Endpoint::Unix(path.clone())],
        BackendAddress::Ip(ip, port) => vec![Endpoint::Tcp(*ip, *port)],
        BackendAddress::Name(name, port) => resolved
            .get(name)
            .map(|ips| ips.iter().map(|ip| Endpoint::Tcp(*ip, *port)).collect())
            .unwrap_or_default(),
    }
}
