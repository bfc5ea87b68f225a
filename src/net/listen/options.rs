//! The options of listening sockets, and how they are set.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use socket2::{Protocol, Socket as Socket2, TcpKeepalive, Type};

use super::raw;
use crate::net::Keepalive;

/// After this the kernel accepts a connection although its client has sent nothing (seconds).
const DEFER_ACCEPT: i32 = 3;

/// What listening sockets are made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// listen(2) backlog.
    pub backlog: u32,
    /// TCP_DEFER_ACCEPT.
    pub client_first: bool,
    /// TCP_FASTOPEN queue length.
    pub tcp_fastopen: Option<u32>,
    /// SO_BINDTODEVICE.
    pub interface: Option<String>,
    /// IP_FREEBIND.
    pub freebind: bool,
    /// TCP_CONGESTION; inherited by what is accepted.
    pub congestion: Option<String>,
    /// Inherited by what is accepted.
    pub keepalive: Option<Keepalive>,
    /// Mode bits of a unix socket file.
    pub mode: Option<u32>,
}

/// Sets on `socket`, which has the options `from`, what `to` says differently.
pub(super) fn change_tcp(
    socket: &Socket2,
    from: &ListenOptions,
    to: &ListenOptions,
) -> io::Result<()> {
    if from.congestion != to.congestion {
        match &to.congestion {
            Some(congestion) => set_congestion(socket, congestion)?,
            None => socket.set_tcp_congestion(&default_congestion(socket)?)?,
        }
    }
    if from.keepalive != to.keepalive {
        match to.keepalive {
            Some(keepalive) => socket.set_tcp_keepalive(&keepalive_of(keepalive))?,
            None => socket.set_keepalive(false)?,
        }
    }
    if from.client_first != to.client_first {
        let seconds = if to.client_first { DEFER_ACCEPT } else { 0 };
        raw::set_defer_accept(socket.as_fd(), seconds)?;
    }
    if from.tcp_fastopen != to.tcp_fastopen {
        let length = to.tcp_fastopen.unwrap_or(0);
        raw::set_fastopen_queue(socket.as_fd(), i32::try_from(length).unwrap_or(i32::MAX))?;
    }
    Ok(())
}

/// What a new socket has.
fn default_congestion(like: &Socket2) -> io::Result<Vec<u8>> {
    let fresh = Socket2::new(like.domain()?, Type::STREAM, Some(Protocol::TCP))?;
    fresh.tcp_congestion()
}

/// TCP_CONGESTION, with words for what the kernel says of it.
pub(in super::super) fn set_congestion(socket: &Socket2, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes()).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "the kernel does not have it",
            io::ErrorKind::PermissionDenied => "the kernel does not allow it",
            _ => return error,
        };
        io::Error::other(format!("congestion {name:?}: {why}"))
    })
}

pub(in super::super) fn keepalive_of(keepalive: Keepalive) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.count)
}

pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Whether the mode of this socket's file can be set: it is given the one that it has.
pub(super) fn try_mode(path: &Path) -> io::Result<()> {
    let wrong = |error: io::Error| io::Error::other(format!("mode: {error}"));
    let file = std::fs::symlink_metadata(path).map_err(wrong)?;
    if !file.file_type().is_socket() {
        return Err(wrong(io::Error::other("its file is no socket any more")));
    }
    std::fs::set_permissions(path, file.permissions()).map_err(wrong)
}
