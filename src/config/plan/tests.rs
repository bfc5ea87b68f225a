//! Plans word for word.

use super::super::parse;
use super::*;

/// A file of one listener and one pool, with more lines for each.
fn file(listener: &str, pool: &str) -> String {
    format!(
        "[listener.web]\npool = \"app\"\n{listener}\n[pool.app]\n{pool}\n{}",
        "[pool.other]\nbackends = [\"10.0.9.9:1\"]\n"
    )
}

const ADDRESS: &str = "address = \"0.0.0.0:80\"";
const BACKENDS: &str = "backends = [\"10.0.0.1:9000\", \"10.0.0.2:9000\", \"10.0.0.3:9000\"]";

fn config(text: &str) -> Config {
    parse(text, "f", &|_| None).config.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn plan(old: &str, new: &str) -> Plan {
    Plan::between(&config(old), &config(new))
}

/// What is said when the listener or the pool of the file has other lines.
fn listener(old: &str, new: &str) -> Vec<String> {
    plan(&file(old, BACKENDS), &file(new, BACKENDS)).lines(None)
}

fn pool(old: &str, new: &str) -> Vec<String> {
    plan(&file(ADDRESS, old), &file(ADDRESS, new)).lines(None)
}

/// So many sessions wherever one asks.
struct Each(u32);

impl Sessions for Each {
    fn of_listener(&self, _: &str) -> u32 {
        self.0
    }
    fn of_pool(&self, _: &str) -> u32 {
        self.0
    }
    fn of_backend(&self, _: &str, _: &BackendAddress) -> u32 {
        self.0
    }
}

#[test]
fn the_whole_of_a_plan_says_what_changes_and_whom_it_reaches() {
    let fewer = BACKENDS.replace(", \"10.0.0.3:9000\"", "");
    let old = file(&format!("{ADDRESS}\nmax_connections = 100"), BACKENDS);
    let new = file(&format!("{ADDRESS}\nmax_connections = 200"), &fewer);
    let plan = plan(&old, &new);
    assert_eq!(
        plan.summary(Some(&Each(214))),
        "listener web: max_connections 100 → 200; pool app: backend 10.0.0.3:9000 removed, \
         214 sessions drain (at most 1h); 0 others affected"
    );
    assert_eq!(
        plan.lines(Some(&Each(1))),
        [
            "listener web: max_connections 100 → 200",
            "pool app: backend 10.0.0.3:9000 removed, 1 session drains (at most 1h)",
            "1 session drains, 0 others affected",
        ]
    );
    assert_eq!(plan.lines(Some(&Each(0))).last().unwrap(), "no session is affected");
    assert_eq!(
        plan.lines(None)[1],
        "pool app: backend 10.0.0.3:9000 removed, its sessions drain (at most 1h)"
    );
}

#[test]
fn equal_files_and_an_order_that_means_nothing_are_no_change() {
    let one = file(
        "address = [\"0.0.0.0:80\", \"0.0.0.0:81\"]\nallow = [\"::/0\", \"10.0.0.0/8\"]",
        BACKENDS,
    );
    let two = file("address = \"0.0.0.0:80-81\"\nallow = [\"10.0.0.0/8\", \"::/0\"]", BACKENDS);
    let plan = plan(&one, &two);
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.summary(Some(&Each(5))), "no change");
    assert_eq!(plan.lines(Some(&Each(5))), Vec::<String>::new());
}

#[test]
fn addresses_come_and_go_and_ranges_stay_short() {
    let range = "address = [\"0.0.0.0:80\", \"0.0.0.0:30000-30009\", \"[::]:0\", \"unix:/x\"]";
    assert_eq!(
        listener(ADDRESS, range),
        ["listener web: addresses 0.0.0.0:30000-30009, [::]:0, unix:/x added"]
    );
    assert_eq!(
        listener(range, "address = [\"0.0.0.0:81\", \"[::]:0\", \"[::]:0\"]"),
        [
            "listener web: addresses 0.0.0.0:81, [::]:0 added",
            "listener web: addresses 0.0.0.0:80, 0.0.0.0:30000-30009, unix:/x removed",
        ]
    );
    let newline = listener(ADDRESS, &format!("{ADDRESS}\nguards = [\"a\\nb\"]"));
    assert_eq!(newline[0], "listener web: guards none → a\\nb (for new sessions)");
}

