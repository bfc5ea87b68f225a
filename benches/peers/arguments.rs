//! The arguments of the driver.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures Forebay beside HAProxy, nginx and Envoy. Run it through benches/peers/run.sh
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, default_value = "target/release/forebay", overrides_with = "forebay")]
    pub(crate) forebay: PathBuf,
    /// A second build of it, to compare with
    #[arg(long)]
    pub(crate) other: Option<PathBuf>,
    /// HAProxy's program
    #[arg(long, env = "FOREBAY_PEER_HAPROXY", default_value = "/usr/sbin/haproxy")]
    pub(crate) haproxy: PathBuf,
    /// nginx's program
    #[arg(long, env = "FOREBAY_PEER_NGINX", default_value = "/usr/sbin/nginx")]
    pub(crate) nginx: PathBuf,
    /// The stream module that nginx is to load; empty where it is built in
    #[arg(
        long,
        env = "FOREBAY_PEER_NGINX_MODULE",
        default_value = "/usr/lib/nginx/modules/ngx_stream_module.so"
    )]
    pub(crate) nginx_module: String,
    /// Envoy's program
    #[arg(long, env = "FOREBAY_PEER_ENVOY", default_value = "/usr/bin/envoy")]
    pub(crate) envoy: PathBuf,
    /// Seconds that one measurement takes; as long again where latencies are measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Sessions that idle in the memory measurement (one process holds at most 9,000)
    #[arg(long, default_value_t = 9_000)]
    sessions: usize,
    /// One short round of everything, to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Workers of each proxy (several times: one section each); default: one, then one for each CPU
    #[arg(long)]
    workers: Vec<usize>,
    /// Only this work, by name (several times: all of these)
    #[arg(long)]
    pub(crate) work: Vec<String>,
    /// Only these proxies, by name
    #[arg(long)]
    pub(crate) subject: Vec<String>,
    /// Count system calls too, by strace
    #[arg(long)]
    pub(crate) syscalls: bool,
    /// CPU of a proxy with one worker; without it nothing is pinned
    #[arg(long)]
    pub(crate) proxy_cpu: Option<u32>,
    /// CPUs of the machine, from 0 on: as many workers have the proxies of the second section
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Write all figures, the setting and the proxies' files to this file as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Draw the medians into this file as SVG
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.clamp(1, 100) }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.2 } else { self.seconds.clamp(0.1, 60.0) })
    }

    pub(crate) fn sessions(&self) -> usize {
        if self.quick { 100 } else { self.sessions.clamp(1, 9_000) }
    }

    pub(crate) fn workers(&self) -> Vec<usize> {
        let mut workers = match self.workers.as_slice() {
            [] => vec![1, self.cores],
            chosen => chosen.to_vec(),
        };
        workers.dedup();
        workers
    }

    /// The CPUs of a proxy with so many workers, as taskset(1) has them; none if it is not pinned.
    pub(crate) fn cpus(&self, workers: usize) -> Option<String> {
        let last = self.cores.max(1) - 1;
        self.proxy_cpu.map(|cpu| if workers == 1 { cpu.to_string() } else { format!("0-{last}") })
    }
}
