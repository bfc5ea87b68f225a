//! Notices that the file has changed: by inotify(7) on the directories of the file and its includes,
//! since a watched file goes deaf after one atomic save; and by looking at intervals, for where no
//! notification arrives (network file systems, some containers).

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::events::Event;
use super::reload::Trigger;
use crate::config::{Loaded, Reload, Watch as Kind};

/// Whoever writes the file is done when nothing has happened for so long,
const QUIET: Duration = Duration::from_millis(200);
/// or after this, whatever happens.
const LONGEST: Duration = Duration::from_secs(2);

/// What a configuration was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sources {
    files: Vec<PathBuf>,
    directories: HashSet<Directory>,
}

/// A directory under its real name, so that each is watched once, and which one it is: another one may
/// take its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Directory {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Directory {
    fn find(path: &Path) -> Option<Self> {
        let path = std::fs::canonicalize(path).ok()?;
        let it = std::fs::metadata(&path).ok()?;
        Some(Self { path, device: it.dev(), inode: it.ino() })
    }
}

/// What shows whether a file or a directory is what it was: where it really is, its size, and when it
/// was changed.
type Trace = Option<(u64, u64, u64, i64, i64)>;

/// Sources and what they looked like.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sources: Sources,
    traces: Vec<Trace>,
}

impl Sources {
    /// The directories that are named, and those that the files really are in.
    fn of(loaded: &Loaded) -> Self {
        let real = loaded.files.iter().filter_map(|file| {
            let real = std::fs::canonicalize(file).ok()?;
            Directory::find(real.parent()?)
        });
        let named = loaded.directories.iter().filter_map(|path| Directory::find(path));
        Self { files: loaded.files.clone(), directories: named.chain(real).collect() }
    }

    fn traces(&self) -> Vec<Trace> {
        let directories = self.directories.iter().map(|directory| &directory.path);
        let paths = self.files.iter().chain(directories);
        let trace = |path: &PathBuf| {
            let it = std::fs::metadata(path).ok()?;
            Some((it.dev(), it.ino(), it.size(), it.ctime(), it.ctime_nsec()))
        };
        paths.map(trace).collect()
    }
}

impl Seen {
    /// What `loaded` was read from, as it is now. Touches the disk.
    pub(super) fn of(loaded: &Loaded) -> Self {
        let sources = Sources::of(loaded);
        Self { traces: sources.traces(), sources }
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    /// None where only the poll looks.
    notify: Option<RecommendedWatcher>,
    seen: Arc<Mutex<Seen>>,
    /// None if nothing is watched.
    tasks: Vec<AbortHandle>,
}

impl Watch {
    /// Tells `events` when something changes where `follow` says.
    pub(super) fn start(
        settings: &Reload,
        runtime: &Runtime,
        events: &UnboundedSender<Event>,
    ) -> Self {
        let (changes, changed) = unbounded_channel();
        let seen = Arc::<Mutex<Seen>>::default();
        let notify = match settings.watch {
            Kind::Auto => notifier(changes.clone()),
            Kind::Poll | Kind::Off => None,
        };
        let mut tasks = Vec::new();
        if settings.watch != Kind::Off {
            let look = look(settings.interval, Arc::clone(&seen), changes);
            tasks.push(runtime.spawn(look).abort_handle());
            tasks.push(runtime.spawn(settle(changed, events.clone())).abort_handle());
        }
        Self { notify, seen, tasks }
    }

    /// From now on watches these. True exactly when they are others than before: what has happened
    /// to them since they were read was not seen, so they are to be read again.
    pub(super) fn follow(&mut self, next: Seen) -> bool {
        if self.tasks.is_empty() {
            return false;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.sources == next.sources {
            return false;
        }
        let (before, after) = (&seen.sources.directories, &next.sources.directories);
        if let Some(notify) = &mut self.notify {
            for gone in before.difference(after) {
                // A directory that was removed is not watched any more anyway.
                let _ = notify.unwatch(&gone.path);
            }
            for new in after.difference(before) {
                let path = &new.path;
                if let Err(error) = notify.watch(path, RecursiveMode::NonRecursive) {
                    tracing::warn!(directory = %path.display(), %error, "cannot watch, only look");
                }
            }
        }
        *seen = next;
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn notifier(changes: UnboundedSender<()>) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        // Reading is an event too, and reading is what we do about an event.
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            let _ = changes.send(());
        }
    };
    match notify::recommended_watcher(told) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "cannot watch for changes of the file, only look at intervals");
            None
        }
    }
}

/// Waits after the first change until it is quiet, then tells.
async fn settle(mut changed: UnboundedReceiver<()>, events: UnboundedSender<Event>) {
    while changed.recv().await.is_some() {
        let first = Instant::now();
        while first.elapsed() < LONGEST {
            match tokio::time::timeout(QUIET, changed.recv()).await {
                Ok(Some(())) => {}
                Ok(None) => return,
                Err(_) => break,
            }
        }
        if events.send(Event::Reload(Trigger::File)).is_err() {
            return;
        }
    }
}

/// Looks at intervals.
async fn look(interval: Duration, seen: Arc<Mutex<Seen>>, changes: UnboundedSender<()>) {
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        tokio::time::sleep(interval).await;
        let sources = lock().sources.clone();
        let now = tokio::task::spawn_blocking(move || (sources.traces(), sources)).await;
        let Ok((traces, sources)) = now else { continue };
        let mut seen = lock();
        if seen.sources == sources && seen.traces != traces {
            seen.traces = traces;
            if changes.send(()).is_err() {
                return;
            }
        }
    }
}
