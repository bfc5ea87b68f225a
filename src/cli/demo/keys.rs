//! The keyboard: whole lines from stdin, sent on as they come.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::SyncSender;

use super::Event;

/// A longer line comes in pieces.
const LONGEST_LINE: u64 = 1024;

/// Reads lines on a thread of its own until stdin ends; the demo goes on without it then.
pub(super) fn watch(events: &SyncSender<Event>) -> io::Result<()> {
    let events = events.clone();
    let read = move || {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while let Ok(1..) = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if events.send(Event::Typed(text)).is_err() {
                break;
            }
            line.clear();
        }
    };
    std::thread::Builder::new().name("keyboard".into()).spawn(read)?;
    Ok(())
}
