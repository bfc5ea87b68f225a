//! What the poll tells a worker of a session's sockets.
//!
//! A call to change that costs about as much as a wake-up in vain, so nothing is changed until one has
//! come in vain.

use std::io;

use mio::Interest;
use mio::unix::SourceFd;

use super::Worker;
use super::table::Key;
use super::token::About;
use crate::net::Socket;
use crate::plugin::{Cause, EndReason};
use crate::session::{News, Who};

/// What the poll tells of a socket, besides errors, of which it tells unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// That bytes have come, a FIN, or urgent data (EPOLLPRI).
    Bytes,
    /// That there is room for more.
    Room,
    /// All of it.
    Both,
}

impl Hearing {
    pub(super) fn interest(self) -> Interest {
        let bytes = Interest::READABLE | Interest::PRIORITY;
        match self {
            Self::Bytes => bytes,
            Self::Room => Interest::WRITABLE,
            Self::Both => bytes | Interest::WRITABLE,
        }
    }
}

impl Worker {
    /// Registers the socket of an upstream, which the poll may know from before.
    pub(super) fn hear_upstream(
        &self,
        socket: &Socket,
        about: About,
        hearing: Hearing,
    ) -> io::Result<()> {
        let (registry, fd) = (self.poll.registry(), socket.raw_fd());
        match socket.is_known() {
            false => registry.register(&mut SourceFd(&fd), about.into(), hearing.interest()),
            true => registry.reregister(&mut SourceFd(&fd), about.into(), hearing.interest()),
        }
    }

    /// The one place where what a session wants to hear of is compared with what is registered.
    pub(super) fn watch(&mut self, key: Key) {
        self.keep_alive(key);
        self.hedge(key);
        self.arm(key);
        for who in [Who::Client, Who::Upstream] {
            let Some(entry) = self.table.get_mut(key) else { return };
            let wants_room = entry.session.wants_write(who);
            let wants_bytes = entry.session.wants_read(who);
            let wanted = match entry.hearing(who) {
                Hearing::Bytes if wants_room => Hearing::Both,
                Hearing::Room if wants_bytes && wants_room => Hearing::Both,
                Hearing::Room if wants_bytes => Hearing::Bytes,
                other => other,
            };
            if self.hear_of(key, who, wanted).is_err() {
                // Deaf, it would sleep until it is idle for too long.
                let Some(entry) = self.table.get_mut(key) else { return };
                let phase = entry.session.phase();
                return self.end(key, EndReason { cause: Cause::Resources, phase });
            }
        }
    }

    /// An event brought no news: it is not to come again.
    ///
    /// Bytes that come while others are read wake the poll. If they have been read by the time that it
    /// looks, it goes on sleeping, unless it is to tell of room as well. And while the other side takes
    /// nothing, each segment would wake it.
    pub(super) fn overlook(&mut self, key: Key, who: Who, news: News) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let wanted = match (news, entry.hearing(who)) {
            (News::Bytes, _) => Hearing::Room,
            (News::Room, Hearing::Both) => Hearing::Bytes,
            (News::Room | News::Some, other) => other,
        };
        // Who is still told in vain is told in vain, and no more.
        let _ = self.hear_of(key, who, wanted);
    }

    fn hear_of(&mut self, key: Key, who: Who, wanted: Hearing) -> io::Result<()> {
        let Some(entry) = self.table.get_mut(key) else { return Ok(()) };
        let Some(fd) = entry.stream(who).map(Socket::raw_fd) else { return Ok(()) };
        if entry.hearing(who) != wanted {
            let token = About::Session(key, who).into();
            let registry = self.poll.registry();
            registry.reregister(&mut SourceFd(&fd), token, wanted.interest())?;
            *entry.hearing_mut(who) = wanted;
        }
        Ok(())
    }
}
