//! One value of a file, or the addresses of a command line: units, addresses, networks, variables,
//! options of plug-ins. The first byte says which.

use forebay::config::{Config, Loaded, parse};

use super::judge;

/// Where the value stands in its file.
const FILES: [&str; 20] = [
    "[pool.a.timeout]\nidle = @",
    "[pool.a.connect]\ntimeout = @",
    "[pool.a.timeout]\nlifetime_jitter = @",
    "[limits]\nbuffers = @",
    "[limits]\nbuffer = @",
    "[listener.a]\nrate = @",
    "[listener.a]\naddress = @",
    "[listener.a]\ndeny = [@]",
    "[listener.a]\nmode = @\naddress = 'unix:/a'",
    "[listener.a]\ninterface = @",
    "[pool.a]\nbackends = [@]",
    "[pool.a]\nsource = @",
    "[pool.a]\nbalance = @",
    "[pool.a]\nbalance = { source_hash = { seed = @, ipv6_prefix = @ } }",
    "[listener.a]\nguards = [{ source_route = { networks = [@], pool = 'a' } }]",
    "[pool.a]\non_remove = { drain = { timeout = @ } }",
    "[pool.a]\nprobe = { kind = { send-expect = { steps = [{ send = @, expect = @ }] } } }",
    "[pool.a]\nprobe = { kind = { http = { path = @, host = @, status = @, body = @ } } }",
    "[pool.a]\nprobe = { kind = { postgres-primary = { user = @, password = @ } } }",
    "[pool.a]\nresolver = { dns = { servers = [@] } }",
];

pub fn run(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else { return };
    let value = String::from_utf8_lossy(value);
    match FILES.get(usize::from(*which) / 2) {
        Some(file) if which % 2 == 0 => read(&file.replace('@', &in_quotes(&value))),
        Some(file) => read(&file.replace('@', &value)),
        None => command_line(&value),
    }
}

fn in_quotes(value: &str) -> String {
    let escaped = value.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn read(part: &str) {
    let mut file = part.to_owned();
    if !part.starts_with("[listener.a]") {
        file.push_str("\n[listener.a]");
    }
    if !part.contains("address =") {
        file = file.replace("[listener.a]", "[listener.a]\naddress = '127.0.0.1:80'");
    }
    file = file.replace("[listener.a]", "[listener.a]\npool = 'a'");
    if !part.contains("backends =") {
        let pool = "[pool.a]\nbackends = ['127.0.0.1:81']";
        file = match part.starts_with("[pool.a]") {
            true => file.replace("[pool.a]", pool),
            false => format!("{file}\n{pool}"),
        };
    }
    let Loaded { config, warnings, choices, .. } = parse(&file, "fuzz.toml", &variable);
    judge::choices(&choices);
    match config {
        Ok(config) => {
            judge::problems(&warnings);
            judge::taken(&config);
        }
        Err(problems) => judge::problems(&problems),
    }
}

fn variable(name: &str) -> Option<String> {
    (name == "V").then(|| "10".to_owned())
}

/// Lines for --listen, an empty line, and lines for --to.
fn command_line(value: &str) {
    let (listen, to) = value.split_once("\n\n").unwrap_or((value, "10.0.0.1:80"));
    let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
    match Config::proxy(&lines(listen), &lines(to)) {
        Ok(config) => judge::taken(&config),
        Err(problems) => judge::problems(&problems),
    }
}
