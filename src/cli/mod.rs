//! The command line: arguments in, an exit code out.
//!
//! What was asked for goes to stdout, messages go to stderr, and every outcome becomes an exit code
//! in one place (`Exit`). Nothing here touches a socket of the data plane.

mod args;
mod check;
mod demo;
mod exit;
mod load;
mod log;
mod output;
mod ready;
mod replace;
mod run;
mod sandbox;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use args::{Arguments, Command};
use exit::Exit;

use crate::plugin::Registry;

/// Runs the program with these arguments, the first of which is its own name, and these plug-ins.
pub fn main(arguments: impl IntoIterator<Item = OsString>, registry: Registry) -> ExitCode {
    let parsed = Arguments::try_parse_from(arguments).and_then(Arguments::into_command);
    let exit = match parsed {
        Ok((command, log)) => dispatch(command, &log, registry),
        Err(usage) => explain(usage),
    };
    exit.into()
}

fn dispatch(command: Command, log: &args::LogArguments, registry: Registry) -> Exit {
    match command {
        Command::Run(arguments) => run::file(&arguments, log, registry),
        Command::Check(arguments) => check::run(&arguments, &registry),
        Command::Proxy(arguments) => run::proxy(&arguments, log, registry),
        Command::Demo(arguments) => demo::run(&arguments, log, registry),
    }
}

/// Help and version were asked for and go to stdout; the rest is wrong usage and goes to stderr.
fn explain(mut usage: clap::Error) -> Exit {
    if let Some(file) = stray_file(&usage) {
        let tip = format!("the file is named by an option: '-c {file}'");
        usage.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    let printed = usage.print();
    if usage.use_stderr() { Exit::Usage } else { Exit::from_answer(printed) }
}

/// A configuration file that stands where none is understood.
fn stray_file(usage: &clap::Error) -> Option<&str> {
    let kinds = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    kinds.into_iter().find_map(|kind| match usage.get(kind)? {
        ContextValue::String(word) => Some(&**word).filter(|word| word.ends_with(".toml")),
        _ => None,
    })
}
