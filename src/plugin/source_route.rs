//! `source_route`: clients of some networks go to another pool.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use super::{Connection, Decision, Guard, Options, Problem};
use crate::config::parse_network;

/// `guards = [{ source_route = { networks = ["10.0.0.0/8"], pool = "internal" } }]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRoute {
    networks: Vec<Network>,
    pool: String,
}

/// A network, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network(IpNet);

impl SourceRoute {
    /// Reads the options.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_options(options: &Options) -> Result<Self, Vec<Problem>> {
        let route: Self = options.read()?;
        if route.networks.is_empty() {
            let problem = options.problem_at("networks", "`networks` is empty");
            return Err(vec![problem.help("write at least one: \"10.0.0.0/8\"")]);
        }
        Ok(route)
    }
}

impl Guard for SourceRoute {
    fn decide(&self, connection: &Connection<'_>) -> Decision<'_> {
        let Some(source) = connection.client.ip() else { return Decision::Allow };
        if self.networks.iter().any(|network| network.0.contains(&source)) {
            return Decision::Pool(&self.pool);
        }
        Decision::Allow
    }

    fn pools(&self) -> Vec<&str> {
        vec![&self.pool]
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a network as `deny` and `allow` do: `10.0.0.0/8`, `10.0.0.7` or `fd00::/8`.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network, such as \"10.0.0.0/8\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
        parse_network(text)
            .map(|(network, _)| Network(network))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::Registry;
    use super::*;
    use crate::config::{self, Choice, Choices};
    use crate::net::Peer;

    /// What is said of `guards = [{ source_route = … }]` in the fourth line.
    fn said(route: &str) -> Vec<String> {
        let text = format!(
            "[pool.p]\nbackends = ['127.0.0.1:2']\n[listener.l]\n\
             guards = [{{ source_route = {route} }}]\naddress = '127.0.0.1:1'\npool = 'p'\n"
        );
        let loaded = config::parse(&text, "f", &|_| None);
        let choices = Choices::of(loaded.config.as_ref().unwrap());
        Registry::with_builtins().check(&choices).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn clients_of_a_network_go_to_its_pool_and_others_pass() {
        let choice = |text: &str| -> Choice {
            let file = format!("listener.l = {{ guards = [{{ source_route = {text} }}] }}");
            config::parse(&file, "f", &|_| None).choices.guards[0].clone()
        };
        let networks = "{ networks = ['10.0.0.0/8', '192.0.2.7', 'fd00::1/8', '::ffff:172.16.0.0/108'], \
            pool = 'inside' }";
        let guard = Registry::with_builtins().build_guard(&choice(networks)).unwrap();
        assert_eq!(guard.pools(), ["inside"]);
        let decide = |client: Peer| {
            let (client, local, accepted) = (&client, None, Instant::now());
            guard.decide(&Connection { listener: "l", client, local, accepted })
        };
        let tcp = |text: &str| decide(Peer::Tcp(text.parse().unwrap()));
        let mapped = ["172.16.0.1:6", "[::ffff:172.16.0.1]:7"];
        for inside in ["10.255.0.1:5", "192.0.2.7:1", "[fd99::2]:3", "[::ffff:10.0.0.1]:4"]
            .into_iter()
            .chain(mapped)
        {
            assert_eq!(tcp(inside), Decision::Pool("inside"), "{inside}");
        }
        for outside in ["11.0.0.1:5", "192.0.2.8:1", "[fe80::2]:3"] {
            assert_eq!(tcp(outside), Decision::Allow, "{outside}");
        }
        assert_eq!(decide(Peer::Unix), Decision::Allow);
    }

    /// True exactly when `said` points at `part` of `route`, with these words.
    fn points(said: &str, route: &str, part: &str, words: &str) -> bool {
        let column = "guards = [{ source_route = ".len() + route.find(part).unwrap() + 1;
        said.starts_with(&format!("f:4:{column}: {words}"))
    }

    #[test]
    fn wrong_options_are_named_where_they_stand() {
        assert_eq!(said("{ networks = ['10.0.0.0/8'], pool = 'p' }"), [""; 0]);
        for (route, part, words) in [
            ("{ networks = ['10.0.0.1', '10/8'], pool = 'p' }", "'10/8'", "invalid value"),
            ("{ networks = [7], pool = 'p' }", "7", "invalid type"),
            ("{ networks = [], pool = 'p' }", "[]", "`networks` is empty"),
            ("{ networks = ['::/0'] }", "{", "missing field `pool`"),
            (
                "{ networks = ['::/0'], pool = 'pp' }",
                "'pp'",
                "unknown pool `pp`; did you mean `p`?",
            ),
        ] {
            let said = said(route);
            assert!(said.len() == 1 && points(&said[0], route, part, words), "{said:?}");
        }
    }

    #[test]
    fn every_wrong_option_is_named() {
        let route = "{ network = 5, networks = ['10/8'], pool = 'p' }";
        let said = said(route);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(points(&said[0], route, "network", "unknown field `network`"), "{said:?}");
        assert!(points(&said[1], route, "'10/8'", "invalid value"), "{said:?}");
    }
}
