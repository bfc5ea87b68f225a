//! What must hold of every configuration that is taken, of every problem, and of every plan.

use forebay::config::{
    BackendAddress, Choices, Config, ListenAddress, Plan, Problem, Problems, Sessions, dump, parse,
    render,
};
use forebay::plugin::Registry;
use forebay::{discovery, health};

/// Problems have places that are in their text, and reports hold no control characters of theirs.
pub fn problems(problems: &Problems) {
    for problem in problems {
        let related = problem.related.iter().map(|related| &related.place);
        for place in problem.place.iter().chain(related) {
            let text = place.source().text();
            assert!(text.get(place.span()).is_some(), "{problem}");
            let lines = text.split('\n').count();
            let position = place.position();
            assert!((1..=lines).contains(&position.line) && position.column > 0, "{problem}");
        }
        one_line(&problem.to_string());
    }
    let plain = render(problems, false);
    assert_eq!(plain.is_empty(), problems.is_empty());
    assert!(!plain.contains(|it: char| it.is_control() && it != '\n'), "{plain:?}");
    assert_eq!(without_colours(&render(problems, true)), plain);
}

/// What the plug-ins find wrong with a file is reported as well.
pub fn choices(choices: &Choices) -> Vec<Problem> {
    let wrong = registry().check(choices);
    problems(&wrong.iter().cloned().collect());
    wrong
}

/// What is shown in a secret's place.
const HIDDEN: &str = "********";

/// All that the program itself knows.
fn registry() -> Registry {
    let mut registry = Registry::with_builtins();
    health::register(&mut registry);
    discovery::register(&mut registry);
    registry
}

/// What is in effect is a file that means the same, but for the secrets that it does not show.
pub fn taken(config: &Config) {
    let shown = dump(config);
    let again = parse(&shown, "dump.toml", &|_| None);
    let again = again.config.unwrap_or_else(|problems| panic!("{shown}\n{problems}"));
    if !shown.contains(HIDDEN) {
        assert_eq!(&again, config, "{shown}");
    }
    assert_eq!(dump(&again), shown);
    assert!(Plan::between(config, config).is_empty());
    addresses(config);
}

fn addresses(config: &Config) {
    for address in config.listeners.iter().flat_map(|listener| &listener.addresses) {
        if let ListenAddress::Tcp(address) = address {
            assert!(!address.ip().is_multicast(), "{address}");
        }
    }
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        if let BackendAddress::Ip(address, port) = &backend.address {
            assert!(!address.is_unspecified() && !address.is_multicast(), "{address}");
            assert!([0, 1, 80, u16::MAX].iter().all(|on| port.resolve(*on) != Some(0)));
        }
    }
}

/// A plan tells of every change, in lines, and of none where there is none.
pub fn plan(old: &Config, new: &Config) {
    let plan = Plan::between(old, new);
    assert_eq!(plan.is_empty(), in_order(old) == in_order(new), "{:?}", plan.changes());
    assert_eq!(plan.is_empty(), Plan::between(new, old).is_empty());
    for sessions in [None, Some(&Many as &dyn Sessions)] {
        let lines = plan.lines(sessions);
        assert_eq!(lines.is_empty(), plan.is_empty());
        lines.iter().for_each(|line| one_line(line));
        one_line(&plan.summary(sessions));
    }
}

/// With what may stand in any order, and as often as one likes, in one order.
fn in_order(config: &Config) -> Config {
    let mut config = config.clone();
    config.listeners.sort_by(|one, other| one.name.cmp(&other.name));
    config.pools.sort_by(|one, other| one.name.cmp(&other.name));
    for listener in &mut config.listeners {
        listener.addresses.sort_by_key(ToString::to_string);
        for networks in [&mut listener.deny, &mut listener.allow] {
            networks.sort_unstable();
            networks.dedup();
        }
    }
    config
}

fn one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// The text without the sequences that set colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// As many sessions as there can be, wherever one asks.
struct Many;

impl Sessions for Many {
    fn of_listener(&self, _: &str) -> u32 {
        u32::MAX
    }
    fn of_pool(&self, _: &str) -> u32 {
        u32::MAX
    }
    fn of_backend(&self, _: &str, _: &BackendAddress) -> u32 {
        u32::MAX
    }
}
