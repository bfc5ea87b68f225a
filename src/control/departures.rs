//! Backends that are not to be used any more, and what becomes of their sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::Crew;
use crate::config::{OnRemove, Pool};
use crate::model::{Backend, Objects};
use crate::plugin::Cause;
use crate::worker::{Command, Whom};

/// Workers that end sessions are told again after this.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// Backends by their addresses in memory.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// Those that are not named any more.
    removed: HashMap<usize, Leaving>,
    /// Those that probes have found unhealthy.
    unhealthy: HashMap<usize, Leaving>,
}

impl Departures {
    /// Notes who is not named any more, by the policy of the pool: that of the last of `pools` that
    /// has it.
    pub(super) fn note(&mut self, objects: &Objects, pools: [&[Pool]; 2]) {
        let now = Instant::now();
        let policies: HashMap<&str, &OnRemove> =
            pools.into_iter().flatten().map(|pool| (&*pool.name, &pool.on_remove)).collect();
        let mut leaving = HashMap::new();
        for (pool, backend) in objects.departed() {
            let key = Arc::as_ptr(backend) as usize;
            // What was said when it left holds.
            let by_policy = || Some(Leaving::by(policies.get(&**pool)?, backend, now));
            let left = self.removed.remove(&key).or_else(by_policy);
            leaving.extend(left.map(|left| (key, left)));
        }
        // Who is named again stays.
        self.removed = leaving;
    }

    /// Notes what is to become of a backend's sessions for what probes have found: `None` is nothing.
    pub(super) fn note_health(&mut self, backend: &Arc<Backend>, policy: Option<&OnRemove>) {
        let key = Arc::as_ptr(backend) as usize;
        let Some(policy) = policy else { return drop(self.unhealthy.remove(&key)) };
        let leaving = || Leaving::by(policy, backend, Instant::now());
        self.unhealthy.entry(key).or_insert_with(leaving);
    }

    /// Ends sessions whose time is over, and forgets whom nobody uses.
    pub(super) fn tick(&mut self, now: Instant, crew: &Crew) {
        // Who is not probed any more is not known to be unhealthy.
        self.unhealthy.retain(|_, leaving| leaving.backend.health.is_unhealthy());
        let due = self.removed.iter_mut().chain(&mut self.unhealthy);
        let due = due.filter_map(|(key, leaving)| Some((*key, Arc::clone(leaving.due(now)?))));
        let due: HashMap<usize, Arc<Backend>> = due.collect();
        if !due.is_empty() {
            let sessions: u32 = due.values().map(|backend| backend.limit.current()).sum();
            let backends = due.len();
            tracing::info!(
                backends,
                sessions,
                "resetting sessions of backends that are removed or unhealthy"
            );
            let due = Arc::new(due);
            crew.command_all(|| Command::EndSessions(Whom::Of(Arc::clone(&due)), Cause::Ended));
        }
        self.removed.retain(|_, leaving| !leaving.is_over());
        self.unhealthy.retain(|_, leaving| !leaving.is_over());
    }

    /// How long until there is something to do; none if there is nobody.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let all = self.removed.values().chain(self.unhealthy.values());
        all.filter_map(|leaving| leaving.next(now)).min()
    }
}

/// A backend that is not to be used any more.
#[derive(Debug)]
struct Leaving {
    backend: Arc<Backend>,
    /// When its sessions are to end; never, if the pool keeps them.
    until: Option<Instant>,
    /// When workers were told to end them.
    told: Option<Instant>,
}

impl Leaving {
    /// By what the pool says of such backends.
    fn by(policy: &OnRemove, backend: &Arc<Backend>, now: Instant) -> Self {
        let until = match policy {
            OnRemove::Keep => None,
            OnRemove::Drain { timeout } => Some(now + *timeout),
            OnRemove::Close => Some(now),
        };
        Self { backend: Arc::clone(backend), until, told: None }
    }

    /// The backend if its sessions are to be ended now. Who was picking it when it was taken away may
    /// connect later, so workers are told again as long as there are any.
    fn due(&mut self, now: Instant) -> Option<&Arc<Backend>> {
        let due = self.until.is_some_and(|until| now >= until);
        let again = self.told.is_none_or(|told| now >= told + TELL_AGAIN);
        if !due || !again || self.backend.limit.current() == 0 {
            return None;
        }
        self.told = Some(now);
        Some(&self.backend)
    }

    /// How long until its sessions are to be ended.
    fn next(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }

    /// True exactly when nobody but the list of known objects has it: no session has it, and no
    /// snapshot of before from which it could be picked.
    fn is_over(&self) -> bool {
        Arc::strong_count(&self.backend) <= 2
    }
}
