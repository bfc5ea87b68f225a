//! The proxies that are measured: their files, their start and their end.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account;
use crate::arguments::Arguments;
use crate::server::Server;
use crate::workload::Service;

/// A proxy that is not ready or not gone after this never will be.
const PATIENCE: Duration = Duration::from_secs(10);

/// So often a proxy is started until it can be told that it does not start.
const TRIES: u32 = 3;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None at all: what load and servers cost themselves.
    Direct,
    Forebay,
    /// Another build of Forebay.
    Other,
    /// Forebay with two workers on two CPUs.
    TwoWorkers,
    Nginx,
    Haproxy,
}

/// A program and how it is set up.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    tuned: bool,
    program: PathBuf,
}

/// What the arguments ask for, of what is installed.
pub(crate) fn chosen(arguments: &Arguments) -> Vec<Subject> {
    let of = |name, kind, tuned, program: &Path| Subject {
        name,
        kind,
        tuned,
        program: program.to_path_buf(),
    };
    let (nginx, haproxy) = (Path::new("/usr/sbin/nginx"), Path::new("/usr/sbin/haproxy"));
    let mut all = vec![
        of("direct", Kind::Direct, false, Path::new("/")),
        of("forebay", Kind::Forebay, true, &arguments.forebay),
        of("forebay-2", Kind::TwoWorkers, true, &arguments.forebay),
        of("nginx", Kind::Nginx, false, nginx),
        of("nginx-tuned", Kind::Nginx, true, nginx),
        of("haproxy", Kind::Haproxy, false, haproxy),
        of("haproxy-tuned", Kind::Haproxy, true, haproxy),
    ];
    if let Some(other) = &arguments.other {
        all.push(of("other", Kind::Other, true, other));
    }
    let wanted = &arguments.subject;
    all.retain(|subject| wanted.is_empty() || wanted.iter().any(|name| name == subject.name));
    all.retain(|subject| subject.program.exists());
    all
}

/// A proxy that runs, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    addresses: Vec<(Service, SocketAddr)>,
    directory: PathBuf,
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
}

impl Subject {
    /// Starts the proxy in front of `server` and waits until it accepts.
    pub(crate) fn start(&self, arguments: &Arguments, server: &Server) -> io::Result<Running> {
        // A port that was free a moment ago may have become the near end of a connection.
        let mut tries = 1;
        loop {
            match self.try_start(arguments, server) {
                Err(_) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn try_start(&self, arguments: &Arguments, server: &Server) -> io::Result<Running> {
        let to = |service| server.address(service);
        if self.kind == Kind::Direct {
            let addresses = Service::ALL.map(|service| (service, to(service))).to_vec();
            return Ok(Running { child: None, addresses, directory: PathBuf::new() });
        }
        let directory = std::env::temp_dir().join(format!("forebay-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let addresses: Vec<(Service, SocketAddr)> = Service::ALL
            .iter()
            .map(|&service| Ok((service, free()?)))
            .collect::<io::Result<_>>()?;
        let ways = addresses.iter().map(|&(service, from)| (service, from, to(service)));
        let file = directory.join("proxy.conf");
        let text = match self.kind {
            Kind::Nginx => self.nginx(ways, &directory),
            Kind::Haproxy => self.haproxy(ways),
            Kind::Direct | Kind::Forebay | Kind::Other | Kind::TwoWorkers => self.forebay(ways),
        };
        std::fs::write(&file, text)?;
        let log = File::create(directory.join("log"))?;
        let child = self.command(arguments, &file).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut running = Running { child: Some(child), addresses, directory };
        running.wait(self.name)?;
        Ok(running)
    }

    /// The proxy on its CPU; it ends when this process does.
    fn command(&self, arguments: &Arguments, file: &Path) -> Command {
        let two = self.kind == Kind::TwoWorkers;
        let cpus = if two { &arguments.two_cpus } else { &arguments.proxy_cpu };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "taskset", "-c", cpus]).arg(&self.program);
        match self.kind {
            Kind::Nginx => command.arg("-e").arg("stderr").arg("-c").arg(file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(file),
            Kind::Direct | Kind::Forebay | Kind::Other | Kind::TwoWorkers => {
                command.args(["run", "--log", "warn", "-c"]).arg(file)
            }
        };
        command.stdin(Stdio::null());
        command
    }

    fn forebay(&self, ways: impl Iterator<Item = Way>) -> String {
        let workers = if self.kind == Kind::TwoWorkers { 2 } else { 1 };
        let mut text = format!("[runtime]\nworkers = {workers}\n");
        for (service, from, to) in ways {
            let first = service == Service::EchoClientFirst;
            text += &format!(
                "[listener.{service:?}]\naddress = \"{from}\"\npool = \"{service:?}\"\n\
                 client_first = {first}\n[pool.{service:?}]\nbackends = [\"{to}\"]\n"
            );
        }
        text
    }

    fn nginx(&self, ways: impl Iterator<Item = Way>, directory: &Path) -> String {
        let (buffer, reuse) = if self.tuned { ("256k", " reuseport") } else { ("16k", "") };
        let mut text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\n\
             worker_processes 1;\nworker_rlimit_nofile 20000;\npid {}/pid;\nuser root;\n\
             events {{ worker_connections 19900; }}\nstream {{\naccess_log off;\n\
             tcp_nodelay on;\nproxy_timeout 1h;\nproxy_buffer_size {buffer};\n",
            directory.display()
        );
        for (_, from, to) in ways {
            text += &format!("server {{ listen {from} backlog=4096{reuse}; proxy_pass {to}; }}\n");
        }
        text + "}\n"
    }

    fn haproxy(&self, ways: impl Iterator<Item = Way>) -> String {
        let mut text = "global\nmaxconn 9000\nmaxpipes 500\nnbthread 1\n".to_owned();
        if self.tuned {
            text += "tune.pipesize 1048576\n";
        }
        text += "defaults\nmode tcp\nmaxconn 9000\nbacklog 4096\ntimeout connect 5s\n\
                 timeout client 1h\ntimeout server 1h\n";
        if self.tuned {
            text += "option splice-request\noption splice-response\n";
        }
        for (service, from, to) in ways {
            let defer = self.tuned && service == Service::EchoClientFirst;
            let defer = if defer { " defer-accept" } else { "" };
            text += &format!("listen {service:?}\nbind {from}{defer}\nserver one {to}\n");
        }
        text
    }
}

type Way = (Service, SocketAddr, SocketAddr);

/// An address that nobody listens on.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Running {
    fn wait(&mut self, name: &str) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        let address = self.address(Service::Sink);
        while TcpStream::connect(address).is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => false,
            };
            if ended || Instant::now() >= end {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("{name} does not start: {log}")));
            }
            pause(Duration::from_millis(10));
        }
        // Let it get over its start.
        pause(Duration::from_millis(50));
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = self.processes();
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), Signal::TERM);
        // Said twice it means at once.
        pause(Duration::from_millis(20));
        signal(child.id(), Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
            pause(Duration::from_millis(5));
        }
        if matches!(child.try_wait(), Ok(None)) {
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
