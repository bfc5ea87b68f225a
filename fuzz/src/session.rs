//! A session among simulated sockets. The bytes decide what peers, network and kernel do; the oracle
//! of the simulation judges.

pub fn run(bytes: &[u8]) {
    forebay::session::simulate(bytes);
}
