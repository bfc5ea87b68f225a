//! A real server of names, whose answers a test can change.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use super::support::{SOON, Server, kill};

/// A running dnsmasq(8) that knows `example` alone, from a file of the form of hosts(5). Its answers
/// are good for a second.
pub(crate) struct Dnsmasq {
    server: Server,
    address: SocketAddr,
    directory: TempDir,
}

/// Where one was.
pub(crate) struct Ended {
    address: SocketAddr,
    directory: TempDir,
}

impl Dnsmasq {
    #[track_caller]
    pub(crate) fn start(hosts: &[&str], options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), hosts);
        let words = |port| words(directory.path(), port, options);
        let (server, address) = Server::on_port(directory.path(), words);
        Self { server, address, directory }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Knows these names from now on.
    pub(crate) fn say(&self, hosts: &[&str]) {
        write(self.directory.path(), hosts);
        kill(self.server.id(), Signal::HUP);
    }

    /// Ends it.
    pub(crate) fn end(self) -> Ended {
        drop(self.server);
        Ended { address: self.address, directory: self.directory }
    }
}

impl Ended {
    /// Starts another one in its place.
    #[track_caller]
    pub(crate) fn start_again(self, hosts: &[&str]) -> Dnsmasq {
        let Self { address, directory } = self;
        write(directory.path(), hosts);
        let words = words(directory.path(), address.port(), &[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ready = || TcpStream::connect_timeout(&address, SOON).is_ok();
        let server = Server::start(&words, directory.path(), ready).unwrap();
        Dnsmasq { server, address, directory }
    }
}

fn write(directory: &Path, hosts: &[&str]) {
    let new = directory.join("hosts.new");
    std::fs::write(&new, hosts.join("\n") + "\n").unwrap();
    std::fs::rename(new, directory.join("hosts")).unwrap();
}

fn words(directory: &Path, port: u16, options: &[&str]) -> Vec<String> {
    let hosts = format!("--addn-hosts={}", directory.join("hosts").display());
    let port = format!("--port={port}");
    // As root it would become a user who may not read the directory.
    let fixed = "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root \
                 --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces \
                 --local=/example/ --log-facility=- --log-queries";
    let mut words: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    words.extend([hosts, port]);
    if !options.iter().any(|option| option.starts_with("--local-ttl")) {
        words.push("--local-ttl=1".to_owned());
    }
    words.extend(options.iter().map(|&option| option.to_owned()));
    words
}
