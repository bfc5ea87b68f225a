//! Addresses as the file says them, and the port that an offset means.

use std::fmt;
use std::net::IpAddr;

use super::super::{BackendAddress, BackendPort, ListenAddress};

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
            Self::Service(name) => write!(out, "srv:{name}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl BackendAddress {
    /// True exactly when somebody has to be asked where it is.
    pub(in super::super) fn is_name(&self) -> bool {
        matches!(self, Self::Name(..) | Self::Service(_))
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

    #[test]
    fn offset_ports_stay_within_ports() {
        assert_eq!(BackendPort::Offset(10).resolve(80), Some(90));
        assert_eq!(BackendPort::Offset(-80).resolve(80), None);
        assert_eq!(BackendPort::Offset(1).resolve(65535), None);
        assert_eq!(BackendPort::Fixed(7).resolve(80), Some(7));
    }
}
