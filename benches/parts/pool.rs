//! A pool as workers have it.

use std::sync::Arc;
use std::time::Instant;

use forebay::config::parse;
use forebay::model::{NoWaiters, Objects, PoolView, Resolved};
use forebay::plugin::Registry;

/// A pool of 100 backends with this policy: all that a session needs to have one of them.
pub(crate) fn pool_of_100(balance: &str) -> Arc<PoolView> {
    let backends: Vec<String> = (0..100).map(|at| format!("\"10.0.0.{at}:80\"")).collect();
    let text = format!(
        "[listener.web]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n\
         [pool.app]\nbalance = \"{balance}\"\nbackends = [{}]\n",
        backends.join(", ")
    );
    let config = parse(&text, "file", &|_| None).config;
    let mut objects = Objects::new(Arc::new(NoWaiters), Instant::now());
    let snapshot = config.ok().and_then(|config| {
        objects.assemble(&config, &Resolved::new(), &[], &Registry::with_builtins()).ok()
    });
    let pool = snapshot.and_then(|snapshot| snapshot.pools.get("app").map(Arc::clone));
    pool.unwrap_or_else(|| unreachable!("a good file"))
}
