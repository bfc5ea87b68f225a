//! The program: Forebay with what it brings along.

fn main() -> std::process::ExitCode {
    forebay::Builder::new().run()
}
