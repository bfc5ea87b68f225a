//! One place in which scripts are played one after the other: its own address in front, its own backend.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::{Domain, Socket, Type};

use super::end::{End, Moment, Record};
use super::held::Held;
use super::oracle::{Kind, Violation, judge};
use super::script::Script;
use crate::support::Pattern;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Both ends are willing and nothing moves for so long: a freeze.
    pub freeze: Duration,
    /// After the client is gone, an upstream connection may still come for so long.
    pub late: Duration,
}

/// Where no line between the ends takes time.
const PROMPT: Bounds = Bounds { freeze: Duration::from_secs(1), late: Duration::from_secs(1) };

/// Bytes that the upstream reads before a receive buffer that it made small becomes a large one. Its window
/// had been offered already, and one that shrinks under half of that is filled by the other kernel's persist
/// timer alone, a piece in 200 ms: megabytes would take half a minute.
const SHRUNK_FOR: u64 = 128 << 10;

/// A place to play in.
#[derive(Debug)]
pub struct Slot {
    /// Where clients connect.
    pub front: SocketAddr,
    /// Where the backend is reached.
    pub backend: TcpListener,
    /// How long things may take here.
    pub bounds: Bounds,
    play: Option<Play>,
}

/// A script being played.
#[derive(Debug)]
struct Play {
    script: Script,
    keys: [Pattern; 2],
    client: End,
    upstream: Option<End>,
    /// The proxy's sockets.
    sockets: Vec<Held>,
    gone: Option<Moment>,
    marks: [Mark; 2],
}

/// When something last moved towards one end, and what it looked like then.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Mark {
    since: Moment,
    sent: u64,
    got: u64,
    /// What the sender itself has got: a reset is told only after all bytes before it.
    back: u64,
    ended: bool,
    willing: bool,
}

impl Slot {
    /// A place whose backend listens on a port of `host` that the kernel chose; `front` is still to be set.
    pub fn new(host: IpAddr) -> Self {
        let backend = TcpListener::bind((host, 0)).unwrap();
        backend.set_nonblocking(true).unwrap();
        Self { front: backend.local_addr().unwrap(), backend, bounds: PROMPT, play: None }
    }

    /// True exactly when no script is being played here.
    pub fn is_free(&self) -> bool {
        self.play.is_none()
    }

    /// Begins a script.
    pub fn begin(&mut self, script: Script, seed: u64) {
        // What an earlier client left behind is over by now.
        while self.backend.accept().is_ok() {}
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = script.client.receive_buffer {
            // Before the handshake, which fixes the scale of the window.
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.connect(&self.front.into()).unwrap();
        let stream: TcpStream = socket.into();
        let own = stream.local_addr().unwrap().port();
        let key = seed.wrapping_add(script.number).wrapping_mul(2);
        let keys = [Pattern::new(key), Pattern::new(key + 1)];
        let client = End::new(stream, &script.client, keys[0], keys[1]);
        let marks = [Mark::default(); 2];
        let sockets = vec![Held { local: self.front.port(), remote: own }];
        self.play = Some(Play { script, keys, client, upstream: None, sockets, gone: None, marks });
    }

    /// What is to be watched: the backend's listener or its connection, and the client's.
    pub fn sockets(&self, now: Moment) -> Vec<(Place, PollFlags)> {
        let Some(play) = &self.play else { return Vec::new() };
        let mut all = vec![(Place::Client, play.client.wants(now))];
        match &play.upstream {
            Some(upstream) => all.push((Place::Upstream, upstream.wants(now))),
            None => all.push((Place::Listener, PollFlags::IN)),
        }
        // With no interest poll(2) still says HUP, again and again.
        all.retain(|(_, wants)| !wants.is_empty());
        all
    }

    /// The socket in this place.
    pub fn socket(&self, place: Place) -> Option<rustix::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        let play = self.play.as_ref()?;
        match place {
            Place::Listener => Some(self.backend.as_fd()),
            Place::Client => Some(play.client.socket()?.as_fd()),
            Place::Upstream => Some(play.upstream.as_ref()?.socket()?.as_fd()),
        }
    }

    /// Goes on; when the script is over, what came of it.
    pub fn advance(&mut self, now: Moment, ready: Ready) -> Option<Played> {
        let play = self.play.as_mut()?;
        play.accept(&self.backend);
        play.step(now, ready);
        let mut verdict = play.verdict(now, self.bounds)?;
        if play.upstream.is_some() && self.backend.accept().is_ok() {
            let story = "a second upstream connection for one client".to_owned();
            verdict.push(Violation { kind: Kind::Stray, story });
        }
        let play = self.play.take()?;
        Some(Played { number: play.script.number, violations: verdict, sockets: play.sockets })
    }
}

