//! A server of names that means ill, or is broken: the last good answer stays in use.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::support::{Backend, Forebay, Peer, SOON, Start, eventually};

/// What comes instead of an answer to this question: datagrams.
type Wrong = fn(&[u8]) -> Vec<Vec<u8>>;

const ADDRESS: &[u8] = &[127, 0, 0, 1];
const ELSEWHERE: &[u8] = &[127, 0, 0, 99];
/// A, CNAME (RFC 1035, 3.2.2).
const A: u8 = 1;
const CNAME: u8 = 5;

/// NOERROR, and with other codes.
const FINE: u16 = 0x8180;
const SERVFAIL: u16 = FINE | 2;
const NXDOMAIN: u16 = FINE | 3;
const TRUNCATED: u16 = FINE | 0x0200;

const ROWS: &[(&str, Wrong)] = &[
    ("silence", |_| Vec::new()),
    ("nonsense", |_| vec![b"nonsense, but long enough".to_vec(), Vec::new(), vec![0; 3]]),
    ("flood", |query| vec![other_number(query); 200]),
    ("number", |query| vec![other_number(query)]),
    ("question", |query| {
        let mut answer = reply(query, FINE, &[record(A, ELSEWHERE)]);
        answer[13] ^= 1;
        vec![answer]
    }),
    ("query", |query| vec![query.to_vec()]),
    ("empty", |query| vec![reply(query, FINE, &[])]),
    ("nxdomain", |query| vec![reply(query, NXDOMAIN, &[])]),
    ("servfail", |query| vec![reply(query, SERVFAIL, &[])]),
    ("truncated", |query| vec![reply(query, TRUNCATED, &[])]),
    ("short", |query| {
        let mut answer = reply(query, FINE, &[record(A, ELSEWHERE)]);
        answer.truncate(answer.len() - 2);
        vec![answer]
    }),
    ("length", |query| vec![reply(query, FINE, &[record(A, &[127, 0, 0, 99, 1])])]),
    ("itself", |query| vec![reply(query, FINE, &[record(CNAME, &[0xc0, 12])])]),
    ("pointer", |query| {
        let mut answer = reply(query, FINE, &[record(A, ELSEWHERE)]);
        let at = query.len();
        // The name of the record is where the name of the record is.
        answer[at + 1] = u8::try_from(at).unwrap();
        vec![answer]
    }),
    ("everywhere", |query| vec![reply(query, FINE, &[record(A, &[0, 0, 0, 0])])]),
];

fn other_number(query: &[u8]) -> Vec<u8> {
    let mut answer = reply(query, FINE, &[record(A, ELSEWHERE)]);
    answer[0] ^= 0x55;
    answer
}

/// A message with the question of `query` and these records.
fn reply(query: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = query[..2].to_vec();
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    message.extend(&query[12..]);
    message.extend(records.concat());
    message
}

/// Of the name in the question, good for a second.
fn record(kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, length], data].concat()
}

/// A server that knows every name as 127.0.0.1, until it is to be wrong.
struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    wrong: AtomicBool,
    /// Questions for IPv4 addresses, by the first label of the name.
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Stub {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (address, shared) = (socket.local_addr().unwrap(), Arc::new(Shared::default()));
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || its.serve(&socket));
        Self { address, shared, thread: Some(thread) }
    }

    fn be_wrong(&self, wrong: bool) {
        self.shared.wrong.store(wrong, Ordering::SeqCst);
    }

    fn asked(&self, name: &str) -> usize {
        self.shared.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut query = [0; 512];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
            let query = &query[..length];
            let label = usize::from(query[12]);
            let name = String::from_utf8_lossy(&query[13..13 + label]).into_owned();
            let four = query[length - 3] == A;
            let row = ROWS.iter().find(|(row, _)| *row == name).unwrap().1;
            let datagrams = match self.wrong.load(Ordering::SeqCst) {
                true => row(query),
                false if four => vec![reply(query, FINE, &[record(A, ADDRESS)])],
                false => vec![reply(query, FINE, &[])],
            };
            for datagram in datagrams {
                let _ = socket.send_to(&datagram, from);
            }
            *self.asked.lock().unwrap().entry(name).or_default() += usize::from(four);
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// How many lines say this of this name.
fn told(forebay: &Forebay, name: &str, what: &str) -> usize {
    let host = format!("\"host\":\"{name}.example\"");
    forebay.said().lines().filter(|line| line.contains(&host) && line.contains(what)).count()
}

#[test]
fn whatever_a_server_answers_the_last_good_answer_stays_and_is_told_of_once() {
    let (stub, backend) = (Stub::start(), Backend::naming("up"));
    let (server, port) = (stub.address, backend.address().port());
    let mut config = format!(
        "[defaults.pool]\nresolve_interval = \"1s\"\nresolver = {{ dns = {{ servers = [\"{server}\"], \
         timeout = \"300ms\", attempts = 1 }} }}\n"
    );
    for (name, _) in ROWS {
        config += &format!(
            "[listener.{name}]\naddress = \"127.0.0.1:0\"\npool = \"{name}\"\n\
             [pool.{name}]\nbackends = [\"{name}.example:{port}\"]\n"
        );
    }
    let forebay = Start::new(config).sessions().start();
    let serves = |name: &str| Peer::connect(forebay.address(name)).line().as_deref() == Some("up");
    for (name, _) in ROWS {
        eventually(SOON, || serves(name));
    }
    stub.be_wrong(true);
    let before: Vec<usize> = ROWS.iter().map(|(name, _)| stub.asked(name)).collect();
    for ((name, _), before) in ROWS.iter().zip(before) {
        eventually(SOON, || told(&forebay, name, "the last answer is kept") > 0);
        eventually(SOON, || stub.asked(name) >= before + 4);
        assert!(serves(name), "{name}");
        assert_eq!(told(&forebay, name, "the last answer is kept"), 1, "{name}");
    }
    stub.be_wrong(false);
    for (name, _) in ROWS {
        eventually(SOON, || told(&forebay, name, "can be resolved again") == 1);
        assert!(serves(name), "{name}");
    }
    assert!(!forebay.said().contains("127.0.0.99"), "{}", forebay.said());
}
