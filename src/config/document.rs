//! One text to a tree, with every error of its syntax.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, Error};

use super::nesting;
use super::node::{Entry, Table, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::problems::PROBLEMS_KEPT;
use super::source::{Place, Source};
use super::suggest::quoted;
use super::syntax;
use super::variables::{Variables, expand_all};

/// What one file says.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) source: Arc<Source>,
    pub(super) table: Table,
    /// Lines with an error of syntax: what the parser made of them is a guess.
    guessed: BTreeSet<usize>,
    /// Where strings begin of which a variable is unset.
    unknown: BTreeSet<usize>,
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
            return Self { source, table, guessed: BTreeSet::new(), unknown: BTreeSet::new() };
        }
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let mut table = Table::from_parsed(parsed.get_ref());
        let mut guessed = note_errors(source, &table, &errors, notes);
        table.each_beyond(&mut |text, span| {
            if !is_integer(text) && guessed.insert(source.line_of(span.start)) {
                notes.add(syntax::no_value(Place::new(source, span.clone())));
            }
        });
        let unknown = expand_all(&mut table, source, variables, notes);
        Self { source: Arc::clone(source), table, guessed, unknown }
    }

    /// True exactly when what stands at `span` is a guess, of which a problem is noted already.
    pub(super) fn is_guessed(&self, span: &Range<usize>) -> bool {
        self.unknown.contains(&span.start)
            || self.guessed.contains(&self.source.line_of(span.start))
    }
}

/// The parser leaves it to the reader to find that 0x has no digits, and 1_000/h has others.
fn is_integer(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x", digits)) => (16, digits),
        Some(("0o", digits)) => (8, digits),
        Some(("0b", digits)) => (2, digits),
        _ => (10, digits),
    };
    !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
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
    let swallowed = open.map_or(end + 1, |open| open.start);
    let mut lines = BTreeSet::new();
    for error in sorted {
        let span = place(error);
        let line = source.line_of(span.start);
        let first = lines.insert(line);
        if !first || span.start >= swallowed {
            continue;
        }
        // Beyond what is kept they are only counted, and need no explanation.
        notes.add(match lines.len() > PROBLEMS_KEPT {
            true => Problem::error(Place::new(source, span), error.message()),
            false => syntax::explain(source, table, error.message(), span),
        });
    }
    if !errors.is_empty() {
        notes.mark_broken();
    }
    if swallowed <= end {
        lines.extend(source.line_of(swallowed)..=source.line_of(end));
    }
    lines
}

/// The value that is never closed: all errors behind its start are its echo.
fn unclosed(table: &Table, error: &Error) -> Option<Range<usize>> {
    let message = error.message();
    let value = message.starts_with("unclosed array") || message.starts_with("unclosed inline");
    value.then(|| last_value(table)).flatten()
}

/// The last list or inline table: one that is never closed takes all the rest.
fn last_value(table: &Table) -> Option<Range<usize>> {
    let of = |entry: &Entry| match &entry.node.value {
        // What a header opens begins before its own key.
        Value::Array(_) | Value::Table(_) if entry.node.span.start > entry.span.start => {
            Some(entry.node.span.clone())
        }
        Value::Table(inner) => last_value(inner),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Table(inner) => last_value(inner),
                _ => None,
            })
            .max_by_key(|span| span.start),
        _ => None,
    };
    table.0.iter().filter_map(of).max_by_key(|span| span.start)
}

fn never_closed(source: &Arc<Source>, open: &Range<usize>) -> Problem {
    let place = Place::new(source, open.start..open.start + 1);
    let (what, close) = if place.text() == "{" { ("table", "}") } else { ("list", "]") };
    let message = format!("this {what} is never closed");
    Problem::error(place, message).help(format!("write {} after its last value", quoted(close)))
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
        assert!(found[3].starts_with("f:5:10: missing comma"), "{}", found[3]);
    }

    /// In the options of a plug-in nobody else looks at them.
    #[test]
    fn integers_that_the_parser_lets_pass_are_no_values() {
        for value in ["0x", "0b", "1_000/h"] {
            let found = problems(&format!("a = {{ b = [{value}] }}\n"));
            assert_eq!(found.len(), 1, "{value}: {found:?}");
            assert!(
                found[0].starts_with(&format!("f:1:12: `{value}` is not a value")),
                "{found:?}"
            );
        }
        assert!(problems(&format!("a = [{}, 0x{0}, 0xfF, 1_0]\n", "9".repeat(50))).is_empty());
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
