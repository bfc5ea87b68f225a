//! A memory limit that what clients leave unread could fill many times over.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::container::number;
use super::support::{Backend, End, Pattern, Peer, SOON, eventually, obtain};
use super::{Container, Engine, Image, Run};

const MEMORY: u64 = 64 << 20;

/// Clients that read nothing.
const CLIENTS: usize = 2000;

/// What the kernel holds for a connection, each way, at the far ends of a session and in the container.
/// Left to itself it gives this load more than the sockets of a whole machine may have (tcp_mem,
/// tcp(7)), and then drops segments of everybody's.
const QUEUE: usize = 16 * 1024;

/// Of these, so many read after all, this much each: no more than waits in the container, since a
/// backend whose kernel has met a closed window for long tries again only after minutes.
const READERS: usize = 20;
const LENGTH: u64 = 32 * 1024;

#[test]
fn a_memory_limit_holds_under_clients_that_do_not_read() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    forebay::net::raise_descriptor_limit();
    let image = Image::of_forebay(&engine);
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let sending = Backend::at((engine.gateway(), 0).into(), move |peer| send_on(peer, &count));
    let echo = super::confinement::echo(&engine);
    let bounded =
        format!("socket_buffer = {QUEUE}\npool = \"app\"\n[pool.app]\nsocket_buffer = {QUEUE}\n");
    let config = format!(
        "{}[listener.echo]\naddress = \"0.0.0.0:8081\"\npool = \"echo\"\n\
         [pool.echo]\nbackends = [\"{}\"]\n",
        super::confinement::before(&sending.address().to_string())
            .replace("pool = \"app\"\n[pool.app]\n", &bounded),
        echo.address()
    );
    let limit = MEMORY.to_string();
    let limits = ["--memory", &limit, "--memory-swap", &limit];
    let container = Run::new(&image, config).with(&limits).start();
    assert_eq!(number(&container.logged("ready").unwrap(), "buffers"), MEMORY / 4);
    let address = container.address(8080);
    let mut clients: Vec<Peer> =
        (0..CLIENTS).map(|_| Peer::connect_small(address, QUEUE)).collect();
    eventually(SOON * 3, || sending.live() == CLIENTS);
    expect_standstill(&sent);
    expect_alive(&container, "while nobody reads");
    for client in &mut clients[..READERS] {
        expect_bytes(client);
    }
    drop(clients);
    eventually(SOON * 3, || sending.live() == 0);
    expect_alive(&container, "after all have left");
    // The listener that they filled accepts others.
    let mut clients: Vec<Peer> =
        (0..READERS).map(|_| Peer::connect_small(address, QUEUE)).collect();
    clients.iter_mut().for_each(expect_bytes);
}

/// Sends a pattern for as long as it is taken, and counts it.
fn send_on(peer: &mut Peer, sent: &AtomicU64) {
    SockRef::from(peer.stream()).set_send_buffer_size(QUEUE).unwrap();
    let (pattern, mut position) = (Pattern::new(0), 0);
    loop {
        let Ok(taken) = peer.stream().write(pattern.piece(position, 16 * 1024)) else { return };
        position += taken as u64;
        sent.fetch_add(taken as u64, Ordering::SeqCst);
    }
}

/// Waits until every queue on the way is full: nothing more was taken for a second.
fn expect_standstill(sent: &AtomicU64) {
    let mut last = (0, Instant::now());
    let total = obtain(SOON * 6, || {
        let now = sent.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(1)).then_some(now)
    });
    assert!(total > 2 * MEMORY, "only {total} bytes were sent");
}

/// It serves newcomers, and nothing in it was killed for want of memory.
#[track_caller]
fn expect_alive(container: &Container, when: &str) {
    let mut client = Peer::connect(container.address(8081));
    for _ in 0..10 {
        client.send(b"hello");
        client.expect(b"hello");
    }
    let state = container.fact("{{.State.Running}} {{.State.OOMKilled}} {{.RestartCount}}");
    assert_eq!(state, "true false 0", "{when}");
}

/// A client that reads at last gets what was sent to it from the beginning.
#[track_caller]
fn expect_bytes(client: &mut Peer) {
    let (pattern, mut position) = (Pattern::new(0), 0);
    while position < LENGTH {
        let bytes = client.read_some(64 * 1024).unwrap_or_else(|end: End| {
            panic!("ended after {position} bytes: {end:?}");
        });
        assert_eq!(pattern.first_difference(position, &bytes), None, "at {position}");
        position += bytes.len() as u64;
    }
}
