//! What is seen: a line for each session, and on a terminal a small table that is drawn anew.

use std::io;
use std::time::Duration;

use super::told::Ended;
use crate::cli::output;

/// The longest bar, in characters.
const WIDEST: u64 = 32;
/// Sessions shown of those that ended since the last look; the rest is a number.
const MOST_LINES: usize = 12;

/// A backend as the board shows it.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) address: String,
    /// True exactly when it accepts connections.
    pub(super) serves: bool,
    /// Sessions that it has served.
    pub(super) served: u64,
}

/// Where it is shown.
pub(super) struct Board {
    /// True exactly when the table is drawn below the lines.
    live: bool,
    /// Lines between the top of the table and the cursor.
    below: usize,
}

impl Board {
    /// On stdout.
    pub(super) fn new() -> Self {
        Self { live: output::live_on_stdout(), below: 0 }
    }

    /// True exactly when lines need no bar, since the table has them.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The terminal has echoed a line that somebody typed.
    pub(super) fn typed(&mut self) {
        if self.below > 0 {
            self.below += 1;
        }
    }

    /// Shows more lines, and the table as it is now.
    pub(super) fn show(&mut self, lines: &[String], rows: &[Row]) -> io::Result<()> {
        let mut text = String::new();
        if self.live && self.below > 0 {
            // To the top of the table, and clear from there.
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.below));
        }
        for line in lines.iter().take(MOST_LINES) {
            text.push_str(line);
            text.push('\n');
        }
        if let Some(more @ 1..) = lines.len().checked_sub(MOST_LINES) {
            text.push_str(&format!("  … and {more} more\n"));
        }
        if self.live {
            let table = table(rows);
            self.below = table.lines().count();
            text.push_str(&table);
        }
        if text.is_empty() { Ok(()) } else { output::answer(&text) }
    }
}

fn table(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.served).max().unwrap_or(0);
    let mut text = String::from("\n");
    for Row { name, address, serves, served } in rows {
        let (mark, state) = if *serves {
            ("\x1b[32m●\x1b[0m", "serves ")
        } else {
            ("\x1b[31m○\x1b[0m", "stopped")
        };
        let bar = bar(*served, most);
        text.push_str(&format!("  {mark} {name}  {address:<16} {state}  {bar} {served}\n"));
    }
    text
}

/// One line for one session.
pub(super) fn session(ended: &Ended, name: &str, counted: Option<(u64, u64)>) -> String {
    let (client, took, down) = (&ended.client, time(ended.took), ended.down);
    let retried = match ended.attempts {
        0 | 1 => String::new(),
        attempts => format!("  (attempt {attempts})"),
    };
    let bar = match counted {
        None => String::new(),
        Some((served, most)) => format!("  {} {served}", bar(served, most)),
    };
    format!("  {client:<21} → {name:<10} {took:>8}  {down:>5} B{bar}{retried}")
}

fn bar(count: u64, most: u64) -> String {
    let width = if most <= WIDEST { count } else { (count * WIDEST).div_ceil(most) };
    (0..width).map(|_| '█').collect()
}

fn time(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_never_grow_too_wide_and_never_vanish() {
        assert_eq!(bar(3, 10).chars().count(), 3);
        assert_eq!(bar(0, 10_000), "");
        assert_eq!(bar(1, 10_000).chars().count(), 1);
        assert_eq!(bar(10_000, 10_000).chars().count(), 32);
    }

    #[test]
    fn session_line_says_who_served_whom() {
        let ended = Ended {
            client: "127.0.0.1:50000".into(),
            backend: None,
            attempts: 2,
            down: 20,
            took: Duration::from_micros(1500),
        };
        let line = session(&ended, "backend-1", Some((2, 3)));
        assert_eq!(
            line,
            "  127.0.0.1:50000       → backend-1    1.5 ms     20 B  ██ 2  (attempt 2)"
        );
    }
}
