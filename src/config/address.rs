//! Addresses: where listeners listen and where backends are, from text and back.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::sync::Arc;

use super::suggest::quoted;
use super::units::Fault;
use super::{BackendAddress, BackendPort, ListenAddress};

/// Addresses that one listener may have, ranges expanded.
pub const ADDRESSES_PER_LISTENER: usize = 4096;
/// sun_path holds 108 bytes with the final zero (unix(7)).
const UNIX_PATH: usize = 107;
/// RFC 1035, section 2.3.4.
const NAME_LENGTH: usize = 253;
const LABEL_LENGTH: usize = 63;

/// The addresses that one text of a listener means: more than one for a range of ports.
pub(super) fn listen(text: &str) -> Result<Vec<ListenAddress>, Fault> {
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

/// `unix:/path` or a bare absolute path.
fn unix(text: &str) -> Option<Result<PathBuf, Fault>> {
    let path = match text.strip_prefix("unix:") {
        Some(path) => path,
        None if text.starts_with('/') => text,
        None => return None,
    };
    let fault = |what: &str| Fault::new(what, "write \"unix:/run/forebay/app.sock\"");
    Some(if !path.starts_with('/') {
        Err(fault(&format!("{} is not an absolute path", quoted(path))))
    } else if path.contains('\0') || path.ends_with('/') {
        Err(fault(&format!("{} cannot name a socket", quoted(path))))
    } else if path.len() > UNIX_PATH {
        let length = path.len();
        Err(fault(&format!("a socket path of {length} bytes is too long, at most {UNIX_PATH}")))
    } else {
        Ok(PathBuf::from(path))
    })
}

/// Host and port; an IPv6 host keeps its brackets.
fn split<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), Fault> {
    let fault = |what: &str, help: String| Fault::new(format!("{} {what}", quoted(text)), help);
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(fault("is a URL", format!("write \"{rest}\" without \"{scheme}://\"")));
    }
    let bare = text.bytes().filter(|byte| *byte == b':').count() > 1 && !text.starts_with('[');
    if bare {
        return Err(fault("is IPv6 without brackets", "write \"[::1]:8080\"".to_owned()));
    }
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], &text[at + 1..]),
        _ if text.parse::<u16>().is_ok() => {
            return Err(fault("is a port alone", format!("write \"HOST:{text}\": \"{example}\"")));
        }
        _ => return Err(fault("has no port", format!("write \"{example}\""))),
    };
    match port {
        "" => Err(fault("has no port", format!("write \"{example}\""))),
        _ => Ok((host, port)),
    }
}

/// `8080` or `30000-30009`.
fn ports(text: &str, port: &str) -> Result<std::ops::RangeInclusive<u16>, Fault> {
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

fn port_number(text: &str, port: &str) -> Result<u16, Fault> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = format!("{} is not a port in {}", quoted(port), quoted(text));
        Fault::new(message, "a port is a number up to 65535")
    })
}

/// Where a backend is.
pub(super) fn backend(text: &str) -> Result<BackendAddress, Fault> {
    if let Some(path) = unix(text) {
        return Ok(BackendAddress::Unix(path?));
    }
    let (host, port) = split(text, "10.0.0.5:9000")?;
    let port = backend_port(text, port)?;
    if let Some(address) = host.parse().ok().or_else(|| bracketed(host)) {
        return backend_ip(host, address).map(|address| BackendAddress::Ip(address, port));
    }
    host_name(host).map(|name| BackendAddress::Name(name, port))
}

