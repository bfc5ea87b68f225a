//! Backends that were left out for what their sessions met, and are used again: each is told of once,
//! though nobody may come to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::model::Model;
use crate::worker::tell_of_return;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at every pool until it is dropped.
pub(super) async fn watch(model: Arc<Model>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now = model.age(Instant::now());
        for view in model.snapshot.load().pools.values() {
            view.tell_of_returns(now, |backend, ejection, how| {
                tell_of_return(&view.pool.name, backend, ejection, how);
            });
        }
    }
}
