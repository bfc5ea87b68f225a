//! A file that others read at any moment: it appears whole, by rename(2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes `text` to `path`, which holds all of what it had before or all of this at every moment.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path);
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&beside));
    }
    written
}

/// In the same directory, since a rename does not cross file systems.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
