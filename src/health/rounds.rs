//! When each backend is probed: a task for each, spread over the interval.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{BackendPort, Config, ProbeSettings, State};
use crate::model::{Backend, Endpoint, Model, PoolView};
use crate::net::Address;
use crate::plugin::{Probe, Problem, Registry, Target};

/// Probes that there may be at once, for each has a descriptor.
const AT_ONCE: usize = 1000;

/// The first probes of a pool are spread over this, or over its interval if that is less.
const START: Duration = Duration::from_secs(1);

/// A backend of which the state has changed.
#[derive(Debug)]
pub struct Changed {
    /// The name of its pool.
    pub pool: Arc<str>,
    /// The backend, which knows its state.
    pub backend: Arc<Backend>,
}

/// Told of every change, on the control thread.
pub type OnChange = Arc<dyn Fn(Changed) + Send + Sync>;

/// Every probed backend with its task.
pub struct Rounds {
    /// By the addresses of the backends in memory.
    tasks: HashMap<usize, Task>,
    model: Arc<Model>,
    tell: OnChange,
    runtime: Handle,
    at_once: Arc<Semaphore>,
}

struct Task {
    backend: Weak<Backend>,
    settings: ProbeSettings,
    probe: Arc<dyn Probe>,
    handle: AbortHandle,
}

/// What one task needs.
struct Round {
    pool: Arc<str>,
    backend: Weak<Backend>,
    address: Address,
    settings: ProbeSettings,
    probe: Arc<dyn Probe>,
    model: Arc<Model>,
    tell: OnChange,
    at_once: Arc<Semaphore>,
}

impl Rounds {
    /// Of no backend yet. The tasks are to run on `runtime`.
    pub fn new(model: Arc<Model>, tell: OnChange, runtime: Handle) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { tasks: HashMap::new(), model, tell, runtime, at_once }
    }

    /// Probes what `config` and the snapshot of now name, and nothing else. What is probed in the same
    /// way as before goes on undisturbed.
    pub fn follow(&mut self, config: &Config, registry: &Registry) {
        let snapshot = self.model.snapshot.load_full();
        let mut before = std::mem::take(&mut self.tasks);
        for pool in &config.pools {
            let (Some(settings), Some(view)) = (&pool.probe, snapshot.pools.get(&pool.name)) else {
                continue;
            };
            let probe = probe_of(view, settings, &before, registry);
            for member in view.members.iter().filter(|member| member.state != State::Maint) {
                let key = key(&member.backend);
                let task = match (before.remove(&key), &probe) {
                    (Some(task), _) if task.settings == *settings => Some(task),
                    // Better measured as before than not at all.
                    (task, None) => task,
                    (task, Some(probe)) => {
                        let new = self.start(settings, view, &member.backend, probe);
                        task.into_iter().for_each(|task| task.make_way(new.is_some()));
                        new
                    }
                };
                self.tasks.extend(task.map(|task| (key, task)));
            }
        }
        before.into_values().for_each(Task::stop);
    }

    fn start(
        &self,
        settings: &ProbeSettings,
        view: &PoolView,
        backend: &Arc<Backend>,
        probe: &Arc<dyn Probe>,
    ) -> Option<Task> {
        let round = Round {
            pool: Arc::clone(&view.pool.name),
            backend: Arc::downgrade(backend),
            address: address(&backend.endpoint, settings)?,
            settings: settings.clone(),
            probe: Arc::clone(probe),
            model: Arc::clone(&self.model),
            tell: Arc::clone(&self.tell),
            at_once: Arc::clone(&self.at_once),
        };
        let (backend, settings) = (Arc::downgrade(backend), settings.clone());
        let handle = self.runtime.spawn(round.go()).abort_handle();
        Some(Task { backend, settings, probe: Arc::clone(probe), handle })
    }
}

