//! What a probed server answers: Redis, PostgreSQL, HTTP. The first byte says which.

use forebay::wire::http::{Heard, answer};
use forebay::wire::postgres::message;
use forebay::wire::resp::reply;

pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 3 {
        0 => stays_what_it_is(bytes, |bytes| reply(bytes).map_err(drop)),
        1 => stays_what_it_is(bytes, |bytes| message(bytes).map_err(drop)),
        _ => http(bytes, which & 4 == 4),
    }
}

/// What was read of the first bytes is read of all of them too, and never of more than there were.
fn stays_what_it_is<'a, T: PartialEq + std::fmt::Debug>(
    bytes: &'a [u8],
    read: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, ()>,
) {
    let whole = read(bytes);
    for cut in 0..bytes.len() {
        match read(&bytes[..cut]) {
            Ok(None) => {}
            known => {
                if let Ok(Some((_, length))) = &known {
                    assert!(*length <= cut, "{length} of {cut}");
                }
                assert_eq!(known, whole, "cut at {cut}");
            }
        }
    }
}

/// A status that was read stays, and a body only grows.
fn http(bytes: &[u8], head: bool) {
    let mut before: Option<(u16, usize)> = None;
    for cut in 0..=bytes.len() {
        let heard = Heard { bytes: &bytes[..cut], ended: false, head };
        let Ok(Some(found)) = answer(heard) else { continue };
        assert!((100..600).contains(&found.status) && found.body.len() <= cut);
        if let Some((status, length)) = before {
            assert!(status == found.status && length <= found.body.len(), "cut at {cut}");
        }
        before = Some((found.status, found.body.len()));
        let ended = answer(Heard { ended: true, ..heard }).expect("read once").expect("read once");
        assert!(ended.complete && ended.body == found.body);
    }
}
