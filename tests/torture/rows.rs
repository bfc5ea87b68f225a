//! The rows of the scorecard, by their letter. Each file holds rows and their tests.

use super::row::Row;

mod costs;
mod failing;
mod flapping;
mod health;
mod limits;
mod line;
mod load;
mod minimal;
mod pressure;
mod probing;
mod relaying;
mod reloading;
mod scale;
mod scripts;
mod stopping;
mod storm;

/// Every row, in the order of the table.
pub const ALL: &[&[Row]] = &[
    relaying::ROWS,
    scripts::ROWS,
    reloading::ROWS,
    stopping::ROWS,
    failing::ROWS,
    storm::ROWS,
    health::ROWS,
    flapping::ROWS,
    line::ROWS,
    pressure::ROWS,
    limits::ROWS,
    costs::ROWS,
    scale::ROWS,
    probing::ROWS,
];
