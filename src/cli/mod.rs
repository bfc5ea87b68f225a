//! temporary
use crate::config::*;

use std::time::Duration;
/// Runs the program.
pub fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap();
    let workers: usize = args.next().unwrap().parse().unwrap();
    let to: Vec<String> = args.collect();
    tracing_subscriber::fmt()
        .with_max_level(if std::env::var("FOREBAY_LOG").is_ok() {
            tracing::Level::DEBUG
        } else {
            tracing::Level::INFO
        })
        .with_writer(std::io::stderr)
        .init();
    let config = Config {
        limits: Limits { max_connections: None, buffers: None, buffer: 65536 },
        shutdown: Shutdown { timeout: Duration::from_secs(30), delay: Duration::ZERO },
        runtime: Runtime {
            workers: Some(workers),
            pin_cpus: false,
            spread: true,
            splice: match std::env::var("FOREBAY_SPLICE").as_deref() {
                Ok("always") => Splice::Always,
                Ok("never") => Splice::Never,
                _ => Splice::Auto,
            },
        },
        listeners: vec![Listener {
            name: "web".into(),
            addresses: vec![ListenAddress::Tcp(listen.parse().unwrap())],
            pool: "app".into(),
            max_connections: None,
            over: Over::Wait,
            rate: None,
            per_source: None,
            deny: vec![],
            allow: vec![],
            guards: vec![],
            backlog: 4096,
            client_first: std::env::var("CLIENT_FIRST").is_ok(),
            tcp_fastopen: None,
            interface: None,
            freebind: false,
            congestion: None,
            mode: None,
        }],
        pools: vec![Pool {
            name: "app".into(),
            balance: Choice { name: "first".into(), options: Options::default() },
            connect: Connect {
                timeout: Duration::from_secs(5),
                attempts: 3,
                deadline: Duration::from_secs(15),
            },
            timeout: Timeouts {
                idle: Some(Duration::from_secs(3600)),
                half_closed: Some(Duration::from_secs(30)),
                lifetime: None,
                lifetime_jitter: 0,
                abort: Duration::from_secs(10),
                dead_peer: Some(Duration::from_secs(30)),
            },
            max_connections: None,
            fallback: None,
            source: None,
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                count: 6,
            }),
            congestion: None,
            resolve_interval: Duration::from_secs(30),
            backends: to
                .iter()
                .map(|a| {
                    let a: std::net::SocketAddr = a.parse().unwrap();
                    Backend {
                        address: BackendAddress::Ip(a.ip(), BackendPort::Fixed(a.port())),
                        weight: 1,
                        max_connections: None,
                        state: State::Ready,
                    }
                })
                .collect(),
        }],
    };
    let ready = Box::new(|bound: &[crate::control::Bound]| {
        for b in bound {
            println!("{} {}", b.listener, b.address);
        }
        Ok(())
    });
    match crate::control::run(crate::control::Start {
        config,
        registry: crate::plugin::Registry,
        ready,
    }) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::FAILURE
        }
    }
}
