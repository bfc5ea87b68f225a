//! Addresses of listeners: each once, and no wildcard beside a single address on one port.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

use super::super::ListenAddress;
use super::super::notes::Notes;
use super::super::problem::Problem;
use super::super::read_listener::RawListener;
use super::super::source::Place;
use super::super::suggest::quoted;

/// One address with its listener.
#[derive(Clone, Copy)]
struct Bound<'a> {
    address: &'a ListenAddress,
    place: &'a Place,
    interface: Option<&'a str>,
}

impl Bound<'_> {
    /// Two sockets can have one address if they are bound to different interfaces.
    fn meets(&self, other: &Self) -> bool {
        match (self.interface, other.interface) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        }
    }
}

pub(super) fn check(listeners: &[RawListener], notes: &Notes) {
    let mut taken = Taken::new(notes);
    for raw in listeners {
        let interface = raw.listener.interface.as_deref();
        for (address, place) in raw.listener.addresses.iter().zip(&raw.addresses) {
            taken.add(Bound { address, place, interface });
        }
    }
}

/// Family and port.
type Port = (bool, u16);

/// What is taken by the listeners before.
struct Taken<'a> {
    notes: &'a Notes,
    same: HashMap<SocketAddr, Vec<Bound<'a>>>,
    sockets: HashMap<&'a Path, Bound<'a>>,
    wildcards: HashMap<Port, Vec<Bound<'a>>>,
    singles: HashMap<Port, Vec<Bound<'a>>>,
    /// Pairs of places that are reported: a range of ports meets another at each of its ports.
    reported: HashSet<(Spot<'a>, Spot<'a>)>,
}

/// A place as a key: the name of its file and its first byte.
type Spot<'a> = (&'a str, usize);

impl<'a> Taken<'a> {
    fn new(notes: &'a Notes) -> Self {
        Self {
            notes,
            same: HashMap::new(),
            sockets: HashMap::new(),
            wildcards: HashMap::new(),
            singles: HashMap::new(),
            reported: HashSet::new(),
        }
    }

    fn add(&mut self, bound: Bound<'a>) {
        match bound.address {
            ListenAddress::Unix(path) => {
                if let Some(first) = self.sockets.insert(path, bound) {
                    self.report(first, bound, "is listened on twice", "first here");
                }
            }
            // The kernel chooses another for each.
            ListenAddress::Tcp(address) if address.port() == 0 => {}
            ListenAddress::Tcp(address) => self.add_tcp(*address, bound),
        }
    }

    fn add_tcp(&mut self, address: SocketAddr, bound: Bound<'a>) {
        let port = (address.is_ipv6(), address.port());
        if let Some(first) = met(&self.same, &address, &bound) {
            self.report(first, bound, "is listened on twice", "first here");
        } else if address.ip().is_unspecified() {
            if let Some(single) = met(&self.singles, &port, &bound) {
                self.report(single, bound, WILDCARD, "this address is one of them");
            }
        } else if let Some(wildcard) = met(&self.wildcards, &port, &bound) {
            self.report(wildcard, bound, SINGLE, "this takes every address of the port");
        }
        let ports = match address.ip().is_unspecified() {
            true => &mut self.wildcards,
            false => &mut self.singles,
        };
        ports.entry(port).or_default().push(bound);
        self.same.entry(address).or_default().push(bound);
    }

    fn report(&mut self, first: Bound<'a>, again: Bound<'a>, what: &str, label: &str) {
        let spot = |place: &'a Place| (place.source().name(), place.span().start);
        if !self.reported.insert((spot(first.place), spot(again.place))) {
            return;
        }
        let message = format!("{} {what}", quoted(&again.address.to_string()));
        let problem = Problem::error(again.place.clone(), message);
        self.notes.add(problem.related(first.place.clone(), label));
    }
}

const WILDCARD: &str = "takes every address of a port of which one is taken already";
const SINGLE: &str = "is taken already by a wildcard on its port";

fn met<'a, K: std::hash::Hash + Eq>(
    taken: &HashMap<K, Vec<Bound<'a>>>,
    key: &K,
    bound: &Bound<'a>,
) -> Option<Bound<'a>> {
    taken.get(key)?.iter().find(|other| other.meets(bound)).copied()
}
