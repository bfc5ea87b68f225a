//! A backend in a process of its own, which can be killed: the test program, started again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use super::{SOON, kill, obtain};

/// Where the child writes its address; without it `serve_if_asked` does nothing.
const VARIABLE: &str = "FOREBAY_TEST_BACKEND";

/// A running backend process; dropping it kills it.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    address: SocketAddr,
}

impl Child {
    /// Starts this very program, as the test of this name, which must call `serve_if_asked`.
    pub fn start(test: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("address");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(VARIABLE, &file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = obtain(SOON, || std::fs::read_to_string(&file).ok()?.parse().ok());
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it with SIGKILL.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves for ever if this process was started by `Child`; else returns. It sends back the first bytes of
/// each connection and leaves what follows unread, so that its death is a reset.
pub fn serve_if_asked() {
    let Ok(file) = std::env::var(VARIABLE) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let draft = Path::new(&file).with_extension("draft");
    std::fs::write(&draft, address).unwrap();
    std::fs::rename(draft, file).unwrap();
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            if let Ok(count @ 1..) = stream.read(&mut bytes) {
                let _ = stream.write_all(&bytes[..count]);
                let _ = poll(&mut [PollFd::new(&stream, PollFlags::RDHUP)], None);
            }
        });
    }
}

/// What a program said, which must end in time; it is killed if it does not.
#[track_caller]
pub fn output_within(within: Duration, child: std::process::Child) -> Output {
    let id = child.id();
    let (tell, told) = channel();
    // Its output is read while it runs: a pipe holds only so much.
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let output = told.recv_timeout(within).unwrap_or_else(|_| {
        kill(id, Signal::KILL);
        let said = told.recv().unwrap().unwrap();
        panic!("still running after {within:?}: {}", String::from_utf8_lossy(&said.stderr));
    });
    output.unwrap()
}
