//! A reload: read the file again, take it into use as a whole or not at all, and say which.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;

use super::events::Event;
use super::plant::Plant;
use super::resolve::LookedUp;
use super::watch::Seen;
use super::{Bound, Failure, resolve};
use crate::config::{self, Loaded, Problem, Severity};
use crate::model::Resolved;
use crate::plugin::Registry;

/// Where the configuration came from, for a reload to read it again.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// What its content was when it was taken into use.
    pub hash: u128,
}

/// What came of a start or a reload.
#[derive(Debug)]
pub struct Report {
    /// The number of the snapshot that is in use.
    pub generation: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// Every address that is listened on.
    pub listening: Vec<Bound>,
}

/// What came of a start or a reload.
#[derive(Debug)]
pub enum Outcome {
    /// The process has started.
    Started,
    /// The file is in use; what has changed, in words.
    Applied(Vec<String>),
    /// The file says what runs already.
    Unchanged,
    /// Nothing has changed, and this is why.
    Refused(Vec<Problem>),
}

impl Report {
    pub(super) fn of(plant: &Plant, outcome: Outcome) -> Self {
        Self { generation: plant.generation(), outcome, listening: plant.bound() }
    }
}

/// Told of each start and reload, on the control thread.
pub type OnReload = Box<dyn FnMut(&Report) + Send>;

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// SIGHUP
    Signal,
    /// The file, or one that it includes, has changed.
    File,
}

/// A file that was read again.
#[derive(Debug)]
pub(super) struct Read {
    trigger: Trigger,
    loaded: Loaded,
    /// What is to be watched.
    pub(super) seen: Seen,
    /// What plug-ins find wrong.
    wrong: Vec<Problem>,
    /// What came of names that were not known.
    looked_up: LookedUp,
    /// How long that took.
    took: Duration,
}

impl Read {
    /// Reads and checks the file, and looks up host names that are not `known`.
    fn from_disk(trigger: Trigger, path: &Path, registry: &Registry, known: &Resolved) -> Self {
        let began = Instant::now();
        let loaded = config::load(path, &config::environment);
        let wrong = registry.check(&loaded.choices);
        let looked_up = match &loaded.config {
            Ok(config) if wrong.is_empty() => resolve::unknown(config, registry, known),
            Ok(_) | Err(_) => LookedUp::default(),
        };
        let seen = Seen::of(&loaded);
        Self { trigger, loaded, seen, wrong, looked_up, took: began.elapsed() }
    }
}

/// What is known of reloads under way.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    reading: bool,
    /// What asked for another one meanwhile.
    again: Option<Trigger>,
    /// The content that was refused last; it is not tried again because of the file alone.
    refused: Option<u128>,
}

impl Reloads {
    /// Begins to read the file, on a thread where that may take its time.
    pub(super) fn ask(
        &mut self,
        trigger: Trigger,
        plant: &Plant,
        runtime: &Runtime,
        events: &UnboundedSender<Event>,
    ) {
        let Some(origin) = plant.origin() else {
            return tracing::info!("nothing to reload: there is no file");
        };
        if self.reading {
            // A signal is owed an answer, whatever the file does.
            let signal = self.again == Some(Trigger::Signal);
            self.again = Some(if signal { Trigger::Signal } else { trigger });
            return;
        }
        self.reading = true;
        let path = origin.path.clone();
        let (registry, known) = (Arc::clone(plant.registry()), plant.resolved().clone());
        let events = events.clone();
        runtime.spawn(async move {
            let read = move || Read::from_disk(trigger, &path, &registry, &known);
            let read = tokio::task::spawn_blocking(read).await.ok().map(Box::new);
            // Without control there is nobody to reload.
            let _ = events.send(Event::Read(read));
        });
    }

    /// A fault ended the reading. Returns what to tell of it, and what asked for another reload
    /// meanwhile.
    pub(super) fn lose(&mut self, plant: &Plant) -> (Report, Option<Trigger>) {
        self.reading = false;
        let problem = Problem::error(None, "a fault while the file was read");
        let report = Report::of(plant, Outcome::Refused(vec![problem]));
        log(&report, Duration::ZERO, Duration::ZERO);
        (report, self.again.take())
    }

    /// Takes what was read into use. Returns what to tell of it, if anything, and what asked for
    /// another reload meanwhile.
    pub(super) fn take(
        &mut self,
        read: Read,
        plant: &mut Plant,
    ) -> (Option<Report>, Option<Trigger>) {
        self.reading = false;
        let again = self.again.take();
        let (trigger, hash) = (read.trigger, read.loaded.hash);
        let known = plant.origin().is_some_and(|origin| origin.hash == hash);
        if trigger == Trigger::File && self.refused == Some(hash) {
            return (None, again);
        }
        if trigger == Trigger::File && known {
            // The file of before is back in place of one that was refused, or nothing was changed.
            let report = self.refused.take().map(|_| Report::of(plant, Outcome::Unchanged));
            return (report, again);
        }
        let (read_in, began) = (read.took, Instant::now());
        let outcome = apply(read, plant);
        self.refused = None;
        match &outcome {
            Outcome::Refused(_) => self.refused = Some(hash),
            Outcome::Started | Outcome::Applied(_) | Outcome::Unchanged => plant.came_from(hash),
        }
        let applied_in = began.elapsed();
        let report = Report::of(plant, outcome);
        log(&report, read_in, applied_in);
        (Some(report), again)
    }
}

fn apply(read: Read, plant: &mut Plant) -> Outcome {
    let Read { loaded, wrong, looked_up, .. } = read;
    let config = match loaded.config {
        Ok(config) if wrong.is_empty() => config,
        Ok(_) => return Outcome::Refused(wrong),
        Err(problems) => return Outcome::Refused(problems.iter().cloned().chain(wrong).collect()),
    };
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    match plant.reload(config, looked_up) {
        Ok(changes) if changes.is_empty() => Outcome::Unchanged,
        Ok(changes) => Outcome::Applied(changes),
        Err(failure) => Outcome::Refused(problems(failure)),
    }
}

fn problems(failure: Failure) -> Vec<Problem> {
    let unplaced = |text: String| Problem::error(None, text);
    match failure {
        Failure::Plugin(problems) | Failure::Upstream(problems) => problems,
        Failure::Listen(refusals) => {
            refusals.iter().map(|refusal| unplaced(refusal.to_string())).collect()
        }
        failure @ Failure::System { .. } => vec![unplaced(failure.to_string())],
    }
}

fn log(report: &Report, read_in: Duration, applied_in: Duration) {
    let Report { generation, outcome, .. } = report;
    match outcome {
        Outcome::Started => {}
        Outcome::Applied(changes) => {
            tracing::info!(generation, changes = changes.len(), ?read_in, ?applied_in, "reloaded");
        }
        Outcome::Unchanged => tracing::info!(generation, "nothing to reload: no change"),
        Outcome::Refused(problems) => {
            for problem in problems {
                match problem.severity {
                    Severity::Error => tracing::error!("{problem}"),
                    Severity::Warning => tracing::warn!("{problem}"),
                }
            }
            tracing::error!(generation, "reload refused: nothing has changed");
        }
    }
}
