//! What a backend or a program has said, as a reason shows it: short, on one line, harmless to a
//! terminal.

/// Letters that are shown.
const SHOWN: usize = 80;

/// In quotation marks.
pub(super) fn quote(bytes: &[u8]) -> String {
    let (letters, more) = shorten(bytes);
    format!("\"{letters}\"{more}")
}

/// The first line that is not empty; none if there is none.
pub(super) fn first_line(bytes: &[u8]) -> Option<String> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let (letters, more) = shorten(lines.find(|line| !line.is_empty())?);
    Some(letters + more)
}

/// As much as is shown, escaped, and what stands for the rest.
fn shorten(bytes: &[u8]) -> (String, &'static str) {
    // A letter has four bytes at the most.
    let beginning = bytes.get(..SHOWN * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(beginning);
    let whole = beginning.len() == bytes.len() && text.chars().nth(SHOWN).is_none();
    let mut letters = String::new();
    for letter in text.chars().take(SHOWN) {
        match letter {
            '\'' => letters.push(letter),
            _ => letters.extend(letter.escape_debug()),
        }
    }
    (letters, if whole { "" } else { "…" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_short_and_escaped() {
        assert_eq!(quote("-ERR it's 'ünknown'\r\n".as_bytes()), r#""-ERR it's 'ünknown'\r\n""#);
        assert_eq!(quote(b"\x1b[2J\0\xff\""), "\"\\u{1b}[2J\\0\u{fffd}\\\"\"");
        assert_eq!(quote("\u{202e}x".as_bytes()), r#""\u{202e}x""#);
        assert_eq!(quote(&[b'x'; 80]), format!("\"{}\"", "x".repeat(80)));
        for length in [81, 319, 320, 321, 1 << 20] {
            assert_eq!(quote(&vec![b'x'; length]), format!("\"{}\"…", "x".repeat(80)));
        }
        assert!(quote(&vec![0xf0; 1000]).len() < 300);
    }

    #[test]
    fn the_first_line_that_says_something_is_taken() {
        assert_eq!(first_line(b"\r\n  disk is full\r\nmore\n").unwrap(), "disk is full");
        assert_eq!(first_line(b"a\tb").unwrap(), "a\\tb");
        assert_eq!(first_line(&[b'x'; 90]).unwrap(), format!("{}…", "x".repeat(80)));
        assert_eq!(first_line(b" \n\n"), None);
    }
}
