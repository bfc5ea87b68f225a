//! Reads the keys of one table, notes what is wrong with each, and reads on.

mod faults;
mod values;

use std::ops::Range;

use super::document::Document;
use super::keys::{Key, Kind};
use super::node::{Entry, Node, Table, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::source::Place;
use super::suggest::{did_you_mean, listed, quoted};
use super::units::Fault;
use faults::instead;

/// A value with the key that it stands under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) document: &'a Document,
    pub(super) key: &'a Range<usize>,
    pub(super) node: &'a Node,
}

impl<'a> Item<'a> {
    pub(super) fn of(document: &'a Document, entry: &'a Entry) -> Self {
        Self { document, key: &entry.span, node: &entry.node }
    }

    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        Place::new(&self.document.source, self.node.span.clone())
    }

    /// Where the key stands.
    pub(super) fn key_place(&self) -> Place {
        Place::new(&self.document.source, self.key.clone())
    }

    /// The items of a list, or the one value that stands for a list of one.
    pub(super) fn each(self) -> Vec<Self> {
        match &self.node.value {
            Value::Array(items) => items.iter().map(|node| Self { node, ..self }).collect(),
            _ => vec![self],
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// A table of the file, with the tables that it takes its defaults from.
#[derive(Debug)]
pub(super) struct Section<'a> {
    notes: &'a Notes,
    keys: &'static [Key],
    /// The table itself first.
    layers: Vec<(&'a Document, &'a Table)>,
}

impl<'a> Section<'a> {
    /// A section of which nothing is written.
    pub(super) fn absent(notes: &'a Notes, keys: &'static [Key]) -> Self {
        Self { notes, keys, layers: Vec::new() }
    }

    /// Adds a layer below, and notes the keys in it that do not exist.
    pub(super) fn over(mut self, item: Option<Item<'a>>) -> Self {
        let Some(item) = item else { return self };
        match &item.node.value {
            Value::Table(table) => {
                self.note_unknown(item.document, table);
                self.layers.push((item.document, table));
            }
            _ => {
                let key = quoted(item.key_place().text_inside());
                let message = format!("{key} must be a table, not {}", item.node.kind());
                self.note(item, Fault::new(message, ""));
            }
        }
        self
    }

    fn note_unknown(&self, document: &Document, table: &Table) {
        let known = || self.keys.iter().map(|key| key.name);
        for entry in &table.0 {
            if known().any(|name| name == entry.key) || document.is_guessed(&entry.span) {
                continue;
            }
            let place = Place::new(&document.source, entry.span.clone());
            let problem = Problem::error(place, format!("unknown key {}", quoted(&entry.key)));
            self.notes.add(match did_you_mean(&entry.key, known()) {
                Some(hint) => problem.help(hint),
                None if self.keys.is_empty() => problem.help("there is nothing to set here"),
                None => problem.help(format!("known here: {}", listed(known()))),
            });
        }
    }

    pub(super) fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// What stands under `name`, here or in the defaults.
    pub(super) fn find(&self, name: &str) -> Option<Item<'a>> {
        let found = |(document, table): &(&'a Document, &'a Table)| {
            table.find(name).map(|entry| Item::of(document, entry))
        };
        self.layers.iter().find_map(found)
    }

    /// True exactly when the key stands in the table itself.
    pub(super) fn says(&self, name: &str) -> bool {
        self.layers.first().is_some_and(|(_, table)| table.find(name).is_some())
    }

    /// The table under `name`, laid over the same table of the defaults.
    pub(super) fn table(&self, name: &str) -> Section<'a> {
        let mut section = Self::absent(self.notes, self.kind(name).keys());
        for (document, table) in &self.layers {
            let item = table.find(name).map(|entry| Item::of(document, entry));
            // `keepalive = true` over a table keeps the table; what else is no table is noted.
            let flag = item.is_some_and(|item| matches!(item.node.value, Value::Flag(_)));
            if !(flag && matches!(self.kind(name), Kind::FlagOrTable(_))) {
                section = section.over(item);
            }
        }
        section
    }

    /// The table under `name` if that is on, by `true`, a table, or `unasked`.
    pub(super) fn switch(&self, name: &str, unasked: bool) -> Option<Section<'a>> {
        let on = match self.find(name) {
            None => unasked,
            Some(item) => match item.node.value {
                Value::Flag(flag) => flag,
                Value::Table(_) => true,
                _ => {
                    self.note_type(name, item);
                    false
                }
            },
        };
        on.then(|| self.table(name))
    }

    /// What the key takes.
    pub(super) fn kind(&self, name: &str) -> Kind {
        let found = self.keys.iter().find(|key| key.name == name);
        debug_assert!(found.is_some(), "{name} is read but in no table of keys");
        found.map_or(Kind::Flag, |key| key.kind)
    }

    pub(super) fn note(&self, item: Item<'_>, fault: Fault) {
        if item.document.is_guessed(&item.node.span) {
            return;
        }
        let problem = Problem::error(item.place(), fault.message);
        self.notes.add(match fault.help.as_str() {
            "" => problem,
            help => problem.help(help),
        });
    }

    /// Notes that the value under `name` has the wrong type.
    pub(super) fn note_type(&self, name: &str, item: Item<'_>) {
        let kind = self.kind(name);
        let message = format!("`{name}` must be {}, not {}", kind.expected(), item.node.kind());
        self.note(item, Fault::new(message, instead(&kind, &item.node.value)));
    }

    /// The value under `name`, if `read` knows its type (the inner) and its value.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Value, Kind) -> Option<Result<T, Fault>>,
    ) -> Option<T> {
        let item = self.find(name)?;
        match read(&item.node.value, self.kind(name)) {
            Some(Ok(value)) => return Some(value),
            Some(Err(fault)) => self.note(item, fault),
            None => self.note_type(name, item),
        }
        None
    }

    /// A text under `name` that means a `T`.
    pub(super) fn text<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Fault>,
    ) -> Option<T> {
        self.read(name, |value, _| match value {
            Value::String(text) => Some(parse(text)),
            _ => None,
        })
    }
}
