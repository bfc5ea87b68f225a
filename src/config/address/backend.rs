//! Where a backend is, and where connects come from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::super::suggest::quoted;
use super::super::units::Fault;
use super::super::{BackendAddress, BackendPort};
use super::{bracketed, port_number, split, unix};

/// RFC 1035, section 2.3.4.
const NAME_LENGTH: usize = 253;
const LABEL_LENGTH: usize = 63;

/// Where a backend is.
pub(in super::super) fn backend(text: &str) -> Result<BackendAddress, Fault> {
    if let Some(path) = unix(text) {
        return Ok(BackendAddress::Unix(path?));
    }
    if let Some(name) = text.strip_prefix("srv:") {
        return service(name).map(BackendAddress::Service);
    }
    let (host, port) = split(text, "10.0.0.5:9000")?;
    let port = backend_port(text, port)?;
    if let Some(address) = host.parse().ok().or_else(|| bracketed(host)) {
        return backend_ip(host, address).map(|address| BackendAddress::Ip(address, port));
    }
    host_name(host).map(|name| BackendAddress::Name(name, port))
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

/// The whole name of a service, most often `_service._tcp.domain` (RFC 2782).
fn service(name: &str) -> Result<Arc<str>, Fault> {
    if let Some((alone, port)) = name.rsplit_once(':') {
        let message = format!("{} has a port, which its SRV records say", quoted(name));
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let help = if digits { format!("write \"srv:{alone}\"") } else { SERVICE.to_owned() };
        return Err(Fault::new(message, help));
    }
    host_name(name)
        .map_err(|_| Fault::new(format!("{} is not the name of a service", quoted(name)), SERVICE))
}

const SERVICE: &str = "write \"srv:_http._tcp.app.example\"";

/// The local address of connects: an IP address without a port.
pub(in super::super) fn source(text: &str) -> Result<SocketAddr, Fault> {
    one_host(text).map(|address| SocketAddr::new(address, 0)).ok_or_else(|| {
        let message = format!("{} is not an address to connect from", quoted(text));
        Fault::new(message, "write an IP address of this host, without a port: \"10.0.0.1\"")
    })
}

/// Where to connect: an IP address without a port.
pub(in super::super) fn ip(text: &str) -> Result<IpAddr, Fault> {
    one_host(text).ok_or_else(|| {
        let message = format!("{} is not an IP address to connect to", quoted(text));
        Fault::new(message, "write an IP address without a port: \"10.0.0.1\"")
    })
}

/// The address of one host.
fn one_host(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| bracketed(text));
    address.filter(|address| !address.is_unspecified() && !address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "srv:_http._tcp.app.example",
        ];
        for text in same {
            assert_eq!(backend(text).unwrap().to_string(), text);
        }
        assert_eq!(backend("DB.Internal:1").unwrap().to_string(), "db.internal:1");
        assert_eq!(backend("[::ffff:1.2.3.4]:1").unwrap().to_string(), "1.2.3.4:1");
        let refused =
            ["10.0.0.5:0", "10.0.0.256:1", "a..b:1", "-a:1", "a b:1", "0.0.0.0:1", "x:1-5"];
        for text in refused.iter().chain(&[
            "srv:",
            "srv:_a._tcp.b:80",
            "srv:10.0.0.1",
            "x",
            "x:y",
            "http://x:1/",
            "x:+99999",
            "255.255.255.255:1",
        ]) {
            assert!(backend(text).is_err(), "{text}");
        }
    }

    #[test]
    fn source_is_an_address_alone() {
        assert_eq!(source("10.0.0.1").unwrap().to_string(), "10.0.0.1:0");
        assert_eq!(source("[::1]").unwrap(), source("::1").unwrap());
        assert!(["10.0.0.1:5", "0.0.0.0", "x"].iter().all(|text| source(text).is_err()));
    }
}
