//! A TUN device: what the kernel of one namespace sends into it is read here, and the other way round.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt as _;

/// Makes the device in the namespace of the calling thread; it lives as long as the file.
pub fn create(name: &str) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .unwrap();
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("small flags"),
        },
    };
    assert!(name.len() < libc::IFNAMSIZ, "{name} is too long");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    #[allow(unsafe_code, reason = "no crate of the tree wraps TUNSETIFF")]
    // SAFETY: the descriptor is open for the whole call; TUNSETIFF reads and writes one `ifreq`,
    // and the address is that of a live one whose name ends with a zero byte.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(result, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
    file
}
