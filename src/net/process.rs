//! Limits of the process and of the machine, and where threads run.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, getpid, getrlimit, setrlimit};
use rustix::thread::{
    CpuSet, Timespec, nanosleep, sched_getaffinity, sched_setaffinity, set_no_new_privs,
};

/// Lifts the soft limit of descriptors to the hard one and returns it (RLIMIT_NOFILE,
/// getrlimit(2)).
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() {
        limit.current.unwrap_or(u64::MAX)
    } else {
        soft.unwrap_or(u64::MAX)
    }
}

/// Has the kernel give this thread, and every thread and program that it starts from now on, no
/// more rights than it has (PR_SET_NO_NEW_PRIVS, prctl(2)).
///
/// # Errors
/// What prctl(2) says.
pub fn renounce_new_privileges() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}

/// True exactly when `error` says that descriptors or memory have run out, which waiting may mend
/// (accept(2): EMFILE, ENFILE, ENOBUFS, ENOMEM).
pub fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// True exactly when `error` says that every source port is taken (connect(2)).
pub fn is_out_of_ports(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Bytes of memory that the process may use: the machine's, or its cgroup's if that is less.
pub fn memory() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let cgroup = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    let machine = machine.unwrap_or(1 << 30);
    cgroup.map_or(machine, |cgroup| cgroup.min(machine))
}

/// `MemTotal:  123 kB` (proc_meminfo(5)) in bytes.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Pins the calling thread to the `index`th CPU that the process may use, counted round.
///
/// # Errors
/// What sched_setaffinity(2) says.
pub fn pin_to_cpu(index: usize) -> io::Result<()> {
    let all = cpus_of_process()?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect();
    let Some(&cpu) = cpus.get(index % cpus.len().max(1)) else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
}

/// Lets the calling thread run on every CPU that the process may use.
///
/// # Errors
/// What sched_setaffinity(2) says.
pub fn unpin() -> io::Result<()> {
    Ok(sched_setaffinity(None, &cpus_of_process()?)?)
}

/// Those of the first thread, which is never pinned.
fn cpus_of_process() -> io::Result<CpuSet> {
    Ok(sched_getaffinity(Some(getpid()))?)
}

/// Lets the thread rest, deaf to all events, for `time` and the slack of timers (50 µs unless changed by
/// PR_SET_TIMERSLACK, prctl(2)): nanosleep(2). A signal ends it early.
pub fn rest(time: Duration) {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let _ = nanosleep(&Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_machine_is_read_in_bytes() {
        assert_eq!(mem_total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(mem_total("nothing of the kind"), None);
        assert!(memory() > 1 << 20);
    }
}
