//! The one place with `unsafe`: getsockopt(2), setsockopt(2) and ioctl(2) for what has no safe
//! wrapper. One typed get, one typed set, one ioctl; the rest names the options.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::Liveness;

/// Types of which every bit pattern is a value, so that the kernel may fill them.
trait Plain: Copy {}
impl Plain for c_int {}
impl Plain for libc::tcp_info {}

fn get<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    #[allow(clippy::cast_possible_truncation, reason = "the size of an option's type is tiny")]
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `length` bytes, and the descriptor is borrowed, so open.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed at first and `Plain`, so it is a value however much the kernel has written.
    Ok(unsafe { value.assume_init() })
}

fn set<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: T) -> io::Result<()> {
    #[allow(clippy::cast_possible_truncation, reason = "the size of an option's type is tiny")]
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `length` bytes, and the descriptor is borrowed, so open.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes and FIN not yet acknowledged (TCP) or not yet read (unix) by the peer: SIOCOUTQ, tcp(7).
pub(super) fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut value: c_int = 0;
    // SAFETY: SIOCOUTQ writes one int to the pointer; the descriptor is borrowed, so open.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut value) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(value).unwrap_or(0))
}

/// TCP_INFO, tcp(7).
pub(super) fn liveness(fd: BorrowedFd<'_>) -> io::Result<Liveness> {
    let info: libc::tcp_info = get(fd, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(Liveness {
        last_acknowledgement: Duration::from_millis(u64::from(info.tcpi_last_ack_recv)),
        unanswered: u32::from(info.tcpi_retransmits) + u32::from(info.tcpi_probes),
    })
}

/// TCP_DEFER_ACCEPT: accept only once the client has sent something, or after about `seconds`.
pub(super) fn set_defer_accept(fd: BorrowedFd<'_>, seconds: c_int) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// TCP_FASTOPEN: length of the queue of connections that came with data (RFC 7413).
pub(super) fn set_fastopen_queue(fd: BorrowedFd<'_>, length: c_int) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, length)
}

/// IP_MINTTL (ip(7)) or IPV6_MINHOPCOUNT: segments with a shorter time to live are dropped; 0 lets
/// all through.
pub(super) fn set_min_ttl(fd: BorrowedFd<'_>, ipv6: bool, least: c_int) -> io::Result<()> {
    match ipv6 {
        false => set(fd, libc::IPPROTO_IP, libc::IP_MINTTL, least),
        true => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, least),
    }
}

/// IP_BIND_ADDRESS_NO_PORT: choose the source port at connect, so that one port serves many
/// destinations.
pub(super) fn set_bind_address_no_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}
