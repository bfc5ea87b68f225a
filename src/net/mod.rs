//! Everything that touches the kernel: listening, connecting, socket options, splice pipes,
//! TCP_INFO and the limits of the process.
//!
//! Knows addresses and options, never listeners, pools or sessions.

mod address;
mod stream;

mod connect;
mod listen;
mod pages;
mod pipe;
mod process;
#[allow(unsafe_code, reason = "the socket calls that rustix, socket2 and nix do not wrap")]
mod raw;
mod socket;
mod spare;

pub use address::{Address, Keepalive};
pub use connect::{Attempt, ConnectOptions, connect, knock, try_congestion, try_source};
pub use listen::{Company, ListenOptions, ListeningSocket};
pub use pages::Pages;
pub use pipe::Pipe;
pub use process::{
    is_exhaustion, is_out_of_ports, memory, pin_to_cpu, raise_descriptor_limit,
    renounce_new_privileges, rest, unpin,
};
pub use socket::{Peer, Socket};
pub use spare::{SPARES, Spares};
pub use stream::{Liveness, Stream};
