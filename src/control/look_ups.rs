//! Names that are looked up again and again, each by a task of its own on the control thread.
//!
//! A name that cannot be looked up keeps its last good answer, or is out of rotation. That is told
//! once when it begins, and once when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::events::Event;
use super::plant::Plant;
use super::resolve::{self, AT_ONCE, How};
use crate::model::{Resolved, Wanted};
use crate::plugin::{Answer, Problem, Provider};

/// However short-lived an answer says it is, and however long.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(3600);

/// Every name of the file with its task.
pub(super) struct LookUps {
    tasks: BTreeMap<Wanted, (How, AbortHandle)>,
    /// What is known; those that are not in it were told of as unknown.
    resolved: Resolved,
    /// Those whose answer is an old one.
    failing: BTreeSet<Wanted>,
    at_once: Arc<Semaphore>,
    runtime: Handle,
    events: UnboundedSender<Event>,
}

/// What one task needs.
struct LookUp {
    wanted: Wanted,
    provider: Arc<dyn Provider>,
    interval: Duration,
    /// When it is asked again after an answer; after a failure it is no later.
    usual: Duration,
    at_once: Arc<Semaphore>,
    events: UnboundedSender<Event>,
}

impl LookUps {
    /// Of no name yet. The tasks are to run on `runtime`, and tell `events`.
    pub(super) fn new(runtime: Handle, events: UnboundedSender<Event>) -> Self {
        Self {
            tasks: BTreeMap::new(),
            resolved: Resolved::new(),
            failing: BTreeSet::new(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            runtime,
            events,
        }
    }

    /// Looks up the names of the file, and no others. What is asked as before goes on undisturbed.
    pub(super) fn follow(&mut self, plant: &Plant) {
        self.resolved = plant.resolved().clone();
        let mut before = std::mem::take(&mut self.tasks);
        for (wanted, how) in resolve::wanted(plant.config()) {
            let task = match before.remove(&wanted) {
                Some((same, task)) if same == how => Some((how, task)),
                other => match self.start(&wanted, &how, other.is_some(), plant) {
                    Some(new) => {
                        other.into_iter().for_each(|(_, task)| task.abort());
                        Some((how, new))
                    }
                    // Better asked as before than not at all.
                    None => other,
                },
            };
            self.tasks.extend(task.map(|task| (wanted, task)));
        }
        before.into_values().for_each(|(_, task)| task.abort());
        self.failing.retain(|wanted| self.tasks.contains_key(wanted));
    }

    fn start(
        &self,
        wanted: &Wanted,
        how: &How,
        changed: bool,
        plant: &Plant,
    ) -> Option<AbortHandle> {
        // It could be made when the file was checked; what it needs may be gone since.
        let tell = |problems: &Vec<Problem>| {
            let (pool, host) = (&*wanted.pool, wanted.question.name());
            for problem in problems {
                tracing::error!(pool, host, %problem, "cannot make the resolver: it is looked up as before");
            }
        };
        let made = plant.registry().build_provider(&how.resolver);
        let provider = made.inspect_err(tell).ok()?;
        let interval = how.interval;
        let usual = self.resolved.get(wanted).map(|answer| next(answer, interval));
        let first = match usual {
            // Whoever is asked now may know better at once.
            _ if changed => Duration::ZERO,
            Some(usual) => usual,
            None => interval.min(SOONEST),
        };
        let look_up = LookUp {
            wanted: wanted.clone(),
            provider,
            interval,
            usual: usual.unwrap_or(interval),
            at_once: Arc::clone(&self.at_once),
            events: self.events.clone(),
        };
        Some(self.runtime.spawn(look_up.go(first)).abort_handle())
    }

    /// Takes an answer in. Returns all that is known, if that has changed.
    pub(super) fn take(
        &mut self,
        wanted: Wanted,
        answer: Result<Answer, String>,
    ) -> Option<Resolved> {
        if !self.tasks.contains_key(&wanted) {
            // It came when nobody asked any more.
            return None;
        }
        let (pool, host) = (&*wanted.pool, wanted.question.name());
        let known = self.resolved.get(&wanted);
        let answer = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                // Of one that was never known the start has told.
                if known.is_some() && self.failing.insert(wanted.clone()) {
                    tracing::warn!(pool, host, reason, "cannot resolve; the last answer is kept");
                }
                return None;
            }
        };
        if self.failing.remove(&wanted) {
            tracing::info!(pool, host, "can be resolved again");
        }
        let changed = known.is_none_or(|known| known.found != answer.found);
        if changed {
            resolve::tell(&wanted, &answer);
        }
        self.resolved.insert(wanted, answer);
        changed.then(|| self.resolved.clone())
    }
}

/// When to ask again.
fn next(answer: &Answer, interval: Duration) -> Duration {
    answer.good_for.map_or(interval, |good| good.clamp(SOONEST, LATEST))
}

impl LookUp {
    async fn go(mut self, first: Duration) {
        let mut wait = first;
        loop {
            tokio::time::sleep(wait).await;
            // Look-ups that hang must not take every thread on which something may take its time.
            let Ok(turn) = self.at_once.acquire().await else { return };
            let answer = resolve::find(&*self.provider, &self.wanted.question).await;
            drop(turn);
            if let Ok(answer) = &answer {
                self.usual = next(answer, self.interval);
            }
            wait = if answer.is_ok() { self.usual } else { self.usual.min(self.interval) };
            if self.events.send(Event::LookedUp(self.wanted.clone(), answer)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
