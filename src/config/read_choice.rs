//! Reads what chooses among kinds: a name, or a table of one name with its options.

use super::Choice;
use super::choice::Options;
use super::node::{Table, Value};
use super::reader::{Item, Section};
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
        Value::Table(table) => match table.0.as_slice() {
            [entry] => {
                let Value::Table(inner) = &entry.node.value else {
                    let message = format!("options of `{}` must be a table", entry.key);
                    let item = Item { key: &entry.span, node: &entry.node, ..item };
                    let help = format!("write {name} = {{ {} = {{ … }} }}", entry.key);
                    section.note(item, Fault::new(message, help));
                    return None;
                };
                let options = Options::new(source, &entry.span, inner, &entry.node.span);
                Some(Choice { name: entry.key.clone(), options })
            }
            entries => {
                let message = format!("`{name}` must name one kind, not {}", entries.len());
                let help = format!("write {name} = \"NAME\" or {name} = {{ NAME = {{ … }} }}");
                section.note(item, Fault::new(message, help));
                None
            }
        },
        _ => {
            section.note_type(name, item);
            None
        }
    }
}
