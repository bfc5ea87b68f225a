//! Where the events of the demo come together: it turns backends on and off, counts, and shows.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Event;
use super::backend::Backend;
use super::board::{self, Board, Row};
use super::drive::Tally;
use super::told::Ended;
use crate::cli::exit::Exit;
use crate::cli::output;

/// Sessions that end within this time are shown together.
const LOOK: Duration = Duration::from_millis(50);
/// Forebay ends within this time after it was told to.
const END: Duration = Duration::from_secs(10);

/// Everything that the demo knows.
pub(super) struct Stage {
    backends: Vec<Backend>,
    served: Vec<u64>,
    unserved: u64,
    address: String,
    board: Board,
    /// Lines that are still to be shown.
    lines: Vec<String>,
    driven: Driven,
}

/// What became of `--drive`.
enum Driven {
    /// It was not asked for.
    No,
    /// It is under way.
    Playing,
    /// It is through.
    Done(Tally),
    /// The time that was given was over first.
    Late,
}

/// Why the stage goes on, or does not.
enum Next {
    Go,
    /// Forebay is to be told to end.
    End,
    /// Forebay has ended.
    Over(Result<(), String>),
}

impl Stage {
    pub(super) fn new(backends: Vec<Backend>, address: String, drive: bool) -> Self {
        let served = vec![0; backends.len()];
        let driven = if drive { Driven::Playing } else { Driven::No };
        let (board, lines) = (Board::new(), Vec::new());
        Self { backends, served, unserved: 0, address, board, lines, driven }
    }

