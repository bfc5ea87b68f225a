//! A text that was read, and places in it.
//!
//! Lines and columns count from 1; a column counts characters, as editors do.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::suggest::on_one_line;

/// A text and the name that messages call it by.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: Option<String>,
    /// Offset of the first byte of every line.
    lines: Vec<usize>,
}

/// What some editors begin a file with.
const MARK: char = '\u{feff}';

impl Source {
    /// A text that was read. A byte order mark is dropped, for no editor counts it as a column.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let mut text = text.into();
        if text.starts_with(MARK) {
            text.drain(..MARK.len_utf8());
        }
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Arc::new(Self { name: name.into(), text: Some(text), lines })
    }

    /// A file that could not be read.
    pub(super) fn unread(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: None, lines: vec![0] })
    }

    /// What messages call it: the path as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text; empty if it could not be read.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// True exactly when the text was read.
    pub fn was_read(&self) -> bool {
        self.text.is_some()
    }

    /// Line and column of a byte offset; one beyond the end counts as the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = floor(self.text(), offset);
        let line = self.line_of(offset);
        let start = self.line_start(line);
        let before = self.text().get(start..offset).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }

    /// The line of a byte offset, without the cost of its column.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Offset of the first byte of `line`, which counts from 1.
    pub(super) fn line_start(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text().len())
    }

    /// The span of `line` without its end of line.
    pub(super) fn line_span(&self, line: usize) -> Range<usize> {
        let span = self.line_start(line)..self.line_start(line + 1);
        let text = self.text().get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end_matches(['\r', '\n']).len()
    }
}

/// The last character boundary that is not beyond `offset`.
pub(super) fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Where in a text something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// A span of one source.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// The bytes `span` of `source`; what lies beyond its end is cut off.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let start = floor(source.text(), span.start);
        let end = floor(source.text(), span.end).max(start);
        Self { source: Arc::clone(source), span: start..end }
    }

    /// The text that it is in.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Bytes of the text, on character boundaries; empty means the point before the next byte.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Line and column of its start.
    pub fn position(&self) -> Position {
        self.source.position(self.span.start)
    }

    /// The text that stands there.
    pub fn text(&self) -> &str {
        self.source.text().get(self.span.clone()).unwrap_or_default()
    }

    /// The text without the quotes around it.
    pub(super) fn text_inside(&self) -> &str {
        self.text().trim_matches(['"', '\''])
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position();
        let name = on_one_line(&self.source.name);
        match self.source.was_read() {
            true => write!(out, "{name}:{line}:{column}"),
            false => write!(out, "{name}"),
        }
    }
}

/// Short, for a place carries its whole text.
impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Place({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_with_newline() {
        let source = Source::new("x", "a\r\nüö = 1\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 2, column: 1 });
        assert_eq!(source.position(7), Position { line: 2, column: 3 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
        assert_eq!(&source.text()[source.line_span(1)], "a");
        assert_eq!(&source.text()[source.line_span(2)], "üö = 1");
    }

    #[test]
    fn place_stays_on_character_boundaries() {
        let source = Source::new("x", "ü");
        assert_eq!(Place::new(&source, 1..9).span(), 0..2);
        assert_eq!(Place::new(&source, 7..9).span(), 2..2);
    }
}
