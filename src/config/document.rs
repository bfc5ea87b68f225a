//! One text to a tree, with every error of its syntax.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, Error};

use super::nesting;
use super::node::{Entry, Node, Table, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::source::{Place, Source};
use super::suggest::quoted;
use super::variables::{Variables, expand_all};

/// What one file says.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) source: Arc<Source>,
    pub(super) table: Table,
    /// Lines with an error of syntax: what the parser made of them is a guess.
    guessed: BTreeSet<usize>,
}

impl Document {
    /// Reads as much as can be read, and notes every error of syntax.
    pub(super) fn read(source: &Arc<Source>, variables: Variables<'_>, notes: &Notes) -> Self {
        let text = source.text();
        if let Some(span) = nesting::too_deep(text) {
            let message = format!("nested more than {} levels deep", nesting::DEEPEST);
            notes.add(Problem::error(Place::new(source, span), message));
            notes.mark_broken();
            let (source, table) = (Arc::clone(source), Table::default());
            return Self { source, table, guessed: BTreeSet::new() };
        }
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let mut table = Table::from_parsed(parsed.get_ref());
        let guessed = note_errors(source, &table, &errors, notes);
        expand_all(&mut table, source, variables, notes);
        Self { source: Arc::clone(source), table, guessed }
    }

    /// True exactly when what stands at `span` is the parser's guess.
    pub(super) fn is_guessed(&self, span: &Range<usize>) -> bool {
        self.guessed.contains(&self.source.line_of(span.start))
    }
}

/// Notes one error a line, and returns the lines.
fn note_errors(
    source: &Arc<Source>,
    table: &Table,
    errors: &[Error],
    notes: &Notes,
) -> BTreeSet<usize> {
    let end = source.text().len();
    let place = |error: &Error| error.span().unwrap_or(end..end);
    let mut sorted: Vec<&Error> = errors.iter().collect();
    sorted.sort_by_key(|error| place(error).start);
    let open = sorted.iter().find_map(|error| unclosed(table, error));
    if let Some(open) = &open {
        notes.add(never_closed(source, open));
    }
    let swallowed = open.unwrap_or(end + 1..end + 1);
    let mut lines = BTreeSet::new();
    for error in sorted {
        let span = place(error);
        let line = source.line_of(span.start);
        let first = lines.insert(line);
        if first && !swallowed.contains(&span.start) && span.start < swallowed.end {
            notes.add(problem(source, table, error, span));
        }
    }
    if !errors.is_empty() {
        notes.mark_broken();
    }
    let from = source.line_of(swallowed.start);
    let all = source.line_of(end);
    lines.extend((swallowed.start <= end).then_some(from..=all).into_iter().flatten());
    lines
}

/// The value that is never closed: all errors behind its start are its echo.
fn unclosed(table: &Table, error: &Error) -> Option<Range<usize>> {
    let message = error.message();
    let value = message.starts_with("unclosed array") || message.starts_with("unclosed inline");
    let end = error.span()?.start;
    value.then(|| open_value(table, end)).flatten()
}

/// The outermost list or inline table that reaches `end`.
fn open_value(table: &Table, end: usize) -> Option<Range<usize>> {
    table.0.iter().find_map(|Entry { node: Node { span, value }, .. }| match value {
        Value::Array(_) | Value::Table(_) if span.end >= end && span.start < end => {
            Some(span.clone())
        }
        Value::Table(inner) => open_value(inner, end),
        Value::Array(items) => items.iter().find_map(|item| match &item.value {
            Value::Table(inner) => open_value(inner, end),
            _ => None,
        }),
        _ => None,
    })
}

fn never_closed(source: &Arc<Source>, open: &Range<usize>) -> Problem {
    let place = Place::new(source, open.start..open.start + 1);
    let (what, close) = if place.text() == "{" { ("table", "}") } else { ("list", "]") };
    let message = format!("this {what} is never closed");
    Problem::error(place, message).help(format!("write {} after its last value", quoted(close)))
}

fn problem(source: &Arc<Source>, table: &Table, error: &Error, span: Range<usize>) -> Problem {
    let place = Place::new(source, span.clone());
    let found = place.text().to_owned();
    let at = |message: String| Problem::error(place.clone(), message);
    match error.message() {
        "duplicate key" => {
            let problem = at(format!("{} is defined twice", quoted(&found)));
            match first_definition(source, table, &span) {
                Some(first) => problem.related(Place::new(source, first), "first defined here"),
                None => problem,
            }
        }
        message if message.starts_with("string values must be quoted") => match found.as_str() {
            "" => at("a value is missing".to_owned()),
            _ => at(format!("{} is not a value", quoted(&found)))
                .help(format!("write text in quotes: \"{found}\"")),
        },
        message => at(message.to_owned()),
    }
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
    let mut nearest = None;
    nearest_key(table, key, span.start, &mut nearest);
    nearest
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

/// The last key of that name before `before`: within one table it is the one meant.
fn nearest_key(table: &Table, key: &str, before: usize, nearest: &mut Option<Range<usize>>) {
    for entry in &table.0 {
        let later = nearest.as_ref().is_none_or(|best| best.start < entry.span.start);
        if entry.key == key && entry.span.end <= before && later {
            *nearest = Some(entry.span.clone());
        }
        match &entry.node.value {
            Value::Table(inner) => nearest_key(inner, key, before, nearest),
            Value::Array(items) => items.iter().for_each(|item| {
                if let Value::Table(inner) = &item.value {
                    nearest_key(inner, key, before, nearest);
                }
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let notes = Notes::default();
        Document::read(&Source::new("f", text), &|_| None, &notes);
        notes.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_error_of_syntax_is_noted_once() {
        let found = problems("a = app\nb = 1\nb = 2\nc =\nd = [\"1\" \"2\"]\n");
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("f:1:5: `app` is not a value; write text in quotes"));
        assert_eq!(found[1], "f:3:1: `b` is defined twice");
        assert_eq!(found[2], "f:4:4: a value is missing");
        assert!(found[3].starts_with("f:5:9: missing comma"), "{}", found[3]);
    }

    #[test]
    fn a_list_never_closed_is_one_problem() {
        let found = problems("a = 1\nb = [1,\n[x]\ny = 2\n");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("f:2:5: this list is never closed"));
        let found = problems("[x]\nb = { c = 1\n[y]\ny = 2\n");
        assert!(found[0].starts_with("f:2:5: this table is never closed"), "{found:#?}");
    }

    #[test]
    fn a_second_definition_shows_the_first() {
        let notes = Notes::default();
        let text = "[p.a]\nx = 1\n[l.a]\nx = 1\n[p.a]\nx = 2\n";
        Document::read(&Source::new("f", text), &|_| None, &notes);
        let problems = notes.into_problems();
        let first = problems.iter().next().unwrap();
        assert_eq!(first.place.as_ref().unwrap().to_string(), "f:5:4");
        assert_eq!(first.related[0].place.to_string(), "f:1:1");
    }

    #[test]
    fn nesting_without_end_is_one_problem() {
        let dotted = vec!["a"; 70].join(".");
        for text in [
            format!("x = {}", "[".repeat(100_000)),
            format!("x = {}", "{a=".repeat(100_000)),
            format!("{} = 1", vec!["a"; 5000].join(".")),
            format!("x = {}", format!("{{ {dotted} = ").repeat(70)),
        ] {
            let found = problems(&text);
            assert!(found[0].contains("nested more than"), "{found:?}");
        }
    }
}
