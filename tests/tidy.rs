//! The house as a test: floors, sizes, names, what a module must never name, and where unsafe code and
//! the runtime may stand.
//!
//! Every rule has a file in tests/tidy/ that breaks it and no other; its first line says where it
//! pretends to stand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails loudly and says where"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Each module and what it may import: floors downwards, and inside a floor in the order that
/// ARCHITECTURE.md draws. `lib.rs` and `main.rs` may import all. `Builder` is what lib.rs shows of
/// `builder`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("balance", &[]),
    ("net", &[]),
    ("wire", &[]),
    ("plugin", &["config", "balance", "net", "wire"]),
    ("model", &["plugin", "config", "balance", "net", "wire"]),
    ("session", &["model", "plugin", "config", "balance", "net", "wire"]),
    ("worker", &["session", "model", "plugin", "config", "balance", "net", "wire"]),
    ("health", &["model", "plugin", "config", "balance", "net", "wire"]),
    ("discovery", &["model", "plugin", "config", "balance", "net", "wire"]),
    (
        "control",
        &["health", "discovery", "worker", "model", "plugin", "config", "balance", "net", "wire"],
    ),
    ("cli", &["control", "plugin", "config", "balance", "net", "wire"]),
    ("builder", &["cli", "control", "health", "discovery", "plugin", "config"]),
    ("Builder", &[]),
];

/// Where the control plane's runtime and the arguments' parser may be named.
const RUNTIME: &[(&str, &[&str])] =
    &[("tokio", &["control", "health", "discovery", "cli"]), ("clap", &["cli"])];

/// What of other crates, and of modules that it may import, a module must never name outside its tests:
/// sockets, clocks, logs, files, what blocks. What its own functions are called with is another matter.
const NEVER: &[(&str, &[&str])] = &[
    ("config", SOCKETS),
    (
        "balance",
        &[
            "std::net::TcpStream",
            "socket2",
            "rustix",
            "mio",
            "Instant::now",
            "SystemTime::now",
            "tracing",
            "std::fs",
        ],
    ),
    (
        "wire",
        &[
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "socket2",
            "rustix",
            "mio",
            "std::fs",
            "std::thread",
            "Instant::now",
            "tracing",
        ],
    ),
    ("plugin", &["mio", "Instant::now"]),
    (
        "model",
        &["std::net::TcpStream", "socket2", "rustix", "mio", "std::fs", "std::thread", "tracing"],
    ),
    (
        "session",
        &[
            "std::net::TcpStream",
            "socket2",
            "rustix",
            "mio",
            "std::fs",
            "std::thread",
            "Instant::now",
            "SystemTime::now",
            "tracing",
            "model::Snapshot",
        ],
    ),
    ("worker", &["std::fs", "Mutex", "RwLock", "Condvar", "thread::sleep", "thread::park"]),
];

/// Every way to a socket.
const SOCKETS: &[&str] = &[
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "socket2",
    "rustix",
    "mio",
];

const FORBIDDEN_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// Other projects' words for what has one word here, and what stands for a word that was not found.
const FORBIDDEN_WORDS: &[&str] =
    &["frontend", "downstream", "cluster", "entrypoint", "reactor", "rx", "tx", "mgr", "ctx"];

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;
const UNSAFE_FILE: &str = "src/net/raw.rs";

/// The rules; each has a file of its name in tests/tidy/.
const RULES: &[&str] = &[
    "floors",
    "runtime",
    "file_length",
    "function_length",
    "file_name",
    "unsafe_code",
    "opening",
    "words",
];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = rust_files(&root.join("src"));
    assert!(files.len() >= 10, "only {} files were found", files.len());
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        all.extend(violations(&path, &text));
    }
    let report: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn every_rule_is_broken_by_its_example() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tidy");
    for rule in RULES {
        let text = std::fs::read_to_string(directory.join(format!("{rule}.rs"))).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        let path = head.strip_prefix("// stands in ").expect("the first line says where");
        let broken: BTreeSet<&str> = violations(path, body).iter().map(|v| v.rule).collect();
        assert_eq!(broken, BTreeSet::from([*rule]));
    }
    for (module, paths) in NEVER {
        let text = std::fs::read_to_string(directory.join(format!("never/{module}.rs"))).unwrap();
        let broken = violations(&format!("src/{module}/part.rs"), &text);
        let whats: BTreeSet<&str> = broken.iter().map(|it| &*it.what).collect();
        let expected = paths.iter().map(|path| never(module, path)).collect::<Vec<_>>();
        assert_eq!(whats, expected.iter().map(String::as_str).collect());
        assert!(broken.iter().all(|it| it.rule == "never"));
    }
    assert_eq!(rust_files(&directory).len(), RULES.len() + NEVER.len());
}

#[test]
fn tests_may_name_what_their_module_must_never_name() {
    let text =
        "//! A part.\n#[cfg(test)]\nmod tests {\nfn now() { std::time::Instant::now(); }\n}\n";
    assert_eq!(violations("src/balance/part.rs", text).len(), 0);
    assert_eq!(
        violations("src/balance/part.rs", &text.replace("cfg(test)", "doc(hidden)")).len(),
        1
    );
}

