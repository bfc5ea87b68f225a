//! The proxies that are measured: their files, their start, reload and end.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::account;
use crate::arguments::Arguments;
use crate::server::Server;
use crate::workload::{Scene, Service, Workload};

/// A proxy that is not ready, reloaded or gone after this never will be.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this a proxy that was to be reloaded is told so again.
const SAY_AGAIN: Duration = Duration::from_secs(2);

/// What a worker of *forebay-spin* does: it looks for more until the next exchange is due.
const SPIN: &str = "spin = \"500us\"";

/// Newer builds of HAProxy that root starts complain unless it is told to stay what it is.
const KEEPS_ROOT: &str = "chroot /\n    uid 0";

/// So often a proxy is started until it can be told that it does not start.
const TRIES: u32 = 3;

/// What a proxy writes before a complaint, in small letters.
const COMPLAINTS: [&str; 7] = ["[warn", "[alert", "[emerg", "[error", "[crit", " warn ", " error "];

/// The peers as somebody sets them up who knows them, by name.
pub(crate) const TUNED: [&str; 4] =
    ["haproxy-tuned", "haproxy-splice-tuned", "nginx-tuned", "envoy"];

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None at all: what load and servers cost themselves.
    Direct,
    Forebay,
    /// The same with `runtime.spin`, for work of one connection.
    Spinning,
    /// Another build of Forebay.
    Other,
    Haproxy,
    Nginx,
    Envoy,
}

/// A program and how it is set up.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Its file, with places for ports and the like.
    template: &'static str,
    program: PathBuf,
}

/// Where a proxy is measured.
pub(crate) struct Stage<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) server: &'a Server,
    /// Workers of the proxy.
    pub(crate) workers: usize,
}

/// What the arguments ask for, of what is installed.
pub(crate) fn chosen(arguments: &Arguments) -> io::Result<(Vec<Subject>, Vec<&'static str>)> {
    let all = all(arguments);
    let wanted = &arguments.subject;
    let is_wanted = |it: &Subject| wanted.is_empty() || wanted.iter().any(|name| name == it.name);
    let is_there = |it: &Subject| it.kind == Kind::Direct || it.program.exists();
    let found = |name: &&String| all.iter().any(|it| it.name == **name && is_there(it));
    if let Some(name) = wanted.iter().find(|name| !found(name)) {
        return Err(io::Error::other(format!("{name} is no proxy, or not installed")));
    }
    let (found, missing): (Vec<_>, Vec<_>) = all.into_iter().filter(is_wanted).partition(is_there);
    Ok((found, missing.into_iter().map(|it| it.name).collect()))
}

fn all(arguments: &Arguments) -> Vec<Subject> {
    let of = |name, kind, template, program: &Path| Subject {
        name,
        kind,
        template,
        program: program.to_path_buf(),
    };
    let haproxy = |name, template| of(name, Kind::Haproxy, template, &arguments.haproxy);
    let nginx = |name, template| of(name, Kind::Nginx, template, &arguments.nginx);
    let forebay = include_str!("files/forebay.toml");
    let mut all = vec![
        of("direct", Kind::Direct, "", Path::new("")),
        of("forebay", Kind::Forebay, forebay, &arguments.forebay),
        of("forebay-spin", Kind::Spinning, forebay, &arguments.forebay),
        haproxy("haproxy", include_str!("files/haproxy.cfg")),
        haproxy("haproxy-splice", include_str!("files/haproxy-splice.cfg")),
        haproxy("haproxy-tuned", include_str!("files/haproxy-tuned.cfg")),
        haproxy("haproxy-splice-tuned", include_str!("files/haproxy-splice-tuned.cfg")),
        nginx("nginx", include_str!("files/nginx.conf")),
        nginx("nginx-tuned", include_str!("files/nginx-tuned.conf")),
        of("envoy", Kind::Envoy, include_str!("files/envoy.yaml"), &arguments.envoy),
    ];
    if let Some(other) = &arguments.other {
        all.push(of("other", Kind::Other, forebay, other));
    }
    all
}

