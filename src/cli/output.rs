//! The only place that writes to stdout and stderr by hand: answers and messages.
//!
//! Answers report their errors, since a lost answer is a failure; messages do not, since there is
//! nowhere left to say so.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

/// Writes what was asked for to stdout, with a line end if it has none.
pub(super) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_lines(&mut out, text)?;
    out.flush()
}

/// Writes a message to stderr, with a line end if it has none.
pub(super) fn message(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody is left to hear that stderr is gone.
    drop(write_lines(&mut err, text));
}

/// Writes `error: text` to stderr.
pub(super) fn error(text: &str) {
    let (start, end) = if colour_on_stderr() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    message(&format!("{start}error{end}: {text}"));
}

/// True exactly when stderr shows colours: a terminal that can, and no NO_COLOR.
pub(super) fn colour_on_stderr() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// True exactly when stdout is a terminal whose lines may be drawn again, and no NO_COLOR.
pub(super) fn live_on_stdout() -> bool {
    io::stdout().is_terminal() && AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

fn write_lines(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if text.ends_with('\n') || text.is_empty() { Ok(()) } else { out.write_all(b"\n") }
}
