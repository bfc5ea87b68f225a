//! A guard that looks at the clock.

use mio::Poll;

fn judge() {
    let _ = std::time::Instant::now();
}
