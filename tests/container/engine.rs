//! The Docker Engine: the one that runs here, or one of the test's own.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::leftovers::own_name;
use super::support::{SOON, comes_true, found, kill, leave_out, left_out, output_within};

/// Bound on a command; building has its own.
const MINUTE: Duration = Duration::from_secs(60);

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    /// What `docker` is told, so that it asks this engine.
    host: Vec<String>,
    /// A network of the test's own, whose gateway is this machine.
    network: String,
    own: Option<Own>,
}

impl Engine {
    /// The engine, or `None` when there can be none here, which is said; with CI=true it is a failure.
    #[track_caller]
    pub fn found_or_left_out() -> Option<Self> {
        if left_out(&["docker", "dockerd", "mmdebstrap", "busybox"]) {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            leave_out("needs root to make the builder's image");
            return None;
        }
        let mut engine = Self { host: Vec::new(), network: own_name("network"), own: None };
        if !engine.answers() {
            let own = Own::start();
            engine.host = vec!["-H".to_owned(), own.socket()];
            engine.own = Some(own);
            if !comes_true(SOON * 3, || engine.answers()) {
                leave_out("no Docker Engine runs, and none can be started");
                return None;
            }
        }
        engine.docker(&["network", "create", &engine.network]);
        Some(engine)
    }

    fn answers(&self) -> bool {
        self.command(&["version"]).output().is_ok_and(|output| output.status.success())
    }

    /// `docker` with these words, not started yet.
    pub fn command(&self, words: &[&str]) -> Command {
        self.program("docker", words)
    }

    /// Another client of the engine that takes `-H` as docker does.
    pub fn program(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(found(program).unwrap());
        command.args(&self.host).args(words).stdin(Stdio::null());
        command
    }

    /// What `docker` with these words says; it must succeed.
    #[track_caller]
    pub fn docker(&self, words: &[&str]) -> String {
        said(run(self.command(words), MINUTE))
    }

    /// The same, or nothing if it fails.
    pub fn answer(&self, words: &[&str]) -> String {
        let output = self.command(words).output();
        let said = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// Removes what was made; what is gone already need not be there.
    pub fn remove(&self, words: &[&str]) {
        let _ = self.command(words).output();
    }

    /// Makes an image of this name from the tar file that `writer` writes to its stdout.
    #[track_caller]
    pub fn import(&self, mut writer: Command, name: &str, within: Duration) {
        let mut writer = writer.stdout(Stdio::piped()).spawn().unwrap();
        let tar = writer.stdout.take().unwrap();
        let mut import = self.command(&["import", "-", name]);
        import.stdin(tar);
        said(run(import, within));
        assert!(writer.wait().unwrap().success(), "what was to be {name} was not written whole");
    }

    /// The network that containers are put into.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// This machine's address in it.
    pub fn gateway(&self) -> IpAddr {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        self.docker(&["network", "inspect", &self.network, "-f", format]).parse().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.remove(&["network", "rm", &self.network]);
    }
}

/// Runs `command` to its end, which must come in time.
#[track_caller]
pub fn run(mut command: Command, within: Duration) -> Output {
    output_within(within, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// What a command that must have succeeded said on stdout.
#[track_caller]
pub fn said(output: Output) -> String {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complained}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An engine in a directory of its own; dropping it ends it.
#[derive(Debug)]
struct Own {
    child: Child,
    directory: TempDir,
}

impl Own {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        // What the machine's file says may contradict the arguments, which dockerd refuses.
        std::fs::write(directory.path().join("daemon.json"), "{}").unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(found("dockerd").unwrap())
            .args(["--config-file", &place("daemon.json"), "--host", &socket(directory.path())])
            .args(["--data-root", &place("data"), "--exec-root", &place("exec")])
            .args(["--pidfile", &place("pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn socket(&self) -> String {
        socket(self.directory.path())
    }
}

fn socket(directory: &Path) -> String {
    format!("unix://{}/socket", directory.display())
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            kill(self.child.id(), Signal::TERM);
        }
        // It takes its containers and mounts down first.
        if !comes_true(MINUTE, || self.child.try_wait().is_ok_and(|status| status.is_some())) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
