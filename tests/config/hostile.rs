//! Files that want to break the reader: huge, deep, mutated.

use super::*;

/// Tables without end, lists without end, errors without end: no overflow, no hour of waiting.
#[test]
fn huge_and_deep_files_are_bounded() {
    let dotted = vec!["a"; 79].join(".");
    let texts = [
        format!("x = {}", "[".repeat(1 << 20)),
        format!("x = {}", "{ a = ".repeat(1 << 18)),
        format!("x = {}1{}", format!("{{ {dotted} = ").repeat(79), "}".repeat(79)),
        format!("[{}]\n", vec!["a"; 1 << 18].join(".")),
        format!("x = [{}]", "1,".repeat(1 << 20)),
        format!("x = [{}]", "\"a\" ".repeat(1 << 16)),
        "a\n".repeat(1 << 17),
        "[a]\n".repeat(1 << 14),
        "a = 1\n".repeat(1 << 14),
        format!("[pool.a]\nbackends = [{}]", "\"x:1\",".repeat(1 << 14)),
        format!("[listener.a]\naddress = [{}]", "\"0.0.0.0:1-4096\",".repeat(1 << 12)),
        format!("[listener.a]\naddress = \"{}\"", "${A}".repeat(1 << 12)),
        format!("x = '{}'", (0..1 << 16).map(|it| format!("${{A{it}}}")).collect::<String>()),
        (0..1 << 12).map(|it| format!("[pool.p{it}]\nfallback = 'p{}'\n", it + 1)).collect(),
        (0..1 << 14).map(|it| format!("k{it} = 1\n")).collect(),
        many_strangers(),
        "[listener]\n[pool]\n".to_owned(),
        "\"".repeat(1 << 20),
        "\u{feff}".repeat(1 << 16),
    ];
    for text in texts {
        let problems = bad(&text);
        let start: String = text.chars().take(40).collect();
        assert!(!problems.is_empty(), "{start}");
        assert!(render(&problems, false).len() < 1 << 20, "{start}");
    }
}

/// Bell, escape, delete and the one-character CSI would reach the reader's terminal.
#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let hostile = "\u{7}\u{1b}[31m\u{7f}\u{9b}2J";
    let texts = [
        format!("x = {hostile}\n"),
        format!("[\"{hostile}\"]\n# {hostile}\n"),
        format!("[listener.\"{hostile}\"]\naddress = 'a://{hostile}:80'\npool = '{hostile}'"),
        "[listener.a]\naddress = \"a://\\u0007\\u001b[31m\\u009b\\n:80\"".to_owned(),
        format!("[pool.a]\nbalance = {{ \"{hostile}\" = 1 }}\nbackends = ['{hostile}']"),
    ];
    for text in texts {
        let problems = parse(&text, &format!("{hostile}\n.toml"), &no_variables);
        let problems = all_problems(&problems);
        let plain = render(problems, false);
        let raw = |letter: char| letter.is_control() && letter != '\n';
        assert!(!plain.contains(raw), "{plain:?}");
        assert_eq!(without_colours(&render(problems, true)), plain);
        for problem in problems {
            assert!(!problem.to_string().contains(char::is_control), "{:?}", problem.to_string());
        }
    }
}

#[test]
fn carets_stand_under_their_place_behind_control_characters() {
    let problems = parse("\"\u{9b}ü\" = 'ü' x\n", "f", &no_variables);
    let report = render(all_problems(&problems), false);
    let mut lines = report.lines().skip_while(|line| !line.starts_with('1'));
    let (shown, caret) = (lines.next().unwrap(), lines.next().unwrap());
    let column = |line: &str, letter| line.chars().position(|it| it == letter).unwrap();
    assert_eq!(column(shown, 'x'), column(caret, '^'), "{report}");
    assert!(shown.contains("\"\u{fffd}ü\""), "{report}");
}

/// The text without the sequences that set colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').unwrap().1)
}

/// Listeners of which none knows a pool, which is sought among many.
fn many_strangers() -> String {
    let one = |it| {
        format!(
            "[pool.p{it}]\n[listener.l{it}]\naddress = '127.0.0.1:{}'\npool = 'q{it}'\n",
            1 + it
        )
    };
    (0..1 << 11).map(one).collect()
}

/// What files are made of, and what breaks them.
fn corpus() -> Vec<String> {
    let files = toml_files(BAD).into_iter().chain(toml_files(CONF));
    files.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
}

const BITS: [&str; 18] = [
    "\"", "'", "[", "]", "{", "}", "=", ".", ",", "\n", "\r\n", "\t", "#", "${", "ü", "\u{0}",
    "-1", "\\",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn mutated_files_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, any::<prop::sample::Index>()), 1..6),
    ) {
        let files = corpus();
        let mut letters: Vec<char> = which.get(&files).chars().collect();
        for (at, cut, bit) in edits {
            let start = at.index(letters.len() + 1);
            let end = (start + cut).min(letters.len());
            letters.splice(start..end, bit.get(&BITS).chars());
        }
        let text: String = letters.into_iter().collect();
        let loaded = read(&text);
        assert_positions(all_problems(&loaded));
        let _report = render(all_problems(&loaded), true);
        if let Ok(config) = &loaded.config {
            assert_dump_loads_back(config);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        assert_positions(all_problems(&read(&text)));
    }
}
