//! Reads `[listener.NAME]`.

use std::sync::Arc;

use ipnet::IpNet;

use super::address::{self, ADDRESSES_PER_LISTENER};
use super::node::Value;
use super::problem::Problem;
use super::read_choice::choices;
use super::reader::{Item, Section};
use super::source::Place;
use super::suggest::quoted;
use super::units::{self, Fault};
use super::{ListenAddress, Listener, Over, PerSource};

/// A listener, and where the parts stand that are checked against others.
#[derive(Debug)]
pub(super) struct RawListener {
    pub(super) listener: Listener,
    /// One for each of its addresses.
    pub(super) addresses: Vec<Place>,
    /// The name of its pool.
    pub(super) pool: Option<Place>,
    /// One for each network.
    pub(super) deny: Vec<Place>,
    pub(super) allow: Vec<Place>,
}

pub(super) fn read_listener(name: Arc<str>, place: Place, section: &Section<'_>) -> RawListener {
    let raw = read_listener_of(Arc::clone(&name), section);
    let missing = |key: &str, example: &str| {
        let problem = Problem::error(place.clone(), format!("listener `{name}` has no `{key}`"));
        section.notes().add_absence(problem.help(format!("add {key} = {example}")));
    };
    if section.find("address").is_none() {
        missing("address", "\"0.0.0.0:8080\"");
    }
    if section.find("pool").is_none() {
        missing("pool", "\"NAME\", the name of a [pool.NAME]");
    }
    let tcp = !raw.listener.addresses.is_empty() && raw.listener.addresses.iter().all(is_tcp);
    if tcp && raw.listener.mode.is_some() && section.says("mode") {
        let place = section.find("mode").map(|item| item.key_place());
        let problem = Problem::warning(place, "`mode` has no effect: no address is a unix socket");
        section.notes().add_absence(problem);
    }
    raw
}

/// What the section says, complete or not.
pub(super) fn read_listener_of(name: Arc<str>, section: &Section<'_>) -> RawListener {
    let Settings { mut listener, pool, deny, allow } = read_settings(section);
    let (list, addresses) = read_addresses(section).into_iter().unzip();
    listener.name = name;
    listener.addresses = list;
    RawListener { listener, addresses, pool, deny, allow }
}

fn is_tcp(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(_))
}

/// What `[listener.NAME]` and `[defaults.listener]` share.
pub(super) struct Settings {
    listener: Listener,
    pool: Option<Place>,
    deny: Vec<Place>,
    allow: Vec<Place>,
}

pub(super) fn read_settings(section: &Section<'_>) -> Settings {
    let (deny, deny_places) = networks(section, "deny").into_iter().unzip();
    let (allow, allow_places) = networks(section, "allow").into_iter().unzip();
    let pool = section.text("pool", |text| Ok(Arc::from(text)));
    let listener = Listener {
        name: Arc::from(""),
        addresses: Vec::new(),
        pool: pool.clone().unwrap_or_else(|| Arc::from("")),
        max_connections: section.count("max_connections"),
        over: match section.word("over") {
            Some("reject") => Over::Reject,
            _ => Over::Wait,
        },
        rate: section.text("rate", units::rate),
        per_source: section.find("per_source").and_then(|item| per_source(section, item)),
        deny,
        allow,
        guards: choices(section, "guards"),
        backlog: section.count("backlog").unwrap_or(4096),
        client_first: section.flag("client_first").unwrap_or(false),
        tcp_fastopen: tcp_fastopen(section),
        interface: section.kernel_name("interface"),
        freebind: section.flag("freebind").unwrap_or(false),
        congestion: section.kernel_name("congestion"),
        socket_buffer: section.size("socket_buffer"),
        mode: section.text("mode", units::mode),
    };
    let place = section.find("pool").filter(|_| pool.is_some()).map(|item| item.place());
    Settings { listener, pool: place, deny: deny_places, allow: allow_places }
}

fn per_source(section: &Section<'_>, item: Item<'_>) -> Option<PerSource> {
    if !matches!(item.node.value, Value::Table(_)) {
        section.note_type("per_source", item);
        return None;
    }
    let table = section.table("per_source");
    let read = PerSource {
        max_connections: table.count("max_connections"),
        rate: table.text("rate", units::rate),
        ipv6_prefix: table.count("ipv6_prefix").and_then(|bits| bits.try_into().ok()).unwrap_or(64),
    };
    if table.find("max_connections").is_none() && table.find("rate").is_none() {
        let message = "`per_source` limits nothing without `max_connections` or `rate`";
        table.notes().add_absence(Problem::warning(item.key_place(), message));
    }
    Some(read)
}

/// The queue length that `tcp_fastopen = true` means.
const FASTOPEN_QUEUE: u32 = 256;

fn tcp_fastopen(section: &Section<'_>) -> Option<u32> {
    match section.find("tcp_fastopen")?.node.value {
        Value::Flag(flag) => flag.then_some(FASTOPEN_QUEUE),
        _ => section.count("tcp_fastopen").filter(|queue| *queue > 0),
    }
}

fn read_addresses(section: &Section<'_>) -> Vec<(ListenAddress, Place)> {
    let mut all = Vec::new();
    let Some(item) = section.find("address") else { return all };
    for one in item.each() {
        let Some(text) = one.text() else {
            section.note_type("address", one);
            continue;
        };
        match address::listen(text) {
            Ok(list) => all.extend(list.into_iter().map(|address| (address, one.place()))),
            Err(fault) => section.note(one, fault),
        }
        if all.len() > ADDRESSES_PER_LISTENER {
            let message = format!("more than {ADDRESSES_PER_LISTENER} addresses in one listener");
            section.note(one, Fault::new(message, "split it into several listeners"));
            all.truncate(ADDRESSES_PER_LISTENER);
            break;
        }
    }
    if matches!(&item.node.value, Value::Array(list) if list.is_empty()) {
        section
            .note(item, Fault::new("`address` is empty", "write at least one: \"0.0.0.0:8080\""));
    }
    all
}

/// The networks under `name`, each with its place.
fn networks(section: &Section<'_>, name: &str) -> Vec<(IpNet, Place)> {
    let mut all = Vec::new();
    for one in section.find(name).into_iter().flat_map(Item::each) {
        match one.text().map(units::network) {
            Some(Ok((network, exact))) => {
                if exact {
                    let message = format!(
                        "{} is not the first address of its network",
                        quoted(one.text().unwrap_or_default())
                    );
                    let problem = Problem::warning(one.place(), message);
                    section.notes().add(problem.help(format!("it is read as \"{network}\"")));
                }
                all.push((network, one.place()));
            }
            Some(Err(fault)) => section.note(one, fault),
            None => section.note_type(name, one),
        }
    }
    all
}
