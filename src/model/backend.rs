//! A backend: one destination address of one pool, for as long as any session or file names it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Counters, Health, Limit};
use crate::config::BackendPort;
use crate::net::Address;

/// Where a backend is, names looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp(IpAddr, BackendPort),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// True exactly when the port depends on the one that the client came to.
    pub fn follows_client(&self) -> bool {
        matches!(self, Self::Tcp(_, BackendPort::Offset(_)))
    }

    /// Where to connect for a client that came to `local_port`. `None`: the offset leads nowhere.
    pub fn destination(&self, local_port: Option<u16>) -> Option<Address> {
        match self {
            Self::Unix(path) => Some(Address::Unix(path.clone())),
            Self::Tcp(ip, BackendPort::Fixed(port)) => {
                Some(Address::Tcp(SocketAddr::new(*ip, *port)))
            }
            Self::Tcp(ip, BackendPort::Offset(offset)) => {
                let port = i32::from(local_port?).checked_add(*offset)?;
                let port = u16::try_from(port).ok().filter(|&port| port > 0)?;
                Some(Address::Tcp(SocketAddr::new(*ip, port)))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(ip, BackendPort::Fixed(port)) => SocketAddr::new(*ip, *port).fmt(f),
            Self::Tcp(IpAddr::V4(ip), BackendPort::Offset(offset)) => write!(f, "{ip}:{offset:+}"),
            Self::Tcp(IpAddr::V6(ip), BackendPort::Offset(offset)) => {
                write!(f, "[{ip}]:{offset:+}")
            }
        }
    }
}

/// A backend. It outlives the snapshots that name it; its identity is its pool and its endpoint.
#[derive(Debug)]
pub struct Backend {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The endpoint as text: its name in logs, metrics and the API.
    pub name: Arc<str>,
    /// `max_connections`; its count is also the load that policies compare.
    pub limit: Arc<Limit>,
    /// What was measured.
    pub health: Health,
    /// What happened.
    pub counters: Counters,
}
