//! The bounded queue between whoever logs and the thread that writes.
//!
//! ```text
//!   any thread ──try_send──► channel ──► writer thread ──► sink
//!        └── full: dropped += 1 ···········┘ one line tells the number
//! ```
//!
//! Whoever logs touches the channel and two atomics, and never waits for the sink.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing_subscriber::fmt::MakeWriter;

/// Lines are gathered up to so many bytes for one write.
const BATCH: usize = 64 * 1024;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Text without colours.
    Plain,
    /// Text with colours.
    Colour,
    /// JSON.
    Json,
}

/// The near end of the queue and its counters.
pub(super) struct Queue {
    sender: SyncSender<Vec<u8>>,
    progress: Arc<Progress>,
}

/// What both ends know.
#[derive(Default)]
struct Progress {
    /// Lines taken in.
    queued: AtomicU64,
    /// Lines that found the queue full or the sink failing, and are not yet told of.
    dropped: AtomicU64,
    /// Lines that the writer is done with; only it and [`Queue::flush`] lock this.
    written: Mutex<u64>,
    moved: Condvar,
}

impl Queue {
    /// Starts the writer; at most `capacity` lines wait for it.
    pub(super) fn start(
        capacity: usize,
        look: Look,
        sink: impl Write + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let (sender, receiver) = sync_channel(capacity);
        let progress = Arc::new(Progress::default());
        let writer = Writer { look, sink, progress: Arc::clone(&progress) };
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run(&receiver))?;
        Ok(Arc::new(Self { sender, progress }))
    }

    /// Takes in one whole line, or counts it as dropped. Never waits.
    fn push(&self, line: &[u8]) {
        let counter = match self.sender.try_send(line.to_vec()) {
            Ok(()) => &self.progress.queued,
            Err(_) => &self.progress.dropped,
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until what was queued before this call is written, but no longer than `timeout`.
    /// Returns false when time ran out.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let goal = self.progress.queued.load(Ordering::Acquire);
        let written = self.progress.written.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.progress.moved.wait_timeout_while(written, timeout, |done| *done < goal);
        waited.map_or_else(|poisoned| *poisoned.into_inner().0 >= goal, |(done, _)| *done >= goal)
    }

    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.progress.dropped.load(Ordering::Acquire)
    }
}

/// The far end: a thread of its own that may wait for the sink.
struct Writer<S> {
    look: Look,
    sink: S,
    progress: Arc<Progress>,
}

impl<S: Write> Writer<S> {
    fn run(mut self, lines: &Receiver<Vec<u8>>) {
        while let Ok(mut batch) = lines.recv() {
            let mut count = 1;
            while batch.len() < BATCH
                && let Ok(line) = lines.try_recv()
            {
                batch.extend_from_slice(&line);
                count += 1;
            }
            if self.write(&batch) {
                self.tell_dropped();
            } else {
                // A full disk may have taken some of them: those count as missing too.
                self.progress.dropped.fetch_add(count, Ordering::AcqRel);
            }
            *self.progress.written.lock().unwrap_or_else(PoisonError::into_inner) += count;
            self.progress.moved.notify_all();
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.progress.dropped.swap(0, Ordering::AcqRel);
        if dropped > 0 {
            let line = dropped_line(self.look, dropped);
            if !self.write(line.as_bytes()) {
                self.progress.dropped.fetch_add(dropped, Ordering::AcqRel);
            }
        }
    }

    /// False: the sink has failed. There is nobody to be told of it, and the next line may fare better.
    fn write(&mut self, bytes: &[u8]) -> bool {
        super::write_patiently(&mut self.sink, bytes).is_ok()
    }
}

fn dropped_line(look: Look, lines: u64) -> String {
    let time = Timestamp::now();
    match look {
        Look::Json => format!(
            r#"{{"timestamp":"{time:.3}","level":"WARN","message":"log lines dropped","lines":{lines},"target":"forebay::cli::log"}}
"#
        ),
        Look::Plain | Look::Colour => {
            format!("{time:.3}  WARN forebay::cli::log: log lines dropped lines={lines}\n")
        }
    }
}

/// Makes a writer for each line, as tracing-subscriber asks for.
#[derive(Clone)]
pub(super) struct Lines(Arc<Queue>);

impl Lines {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Self(Arc::clone(queue))
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes one line: tracing-subscriber writes each with a single `write_all`.
pub(super) struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A sink that tells what it is given, but is not done with it until its gate is opened (by
    /// dropping the other end).
    struct Gated {
        gate: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.taken.send(bytes.to_vec()).unwrap();
            assert!(self.gate.recv().is_err(), "the gate is opened by dropping it");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated(capacity: usize) -> (Arc<Queue>, Sender<()>, Receiver<Vec<u8>>) {
        let (open, gate) = channel();
        let (taken, read) = channel();
        let queue = Queue::start(capacity, Look::Plain, Gated { gate, taken }).unwrap();
        (queue, open, read)
    }

    #[test]
    fn sink_that_never_reads_stalls_nobody() {
        let (queue, _open, read) = gated(4);
        queue.push(b"the writer waits with this one\n");
        read.recv_timeout(SOON).unwrap();
        let (done, wait) = channel();
        let caller = Arc::clone(&queue);
        std::thread::spawn(move || {
            (0..10_000).for_each(|_| caller.push(b"a line\n"));
            done.send(()).unwrap();
        });
        wait.recv_timeout(SOON).expect("whoever logs has stalled");
        assert_eq!(queue.dropped(), 10_000 - 4);
        assert!(!queue.flush(Duration::from_millis(20)), "nothing can have been written");
    }

    #[test]
    fn one_line_tells_how_many_were_dropped() {
        let (queue, open, read) = gated(4);
        queue.push(b"the writer waits with this one\n");
        read.recv_timeout(SOON).unwrap();
        for _ in 0..100 {
            queue.push(b"a line\n");
        }
        let dropped = queue.dropped();
        assert_eq!(dropped, 96);
        drop(open);
        assert!(queue.flush(SOON));
        let text: Vec<u8> = read.try_iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        let kept = text.lines().filter(|line| *line == "a line").count();
        assert_eq!(u64::try_from(kept).unwrap() + dropped, 100);
        let told: Vec<_> = text.lines().filter(|line| line.contains("dropped")).collect();
        assert_eq!(told.len(), 1, "{text}");
        assert!(told[0].ends_with(&format!("log lines dropped lines={dropped}")), "{text}");
        assert_eq!(queue.dropped(), 0);
    }

    /// A disk that is full until it is emptied.
    struct Disk {
        full: Arc<AtomicBool>,
        kept: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.kept.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_told_of_when_there_is_room_again() {
        let (kept, read) = channel();
        let full = Arc::new(AtomicBool::new(true));
        let disk = Disk { full: Arc::clone(&full), kept };
        let queue = Queue::start(16, Look::Plain, disk).unwrap();
        for _ in 0..3 {
            queue.push(b"lost\n");
            assert!(queue.flush(SOON));
        }
        assert_eq!(queue.dropped(), 3);
        full.store(false, Ordering::SeqCst);
        queue.push(b"kept\n");
        assert!(queue.flush(SOON));
        let text: Vec<u8> = read.try_iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("kept\n") && text.ends_with("dropped lines=3\n"), "{text}");
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn dropped_line_is_valid_json() {
        let line = dropped_line(Look::Json, 7);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["lines"], 7);
    }
}
