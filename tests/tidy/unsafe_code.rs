// stands in src/net/stream.rs
//! Unsafe code that is not in the one file for it.

fn read(address: *const u8) -> u8 {
    unsafe { *address }
}
