//! A policy over lists, weights, states and limits that change between picks.
//!
//! It must pick an eligible candidate exactly when there is one, look at each a bounded number of
//! times, and keep what it promises besides: the first, the least loaded, exact shares, faithfulness.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay::balance::{
    Ask, Balancer, Candidate, Candidates, First, LeastConnections, Member, RandomTwo, RoundRobin,
    Selector, SourceHash, SourceHashOptions,
};

use super::bytes::Bytes;

#[path = "../../src/balance/tests/counted.rs"]
mod counted;

use counted::Counted;

const MEMBERS: u8 = 12;
/// Lists that follow each other, where a policy remembers.
const LISTS: usize = 4;
/// Beyond this sum a round of exact shares takes too long.
const ROUND: u32 = 400;

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    First,
    LeastConnections,
    RandomTwo,
    RoundRobin,
    SourceHash,
}

pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (policy, balancer) = policy(&mut bytes);
    // Every list of `source_hash` costs a table, and tells nothing of the next.
    for _ in 0..if policy == Policy::SourceHash { 1 } else { LISTS } {
        if !bytes.is_empty() {
            let mut list = List::new(policy, &*balancer, &mut bytes);
            list.play(&mut bytes);
        }
    }
}

fn policy(bytes: &mut Bytes<'_>) -> (Policy, Box<dyn Balancer>) {
    match bytes.byte() % 5 {
        0 => (Policy::First, Box::new(First)),
        1 => (Policy::LeastConnections, Box::new(LeastConnections)),
        2 => (Policy::RandomTwo, Box::new(RandomTwo)),
        3 => (Policy::RoundRobin, Box::new(RoundRobin::default())),
        _ => {
            let (seed, ipv4_prefix, ipv6_prefix) = (bytes.long(), bytes.byte(), bytes.byte());
            let options = SourceHashOptions { seed, ipv4_prefix, ipv6_prefix };
            (Policy::SourceHash, Box::new(SourceHash::new(options)))
        }
    }
}

/// A list of members, and how they stand.
struct List {
    policy: Policy,
    members: Vec<Member>,
    pool: Vec<Candidate>,
    selector: Box<dyn Selector>,
}

impl List {
    fn new(policy: Policy, balancer: &dyn Balancer, bytes: &mut Bytes<'_>) -> Self {
        // Lists overlap: some members stay, some come, some go, in any order.
        let first = bytes.byte() % 4;
        let numbers = first..first + bytes.byte() % (MEMBERS + 1);
        let mut members: Vec<Member> = numbers
            .map(|number| Member {
                identity: format!("10.0.0.{number}:80"),
                weight: bytes.number(),
            })
            .collect();
        if bytes.byte() % 2 == 1 {
            members.reverse();
        }
        let pool = members
            .iter()
            .map(|member| Candidate {
                weight: member.weight,
                active: 0,
                limit: u32::MAX,
                usable: true,
            })
            .collect();
        let selector = balancer.selector(&members);
        Self { policy, members, pool, selector }
    }

    fn play(&mut self, bytes: &mut Bytes<'_>) {
        self.whole_rounds();
        self.agree(bytes);
        for _ in 0..bytes.byte() {
            if bytes.is_empty() {
                return;
            }
            self.change(bytes);
            let ask = ask(bytes);
            let Some(index) = self.pick(&ask) else { continue };
            self.faithful(&ask, index);
            let one = &mut self.pool[index];
            one.active = one.active.saturating_add(1);
        }
    }

    /// What happens to one of them before the next pick.
    fn change(&mut self, bytes: &mut Bytes<'_>) {
        let (what, which) = (bytes.byte(), usize::from(bytes.byte()));
        if self.pool.is_empty() {
            return;
        }
        let index = which % self.pool.len();
        let one = &mut self.pool[index];
        match what % 8 {
            0 => one.usable = false,
            1 => one.usable = true,
            2 => one.active = one.active.saturating_sub(1),
            3 => one.limit = bytes.number(),
            4 => one.limit = u32::MAX,
            5 => one.active = bytes.number(),
            6 => one.weight = bytes.number(),
            _ => {}
        }
    }

