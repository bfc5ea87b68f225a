//! The kernel's queues of one socket: what is unread, and what the other kernel has not acknowledged.

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that have arrived and were not read yet (FIONREAD).
pub fn unread(socket: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// Bytes written that the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)); a FIN counts as one.
pub fn unacknowledged(socket: impl AsFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    #[allow(unsafe_code, reason = "no crate wraps SIOCOUTQ, and the model needs it")]
    // SAFETY: the descriptor is borrowed for the whole call, and SIOCOUTQ (the same number as
    // TIOCOUTQ) writes exactly one `int` to the address, which is that of a live `c_int`.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0, "SIOCOUTQ failed: {}", std::io::Error::last_os_error());
    u64::try_from(bytes).expect("a queue is not negative")
}