    /// Plays until Ctrl-C, `q`, the end of the script, or the end of the time that was given.
    pub(super) fn play(
        mut self,
        events: &Receiver<Event>,
        bound: Option<Duration>,
    ) -> Result<Exit, String> {
        let mut shown = output::answer(&self.greeting()).and_then(|()| self.show());
        let mut deadline = bound.map(|bound| Instant::now() + bound);
        let mut ending = false;
        loop {
            let next = match wait(events, deadline) {
                Ok(event) => self.take(event, events),
                Err(RecvTimeoutError::Timeout) if ending => {
                    return Err("forebay did not end in time".into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.out_of_time();
                    Next::End
                }
                Err(RecvTimeoutError::Disconnected) => Next::Over(Ok(())),
            };
            shown = shown.and_then(|()| self.show());
            match next {
                Next::Over(result) => return result.map(|()| self.farewell(shown)),
                Next::Go if shown.is_ok() || ending => {}
                Next::Go | Next::End => {
                    if !ending {
                        stop();
                    }
                    ending = true;
                    deadline = Some(Instant::now() + END);
                }
            }
        }
    }

    /// Takes this event, and those that come close behind it.
    fn take(&mut self, first: Event, events: &Receiver<Event>) -> Next {
        let until = Instant::now() + LOOK;
        let mut next = self.act(first);
        while let Next::Go = next {
            match wait(events, Some(until)) {
                Ok(event) => next = self.act(event),
                Err(_) => break,
            }
        }
        next
    }

    fn act(&mut self, event: Event) -> Next {
        match event {
            Event::Ready(_) => {}
            Event::Ended(ended) => self.count(&ended),
            Event::Note(text) => self.lines.push(format!("\n  {text}")),
            Event::Turn { backend, done } => {
                self.turn(backend);
                // Nobody waits if the script has given up.
                let _ = done.try_send(());
            }
            Event::Typed(text) => return self.typed(&text),
            Event::Driven(tally) => {
                self.driven = Driven::Done(tally);
                return Next::End;
            }
            Event::Over(result) => return Next::Over(result),
        }
        Next::Go
    }

    fn count(&mut self, ended: &Ended) {
        let served_by = |backend: &Backend| Some(backend.address().to_string()) == ended.backend;
        let index = self.backends.iter().position(served_by);
        let Some((count, backend)) =
            index.and_then(|index| self.served.get_mut(index).zip(self.backends.get(index)))
        else {
            self.unserved += 1;
            self.lines.push(board::session(ended, "nobody", None));
            return;
        };
        *count += 1;
        let count = *count;
        let most = self.served.iter().copied().max().unwrap_or(count);
        let counted = (!self.board.is_live()).then_some((count, most));
        self.lines.push(board::session(ended, backend.name(), counted));
    }

    fn typed(&mut self, text: &str) -> Next {
        self.board.typed();
        match text.parse::<usize>() {
            Ok(number) if (1..=self.backends.len()).contains(&number) => self.turn(number - 1),
            _ if matches!(text, "q" | "quit" | "exit") => return Next::End,
            _ if text.is_empty() => {}
            _ => self.lines.push(format!("  `{text}` is neither 1, 2, 3 nor q")),
        }
        Next::Go
    }

    fn turn(&mut self, index: usize) {
        let Some(backend) = self.backends.get_mut(index) else { return };
        let line = if backend.serves() {
            backend.stop();
            format!("  {} refuses connections now; Forebay moves on to the next", backend.name())
        } else {
            match backend.resume() {
                Ok(()) => format!("  {} serves again", backend.name()),
                Err(error) => format!("  {} cannot serve again: {error}", backend.name()),
            }
        };
        self.lines.push(line);
    }

    fn out_of_time(&mut self) {
        if let Driven::Playing = self.driven {
            self.driven = Driven::Late;
        }
    }

    fn show(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let rows: Vec<_> = self
            .backends
            .iter()
            .zip(&self.served)
            .map(|(backend, served)| Row {
                name: backend.name().to_owned(),
                address: backend.address().to_string(),
                serves: backend.serves(),
                served: *served,
            })
            .collect();
        self.board.show(&lines, &rows)
    }

    fn greeting(&self) -> String {
        let address = &self.address;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let backends: String = self
            .backends
            .iter()
            .map(|backend| format!("  {:<10} {}\n", backend.name(), backend.address()))
            .collect();
        let end = match self.driven {
            Driven::No => {
                "\nType 1, 2 or 3 and Enter to stop that backend, or to start it again: clients \
                 will not notice.\nq or Ctrl-C ends the demo.\n\n"
            }
            Driven::Playing | Driven::Done(_) | Driven::Late => "\nNow watch:",
        };
        format!(
            "Three small backends, and Forebay in front of them:\n\n  \
             {:<10} {address}\n{backends}\n\
             Try these in another terminal:\n\n  \
             curl http://{address}/\n  \
             for i in 1 2 3 4 5 6; do curl -s http://{address}/; done\n  \
             nc {host} {port}\n{end}",
            "forebay"
        )
    }

    /// The last lines; what became of stdout and of the script decides the outcome.
    fn farewell(&self, shown: io::Result<()>) -> Exit {
        let counts: Vec<_> = self
            .backends
            .iter()
            .zip(&self.served)
            .map(|(backend, served)| format!("{} {served}", backend.name()))
            .collect();
        let mut text = format!("\nSessions served: {}", counts.join(", "));
        if self.unserved > 0 {
            text.push_str(&format!("; not served: {}", self.unserved));
        }
        text.push_str(".\n");
        let exit = match self.driven {
            Driven::No | Driven::Playing => Exit::Success,
            Driven::Late => {
                text.push_str("The time was over before the script was.\n");
                Exit::Failure
            }
            Driven::Done(tally) => {
                text.push_str(&verdict(tally));
                if tally.good() { Exit::Success } else { Exit::Failure }
            }
        };
        match Exit::from_answer(shown.and_then(|()| output::answer(&text))) {
            Exit::Success => exit,
            lost => lost,
        }
    }
}

fn verdict(Tally { asked, answered }: Tally) -> String {
    let noticed = if asked == answered {
        "a backend was stopped meanwhile, and no client noticed"
    } else {
        "some clients noticed that a backend was stopped"
    };
    format!("{asked} times asked, {answered} times answered: {noticed}.\n")
}

/// The next event; without a deadline it may take for ever.
fn wait(events: &Receiver<Event>, deadline: Option<Instant>) -> Result<Event, RecvTimeoutError> {
    match deadline {
        None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

/// Ends what runs in this process as an operator would: with SIGTERM. To be called only once it is
/// ready, since before that the signal kills.
fn stop() {
    let this = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(this, rustix::process::Signal::TERM) {
        tracing::error!(%error, "cannot signal this process");
    }
}