fn bracketed(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

/// An address that can be connected to; IPv4 within IPv6 is IPv4.
fn backend_ip(host: &str, address: IpAddr) -> Result<IpAddr, Fault> {
    let address = address.to_canonical();
    let what = match address {
        address if address.is_unspecified() => "stands for every address",
        address if address.is_multicast() => "is a multicast address",
        IpAddr::V4(four) if four.is_broadcast() => "is the broadcast address",
        address => return Ok(address),
    };
    let help = "a backend needs an address to connect to: \"127.0.0.1:9000\"";
    Err(Fault::new(format!("{} {what}", quoted(host)), help))
}

fn backend_port(text: &str, port: &str) -> Result<BackendPort, Fault> {
    let offset = match port.as_bytes().first() {
        Some(b'+') => Some((1, &port[1..])),
        Some(b'-') => Some((-1, &port[1..])),
        _ => None,
    };
    if let Some((sign, digits)) = offset {
        return Ok(BackendPort::Offset(sign * i32::from(port_number(text, digits)?)));
    }
    if port.contains('-') {
        let message = format!("{} is a range of ports", quoted(port));
        let help = "a backend has one port; \":+0\" is the port that the client connected to";
        return Err(Fault::new(message, help));
    }
    match port_number(text, port)? {
        0 => {
            let message = format!("{} has port 0", quoted(text));
            Err(Fault::new(message, "a backend needs a port from 1 to 65535"))
        }
        port => Ok(BackendPort::Fixed(port)),
    }
}

/// A host name, in lower case: names differ in nothing but case (RFC 4343).
fn host_name(host: &str) -> Result<Arc<str>, Fault> {
    let fault = || {
        let message = format!("{} is neither an IP address nor a host name", quoted(host));
        Fault::new(message, "write \"10.0.0.5:9000\", \"[::1]:9000\" or \"db.internal:5432\"")
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        letters && !label.is_empty() && label.len() <= LABEL_LENGTH && !label.starts_with('-')
    };
    // 10.0.0.256 is a mistyped address and no name: no top-level domain is all digits.
    let number = name.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    match name.len() <= NAME_LENGTH && name.split('.').all(label) && !number {
        true => Ok(host.to_ascii_lowercase().into()),
        false => Err(fault()),
    }
}

/// The local address of connects: an IP address without a port.
pub(super) fn source(text: &str) -> Result<SocketAddr, Fault> {
    let address = text.parse::<IpAddr>().ok().or_else(|| bracketed(text));
    let address = address.filter(|address| !address.is_unspecified() && !address.is_multicast());
    address.map(|address| SocketAddr::new(address, 0)).ok_or_else(|| {
        let message = format!("{} is not an address to connect from", quoted(text));
        Fault::new(message, "write an IP address of this host, without a port: \"10.0.0.1\"")
    })
}

/// As the file says it.
impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// As the file says it; names the backend within its pool.
impl fmt::Display for BackendAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address), port) => write!(out, "{address}:{port}"),
            Self::Ip(IpAddr::V6(address), port) => write!(out, "[{address}]:{port}"),
            Self::Name(name, port) => write!(out, "{name}:{port}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// `9000`, `+0`, `-5`.
impl fmt::Display for BackendPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(port) => write!(out, "{port}"),
            Self::Offset(offset) => write!(out, "{offset:+}"),
        }
    }
}

impl BackendPort {
    /// The port for a client that connected to `port`; none if it lies outside 1 to 65535.
    pub fn resolve(self, port: u16) -> Option<u16> {
        match self {
            Self::Fixed(fixed) => Some(fixed),
            Self::Offset(offset) => {
                u16::try_from(i32::from(port) + offset).ok().filter(|port| *port != 0)
            }
        }
    }
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

    #[test]
    fn backends_show_as_they_were_written() {
        let same = [
            "10.0.0.5:9000",
            "[::1]:9000",
            "db.internal:5432",
            "unix:/run/x",
            "10.0.0.5:+0",
            "a_b-c:-5",
            "x.:1",
        ];
        for text in same {
            assert_eq!(backend(text).unwrap().to_string(), text);
        }
        assert_eq!(backend("DB.Internal:1").unwrap().to_string(), "db.internal:1");
        assert_eq!(backend("[::ffff:1.2.3.4]:1").unwrap().to_string(), "1.2.3.4:1");
        let refused =
            ["10.0.0.5:0", "10.0.0.256:1", "a..b:1", "-a:1", "a b:1", "0.0.0.0:1", "x:1-5"];
        for text in
            refused.iter().chain(&["x", "x:y", "http://x:1/", "x:+99999", "255.255.255.255:1"])
        {
            assert!(backend(text).is_err(), "{text}");
        }
    }

    #[test]
    fn offset_ports_stay_within_ports() {
        assert_eq!(BackendPort::Offset(10).resolve(80), Some(90));
        assert_eq!(BackendPort::Offset(-80).resolve(80), None);
        assert_eq!(BackendPort::Offset(1).resolve(65535), None);
        assert_eq!(BackendPort::Fixed(7).resolve(80), Some(7));
    }

    #[test]
    fn source_is_an_address_alone() {
        assert_eq!(source("10.0.0.1").unwrap().to_string(), "10.0.0.1:0");
        assert_eq!(source("[::1]").unwrap(), source("::1").unwrap());
        assert!(["10.0.0.1:5", "0.0.0.0", "x"].iter().all(|text| source(text).is_err()));
    }
}