#[test]
fn listeners_come_go_and_take_over() {
    let (old, rest) = (file(ADDRESS, BACKENDS), "[pool.app]\nbackends = [\"10.0.0.1:1\"]\n");
    let renamed = old.replace("listener.web", "listener.www");
    let lines = [
        "listener www: added on 0.0.0.0:80 (pool app)",
        "listener www: address 0.0.0.0:80 taken over from listener web",
        "listener web: removed, its sessions live on",
    ];
    assert_eq!(plan(&old, &renamed).lines(None), lines);
    let elsewhere = format!("[listener.b]\naddress = \"[::]:1\"\npool = \"app\"\n{rest}");
    let plan = plan(&old, &elsewhere);
    let counted = plan.lines(Some(&Each(3)));
    assert_eq!(counted[1], "listener web: removed, 3 sessions live on");
    assert_eq!(counted.last().unwrap(), "12 sessions drain, 0 others affected");
}

#[test]
fn another_interface_needs_other_sockets_and_nothing_else_does() {
    let with = |lines: &str| file(&format!("{ADDRESS}\n{lines}"), BACKENDS);
    let moved = plan(&with("interface = \"eth0\""), &with("interface = \"eth1\""));
    let text = "listener web: interface eth0 → eth1, a new socket is made beside the old one";
    assert_eq!((moved.lines(None), moved.remade()), (vec![text.to_owned()], &["web".into()][..]));
    let live = "backlog = 1\nclient_first = true\ntcp_fastopen = true\ncongestion = \"bbr\"\nfreebind = true";
    let live = plan(&with(""), &with(live));
    assert!(live.remade().is_empty());
    assert_eq!(
        live.lines(None),
        [
            "listener web: backlog 4096 → 1",
            "listener web: client_first false → true (for new sessions)",
            "listener web: tcp_fastopen off → 256",
            "listener web: freebind false → true (when an address is bound next)",
            "listener web: congestion auto → bbr (for new sessions)",
        ]
    );
}

#[test]
fn who_is_let_in_changes_by_network() {
    let with = |lines: &str| format!("{ADDRESS}\n{lines}");
    assert_eq!(
        listener(
            &with("deny = [\"10.0.0.0/8\", \"::1\"]"),
            &with("deny = [\"::1\", \"192.0.2.0/24\"]")
        ),
        ["listener web: deny +192.0.2.0/24, -10.0.0.0/8"]
    );
    let many: Vec<String> = (0..20).map(|it| format!("\"10.0.{it}.0/24\"")).collect();
    assert_eq!(
        listener(ADDRESS, &with(&format!("allow = [{}]", many.join(", ")))),
        ["listener web: allow +10.0.0.0/24, +10.0.1.0/24, +10.0.2.0/24, +10.0.3.0/24, \
          +10.0.4.0/24 and 15 more (all other sources are refused now)"]
    );
    assert_eq!(
        listener(
            &with("allow = [\"::/0\"]\nover = \"reject\"\nmax_connections = 5"),
            &with("rate = \"5/10s\"\nper_source = { rate = \"1/10s\" }\nmax_connections = 4"),
        ),
        [
            "listener web: max_connections 5 → 4 (no session is cut for it)",
            "listener web: over reject → wait",
            "listener web: rate none → 5/10s",
            "listener web: per_source none → { rate = \"1/10s\", ipv6_prefix = 64 }",
            "listener web: allow -::/0 (all sources are let in now)",
        ]
    );
}

