//! A configuration from the command line: `forebay proxy --listen A… --to B…`.
//!
//! The arguments stand in a text of their own, so that a problem points at the argument.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::address;
use super::check::check;
use super::document::Document;
use super::keys::{LISTENER, POOL};
use super::load::judge;
use super::notes::Notes;
use super::problem::Problem;
use super::problems::Problems;
use super::raw::RawConfig;
use super::read_backends::RawBackend;
use super::read_listener::{RawListener, read_listener_of};
use super::read_pool::{RawPool, read_pool_of};
use super::reader::Section;
use super::source::{Place, Source};
use super::units::Fault;
use super::{Backend, Config};

/// What messages call the arguments.
const NAME: &str = "command line";
/// Names the one listener and the one pool.
const PROXY: &str = "proxy";

impl Config {
    /// One listener on all addresses of `listen`, and one pool of all backends of `to`.
    ///
    /// # Errors
    /// Every argument that is wrong, alone or beside another.
    pub fn proxy(listen: &[String], to: &[String]) -> Result<Self, Problems> {
        let arguments = Arguments::new(listen, to);
        let notes = Notes::default();
        let absent = Document::read(&Source::new(NAME, ""), &|_| None, &notes);
        let mut raw = RawConfig::read(&[absent], &notes);
        raw.listeners.push(arguments.listener(&notes));
        raw.pools.push(arguments.pool(&notes));
        judge(check(raw, &notes), notes, &[PathBuf::from(NAME)]).0
    }
}

/// The arguments as one text, and where each stands in it.
struct Arguments {
    source: Arc<Source>,
    listen: Vec<(String, Range<usize>)>,
    to: Vec<(String, Range<usize>)>,
}

impl Arguments {
    fn new(listen: &[String], to: &[String]) -> Self {
        let mut text = String::from("forebay proxy");
        let mut append = |option: &str, values: &[String]| {
            let mut placed = Vec::new();
            for value in values {
                text.push_str(option);
                let start = text.len();
                text.extend(value.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }));
                placed.push((value.clone(), start..text.len()));
            }
            placed
        };
        let (listen, to) = (append(" --listen ", listen), append(" --to ", to));
        Self { source: Source::new(NAME, text), listen, to }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::new(&self.source, span.clone())
    }

    fn end(&self) -> Place {
        let end = self.source.text().len();
        self.place(&(end..end))
    }

    fn note(&self, span: &Range<usize>, fault: Fault, notes: &Notes) {
        notes.add(Problem::error(self.place(span), fault.message).help(fault.help));
    }

    fn listener(&self, notes: &Notes) -> RawListener {
        let mut raw = read_listener_of(PROXY.into(), &Section::absent(notes, LISTENER));
        raw.listener.pool = PROXY.into();
        raw.pool = Some(self.end());
        for (text, span) in &self.listen {
            match address::listen(text) {
                Ok(list) => {
                    raw.addresses.extend(list.iter().map(|_| self.place(span)));
                    raw.listener.addresses.extend(list);
                }
                Err(fault) => self.note(span, fault, notes),
            }
        }
        if self.listen.is_empty() {
            let problem = Problem::error(self.end(), "no address to listen on");
            notes.add(problem.help("add --listen 127.0.0.1:8080"));
        }
        raw
    }

    fn pool(&self, notes: &Notes) -> RawPool {
        let mut raw = read_pool_of(PROXY.into(), self.end(), &Section::absent(notes, POOL));
        for (text, span) in &self.to {
            match address::backend(text) {
                Ok(address) => {
                    let backend = Backend::at(address);
                    raw.backends.push(RawBackend { backend, place: self.place(span) });
                }
                Err(fault) => self.note(span, fault, notes),
            }
        }
        if self.to.is_empty() {
            let problem = Problem::error(self.end(), "no backend to connect to");
            notes.add(problem.help("add --to 10.0.0.11:9000"));
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(listen: &[&str], to: &[&str]) -> Result<Config, Problems> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Config::proxy(&owned(listen), &owned(to))
    }

    #[test]
    fn arguments_make_one_listener_and_one_pool() {
        let config = proxy(&["127.0.0.1:0", "[::1]:0"], &["10.0.0.1:80", "unix:/run/x"]).unwrap();
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.listeners[0].addresses.len(), 2);
        assert_eq!(config.pools[0].backends.len(), 2);
        let text = "[listener.proxy]\naddress = [\"127.0.0.1:0\", \"[::1]:0\"]\npool = \"proxy\"
            [pool.proxy]\nbackends = [\"10.0.0.1:80\", \"unix:/run/x\"]";
        assert_eq!(super::super::parse(text, "f", &|_| None).config.unwrap(), config);
    }

    #[test]
    fn every_wrong_argument_is_pointed_at() {
        let problems =
            proxy(&["localhost:80", "0.0.0.0:1", "0.0.0.0:1"], &["10.0.0.1"]).unwrap_err();
        let shown = problems.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(
            lines[0].starts_with("command line:1:24: `localhost` is not an IP address"),
            "{shown}"
        );
        assert!(
            lines[1].starts_with("command line:1:65: `0.0.0.0:1` is listened on twice"),
            "{shown}"
        );
        assert!(lines[2].starts_with("command line:1:80: `10.0.0.1` has no port"), "{shown}");
        assert_eq!(proxy(&[], &[]).unwrap_err().len(), 2);
    }
}
