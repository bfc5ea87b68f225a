//! `exec`: a backend is healthy when a program says so, by its exit status.
//!
//! The program runs in a process group of its own, which is killed when the probe's time is over or the
//! probe is not wanted any more.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::task::Poll;

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::net::unix::pipe::{Receiver, pipe};
use tokio::process::{Child, Command};

use super::said::first_line;
use crate::net::Address;
use crate::plugin::{Measuring, Options, Probe, Problem, Target};

/// Bytes of its output that are kept; the rest is read and forgotten.
const KEPT: usize = 4 << 10;

/// Bytes of its output that are read once it has ended: what a pipe holds.
const LEFT: usize = 64 << 10;

/// `{ exec = { program = "/usr/local/bin/is-primary", arguments = ["--fast"] } }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exec {
    program: PathBuf,
    #[serde(default)]
    arguments: Vec<String>,
}

impl Exec {
    pub(super) fn from_options(options: &Options) -> Result<Self, Vec<Problem>> {
        let mut probe: Self = options.read()?;
        let bad = |key, message: String| vec![options.problem_at(key, message)];
        if probe.arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("arguments", "an argument has a zero in it".to_owned()));
        }
        probe.program = find(&probe.program).map_err(|message| bad("program", message))?;
        Ok(probe)
    }

    async fn ask(&self, target: &Target) -> Result<(), String> {
        target.wait_for("its start");
        let (sender, receiver) = pipe().map_err(|error| self.cannot_start(&error))?;
        let output = sender.into_blocking_fd().map_err(|error| self.cannot_start(&error))?;
        let errors = output.try_clone().map_err(|error| self.cannot_start(&error))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        tell_address(&mut command, &target.address);
        // Starting waits for the disk that the program is on.
        let start = tokio::task::spawn_blocking(move || command.spawn().map(Running));
        let running = start.await.map_err(io::Error::from).and_then(|started| started);
        let mut running = running.map_err(|error| self.cannot_start(&error))?;
        let mut output = Output { receiver, kept: Vec::new() };
        let status = output.of(&mut running, target).await;
        judge(status.map_err(|error| error.to_string())?, &output)
    }

    fn cannot_start(&self, error: &io::Error) -> String {
        format!("cannot start {}: {}", self.program.display(), super::tcp::say(error))
    }
}

impl Probe for Exec {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        Box::pin(self.ask(target))
    }
}

/// Where the program is, if it is there and may be executed.
fn find(program: &Path) -> Result<PathBuf, String> {
    let shown = program.display();
    let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.is_absolute() {
        let found = program.to_owned();
        return match (is_program(&found), found.exists()) {
            (true, _) => Ok(found),
            (false, true) => Err(format!("`{shown}` cannot be executed")),
            (false, false) => Err(format!("there is no program `{shown}`")),
        };
    }
    if program.components().count() != 1 {
        return Err(format!(
            "`{shown}` is neither an absolute path nor a name to be found in PATH"
        ));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|place| place.join(program)).find(is_program);
    found.ok_or_else(|| format!("there is no program `{shown}` in PATH"))
}

/// Says in the environment what is to be measured.
fn tell_address(command: &mut Command, address: &Address) {
    command.env("FOREBAY_ADDRESS", address.to_string());
    match address {
        Address::Tcp(address) => {
            command.env("FOREBAY_HOST", address.ip().to_string());
            command.env("FOREBAY_PORT", address.port().to_string());
        }
        Address::Unix(path) => {
            command.env("FOREBAY_HOST", path).env_remove("FOREBAY_PORT");
        }
    }
}

fn judge(status: ExitStatus, output: &Output) -> Result<(), String> {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    };
    Err(format!("{how}{output}"))
}

/// A program that is killed with all its children when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // As long as it was not waited for, its number is not another's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // Children of its own that left the group are not ours to find.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// What a program says, on standard output and standard error.
struct Output {
    receiver: Receiver,
    kept: Vec<u8>,
}

impl Output {
    /// Reads it until the program has ended, whoever else may hold the pipe then.
    async fn of(&mut self, running: &mut Running, target: &Target) -> io::Result<ExitStatus> {
        let status = {
            let mut reading = std::pin::pin!(self.read(target));
            let mut ending = std::pin::pin!(running.0.wait());
            std::future::poll_fn(|context| {
                let Poll::Pending = reading.as_mut().poll(context);
                ending.as_mut().poll(context)
            })
            .await?
        };
        let mut piece = [0; 1024];
        let mut left = LEFT;
        while let Ok(count @ 1..) = self.receiver.try_read(&mut piece) {
            self.keep(piece.get(..count).unwrap_or_default());
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
        Ok(status)
    }

    /// Never ends.
    async fn read(&mut self, target: &Target) -> std::convert::Infallible {
        target.wait_for("its exit");
        let mut piece = [0; 1024];
        while self.receiver.readable().await.is_ok() {
            match self.receiver.try_read(&mut piece) {
                Ok(0) => break,
                Ok(count) if self.keep(piece.get(..count).unwrap_or_default()) => {
                    target.wait_for(format!("its exit{self}"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        std::future::pending().await
    }

    /// True exactly when there was room.
    fn keep(&mut self, piece: &[u8]) -> bool {
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(piece.iter().take(room));
        room > 0
    }
}

/// Its first line after a colon; nothing if it has said nothing.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match first_line(&self.kept) {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}
