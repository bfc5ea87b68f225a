//! `--drive`: a script of own requests, with a backend stopped in the middle.
//!
//! It shows the promise to whoever watches, and fails if the promise is broken, so that it can be a
//! smoke test too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::{BACKENDS, Event};

/// Requests in each act.
const REQUESTS: usize = 9;
/// Between requests, so that eyes can follow.
const PACE: Duration = Duration::from_millis(40);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// The backend that is stopped.
const VICTIM: usize = 1;
/// The largest answer that is read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) asked: usize,
    pub(super) answered: usize,
}

impl Tally {
    /// True exactly when nobody noticed anything.
    pub(super) fn good(self) -> bool {
        self.asked > 0 && self.asked == self.answered
    }

    fn add(&mut self, answered: bool) {
        self.asked += 1;
        self.answered += usize::from(answered);
    }
}

/// Plays the script on a thread of its own, against Forebay at `address`.
pub(super) fn start(address: &str, events: &SyncSender<Event>) -> io::Result<()> {
    let mut script = Script { address: address.to_owned(), events: events.clone() };
    let play = move || {
        // None: the stage is gone, and with it whoever wanted to know.
        if let Some(tally) = script.play() {
            drop(script.events.send(Event::Driven(tally)));
        }
    };
    std::thread::Builder::new().name("drive".into()).spawn(play)?;
    Ok(())
}

struct Script {
    address: String,
    events: SyncSender<Event>,
}

impl Script {
    fn play(&mut self) -> Option<Tally> {
        let mut tally = Tally::default();
        let name = format!("backend-{}", VICTIM + 1);
        self.note(format!("{REQUESTS} requests, all backends serve"))?;
        self.ask(&mut tally);
        let mut talks: Vec<_> = (0..BACKENDS).map(|_| Talk::open(&self.address)).collect();
        self.turn()?;
        self.note(format!("{name} is stopped: {REQUESTS} requests"))?;
        self.ask(&mut tally);
        let with = |talk: &&io::Result<Talk>| talk.as_ref().is_ok_and(|talk| talk.with == name);
        let theirs = talks.iter().filter(with).count();
        let count = talks.len();
        self.note(format!(
            "{count} conversations from before go on, {theirs} of them with {name}"
        ))?;
        for talk in &mut talks {
            tally.add(talk.as_mut().is_ok_and(|talk| talk.say("still there?").is_ok()));
        }
        drop(talks);
        self.turn()?;
        self.note(format!("{name} is back: {REQUESTS} requests"))?;
        self.ask(&mut tally);
        Some(tally)
    }

    fn note(&self, text: String) -> Option<()> {
        self.events.send(Event::Note(text)).ok()
    }

    /// Stops or starts the victim, and waits until that is done.
    fn turn(&self) -> Option<()> {
        let (done, wait) = sync_channel(1);
        self.events.send(Event::Turn { backend: VICTIM, done }).ok()?;
        wait.recv().ok()
    }

    fn ask(&self, tally: &mut Tally) {
        for _ in 0..REQUESTS {
            tally.add(request(&self.address).is_ok());
            std::thread::park_timeout(PACE);
        }
    }
}

/// One request; its answer must be whole.
fn request(address: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") && answer.contains("served by backend-") {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// A connection that stays open, line by line.
struct Talk {
    stream: BufReader<TcpStream>,
    /// The backend that answers.
    with: String,
}

impl Talk {
    fn open(address: &str) -> io::Result<Self> {
        let mut talk = Self { stream: BufReader::new(connect(address)?), with: String::new() };
        talk.with = talk.say("hello")?;
        Ok(talk)
    }

    /// Says a line and reads its echo, `NAME: LINE`; returns the name.
    fn say(&mut self, line: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        self.stream.by_ref().take(LONGEST_ANSWER).read_line(&mut answer)?;
        match answer.trim_end().split_once(": ") {
            Some((name, echo)) if echo == line => Ok(name.to_owned()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
