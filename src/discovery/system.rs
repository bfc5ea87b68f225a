//! `system`: host names as every program of this host resolves them.
//!
//! getaddrinfo(3): /etc/hosts, search domains and whatever else the host is set up with hold.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use crate::plugin::{Answer, Finding, Found, Provider, Question};

/// Asks the C library, which tells no time to live.
#[derive(Debug)]
pub(super) struct System;

impl Provider for System {
    fn find<'a>(&'a self, question: &'a Question) -> Finding<'a> {
        Box::pin(async move {
            let Question::Host(name) = question else {
                return Err("the system's resolver knows no services".to_owned());
            };
            let asked = Arc::clone(name);
            let looked_up = tokio::task::spawn_blocking(move || look_up(&asked)).await;
            let addresses = looked_up.map_err(io::Error::from).and_then(|found| found);
            let addresses = addresses.map_err(|error| error.to_string())?;
            Ok(Answer { found: addresses.into_iter().map(Found::host).collect(), good_for: None })
        })
    }
}

/// Blocks.
fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}
