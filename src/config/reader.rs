//! Reads the keys of one table, notes what is wrong with each, and reads on.

use std::ops::Range;
use std::time::Duration;

use super::document::Document;
use super::keys::{Key, Kind};
use super::node::{Entry, Node, Table, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::source::Place;
use super::suggest::{did_you_mean, listed, quoted};
use super::units::{self, Fault};

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
            _ => self.note(item, Fault::new(format!("{} is not a table", item.node.kind()), "")),
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

    fn kind(&self, name: &str) -> Kind {
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

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.read(name, |value, _| match value {
            Value::Flag(flag) => Some(Ok(*flag)),
            _ => None,
        })
    }

    /// A whole number within the bounds of its key.
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        self.read(name, |value, kind| match (value, kind) {
            (
                Value::Integer(count, _),
                Kind::Count { min, max } | Kind::FlagOrCount { min, max },
            ) => {
                let count = u64::try_from(*count).ok().filter(|it| (min..=max).contains(it));
                let count = count.and_then(|count| u32::try_from(count).ok());
                Some(count.ok_or_else(|| outside(name, value, &kind)))
            }
            (Value::Beyond(_), _) => Some(Err(outside(name, value, &kind))),
            _ => None,
        })
    }

    /// A duration over zero.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name, |text| match units::duration(text)? {
            Duration::ZERO => {
                Err(Fault::new(format!("`{name}` cannot be zero"), "write a duration over zero"))
            }
            length => bounded(text, length),
        })
    }

    /// A duration; zero is one too.
    pub(super) fn delay(&self, name: &str) -> Option<Duration> {
        self.text(name, |text| bounded(text, units::duration(text)?))
    }

    /// A duration; `Some(None)` when it is "off" or zero.
    pub(super) fn timeout(&self, name: &str) -> Option<Option<Duration>> {
        self.text(name, |text| match text {
            "off" => Ok(None),
            _ => {
                let length = bounded(text, units::duration(text)?)?;
                Ok(Some(length).filter(|length| *length > Duration::ZERO))
            }
        })
    }

    /// Bytes within the bounds of its key.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.read(name, |value, kind| {
            let bytes = match value {
                Value::String(text) => units::size(text),
                Value::Integer(bytes, _) => u64::try_from(*bytes).map_err(|_| {
                    Fault::new(format!("`{name}` cannot be negative"), "write \"64KiB\"")
                }),
                _ => return None,
            };
            let Kind::Size { min, max } = kind else { return None };
            Some(bytes.and_then(|bytes| match (min..=max).contains(&bytes) {
                true => Ok(bytes),
                false => Err(size_outside(name, bytes, min, max)),
            }))
        })
    }

    /// The position of one of the words of its key.
    pub(super) fn word(&self, name: &str) -> Option<&'static str> {
        let Kind::OneOf(words) = self.kind(name) else { return None };
        self.text(name, |text| {
            words.iter().find(|word| **word == text).copied().ok_or_else(|| {
                let message = format!("`{name}` cannot be {}", quoted(text));
                let all = format!("write {}", listed(words.iter().copied()));
                let hint = did_you_mean(text, words.iter().copied());
                Fault::new(message, hint.unwrap_or(all))
            })
        })
    }

    /// A name that the kernel takes: an interface, an algorithm.
    pub(super) fn kernel_name(&self, name: &str) -> Option<String> {
        self.text(name, |text| {
            let letter = |letter: char| letter.is_ascii_graphic() && letter != '/';
            match (1..=15).contains(&text.len()) && text.chars().all(letter) {
                true => Ok(text.to_owned()),
                false => {
                    let message = format!("{} cannot be the name of one", quoted(text));
                    Err(Fault::new(message, format!("`{name}` takes 1 to 15 letters without `/`")))
                }
            }
        })
    }
}

/// A century: any deadline within it can be computed.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The finest that a timer keeps.
const SHORTEST: Duration = Duration::from_millis(1);

fn bounded(text: &str, length: Duration) -> Result<Duration, Fault> {
    if length > LONGEST {
        return Err(Fault::new(format!("{} is too long", quoted(text)), "at most 36500 days"));
    }
    if length < SHORTEST && length > Duration::ZERO {
        return Err(Fault::new(format!("{} is too short", quoted(text)), "at least \"1ms\""));
    }
    Ok(length)
}

fn outside(name: &str, value: &Value, kind: &Kind) -> Fault {
    let shown = match value {
        Value::Integer(_, text) | Value::Beyond(text) => text.as_str(),
        _ => "the value",
    };
    let hint = match (name, shown) {
        ("max_connections", "0") => "; leave the key out for no cap",
        _ => "",
    };
    let message = format!("`{name}` cannot be {shown}");
    Fault::new(message, format!("it must be {}{hint}", kind.expected()))
}

fn size_outside(name: &str, bytes: u64, min: u64, max: u64) -> Fault {
    let (min, max) = (units::show_size(min), units::show_size(max));
    let message = format!("`{name}` cannot be {}", units::show_size(bytes));
    Fault::new(message, format!("it must be from {min} to {max}"))
}

/// What the author probably meant with a value of the wrong type.
fn instead(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Duration | Kind::Delay | Kind::Timeout, Value::Integer(_, text)) => {
            format!("write \"{text}s\"")
        }
        (Kind::Timeout, Value::Flag(false)) => "write \"off\"".to_owned(),
        (Kind::Rate, Value::Integer(_, text)) => format!("write \"{text}/s\""),
        (Kind::Percent, Value::Integer(_, text)) => format!("write \"{text}%\""),
        (Kind::Mode, Value::Integer(..)) => "write \"0660\", in quotes".to_owned(),
        (Kind::ListenAddresses, Value::Integer(_, text)) => format!("write \"0.0.0.0:{text}\""),
        (Kind::Flag, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("write {text} without quotes")
        }
        (Kind::Count { .. }, Value::String(text)) if text.parse::<u32>().is_ok() => {
            format!("write {text} without quotes")
        }
        _ => String::new(),
    }
}
