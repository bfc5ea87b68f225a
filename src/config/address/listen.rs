//! Where a listener listens.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;

use super::super::ListenAddress;
use super::super::suggest::quoted;
use super::super::units::Fault;
use super::{port_number, split, unix};

/// Addresses that one listener may have, ranges expanded.
pub const ADDRESSES_PER_LISTENER: usize = 4096;

/// The addresses that one text of a listener means: more than one for a range of ports.
pub(in super::super) fn listen(text: &str) -> Result<Vec<ListenAddress>, Fault> {
    if let Some(path) = unix(text) {
        return Ok(vec![ListenAddress::Unix(path?)]);
    }
    let (host, port) = split(text, "0.0.0.0:8080")?;
    let host = listen_host(text, host, port)?;
    let ports = ports(text, port)?;
    Ok(ports.map(|port| ListenAddress::Tcp(host.with(port))).collect())
}

/// An IP address with the scope that a link-local one needs.
#[derive(Clone, Copy)]
struct Host(SocketAddr);

impl Host {
    fn with(self, port: u16) -> SocketAddr {
        let mut address = self.0;
        address.set_port(port);
        address
    }
}

fn listen_host(text: &str, host: &str, port: &str) -> Result<Host, Fault> {
    if matches!(host, "" | "*") {
        let help = format!("write \"0.0.0.0:{port}\" for IPv4, \"[::]:{port}\" for IPv6, or both");
        return Err(Fault::new(format!("{} has no IP address", quoted(text)), help));
    }
    let address = ip(host).ok_or_else(|| {
        let help = "a listener needs an IP address: \"0.0.0.0:8080\", \"[::1]:8080\"";
        Fault::new(format!("{} is not an IP address", quoted(host)), help)
    })?;
    match address.0.ip() {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            let four = six.to_ipv4_mapped().map(|four| four.to_string()).unwrap_or_default();
            let message = format!("{} is an IPv4 address within IPv6", quoted(host));
            Err(Fault::new(message, format!("write \"{four}:{port}\"")))
        }
        other if other.is_multicast() => {
            let message = format!("{} is a multicast address", quoted(host));
            Err(Fault::new(message, "TCP connects single addresses"))
        }
        _ => Ok(address),
    }
}

/// `10.0.0.1`, `[::1]`, `[fe80::1%2]`.
fn ip(host: &str) -> Option<Host> {
    match host.strip_prefix('[') {
        Some(_) => format!("{host}:0").parse::<SocketAddrV6>().ok().map(SocketAddr::V6).map(Host),
        None => host.parse().ok().map(|four| Host(SocketAddr::new(IpAddr::V4(four), 0))),
    }
}

/// `8080` or `30000-30009`.
fn ports(text: &str, port: &str) -> Result<RangeInclusive<u16>, Fault> {
    let Some((first, last)) = port.split_once('-') else {
        let port = port_number(text, port)?;
        return Ok(port..=port);
    };
    let (first, last) = (port_number(text, first)?, port_number(text, last)?);
    let fault = |what: String, help: &str| Err(Fault::new(what, help));
    if first == 0 || last < first {
        let what = format!("{} is not a range of ports", quoted(port));
        return fault(what, "write the lower port first, from 1: \"0.0.0.0:30000-30009\"");
    }
    let count = usize::from(last - first) + 1;
    if count > ADDRESSES_PER_LISTENER {
        let what = format!("{} is {count} ports", quoted(port));
        return fault(what, &format!("a listener has at most {ADDRESSES_PER_LISTENER} addresses"));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen_shown(text: &str) -> Vec<String> {
        listen(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn listeners_take_addresses_sockets_and_ranges() {
        assert_eq!(listen_shown("0.0.0.0:8080"), ["0.0.0.0:8080"]);
        assert_eq!(listen_shown("[::]:0"), ["[::]:0"]);
        assert_eq!(listen_shown("[fe80::1%2]:80"), ["[fe80::1%2]:80"]);
        assert_eq!(listen_shown("unix:/run/x.sock"), ["unix:/run/x.sock"]);
        assert_eq!(listen_shown("/run/x.sock"), ["unix:/run/x.sock"]);
        let range = listen_shown("10.0.0.1:30000-30002");
        assert_eq!(range, ["10.0.0.1:30000", "10.0.0.1:30001", "10.0.0.1:30002"]);
        assert_eq!(listen("0.0.0.0:1-4096").unwrap().len(), ADDRESSES_PER_LISTENER);
    }

    #[test]
    fn listeners_refuse_the_rest_with_a_reason() {
        let refused = [
            ("localhost:80", "is not an IP address"),
            (":80", "has no IP address"),
            ("*:80", "has no IP address"),
            ("8080", "is a port alone"),
            ("10.0.0.1", "has no port"),
            ("10.0.0.1:", "has no port"),
            ("[::1]", "has no port"),
            ("::1:80", "is IPv6 without brackets"),
            ("10.0.0.1:99999", "is not a port"),
            ("10.0.0.1:+80", "is not a port"),
            ("10.0.0.1:20-10", "is not a range"),
            ("10.0.0.1:0-10", "is not a range"),
            ("10.0.0.1:1-65535", "is 65535 ports"),
            ("tcp://10.0.0.1:80", "is a URL"),
            ("unix:run/x", "is not an absolute path"),
            ("unix:/run/", "cannot name a socket"),
            ("unix:/run/a\nb", "cannot name a socket"),
            ("[::ffff:1.2.3.4]:80", "is an IPv4 address within IPv6"),
            ("224.0.0.1:80", "is a multicast address"),
            ("", "has no port"),
        ];
        for (text, reason) in refused {
            let message = listen(text).unwrap_err().message;
            assert!(message.contains(reason), "{text}: {message}");
        }
        assert!(listen(&format!("/{}", "x".repeat(107))).is_err());
    }
}