/// A proxy that runs, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    kind: Kind,
    child: Option<Child>,
    addresses: Vec<(Service, SocketAddr)>,
    directory: PathBuf,
    /// Its configuration file, and what stands in it.
    file: PathBuf,
    pub(crate) text: String,
}

impl Subject {
    /// Starts the proxy in front of the server, for this work, and waits until it accepts.
    pub(crate) fn start(&self, stage: &Stage<'_>, work: &Workload) -> io::Result<Running> {
        // A port that was free a moment ago may have become the near end of a connection.
        let mut tries = 1;
        loop {
            match self.try_start(stage, work) {
                Err(_) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn try_start(&self, stage: &Stage<'_>, work: &Workload) -> io::Result<Running> {
        let to = |service| stage.server.address(service);
        let mut running = Running {
            kind: self.kind,
            child: None,
            addresses: Service::ALL.map(|service| (service, to(service))).to_vec(),
            directory: PathBuf::new(),
            file: PathBuf::new(),
            text: String::new(),
        };
        if self.kind == Kind::Direct {
            return Ok(running);
        }
        let name = format!("forebay-peers-{}", std::process::id());
        running.directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&running.directory)?;
        for (_, address) in &mut running.addresses {
            *address = free()?;
        }
        // Envoy tells a file's format by its name.
        running.file = running.directory.join("proxy.yaml");
        running.text = self.text(stage, &running);
        std::fs::write(&running.file, &running.text)?;
        let log = File::create(running.directory.join("log"))?;
        let mut command = self.command(stage, &running, work.scene == Scene::Reloads);
        running.child = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        running.wait(self.name)?;
        Ok(running)
    }

    /// The template with its places filled.
    fn text(&self, stage: &Stage<'_>, running: &Running) -> String {
        let module = &stage.arguments.nginx_module;
        let module =
            if module.is_empty() { String::new() } else { format!("load_module {module};") };
        let mut text = self
            .template
            .replace("@workers@", &stage.workers.to_string())
            .replace("@spin@", if self.kind == Kind::Spinning { SPIN } else { "" })
            .replace("@idle@", "1h")
            .replace("@load_module@", &module)
            .replace("@rights@", if geteuid().is_root() { KEEPS_ROOT } else { "" })
            .replace("@home@", &running.directory.display().to_string());
        for (service, address) in &running.addresses {
            let (name, upstream) = (service.name(), stage.server.address(*service).port());
            text = text.replace(&format!("@{name}@"), &address.port().to_string());
            text = text.replace(&format!("@{name}-upstream@"), &upstream.to_string());
        }
        text
    }

    /// The proxy on its CPUs; it ends when this process does.
    fn command(&self, stage: &Stage<'_>, running: &Running, reloads: bool) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if let Some(cpus) = stage.arguments.cpus(stage.workers) {
            command.args(["taskset", "-c", &cpus]);
        }
        command.arg(&self.program);
        let (file, status) = (&running.file, running.status());
        match self.kind {
            Kind::Nginx => command.args(["-e", "stderr", "-c"]).arg(file),
            Kind::Haproxy => {
                let master: &[&str] = if reloads { &["-W"] } else { &[] };
                command.args(master).args(["-db", "-f"]).arg(file)
            }
            Kind::Envoy => {
                command.args(["--disable-hot-restart", "-l", "warning", "--concurrency"]);
                command.arg(stage.workers.to_string()).arg("-c").arg(file)
            }
            Kind::Direct | Kind::Forebay | Kind::Spinning | Kind::Other => {
                command.args(["run", "--log", "warn", "--status-file"]).arg(status);
                command.arg("-c").arg(file)
            }
        };
        command.stdin(Stdio::null());
        command
    }

    /// What the program says of its version.
    pub(crate) fn version(&self) -> String {
        let ask = if self.kind == Kind::Nginx { "-v" } else { "--version" };
        let said = Command::new(&self.program).arg(ask).output();
        let said = said.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("?").trim();
        // Envoy puts its own path before it.
        line.split_once(" version: ").map_or(line, |(_, version)| version).to_owned()
    }
}

/// An address that nobody listens on.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Running {
    /// Where clients of a service connect.
    pub(crate) fn address(&self, service: Service) -> SocketAddr {
        let found = self.addresses.iter().find(|(offered, _)| *offered == service);
        found.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |(_, address)| *address)
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.child.as_ref().map_or(Vec::new(), |child| account::family(child.id()))
    }

    /// Seconds of CPU that it has used.
    pub(crate) fn cpu(&self) -> f64 {
        self.child.as_ref().map_or(0.0, |child| account::family_cpu(child.id()))
    }

    fn status(&self) -> PathBuf {
        self.directory.join("status")
    }

    /// Asks for a reload in the proxy's own way, and waits until it has come about.
    pub(crate) fn reload(&self) -> io::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let done = match self.kind {
            // Others read and build all anew for a file that has not changed; this one must change.
            Kind::Forebay | Kind::Spinning | Kind::Other => {
                let before = std::fs::read_to_string(self.status()).unwrap_or_default();
                let now = std::fs::read_to_string(&self.file)?;
                let changed = now.replace("idle = \"1h\"", "idle = \"2h\"");
                let text = if changed == now { &self.text } else { &changed };
                std::fs::write(&self.file, text)?;
                signal(child.id(), Signal::HUP);
                until(|| {
                    let after = std::fs::read_to_string(self.status()).unwrap_or_default();
                    after != before && after.contains("applied")
                })
            }
            Kind::Haproxy => {
                // What its master says of each reload.
                let times = || self.log().matches("Loading success").count();
                let before = times();
                let mut said: Option<Instant> = None;
                until(|| {
                    // It was seen to lose a signal that comes while it reaps a former worker.
                    if said.is_none_or(|it| it.elapsed() > SAY_AGAIN) {
                        signal(child.id(), Signal::USR2);
                        said = Some(Instant::now());
                    }
                    times() > before
                })
            }
            Kind::Nginx => {
                let before = self.processes();
                signal(child.id(), Signal::HUP);
                until(|| self.processes().iter().any(|pid| !before.contains(pid)))
            }
            Kind::Direct | Kind::Envoy => Err(io::Error::other("it has no way to be reloaded")),
        };
        done.map_err(|error| io::Error::other(format!("no reload: {error}: {}", self.log())))
    }

    /// What it has said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn wait(&mut self, name: &str) -> io::Result<()> {
        let address = self.address(Service::Sink);
        let child = &mut self.child;
        let mut ended = false;
        let accepts = until(|| {
            ended = child.as_mut().is_some_and(|it| !matches!(it.try_wait(), Ok(None)));
            ended || TcpStream::connect(address).is_ok()
        });
        // Let it get over its start.
        pause(Duration::from_millis(50));
        let log = self.log();
        if ended || accepts.is_err() {
            return Err(io::Error::other(format!("{name} does not start: {log}")));
        }
        let complains = |line: &str| {
            let line = line.to_lowercase();
            COMPLAINTS.iter().any(|it| line.contains(it))
        };
        match log.lines().find(|line| complains(line)) {
            Some(line) => Err(io::Error::other(format!("{name} complains: {line}"))),
            None => Ok(()),
        }
    }
}

/// Waits until this is so.
fn until(mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() >= end {
            return Err(io::Error::other(format!("nothing came of it within {PATIENCE:?}")));
        }
        pause(Duration::from_millis(10));
    }
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = self.processes();
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), Signal::TERM);
        // Said twice it means at once.
        pause(Duration::from_millis(20));
        signal(child.id(), Signal::TERM);
        if until(|| !matches!(child.try_wait(), Ok(None))).is_err() {
            family.iter().for_each(|&pid| signal(pid, Signal::KILL));
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Signals a process that this one has started.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already, which is as good.
        let _ = kill_process(pid, signal);
    }
}

#[allow(clippy::disallowed_methods, reason = "there is no event for what another process does")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
