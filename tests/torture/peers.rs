//! HAProxy, nginx stream and Envoy, as somebody runs them who changes nothing that Debian or they
//! themselves set: the timeouts of Debian's haproxy.cfg, nginx without `proxy_half_close`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

mod files;

use files::{CLUSTERS, Front, envoy, envoy_clusters, haproxy, nginx};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::proxy::{Kind, Proxy, Setup};
use super::support::{Process, SOON, Server, comes_true, found, leave_out};

/// Tries at a port that another process may take first.
const TRIES: u32 = 5;

/// Where Debian's libnginx-mod-stream puts the module.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    kind: Kind,
    server: Server,
    addresses: Vec<SocketAddr>,
    /// What it was started with.
    workers: Option<usize>,
    directory: TempDir,
}

/// True exactly when nginx can load its stream module; if it cannot, that is said.
pub fn stream_module_or_left_out() -> bool {
    Path::new(STREAM_MODULE).exists() || !leave_out("missing: libnginx-mod-stream")
}

impl Peer {
    /// Starts one and waits until it listens.
    #[track_caller]
    pub fn start(kind: Kind, setup: &Setup<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..TRIES {
            let (fronts, _held) = setup.inside(|| fronts(setup));
            let mut words = setup.prefix();
            words.extend(command(kind, directory.path(), &fronts, setup));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let addresses: Vec<SocketAddr> = fronts.iter().map(|front| front.own).collect();
            // Not by connecting: that would be a session.
            let listen = || setup.inside(|| addresses.iter().all(|own| listens(*own)));
            if let Some(server) = Server::start(&words, directory.path(), listen) {
                let workers = setup.workers;
                return Self { kind, server, addresses, workers, directory };
            }
        }
        let said = std::fs::read_to_string(directory.path().join("server.log")).unwrap_or_default();
        panic!("{} does not come up; it said:\n{said}", kind.name());
    }
}

impl Proxy for Peer {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    fn processes(&self) -> Vec<Process> {
        let parent = self.server.id();
        let mut all = vec![parent];
        all.extend(children(parent));
        all.into_iter().map(Process::new).collect()
    }

    fn reload(&self, setup: &Setup<'_>) -> Result<(), String> {
        let fronts = fronts_at(setup, &self.addresses);
        let signal = match self.kind {
            Kind::Haproxy => Signal::USR2,
            Kind::Nginx => Signal::HUP,
            Kind::Envoy => return self.replace_clusters(&fronts, setup),
            Kind::Forebay { .. } => panic!("Forebay is no peer of itself"),
        };
        command(self.kind, self.directory.path(), &fronts, setup);
        let before = children(self.server.id());
        Process::new(self.server.id()).signal(signal);
        // Workers of before may stay with their sessions for as long as these last.
        let is_new = |id: &u32| !before.contains(id) && Process::new(*id).is_asleep();
        let new = || children(self.server.id()).iter().filter(|&id| is_new(id)).count();
        let all = if self.kind == Kind::Nginx { setup.workers.unwrap_or_else(cores) } else { 1 };
        comes_true(SOON, || new() >= all).then_some(()).ok_or_else(|| "no new workers".to_owned())
    }

    fn drain(&self) {
        Process::new(self.server.id()).signal(match self.kind {
            Kind::Haproxy => Signal::USR1,
            Kind::Nginx => Signal::QUIT,
            // It has no signal that drains.
            Kind::Envoy | Kind::Forebay { .. } => Signal::TERM,
        });
    }
}

