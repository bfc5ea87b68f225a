//! Policies, and the members and candidates that they choose among.

use forebay::balance::{
    Balancer, Candidate, First, LeastConnections, Member, RandomTwo, RoundRobin, SourceHash,
};

pub(crate) fn policies() -> [(&'static str, Box<dyn Balancer>); 5] {
    [
        ("first", Box::new(First)),
        ("least_connections", Box::new(LeastConnections)),
        ("random_two", Box::new(RandomTwo)),
        ("round_robin", Box::new(RoundRobin::default())),
        ("source_hash", Box::new(SourceHash::default())),
    ]
}

pub(crate) fn member(number: usize) -> Member {
    Member { identity: format!("10.0.{}.{}:80", number / 250, number % 250), weight: 1 }
}

pub(crate) fn candidate(number: usize) -> Candidate {
    let active = u32::try_from(number * 7 % 11).unwrap_or(0);
    Candidate { weight: 1, active, limit: u32::MAX, usable: true }
}
