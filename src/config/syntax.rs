//! Says in our words what the parser says in its own, and where a key was defined before.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::node::{Entry, Table, Value};
use super::problem::Problem;
use super::source::{Place, Source};
use super::suggest::quoted;

/// The problem that the parser's `message` at `span` means.
pub(super) fn explain(
    source: &Arc<Source>,
    table: &Table,
    message: &str,
    span: Range<usize>,
) -> Problem {
    let place = Place::new(source, span.clone());
    let found = place.text().to_owned();
    let is = |start: &str| message.starts_with(start);
    if is("duplicate key") {
        let problem = Problem::error(place, format!("{} is defined twice", quoted(&found)));
        return match first_definition(source, table, &span) {
            Some(first) => problem.related(Place::new(source, first), "first defined here"),
            None => problem,
        };
    }
    if is("string values must be quoted") && found.is_empty() {
        return Problem::error(place, "a value is missing");
    }
    let number = ["invalid float", "invalid integer", "invalid datetime", "invalid number"];
    if is("string values must be quoted") || number.iter().any(|start| is(start)) {
        return no_value(Place::new(source, bare(source.text(), &span)));
    }
    if is("invalid basic string") || is("invalid literal string") {
        let end = if is("invalid basic") { "\"" } else { "'" };
        let problem = Problem::error(place, "this string is not closed on its line");
        return problem.help(format!("write {} at its end", quoted(end)));
    }
    Problem::error(place, message)
}

/// The bare text at `place` is none.
pub(super) fn no_value(place: Place) -> Problem {
    let text = place.text().to_owned();
    let problem = Problem::error(place, format!("{} is not a value", quoted(&text)));
    match text.contains(['"', '\\']) {
        true => problem,
        false => problem.help(format!("write text in quotes: \"{text}\"")),
    }
}

/// The whole bare word around `span`, of which the parser names only the part that it trips over.
fn bare(text: &str, span: &Range<usize>) -> Range<usize> {
    let ends = |letter: char| letter.is_whitespace() || ",[]{}#=".contains(letter);
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.end..).unwrap_or_default();
    let start = before.rfind(ends).map_or(0, |at| {
        at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    start..span.end + after.find(ends).unwrap_or(after.len())
}

/// Where the key was defined before that is defined again at `span`.
fn first_definition(
    source: &Arc<Source>,
    table: &Table,
    span: &Range<usize>,
) -> Option<Range<usize>> {
    let line = source.line_of(span.start);
    if let Some(path) = header(source, line) {
        // The tree holds the later table, so the earlier is looked for in the text.
        let first = (1..line).find(|line| header(source, *line).as_ref() == Some(&path))?;
        return Some(source.line_span(first));
    }
    let key = source.text().get(span.clone())?.trim_matches(['"', '\'']);
    let mut inline = None;
    nearest_key(table, key, source.line_start(line)..span.start, &mut inline);
    let path = (1..line).rev().find_map(|line| header(source, line)).unwrap_or_default();
    inline.or_else(|| in_table(table, &path, key)).filter(|first| first.end <= span.start)
}

/// The path of the table whose header stands on `line`.
fn header(source: &Source, line: usize) -> Option<Vec<String>> {
    let text = source.text().get(source.line_span(line))?;
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let parsed = DeTable::parse(text).ok()?;
    let mut table = Table::from_parsed(parsed.get_ref());
    let mut path = Vec::new();
    while let Some(Entry { key, node, .. }) = table.0.pop() {
        path.push(key);
        match node.value {
            Value::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(path)
}

/// The place of `key` in the table at `path`; of a list of tables, in the last.
fn in_table(table: &Table, path: &[String], key: &str) -> Option<Range<usize>> {
    let mut table = table;
    for name in path {
        table = match &table.find(name)?.node.value {
            Value::Table(inner) => inner,
            Value::Array(items) => match &items.last()?.value {
                Value::Table(inner) => inner,
                _ => return None,
            },
            _ => return None,
        };
    }
    table.find(key).map(|entry| entry.span.clone())
}

/// The last key of that name within `part` of the text: on one line it is of one table.
fn nearest_key(table: &Table, key: &str, part: Range<usize>, nearest: &mut Option<Range<usize>>) {
    for entry in &table.0 {
        let later = nearest.as_ref().is_none_or(|best| best.start < entry.span.start);
        let inside = part.start <= entry.span.start && entry.span.end <= part.end;
        if entry.key == key && inside && later {
            *nearest = Some(entry.span.clone());
        }
        match &entry.node.value {
            Value::Table(inner) => nearest_key(inner, key, part.clone(), nearest),
            Value::Array(items) => items.iter().for_each(|item| {
                if let Value::Table(inner) = &item.value {
                    nearest_key(inner, key, part.clone(), nearest);
                }
            }),
            _ => {}
        }
    }
}
