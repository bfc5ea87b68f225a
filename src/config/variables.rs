//! `${VAR:-default}` inside string values.
//!
//! Expanded after parsing, so that a variable cannot inject TOML and places stay true. As in a shell,
//! a default stands in for an empty variable too. `$$` is a dollar sign.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::node::Table;
use super::notes::Notes;
use super::problem::Problem;
use super::source::{Place, Source};
use super::suggest::quoted;

/// Looks up an environment variable.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Unset variables after which a text is given up.
const ASKED: usize = 50;

/// Expands every string of a file; what is unset without a default is a problem there.
///
/// Returns where the strings begin whose value is not known for that.
pub(super) fn expand_all(
    table: &mut Table,
    source: &Arc<Source>,
    variables: Variables<'_>,
    notes: &Notes,
) -> BTreeSet<usize> {
    let mut unknown = BTreeSet::new();
    table.each_string(&mut |text, span| {
        if text.contains('$') {
            let (expanded, faults) = expand(text, variables);
            if !faults.is_empty() {
                unknown.insert(span.start);
            }
            faults.iter().for_each(|fault| notes.add(problem(source, span, fault)));
            *text = expanded;
        }
    });
    unknown
}

/// What is wrong with a reference to a variable.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Unset(String),
    Unclosed,
}

fn problem(source: &Arc<Source>, span: &Range<usize>, fault: &Fault) -> Problem {
    let at = |needle: &str| {
        let text = source.text().get(span.clone()).unwrap_or_default();
        let start = text.find(needle).map(|at| span.start + at);
        let found = start.map(|start| start..start + needle.len());
        Place::new(source, found.unwrap_or_else(|| span.clone()))
    };
    match fault {
        Fault::Unset(name) => {
            let place = at(&format!("${{{name}"));
            let message = format!("environment variable {} is not set", quoted(name));
            Problem::error(place, message)
                .help(format!("set it, or write a default: \"${{{name}:-default}}\""))
                .help("\"$$\" is a dollar sign")
        }
        Fault::Unclosed => Problem::error(at("${"), "`${` is never closed")
            .help("write \"${VARIABLE}\" or \"${VARIABLE:-default}\"; \"$$\" is a dollar sign"),
    }
}

/// The library stops at the first variable that is unset. Each is told it was empty, and asked again.
fn expand(text: &str, variables: Variables<'_>) -> (String, Vec<Fault>) {
    let mut empty = BTreeSet::new();
    let mut faults = Vec::new();
    loop {
        let lookup = |name: &str| match variables(name) {
            Some(value) if !value.is_empty() => Ok(Some(value)),
            _ if empty.contains(name) => Ok(Some(String::new())),
            found => Err(found.is_some()),
        };
        match shellexpand::env_with_context(text, lookup) {
            Ok(expanded) => {
                if has_unclosed(text) {
                    faults.push(Fault::Unclosed);
                }
                return (expanded.into_owned(), faults);
            }
            Err(error) => {
                if !error.cause {
                    faults.push(Fault::Unset(error.var_name.clone()));
                }
                // Without progress the loop would not end; the name is new, or the lookup had it.
                if !empty.insert(error.var_name) || empty.len() > ASKED {
                    return (text.to_owned(), faults);
                }
            }
        }
    }
}

/// The library keeps `${` without an end as it is, which nobody means.
fn has_unclosed(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if rest.starts_with('{') {
            match rest.find('}') {
                Some(end) => rest = &rest[end + 1..],
                None => return true,
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> (String, Vec<Fault>) {
        expand(text, &|name| match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_dollars() {
        let reads = [
            ("${HOST}:80", "10.0.0.1:80"),
            ("$HOST:80", "10.0.0.1:80"),
            ("${NONE:-::1}", "::1"),
            ("${EMPTY:-x}", "x"),
            ("a${EMPTY}b", "ab"),
            ("${NONE:-}", ""),
            ("$${HOST} $$5", "${HOST} $5"),
            ("5$", "5$"),
        ];
        for (text, value) in reads {
            assert_eq!(expanded(text), (value.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn every_unset_variable_is_named() {
        let faults = expanded("${ONE} ${TWO} ${ONE} ${HOST}").1;
        assert_eq!(faults, [Fault::Unset("ONE".into()), Fault::Unset("TWO".into())]);
        assert_eq!(expanded("${HOST").1, [Fault::Unclosed]);
        assert_eq!(expanded("$${HOST").1, []);
    }
}
