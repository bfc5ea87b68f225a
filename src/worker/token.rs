//! What an event is about, packed into the number that the poll carries.
//!
//! A session's token holds a generation, so that an event of a socket that is closed already, whose
//! place in the table may be taken again, finds nothing.

use mio::Token;

use crate::session::Who;

/// Set in tokens that are not about a session.
const OTHER: usize = 1 << 63;
/// Bits of an index.
const INDEX: u32 = 31;

/// A session's place in the table and which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: usize,
    pub(super) generation: u32,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// One side of a session.
    Session(Key, Who),
    /// A listening socket, by its place.
    Ear(usize),
    /// Somebody has something for this worker.
    Waker,
}

impl From<About> for Token {
    fn from(about: About) -> Self {
        Self(match about {
            About::Waker => usize::MAX,
            About::Ear(index) => OTHER | index,
            About::Session(key, who) => {
                let side = usize::from(who == Who::Upstream);
                let generation = key.generation as usize & ((1 << INDEX) - 1);
                generation << (INDEX + 1) | key.index << 1 | side
            }
        })
    }
}

impl From<Token> for About {
    fn from(Token(number): Token) -> Self {
        if number == usize::MAX {
            return Self::Waker;
        }
        if number & OTHER != 0 {
            return Self::Ear(number & !OTHER);
        }
        let who = if number & 1 == 0 { Who::Client } else { Who::Upstream };
        let index = number >> 1 & ((1 << INDEX) - 1);
        #[allow(clippy::cast_possible_truncation, reason = "31 bits are left")]
        let generation = (number >> (INDEX + 1)) as u32;
        Self::Session(Key { index, generation }, who)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(index in 0..1usize << 31, generation in 0..1u32 << 31, up: bool) {
            let who = if up { Who::Upstream } else { Who::Client };
            let about = About::Session(Key { index, generation }, who);
            prop_assert_eq!(About::from(Token::from(about)), about);
            prop_assert_eq!(About::from(Token::from(About::Ear(index))), About::Ear(index));
        }
    }

    #[test]
    fn the_waker_is_nothing_else() {
        assert_eq!(About::from(Token::from(About::Waker)), About::Waker);
    }
}
