//! `validate`: is a stack right, as far as that can be told without a cloud?

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::failure::Outcome;
use super::options::StackOptions;
use super::project;
use super::render::{json, plural, style};
use crate::kinds::Registry;
use crate::plan::refresh::is_read_only;
use crate::stack::{Diagnostic, Diagnostics, Head};

/// Checks a stack without a cloud: everything wrong in it, in one run
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam validate ecs-poc\n  cofferdam validate stacks/ecs-poc.toml --env staging --var instance_type=t3.medium\n  cofferdam validate ecs-poc --json | jq .valid.environments"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb. Without an environment, each that the stack has is checked, too.
pub fn run(args: &Args) -> Outcome {
    let registry = Registry::new();
    let environments = match args.stack.env {
        Some(_) => Vec::new(),
        None => project::environments(&args.stack)?,
    };
    let mut told = Told::default();
    let (mut valid, mut sizes, mut name) = (String::new(), Vec::new(), String::new());
    for env in std::iter::once(None).chain(environments.into_iter().map(Some)) {
        let mut options = args.stack.clone();
        if env.is_some() {
            options.env.clone_from(&env);
        }
        match project::check(&options, &registry)? {
            Ok(stack) => {
                stack.warnings.iter().for_each(|warning| told.warn(&warning.line()));
                if env.is_none() {
                    project::namesakes(&args.stack, &Head::of(&stack)).iter().for_each(|one| told.warn(one));
                }
                let all = stack.graph.resources();
                let read = all.iter().filter(|resource| is_read_only(resource, |kind| registry.spec(kind))).count();
                sizes.push(json!({ "env": env, "resources": all.len() - read, "only_read": read }));
                name.clone_from(&stack.name);
                let mut size = plural(all.len() - read, "resource", "resources");
                if read > 0 {
                    let _ = write!(size, " and {read} only read");
                }
                let _ = match &env {
                    None => write!(valid, "{} {} is valid: {size}", style::good("✓"), stack.name),
                    Some(name) => write!(valid, "; {name}: {size}"),
                };
            }
            Err(diagnostics) => told.take(diagnostics, env.as_deref()),
        }
    }
    if !told.errors.is_empty() {
        return Err(Diagnostics(told.errors).into());
    }
    if args.json {
        let told = json!({ "stack": name, "environments": sizes, "warnings": told.warnings });
        outln!("{:#}", json::versioned("valid", &told));
        return Ok(ExitCode::SUCCESS);
    }
    outln!("{valid}.");
    Ok(ExitCode::SUCCESS)
}

/// What was found in the stack and its environments, each thing once.
#[derive(Default)]
struct Told {
    errors: Vec<Diagnostic>,
    seen: HashSet<(String, Option<String>, usize, usize)>,
    warnings: BTreeSet<String>,
}

impl Told {
    fn warn(&mut self, message: &str) {
        if self.warnings.insert(message.to_owned()) {
            errln!("{}", style::note(message));
        }
    }

    fn take(&mut self, diagnostics: Diagnostics, env: Option<&str>) {
        for mut one in diagnostics.0 {
            // What an overlay says is held against the language by itself, too, and told with its own address then.
            let message = match one
                .message
                .split_once("`env.")
                .and_then(|(before, rest)| Some((before, rest.split_once('.')?.1)))
            {
                Some((before, rest)) => format!("{before}`{rest}"),
                None => one.message.clone(),
            };
            if self.seen.insert((message, one.file.clone(), one.line, one.column)) {
                if let Some(env) = env {
                    one.message.push_str(&format!(" (environment {env})"));
                }
                self.errors.push(one);
            }
        }
    }
}
