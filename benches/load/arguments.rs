//! The arguments of the driver.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures Forebay beside nginx and HAProxy. Run it through benches/run.sh
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, default_value = "target/release/forebay", overrides_with = "forebay")]
    pub(crate) forebay: PathBuf,
    /// A second build of it, to compare with
    #[arg(long)]
    pub(crate) other: Option<PathBuf>,
    /// Seconds that one measurement takes
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Sessions that idle in the memory measurement (one process holds at most 9,000)
    #[arg(long, default_value_t = 2_000)]
    sessions: usize,
    /// One short round of everything, to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this work, by name (several times: all of these)
    #[arg(long)]
    pub(crate) work: Vec<String>,
    /// Only these proxies, by name
    #[arg(long)]
    pub(crate) subject: Vec<String>,
    /// Count system calls too, by strace
    #[arg(long)]
    pub(crate) syscalls: bool,
    /// CPU of the proxies
    #[arg(long, default_value = "0")]
    pub(crate) proxy_cpu: String,
    /// CPUs of a proxy with two workers
    #[arg(long, default_value = "0,1")]
    pub(crate) two_cpus: String,
    /// Write all figures to this file as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.clamp(1, 100) }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.3 } else { self.seconds.clamp(0.1, 60.0) })
    }

    pub(crate) fn sessions(&self) -> usize {
        if self.quick { 100 } else { self.sessions.clamp(1, 9_000) }
    }
}
