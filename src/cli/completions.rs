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
    let verbs = with_stack(&command);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cofferdam", &mut script);
    out!("{}", with_names(args.shell, &String::from_utf8_lossy(&script), &verbs));
    Ok(ExitCode::SUCCESS)
}

/// The verbs that take a stack, themselves or their own verbs.
fn with_stack(command: &clap::Command) -> Vec<String> {
    let takes = |one: &clap::Command| one.get_arguments().any(|argument| argument.get_id() == "stack");
    let verbs = command.get_subcommands().filter(|verb| takes(verb) || verb.get_subcommands().any(takes));
    verbs.map(|verb| verb.get_name().to_owned()).collect()
}

/// The script with the names of stacks where one is named: what is generated knows flags and verbs alone.
fn with_names(shell: Shell, script: &str, verbs: &[String]) -> String {
    let lines = script.lines();
    match shell {
        Shell::Bash => {
            let named = |line: &str| match line.trim_start().starts_with("opts=") && line.contains(" --cloud ") {
                true => line.replacen("opts=\"", "opts=\"$(__cofferdam_stacks) ", 1),
                false => line.to_owned(),
            };
            format!("{NAMES_OF_BASH}\n{}\n", lines.map(named).collect::<Vec<_>>().join("\n"))
        }
        Shell::Zsh => {
            let named = |line: &str| match line.starts_with("':stack -- ") {
                true => line.replacen(":_default'", ":__cofferdam_stacks'", 1),
                false => line.to_owned(),
            };
            let all = lines.map(named).collect::<Vec<_>>().join("\n");
            // The first line says what the file is for.
            let (head, rest) = all.split_once('\n').unwrap_or((&all, ""));
            format!("{head}\n{NAMES_OF_ZSH}\n{rest}\n")
        }
        Shell::Fish => {
            let verbs = verbs.join(" ");
            format!(
                "{NAMES_OF_FISH}\n{script}complete -c cofferdam -n \"__fish_cofferdam_using_subcommand {verbs}\" -a \
                 \"(__cofferdam_stacks)\"\n"
            )
        }
        _ => script.to_owned(),
    }
}

/// The stacks of the nearest `stacks/` above.
const NAMES_OF_BASH: &str = r#"__cofferdam_stacks() {
    local folder="$PWD" file
    while [[ -n "$folder" && ! -d "$folder/stacks" ]]; do folder="${folder%/*}"; done
    for file in "$folder"/stacks/*.toml; do
        if [[ -e "$file" ]]; then file="${file##*/}"; echo "${file%.toml}"; fi
    done
}"#;

const NAMES_OF_ZSH: &str = r#"
__cofferdam_stacks() {
    local folder="$PWD"
    while [[ -n "$folder" && ! -d "$folder/stacks" ]]; do folder="${folder%/*}"; done
    local -a names=("$folder"/stacks/*.toml(N:t:r))
    _alternative "stacks:stack:($names)" 'files:stack file:_files -g "*.toml"'
}"#;

const NAMES_OF_FISH: &str = r#"function __cofferdam_stacks
    set -l folder $PWD
    while test -n "$folder"; and not test -d "$folder/stacks"
        set folder (string replace -r '/[^/]*$' '' -- $folder)
    end
    for file in $folder/stacks/*.toml
        string replace -r '\.toml$' '' -- (basename $file)
    end
end
"#;
