//! A probe that a library's user brings along: asked for each backend, and believed.

use forebay::plugin::{Measuring, Probe, Target};

use super::support::{comes_true, eventually};
use super::*;

/// `probe = { kind = { mine = { down = [ADDRESS…], wild = [ADDRESS…] } } }`: who is down, and of whom to
/// ask makes it panic, at once or later.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Mine {
    down: Vec<String>,
    wild_at_once: Vec<String>,
    wild: Vec<String>,
}

impl Probe for Mine {
    fn measure<'a>(&'a self, target: &'a Target) -> Measuring<'a> {
        let address = target.address.to_string();
        assert!(!self.wild_at_once.contains(&address), "told to");
        Box::pin(async move {
            target.wait_for("a word");
            // Tokio's timers may be used.
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(!self.wild.contains(&address), "told to");
            match self.down.contains(&address) {
                true => Err("I say so".to_owned()),
                false => Ok(()),
            }
        })
    }
}

/// Two backends, the first of which is used unless this makes it unhealthy.
fn probed(options: &str) -> (Running, [Backend; 2]) {
    let [first, second] = ["first", "second"].map(Backend::naming);
    let options = options.replace("FIRST", &format!("'{}'", first.address()));
    let probe = format!(
        "balance = 'first'\n\
         probe = {{ kind = {{ mine = {options} }}, interval = '20ms', rise = 1, fall = 2 }}"
    );
    let builder = Builder::new().probe("mine", Options::read::<Mine>);
    let running = builder.start(parse(&file(&[&first, &second], "", &probe))).unwrap();
    (running, [first, second])
}

fn reached(running: &Running) -> Option<String> {
    Peer::connect(address(running)).line()
}

#[test]
fn a_probe_of_somebody_else_is_run_and_believed() {
    let (running, _backends) = probed("{ down = [FIRST] }");
    eventually(SOON, || reached(&running).as_deref() == Some("second"));
    for _ in 0..10 {
        assert_eq!(reached(&running).as_deref(), Some("second"));
    }
    running.drain();
    running.drain();
    running.wait().unwrap();
}

#[test]
fn a_probe_that_panics_has_failed_and_harms_nobody_else() {
    for options in ["{ wild = [FIRST] }", "{ wild_at_once = [FIRST] }"] {
        let (running, _backends) = probed(options);
        let moved = comes_true(SOON, || reached(&running).as_deref() == Some("second"));
        assert!(moved, "{options}");
        // It is asked of both again and again, and the second is found healthy each time.
        for _ in 0..10 {
            assert_eq!(reached(&running).as_deref(), Some("second"), "{options}");
        }
        running.drain();
        running.drain();
        running.wait().unwrap();
    }
}

#[test]
fn wrong_options_of_a_probe_are_found_at_their_place() {
    let backend = Backend::echo();
    let text = file(&[&backend], "", "probe = { kind = { mine = { dwon = [] } } }");
    let builder = Builder::new().probe("mine", Options::read::<Mine>);
    let failure = builder.start(parse(&text)).map(|_| ()).unwrap_err();
    assert!(failure.to_string().starts_with("f.toml:7:29: unknown field `dwon`"), "{failure}");
}
