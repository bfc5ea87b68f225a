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
mod state;
mod watching;
mod workers;

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
