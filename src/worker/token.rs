//! What an event is about, packed into the number that the poll carries.
//!
//! A session's token holds a generation, so that an event of a socket that is closed already, whose
//! place in the table may be taken again, finds nothing.

use mio::Token;

use super::table::Key;
use crate::session::Who;

/// Set in tokens that are not about a session.
const OTHER: usize = 1 << 63;
/// Bits of an index.
const INDEX: u32 = 30;
/// Bits of a generation.
const GENERATION: u32 = 31;
/// What a socket of a session is, in the two lowest bits.
const CLIENT: usize = 0;
const UPSTREAM: usize = 1;
const HEDGE: usize = 2;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// One side of a session.
    Session(Key, Who),
    /// The second connect of a session.
    Hedge(Key),
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
            About::Session(key, Who::Client) => of_session(key, CLIENT),
            About::Session(key, Who::Upstream) => of_session(key, UPSTREAM),
            About::Hedge(key) => of_session(key, HEDGE),
        })
    }
}

fn of_session(key: Key, socket: usize) -> usize {
    let generation = key.generation as usize & ((1 << GENERATION) - 1);
    generation << (INDEX + 2) | key.index << 2 | socket
}

impl From<Token> for About {
    fn from(Token(number): Token) -> Self {
        if number == usize::MAX {
            return Self::Waker;
        }
        if number & OTHER != 0 {
            return Self::Ear(number & !OTHER);
        }
        let index = number >> 2 & ((1 << INDEX) - 1);
        #[allow(clippy::cast_possible_truncation, reason = "31 bits are left")]
        let generation = (number >> (INDEX + 2)) as u32;
        let key = Key { index, generation };
        match number & 3 {
            CLIENT => Self::Session(key, Who::Client),
            UPSTREAM => Self::Session(key, Who::Upstream),
            _ => Self::Hedge(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(index in 0..1usize << 30, generation in 0..1u32 << 31, up: bool) {
            let who = if up { Who::Upstream } else { Who::Client };
            let about = About::Session(Key { index, generation }, who);
            prop_assert_eq!(About::from(Token::from(about)), about);
            let about = About::Hedge(Key { index, generation });
            prop_assert_eq!(About::from(Token::from(about)), about);
            prop_assert_eq!(About::from(Token::from(About::Ear(index))), About::Ear(index));
        }
    }

    #[test]
    fn the_waker_is_nothing_else() {
        assert_eq!(About::from(Token::from(About::Waker)), About::Waker);
    }
}
