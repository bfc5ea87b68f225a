//! Real programs: servers that live as long as a value, clients that run to their end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::{SOON, comes_true, found, kill, output_within};

/// Tries at a port that another process may take first.
const TRIES: u32 = 5;

/// A real server; dropping it ends it in its own way, or kills it.
#[derive(Debug)]
pub struct Server {
    child: std::process::Child,
    ends_by: Signal,
}

impl Server {
    /// Starts `words`, which stays in the foreground; it is up when `ready` says so.
    pub fn start(words: &[&str], directory: &Path, ready: impl FnMut() -> bool) -> Option<Self> {
        let log = std::fs::File::create(directory.join("server.log")).unwrap();
        let program = found(words[0]);
        let program = program.unwrap_or_else(|| panic!("{} is not installed", words[0]));
        let child = Command::new(program)
            .args(&words[1..])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, ends_by: Signal::TERM };
        comes_true(SOON, ready).then_some(server)
    }

    /// Starts a server on a free port of the loopback address; `words` makes its command from the port.
    #[track_caller]
    pub fn on_port(directory: &Path, words: impl Fn(u16) -> Vec<String>) -> (Self, SocketAddr) {
        for _ in 0..TRIES {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let words = words(address.port());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let ready = || TcpStream::connect_timeout(&address, SOON).is_ok();
            if let Some(server) = Self::start(&words, directory, ready) {
                return (server, address);
            }
        }
        let said = std::fs::read_to_string(directory.join("server.log")).unwrap_or_default();
        panic!("the server does not come up; it said:\n{said}");
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by this signal when it is dropped.
    pub fn ending_by(mut self, signal: Signal) -> Self {
        self.ends_by = signal;
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            kill(self.child.id(), self.ends_by);
            if !comes_true(SOON, || self.child.try_wait().is_ok_and(|status| status.is_some())) {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// Runs a client program, which must succeed in a minute; what it said on stdout and stderr.
#[track_caller]
pub fn run(words: &[&str], input: Stdio) -> (String, String) {
    let child = Command::new(found(words[0]).unwrap_or_else(|| panic!("no {}", words[0])))
        .args(&words[1..])
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output_within(Duration::from_secs(60), child);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {}\n{said}{complained}", output.status);
    (said, complained)
}
