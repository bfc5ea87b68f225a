//! What a probed server answers (Redis, PostgreSQL, HTTP), and a server of names. The first byte says
//! which.

use forebay::wire::dns::{Kind, Query, Record, Records, Reply};
use forebay::wire::http::{Heard, answer};
use forebay::wire::postgres::message;
use forebay::wire::resp::reply;

pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 4 {
        0 => stays_what_it_is(bytes, |bytes| reply(bytes).map_err(drop)),
        1 => stays_what_it_is(bytes, |bytes| message(bytes).map_err(drop)),
        2 => http(bytes, which & 4 == 4),
        _ => dns(bytes, which >> 2),
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

/// What was read of a part is what is read of the whole, and fits the question and the message.
fn dns(bytes: &[u8], how: u8) {
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(how % 3)];
    let query = Query::new("a.example", kind).expect("a name");
    let message = addressed(&query, bytes, how & 0x20 == 0);
    let whole = query.read(&message);
    for cut in 0..message.len() {
        if let known @ Ok(_) = query.read(&message[..cut]) {
            assert_eq!(known, whole, "cut at {cut}");
        }
    }
    match whole {
        Ok(Reply::Records(records)) => fits(&records, kind, message.len()),
        Ok(Reply::Refused(code)) => assert!(!code.is_empty()),
        Ok(Reply::Truncated | Reply::NoSuchName) | Err(_) => {}
    }
}

/// The bytes as a message with the number of the query, which cannot be guessed, and, if that is not
/// among them, with its question behind the header.
fn addressed(query: &Query, bytes: &[u8], question: bool) -> Vec<u8> {
    let (head, rest) = bytes.split_at(bytes.len().min(HEADER - 2));
    let own = if question { &query.bytes()[HEADER..] } else { &[] };
    [&query.bytes()[..2], head, own, rest].concat()
}

/// Bytes of a message before its question (RFC 1035, 4.1.1).
const HEADER: usize = 12;

fn fits(records: &Records, kind: Kind, length: usize) {
    // The shortest has a name of a byte, and ten bytes of its own.
    assert!(records.records.len() <= length / 11, "{} records of {length}", records.records.len());
    assert!(records.records.is_empty() || records.ttl <= i32::MAX as u32, "{}", records.ttl);
    for record in &records.records {
        match record {
            Record::Address(ip) if ip.is_ipv4() => assert_eq!(kind, Kind::A),
            Record::Address(_) => assert_eq!(kind, Kind::Aaaa),
            Record::Service(service) => {
                assert_eq!(kind, Kind::Srv);
                assert_ne!(service.target.as_deref(), Some(""));
            }
        }
    }
}
