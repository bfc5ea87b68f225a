//! Host names of backends: looked up off the data path, again and again.
//!
//! Uses getaddrinfo(3), so /etc/hosts, search domains and whatever else the host is set up with
//! hold. A name that cannot be looked up keeps its last good answer, or is out of rotation.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{BackendAddress, Config};
use crate::model::Resolved;

/// Look-ups at once; each may wait long for an answer.
pub(super) const THREADS: usize = 64;

/// So long the start waits for host names; those that take longer come into use later.
const PATIENCE: Duration = Duration::from_secs(3);

/// Every host name of the file, with the shortest interval that a pool asks for.
pub(super) fn names(config: &Config) -> BTreeMap<Arc<str>, Duration> {
    let mut names = BTreeMap::new();
    for pool in &config.pools {
        for backend in &pool.backends {
            if let BackendAddress::Name(name, _) = &backend.address {
                names
                    .entry(Arc::clone(name))
                    .and_modify(|shortest: &mut Duration| {
                        *shortest = (*shortest).min(pool.resolve_interval);
                    })
                    .or_insert(pool.resolve_interval);
            }
        }
    }
    names
}

/// The addresses of all names that are not `known`: looks them up at once and waits, but not for ever.
pub(super) fn unknown(config: &Config, known: &Resolved) -> Resolved {
    let mut names = names(config);
    names.retain(|name, _| !known.contains_key(name));
    let (answers, answered) = channel();
    let queue: Arc<Mutex<Vec<Arc<str>>>> = Arc::new(Mutex::new(names.keys().cloned().collect()));
    for _ in 0..names.len().min(THREADS) {
        let (queue, answers) = (Arc::clone(&queue), answers.clone());
        let looking_up = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(name) = next() {
                let answer = look_up(&name);
                if answers.send((name, answer)).is_err() {
                    // Nobody waits any more: it took too long.
                    return;
                }
            }
        });
        if let Err(error) = looking_up {
            tracing::warn!(%error, "cannot start a look-up");
        }
    }
    drop(answers);
    let until = Instant::now() + PATIENCE;
    let mut resolved = HashMap::new();
    while let Ok((name, answer)) =
        answered.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        note(&mut resolved, name, answer);
    }
    for name in names.keys().filter(|name| !resolved.contains_key(*name)) {
        tracing::warn!(host = &**name, "cannot resolve a backend yet; it is out of rotation");
    }
    resolved
}

/// Takes an answer in. True exactly when it changes what is known.
pub(super) fn note(
    resolved: &mut Resolved,
    name: Arc<str>,
    answer: io::Result<Vec<IpAddr>>,
) -> bool {
    match answer {
        Ok(addresses) if resolved.get(&name) != Some(&addresses) => {
            tracing::info!(host = &*name, ?addresses, "resolved");
            resolved.insert(name, addresses);
            true
        }
        Ok(_) => false,
        Err(error) => {
            let kept = resolved.contains_key(&name);
            tracing::warn!(host = &*name, %error, last_answer_kept = kept, "cannot resolve a backend");
            false
        }
    }
}

/// The addresses of `name`, sorted, each once. Blocks.
///
/// # Errors
/// What getaddrinfo(3) says; also when it knows no address.
pub(super) fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> =
        (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}
