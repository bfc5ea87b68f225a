//! Reads what chooses among kinds: a name, or a table of one name with its options.

use super::Choice;
use super::choice::Options;
use super::keys::Key;
use super::node::{Entry, Table, Value};
use super::problem::Problem;
use super::reader::{Item, Section};
use super::suggest::{did_you_mean, listed, quoted};
use super::units::Fault;

/// The kind under `name`.
pub(super) fn choice(section: &Section<'_>, name: &str) -> Option<Choice> {
    section.find(name).and_then(|item| one(section, name, item))
}

/// The kinds under `name`, in order.
pub(super) fn choices(section: &Section<'_>, name: &str) -> Vec<Choice> {
    let items = section.find(name).into_iter().flat_map(Item::each);
    items.filter_map(|item| one(section, name, item)).collect()
}

fn one(section: &Section<'_>, name: &str, item: Item<'_>) -> Option<Choice> {
    let source = &item.document.source;
    let span = &item.node.span;
    match &item.node.value {
        Value::String(kind) if kind.is_empty() => {
            section
                .note(item, Fault::new(format!("`{name}` is empty"), "write the name of a kind"));
            None
        }
        Value::String(kind) => {
            let options = Options::new(source, span, &Table::default(), span);
            Some(Choice { name: kind.clone(), options })
        }
        Value::Table(table) => {
            let (entry, options) = only_entry(section, name, item, table)?;
            let options = Options::new(source, &entry.span, options, &entry.node.span);
            Some(Choice { name: entry.key.clone(), options })
        }
        _ => {
            section.note_type(name, item);
            None
        }
    }
}

/// The one kind that `table` names, with its options.
fn only_entry<'a>(
    section: &Section<'_>,
    name: &str,
    item: Item<'a>,
    table: &'a Table,
) -> Option<(&'a Entry, &'a Table)> {
    let [entry] = table.0.as_slice() else {
        let message = format!("`{name}` must name one kind, not {}", table.0.len());
        let help = format!("write {name} = \"NAME\" or {name} = {{ NAME = {{ … }} }}");
        section.note(item, Fault::new(message, help));
        return None;
    };
    let Value::Table(options) = &entry.node.value else {
        let message = format!("options of `{}` must be a table", entry.key);
        let help = format!("write {name} = {{ {} = {{ … }} }}", entry.key);
        section.note(Item::of(item.document, entry), Fault::new(message, help));
        return None;
    };
    Some((entry, options))
}

/// The kind under `name`, one of those that its key knows, and the section of its options.
pub(super) fn one_kind<'a>(
    section: &Section<'a>,
    name: &str,
) -> Option<(&'static str, Section<'a>)> {
    let item = section.find(name)?;
    let kinds = section.kind(name).keys();
    let known = |word: &str| kinds.iter().find(|kind| kind.name == word);
    match &item.node.value {
        Value::String(word) => {
            let Some(kind) = known(word) else {
                let (message, help) = unknown(name, word, kinds);
                section.note(item, Fault::new(message, help));
                return None;
            };
            Some((kind.name, Section::absent(section.notes(), kind.kind.keys())))
        }
        Value::Table(table) => {
            let (entry, _) = only_entry(section, name, item, table)?;
            let inner = Item::of(item.document, entry);
            let Some(kind) = known(&entry.key) else {
                let (message, help) = unknown(name, &entry.key, kinds);
                section.notes().add(Problem::error(inner.key_place(), message).help(help));
                return None;
            };
            Some((kind.name, Section::absent(section.notes(), kind.kind.keys()).over(Some(inner))))
        }
        _ => {
            section.note_type(name, item);
            None
        }
    }
}

fn unknown(name: &str, word: &str, kinds: &[Key]) -> (String, String) {
    let names = || kinds.iter().map(|kind| kind.name);
    let all = format!("write {}", listed(names()));
    let message = format!("`{name}` cannot be {}", quoted(word));
    (message, did_you_mean(word, names()).unwrap_or(all))
}
