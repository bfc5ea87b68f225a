//! The answer of an HTTP/1 server (RFC 9112): its status and as much of its body as has come.

use httparse::Status::{Complete, Partial};

use super::Malformed;

/// Header lines that are read.
const HEADERS: usize = 128;

/// An answer whose head is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// What has come of the body, without the frames of chunks.
    pub body: Vec<u8>,
    /// True exactly when that is all of it.
    pub complete: bool,
}

/// What has come, and what it answers.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Everything from the first byte on.
    pub bytes: &'a [u8],
    /// True exactly when no more will come.
    pub ended: bool,
    /// True exactly when it answers a HEAD, so that it has no body.
    pub head: bool,
}

/// Reads an answer; interim ones are passed over. None if more has to come.
///
/// # Errors
/// It is no answer, or has more header lines than are read.
pub fn answer(heard: Heard<'_>) -> Result<Option<Answer>, Malformed> {
    let mut rest = heard.bytes;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(rest).map_err(|_| Malformed)? {
            Complete(length) => length,
            Partial => return Ok(None),
        };
        let status = response.code.filter(|code| (100..600).contains(code)).ok_or(Malformed)?;
        rest = rest.get(length..).unwrap_or_default();
        if (102..200).contains(&status) || status == 100 {
            continue;
        }
        let without = heard.head || matches!(status, 101 | 204 | 304);
        let frame = if without { Frame::Length(0) } else { frame(response.headers)? };
        let (body, complete) = match frame {
            Frame::Chunks => chunks(rest)?,
            Frame::Length(length) => {
                let body = rest.get(..length).unwrap_or(rest);
                (body.to_vec(), body.len() == length)
            }
            Frame::UntilTheEnd => (rest.to_vec(), false),
        };
        return Ok(Some(Answer { status, body, complete: complete || heard.ended }));
    }
}

/// How the end of a body is known.
enum Frame {
    Length(usize),
    Chunks,
    UntilTheEnd,
}

fn frame(headers: &[httparse::Header<'_>]) -> Result<Frame, Malformed> {
    let find = |name| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if find("transfer-encoding").is_some() {
        return Ok(Frame::Chunks);
    }
    let Some(header) = find("content-length") else { return Ok(Frame::UntilTheEnd) };
    let text = std::str::from_utf8(header.value).map_err(|_| Malformed)?;
    text.trim().parse().map(Frame::Length).map_err(|_| Malformed)
}

/// The body within its chunks, and whether all of it has come.
fn chunks(mut rest: &[u8]) -> Result<(Vec<u8>, bool), Malformed> {
    let mut body = Vec::new();
    loop {
        let (head, size) = match httparse::parse_chunk_size(rest).map_err(|_| Malformed)? {
            Complete((_, 0)) => return Ok((body, true)),
            Complete(found) => found,
            Partial => return Ok((body, false)),
        };
        let size = usize::try_from(size).map_err(|_| Malformed)?;
        let after = rest.get(head..).unwrap_or_default();
        let chunk = after.get(..size).unwrap_or(after);
        body.extend_from_slice(chunk);
        match after.get(chunk.len()..).unwrap_or_default() {
            [b'\r', b'\n', next @ ..] if chunk.len() == size => rest = next,
            [] | [b'\r'] => return Ok((body, false)),
            _ => return Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, ended: bool) -> Result<Option<Answer>, Malformed> {
        answer(Heard { bytes: text.as_bytes(), ended, head: false })
    }

    fn good(text: &str, ended: bool) -> (u16, String, bool) {
        let answer = read(text, ended).unwrap().unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap(), answer.complete)
    }

    #[test]
    fn a_body_ends_by_its_length_its_last_chunk_or_with_the_connection() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(good(&format!("{length}o"), false), (200, "o".into(), false));
        assert_eq!(good(&format!("{length}okay"), false), (200, "ok".into(), true));
        let open = "HTTP/1.0 404 no\r\n\r\nfar";
        assert_eq!(good(open, false), (404, "far".into(), false));
        assert_eq!(good(open, true), (404, "far".into(), true));
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "3;x=y\r\nfor\r\n5\r\nebays\r\n0\r\n\r\n";
        for cut in 0..body.len() {
            let (status, part, complete) = good(&format!("{head}{}", &body[..cut]), false);
            assert!("forebays".starts_with(&part) && status == 200, "{part}");
            assert_eq!(complete, cut >= body.len() - 2, "{cut}");
        }
    }

    #[test]
    fn some_answers_have_no_body() {
        assert_eq!(good("HTTP/1.1 204 No Content\r\n\r\nx", false), (204, String::new(), true));
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let answer = answer(Heard { bytes, ended: false, head: true }).unwrap().unwrap();
        assert!(answer.complete);
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let text =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 500 x\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut], false), Ok(None), "{cut}");
        }
        assert_eq!(good(text, false).0, 500);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in
            ["SSH-2.0-OpenSSH_9.2\r\n", "\0\0", "HTTP/1.1 999 x\r\n\r\n", "HTTP/2 200\r\n\r\n"]
        {
            assert_eq!(read(text, false), Err(Malformed), "{text}");
        }
        let framed = |header: &str| read(&format!("HTTP/1.1 200 OK\r\n{header}"), false);
        assert_eq!(framed("Content-Length: -1\r\n\r\n"), Err(Malformed));
        assert_eq!(framed(&"A: b\r\n".repeat(HEADERS + 1)), Err(Malformed));
        let chunked = "Transfer-Encoding: chunked\r\n\r\n";
        for body in ["x\r\n", "1\r\nab\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(framed(&format!("{chunked}{body}")), Err(Malformed), "{body}");
        }
        assert!(framed(&format!("{chunked}ffffffffffffffff\r\nab")).is_ok());
    }
}
