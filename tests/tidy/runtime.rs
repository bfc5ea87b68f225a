// stands in src/worker/mod.rs
//! A worker that waits on the control plane's runtime.

use tokio::net::TcpStream;

fn hold(_: TcpStream) {}
