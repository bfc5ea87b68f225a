//! A choice among kinds: a name and the options that only that kind understands.
//!
//! Both keep their place in the file, so that the plug-in's own complaints point there.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, Error, ValueDeserializer};

use super::node::{Node, Table, Value};
use super::problem::Problem;
use super::read_pool::RESOLVER;
use super::source::{Place, Source};
use super::suggest::{did_you_mean, listed, quoted};
use super::{Config, Pool};

/// Known names that a message lists.
const SHOWN: usize = 20;

/// A kind chosen by name: `"round_robin"` or `{ source_hash = { seed = 7 } }`.
///
/// Two are equal when name and options are, wherever they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The name under which the kind is registered.
    pub name: String,
    /// What stands in the table of that name; empty for the short form.
    pub options: Options,
}

impl Choice {
    /// A choice that no file made, without options.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), options: Options::default() }
    }

    /// Where its name stands; none if no file says it.
    pub fn place(&self) -> Option<Place> {
        let origin = self.options.origin.as_ref()?;
        Some(Place::new(&origin.source, origin.name.clone()))
    }

    /// An error at its name.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.place(), message)
    }

    /// The error that no `kind` ("balancer") of its name is among `known`.
    pub fn unknown(&self, kind: &str, known: &[&str]) -> Problem {
        let problem = self.problem(format!("unknown {kind} {}", quoted(&self.name)));
        if known.is_empty() {
            return problem.help(format!("no {kind} is registered"));
        }
        suggest(problem, &self.name, known)
    }
}

/// Adds what may have been meant by `name`, and what could have been said.
fn suggest(problem: Problem, name: &str, known: &[&str]) -> Problem {
    let problem = match did_you_mean(name, known.iter().copied()) {
        Some(hint) => problem.help(hint),
        None => problem,
    };
    problem.help(format!("known: {}", listed(known.iter().copied().take(SHOWN))))
}

/// Every choice of a configuration, by what it is a choice of.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// `balance` of every pool.
    pub balancers: Vec<Choice>,
    /// `guards` of every listener.
    pub guards: Vec<Choice>,
    /// `kind` of every pool's `probe`.
    pub probes: Vec<Choice>,
    /// `resolver` of every pool that has names to look up, or says who is to.
    pub resolvers: Vec<Choice>,
    /// The pools that a guard may name.
    pub pools: Vec<Arc<str>>,
}

impl Choices {
    /// Those of `config`.
    pub fn of(config: &Config) -> Self {
        let guards = config.listeners.iter().flat_map(|listener| listener.guards.clone());
        let unasked = Choice::named(RESOLVER);
        let names = |pool: &&Pool| pool.backends.iter().any(|it| it.address.is_name());
        let resolvers = config.pools.iter().filter(|pool| names(pool) || pool.resolver != unasked);
        let resolvers = resolvers.map(|pool| pool.resolver.clone());
        Self {
            balancers: config.pools.iter().map(|pool| pool.balance.clone()).collect(),
            guards: guards.collect(),
            probes: config
                .pools
                .iter()
                .filter_map(|pool| Some(pool.probe.as_ref()?.kind.clone()))
                .collect(),
            resolvers: resolvers.collect(),
            pools: config.pools.iter().map(|pool| Arc::clone(&pool.name)).collect(),
        }
    }
}

/// Options of a plug-in, kept with their place in the file until the plug-in reads them.
#[derive(Debug, Clone, Default)]
pub struct Options {
    table: Table,
    origin: Option<Origin>,
}

#[derive(Debug, Clone)]
struct Origin {
    source: Arc<Source>,
    name: Range<usize>,
    options: Range<usize>,
}