    fn pick(&self, ask: &Ask) -> Option<usize> {
        let counted = Counted::new(&self.pool);
        let picked = self.selector.pick(ask, &counted);
        let looks = counted.looks();
        assert!(looks <= counted.looks_max(), "{looks} looks at {}", self.pool.len());
        let mut able = (0..self.pool.len()).filter(|&index| eligible(&self.pool[index]));
        match picked {
            None => assert_eq!(able.next(), None, "nobody was picked"),
            Some(index) => {
                assert!(eligible(&self.pool[index]), "{:?} was picked", self.pool[index]);
                match self.policy {
                    Policy::First => assert_eq!(able.next(), Some(index)),
                    Policy::LeastConnections => {
                        assert!(able.all(|other| self.is_less_loaded(index, other)));
                    }
                    Policy::RandomTwo | Policy::RoundRobin | Policy::SourceHash => {}
                }
            }
        }
        picked
    }

    /// Or as much loaded.
    fn is_less_loaded(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.pool[one], self.pool[other]);
        let load = |load: Candidate, weight: Candidate| {
            (u128::from(load.active) + 1) * u128::from(weight.weight)
        };
        load(one, other) <= load(other, one)
    }

    /// In turns, each has exactly its weight of every round.
    fn whole_rounds(&self) {
        let sum = self.members.iter().try_fold(0_u32, |sum, it| sum.checked_add(it.weight));
        let Some(sum @ 1..=ROUND) = sum.filter(|_| self.policy == Policy::RoundRobin) else {
            return;
        };
        // A list of its own: one that takes over turns is in the middle of a round.
        let selector = RoundRobin::default().selector(&self.members);
        for _ in 0..3 {
            let mut shares = vec![0; self.pool.len()];
            for _ in 0..sum {
                let ask = Ask { source: None, random: 0 };
                shares[selector.pick(&ask, &self.pool).expect("all are eligible")] += 1;
            }
            let weights: Vec<u32> = self.members.iter().map(|member| member.weight).collect();
            assert_eq!(shares, weights);
        }
    }

    /// Another instance that learned of the members in another order picks the same for a source.
    fn agree(&self, bytes: &mut Bytes<'_>) {
        if self.policy != Policy::SourceHash || bytes.byte() >= 32 {
            return;
        }
        let seeded = || SourceHash::new(SourceHashOptions::default());
        let mut reversed = self.members.clone();
        reversed.reverse();
        let (one, other) = (seeded().selector(&self.members), seeded().selector(&reversed));
        let backwards: Vec<Candidate> = self.pool.iter().rev().copied().collect();
        for _ in 0..20 {
            let ask = ask(bytes);
            let picked = other.pick(&ask, &backwards).map(|index| self.pool.len() - 1 - index);
            assert_eq!(one.pick(&ask, &self.pool), picked);
        }
    }

    /// A source stays where it is while that one is eligible, whatever becomes of the others.
    fn faithful(&mut self, ask: &Ask, index: usize) {
        if self.policy != Policy::SourceHash {
            return;
        }
        assert_eq!(self.pick(ask), Some(index));
        let pool = self.pool.clone();
        for (other, candidate) in self.pool.iter_mut().enumerate() {
            candidate.usable &= other == index || other % 2 == 0;
        }
        assert_eq!(self.pick(ask), Some(index));
        self.pool = pool;
    }
}

/// Said again, so that what the policies share is judged too.
fn eligible(candidate: &Candidate) -> bool {
    candidate.usable && candidate.weight > 0 && candidate.active < candidate.limit
}

fn ask(bytes: &mut Bytes<'_>) -> Ask {
    let random = bytes.long();
    let source = match bytes.byte() % 3 {
        0 => None,
        1 => Some(IpAddr::V4(Ipv4Addr::from_bits(random as u32))),
        _ => Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from(random) << 64 | 7))),
    };
    Ask { source, random }
}
