//! A guard of somebody's own: of each hundred clients some go to another pool, to try it out.
//!
//! ```toml
//! [listener.web]
//! address = "0.0.0.0:8080"
//! pool = "app"
//! guards = [{ canary = { percent = 10, pool = "next" } }]
//! ```
//!
//! `cargo run --example guard -- -c FILE` is Forebay with it; `… -- check -c FILE` judges its options.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use forebay::Builder;
use forebay::plugin::{Connection, Decision, Guard, Options, Problem};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Canary {
    percent: u64,
    pool: String,
    /// Clients so far.
    #[serde(skip)]
    seen: AtomicU64,
}

impl Canary {
    fn from_options(options: &Options) -> Result<Self, Vec<Problem>> {
        let canary: Self = options.read()?;
        if canary.percent > 100 {
            return Err(vec![options.problem_at("percent", "`percent` is over 100")]);
        }
        Ok(canary)
    }
}

impl Guard for Canary {
    fn decide(&self, _: &Connection<'_>) -> Decision<'_> {
        let number = self.seen.fetch_add(1, Relaxed);
        // Spread evenly: of ten in a hundred, one in each ten.
        let due = |clients: u64| clients * self.percent / 100;
        if due(number + 1) > due(number) { Decision::Pool(&self.pool) } else { Decision::Allow }
    }

    fn pools(&self) -> Vec<&str> {
        vec![&self.pool]
    }
}

fn main() -> std::process::ExitCode {
    Builder::new().guard("canary", Canary::from_options).run()
}
