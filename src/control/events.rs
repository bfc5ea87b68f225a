//! The loop of the control thread: everything that happens comes in as one [`Event`].

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::look_ups::LookUps;
use super::plant::Plant;
use super::reload::{Outcome, Read, Reloads, Report, Trigger};
use super::shutdown::{Drain, Next};
use super::watch::Watch;
use super::{Failure, Hooks, lock, returns, watchdog};
use crate::config::Watch as Kind;
use crate::health::{Changed, Rounds};
use crate::model::Wanted;
use crate::plugin::Answer;

/// Something that control has to act on.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGTERM or SIGINT: drain within a bound.
    Terminate,
    /// SIGQUIT: drain without bound.
    Quit,
    /// A signal that does nothing yet.
    Ignored(&'static str),
    /// The file is to be read again.
    Reload(Trigger),
    /// It was read, or a fault has kept it from being.
    Read(Option<Box<Read>>),
    /// What takes its time goes on.
    Tick,
    /// A worker has died.
    WorkerGone(usize, ThreadId),
    /// A name was looked up, or could not be.
    LookedUp(Wanted, Result<Answer, String>),
    /// Probes have found that a backend is healthy, or is not.
    Health(Changed),
    /// The drain has a step to take.
    Drain,
    /// Die of a fault, for tests of what follows from one.
    #[cfg(test)]
    Fault,
}

