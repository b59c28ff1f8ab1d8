//! The binary: everything is in the library, and the command line in `cli`.

fn main() -> std::process::ExitCode {
    cofferdam::cli::main()
}
