//! Bytes as a source of small decisions: zeros when they are used up.

pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Mostly a small number, sometimes one at the end of its type, sometimes any.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            small @ ..200 => u32::from(small) % 20,
            200..220 => u32::MAX - u32::from(self.byte() % 4),
            _ => self.long() as u32,
        }
    }
}
