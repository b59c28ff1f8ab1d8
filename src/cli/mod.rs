//! The command line: one file a verb. The only place that prints, prompts, colours, or reads the environment.

#[macro_use]
mod print;

mod apply;
mod approve;
mod cloud;
mod completions;
mod deploy;
mod destroy;
mod drift;
mod events;
mod exec;
mod failure;
mod graph;
mod history;
mod home;
mod import;
mod interrupt;
mod lock;
mod logs;
mod options;
mod orphans;
mod output;
mod plan;
mod progress;
mod project;
mod ps;
mod recover;
mod rehearse;
mod releases;
pub mod render;
mod restart;
mod rollback;
mod run;
mod scale;
mod schema;
mod service;
mod session;
mod show;
mod state;
mod status;
mod validate;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::Failure;
use options::Color;

/// Plans and applies AWS ECS clusters described in TOML stack files.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = "Output")]
    color: Color,
}

const EXAMPLES: &str = "\
Examples:
  cofferdam validate ecs-poc               check stacks/ecs-poc.toml without a cloud
  cofferdam plan ecs-poc                   show what an apply would do to the local cloud
  cofferdam rehearse ecs-poc               show how an apply would go on AWS, and for how long
  cofferdam apply ecs-poc --cloud aws      plan, ask, and apply to AWS
  cofferdam destroy ecs-poc --env staging  delete everything of the staging environment

Exit codes: 0 done, 1 an error, 2 wrong usage (with plan --detailed-exitcode: 2 means changes).";

#[derive(Debug, Subcommand)]
enum Verb {
    Validate(validate::Args),
    Plan(plan::Args),
    Rehearse(rehearse::Args),
    Apply(apply::Args),
    Destroy(destroy::Args),
    Deploy(deploy::Args),
    Rollback(rollback::Args),
    Releases(releases::Args),
    Scale(scale::Args),
    Restart(restart::Args),
    Status(status::Args),
    Ps(ps::Args),
    Events(events::Args),
    Logs(logs::Args),
    Run(run::Args),
    Exec(exec::Args),
    Drift(drift::Args),
    Show(show::Args),
    Output(output::Args),
    Graph(graph::Args),
    State(state::Args),
    History(history::Args),
    Lock(lock::Args),
    Import(import::Args),
    Recover(recover::Args),
    Orphans(orphans::Args),
    Schema(schema::Args),
    Cloud(cloud::Args),
    Completions(completions::Args),
}

/// Runs the command line and gives its exit code.
pub fn main() -> ExitCode {
    let command = Cli::command();
    let parsed = command.clone().try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, wants_json(&matches))));
    let (cli, json) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    cli.color.apply();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("cannot start: {error}")).report(json),
    };
    let done = runtime.block_on(async {
        match cli.verb {
            Verb::Validate(args) => validate::run(&args),
            Verb::Plan(args) => plan::run(&args).await,
            Verb::Rehearse(args) => rehearse::run(&args),
            Verb::Apply(args) => apply::run(&args).await,
            Verb::Destroy(args) => destroy::run(&args).await,
            Verb::Deploy(args) => deploy::run(&args).await,
            Verb::Rollback(args) => rollback::run(&args).await,
            Verb::Releases(args) => releases::run(&args).await,
            Verb::Scale(args) => scale::run(&args).await,
            Verb::Restart(args) => restart::run(&args).await,
            Verb::Status(args) => status::run(&args).await,
            Verb::Ps(args) => ps::run(&args).await,
            Verb::Events(args) => events::run(&args).await,
            Verb::Logs(args) => logs::run(&args).await,
            Verb::Run(args) => run::run(&args).await,
            Verb::Exec(args) => exec::run(&args).await,
            Verb::Drift(args) => drift::run(&args).await,
            Verb::Show(args) => show::run(&args).await,
            Verb::Output(args) => output::run(&args).await,
            Verb::Graph(args) => graph::run(&args),
            Verb::State(args) => state::run(&args).await,
            Verb::History(args) => history::run(&args).await,
            Verb::Lock(args) => lock::run(&args).await,
            Verb::Import(args) => import::run(&args).await,
            Verb::Recover(args) => recover::run(&args).await,
            Verb::Orphans(args) => orphans::run(&args).await,
            Verb::Schema(args) => schema::run(&args),
            Verb::Cloud(args) => cloud::run(&args).await,
            Verb::Completions(args) => completions::run(&args, command),
        }
    });
    // Calls that were abandoned on the second interrupt must not hold the process back.
    runtime.shutdown_background();
    match (done, print::lost()) {
        (Err(failure), _) => failure.report(json),
        (Ok(_), Some(error)) => Failure::new(format!("not all could be printed: {error}")).report(json),
        (Ok(code), None) => code,
    }
}

/// Whether the verb prints JSON.
fn wants_json(matches: &ArgMatches) -> bool {
    let own = matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or_default();
    own || matches.subcommand().is_some_and(|(_, matches)| wants_json(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands that a help gives as examples, without what a shell does with them and what is said of them.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let lines = help.lines().filter_map(|line| line.strip_prefix("  cofferdam "));
        let commands = lines.flat_map(|line| line.split(" && cofferdam "));
        let words = |command: &str| -> Vec<String> {
            let end = ["  ", " | ", " > ", " #"].iter().filter_map(|mark| command.find(mark)).min();
            let command = command[..end.unwrap_or(command.len())].replace('"', "");
            command.split_whitespace().map(str::to_owned).collect()
        };
        commands.map(words).collect()
    }

    fn without_examples(command: &clap::Command, path: &str, of_parent: bool, out: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        let has_some = !examples.is_empty() || of_parent;
        if !has_some && !command.has_subcommands() {
            out.push(path.to_owned());
        }
        for example in examples {
            let words = std::iter::once("cofferdam").chain(example.iter().map(String::as_str));
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
        for inner in command.get_subcommands() {
            without_examples(inner, &format!("{path} {}", inner.get_name()), path != "cofferdam" && has_some, out);
        }
    }

    #[test]
    fn each_verb_has_examples_that_are_right() {
        let mut out = Vec::new();
        without_examples(&Cli::command(), "cofferdam", false, &mut out);
        assert!(out.is_empty(), "no examples: {out:?}");
    }
}
