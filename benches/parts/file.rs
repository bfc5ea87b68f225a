//! A large file, and how it is read.

use forebay::config::{Loaded, parse};

pub(crate) fn read(text: &str) -> Loaded {
    parse(text, "file", &|_| None)
}

/// 1,000 listeners, and 10,000 backends in `pools` pools, half of them written as tables.
pub(crate) fn large_file(pools: usize, port: &str) -> String {
    let mut text = String::new();
    for at in 0..1_000 {
        let (host, pool) = (format!("127.0.{}.{}", at / 250, at % 250), at % pools);
        text += &format!("[listener.l{at}]\naddress = \"{host}:8080\"\npool = \"p{pool}\"\n");
        text += "max_connections = 500\nallow = [\"10.0.0.0/8\"]\n";
    }
    let each = 10_000 / pools;
    for pool in 0..pools {
        let address =
            |at: usize| format!("10.{}.{}.{}{port}", at / 62_500, at / 250 % 250, at % 250);
        let all = pool * each..(pool + 1) * each;
        let short: Vec<_> =
            all.clone().step_by(2).map(|at| format!("\"{}\"", address(at))).collect();
        text += &format!("[pool.p{pool}]\ntimeout = {{ idle = \"5m\" }}\n");
        let table = |at| format!("{{ address = \"{}\", weight = 2 }}", address(at));
        let long: Vec<_> = all.skip(1).step_by(2).map(table).collect();
        text += &format!("backends = [{}, {}]\n", short.join(", "), long.join(", "));
    }
    text
}