/// Where they stand does not matter.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl Options {
    /// What stands in the table at `options`, of the kind that is named at `name`.
    pub(super) fn new(
        source: &Arc<Source>,
        name: &Range<usize>,
        table: &Table,
        options: &Range<usize>,
    ) -> Self {
        let source = Arc::clone(source);
        let origin = Origin { source, name: name.clone(), options: options.clone() };
        Self { table: table.clone(), origin: Some(origin) }
    }

    /// True exactly when none are given.
    pub fn is_empty(&self) -> bool {
        self.table.0.is_empty()
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// An error at the table of the options.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.at(None), message)
    }

    /// An error at the value of one option, or at the table if the option is not given.
    pub fn problem_at(&self, key: &str, message: impl Into<String>) -> Problem {
        let span = self.table.find(key).map(|entry| entry.node.span.clone());
        Problem::error(self.at(span), message)
    }

    /// The error that the text `name` among the options names no `kind` ("pool") that is `known`, at
    /// that text, or at the table if no option says it.
    pub fn unknown(&self, kind: &str, name: &str, known: &[&str]) -> Problem {
        let span = self.table.0.iter().find_map(|entry| span_of_text(&entry.node, name));
        let problem = Problem::error(self.at(span), format!("unknown {kind} {}", quoted(name)));
        suggest(problem, name, known)
    }

    /// Reads the options into the plug-in's own type, which should deny unknown fields.
    ///
    /// # Errors
    /// Every option that is unknown or has a wrong value, at its place. Serde stops at the first, so
    /// what it complains of is taken out and the rest is read again.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let mut rest = self.table.clone();
        let mut problems = Vec::new();
        loop {
            let error = match self.read_once(&rest) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let culprit = error.span().and_then(|span| culprit(&rest, &span));
            // What was taken out is missing now; that is no news.
            let echo = culprit.is_none() && !problems.is_empty();
            if !(echo && error.message().starts_with("missing field")) {
                problems.push(self.explain(&error));
            }
            match culprit {
                Some(index) => drop(rest.0.remove(index)),
                None => return Err(problems),
            }
        }
    }

    fn read_once<T: DeserializeOwned>(&self, table: &Table) -> Result<T, Error> {
        let span = self.origin.as_ref().map_or(0..0, |origin| origin.options.clone());
        let node = Node { span, value: Value::Table(table.clone()) };
        let parsed: Spanned<DeValue<'_>> = node.to_parsed();
        T::deserialize(ValueDeserializer::from(parsed))
    }

    fn at(&self, span: Option<Range<usize>>) -> Option<Place> {
        let origin = self.origin.as_ref()?;
        Some(Place::new(&origin.source, span.unwrap_or_else(|| origin.options.clone())))
    }

    fn explain(&self, error: &Error) -> Problem {
        let message = error.message();
        let problem = Problem::error(self.at(error.span()), message);
        // serde: unknown field `x`, expected one of `a`, `b`
        let mut words = message.split('`').skip(1).step_by(2);
        let hint = match message.starts_with("unknown ") {
            true => words.next().and_then(|word| did_you_mean(word, words)),
            false => None,
        };
        match hint {
            Some(hint) => problem.help(hint),
            None => problem,
        }
    }
}

/// Where `text` stands as a value in this one or below.
fn span_of_text(node: &Node, text: &str) -> Option<Range<usize>> {
    match &node.value {
        Value::String(value) => (value == text).then(|| node.span.clone()),
        Value::Array(items) => items.iter().find_map(|item| span_of_text(item, text)),
        Value::Table(table) => table.0.iter().find_map(|entry| span_of_text(&entry.node, text)),
        _ => None,
    }
}

/// The entry that an error at `span` is about; none if it is about the whole table.
fn culprit(table: &Table, span: &Range<usize>) -> Option<usize> {
    let holds = |part: &Range<usize>| part.start <= span.start && span.end <= part.end;
    table.0.iter().position(|entry| holds(&entry.span) || holds(&entry.node.span))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hash {
        seed: u8,
        #[serde(default)]
        ipv6_prefix: Option<u8>,
    }

    fn options(text: &str) -> Options {
        let source = Source::new("f", text);
        let parsed = toml::de::DeTable::parse(source.text()).unwrap();
        Options::new(&source, &(0..1), &Table::from_parsed(parsed.get_ref()), &(0..text.len()))
    }

    #[test]
    fn options_are_read_into_the_plug_ins_type() {
        let read: Hash = options("seed = 7").read().unwrap();
        assert_eq!(read, Hash { seed: 7, ipv6_prefix: None });
        let problems = Options::default().read::<Hash>().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].to_string(), "missing field `seed`");
    }

    #[test]
    fn every_wrong_option_is_named_at_its_place() {
        let text = "sed = 1\nseed = 300\nipv6_prefix = 'x'\n";
        let problems = options(text).read::<Hash>().unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 3, "{shown:#?}");
        for start in ["f:1:1: unknown field `sed`", "f:2:8: invalid value", "f:3:15: invalid type"]
        {
            assert!(shown.iter().any(|line| line.starts_with(start)), "{start}: {shown:#?}");
        }
        assert!(shown.iter().any(|line| line.ends_with("did you mean `seed`?")), "{shown:#?}");
    }

    #[test]
    fn choices_are_equal_by_name_and_options() {
        let choice = |name: &str, text| Choice { name: name.into(), options: options(text) };
        assert_eq!(choice("a", "x = 1"), choice("a", "# elsewhere\nx = 0x1"));
        assert_ne!(choice("a", "x = 1"), choice("a", "x = 2"));
        assert_eq!(choice("a", ""), Choice::named("a"));
    }

    #[test]
    fn an_unknown_name_among_the_options_is_named_at_its_place() {
        let options = options("x = 1\nto = [{ pool = 'b' }, { pool = 'apq' }]\n");
        let problem = options.unknown("pool", "apq", &["app", "b"]);
        let said = "f:2:32: unknown pool `apq`; did you mean `app`?; known: `app` or `b`";
        assert_eq!(problem.to_string(), said);
        assert!(options.unknown("pool", "c", &["app"]).to_string().starts_with("f:1:1: "));
    }

    #[test]
    fn an_unknown_kind_names_the_known_ones() {
        let problem = Choice::named("rund_robin").unknown("balancer", &["random", "round_robin"]);
        assert_eq!(problem.message, "unknown balancer `rund_robin`");
        assert_eq!(
            problem.help,
            ["did you mean `round_robin`?", "known: `random` or `round_robin`"]
        );
    }
}
