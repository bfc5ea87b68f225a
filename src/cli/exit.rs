//! What a command came to, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use super::output;

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did what was asked; a stop by signal is one of those ends.
    Success,
    /// It failed while it ran.
    Failure,
    /// The arguments make no sense.
    Usage,
    /// The configuration is invalid. EX_CONFIG of sysexits(3), so that a service manager can tell
    /// it from a crash and does not start the program again and again.
    Configuration,
}

impl Exit {
    /// The outcome of printing what was asked for. A reader that has gone away (`… | head`) has
    /// seen enough; a full disk has not taken the answer.
    pub(super) fn from_answer(printed: io::Result<()>) -> Self {
        match printed {
            Ok(()) => Self::Success,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::Success,
            Err(error) => {
                output::error(&format!("cannot write to standard output: {error}"));
                Self::Failure
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Configuration => 78,
        })
    }
}
