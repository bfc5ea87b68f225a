//! Bytes that tell where in their stream they belong, so that any loss, repeat or swap is seen.

use std::sync::LazyLock;

/// A prime, so that no buffer size divides the period.
const PERIOD: usize = 1_048_583;

/// The longest piece that is handed out at once.
pub const PIECE: usize = 256 * 1024;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(0x666f_7265_6261_7921);
    let mut table: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
    let head: Vec<u8> = table[..PIECE].to_vec();
    table.extend_from_slice(&head);
    table
});

/// One endless stream of bytes; streams of different keys differ.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    start: usize,
}

impl Pattern {
    /// The stream of this key.
    pub fn new(key: u64) -> Self {
        let mixed = (key ^ (key >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { start: usize::try_from(mixed % PERIOD as u64).expect("below the period") }
    }

    /// At most `length` (and at most `PIECE`) bytes of the stream from `position`.
    pub fn piece(self, position: u64, length: usize) -> &'static [u8] {
        let offset = usize::try_from(position % PERIOD as u64).expect("below the period");
        let from = (self.start + offset) % PERIOD;
        &TABLE[from..from + length.min(PIECE)]
    }

    /// Where in `bytes`, read at `position`, the first wrong byte stands.
    pub fn first_difference(self, position: u64, bytes: &[u8]) -> Option<u64> {
        let mut done = 0;
        while done < bytes.len() {
            let at = position + done as u64;
            let expected = self.piece(at, bytes.len() - done);
            let got = &bytes[done..done + expected.len()];
            if got != expected {
                let within = got.iter().zip(expected).position(|(a, b)| a != b)?;
                return Some(at + within as u64);
            }
            done += expected.len();
        }
        None
    }
}
