//! Which way bytes go.

/// A session streams once so many bytes went one way and none the other.
const STREAM: u64 = 1 << 20;

/// Bytes that went one way since any went the other: to the client, or less than 0, to the upstream.
#[derive(Debug, Default)]
pub(super) struct OneWay(i64);

impl OneWay {
    /// So many have gone to the upstream and to the client.
    pub(super) fn note(&mut self, up: u64, down: u64) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0 = match (up, down) {
            (0, 0) => self.0,
            (0, down) => self.0.max(0).saturating_add(signed(down)),
            (up, 0) => self.0.min(0).saturating_sub(signed(up)),
            (_, _) => 0,
        };
    }

    /// True exactly when what goes to the upstream next, or to the client, is an answer: the last bytes went the
    /// other way, and none this way with them.
    pub(super) fn answers(&self) -> (bool, bool) {
        (self.0 > 0, self.0 < 0)
    }

    /// True exactly when so much has gone one way alone that nobody waits for an answer.
    pub(super) fn streams(&self) -> bool {
        self.0.unsigned_abs() >= STREAM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mebibyte_one_way_is_a_stream_until_a_byte_goes_the_other_way() {
        for (bytes, answer) in [((1, 0), (0, 1)), ((0, 1), (1, 0))] {
            let mut way = OneWay::default();
            let scale = |(up, down): (u64, u64), by: u64| (up * by, down * by);
            for _ in 0..3 {
                let (up, down) = scale(bytes, STREAM - 1);
                way.note(up, down);
                assert!(!way.streams());
                way.note(0, 0);
                way.note(bytes.0, bytes.1);
                assert!(way.streams());
                way.note(answer.0, answer.1);
                assert!(!way.streams());
            }
        }
        let mut both = OneWay::default();
        both.note(STREAM, STREAM);
        assert!(!both.streams(), "it goes both ways");
    }
}
