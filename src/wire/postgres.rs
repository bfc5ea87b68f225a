//! What a PostgreSQL server and its client say (protocol 3.0, "Message Formats" of its manual), as far as
//! logging in and asking for one value takes.

use super::Malformed;

/// Bytes of a message; a longer one has no place where this is read.
const LONGEST: usize = 64 << 10;

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// The login is complete.
    LoggedIn,
    /// It wants the password as it is.
    Password,
    /// It wants the password hashed with this salt.
    Md5([u8; 4]),
    /// It wants SASL; true exactly when SCRAM-SHA-256 is among its mechanisms.
    Sasl(bool),
    /// The next part of SASL.
    SaslContinue(&'a [u8]),
    /// The last part of SASL.
    SaslFinal(&'a [u8]),
    /// It wants a login of this number, which is not known here.
    UnknownLogin(u32),
    /// What is wrong.
    Error(&'a [u8]),
    /// The first value of a row; none if it is null.
    Row(Option<&'a [u8]>),
    /// It waits for a query.
    Ready,
    /// Something else.
    Other,
}

/// Reads a message, and how many bytes it has. None if more has to come.
///
/// # Errors
/// It is no message, or a longer one than is read.
pub fn message(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Malformed> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    if !tag.is_ascii_alphanumeric() {
        return Err(Malformed);
    }
    let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=LONGEST).contains(&length) {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..length - 4) else { return Ok(None) };
    let message = match tag {
        b'R' => login(body)?,
        b'E' => Message::Error(text_of_error(body)),
        b'D' => Message::Row(first_value(body)?),
        b'Z' => Message::Ready,
        _ => Message::Other,
    };
    Ok(Some((message, 1 + length)))
}

fn login(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let (kind, rest) = body.split_first_chunk().ok_or(Malformed)?;
    Ok(match u32::from_be_bytes(*kind) {
        0 => Message::LoggedIn,
        3 => Message::Password,
        5 => Message::Md5(*rest.first_chunk().ok_or(Malformed)?),
        10 => Message::Sasl(rest.split(|byte| *byte == 0).any(|name| name == b"SCRAM-SHA-256")),
        11 => Message::SaslContinue(rest),
        12 => Message::SaslFinal(rest),
        other => Message::UnknownLogin(other),
    })
}

/// Its field `M`; empty if it has none.
fn text_of_error(body: &[u8]) -> &[u8] {
    let fields = body.split(|byte| *byte == 0);
    fields.filter_map(|field| field.strip_prefix(b"M")).next().unwrap_or_default()
}

fn first_value(body: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (columns, rest) = body.split_first_chunk().ok_or(Malformed)?;
    if u16::from_be_bytes(*columns) == 0 {
        return Err(Malformed);
    }
    let (length, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    match i32::from_be_bytes(*length) {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            rest.get(..length).map(Some).ok_or(Malformed)
        }
    }
}

/// The first message of a client: who it is and what it wants. No text may have a zero in it.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", "forebay", ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    framed(None, &body)
}

/// A password, as it is or hashed.
pub fn password(text: &[u8]) -> Vec<u8> {
    framed(Some(b'p'), &[text, b"\0"].concat())
}

/// The choice of SCRAM-SHA-256, with its first part.
pub fn scram_begin(part: &[u8]) -> Vec<u8> {
    framed(Some(b'p'), &[&b"SCRAM-SHA-256\0"[..], &length_of(part.len()), part].concat())
}

/// The next part of SASL.
pub fn sasl_part(part: &[u8]) -> Vec<u8> {
    framed(Some(b'p'), part)
}

/// A query, which may have no zero in it.
pub fn query(text: &str) -> Vec<u8> {
    framed(Some(b'Q'), &[text.as_bytes(), b"\0"].concat())
}

/// The leave that a client takes.
pub fn terminate() -> Vec<u8> {
    framed(Some(b'X'), b"")
}

/// A message: its tag if it has one, its length (itself included), and its body.
fn framed(tag: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = length_of(body.len() + 4);
    tag.into_iter().chain(length).chain(body.iter().copied()).collect()
}

fn length_of(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
        super::framed(Some(tag), body)
    }

    #[test]
    fn a_client_says_its_messages_with_their_lengths() {
        let text = b"\0\x03\0\0user\0u\0database\0d\0application_name\0forebay\0\0";
        assert_eq!(startup("u", "d"), [&b"\0\0\0\x34"[..], text].concat());
        assert_eq!(password(b"x"), b"p\0\0\0\x06x\0");
        let begin = b"p\0\0\0\x1bSCRAM-SHA-256\0\0\0\0\x05n,,r=";
        assert_eq!(scram_begin(b"n,,r="), begin);
        assert_eq!(sasl_part(b"c=x"), b"p\0\0\0\x07c=x");
        assert_eq!(query("SELECT 1"), b"Q\0\0\0\x0dSELECT 1\0");
        assert_eq!(terminate(), b"X\0\0\0\x04");
    }

    #[test]
    fn messages_are_read_wherever_they_are_cut() {
        let error = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0";
        for (tag, body, expected) in [
            (b'R', &[0, 0, 0, 0][..], Message::LoggedIn),
            (b'R', &[0, 0, 0, 3], Message::Password),
            (b'R', &[0, 0, 0, 5, 1, 2, 3, 4], Message::Md5([1, 2, 3, 4])),
            (b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", Message::Sasl(true)),
            (b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0", Message::Sasl(false)),
            (b'R', b"\0\0\0\x0br=x", Message::SaslContinue(b"r=x")),
            (b'R', b"\0\0\0\x0cv=x", Message::SaslFinal(b"v=x")),
            (b'R', &[0, 0, 0, 7], Message::UnknownLogin(7)),
            (b'E', error, Message::Error(b"password authentication failed")),
            (b'E', b"", Message::Error(b"")),
            (b'D', b"\0\x01\0\0\0\x01t", Message::Row(Some(b"t"))),
            (b'D', b"\0\x01\xff\xff\xff\xff", Message::Row(None)),
            (b'Z', b"I", Message::Ready),
            (b'S', b"server_version\x0015.0\0", Message::Other),
        ] {
            let bytes = framed(tag, body);
            for cut in 0..bytes.len() {
                assert_eq!(message(&bytes[..cut]), Ok(None), "{cut}");
            }
            let more = [&bytes[..], b"more"].concat();
            assert_eq!(message(&more), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request"[..],
            b"\0\0",
            b"Z\0\0\0\x03",
            b"Z\xff\xff\xff\xff",
            &framed(b'R', b"\0\0"),
            &framed(b'R', b"\0\0\0\x05\x01"),
            &framed(b'D', b"\0\0"),
            &framed(b'D', b"\0\x01\0\0\0\x09t"),
            &framed(b'D', b"\0\x01\xff\xff\xff\xfe"),
        ] {
            assert_eq!(message(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
