//! Addresses of a listener in few words: ports in a row as a range.

use std::net::SocketAddr;

use super::super::ListenAddress;

/// Runs of ports on one address as a range; the rest one by one.
pub(in super::super) fn ranges(all: &[ListenAddress]) -> Vec<String> {
    let mut shown = Vec::new();
    let mut rest = all;
    while let Some((first, after)) = rest.split_first() {
        let run = match first {
            ListenAddress::Tcp(first) => run(*first, after),
            ListenAddress::Unix(_) => 0,
        };
        match (first, u16::try_from(run)) {
            (ListenAddress::Tcp(address), Ok(run)) if run > 0 => {
                shown.push(format!("{address}-{}", address.port().saturating_add(run)));
            }
            _ => shown.push(first.to_string()),
        }
        rest = after.get(run..).unwrap_or_default();
    }
    shown
}

/// How many of `after` continue `first` port by port.
fn run(first: SocketAddr, after: &[ListenAddress]) -> usize {
    if first.port() == 0 {
        return 0;
    }
    let mut last = first;
    let next = |address: &&ListenAddress| {
        let Some(port) = last.port().checked_add(1) else { return false };
        last.set_port(port);
        **address == ListenAddress::Tcp(last)
    };
    after.iter().take_while(next).count()
}