impl Peer {
    /// Has Envoy take other clusters into use, which are all that it takes anew from a file.
    fn replace_clusters(&self, fronts: &[Front<'_>], setup: &Setup<'_>) -> Result<(), String> {
        if setup.workers != self.workers {
            return Err("its workers stay as many as they are".to_owned());
        }
        let home = self.directory.path();
        let taken = || {
            let said = std::fs::read_to_string(home.join("server.log")).unwrap_or_default();
            said.matches("cds: added/updated").count()
        };
        let (before, new) = (taken(), home.join(".clusters"));
        std::fs::write(&new, envoy_clusters(fronts, setup)).unwrap();
        // It watches for a rename over its file.
        std::fs::rename(new, home.join(CLUSTERS)).unwrap();
        comes_true(SOON, || taken() > before).then_some(()).ok_or_else(|| "not taken".to_owned())
    }
}

/// At these addresses.
fn fronts_at<'a>(setup: &'a Setup<'_>, addresses: &[SocketAddr]) -> Vec<Front<'a>> {
    let front = |((name, backends), own): ((String, &'a [SocketAddr]), &SocketAddr)| Front {
        name,
        own: *own,
        backends,
    };
    setup.pools().into_iter().zip(addresses).map(front).collect()
}

/// Each on a free port, which is nobody else's while the returned sockets live: as they do not listen,
/// who wants this very port may have it beside them (SO_REUSEADDR of socket(7)).
fn fronts<'a>(setup: &'a Setup<'_>) -> (Vec<Front<'a>>, Vec<Socket>) {
    let hold = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::new(setup.listen(), 0).into()).unwrap();
        socket
    };
    let held: Vec<Socket> = setup.pools().iter().map(hold).collect();
    let address = |it: &Socket| it.local_addr().unwrap().as_socket().unwrap();
    (fronts_at(setup, &held.iter().map(address).collect::<Vec<_>>()), held)
}

/// Writes its configuration; the command that runs it in the foreground.
fn command(kind: Kind, home: &Path, fronts: &[Front<'_>], setup: &Setup<'_>) -> Vec<String> {
    let save = |name: &str, text: String| -> String {
        let file: PathBuf = home.join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    // Whatever it is started under may look for programs elsewhere.
    let program =
        |name: &str| found(name).map_or(name.to_owned(), |path| path.display().to_string());
    let words = |words: &[&str]| -> Vec<String> {
        let arguments = words[1..].iter().map(|&word| word.to_owned());
        std::iter::once(program(words[0])).chain(arguments).collect()
    };
    match kind {
        Kind::Haproxy => {
            let file = save("haproxy.cfg", haproxy(fronts, setup));
            let master: &[&str] = if setup.reloads { &["-W"] } else { &[] };
            words(&[&["haproxy", "-db", "-f", &file], master].concat())
        }
        Kind::Nginx => words(&["nginx", "-c", &save("nginx.conf", nginx(home, fronts, setup))]),
        Kind::Envoy => {
            save(CLUSTERS, envoy_clusters(fronts, setup));
            let file = save("envoy.json", envoy(home, fronts, setup));
            let workers = setup.workers.unwrap_or_else(cores).to_string();
            let options = [
                "--disable-hot-restart",
                "-l",
                "warning",
                "--component-log-level",
                "upstream:info",
            ];
            words(&[&["envoy"], &options[..], &["--concurrency", &workers, "-c", &file]].concat())
        }
        Kind::Forebay { .. } => panic!("Forebay is no peer of itself"),
    }
}

/// True exactly when somebody listens there, as /proc/net/tcp has it (proc(5)).
fn listens(address: SocketAddr) -> bool {
    let IpAddr::V4(ip) = address.ip() else { panic!("only IPv4 is looked for") };
    // The kernel prints the address as a number in the machine's byte order; 0A is LISTEN.
    let number = u32::from_ne_bytes(ip.octets());
    let listening = format!(" {number:08X}:{:04X} 00000000:0000 0A ", address.port());
    // Of the thread's own network, which is not its process's if it has entered another.
    std::fs::read_to_string("/proc/thread-self/net/tcp").is_ok_and(|it| it.contains(&listening))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // proc(5): the name may hold spaces, so count from its closing parenthesis; state, ppid.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().nth(1).and_then(|id| id.parse().ok()) == Some(parent)
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_child).collect()
}
