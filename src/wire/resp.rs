//! The protocol of Redis (RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>), as
//! far as asking for a role takes.

use super::Malformed;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+OK`
    Status(&'a [u8]),
    /// `-ERR what is wrong`
    Error(&'a [u8]),
    /// The first text of a list.
    List(&'a [u8]),
}

/// A command as it is sent: a list of texts.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}

/// Reads an answer, and how many bytes it has; of a list these are the bytes as far as it was read.
/// None if more has to come.
///
/// # Errors
/// It is no answer, or none of those that are known here.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Some(kind) = bytes.first() else { return Ok(None) };
    if !matches!(kind, b'+' | b'-' | b'*') {
        return Err(Malformed);
    }
    let Some((text, after)) = line(bytes) else { return Ok(None) };
    match kind {
        b'+' => Ok(Some((Reply::Status(text), after))),
        b'-' => Ok(Some((Reply::Error(text), after))),
        _ if number(text)? == 0 => Err(Malformed),
        _ => {
            let first = text_of(bytes.get(after..).unwrap_or_default())?;
            Ok(first.map(|(text, length)| (Reply::List(text), after + length)))
        }
    }
}

/// A text with its length before it, `$6\r\nmaster\r\n`, and how many bytes that has.
fn text_of(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    match bytes.first() {
        None => return Ok(None),
        Some(b'$') => {}
        Some(_) => return Err(Malformed),
    }
    let Some((length, after)) = line(bytes) else { return Ok(None) };
    let end = after.checked_add(number(length)?).ok_or(Malformed)?;
    let Some(text) = bytes.get(after..end) else { return Ok(None) };
    match bytes.get(end..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(Some((text, end + 2))),
        [] | [b'\r'] => Ok(None),
        _ => Err(Malformed),
    }
}

/// The line after its first byte, and where the next begins.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((bytes.get(1..end).unwrap_or_default(), end + 2))
}

fn number(text: &[u8]) -> Result<usize, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    // A sign is not for a length.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_list_of_texts() {
        assert_eq!(command(&["AUTH", "é"]), "*2\r\n$4\r\nAUTH\r\n$2\r\né\r\n".as_bytes());
    }

    #[test]
    fn answers_are_read_wherever_they_are_cut() {
        let master = &b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n"[..];
        for (bytes, expected, length) in [
            (&b"+OK\r\n+OK\r\n"[..], Reply::Status(b"OK"), 5),
            (b"-NOAUTH no\r\n", Reply::Error(b"NOAUTH no"), 12),
            (master, Reply::List(b"master"), 16),
        ] {
            for cut in 0..length {
                assert_eq!(reply(&bytes[..cut]), Ok(None), "{cut}");
            }
            assert_eq!(reply(bytes), Ok(Some((expected, length))));
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_at_once() {
        let huge = format!("*1\r\n${}\r\n", usize::MAX);
        for bytes in
            ["HTTP/1.1 400", ":5\r\n", "*-1\r\n", "*x\r\n", "*1\r\n:5\r\n", "*0\r\n", &huge]
        {
            assert_eq!(reply(bytes.as_bytes()), Err(Malformed), "{bytes}");
        }
        assert_eq!(reply(b"*1\r\n$1\r\nabc"), Err(Malformed));
        assert_eq!(reply(b"*1\r\n$+1\r\na\r\n"), Err(Malformed));
    }
}
