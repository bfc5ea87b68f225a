//! What /proc and kill(2) say of and do to one process that the test started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A process by its number.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    id: u32,
}

impl Process {
    /// The process of this number.
    pub fn new(id: u32) -> Self {
        Self { id }
    }

    /// Its number.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Open descriptors.
    pub fn descriptors(self) -> usize {
        std::fs::read_dir(self.file("fd")).map_or(0, Iterator::count)
    }

    /// Open descriptors that are sockets.
    pub fn sockets(self) -> usize {
        self.descriptors_of("socket:")
    }

    /// Open descriptors that are ends of pipes.
    pub fn pipes(self) -> usize {
        self.descriptors_of("pipe:")
    }

    fn descriptors_of(self, kind: &str) -> usize {
        let Ok(directory) = std::fs::read_dir(self.file("fd")) else { return 0 };
        directory
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with(kind))
            .count()
    }

    /// Resident memory in bytes.
    pub fn resident(self) -> u64 {
        let status = std::fs::read_to_string(self.file("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Resident memory in bytes, what others have too counted by its share.
    pub fn proportional(self) -> u64 {
        let rollup = std::fs::read_to_string(self.file("smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Processor time that it has used.
    pub fn cpu(self) -> Duration {
        let stat = std::fs::read_to_string(self.file("stat")).unwrap_or_default();
        // proc(5): the name may hold spaces, so count from its closing parenthesis; utime, stime.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) {
        kill(self.id, signal);
    }

    /// True exactly when its state in /proc is "stopped".
    pub fn is_stopped(self) -> bool {
        state(&self.file("stat")) == Some('T')
    }

    /// True exactly when it runs no more, whether or not its parent has asked after it.
    pub fn has_ended(self) -> bool {
        matches!(state(&self.file("stat")), None | Some('Z'))
    }

    /// Its threads' numbers, by their names.
    pub fn threads(self) -> Vec<(u32, String)> {
        let Ok(directory) = std::fs::read_dir(self.file("task")) else { return Vec::new() };
        let thread = |entry: std::fs::DirEntry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, name.trim_end().to_owned()))
        };
        directory.flatten().filter_map(thread).collect()
    }

    /// True exactly when each of its threads, looked at one after the other, was asleep.
    pub fn is_asleep(self) -> bool {
        let threads = self.threads();
        let asleep = |(thread, _): &(u32, String)| {
            state(&self.file(&format!("task/{thread}/stat"))) == Some('S')
        };
        !threads.is_empty() && threads.iter().all(asleep)
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.id))
    }
}

/// The state that a stat file of /proc tells.
fn state(file: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(file).ok()?;
    // proc(5): the name may hold spaces, so look behind its closing parenthesis.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Sends a signal to a process that the test started.
pub fn kill(id: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(id).expect("a process number")).expect("not zero");
    kill_process(pid, signal).expect("the test's own child can be signalled");
}
