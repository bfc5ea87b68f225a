//! `system`: what getaddrinfo(3) says, from a file of hosts that the test changes.

use std::path::Path;

use super::support::{Backend, Forebay, Peer, SOON, Start, eventually, left_out, root_or_left_out};

/// Becomes the program that follows, for which `hosts` and `resolv.conf` of a directory are those of
/// the machine.
fn with_files_of(directory: &Path) -> Vec<String> {
    let bind = |name: &str| format!("mount --bind {}/{name} /etc/{name}", directory.display());
    let script = format!("{} && {} && exec \"$@\"", bind("hosts"), bind("resolv.conf"));
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into()
}

#[test]
fn what_the_system_does_not_know_any_more_keeps_its_last_answer() {
    if left_out(&["unshare", "mount"]) || root_or_left_out() {
        return;
    }
    let (one, directory) = (Backend::naming("one"), tempfile::tempdir().unwrap());
    let port = one.address().port();
    // Written in place: what is bound to a name is the file, not its directory's entry.
    let say = |hosts: &str| std::fs::write(directory.path().join("hosts"), hosts).unwrap();
    say("127.0.0.1 app.example\n");
    // Nobody answers there, which is told at once.
    let nobody = "nameserver 127.0.0.77\noptions timeout:1 attempts:1\n";
    std::fs::write(directory.path().join("resolv.conf"), nobody).unwrap();
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [pool.app]\nbackends = [\"app.example:{port}\"]\nresolve_interval = \"1s\"\n"
    );
    let before = with_files_of(directory.path());
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let forebay = Start::new(config).under(&before).start();
    let reached = || Peer::connect(forebay.address("web")).line();
    assert_eq!(reached().as_deref(), Some("one"));
    let told = |forebay: &Forebay, what: &str| forebay.said().matches(what).count();

    say("127.0.0.1 other.example\n");
    forebay.expect_said("the last answer is kept");
    assert_eq!(reached().as_deref(), Some("one"));
    say("127.0.0.1 app.example\n");
    forebay.expect_said("can be resolved again");
    say("127.0.0.1 other.example\n");
    eventually(SOON, || told(&forebay, "the last answer is kept") == 2);
    // Another answer is another backend.
    say("127.0.0.2 app.example\n");
    let two = Backend::at(format!("127.0.0.2:{port}").parse().unwrap(), |peer| peer.send(b"two\n"));
    eventually(SOON, || reached().as_deref() == Some("two"));
    assert_eq!(told(&forebay, "can be resolved again"), 2);
    drop(two);
}
