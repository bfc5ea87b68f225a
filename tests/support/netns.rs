//! A network namespace of the test's own, in which its threads open sockets and its children run.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Starts a program without any capability, and becomes that program (setpriv(1)).
pub const WITHOUT_RIGHTS: [&str; 3] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A namespace; dropping it removes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// A new one, in which only its loopback device is up.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let netns = Self { name: format!("forebay-{}-{number}", std::process::id()) };
        command(&["ip", "netns", "add", &netns.name]);
        netns.run(&["ip", "link", "set", "lo", "up"]);
        netns
    }

    /// Its name, as ip-netns(8) knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What starts a program in it, and becomes that program.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Runs a command in it, which must succeed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) {
        command(&[&self.prefix(), words].concat());
    }

    /// Runs `act` in a thread inside it; sockets made there belong to it for ever.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).unwrap();
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[track_caller]
fn command(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
