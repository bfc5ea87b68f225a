//! What a pool, or a policy, is asked with.

use std::net::{IpAddr, Ipv4Addr};

use forebay::balance::Ask;

/// A question that differs by its number.
pub(crate) fn ask(number: u32) -> Ask {
    let number = number.wrapping_mul(2_654_435_761);
    let source = IpAddr::V4(Ipv4Addr::from_bits(number));
    Ask { source: Some(source), random: u64::from(number) << 32 | u64::from(number) }
}
