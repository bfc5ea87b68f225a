//! `dns`: asks servers of names itself, and says how long an answer is good.
//!
//! A name is asked for as it stands in the file, whole: neither /etc/hosts nor search domains count.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::exchange;
use super::options::servers_of;
use crate::plugin::{Answer, Finding, Found, Provider, Question};
use crate::wire::dns::{Kind, Query, Record, Records, Reply, Service};

/// Names the servers if the file does not.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Hosts of one service. Each is asked for by itself.
const TARGETS_MAX: usize = 256;

/// By how much the weights of an answer are raised at the most, so that 0 may be next to none.
const RAISED_MAX: u32 = 100;
/// What a weight of the file may be at the most, too.
const WEIGHT_MAX: u32 = 65_535;

/// Asks each server in turn, `attempts` times.
#[derive(Debug)]
pub(super) struct Dns {
    /// None: those of resolv.conf(5), as it is then.
    pub(super) servers: Vec<SocketAddr>,
    /// For one answer.
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
}

/// Why there is no answer.
enum Failed {
    /// Servers answer, but do not tell.
    Refused(String),
    /// No server answers.
    Silent(String),
}

impl Provider for Dns {
    fn find<'a>(&'a self, question: &'a Question) -> Finding<'a> {
        Box::pin(async move {
            let servers = self.servers().await;
            match question {
                Question::Host(name) => {
                    let (addresses, ttl) = self.addresses(&servers, name).await.map_err(why)?;
                    Ok(answer(addresses.into_iter().map(Found::host).collect(), ttl))
                }
                Question::Service(name) => self.service(&servers, name).await,
            }
        })
    }
}

fn why(failed: Failed) -> String {
    match failed {
        Failed::Refused(reason) | Failed::Silent(reason) => reason,
    }
}

fn answer(found: Vec<Found>, ttl: u32) -> Answer {
    Answer { found, good_for: Some(Duration::from_secs(ttl.into())) }
}

impl Dns {
    /// The file is read each time: it changes when the host is moved to another network.
    async fn servers(&self) -> Vec<SocketAddr> {
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let read = tokio::task::spawn_blocking(|| std::fs::read_to_string(RESOLV_CONF)).await;
        servers_of(&read.ok().and_then(Result::ok).unwrap_or_default())
    }

    /// The addresses of a host, and for how many seconds they are good. If servers refuse to tell those
    /// of one family, as some do, the other is enough; but silence may be all that is left of either.
    async fn addresses(
        &self,
        servers: &[SocketAddr],
        name: &str,
    ) -> Result<(Vec<IpAddr>, u32), Failed> {
        let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
        let mut refused = None;
        for kind in [Kind::A, Kind::Aaaa] {
            match self.ask(servers, name, kind).await {
                Ok(Records { records, .. }) if records.is_empty() => {}
                Ok(Records { records, ttl: good }) => {
                    ttl = ttl.min(good);
                    addresses.extend(records.into_iter().filter_map(|record| match record {
                        Record::Address(ip) => Some(ip),
                        Record::Service(_) => None,
                    }));
                }
                Err(Failed::Refused(reason)) => refused = refused.or(Some(reason)),
                Err(silent) => return Err(silent),
            }
        }
        let none = || "the name has no address".to_owned();
        match addresses.is_empty() {
            true => Err(Failed::Refused(refused.unwrap_or_else(none))),
            false => Ok((addresses, ttl)),
        }
    }

