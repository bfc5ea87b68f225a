//! docker/compose.yaml as users run it, with images of this machine in place of downloaded ones.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::engine::{run, said};
use super::leftovers::own_name;
use super::support::{Peer, SOON, eventually, left_out};
use super::{Engine, Image};

/// Bound on a command of compose.
const PATIENCE: Duration = Duration::from_secs(120);

/// The services of the file, up under a name of the test's own; dropping this takes them down.
struct Project<'e> {
    engine: &'e Engine,
    name: String,
    forebay: Image<'e>,
    backend: Image<'e>,
}

impl<'e> Project<'e> {
    fn up(engine: &'e Engine) -> Self {
        let (forebay, backend) = (Image::of_forebay(engine), Image::of_busybox(engine));
        let project = Self { engine, name: own_name("compose"), forebay, backend };
        project.compose(&["up", "-d", "--no-build"]);
        project
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let project = ["-p", &self.name, "-f", "docker/compose.yaml"];
        let words = [&project, words].concat();
        let mut command = self.engine.program("docker-compose", &words);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("FOREBAY_IMAGE", self.forebay.name());
        command.env("BACKEND_IMAGE", self.backend.name());
        // Port 0: the engine chooses.
        command.env("FOREBAY_PORT", "127.0.0.1:0");
        command
    }

    #[track_caller]
    fn compose(&self, words: &[&str]) -> String {
        said(run(self.command(words), PATIENCE))
    }

    /// Where Forebay is published on this machine.
    fn address(&self) -> SocketAddr {
        self.compose(&["port", "forebay", "8080"]).parse().unwrap()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.command(&["logs", "--no-color"]).output();
            eprintln!("{}", logs.map_or_else(|_| String::new(), |output| said(output)));
        }
        let _ = self.command(&["down", "-v", "-t", "2"]).output();
    }
}

/// The name that whichever backend answers gives itself, if one does.
fn visit(address: SocketAddr) -> Option<String> {
    let mut client = Peer::try_connect(address).ok()?;
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    let (answer, _) = client.read_all();
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 OK").then(|| body.trim().to_owned())
}

#[test]
fn the_compose_file_shares_clients_among_backends_found_by_name() {
    if left_out(&["docker-compose"]) {
        return;
    }
    let Some(engine) = Engine::found_or_left_out() else { return };
    let project = Project::up(&engine);
    let address = project.address();
    let mut seen = BTreeSet::new();
    eventually(SOON * 2, || {
        seen.extend(visit(address));
        seen.len() == 3
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["app1", "app2", "app3"]);
    project.compose(&["stop", "app2"]);
    for _ in 0..9 {
        let name = visit(address).expect("two of three still serve");
        assert_ne!(name, "app2");
    }
}
