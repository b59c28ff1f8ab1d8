//! `completions`: what shells complete.

use std::process::ExitCode;

use clap_complete::Shell;

use super::failure::Outcome;

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam completions bash > ~/.local/share/bash-completion/completions/cofferdam\n  cofferdam completions zsh > ~/.zfunc/_cofferdam\n  cofferdam completions fish > ~/.config/fish/completions/cofferdam.fish"
)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: &Args, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cofferdam", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
