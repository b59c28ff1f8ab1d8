//! `validate`: is a stack right, as far as that can be told without a cloud?

use std::process::ExitCode;

use super::failure::Outcome;
use super::options::StackOptions;
use super::project;
use super::render::{plural, style};
use crate::kinds::Registry;

/// Checks a stack without a cloud: everything wrong in it, in one run
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam validate ecs-poc\n  cofferdam validate stacks/web.toml --env staging --var instance_type=t4g.small"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,
}

/// Runs the verb.
pub fn run(args: &Args) -> Outcome {
    let stack = project::load(&args.stack, &Registry::new())?;
    for warning in &stack.warnings {
        errln!("{}", style::note(&warning.message));
    }
    let count = plural(stack.graph.resources().len(), "resource", "resources");
    outln!("{} {} is valid: {count}.", style::good("✓"), stack.name);
    Ok(ExitCode::SUCCESS)
}
