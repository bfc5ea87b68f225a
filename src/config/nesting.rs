//! How deep a text nests, found before it is parsed.
//!
//! The parser bounds brackets and dots each by 80, but not their product: dotted keys within inline
//! tables make a tree of 6,000 levels, which overflows the stack when it is dropped.

use std::ops::Range;

/// Levels of brackets and dots together. The deepest key that we know is at five.
pub(super) const DEEPEST: usize = 64;

/// Where `text` nests deeper than [`DEEPEST`], if it does.
///
/// An estimate from above for well-formed text: a dot counts until the key that it is in ends.
pub(super) fn too_deep(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // One entry for each open bracket: the dots of the key before what is open.
    let mut dots = vec![0_usize];
    let mut depth = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let mut next = at + 1;
        match byte {
            b'"' | b'\'' => next = after_string(bytes, at),
            b'#' => next = after_comment(bytes, at),
            b'.' => {
                depth += 1;
                dots.last_mut().into_iter().for_each(|count| *count += 1);
            }
            b'[' | b'{' => {
                depth += 1;
                dots.push(0);
            }
            b']' | b'}' if dots.len() > 1 => depth -= 1 + dots.pop().unwrap_or(0),
            b',' | b'\n' => depth -= dots.last_mut().map_or(0, std::mem::take),
            _ => {}
        }
        if depth > DEEPEST {
            return Some(at..next);
        }
        at = next;
    }
    None
}

fn after_comment(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// The offset after the string that opens at `at`; a string of one line ends with the line.
fn after_string(bytes: &[u8], at: usize) -> usize {
    let quote = bytes.get(at).copied().unwrap_or_default();
    let long = bytes.get(at..at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote));
    let mut next = at + if long { 3 } else { 1 };
    while let Some(byte) = bytes.get(next) {
        let three = || bytes.get(next..next + 3).is_some_and(|it| it.iter().all(|b| *b == quote));
        match byte {
            b'\\' if quote == b'"' => next += 1,
            b'\n' if !long => return next,
            byte if *byte == quote && !long => return next + 1,
            byte if *byte == quote && three() => return next + 3,
            _ => {}
        }
        next += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_dots_count_together() {
        assert_eq!(too_deep(&"[".repeat(DEEPEST)), None);
        assert_eq!(too_deep(&"[".repeat(DEEPEST + 1)), Some(64..65));
        let inner = format!("{}x = ", "a.".repeat(10));
        assert!(too_deep(&format!("x = {}", format!("{{ {inner}").repeat(8))).is_some());
        assert!(too_deep(&format!("{}x = 1", "a.".repeat(65))).is_some());
    }

    #[test]
    fn flat_text_is_flat_however_long() {
        assert_eq!(too_deep(&"a.b.c = [1.5, 2.5, { x.y = 1.0 }]\n".repeat(1000)), None);
        assert_eq!(too_deep(&format!("a = [{}]", "1.5, ".repeat(1000))), None);
        assert_eq!(too_deep(&"# [[[[[[[[[ 'a\n".repeat(100)), None);
        assert_eq!(too_deep(&"a = \"[[[\\\"[[\"\nb = '[[\\'\n".repeat(100)), None);
        assert_eq!(
            too_deep(&"a = '''\n[[[''[['''\nb = \"\"\"\n[[\\\"\"\"[[\"\"\"\n".repeat(100)),
            None
        );
        assert_eq!(too_deep("]]}}"), None);
    }
}
