//! An observer of somebody's own: an access log on standard output, a line for each session.
//!
//! ```text
//! 2026-11-23T17:16:00Z 192.0.2.7:50312 web app 10.0.0.11:9000 up=78 down=5120 3.2ms finished/relay
//! ```
//!
//! `cargo run --example observer -- -c FILE >>access.log` is Forebay with it.

use std::io::Write;

use forebay::Builder;
use forebay::plugin::{Observer, SessionFacts};

struct AccessLog(std::io::Stdout);

impl Observer for AccessLog {
    fn session_ended(&mut self, facts: &SessionFacts) {
        let SessionFacts { client, listener, pool, bytes_up, bytes_down, reason, .. } = facts;
        let backend = facts.backend.as_deref().unwrap_or("-");
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let took = facts.duration.as_secs_f64() * 1e3;
        // Nobody may be reading any more, which is no reason to stop.
        let _ = writeln!(
            self.0,
            "{now} {client} {listener} {pool} {backend} \
             up={bytes_up} down={bytes_down} {took:.1}ms {reason}",
        );
    }
}

fn main() -> std::process::ExitCode {
    Builder::new().observer(AccessLog(std::io::stdout())).run()
}
