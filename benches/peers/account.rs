//! What processes and the machine have used, read from proc(5).

use std::fs;

/// Ticks of a second in /proc/PID/stat and /proc/stat (USER_HZ, the same on every Linux).
const TICKS: f64 = 100.0;

/// A process and all that descend from it.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let parents: Vec<(u32, u32)> =
        processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut at = 0;
    while let Some(&of) = family.get(at) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    fields(&format!("/proc/{pid}/stat"))?.get(1)?.parse().ok()
}

/// What follows the name in a stat file: state, parent, …
fn fields(path: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// True exactly when no thread of a process runs or wants to.
pub(crate) fn is_asleep(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states =
        threads.map(|thread| fields(thread.path().join("stat").to_str()?)?.into_iter().next());
    states.all(|state| state.is_some_and(|state| state == "S"))
}

/// Seconds of CPU, user and system, that all threads of a process have used.
pub(crate) fn cpu(pid: u32) -> f64 {
    exact(pid).or_else(|| rounded(pid, OWN)).unwrap_or(0.0)
}

/// The same of a process, of all that descend from it, and of those of its children that have ended.
pub(crate) fn family_cpu(root: u32) -> f64 {
    let living: f64 = family(root).into_iter().map(cpu).sum();
    living + rounded(root, ENDED).unwrap_or(0.0)
}

/// In nanoseconds, where the kernel keeps them (schedstat: time on a CPU, first field).
fn exact(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut sum = 0.0;
    for thread in threads {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        sum += text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9;
    }
    Some(sum)
}

/// utime and stime, fields 14 and 15 of proc_pid_stat(5).
const OWN: [usize; 2] = [11, 12];

/// cutime and cstime, fields 16 and 17: of children that were waited for.
const ENDED: [usize; 2] = [13, 14];

/// In hundredths of a second.
fn rounded(pid: u32, of: [usize; 2]) -> Option<f64> {
    let fields = fields(&format!("/proc/{pid}/stat"))?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(of[0])? + ticks(of[1])?) / TICKS)
}

/// Seconds for which the CPUs of the machine were busy, for whomever (also another guest: steal).
pub(crate) fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else { return 0.0 };
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let idle = [3, 4];
    let all = ticks.iter().enumerate().take(8);
    all.filter(|(index, _)| !idle.contains(index)).map(|(_, ticks)| ticks / TICKS).sum()
}

/// Bytes of memory of these processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What is in memory.
    pub(crate) resident: f64,
    /// The same, what is shared counted by its share.
    pub(crate) proportional: f64,
}

pub(crate) fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            number.unwrap_or(0.0) * 1024.0
        };
        sum.resident += bytes("Rss:");
        sum.proportional += bytes("Pss:");
    }
    sum
}
