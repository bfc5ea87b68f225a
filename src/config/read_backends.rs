//! Reads `backends` of a pool: addresses and tables, mixed as one likes.

use super::address;
use super::keys::BACKEND;
use super::node::Value;
use super::problem::Problem;
use super::reader::{Item, Section};
use super::source::Place;
use super::units::Fault;
use super::{Backend, BackendAddress, State};

/// A backend and where its address stands.
#[derive(Debug)]
pub(super) struct RawBackend {
    pub(super) backend: Backend,
    pub(super) place: Place,
}

pub(super) fn read_backends(section: &Section<'_>) -> Vec<RawBackend> {
    let Some(item) = section.find("backends") else { return Vec::new() };
    match &item.node.value {
        Value::Array(items) if items.is_empty() => {
            let help = "write at least one: [\"10.0.0.11:9000\"]";
            section.note(item, Fault::new("`backends` is empty", help));
            Vec::new()
        }
        Value::Array(_) => {
            item.each().into_iter().filter_map(|one| read_backend(section, one)).collect()
        }
        Value::String(text) => {
            let message = "`backends` must be a list of addresses, not a string";
            section.note(item, Fault::new(message, format!("write [\"{text}\"]")));
            Vec::new()
        }
        Value::Table(_) => {
            let message = "`backends` must be a list, not a table";
            section
                .note(item, Fault::new(message, "write [[pool.NAME.backends]], in two brackets"));
            Vec::new()
        }
        _ => {
            section.note_type("backends", item);
            Vec::new()
        }
    }
}

fn read_backend(section: &Section<'_>, item: Item<'_>) -> Option<RawBackend> {
    match &item.node.value {
        Value::String(text) => {
            let address = parse(section, item, text)?;
            Some(RawBackend { backend: Backend::at(address), place: item.place() })
        }
        Value::Table(_) => read_table(section, item),
        _ => {
            let message =
                format!("a backend must be an address or a table, not {}", item.node.kind());
            section.note(item, Fault::new(message, "write \"10.0.0.5:9000\""));
            None
        }
    }
}

fn read_table(section: &Section<'_>, item: Item<'_>) -> Option<RawBackend> {
    let table = Section::absent(section.notes(), BACKEND).over(Some(item));
    let weight = table.count("weight").unwrap_or(1);
    let max_connections = table.count("max_connections");
    let state = match table.word("state") {
        Some("drain") => State::Drain,
        Some("maint") => State::Maint,
        _ => State::Ready,
    };
    let Some(found) = table.find("address") else {
        let problem = Problem::error(item.place(), "this backend has no `address`");
        table.notes().add_absence(problem.help("add address = \"10.0.0.5:9000\""));
        return None;
    };
    let Some(text) = found.text() else {
        table.note_type("address", found);
        return None;
    };
    let address = parse(&table, found, text)?;
    let priority = priority(&table);
    if matches!(address, BackendAddress::Service(_)) {
        note_shares(&table);
    }
    let backend = Backend { address, weight, priority, max_connections, state };
    Some(RawBackend { backend, place: found.place() })
}

/// The records of a service say these of each of its hosts.
fn note_shares(table: &Section<'_>) {
    for name in ["weight", "priority", "backup"] {
        if let Some(item) = table.find(name) {
            let message = format!("`{name}` of a service is what its SRV records say");
            table.note(item, Fault::new(message, "leave it out"));
        }
    }
}

fn priority(table: &Section<'_>) -> u32 {
    let backup = table.flag("backup") == Some(true);
    let said = table.count("priority");
    if let Some(item) = table.find("backup").filter(|_| backup && said.is_some()) {
        let message = "`backup` and `priority` say the same thing";
        table.note(item, Fault::new(message, "write one of them; backup is priority = 1"));
    }
    said.unwrap_or(u32::from(backup))
}

impl Backend {
    /// One of which nothing but the address is said.
    pub(super) fn at(address: BackendAddress) -> Self {
        Self { address, weight: 1, priority: 0, max_connections: None, state: State::Ready }
    }
}

fn parse(section: &Section<'_>, item: Item<'_>, text: &str) -> Option<BackendAddress> {
    address::backend(text).map_err(|fault| section.note(item, fault)).ok()
}