/// A broken rule.
struct Violation {
    rule: &'static str,
    place: String,
    what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.what, self.rule)
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn violations(path: &str, text: &str) -> Vec<Violation> {
    let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let module = module_path(path);
    let is_test = module.iter().any(|name| name == "tests" || name == "simulation");
    let mut reader = Reader { path, module, is_test, found: Vec::new() };
    reader.whole_file(text);
    reader.visit_file(&syntax);
    reader.found
}

/// `src/net/raw.rs` is the module `net::raw`; `mod.rs` is its directory; lib.rs and main.rs are the root.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

struct Reader<'a> {
    path: &'a str,
    module: Vec<String>,
    /// True exactly when what is being read is compiled for tests alone.
    is_test: bool,
    found: Vec<Violation>,
}

impl Reader<'_> {
    fn report(&mut self, rule: &'static str, line: usize, what: String) {
        let place = format!("{}:{line}", self.path);
        self.found.push(Violation { rule, place, what });
    }

    fn whole_file(&mut self, text: &str) {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            self.report("file_length", 1, format!("{lines} lines, over {FILE_LINES}"));
        }
        if !text.starts_with("//!") {
            self.report("opening", 1, "does not open with //!".to_owned());
        }
        if let Some(name) =
            self.module.iter().find(|name| FORBIDDEN_NAMES.contains(&name.as_str())).cloned()
        {
            self.report("file_name", 1, format!("`{name}` says nothing"));
        }
    }

    /// The path `names`, resolved to the crate's root or to another crate.
    fn resolve(&self, names: &[String]) -> Option<(bool, Vec<String>)> {
        let mut at = match names.first()?.as_str() {
            "crate" => return Some((true, names[1..].to_vec())),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            _ => return Some((false, names.to_vec())),
        };
        for name in &names[1..] {
            if name == "super" {
                at.pop()?;
            } else {
                at.push(name.clone());
            }
        }
        Some((true, at))
    }

    fn names(&mut self, names: &[String], span: Span) {
        let Some((inside, resolved)) = self.resolve(names) else { return };
        let (Some(target), own) = (resolved.first(), self.module.first()) else { return };
        let line = span.start().line;
        let own = own.cloned().unwrap_or_default();
        if let Some(never) = self.names_what_is_never(&own, &resolved) {
            self.report("never", line, never);
        }
        let allowed = |table: &[(&str, &[&str])], key: &str, value: &str| {
            table.iter().find(|(name, _)| *name == key).map(|(_, all)| all.contains(&value))
        };
        if inside {
            let is_module = MAY_IMPORT.iter().any(|(name, _)| name == target);
            if is_module && own != *target && allowed(MAY_IMPORT, &own, target) == Some(false) {
                self.report("floors", line, format!("{own} may not import {target}"));
            }
        } else if allowed(RUNTIME, target, &own) == Some(false) {
            self.report("runtime", line, format!("{target} has no place here"));
        }
    }

    /// What is wrong with it if `names` holds a path that the module `own` must never name.
    fn names_what_is_never(&self, own: &str, names: &[String]) -> Option<String> {
        let (_, paths) = NEVER.iter().find(|(module, _)| *module == own && !self.is_test)?;
        let holds = |path: &&&str| {
            let path: Vec<&str> = path.split("::").collect();
            names.windows(path.len()).any(|part| part == path)
        };
        paths.iter().find(holds).map(|path| never(own, path))
    }

    fn use_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                let mut names = before.to_vec();
                names.push(path.ident.to_string());
                self.use_tree(&names, &path.tree);
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let mut names = before.to_vec();
                names.push(ident.to_string());
                self.names(&names, ident.span());
            }
            syn::UseTree::Glob(glob) => self.names(before, glob.span()),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(before, tree);
                }
            }
        }
    }

    fn function(&mut self, signature: &syn::Signature, body: Span) {
        let lines = body.end().line - signature.span().start().line + 1;
        let line = signature.span().start().line;
        if lines > FUNCTION_LINES {
            let name = &signature.ident;
            self.report("function_length", line, format!("{name} has {lines} lines"));
        }
        if signature.unsafety.is_some() {
            self.unsafe_at(line);
        }
    }

    fn unsafe_at(&mut self, line: usize) {
        if self.path != UNSAFE_FILE {
            self.report("unsafe_code", line, format!("unsafe outside {UNSAFE_FILE}"));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 {
            self.names(&names, path.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outside = self.is_test;
        self.is_test |= item.attrs.iter().any(is_for_tests);
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
        self.is_test = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if item.unsafety.is_some() {
            self.unsafe_at(item.span().start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at(block.span().start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_ident(&mut self, ident: &'ast Ident) {
        let name = ident.to_string();
        if let Some(word) =
            words(&name).iter().find(|word| FORBIDDEN_WORDS.contains(&word.as_str()))
        {
            self.report("words", ident.span().start().line, format!("`{name}` says {word}"));
        }
    }
}

fn never(module: &str, path: &str) -> String {
    format!("{module} must never name {path}")
}

/// True exactly when the attribute is `#[cfg(test)]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

/// The words of a name in snake_case or CamelCase, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && words.last().is_some_and(|w| !w.is_empty())) {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words
}
