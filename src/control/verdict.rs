//! What follows from the health of backends: a line in the log, their sessions' fate, and panic.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::departures::Departures;
use crate::config::{Config, Pool};
use crate::health::Changed;
use crate::model::{Backend, Model, PoolView};

/// Tells of the change, looks at the whole pool, and decides about the sessions.
pub(super) fn act_on(
    changed: &Changed,
    config: &Config,
    model: &Model,
    departures: &mut Departures,
) {
    let snapshot = model.snapshot.load();
    let Some(view) = snapshot.pools.get(&changed.pool) else { return };
    let Some(pool) = config.pools.iter().find(|pool| pool.name == changed.pool) else { return };
    tell(changed, view);
    judge(pool, view, departures);
    decide(&changed.backend, pool, view, departures);
}

/// Looks at every pool: its backends, or what the file says of panic, may be others now.
pub(super) fn judge_all(config: &Config, model: &Model, departures: &mut Departures) {
    let snapshot = model.snapshot.load();
    for pool in &config.pools {
        let view = snapshot.pools.get(&pool.name);
        view.into_iter().for_each(|view| judge(pool, view, departures));
    }
}

fn tell(changed: &Changed, view: &PoolView) {
    let Changed { pool, backend } = changed;
    let Some(state) = backend.health.record().state else { return };
    let (pool, name, reason) = (&**pool, &*backend.name, state.reason);
    let after = state.after.map(tracing::field::debug);
    let others = view.members.iter().filter(|it| !Arc::ptr_eq(&it.backend, backend));
    let last = !others.into_iter().any(|it| it.is_wanted() && !it.backend.health.is_unhealthy());
    match state.healthy {
        true if state.after.is_none() => {
            tracing::debug!(pool, backend = name, "backend is healthy")
        }
        true => tracing::info!(pool, backend = name, after, "backend is healthy"),
        false if last => {
            tracing::error!(pool, backend = name, after, reason, "the last backend is unhealthy");
        }
        false => tracing::info!(pool, backend = name, after, reason, "backend is unhealthy"),
    }
}

/// Looks whether health counts.
fn judge(pool: &Pool, view: &PoolView, departures: &mut Departures) {
    // Who waits for room may find it where there was none.
    view.pool.queue.room(usize::MAX);
    let panics = view.is_below(pool.panic_threshold);
    if view.pool.panicking.swap(panics, Relaxed) == panics {
        return;
    }
    let (name, threshold) = (&*pool.name, pool.panic_threshold);
    match panics {
        true => tracing::warn!(pool = name, threshold, "too few healthy backends: all are used"),
        false => tracing::info!(pool = name, threshold, "enough backends are healthy"),
    }
    view.members.iter().for_each(|member| decide(&member.backend, pool, view, departures));
}

/// Decides about a backend's sessions. While health does not count, nobody's are ended for it.
fn decide(backend: &Arc<Backend>, pool: &Pool, view: &PoolView, departures: &mut Departures) {
    let counts = backend.health.is_unhealthy() && !view.pool.panicking.load(Relaxed);
    departures.note_health(backend, counts.then_some(&pool.on_unhealthy));
}
