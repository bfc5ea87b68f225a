//! The program: hands the arguments to `cli` and its outcome to the shell.

fn main() -> std::process::ExitCode {
    forebay::cli::main()
}
