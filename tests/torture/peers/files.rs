//! The peers' configuration files.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::STREAM_MODULE;
use crate::proxy::Setup;

/// A listener and what is behind it.
pub struct Front<'a> {
    /// Its name, and that of its pool.
    pub name: String,
    /// Where it listens.
    pub own: SocketAddr,
    /// Where its connections go.
    pub backends: &'a [SocketAddr],
}

/// HAProxy's.
pub fn haproxy(fronts: &[Front<'_>], setup: &Setup<'_>) -> String {
    let threads = setup.workers.map(|n| format!(" nbthread {n}\n")).unwrap_or_default();
    let most = setup.sessions.map(|n| format!(" maxconn {n}\n")).unwrap_or_default();
    let drain = setup.drain.map(|it| format!(" hard-stop-after {}ms\n", it.as_millis()));
    let drain = drain.unwrap_or_default();
    let dead = setup.dead_peer.map(|it| format!(" tcp-ut {}ms", it.as_millis()));
    let dead = dead.unwrap_or_default();
    let connect = setup.connect.unwrap_or(Duration::from_secs(5)).as_millis();
    let mut text = format!(
        "global\n{threads}{most}{drain}defaults\n{most} mode tcp\n timeout connect {connect}\n timeout client 50000\n \
         timeout server 50000\n"
    );
    for Front { name, own, backends } in fronts {
        let _ = writeln!(text, "listen {name}\n bind {own}{dead}");
        for (number, backend) in backends.iter().enumerate() {
            let _ = writeln!(text, " server s{number} {backend}{dead}");
        }
    }
    text
}

/// nginx's; `home` is a directory of its own.
pub fn nginx(home: &Path, fronts: &[Front<'_>], setup: &Setup<'_>) -> String {
    let workers = setup.workers.map_or("auto".to_owned(), |n| n.to_string());
    let connect = setup.connect.map(|it| format!("proxy_connect_timeout {}ms;", it.as_millis()));
    let connect = connect.unwrap_or_default();
    let home = home.display();
    // As root its workers can have their limits lowered while they run, like everybody's.
    // Each session is two connections; the listening socket counts too.
    // One worker may come to have them all; room for those who come and go.
    let backlog = setup.sessions.map_or("", |_| " backlog=4096");
    let most = setup.sessions.map_or(768, |n| 2 * n + 768);
    let drain = setup.drain.map(|it| format!("worker_shutdown_timeout {}ms;", it.as_millis()));
    let drain = drain.unwrap_or_default();
    // It knows only of silence, not of what is unacknowledged.
    let dead = setup.dead_peer.map(|it| format!("proxy_timeout {}ms;", it.as_millis()));
    let dead = dead.unwrap_or_default();
    let mut text = format!(
        "load_module {STREAM_MODULE};\ndaemon off; user root; worker_processes {workers}; {drain}\n\
         pid {home}/pid; error_log {home}/errors;\nevents {{ worker_connections {most}; }}\n\
         stream {{\n"
    );
    for Front { name, own, backends } in fronts {
        let servers: Vec<String> = backends.iter().map(|it| format!("server {it};")).collect();
        let servers = servers.concat();
        let _ = writeln!(
            text,
            "upstream {name} {{ {servers} }} server {{ listen {own}{backlog}; {connect} {dead} proxy_pass {name}; }}"
        );
    }
    text + "}\n"
}

/// Envoy's. Where it is to be reloaded its clusters are in a file of their own, which it watches: that
/// is all it takes anew from files of the same process.
pub fn envoy(home: &Path, fronts: &[Front<'_>], setup: &Setup<'_>) -> String {
    // 128 is its default; so are 1,024 sessions.
    let backlog = if setup.sessions.is_some() { 4096 } else { 128 };
    let options = envoy_options(setup.dead_peer);
    let listener = |Front { name, own, .. }: &Front<'_>| {
        let filter = json!({ "name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name, "cluster": name } });
        json!({ "name": name, "address": at(*own), "tcp_backlog_size": backlog,
            "socket_options": options,
            "filter_chains": [{ "filters": [filter] }] })
    };
    let listeners = fronts.iter().map(listener).collect::<Vec<_>>();
    if !setup.reloads {
        let clusters = clusters(fronts, setup);
        let resources = json!({ "listeners": listeners, "clusters": clusters });
        return json!({ "static_resources": resources }).to_string();
    }
    let source = json!({ "resource_api_version": "V3",
        "path_config_source": { "path": home.join(CLUSTERS) } });
    json!({ "node": { "id": "one", "cluster": "one" },
        "static_resources": { "listeners": listeners },
        "dynamic_resources": { "cds_config": source } })
    .to_string()
}

/// The file of Envoy's clusters, in its directory.
pub const CLUSTERS: &str = "clusters.json";

/// What is in it.
pub fn envoy_clusters(fronts: &[Front<'_>], setup: &Setup<'_>) -> String {
    let mut clusters = clusters(fronts, setup);
    for cluster in &mut clusters {
        cluster["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    }
    json!({ "resources": clusters }).to_string()
}

fn clusters(fronts: &[Front<'_>], setup: &Setup<'_>) -> Vec<Value> {
    let most = setup.sessions.unwrap_or(1024);
    let connect = setup.connect.unwrap_or(Duration::from_secs(5)).as_secs_f64();
    let bind = setup.dead_peer.map(|it| json!({ "socket_options": envoy_options(Some(it)) }));
    let cluster = |Front { name, backends, .. }: &Front<'_>| {
        let endpoint = |it: &SocketAddr| json!({ "endpoint": { "address": at(*it) } });
        let endpoints: Vec<_> = backends.iter().map(endpoint).collect();
        let most = json!({ "max_connections": most, "max_pending_requests": most });
        json!({ "name": name, "type": "STATIC", "upstream_bind_config": bind, "connect_timeout": format!("{connect}s"),
            "circuit_breakers": { "thresholds": [most] },
            "load_assignment": {
                "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] } })
    };
    fronts.iter().map(cluster).collect()
}

/// TCP_USER_TIMEOUT of tcp(7), which connections inherit from the socket that accepted them.
fn envoy_options(dead_peer: Option<Duration>) -> Vec<Value> {
    let option = |it: Duration| json!({ "level": 6, "name": 18, "int_value": it.as_millis(), "state": "STATE_PREBIND" });
    dead_peer.into_iter().map(option).collect()
}

/// A socket's address as Envoy has it.
fn at(address: SocketAddr) -> Value {
    json!({ "socket_address": {
        "address": address.ip().to_string(), "port_value": address.port() } })
}
