//! How little the image is and needs: its size, its rights, its share of processors, names from files.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use super::container::number;
use super::support::{Backend, Peer};
use super::{Container, Engine, Image, Run};

/// Bytes that the image stays under.
const SMALL: u64 = 15_000_000;

/// A listener on port 8080 before this backend.
pub fn before(backend: &str) -> String {
    format!(
        "[listener.web]\naddress = \"0.0.0.0:8080\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"{backend}\"]\n"
    )
}

/// A backend on this machine that containers can reach, and that echoes.
pub fn echo(engine: &Engine) -> Backend {
    Backend::at((engine.gateway(), 0).into(), |peer| {
        let mut stream = peer.stream();
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    })
}

#[track_caller]
fn expect_served(container: &Container) {
    let mut client = Peer::connect(container.address(8080));
    client.send(b"hello");
    client.expect(b"hello");
}

#[test]
fn the_image_is_small() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let size = Image::of_forebay(&engine).size();
    assert!(size < SMALL, "{size} bytes");
}

/// What is not a directory, beside what the engine puts into every container to mount over.
#[test]
fn the_image_holds_the_program_and_one_file() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let mounted_over =
        [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
    let files = image.files();
    let own: Vec<&str> = files.lines().filter(|name| !mounted_over.contains(name)).collect();
    let (files, directories): (Vec<&str>, Vec<&str>) =
        own.into_iter().partition(|name| !name.ends_with('/'));
    assert_eq!(files, ["etc/nsswitch.conf", "forebay"]);
    assert_eq!(directories, ["dev/", "dev/pts/", "dev/shm/", "etc/", "proc/", "sys/"]);
}

#[test]
fn it_runs_without_rights_on_a_root_that_cannot_be_written() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let backend = echo(&engine);
    let container = Run::new(&image, before(&backend.address().to_string())).start();
    expect_served(&container);
    let facts = PathBuf::from(format!("/proc/{}", container.process_id()));
    let status = std::fs::read_to_string(facts.join("status")).unwrap();
    let said = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // proc_pid_status(5): the real, effective, saved and file system's number.
    assert_eq!((said("Uid"), said("Gid")), ("65532 ".repeat(4).trim().into(), said("Uid")));
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(said(capabilities), "0".repeat(16), "{capabilities}");
    }
    assert_eq!(said("NoNewPrivs"), "1");
    let mounts = std::fs::read_to_string(facts.join("mountinfo")).unwrap();
    let root = mounts.lines().find_map(|line| {
        // proc_pid_mountinfo(5): the fifth field is where, the sixth how.
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[4] == "/").then(|| fields[5].to_owned())
    });
    assert!(root.unwrap().split(',').any(|option| option == "ro"));
}

#[test]
fn one_processor_gives_one_worker() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let workers = |options: &[&str]| {
        let container = Run::new(&image, before("127.0.0.1:1")).with(options).start();
        number(&container.logged("ready").unwrap(), "workers")
    };
    let all = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!(workers(&[]), all);
    // A share of the time of all processors, not a set of them.
    assert_eq!(workers(&["--cpus", "1"]), 1);
}

#[test]
fn a_name_in_the_hosts_file_counts_whatever_the_dns_says() {
    let Some(engine) = Engine::found_or_left_out() else { return };
    let image = Image::of_forebay(&engine);
    let backend = echo(&engine);
    let host = format!("backend.invalid:{}", engine.gateway());
    let port = backend.address().port();
    let config = before(&format!("backend.invalid:{port}"));
    let container = Run::new(&image, config).with(&["--add-host", &host]).start();
    expect_served(&container);
}
