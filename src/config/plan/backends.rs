//! Changes of a pool's backends. Those that change alike are told of together.

use std::collections::HashMap;

use super::super::{Backend, BackendAddress, Pool, State};
use super::Touches;
use super::found::{Found, cap_note, difference};
use super::show;

/// Notes how the backends `old` become those of the pool `new`.
pub(super) fn compare(old: &[Backend], new: &Pool, found: &mut Found<'_>) {
    let mut changed = Alike::default();
    let addresses = |backends| <[Backend]>::iter(backends).map(|backend| &backend.address);
    if addresses(old).eq(addresses(&new.backends)) {
        // What is usual, of thousands of backends: the same list.
        old.iter().zip(&new.backends).for_each(|(old, new)| changed.add_differences(old, new));
        return changed.tell(": ", found);
    }
    let (before, after) = (by_address(old), by_address(&new.backends));
    let mut added = Alike::default();
    for backend in &new.backends {
        match before.get(&backend.address) {
            Some(old) => changed.add_differences(old, backend),
            None => added.add(format!("added{}", extras(backend)), &backend.address),
        }
    }
    let gone = old.iter().filter(|backend| !after.contains_key(&backend.address));
    let gone: Vec<BackendAddress> = gone.map(|backend| backend.address.clone()).collect();
    added.tell(" ", found);
    if !gone.is_empty() {
        let what = format!("{} removed", show::named("backend", "backends", &gone));
        found.touch(what, Touches::Backends(gone, new.on_remove));
    }
    changed.tell(": ", found);
    if let Some(first) = first_if_reordered(old, new, &before, &after) {
        found.say(format!("order of its backends changed, {first} comes first"));
    }
}

type ByAddress<'a> = HashMap<&'a BackendAddress, &'a Backend>;

fn by_address(backends: &[Backend]) -> ByAddress<'_> {
    backends.iter().map(|backend| (&backend.address, backend)).collect()
}

/// Backends of which the same is to be said.
#[derive(Default)]
struct Alike<'a> {
    groups: Vec<(String, Vec<&'a BackendAddress>)>,
    known: HashMap<String, usize>,
}

impl<'a> Alike<'a> {
    fn add(&mut self, what: String, address: &'a BackendAddress) {
        let known = self.known.get(&what).and_then(|index| self.groups.get_mut(*index));
        if let Some((_, group)) = known {
            return group.push(address);
        }
        self.known.insert(what.clone(), self.groups.len());
        self.groups.push((what, vec![address]));
    }

    fn add_differences(&mut self, old: &Backend, new: &'a Backend) {
        differences(old, new).into_iter().flatten().for_each(|what| self.add(what, &new.address));
    }

    /// `between` stands between several addresses and what is said of them.
    fn tell(self, between: &str, found: &mut Found<'_>) {
        for (what, group) in self.groups {
            let between = if group.len() == 1 { " " } else { between };
            let named = show::named("backend", "backends", &group);
            found.say(format!("{named}{between}{what}"));
        }
    }
}

fn differences(old: &Backend, new: &Backend) -> [Option<String>; 4] {
    let Backend { address: _, weight, priority, max_connections, state } = old;
    let caps = (max_connections, &new.max_connections);
    let note = cap_note(*max_connections, new.max_connections);
    [
        difference("weight", (weight, &new.weight), show::plain, ""),
        difference("priority", (priority, &new.priority), show::plain, ""),
        difference("max_connections", caps, show::or_none, note),
        difference("state", (state, &new.state), show::plain, ""),
    ]
}

/// What a new backend has that is not usual: ` (weight 2)`.
fn extras(backend: &Backend) -> String {
    let Backend { address: _, weight, priority, max_connections, state } = backend;
    let mut all = Vec::new();
    all.extend((*weight != 1).then(|| format!("weight {weight}")));
    all.extend((*priority != 0).then(|| format!("priority {priority}")));
    all.extend(max_connections.map(|max| format!("max_connections {max}")));
    all.extend((*state != State::Ready).then(|| format!("state {state}")));
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// The backend that comes first now, if those that stay stand in another order, or another is the
/// first: `first` prefers it.
fn first_if_reordered<'a>(
    old: &[Backend],
    new: &'a Pool,
    before: &ByAddress<'_>,
    after: &ByAddress<'_>,
) -> Option<&'a BackendAddress> {
    let stays = |other: &ByAddress<'_>, backend: &Backend| other.contains_key(&backend.address);
    let was = old.iter().filter(|it| stays(after, it)).map(|it| &it.address);
    let is = new.backends.iter().filter(|it| stays(before, it)).map(|it| &it.address);
    let first = &new.backends.first()?.address;
    // A new one before all that stay; a first one that is removed needs no word.
    let led = !before.contains_key(first) && is.clone().next().is_some();
    (led || !was.eq(is)).then_some(first)
}
