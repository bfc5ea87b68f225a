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
