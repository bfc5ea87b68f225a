//! Problems as a person reads them: the line, a caret, what is allowed.
//!
//! Whatever the file says, no control character but the end of a line reaches the terminal, other
//! than those that colour the report.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::problem::{Problem, Severity};
use super::problems::Problems;
use super::source::Place;
use super::suggest::on_one_line;

/// A longer line is not shown; the position has to do.
const SHOWN_LINE: usize = 4096;
/// Places of one problem that are further apart are shown apart.
const SHOWN_LINES: usize = 200;

/// All problems in the manner of rustc, and a line that counts them.
pub fn render(problems: &Problems, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for problem in problems {
        out.push_str(&renderer.render(&[group(problem)]));
        out.push_str("\n\n");
    }
    if !problems.is_empty() {
        out.push_str(&problems.summary());
        out.push('\n');
    }
    out
}

fn group(problem: &Problem) -> Group<'_> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(on_one_line(&problem.message)));
    for snippet in snippets(problem) {
        group = match snippet.excerpt() {
            Some(excerpt) => group.element(excerpt),
            None => group.element(snippet.origin()),
        };
    }
    for help in &problem.help {
        group = group.element(Level::HELP.message(on_its_lines(help)));
    }
    group
}

/// A help may have several lines.
fn on_its_lines(help: &str) -> String {
    help.split('\n').map(on_one_line).collect::<Vec<_>>().join("\n")
}

/// The text of a file as it is shown. The renderer makes the control characters of ASCII visible; it
/// leaves those beyond, of which U+009B means what ESC and a bracket do.
fn shown(text: &str) -> Cow<'_, str> {
    let raw = |letter: char| letter.is_control() && !letter.is_ascii();
    match text.contains(raw) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace(raw, "\u{fffd}")),
    }
}

/// Places that are shown as one piece of text.
struct Piece<'a> {
    marks: Vec<Mark<'a>>,
}

struct Mark<'a> {
    kind: AnnotationKind,
    place: &'a Place,
    label: Option<&'a str>,
}

fn snippets(problem: &Problem) -> Vec<Piece<'_>> {
    let label = problem.label.as_deref();
    let primary = problem.place.iter().map(|place| (AnnotationKind::Primary, place, label));
    let related = problem.related.iter();
    let related = related.map(|it| (AnnotationKind::Context, &it.place, Some(it.label.as_str())));
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (kind, place, label) in primary.chain(related) {
        let mark = Mark { kind, place, label };
        match pieces.iter_mut().find(|piece| piece.is_near(place)) {
            Some(piece) => piece.marks.push(mark),
            None => pieces.push(Piece { marks: vec![mark] }),
        }
    }
    pieces
}

impl<'a> Piece<'a> {
    fn is_near(&self, place: &Place) -> bool {
        let line = |place: &Place| place.source().line_of(place.span().start);
        self.marks.iter().all(|mark| {
            let same = mark.place.source().name() == place.source().name();
            same && line(mark.place).abs_diff(line(place)) < SHOWN_LINES
        })
    }

    /// The lines with their carets; none if there are none to show.
    fn excerpt(&self) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let source = self.marks.first()?.place.source();
        let lines = self.marks.iter().map(|mark| source.line_of(mark.place.span().start));
        let (first, last) = (lines.clone().min()?, lines.max()?);
        let long = (first..=last).any(|line| source.line_span(line).len() > SHOWN_LINE);
        if source.text().is_empty() || long {
            return None;
        }
        let (start, end) = (source.line_start(first), source.line_span(last).end);
        let text = source.text().get(start..end)?;
        let path = on_one_line(source.name());
        let mut snippet = Snippet::source(shown(text)).path(path).line_start(first);
        let offset = |at: usize| shown(text.get(..at - start).unwrap_or_default()).len();
        for mark in &self.marks {
            let span = mark.place.span();
            // A value over several lines is marked at its first.
            let line = source.line_span(source.line_of(span.start));
            let span = offset(span.start)..offset(span.end.min(line.end).max(span.start));
            let label = mark.label.map(on_one_line);
            snippet = snippet.annotation(mark.kind.span(span).label(label));
        }
        Some(snippet)
    }

    fn origin(&self) -> Origin<'a> {
        let Some(mark) = self.marks.first() else { return Origin::path("") };
        let origin = Origin::path(on_one_line(mark.place.source().name()));
        match mark.place.source().text().is_empty() {
            true => origin,
            false => {
                let position = mark.place.position();
                origin.line(position.line).char_column(position.column)
            }
        }
    }
}
