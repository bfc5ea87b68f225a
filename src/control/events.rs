//! The loop of the control thread: everything that happens comes in as one [`Event`].

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::plant::Plant;
use super::resolve;
use super::shutdown::{Drain, Next};
use super::{Failure, OnReady, lock};
use crate::model::Resolved;

/// Something that control has to act on.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGTERM or SIGINT: drain within a bound.
    Terminate,
    /// SIGQUIT: drain without bound.
    Quit,
    /// A signal that does nothing yet.
    Ignored(&'static str),
    /// A worker has died.
    WorkerGone(usize),
    /// A host name was looked up.
    LookedUp(Arc<str>, io::Result<Vec<IpAddr>>),
    /// The drain has a step to take.
    Drain,
    /// Die of a fault, for tests of what follows from one.
    #[cfg(test)]
    Fault,
}

/// Serves events until the process is to end.
pub(super) fn serve(plant: &Mutex<Plant>, ready: &Mutex<Option<OnReady>>) -> Result<(), Failure> {
    let system = |what| move |error| Failure::System { what, error };
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(system("start the runtime"))?;
    let (sender, events) = unbounded_channel();
    runtime.block_on(async {
        listen_for_signals(&runtime, &sender).map_err(system("listen for signals"))?;
        let mut control =
            Control { sender, runtime: &runtime, drain: None, resolved: HashMap::new() };
        control.start(plant);
        // Not before signals are heard: whoever is told may send one at once.
        if let Err(error) = tell_ready(plant, ready) {
            lock(plant).stop();
            return Err(Failure::System { what: "tell that it is ready", error });
        }
        control.serve(plant, events).await;
        Ok(())
    })?;
    // Look-ups that hang must not keep the process.
    runtime.shutdown_background();
    Ok(())
}

/// Tells once, also if control is started anew.
fn tell_ready(plant: &Mutex<Plant>, ready: &Mutex<Option<OnReady>>) -> io::Result<()> {
    let ready = ready.lock().unwrap_or_else(PoisonError::into_inner).take();
    let bound = lock(plant).bound();
    ready.map_or(Ok(()), |ready| ready(&bound))
}

/// What the loop remembers.
struct Control<'a> {
    sender: UnboundedSender<Event>,
    runtime: &'a Runtime,
    drain: Option<Drain>,
    resolved: Resolved,
}

impl Control<'_> {
    fn start(&mut self, plant: &Mutex<Plant>) {
        let mut plant = lock(plant);
        plant.tell(self.sender.clone());
        plant.replace_dead_workers();
        self.resolved = plant.resolved().clone();
        for (name, interval) in resolve::names(plant.config()) {
            self.runtime.spawn(keep_looking_up(name, interval, self.sender.clone()));
        }
    }

    async fn serve(&mut self, plant: &Mutex<Plant>, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            let mut plant = lock(plant);
            let next = match event {
                Event::Terminate => self.terminate(&mut plant),
                Event::Quit => self.quit(&mut plant),
                Event::Drain => self.drain.as_mut().map(|drain| drain.step(&plant)),
                Event::Ignored(name) => {
                    tracing::info!(signal = name, "ignored: this version does nothing on it");
                    None
                }
                #[cfg(test)]
                Event::Fault => panic!("told to die of a fault"),
                Event::WorkerGone(number) => {
                    plant.replace_worker(number);
                    None
                }
                Event::LookedUp(name, answer) => {
                    if resolve::note(&mut self.resolved, name, answer) {
                        plant.set_resolved(self.resolved.clone());
                    }
                    None
                }
            };
            match next {
                None => {}
                Some(Next::After(wait)) => self.step_after(wait),
                Some(Next::Stop) => return plant.stop(),
            }
        }
    }

    fn terminate(&mut self, plant: &mut Plant) -> Option<Next> {
        if self.drain.is_some() {
            tracing::warn!(sessions = plant.sessions(), "told to stop again: stopping at once");
            return Some(Next::Stop);
        }
        Some(self.drain.insert(Drain::bounded(plant.shutdown_settings())).step(plant))
    }

    fn quit(&mut self, plant: &mut Plant) -> Option<Next> {
        if self.drain.is_some() {
            return None;
        }
        Some(self.drain.insert(Drain::unbounded()).step(plant))
    }

    fn step_after(&self, wait: Duration) {
        let sender = self.sender.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            // Without a loop there is nothing left to drain.
            let _ = sender.send(Event::Drain);
        });
    }
}

fn listen_for_signals(runtime: &Runtime, sender: &UnboundedSender<Event>) -> io::Result<()> {
    let kinds: [(SignalKind, fn() -> Event); 8] = [
        (SignalKind::terminate(), || Event::Terminate),
        (SignalKind::interrupt(), || Event::Terminate),
        (SignalKind::quit(), || Event::Quit),
        (SignalKind::hangup(), || Event::Ignored("SIGHUP")),
        (SignalKind::user_defined1(), || Event::Ignored("SIGUSR1")),
        (SignalKind::user_defined2(), || Event::Ignored("SIGUSR2")),
        (SignalKind::pipe(), || Event::Ignored("SIGPIPE")),
        (SignalKind::window_change(), || Event::Ignored("SIGWINCH")),
    ];
    for (kind, event) in kinds {
        let mut stream = signal(kind)?;
        let silent = kind == SignalKind::pipe() || kind == SignalKind::window_change();
        let sender = sender.clone();
        runtime.spawn(async move {
            while stream.recv().await.is_some() {
                if !silent && sender.send(event()).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

async fn keep_looking_up(name: Arc<str>, interval: Duration, sender: UnboundedSender<Event>) {
    loop {
        tokio::time::sleep(interval).await;
        let asked = Arc::clone(&name);
        let answer = tokio::task::spawn_blocking(move || resolve::look_up(&asked)).await;
        let answer = answer.unwrap_or_else(|fault| Err(io::Error::other(fault)));
        if sender.send(Event::LookedUp(Arc::clone(&name), answer)).is_err() {
            return;
        }
    }
}
