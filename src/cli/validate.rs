//! `validate`: is a stack right, as far as that can be told without a cloud?

use std::fmt::Write as _;
use std::process::ExitCode;

use super::failure::Outcome;
use super::options::StackOptions;
use super::project;
use super::render::{plural, style};
use crate::kinds::Registry;
use crate::stack::Stack;

/// Checks a stack without a cloud: everything wrong in it, in one run
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam validate ecs-poc\n  cofferdam validate stacks/web.toml --env staging --var instance_type=t4g.small"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,
}

/// Runs the verb. Without an environment, each that the stack has is checked, too.
pub fn run(args: &Args) -> Outcome {
    let registry = Registry::new();
    let stack = project::load(&args.stack, &registry)?;
    let size = |stack: &Stack| plural(stack.graph.resources().len(), "resource", "resources");
    let mut told = format!("{} {} is valid: {}", style::good("✓"), stack.name, size(&stack));
    let mut warnings: Vec<String> = Vec::new();
    let mut warn = |stack: &Stack| {
        for warning in &stack.warnings {
            if !warnings.contains(&warning.message) {
                errln!("{}", style::note(&warning.message));
                warnings.push(warning.message.clone());
            }
        }
    };
    warn(&stack);
    if stack.env.is_none() {
        for name in &stack.environments {
            let options = StackOptions { env: Some(name.clone()), ..args.stack.clone() };
            let environment = project::load(&options, &registry).inspect_err(|_| {
                errln!("{}", style::note(&format!("the environment {name} of {}:", stack.name)));
            })?;
            warn(&environment);
            let _ = write!(told, "; {name}: {}", size(&environment));
        }
    }
    outln!("{told}.");
    Ok(ExitCode::SUCCESS)
}