    /// The hosts of a service. Those without an address are left out, unless all are.
    async fn service(&self, servers: &[SocketAddr], name: &str) -> Result<Answer, String> {
        let Records { records, mut ttl } = self.ask(servers, name, Kind::Srv).await.map_err(why)?;
        let services: Vec<Service> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Service(service) => Some(service),
                Record::Address(_) => None,
            })
            .collect();
        let mut hosts = BTreeMap::new();
        let mut without = None;
        for target in services.iter().filter_map(|service| service.target.as_ref()) {
            if hosts.contains_key(target) {
                continue;
            }
            if hosts.len() == TARGETS_MAX {
                return Err(format!("the service has more than {TARGETS_MAX} hosts"));
            }
            let addresses = match self.addresses(servers, target).await {
                Ok((addresses, good)) => {
                    ttl = ttl.min(good);
                    addresses
                }
                Err(Failed::Refused(reason)) => {
                    without = without.or_else(|| Some(format!("{target}: {reason}")));
                    Vec::new()
                }
                Err(Failed::Silent(reason)) => return Err(format!("{target}: {reason}")),
            };
            hosts.insert(target.clone(), addresses);
        }
        let found = found(&services, &hosts);
        match found.is_empty() {
            true => Err(without.unwrap_or_else(|| "the service has no host".to_owned())),
            false => Ok(answer(found, ttl)),
        }
    }

    async fn ask(&self, servers: &[SocketAddr], name: &str, kind: Kind) -> Result<Records, Failed> {
        let (mut refused, mut silent) = (None, None);
        for _ in 0..self.attempts {
            for server in servers {
                // One with a number of its own each time.
                let Some(query) = Query::new(name, kind) else {
                    return Err(Failed::Refused("it cannot be a name".to_owned()));
                };
                match exchange::ask(*server, &query, self.timeout).await {
                    Ok(Reply::Records(records)) => return Ok(records),
                    Ok(Reply::NoSuchName) => {
                        let reason = format!("{server} knows no such name (NXDOMAIN)");
                        return Err(Failed::Refused(reason));
                    }
                    Ok(Reply::Refused(code)) => refused = Some(format!("{server} says {code}")),
                    Ok(Reply::Truncated) => {}
                    Err(reason) => silent = Some(reason),
                }
            }
        }
        Err(match (refused, silent) {
            (Some(reason), _) => Failed::Refused(reason),
            (None, reason) => Failed::Silent(reason.unwrap_or_else(|| "no answer".to_owned())),
        })
    }
}

/// Every address of every host of a service. RFC 2782: the lowest priority is used first, and only its
/// order counts, so it is tier 0; weight 0 stands for "a very small chance" beside others, and for any
/// share beside its like.
fn found(services: &[Service], hosts: &BTreeMap<String, Vec<IpAddr>>) -> Vec<Found> {
    let mut tiers: BTreeMap<u16, Vec<&Service>> = BTreeMap::new();
    for service in services.iter().filter(|service| service.port != 0) {
        tiers.entry(service.priority).or_default().push(service);
    }
    let mut all = Vec::new();
    for (tier, services) in (0..).zip(tiers.values()) {
        let most = services.iter().map(|it| u32::from(it.weight)).max().unwrap_or(0).max(1);
        let some_zero = services.iter().any(|it| it.weight == 0);
        let raised = if some_zero { RAISED_MAX.min(WEIGHT_MAX / most) } else { 1 };
        for service in services {
            let ips = service.target.as_ref().and_then(|target| hosts.get(target));
            let weight = (u32::from(service.weight) * raised).max(1);
            all.extend(ips.into_iter().flatten().map(|ip| Found {
                ip: *ip,
                port: Some(service.port),
                weight: Some(weight),
                priority: Some(tier),
            }));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(records: &[(u16, u16)]) -> Vec<(u32, u32)> {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let service = |(priority, weight): &(u16, u16)| {
            let target = Some("a.example".to_owned());
            Service { priority: *priority, weight: *weight, port: 80, target }
        };
        let services: Vec<Service> = records.iter().map(service).collect();
        let hosts = BTreeMap::from([("a.example".to_owned(), vec![ip])]);
        let share = |it: Found| (it.priority.unwrap(), it.weight.unwrap());
        found(&services, &hosts).into_iter().map(share).collect()
    }

    #[test]
    fn priorities_become_tiers_in_their_order() {
        assert_eq!(shares(&[(20, 5), (10, 7), (65_535, 1)]), [(0, 7), (1, 5), (2, 1)]);
    }

    #[test]
    fn weight_zero_is_next_to_none_beside_others_and_equal_among_its_like() {
        assert_eq!(shares(&[(1, 0), (1, 0)]), [(0, 1), (0, 1)]);
        assert_eq!(shares(&[(1, 0), (1, 3), (2, 3)]), [(0, 1), (0, 300), (1, 3)]);
        assert_eq!(shares(&[(1, 0), (1, 65_535)]), [(0, 1), (0, 65_535)]);
        assert_eq!(shares(&[(1, 0), (1, 1000)]), [(0, 1), (0, 65_000)]);
    }
}
