//! What pools ask of the sockets towards backends: tried before a file is taken into use, since else
//! every connect would fail.

use super::Failure;
use crate::config::{Pool, Problem};
use crate::net;

/// Tries what `new` asks and `old` did not. A `source` that this host does not have is only told of:
/// it may come, as an address does that moves between hosts.
pub(super) fn check(old: &[Pool], new: &[Pool]) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for pool in new {
        let before = old.iter().find(|it| it.name == pool.name);
        let congestion = pool.congestion.as_ref();
        let congestion =
            congestion.filter(|_| before.is_none_or(|it| it.congestion != pool.congestion));
        if let Some(Err(error)) = congestion.map(|name| net::try_congestion(name)) {
            problems.push(Problem::error(None, format!("pool {}: {error}", pool.name)));
        }
        let source = pool.source.filter(|_| before.is_none_or(|it| it.source != pool.source));
        if let Some((source, Err(error))) = source.map(|source| (source, net::try_source(source))) {
            let source = source.ip();
            tracing::warn!(pool = &*pool.name, %source, %error, "no connect can be made from `source`");
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Upstream(problems)) }
}
