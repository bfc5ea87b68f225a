//! A balancer of somebody's own: backends nearby first, the others only when none of these has room.
//!
//! ```toml
//! [pool.app]
//! backends = ["10.1.0.11:9000", "10.2.0.11:9000"]
//! balance = { nearby = { networks = ["10.1.0.0/16"] } }
//! ```
//!
//! `cargo run --example balancer -- -c FILE` is Forebay with it.

use std::net::SocketAddr;

use forebay::Builder;
use forebay::plugin::{Ask, Balancer, Candidates, Member, Options, Selector};
use ipnet::IpNet;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nearby {
    networks: Vec<IpNet>,
}

/// For each member in its order: true exactly when it is nearby.
struct Arranged(Vec<bool>);

impl Balancer for Nearby {
    fn selector(&self, members: &[Member]) -> Box<dyn Selector> {
        let nearby = |member: &Member| match member.identity.parse::<SocketAddr>() {
            Ok(address) => self.networks.iter().any(|network| network.contains(&address.ip())),
            // A unix socket is on this very host.
            Err(_) => true,
        };
        Box::new(Arranged(members.iter().map(nearby).collect()))
    }
}

impl Selector for Arranged {
    fn pick(&self, _: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        let least_loaded = |near: bool| {
            let all = (0..candidates.count()).filter(|&index| self.0[index] == near);
            all.filter(|&index| candidates.at(index).eligible())
                .min_by_key(|&index| candidates.at(index).active)
        };
        least_loaded(true).or_else(|| least_loaded(false))
    }
}

fn main() -> std::process::ExitCode {
    Builder::new().balancer("nearby", Options::read::<Nearby>).run()
}
