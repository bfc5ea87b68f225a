//! The ready file: real addresses, for whoever waits until Forebay listens.

use std::fs;
use std::io;
use std::path::Path;

use super::replace::replace;
use crate::control::Bound;

/// Removes what an earlier run left: its addresses would be believed before the new ones exist.
/// What is no regular file, such as /dev/stdout, is left alone and is an error: removing or
/// replacing it would break more than this program.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes one line `LISTENER ADDRESS` each. The file appears whole.
pub(super) fn write(path: &Path, bound: &[Bound]) -> io::Result<()> {
    replace(path, &lines(bound))
}

fn lines(bound: &[Bound]) -> String {
    bound.iter().map(|bound| format!("{} {}\n", bound.listener, bound.address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Address;

    #[test]
    fn ready_file_names_every_address_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        fs::write(&path, "old").unwrap();
        forget(&path).unwrap();
        forget(&path).unwrap();
        let bound =
            [("web", "127.0.0.1:41233"), ("web", "unix:/run/x.sock")].map(|(listener, address)| {
                let address = match address.strip_prefix("unix:") {
                    Some(path) => Address::Unix(path.into()),
                    None => Address::Tcp(address.parse().unwrap()),
                };
                Bound { listener: listener.into(), address }
            });
        write(&path, &bound).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "web 127.0.0.1:41233\nweb unix:/run/x.sock\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(forget(&link).is_err() && forget(directory.path()).is_err());
        assert!(link.is_symlink());
    }

    #[test]
    fn missing_directory_is_an_error() {
        assert!(write(Path::new("/nowhere/at/all/ready"), &[]).is_err());
    }
}
