//! `demo`: three small backends and Forebay in front of them, in one process, to play with.
//!
//! ```text
//!   control thread ──ready, sessions──┐
//!   keyboard thread ──────lines───────┼──► Stage::play, which owns backends and board
//!   drive thread ──turns, notes───────┘
//! ```
//!
//! Everything on screen comes from what really happened: backends are real sockets, and the board
//! is fed by the same observer that anybody may plug in.

mod backend;
mod board;
mod drive;
mod keys;
mod speak;
mod stage;
mod told;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::args::{DemoArguments, LogArguments};
use super::exit::Exit;
use super::log::{Filter, Log};
use super::{load, output};
use crate::control::{self, OnReady, Start};
use crate::plugin::Registry;
use backend::Backend;
use drive::Tally;
use stage::Stage;
use told::{Ended, Teller};

/// How many backends there are.
const BACKENDS: usize = 3;
/// Events that wait for the stage; sessions beyond that are not shown.
const EVENTS: usize = 4096;
/// Forebay listens within this time, or something is wrong.
const START: Duration = Duration::from_secs(10);

/// What the stage is told.
enum Event {
    /// Forebay listens at this address.
    Ready(String),
    /// A session has ended.
    Ended(Ended),
    /// Somebody typed this line.
    Typed(String),
    /// Stop the backend of this index if it serves, else start it; then say so to `done`.
    Turn { backend: usize, done: SyncSender<()> },
    /// To be shown.
    Note(String),
    /// The script of `--drive` is through.
    Driven(Tally),
    /// Forebay has ended.
    Over(Result<(), String>),
}

/// `forebay demo`
pub(super) fn run(arguments: &DemoArguments, log: &LogArguments, registry: Registry) -> Exit {
    // Sessions are on the board already; only what goes wrong is worth a log line.
    let played = Log::start(log, Filter::level(LevelFilter::WARN))
        .map_err(|error| format!("cannot start the log: {error}"))
        .and_then(|_log| play(arguments, registry));
    played.unwrap_or_else(|cause| {
        output::error(&format!("the demo ends: {cause}"));
        Exit::Failure
    })
}

fn play(arguments: &DemoArguments, registry: Registry) -> Result<Exit, String> {
    let backends: io::Result<Vec<_>> = (1..=BACKENDS).map(Backend::start).collect();
    let backends = backends.map_err(|error| format!("cannot start a backend: {error}"))?;
    let (sender, events) = sync_channel(EVENTS);
    start_forebay(&backends, &sender, registry)?;
    let address = await_ready(&events)?;
    keys::watch(&sender).map_err(|error| format!("cannot read the keyboard: {error}"))?;
    if arguments.drive {
        drive::start(&address, &sender).map_err(|error| format!("cannot drive: {error}"))?;
    }
    Stage::new(backends, address, arguments.drive).play(&events, arguments.bound)
}

/// The file of the demo.
fn file(backends: &[Backend]) -> String {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address().to_string()).collect();
    format!(
        "[shutdown]\ntimeout = \"1s\"\n\n\
         [listener.demo]\naddress = \"127.0.0.1:0\"\npool = \"demo\"\n\n\
         [pool.demo]\nbackends = {addresses:?}\nconnect = {{ timeout = \"1s\" }}\n"
    )
}

fn start_forebay(
    backends: &[Backend],
    events: &SyncSender<Event>,
    mut registry: Registry,
) -> Result<(), String> {
    let loaded = load::text("demo.toml", &file(backends), &registry);
    let Some(config) = loaded.config else { return Err(loaded.findings.report(false)) };
    let (ready, sessions, over) = (events.clone(), events.clone(), events.clone());
    registry.observer(Teller(move |ended| match sessions.try_send(Event::Ended(ended)) {
        // Whoever looks has fallen behind, or has left: Forebay does not wait for them.
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }));
    let ready: OnReady = Box::new(move |bound| {
        let address = bound.first().map(|bound| bound.address.to_string()).unwrap_or_default();
        ready.send(Event::Ready(address)).map_err(io::Error::other)
    });
    let start = Start { config, origin: None, registry, ready: Some(ready), reloaded: None };
    let run = move || control::run(start).map_err(|failure| failure.to_string());
    let control = move || drop(over.send(Event::Over(run())));
    std::thread::Builder::new()
        .name("control".into())
        .spawn(control)
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(())
}

fn await_ready(events: &Receiver<Event>) -> Result<String, String> {
    match events.recv_timeout(START) {
        Ok(Event::Ready(address)) => Ok(address),
        Ok(Event::Over(Err(cause))) => Err(cause),
        _ => Err("forebay did not start to listen".into()),
    }
}