/// Serves events until the process is to end.
pub(super) fn serve(plant: &Mutex<Plant>, hooks: &Mutex<Hooks>) -> Result<(), Failure> {
    let system = |what| move |error| Failure::System { what, error };
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(system("start the runtime"))?;
    let (sender, events) = unbounded_channel();
    runtime.block_on(async {
        listen_for_signals(&runtime, &sender).map_err(system("listen for signals"))?;
        let look_ups = LookUps::new(runtime.handle().clone(), sender.clone());
        let mut control = Control {
            rounds: rounds(plant, &runtime, &sender),
            sender,
            runtime: &runtime,
            hooks,
            look_ups,
            reloads: Reloads::default(),
            watch: None,
            tick_at: None,
        };
        control.start(plant);
        runtime.spawn(watchdog::watch(Arc::clone(lock(plant).model())));
        runtime.spawn(returns::watch(Arc::clone(lock(plant).model())));
        // Not before signals are heard: whoever is told may send one at once.
        if let Err(error) = tell_ready(plant, hooks) {
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
fn tell_ready(plant: &Mutex<Plant>, hooks: &Mutex<Hooks>) -> io::Result<()> {
    let mut hooks = hooks.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(ready) = hooks.ready.take() else { return Ok(()) };
    let started = Report::of(&lock(plant), Outcome::Started);
    hooks.tell(&started);
    ready(&started.listening)
}

/// What the loop remembers.
struct Control<'a> {
    sender: UnboundedSender<Event>,
    runtime: &'a Runtime,
    hooks: &'a Mutex<Hooks>,
    /// Names that are looked up.
    look_ups: LookUps,
    /// Who is probed.
    rounds: Rounds,
    reloads: Reloads,
    /// None without a file.
    watch: Option<Watch>,
    /// When the next tick comes.
    tick_at: Option<Instant>,
}

impl Control<'_> {
    fn start(&mut self, plant: &Mutex<Plant>) {
        let mut plant = lock(plant);
        plant.tell(self.sender.clone());
        plant.replace_dead_workers();
        self.look_ups.follow(&plant);
        self.probe(&mut plant);
        if plant.origin().is_some() {
            self.start_watch(&plant);
        }
        if plant.is_draining() {
            self.send_after(Duration::ZERO, Event::Drain);
        }
        self.tick_soon(&plant);
    }

    async fn serve(&mut self, plant: &Mutex<Plant>, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            let mut plant = lock(plant);
            let next = match event {
                Event::Terminate => self.terminate(&mut plant),
                Event::Quit => self.quit(&mut plant),
                Event::Drain => plant.drain_on(),
                other => {
                    self.handle(other, &mut plant);
                    None
                }
            };
            self.tick_soon(&plant);
            match next {
                None => {}
                Some(Next::After(wait)) => self.send_after(wait, Event::Drain),
                Some(Next::Stop) => return plant.stop(),
            }
        }
    }

    /// What has no part in the end of the process.
    fn handle(&mut self, event: Event, plant: &mut Plant) {
        match event {
            Event::Terminate | Event::Quit | Event::Drain => {}
            Event::Reload(trigger) => self.ask(trigger, plant),
            Event::Read(Some(read)) => self.take(*read, plant),
            Event::Read(None) => self.give_up_reading(plant),
            Event::Tick => {
                self.tick_at = None;
                plant.tick();
            }
            Event::Ignored(name) => {
                tracing::info!(signal = name, "ignored: this version does nothing on it");
            }
            Event::WorkerGone(number, thread) => plant.replace_worker(number, thread),
            Event::LookedUp(wanted, answer) => {
                if let Some(resolved) = self.look_ups.take(wanted, answer) {
                    plant.set_resolved(resolved);
                    self.probe(plant);
                }
            }
            Event::Health(changed) => plant.note_health(&changed),
            #[cfg(test)]
            Event::Fault => panic!("told to die of a fault"),
        }
    }

    fn start_watch(&mut self, plant: &Plant) {
        let settings = &plant.config().reload;
        self.watch = Some(Watch::start(settings, self.runtime, &self.sender));
        if settings.watch != Kind::Off {
            // Says where to watch, and what changed before anybody did.
            self.ask(Trigger::File, plant);
        }
    }

    fn ask(&mut self, trigger: Trigger, plant: &Plant) {
        if plant.is_draining() {
            // A signal is answered. Any change beside the file may come here, even a line of the log.
            if trigger == Trigger::Signal {
                tracing::info!("not reloaded: the process is stopping");
            }
            return;
        }
        self.reloads.ask(trigger, plant, self.runtime, &self.sender);
    }

    fn take(&mut self, mut read: Read, plant: &mut Plant) {
        if plant.is_draining() {
            return;
        }
        let settings = plant.config().reload.clone();
        let seen = std::mem::take(&mut read.seen);
        let (report, mut again) = self.reloads.take(read, plant);
        if plant.config().reload != settings {
            self.start_watch(plant);
        }
        if self.watch.as_mut().is_some_and(|watch| watch.follow(seen)) {
            again = again.or(Some(Trigger::File));
        }
        self.conclude(report, again, plant);
    }

    /// A fault has kept the file from being read.
    fn give_up_reading(&mut self, plant: &mut Plant) {
        let (report, again) = self.reloads.lose(plant);
        self.conclude(Some(report), again, plant);
    }

    /// Tells what came of a reload, and asks for the next if that was wished for meanwhile.
    fn conclude(&mut self, report: Option<Report>, again: Option<Trigger>, plant: &mut Plant) {
        if let Some(report) = report {
            self.look_ups.follow(plant);
            self.probe(plant);
            self.hooks.lock().unwrap_or_else(PoisonError::into_inner).tell(&report);
        }
        if let Some(trigger) = again {
            self.ask(trigger, plant);
        }
    }

    /// Probes the backends of now, and no others; then pools are judged, by what is known of those.
    fn probe(&mut self, plant: &mut Plant) {
        self.rounds.follow(plant.config(), plant.registry());
        plant.judge_health();
    }

    fn tick_soon(&mut self, plant: &Plant) {
        let Some(wait) = plant.next_tick() else { return };
        let at = Instant::now() + wait;
        // One that was asked for later may come all the same: it finds nothing to do.
        if self.tick_at.is_none_or(|asked| at < asked) {
            self.tick_at = Some(at);
            self.send_after(wait, Event::Tick);
        }
    }

    fn terminate(&self, plant: &mut Plant) -> Option<Next> {
        if plant.is_draining() {
            tracing::warn!(sessions = plant.sessions(), "told to stop again: stopping at once");
            return Some(Next::Stop);
        }
        plant.drain(Drain::bounded(plant.shutdown_settings()))
    }

    fn quit(&self, plant: &mut Plant) -> Option<Next> {
        if plant.is_draining() {
            return None;
        }
        plant.drain(Drain::unbounded())
    }

    fn send_after(&self, wait: Duration, event: Event) {
        let sender = self.sender.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            // Without a loop there is nobody to be told.
            let _ = sender.send(event);
        });
    }
}

/// Nobody is probed yet.
fn rounds(plant: &Mutex<Plant>, runtime: &Runtime, sender: &UnboundedSender<Event>) -> Rounds {
    let sender = sender.clone();
    // Without a loop there is nobody to be told.
    let tell = move |changed| drop(sender.send(Event::Health(changed)));
    Rounds::new(Arc::clone(lock(plant).model()), Arc::new(tell), runtime.handle().clone())
}

fn listen_for_signals(runtime: &Runtime, sender: &UnboundedSender<Event>) -> io::Result<()> {
    let kinds: [(SignalKind, fn() -> Event); 8] = [
        (SignalKind::terminate(), || Event::Terminate),
        (SignalKind::interrupt(), || Event::Terminate),
        (SignalKind::quit(), || Event::Quit),
        (SignalKind::hangup(), || Event::Reload(Trigger::Signal)),
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
