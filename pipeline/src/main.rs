//! The `prescreen` binary; see the library.

fn main() -> std::process::ExitCode {
    prescreen::main(std::env::args_os(), std::env::vars_os())
}
