//! Reload: everything in the file changes while sessions live, and nothing is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

#[path = "../support/mod.rs"]
mod support;

mod backends;
mod churn;
mod listeners;
mod refused;
mod removed;
mod settings;
mod settling;
mod state;
mod upstream;
mod watching;
mod workers;

use std::net::SocketAddr;
use std::process::Command;

use support::{Forebay, Peer};

/// A file whose changes are noticed by SIGHUP alone.
fn quiet(rest: &str) -> String {
    format!("[reload]\nwatch = \"off\"\n{rest}")
}

/// Listener "web" before pool "app".
fn simple(backends: &[&support::Backend], listener: &str, pool: &str) -> String {
    let backends: Vec<String> = backends.iter().map(|it| it.address().to_string()).collect();
    quiet(&format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n{listener}\n\
         [pool.app]\nbackends = {backends:?}\n{pool}\n"
    ))
}

/// A client of listener "web" and the name that its backend said.
#[track_caller]
fn visit(forebay: &Forebay) -> (Peer, String) {
    let mut client = Peer::connect(forebay.address("web"));
    let name = client.line().expect("a backend's name");
    (client, name)
}

#[track_caller]
fn served_by(forebay: &Forebay) -> String {
    visit(forebay).1
}

#[track_caller]
fn say(client: &mut Peer) {
    client.send(b"hello");
    client.expect(b"hello");
}

/// What the kernel says of each socket that listens there: its backlog and its congestion control.
#[track_caller]
fn listening(address: SocketAddr) -> Vec<(u32, String)> {
    sockets(&["-ltniH", "src", &address.to_string()])
}

/// Of each TCP socket that ss(8) shows: its second queue (of one that listens, the backlog) and its congestion control.
#[track_caller]
fn sockets(words: &[&str]) -> Vec<(u32, String)> {
    let said = String::from_utf8(Command::new("ss").args(words).output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    // State (where there are several), what waits to be read, what else waits or the backlog,
    // addresses; then, in a line of its own, what TCP says.
    let socket = |lines: &[&str]| {
        let numbers = lines[0].split_whitespace().filter_map(|word| word.parse().ok());
        Some((numbers.take(2).last()?, lines[1].split_whitespace().next()?.to_owned()))
    };
    lines.chunks_exact(2).map(|lines| socket(lines).unwrap_or_else(|| panic!("{said}"))).collect()
}
