//! Reads the file and the files that it includes.
//!
//! Paths are relative to the file that names them. Depth, number and length are bounded.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::document::Document;
use super::node::{Node, Value};
use super::notes::Notes;
use super::problem::Problem;
use super::reader::Item;
use super::source::{Place, Source};
use super::suggest::quoted;
use super::variables::Variables;

/// A longer file is refused.
pub const FILE_BYTES: u64 = 16 << 20;
/// Files that include files that include files.
const DEPTH: usize = 8;
/// Files of one configuration.
const FILES: usize = 1000;

/// The files of one configuration, and what was read of them.
pub(super) struct Files<'a> {
    pub(super) documents: Vec<Document>,
    /// Every file that was read or should have been.
    pub(super) paths: Vec<PathBuf>,
    /// Every directory in which a new or changed file would matter.
    pub(super) directories: Vec<PathBuf>,
    hasher: SipHasher13,
    /// Canonical paths, with the place that names each.
    seen: Vec<(PathBuf, Option<Place>)>,
    variables: Variables<'a>,
    notes: &'a Notes,
}

impl<'a> Files<'a> {
    pub(super) fn new(variables: Variables<'a>, notes: &'a Notes) -> Self {
        Self {
            documents: Vec::new(),
            paths: Vec::new(),
            directories: Vec::new(),
            hasher: SipHasher13::new(),
            seen: Vec::new(),
            variables,
            notes,
        }
    }

    /// A hash over the names and contents of all files.
    pub(super) fn hash(&self) -> u128 {
        self.hasher.finish128().as_u128()
    }

    /// Reads a file and all that it includes. `place` is what names it; `depth` counts down.
    pub(super) fn read(&mut self, path: &Path, place: Option<Place>, depth: usize) {
        self.paths.push(path.to_owned());
        self.watch(parent(path));
        self.seen.push((canonical(path), place.clone()));
        let name = path.display().to_string();
        self.hash_part(name.as_bytes());
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let place = place.unwrap_or_else(|| Place::new(&Source::unread(&name), 0..0));
                let message = format!("cannot read {}: {}", quoted(&name), reason(&error));
                self.notes.add(Problem::error(place, message));
                return self.notes.mark_broken();
            }
        };
        self.hash_part(&bytes);
        let source = Source::new(&name, String::from_utf8_lossy(&bytes));
        if let Err(error) = std::str::from_utf8(&bytes) {
            let at = error.valid_up_to();
            let message = format!("the file is not UTF-8: byte {at} begins no character");
            let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
            let at = at.saturating_sub(mark);
            self.notes.add(Problem::error(Place::new(&source, at..at), message));
            return self.notes.mark_broken();
        }
        let document = Document::read(&source, self.variables, self.notes);
        let wanted = self.wanted(&document, parent(path));
        self.documents.push(document);
        for (path, place) in wanted {
            self.include(&path, place, depth);
        }
    }

    /// Length first, so that no two lists of parts look the same.
    fn hash_part(&mut self, bytes: &[u8]) {
        self.hasher.write_usize(bytes.len());
        self.hasher.write(bytes);
    }

    fn watch(&mut self, directory: &Path) {
        if !self.directories.iter().any(|known| known == directory) {
            self.directories.push(directory.to_owned());
        }
    }

    fn include(&mut self, path: &Path, place: Place, depth: usize) {
        let name = quoted(&path.display().to_string());
        let twice = self.seen.iter().find(|(seen, _)| *seen == canonical(path));
        let problem = match twice {
            Some((_, Some(first))) => {
                let problem = Problem::error(place, format!("{name} is included twice"));
                problem.related(first.clone(), "first included here")
            }
            Some((_, None)) => Problem::error(place, format!("{name} includes itself"))
                .help("write a pattern that does not match the file: \"conf.d/*.toml\""),
            None if depth == 0 => {
                Problem::error(place, format!("{name} is included more than {DEPTH} files deep"))
            }
            None if self.paths.len() >= FILES => {
                Problem::error(place, format!("more than {FILES} files are included"))
            }
            None => return self.read(path, Some(place), depth - 1),
        };
        self.notes.add(problem);
    }

    /// The paths that a document wants, in the order of the patterns and then of the names.
    fn wanted(&mut self, document: &Document, base: &Path) -> Vec<(PathBuf, Place)> {
        let mut all = Vec::new();
        let include = document.table.find("include");
        for item in include.into_iter().flat_map(|entry| Item::of(document, entry).each()) {
            let place = item.place();
            let Some(pattern) = item.text() else {
                note_not_path(item.node, place, self.notes);
                continue;
            };
            match self.matching(&base.join(pattern)) {
                Ok(paths) => all.extend(paths.into_iter().map(|path| (path, place.clone()))),
                Err(reason) => {
                    let message = format!("cannot include {}: {reason}", quoted(pattern));
                    self.notes.add(Problem::error(place, message));
                }
            }
        }
        all
    }

    /// The files that `pattern` means, by name. A pattern may match none; a plain path must exist.
    fn matching(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let wild = |part: &OsStr| part.to_string_lossy().contains(['*', '?', '[']);
        let directory = parent(pattern);
        let Some(name) = pattern.file_name().filter(|name| wild(name)) else {
            return Ok(vec![pattern.to_owned()]);
        };
        let name = glob::Pattern::new(&name.to_string_lossy()).map_err(|error| error.msg)?;
        self.watch(directory);
        let hidden = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return Err(format!("{}: {}", directory.display(), reason(&error))),
        };
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        let matches = |file: &std::ffi::OsString| {
            file.to_str().is_some_and(|file| name.matches_with(file, hidden))
        };
        let mut paths: Vec<PathBuf> =
            names.filter(matches).map(|name| directory.join(name)).collect();
        paths.sort_unstable();
        Ok(paths)
    }
}

/// How deep the file that is loaded may include.
pub(super) const fn depth() -> usize {
    DEPTH
}

/// Notes that a text that is no file wants to include one.
pub(super) fn refuse(document: &Document, notes: &Notes) {
    let include = document.table.find("include").map(|entry| Item::of(document, entry));
    for item in include.into_iter().flat_map(Item::each) {
        notes.add(Problem::error(item.place(), "only a file can include others"));
    }
}

fn note_not_path(node: &Node, place: Place, notes: &Notes) {
    let what = match node.value {
        Value::Table(_) => "a table",
        _ => node.kind(),
    };
    let message = format!("`include` must be a list of paths, not {what}");
    notes.add(Problem::error(place, message).help("write [\"conf.d/*.toml\"]"));
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Reads at most [`FILE_BYTES`]. What is no regular file (a pipe from a shell) is read to its end too.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match u64::try_from(read).is_ok_and(|read| read <= FILE_BYTES) {
        true => Ok(bytes),
        false => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is over 16 MiB")),
    }
}

/// The reason without "(os error 2)", in lower case.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
