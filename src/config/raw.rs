//! The files as read: every value checked alone, none yet against the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::document::Document;
use super::keys::{DEFAULTS, Key, LISTENER, POOL, ROOT};
use super::node::{Entry, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::read_listener::{RawListener, read_listener};
use super::read_pool::{RawPool, read_pool};
use super::read_process;
use super::reader::{Item, Section};
use super::suggest::{did_you_mean, quoted};
use super::units::Fault;
use super::{Limits, Reload, Runtime, Shutdown};

/// All files together. Values that could not be read hold a default; a problem says so.
#[derive(Debug)]
pub(super) struct RawConfig {
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    pub(super) reload: Reload,
    pub(super) runtime: Runtime,
    pub(super) listeners: Vec<RawListener>,
    pub(super) pools: Vec<RawPool>,
}

impl RawConfig {
    /// Reads every key of every document, and notes what is wrong.
    pub(super) fn read(documents: &[Document], notes: &Notes) -> Self {
        for document in documents {
            note_unknown_sections(document, notes);
        }
        let root = Root { documents, notes };
        let listener = root.default_of("listener");
        let pool = root.default_of("pool");
        // What stands in the defaults is wrong even if no table uses it.
        read_process::check_defaults(listener, pool, notes);
        let section =
            |keys, item, default| Section::absent(notes, keys).over(Some(item)).over(default);
        let listeners = root.named("listener").into_iter();
        let pools = root.named("pool").into_iter();
        Self {
            limits: read_process::limits(&root.section("limits")),
            shutdown: read_process::shutdown(&root.section("shutdown")),
            reload: read_process::reload(&root.section("reload")),
            runtime: read_process::runtime(&root.section("runtime")),
            listeners: listeners
                .map(|(name, item)| {
                    read_listener(name, item.key_place(), &section(LISTENER, item, listener))
                })
                .collect(),
            pools: pools
                .map(|(name, item)| read_pool(name, item.key_place(), &section(POOL, item, pool)))
                .collect(),
        }
    }
}

fn note_unknown_sections(document: &Document, notes: &Notes) {
    let known = || ROOT.iter().map(|key| key.name);
    for entry in &document.table.0 {
        if known().any(|name| name == entry.key) || document.is_guessed(&entry.span) {
            continue;
        }
        let item = Item::of(document, entry);
        let problem =
            Problem::error(item.key_place(), format!("unknown key {}", quoted(&entry.key)));
        notes.add(match did_you_mean(&entry.key, known()) {
            Some(hint) => problem.help(hint),
            None => problem.help(format!("known at the top: {}", super::suggest::listed(known()))),
        });
    }
}

/// The tops of all documents, as if they were one.
struct Root<'a> {
    documents: &'a [Document],
    notes: &'a Notes,
}

impl<'a> Root<'a> {
    fn section(&self, name: &str) -> Section<'a> {
        let keys: &'static [Key] =
            ROOT.iter().find(|key| key.name == name).map_or(&[], |key| key.kind.keys());
        Section::absent(self.notes, keys).over(self.once(self.all(&[name])))
    }

    fn default_of(&self, name: &str) -> Option<Item<'a>> {
        for item in self.all(&["defaults"]) {
            // Notes the unknown keys of [defaults] itself.
            Section::absent(self.notes, DEFAULTS).over(Some(item));
        }
        self.once(self.all(&["defaults", name]))
    }

    /// What stands at `path` in each document.
    fn all(&self, path: &[&str]) -> Vec<Item<'a>> {
        let at = |document: &'a Document| {
            let mut table = &document.table;
            let mut found = None;
            for key in path {
                let entry = table.find(key)?;
                found = Some(Item::of(document, entry));
                match &entry.node.value {
                    Value::Table(inner) => table = inner,
                    _ => break,
                }
            }
            found
        };
        self.documents.iter().filter_map(at).collect()
    }

    /// The first of them; the others are problems.
    fn once(&self, items: Vec<Item<'a>>) -> Option<Item<'a>> {
        let mut items = items.into_iter();
        let first = items.next()?;
        for again in items {
            self.note_twice(first, again);
        }
        Some(first)
    }

    fn note_twice(&self, first: Item<'_>, again: Item<'_>) {
        let place = again.key_place();
        let message = format!("{} is defined twice", quoted(place.text()));
        let problem = Problem::error(place, message);
        self.notes.add(problem.related(first.key_place(), "first defined here"));
    }

    /// The tables `[KIND.NAME]` of all documents, each name once.
    fn named(&self, kind: &'static str) -> Vec<(Arc<str>, Item<'a>)> {
        let mut all: Vec<(Arc<str>, Item<'a>)> = Vec::new();
        let mut seen: HashMap<&'a str, Item<'a>> = HashMap::new();
        for item in self.all(&[kind]) {
            let Value::Table(table) = &item.node.value else {
                let message =
                    format!("`{kind}` must be tables with names, not {}", item.node.kind());
                let problem = Problem::error(item.key_place(), message);
                self.notes.add(problem.help(format!("write \"[{kind}.NAME]\"")));
                continue;
            };
            for entry in &table.0 {
                let item = Item::of(item.document, entry);
                match seen.insert(&entry.key, item) {
                    Some(first) => self.note_twice(first, item),
                    None if self.is_named(kind, item, entry) => {
                        all.push((entry.key.as_str().into(), item))
                    }
                    None => {}
                }
            }
        }
        all
    }

    /// Notes a name that could not stand in a log line, a metric or a command.
    fn is_named(&self, kind: &str, item: Item<'_>, entry: &Entry) -> bool {
        let name = &entry.key;
        let letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
        if !matches!(entry.node.value, Value::Table(_)) {
            let message =
                format!("{kind} {} must be a table, not {}", quoted(name), item.node.kind());
            let section = Section::absent(self.notes, &[]);
            section.note(item, Fault::new(message, format!("write \"[{kind}.{name}]\"")));
            return false;
        }
        if name.is_empty() || name.chars().count() > NAME_LENGTH || !name.chars().all(letter) {
            let message = format!("{} cannot be the name of a {kind}", quoted(name));
            let help = format!("a name has 1 to {NAME_LENGTH} letters, digits, `-`, `_` or `.`");
            self.notes.add(Problem::error(item.key_place(), message).help(help));
        }
        true
    }
}

/// Longest name of a listener or pool.
const NAME_LENGTH: usize = 128;