#[test]
fn backends_that_change_alike_are_told_of_together() {
    let new = "backends = [
        { address = \"10.0.0.1:9000\", weight = 2 },
        { address = \"10.0.0.2:9000\", weight = 2 },
        { address = \"10.0.0.3:9000\", weight = 3, state = \"drain\" },
        \"db.internal:1\", { address = \"10.0.0.4:+0\", weight = 0, max_connections = 7 }]";
    assert_eq!(
        pool(BACKENDS, new),
        [
            "pool app: backend db.internal:1 added",
            "pool app: backend 10.0.0.4:+0 added (weight 0, max_connections 7)",
            "pool app: backends 10.0.0.1:9000, 10.0.0.2:9000: weight 1 → 2",
            "pool app: backend 10.0.0.3:9000 weight 1 → 3",
            "pool app: backend 10.0.0.3:9000 state ready → drain",
        ]
    );
}

#[test]
fn order_of_backends_is_told_when_another_may_be_preferred() {
    let turned = "backends = [\"10.0.0.3:9000\", \"10.0.0.2:9000\", \"10.0.0.1:9000\"]";
    let line = ["pool app: order of its backends changed, 10.0.0.3:9000 comes first"];
    assert_eq!(pool(BACKENDS, turned), line);
    let led = BACKENDS.replace("[\"10.0.0.1:9000\"", "[\"10.0.0.9:9000\", \"10.0.0.1:9000\"");
    assert_eq!(
        pool(BACKENDS, &led)[1],
        "pool app: order of its backends changed, 10.0.0.9:9000 comes first"
    );
    assert_eq!(pool(&led, BACKENDS).len(), 1, "the first is gone, which says all");
}

#[test]
fn removed_backends_follow_the_new_file_and_removed_pools_the_old() {
    let fewer = "backends = [\"10.0.0.1:9000\"]\non_remove = ";
    let removed = |with: &str| pool(&format!("{BACKENDS}\non_remove = \"keep\""), with)[0].clone();
    let gone = "pool app: backends 10.0.0.2:9000, 10.0.0.3:9000 removed";
    assert_eq!(removed(&format!("{fewer}\"close\"")), format!("{gone}, its sessions are reset"));
    assert_eq!(removed(&format!("{fewer}\"keep\"")), format!("{gone}, its sessions stay"));
    let minute = "{ drain = { timeout = \"1m\" } }";
    let drained = format!("{gone}, its sessions drain (at most 1m)");
    assert_eq!(removed(&format!("{fewer}{minute}")), drained);
    let old = format!("{}on_remove = \"close\"\n", file(ADDRESS, BACKENDS));
    let new = old.split("[pool.other]").next().unwrap();
    let plan = plan(&old, new);
    assert_eq!(plan.lines(None), ["pool other: removed, its sessions are reset"]);
    assert_eq!(plan.lines(Some(&Each(2)))[1], "2 sessions are reset, 0 others affected");
    let back = Plan::between(&config(new), &config(&old)).lines(None);
    assert_eq!(back, ["pool other: added with backend 10.0.9.9:1 (round_robin)"]);
}

#[test]
fn settings_of_pools_hold_for_new_sessions() {
    let new = format!(
        "{BACKENDS}\nbalance = {{ source_hash = {{ seed = 7 }} }}\nconnect.attempts = 2
        timeout = {{ idle = \"5m\", lifetime = \"1d\", lifetime_jitter = \"10%\" }}
        keepalive = false\nfallback = \"other\"\nsource = \"10.0.0.9\"\non_remove = \"keep\"
        resolve_interval = \"1m\"\nmax_connections = 5\nprobe = true\neject = {{ failures = 2 }}
        on_unhealthy = \"close\"\npanic_threshold = \"30%\"\nslow_start = \"30s\"\nwhen_down = true"
    );
    assert_eq!(
        pool(BACKENDS, &new),
        [
            "pool app: balance round_robin → source_hash { seed = 7 } (its positions start anew)",
            "pool app: connect.attempts 3 → 2 (for new sessions)",
            "pool app: connect.deadline 15s → 10s (for new sessions)",
            "pool app: timeout.idle 1h → 5m (for new sessions)",
            "pool app: timeout.lifetime off → 24h (for new sessions)",
            "pool app: timeout.lifetime_jitter 0% → 10% (for new sessions)",
            "pool app: max_connections none → 5 (no session is cut for it)",
            "pool app: fallback none → other (for new sessions)",
            "pool app: source none → 10.0.0.9 (for new sessions)",
            "pool app: keepalive { idle = \"1m\", interval = \"10s\", count = 6 } → off (for new sessions)",
            "pool app: resolve_interval 30s → 1m",
            "pool app: on_remove drain 1h → keep",
            "pool app: probe off → { kind = \"tcp\", interval = \"2s\", fast_interval = \"500ms\", timeout = \"1s\", rise = 2, fall = 3 }",
            "pool app: eject { failures = 5, time = \"10s\", max_time = \"5m\", max_ejected = \"50%\" } → { failures = 2, time = \"10s\", max_time = \"5m\", max_ejected = \"50%\" }",
            "pool app: on_unhealthy keep → close",
            "pool app: panic_threshold 0% → 30%",
            "pool app: when_down off → { hold = \"10s\", max = 5000, release_rate = \"1000/1s\" }",
            "pool app: slow_start off → 30s",
        ]
    );
}

#[test]
fn process_wide_changes_are_named_by_their_section() {
    let old = file(ADDRESS, BACKENDS);
    let new = format!(
        "{old}[limits]\nmax_connections = 5\nbuffers = \"1MiB\"\nbuffer = \"8KiB\"
        [shutdown]\ntimeout = \"5s\"\ndelay = \"1s\"\n[reload]\nwatch = \"off\"\ninterval = \"1s\"
        [runtime]\nworkers = 4\npin_cpus = true\nspin = \"50us\"\nspread = false\nsplice = \"never\""
    );
    assert_eq!(
        plan(&old, &new).lines(None),
        [
            "limits: max_connections auto → 5 (no session is cut for it)",
            "limits: buffers auto → 1MiB",
            "limits: buffer 64KiB → 8KiB",
            "shutdown: timeout 30s → 5s",
            "shutdown: delay 0s → 1s",
            "reload: watch auto → off",
            "reload: interval 5s → 1s",
            "runtime: workers auto → 4",
            "runtime: pin_cpus false → true",
            "runtime: spin off → 50µs",
            "runtime: spread true → false",
            "runtime: splice auto → never",
        ]
    );
}

#[test]
fn a_plan_of_thousands_fits_on_one_line() {
    let listeners = |first: u16| -> String {
        let one =
            |port| format!("[listener.l{port}]\naddress = \"0.0.0.0:{port}\"\npool = \"app\"\n");
        (first..first + 1000).map(one).collect()
    };
    let pool = "[pool.app]\nbackends = [\"10.0.0.1:1\"]\n";
    let plan = plan(&(listeners(1000) + pool), &(listeners(5000) + pool));
    assert_eq!(plan.changes().len(), 2000);
    let summary = plan.summary(Some(&Each(1)));
    assert!(summary.ends_with("; 1988 more changes; no session is affected"), "{summary}");
    assert!(summary.len() < 1000, "{summary}");
}

#[test]
fn a_password_is_not_shown() {
    let probe = "probe = { kind = { \"redis-master\" = { password = \"hunter2\" } } }";
    let lines = pool(BACKENDS, &format!("{BACKENDS}\n{probe}"));
    assert!(lines[0].contains("password = \"********\""), "{lines:?}");
    let dumped = super::super::dump(&config(&file(ADDRESS, &format!("{BACKENDS}\n{probe}"))));
    assert!(dumped.contains("redis-master") && !dumped.contains("hunter2"), "{dumped}");
}
