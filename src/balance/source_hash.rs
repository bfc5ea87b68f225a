//! `source_hash`: sessions of one source go to one member, and few move when members change.
//!
//! The source's address is hashed with a key and looked up in a [`Maglev`] table. While its member
//! cannot be picked the source hashes again to another, and it comes back when its member does; all
//! other sources stay where they are. Instances with equal seeds and members agree without talking. It
//! holds no state but the table, which a new list replaces.
//!
//! The hash is SipHash (Aumasson and Bernstein 2012): who does not know the seed cannot choose
//! addresses that all meet one member.

use std::hash::Hasher;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de};
use siphasher::sip::SipHasher13;

use super::maglev::Maglev;
use super::{Ask, Balancer, Candidates, Member, Selector, first_eligible};

/// Further hashes of a source whose member is out, before all members are tried in a row. With half
/// of them out, one source in 65,536 needs that.
const ATTEMPTS_MAX: u64 = 16;

/// The second half of the key; it only has to be the same everywhere.
const KEY: u64 = u64::from_be_bytes(*b"forebay1");

/// The options of `source_hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceHashOptions {
    /// Equal seeds agree on every source. The default, 0, is public: set a secret one, and the same
    /// on all instances, where clients could choose their addresses to overload one member.
    pub seed: u64,
    /// Leading bits of an IPv4 address that count as one source; at most 32.
    #[serde(deserialize_with = "bits::<32, _>")]
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that count as one source; at most 128.
    #[serde(deserialize_with = "bits::<128, _>")]
    pub ipv6_prefix: u8,
}

impl Default for SourceHashOptions {
    fn default() -> Self {
        Self { seed: 0, ipv4_prefix: 32, ipv6_prefix: 64 }
    }
}

fn bits<'de, const MOST: u8, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let bits = u64::deserialize(from)?;
    match u8::try_from(bits) {
        Ok(bits) if bits <= MOST => Ok(bits),
        _ => Err(de::Error::custom(format_args!("a prefix has 0 to {MOST} bits, not {bits}"))),
    }
}

/// Picks the same member for the same source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceHash {
    options: SourceHashOptions,
}

impl SourceHash {
    /// Prefixes longer than an address count as the whole address.
    pub fn new(options: SourceHashOptions) -> Self {
        Self { options }
    }
}

impl Balancer for SourceHash {
    fn selector(&self, members: &[Member]) -> Box<dyn Selector> {
        let table = Maglev::new(members, (self.options.seed, KEY));
        Box::new(ByTable { options: self.options, table })
    }
}

#[derive(Debug)]
struct ByTable {
    options: SourceHashOptions,
    table: Maglev,
}

impl Selector for ByTable {
    fn pick(&self, ask: &Ask, candidates: &dyn Candidates) -> Option<usize> {
        let subject = match ask.source {
            Some(source) => self.options.subject(source),
            None => u128::from(ask.random),
        };
        let hash = |attempt| self.options.hash(subject, attempt);
        let hashed = (0..=ATTEMPTS_MAX).map_while(|attempt| self.table.at(hash(attempt)));
        let count = candidates.count();
        let listed = |index: &usize| *index < count;
        first_eligible(hashed.filter(listed), candidates)
            .or_else(|| first_eligible(self.table.all_from(hash(0)).filter(listed), candidates))
    }
}

impl SourceHashOptions {
    /// What counts as one source, as an IPv6 address (IPv4 mapped into it).
    fn subject(&self, source: IpAddr) -> u128 {
        let (bits, host_bits) = match source.to_canonical() {
            IpAddr::V4(address) => {
                (address.to_ipv6_mapped().to_bits(), 32_u8.saturating_sub(self.ipv4_prefix))
            }
            IpAddr::V6(address) => (address.to_bits(), 128_u8.saturating_sub(self.ipv6_prefix)),
        };
        bits & u128::MAX.checked_shl(u32::from(host_bits)).unwrap_or(0)
    }

    fn hash(&self, subject: u128, attempt: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed, KEY);
        // Fixed byte order, so that machines of either kind agree.
        hasher.write(&subject.to_be_bytes());
        hasher.write(&attempt.to_be_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests;
