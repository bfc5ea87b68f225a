//! Limits of the process and of the machine, and where threads run.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

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

/// Pins the calling thread to the `index`th CPU that it may run on, counted round.
///
/// # Errors
/// What sched_setaffinity(2) says.
pub fn pin_to_cpu(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let Some(&cpu) = cpus.get(index % cpus.len().max(1)) else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
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
