//! Logs: lines go through a bounded queue to a thread of their own, which writes them to stderr.
//!
//! A blocked terminal or pipe never stalls whoever logs: when the queue is full the line is dropped
//! and counted, and one line tells how many are missing when there is room again.

mod clock;
mod filter;
mod queue;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{LogArguments, LogFormat};
use super::output;
use clock::Clock;
pub(super) use filter::Filter;
use queue::{Lines, Look, Queue};

/// Lines that wait for the writer; some hundred kilobytes at most in practice.
const CAPACITY: usize = 4096;
/// The end of the program waits so long for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Keeps the log alive; dropping it waits a bounded time until what was logged is written.
pub(super) struct Log {
    queue: Arc<Queue>,
}

impl Log {
    /// Makes this the log of the process. `quiet` is used if nobody said what to log.
    pub(super) fn start(arguments: &LogArguments, quiet: Filter) -> io::Result<Self> {
        let look = match arguments.log_format {
            LogFormat::Json => Look::Json,
            LogFormat::Text if output::colour_on_stderr() => Look::Colour,
            LogFormat::Text => Look::Plain,
        };
        let filter = arguments.log_filter.clone().unwrap_or(quiet);
        let queue = Queue::start(CAPACITY, look, io::stderr())?;
        subscriber(look, filter, Lines::new(&queue)).try_init().map_err(io::Error::other)?;
        log_panics();
        Ok(Self { queue })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush(LAST_WORDS);
    }
}

fn subscriber(look: Look, filter: Filter, lines: Lines) -> Box<dyn Subscriber + Send + Sync> {
    let registry = tracing_subscriber::registry().with(filter.into_targets());
    let layer = tracing_subscriber::fmt::layer().with_timer(Clock).with_writer(lines);
    match look {
        Look::Json => Box::new(registry.with(layer.json().flatten_event(true).with_ansi(false))),
        Look::Colour => Box::new(registry.with(layer.with_ansi(true))),
        Look::Plain => Box::new(registry.with(layer.with_ansi(false))),
    }
}

/// A panic is logged like everything else: the standard hook writes to stderr itself, and a blocked
/// pipe would then stall a worker.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(what, place, thread, "panic");
    }));
}

/// Writes all of it, and waits where the sink is non-blocking and full: a shell may share its
/// terminal's O_NONBLOCK with us.
fn write_patiently(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    const RETRY: Duration = Duration::from_millis(10);
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::park_timeout(RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A sink that keeps what it is given.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(look: Look, filter: &str, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let queue = Queue::start(16, look, kept.clone()).unwrap();
        let subscriber = subscriber(look, Filter::parse(filter).unwrap(), Lines::new(&queue));
        tracing::subscriber::with_default(subscriber, log);
        assert!(queue.flush(Duration::from_secs(5)));
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_line_has_time_level_target_message_and_fields() {
        let text = logged(Look::Plain, "info", || tracing::info!(listener = "web", "listening"));
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len(), "{time}");
        assert_eq!(rest.trim_start(), format!("INFO {}: listening listener=\"web\"\n", MODULE));
    }

    #[test]
    fn json_line_is_one_object() {
        let text = logged(Look::Json, "info", || tracing::warn!(port = 80, "two\nlines"));
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["port"], 80);
    }

    #[test]
    fn levels_that_are_off_write_nothing() {
        assert_eq!(logged(Look::Plain, "warn", || tracing::info!("listening")), "");
        assert_eq!(logged(Look::Plain, "off", || tracing::error!("panic")), "");
        let fine = format!("off,{MODULE}=debug");
        assert!(logged(Look::Plain, &fine, || tracing::debug!("session")).contains("session"));
    }

    #[test]
    fn colours_only_when_asked_for() {
        assert!(logged(Look::Colour, "info", || tracing::info!("up")).contains('\x1b'));
        assert!(!logged(Look::Plain, "info", || tracing::info!("up")).contains('\x1b'));
    }

    const MODULE: &str = module_path!();
}
