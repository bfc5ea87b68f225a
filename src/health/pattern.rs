//! What a file says is to be sent or expected: text, `{ hex = "…" }`, or `{ regex = "…" }`.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de};

use super::said::quote;

/// Memory that one regular expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// Bytes to send: text, or `{ hex = "…" }`.
pub(super) struct Bytes(pub(super) Vec<u8>);

/// What is looked for: text, or `{ hex = "…" }`, or `{ regex = "…" }`.
pub(super) enum Pattern {
    /// These bytes, and how a message shows them.
    Bytes(Vec<u8>, String),
    /// What this matches. It works on bytes: `.` is any of them but a line's end.
    Regex(Regex),
}

impl Pattern {
    /// Where the first that was found ends.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Bytes(wanted, _) => {
                let start = bytes.windows(wanted.len()).position(|part| part == wanted)?;
                Some(start + wanted.len())
            }
            Self::Regex(regex) => regex.find(bytes).map(|found| found.end()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(_, shown) => f.write_str(shown),
            Self::Regex(regex) => write!(f, "regex {}", quote(regex.as_str().as_bytes())),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Form { regex: false })? {
            Pattern::Bytes(bytes, _) => Ok(Self(bytes)),
            Pattern::Regex(_) => Err(de::Error::custom("a regular expression cannot be sent")),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form { regex: true })
    }
}

/// Reads either; a regular expression only where one may stand.
struct Form {
    regex: bool,
}

impl<'de> de::Visitor<'de> for Form {
    type Value = Pattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.regex {
            true => "text, { hex = \"…\" } or { regex = \"…\" }",
            false => "text or { hex = \"…\" }",
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
        if text.is_empty() {
            return Err(E::custom("the text is empty"));
        }
        Ok(Pattern::Bytes(text.into(), quote(text.as_bytes())))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Pattern, A::Error> {
        let pattern = match map.next_key()? {
            Some(Key::Hex) => map.next_value_seed(Text(hex))?,
            Some(Key::Regex) if self.regex => map.next_value_seed(Text(regex))?,
            _ => return Err(de::Error::custom(format_args!("expected {}", Expected(&self)))),
        };
        match map.next_key::<Key>()? {
            None => Ok(pattern),
            Some(_) => Err(de::Error::custom("`hex` and `regex` exclude each other")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Hex,
    Regex,
}

/// What a form expects, in words.
struct Expected<'a>(&'a Form);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        de::Visitor::expecting(self.0, f)
    }
}

/// Reads a text by a function that says what is wrong with it.
pub(super) struct Text<T>(pub(super) fn(&str) -> Result<T, String>);

impl<'de, T> de::DeserializeSeed<'de> for Text<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// Pairs of hexadecimal digits; spaces may stand anywhere.
fn hex(text: &str) -> Result<Pattern, String> {
    let digit = |letter: char| {
        let digit = letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| {
            format!("{} is no hexadecimal digit", quote(letter.to_string().as_bytes()))
        })
    };
    let letters = text.chars().filter(|letter| *letter != ' ');
    let digits: Vec<u8> = letters.map(digit).collect::<Result<_, _>>()?;
    if digits.is_empty() {
        return Err("there are no digits".to_owned());
    }
    if digits.len() % 2 == 1 {
        return Err("hexadecimal digits come in pairs".to_owned());
    }
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    Ok(Pattern::Bytes(bytes.collect(), format!("hex {}", quote(text.as_bytes()))))
}

fn regex(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("the regular expression is empty".to_owned());
    }
    let built = RegexBuilder::new(text).unicode(false).size_limit(REGEX_BYTES).build();
    built.map(Pattern::Regex).map_err(|error| {
        let error = error.to_string();
        // The last line says what is wrong; those before point at it.
        let what = error.lines().last().unwrap_or_default();
        format!("this is no regular expression: {}", what.trim_start_matches("error: "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<Pattern, String> {
        let parsed = toml::de::ValueDeserializer::parse(text).unwrap();
        Pattern::deserialize(parsed).map_err(|error| error.message().to_owned())
    }

    fn found(text: &str, bytes: &[u8]) -> Option<usize> {
        pattern(text).unwrap().find(bytes)
    }

    #[test]
    fn each_form_finds_its_bytes_and_says_where_they_end() {
        assert_eq!(found("'+PONG'", b"x+PONG\r\n"), Some(6));
        assert_eq!(found("'+PONG'", b"+PON"), None);
        assert_eq!(found("{ hex = '00 fF' }", b"\x01\x00\xffx"), Some(3));
        assert_eq!(found("{ regex = '^2[0-9]{2} .*é' }", "220 \u{e9}a".as_bytes()), Some(6));
        assert_eq!(found("{ regex = '(?s)a.b' }", b"a\xffb"), Some(3));
        assert_eq!(found("{ regex = 'a$' }", b""), None);
    }

    #[test]
    fn a_message_shows_what_the_file_says() {
        let shown = |text| pattern(text).unwrap().to_string();
        assert_eq!(shown("\"PING\\r\\n\""), r#""PING\r\n""#);
        assert_eq!(shown("{ hex = '00 ff' }"), r#"hex "00 ff""#);
        assert_eq!(shown("{ regex = '^a' }"), r#"regex "^a""#);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, said) in [
            ("''", "the text is empty"),
            ("{ hex = 'abc' }", "hexadecimal digits come in pairs"),
            ("{ hex = '0x' }", "\"x\" is no hexadecimal digit"),
            ("{ hex = ' ' }", "there are no digits"),
            ("{ regex = '' }", "the regular expression is empty"),
            ("{ regex = 'a(' }", "this is no regular expression: unclosed group"),
            ("{}", "expected text, { hex = \"…\" } or { regex = \"…\" }"),
            ("{ hex = '00', regex = 'a' }", "`hex` and `regex` exclude each other"),
        ] {
            assert_eq!(pattern(text).map(|_| ()).unwrap_err(), said);
        }
        let large = pattern("{ regex = '[a-z]{1000}{1000}' }").map(|_| ()).unwrap_err();
        assert!(large.starts_with("this is no regular expression: "), "{large}");
    }
}
