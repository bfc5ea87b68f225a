//! A proxy of threads: enough to see the commands work.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::{BackendAddress, BackendPort, Config, ListenAddress};

pub(in crate::cli) struct Bound {
    pub(in crate::cli) listener: Arc<str>,
    pub(in crate::cli) address: String,
}

pub(in crate::cli) struct Facts {
    pub(in crate::cli) client: String,
    pub(in crate::cli) backend: Option<String>,
    pub(in crate::cli) attempts: u32,
    pub(in crate::cli) down: u64,
    pub(in crate::cli) took: Duration,
}

pub(in crate::cli) type Observer = Box<dyn Fn(&Facts) + Send + Sync>;

pub(in crate::cli) type Ready = Box<dyn FnOnce(&[Bound]) -> io::Result<()> + Send>;

pub(in crate::cli) struct Start {
    pub(in crate::cli) config: Config,
    pub(in crate::cli) source: Option<PathBuf>,
    pub(in crate::cli) ready: Option<Ready>,
    pub(in crate::cli) observer: Option<Observer>,
}

pub(in crate::cli) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

pub(in crate::cli) fn run(start: Start) -> Result<(), Failure> {
    let _ = start.source;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let observer = Arc::new(start.observer);
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let bound = listen(&start.config, &observer)?;
        if let Some(ready) = start.ready {
            ready(&bound)?;
        }
        std::future::poll_fn(|context| {
            if term.poll_recv(context).is_ready() || int.poll_recv(context).is_ready() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        tracing::info!("stopped");
        Ok(())
    })
}

fn listen(config: &Config, observer: &Arc<Option<Observer>>) -> Result<Vec<Bound>, Failure> {
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let backends: Arc<Vec<SocketAddr>> = Arc::new(
            config
                .pools
                .iter()
                .filter(|pool| pool.name == listener.pool)
                .flat_map(|pool| &pool.backends)
                .filter_map(|backend| match &backend.address {
                    BackendAddress::Ip(ip, BackendPort::Fixed(port)) => {
                        Some(SocketAddr::new(*ip, *port))
                    }
                    _ => None,
                })
                .collect(),
        );
        for address in &listener.addresses {
            let ListenAddress::Tcp(address) = address else { continue };
            let socket = TcpListener::bind(address)
                .map_err(|error| Failure(format!("cannot listen on {address}: {error}")))?;
            let address = socket.local_addr()?;
            tracing::info!(listener = %listener.name, %address, "listening");
            bound.push(Bound { listener: listener.name.clone(), address: address.to_string() });
            let (backends, observer) = (Arc::clone(&backends), Arc::clone(observer));
            std::thread::spawn(move || serve(&socket, &backends, &observer));
        }
    }
    Ok(bound)
}

fn serve(socket: &TcpListener, backends: &Arc<Vec<SocketAddr>>, observer: &Arc<Option<Observer>>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    for client in socket.incoming().flatten() {
        let first = NEXT.fetch_add(1, Ordering::Relaxed);
        let (backends, observer) = (Arc::clone(backends), Arc::clone(observer));
        std::thread::spawn(move || {
            let facts = session(&client, &backends, first);
            if let (Some(observer), Ok(facts)) = (observer.as_ref(), facts) {
                observer(&facts);
            }
        });
    }
}

fn session(client: &TcpStream, backends: &[SocketAddr], first: usize) -> io::Result<Facts> {
    let began = Instant::now();
    let from = client.peer_addr()?.to_string();
    for attempt in 0..backends.len() {
        let backend = backends[(first + attempt) % backends.len()];
        let Ok(upstream) = TcpStream::connect(backend) else { continue };
        let down = std::thread::scope(|scope| {
            scope.spawn(|| copy(client, &upstream));
            copy(&upstream, client)
        });
        return Ok(Facts {
            client: from,
            backend: Some(backend.to_string()),
            attempts: u32::try_from(attempt + 1).unwrap_or(1),
            down,
            took: began.elapsed(),
        });
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> u64 {
    let count = io::copy(&mut from, &mut to).unwrap_or(0);
    drop(to.shutdown(Shutdown::Write));
    count
}