/// What measures a pool's backends: what does so already, or else a new one. None if it cannot be made
/// now, though it could when the file was checked: its program may be gone.
fn probe_of(
    view: &PoolView,
    settings: &ProbeSettings,
    before: &HashMap<usize, Task>,
    registry: &Registry,
) -> Option<Arc<dyn Probe>> {
    let tasks = view.members.iter().filter_map(|member| before.get(&key(&member.backend)));
    if let Some(task) = tasks.into_iter().find(|task| task.settings == *settings) {
        return Some(Arc::clone(&task.probe));
    }
    let made = registry.build_probe(&settings.kind);
    let tell = |problems: &Vec<Problem>| {
        let pool = &*view.pool.name;
        for problem in problems {
            tracing::error!(pool, %problem, "cannot make the probe: backends are probed as before");
        }
    };
    made.inspect_err(tell).ok()
}

/// A backend by its address in memory.
fn key(backend: &Arc<Backend>) -> usize {
    Arc::as_ptr(backend) as usize
}

impl Task {
    /// Another one takes its place, which goes on with its count, or none does.
    fn make_way(self, to_another: bool) {
        match to_another {
            true => self.handle.abort(),
            false => self.stop(),
        }
    }

    /// Nobody probes it any more.
    fn stop(self) {
        self.handle.abort();
        if let Some(backend) = self.backend.upgrade() {
            backend.health.forget_probes();
        }
    }
}

impl Round {
    async fn go(self) {
        let (interval, fast) = (self.settings.interval, self.settings.fast_interval);
        sleep(interval.min(START).mul_f64(fastrand::f64())).await;
        // Once they have begun, probes of many backends are spread over the whole interval.
        let mut rest = interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        loop {
            let began = Instant::now();
            let Some(in_doubt) = self.probe_once().await else { return };
            let wait = if in_doubt { fast.min(interval) } else { rest };
            rest = interval;
            sleep(wait.saturating_sub(began.elapsed())).await;
        }
    }

    /// Whether it spoke against the state; none if nobody has the backend any more.
    async fn probe_once(&self) -> Option<bool> {
        let turn = self.at_once.acquire().await.ok()?;
        let found = measure(&*self.probe, &self.address, self.settings.timeout).await;
        drop(turn);
        let backend = self.backend.upgrade()?;
        let (rise, fall) = (self.settings.rise, self.settings.fall);
        let now = self.model.age(Instant::now().into_std());
        let changed = backend.health.note_probe(&found, (rise, fall), now);
        let in_doubt = backend.health.is_in_doubt();
        if changed {
            (self.tell)(Changed { pool: Arc::clone(&self.pool), backend });
        }
        Some(in_doubt)
    }
}

/// One probe, bounded in time; a panic in it is a failure.
async fn measure(probe: &dyn Probe, address: &Address, bound: Duration) -> Result<(), String> {
    let target = Target::new(address.clone());
    let begin = AssertUnwindSafe(|| probe.measure(&target));
    let Ok(mut measuring) = catch_unwind(begin) else { return Err(PANICKED.to_owned()) };
    let guarded = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| measuring.as_mut().poll(context));
        catch_unwind(poll).unwrap_or_else(|_| Poll::Ready(Err(PANICKED.to_owned())))
    });
    match timeout(bound, guarded).await {
        Ok(found) => found,
        Err(_) => Err(format!("timed out after {bound:?}{}", waiting(&target))),
    }
}

const PANICKED: &str = "the probe panicked";

fn waiting(target: &Target) -> String {
    match target.waits_for() {
        what if what.is_empty() => what,
        what => format!(" at {what}"),
    }
}

/// Where to probe; nowhere if the port depends on a client and none is given.
fn address(endpoint: &Endpoint, settings: &ProbeSettings) -> Option<Address> {
    match endpoint {
        Endpoint::Unix(path) => Some(Address::Unix(path.clone())),
        Endpoint::Tcp(ip, port) => {
            let own = match port {
                BackendPort::Fixed(port) => Some(*port),
                BackendPort::Offset(_) => None,
            };
            let ip = settings.address.unwrap_or(*ip);
            settings.port.or(own).map(|port| Address::Tcp(SocketAddr::new(ip, port)))
        }
    }
}

#[cfg(test)]
mod tests;