/// What came of a script.
#[derive(Debug)]
pub struct Played {
    /// Its number.
    pub number: u64,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// The proxy's sockets for it, which both ends have left.
    pub sockets: Vec<Held>,
}

/// One of a slot's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The backend's listening socket.
    Listener,
    /// The client's connection.
    Client,
    /// The backend's connection.
    Upstream,
}

/// What poll(2) said of a slot's two connections.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The client's.
    pub client: PollFlags,
    /// The backend's.
    pub upstream: PollFlags,
}

impl Play {
    fn accept(&mut self, backend: &TcpListener) {
        if self.upstream.is_none()
            && let Ok((stream, from)) = backend.accept()
        {
            let remote = stream.local_addr().unwrap().port();
            self.sockets.push(Held { local: from.port(), remote });
            let [up, down] = self.keys;
            self.upstream = Some(End::new(stream, &self.script.upstream, down, up));
        }
    }

    fn step(&mut self, now: Moment, ready: Ready) {
        if self.upstream.is_some() || self.script.eager {
            self.client.step(now, ready.client);
            self.note_crossing();
        }
        if let Some(upstream) = &mut self.upstream {
            let got = upstream.record.got;
            upstream.step(now, ready.upstream);
            if got < SHRUNK_FOR && upstream.record.got >= SHRUNK_FOR {
                upstream.widen();
            }
            // What a backend had sent when it left is due in any case.
            if let Some(left) = &mut upstream.record.left {
                left.crossed = true;
            }
        }
        if self.client.socket().is_none() {
            self.gone.get_or_insert(now);
        }
    }

    fn note_crossing(&mut self) {
        let crossed = self.client.record.got > 0
            || self.upstream.as_ref().is_some_and(|upstream| upstream.record.got > 0);
        if self.gone.is_none()
            && let Some(left) = &mut self.client.record.left
        {
            left.crossed = crossed;
        }
    }

    fn verdict(&mut self, now: Moment, bounds: Bounds) -> Option<Vec<Violation>> {
        if let Some((kind, story)) = self.frozen(now, bounds.freeze) {
            self.client.abandon();
            return Some(vec![Violation { kind, story }]);
        }
        let over = match &self.upstream {
            Some(upstream) => upstream.socket().is_none() && self.client.socket().is_none(),
            None => self.gone.is_some_and(|gone| now > gone + bounds.late),
        };
        over.then(|| {
            judge(&self.client.record, self.upstream.as_ref().map(|upstream| &upstream.record))
        })
    }

    /// What stands still, if something does.
    fn frozen(&mut self, now: Moment, freeze: Duration) -> Option<(Kind, String)> {
        let Some(upstream) = &self.upstream else {
            let waits = !self.script.eager || self.client.is_willing(now);
            let since = self.marks[0].since;
            if since == Moment::ZERO || !waits {
                self.marks[0].since = now;
            }
            let frozen = waits && since > Moment::ZERO && now > since + freeze;
            let story = || format!("not accepted upstream: {:?}", self.client.record);
            return frozen.then(|| (Kind::Freeze, story()));
        };
        let halves = [("up", &self.client, upstream), ("down", upstream, &self.client)];
        for ((name, from, to), mark) in halves.into_iter().zip(&mut self.marks) {
            let (sent, got) = (from.record.sent, to.record.got);
            let ended = from.record.finished || from.record.left.is_some();
            let willing = to.is_willing(now);
            let back = from.record.got;
            let seen = Mark { since: mark.since, sent, got, back, ended, willing };
            // The other way round too: a sender is stuck whose receiver is gone and who is not told.
            let stuck = from.blocked && from.socket().is_some() && to.socket().is_none();
            let due = willing && (sent > got || ended) || to.awaits_reset();
            if seen != *mark || !(due || stuck) {
                *mark = Mark { since: now, ..seen };
            } else if now > mark.since + freeze {
                let records = (&from.record, &to.record);
                let story = format!("{name} since {:?}: {records:?}", mark.since);
                return Some((stillness(&from.record, &to.record), story));
            }
        }
        None
    }
}

/// Which promise this stillness breaks: none if all that is missing is the word of an abort that
/// happened while bytes were on the way.
fn stillness(from: &Record, to: &Record) -> Kind {
    match from.left {
        Some(left) if left.aborted && left.in_flight && to.got >= left.acknowledged => {
            Kind::UntoldByTcp
        }
        _ => Kind::Freeze,
    }
}
