//! Whether backends are healthy: what measures them, and when.
//!
//! Each probed backend has a task of its own on the control thread. What a probe finds is noted in the
//! model, where workers read it and where it outlives a reload; control is told of changes alone. No
//! session is touched from here.

mod rounds;

mod tcp;

mod send_expect;

mod http;

mod redis;

mod postgres;

mod exec;

mod conversation;
mod pattern;
mod said;

pub use rounds::{Changed, OnChange, Rounds};

use exec::Exec;
use http::Http;
use postgres::Postgres;
use redis::Redis;
use send_expect::SendExpect;

use crate::balance::NoOptions;
use crate::plugin::Registry;

/// Adds the probes that Forebay brings along.
pub fn register(registry: &mut Registry) {
    registry
        .probe("tcp", |options| {
            options.read::<NoOptions>()?;
            Ok(tcp::Tcp)
        })
        .probe("send-expect", SendExpect::from_options)
        .probe("http", Http::from_options)
        .probe("redis-master", |options| Redis::from_options(options, redis::Role::Master))
        .probe("redis-replica", |options| Redis::from_options(options, redis::Role::Replica))
        .probe("postgres-primary", |it| Postgres::from_options(it, postgres::Role::Primary))
        .probe("postgres-replica", |it| Postgres::from_options(it, postgres::Role::Replica))
        .probe("exec", Exec::from_options);
}
