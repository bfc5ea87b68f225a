//! The options of `dns`: whom to ask, how often, and how long to wait.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::dns::Dns;
use crate::plugin::{Options, Problem};

/// Where a server of names listens (RFC 1035, section 4.2).
const PORT: u16 = 53;

/// Together these bound how long a look-up that fails may take.
const SERVERS_MAX: usize = 8;
const ATTEMPTS_MAX: u32 = 10;
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// `{ dns = { servers = ["10.0.0.2", "[fd00::2]:5353"], timeout = "1s", attempts = 2 } }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    servers: Option<Vec<String>>,
    #[serde(
        default = "timeout",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
    )]
    timeout: Duration,
    #[serde(default = "attempts")]
    attempts: u32,
}

fn timeout() -> Duration {
    Duration::from_secs(1)
}

fn attempts() -> u32 {
    2
}

/// Reads the options of `dns`.
pub(super) fn from_options(options: &Options) -> Result<Dns, Vec<Problem>> {
    let said: Said = options.read()?;
    let mut problems = Vec::new();
    let mut refuse = |key, message: String| problems.push(options.problem_at(key, message));
    if said.timeout.is_zero() || said.timeout > TIMEOUT_MAX {
        refuse("timeout", format!("`timeout` must be over zero and at most {TIMEOUT_MAX:?}"));
    }
    if said.attempts == 0 || said.attempts > ATTEMPTS_MAX {
        refuse("attempts", format!("`attempts` must be from 1 to {ATTEMPTS_MAX}"));
    }
    if said.servers.as_ref().is_some_and(|all| all.is_empty() || all.len() > SERVERS_MAX) {
        refuse("servers", format!("`servers` must name from 1 to {SERVERS_MAX} servers"));
    }
    let mut servers = Vec::new();
    for text in said.servers.iter().flatten() {
        match server(text) {
            Some(server) => servers.push(server),
            None => refuse(
                "servers",
                format!("`{}` is not a server such as \"10.0.0.2:53\"", text.escape_debug()),
            ),
        }
    }
    match problems.is_empty() {
        true => Ok(Dns { servers, timeout: said.timeout, attempts: said.attempts }),
        false => Err(problems),
    }
}

/// `10.0.0.2`, `10.0.0.2:5353`, `fd00::2`, `[fd00::2]:5353`.
fn server(text: &str) -> Option<SocketAddr> {
    let alone = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
    let server = text.parse().ok().or_else(alone)?;
    (server.port() != 0 && !server.ip().is_unspecified() && !server.ip().is_multicast())
        .then_some(server)
}

/// The servers that resolv.conf(5) names, in its order; what is no address is passed over.
pub(super) fn servers_of(resolv_conf: &str) -> Vec<SocketAddr> {
    let named = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let mut servers: Vec<SocketAddr> = named.filter_map(server).take(SERVERS_MAX).collect();
    if servers.is_empty() {
        // What resolv.conf(5) says of a file that names none.
        servers.push(SocketAddr::from(([127, 0, 0, 1], PORT)));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_resolv_conf_names_them() {
        let text = "# nameserver 1.1.1.1\nsearch a.example\nnameserver 10.0.0.2\n\
                    nameserver fe80::1%eth0\n nameserver\tfd00::2 # second\nnameservers 1.2.3.4\n";
        let servers: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fd00::2]:53"]);
        assert_eq!(servers_of("")[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        assert_eq!(server("10.0.0.2:5353").unwrap().to_string(), "10.0.0.2:5353");
        assert_eq!(server("[::1]:54").unwrap().to_string(), "[::1]:54");
        assert_eq!(server("::1").unwrap().to_string(), "[::1]:53");
        for text in ["", "dns.example", "10.0.0.2:0", "0.0.0.0", "10.0.0.2:", "10.0.0.2:99999"] {
            assert!(server(text).is_none(), "{text}");
        }
    }
}
