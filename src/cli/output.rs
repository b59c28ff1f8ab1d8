//! `output`: the stack's outputs.

use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::options::StackOptions;
use super::render::{self, style};
use super::session::Session;
use crate::state::State;

/// Prints the outputs of the last apply
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam output ecs-poc\n  cofferdam output ecs-poc vpc_id          the bare value, for scripts\n  cofferdam output ecs-poc --json"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Only this one, as a bare value
    name: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open_state(&args.stack).await?;
    let is_applied = |state: &State| !state.resources.is_empty() || !state.outputs.is_empty();
    let Some(State { outputs, .. }) = session.peek().await?.filter(is_applied) else {
        return Err(Failure::new("nothing of this stack is applied yet, so it has no outputs")
            .help(format!("apply it first: `{}`", args.stack.command("apply"))));
    };
    match &args.name {
        Some(name) => {
            let Some(value) = outputs.get(name) else {
                let known: Vec<&str> = outputs.keys().map(String::as_str).collect();
                let help = match known.as_slice() {
                    [] => "the stack had no [outputs] when it was last applied".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                return Err(Failure::new(format!("there is no output `{name}`")).help(help));
            };
            match value {
                Value::String(text) if !args.json => outln!("{text}"),
                other => outln!("{other}"),
            }
        }
        None if args.json => outln!("{:#}", serde_json::json!(outputs)),
        None if outputs.is_empty() => errln!("{}", style::note("the stack had no [outputs] when it was last applied")),
        None => out!("{}", render::outputs(outputs.iter())),
    }
    Ok(ExitCode::SUCCESS)
}
