//! What must hold of one connection, judged by the records of its two ends alone.

use std::fmt;

use super::end::{Record, Seen};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub kind: Kind,
    /// What was seen.
    pub story: String,
}

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is received is a prefix of what was sent.
    Prefix,
    /// A FIN means complete.
    FalseEof,
    /// A reset has a cause at the other end.
    FalseReset,
    /// What had been acknowledged to the sender is delivered to a receiver that reads to the end.
    Lost,
    /// Nothing stands still while both ends are willing, and a reset after a FIN is told too.
    Freeze,
    /// Both sides are gone within a second after both ends are.
    Held,
    /// Not a promise: a reset whose sequence number is past what the receiving kernel had room for is
    /// answered by a challenge ACK (RFC 5961), which Linux sends at most twice a second.
    UntoldByTcp,
    /// One client connection makes at most one connection to one backend.
    Stray,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.story)
    }
}

/// Every promise broken to either end.
pub fn judge(client: &Record, upstream: Option<&Record>) -> Vec<Violation> {
    let Some(upstream) = upstream else { return judge_unaccepted(client) };
    let mut all = judge_half("up", client, upstream);
    all.extend(judge_half("down", upstream, client));
    all
}

/// No upstream connection was ever seen: right only for a client that left before, and told no FIN of data.
fn judge_unaccepted(client: &Record) -> Vec<Violation> {
    let gone = client.left.is_some_and(|left| left.aborted || client.sent == 0);
    let story = format!("no upstream connection was made for {client:?}");
    if gone { Vec::new() } else { vec![Violation { kind: Kind::Lost, story }] }
}

fn judge_half(name: &str, from: &Record, to: &Record) -> Vec<Violation> {
    let mut kinds = Vec::new();
    if to.wrong.is_some() || to.got > from.sent {
        kinds.push(Kind::Prefix);
    }
    let complete = from.finished && to.got == from.sent;
    if to.seen == Some(Seen::Eof) && !complete {
        kinds.push(Kind::FalseEof);
    }
    let reset = to.seen == Some(Seen::Reset) || to.reset_after_fin;
    if reset && !may_reset(from, to) {
        kinds.push(Kind::FalseReset);
    }
    if to.seen.is_some() && to.got < due(from) {
        kinds.push(Kind::Lost);
    }
    let story = format!("{name}: from {from:?} to {to:?}");
    kinds.into_iter().map(|kind| Violation { kind, story: story.clone() }).collect()
}

/// True exactly when the sender's kernel may have sent a reset: the sender aborted, or went away
/// while bytes were still coming to it.
fn may_reset(from: &Record, to: &Record) -> bool {
    from.left.is_some_and(|left| left.aborted || to.sent > left.got)
}

/// Bytes that a receiver which reads to the end is owed.
fn due(from: &Record) -> u64 {
    match from.left {
        None => from.sent,
        // A client that leaves before anything went through may be taken for one that left
        // while connecting, and then nothing of it is delivered.
        Some(left) if !left.crossed && left.aborted => 0,
        Some(left) => left.acknowledged,
    }
}
