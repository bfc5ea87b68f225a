//! What a test needs of the machine: programs, root. What is missing is said; with CI=true it is a failure.

use std::io::Write as _;
use std::path::PathBuf;

/// True exactly when nothing may be left out.
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Where `program` is, in PATH or where Debian puts servers.
pub fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let fixed = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).chain(fixed).collect();
    // PostgreSQL's own programs live under their version; the newest is taken.
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> =
            versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        places.extend(versions.into_iter().rev());
    }
    places.into_iter().map(|place| place.join(program)).find(|file| file.is_file())
}

/// True exactly when one of `programs` is missing, which is said; with CI=true it is a failure.
#[track_caller]
pub fn left_out(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|p| found(p).is_none()).collect();
    if missing.is_empty() {
        return false;
    }
    leave_out(&format!("missing programs: {}", missing.join(" ")))
}

/// True exactly when the test does not run as root, which is said; with CI=true it is a failure.
#[track_caller]
pub fn root_or_left_out() -> bool {
    !rustix::process::geteuid().is_root() && leave_out("needs root for network namespaces")
}

/// Says why this test is left out, and returns true; with CI=true it is a failure.
#[track_caller]
pub fn leave_out(reason: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(!ci(), "CI=true leaves nothing out: {reason}");
    // Not println!, which the test harness swallows when the test passes.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {test}: {reason}");
    true
}
