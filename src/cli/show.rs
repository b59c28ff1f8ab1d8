//! `show`: what the state says exists.

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::home;
use super::options::StackOptions;
use super::render::{self, style};
use super::session::Session;
use super::state::missing;
use crate::plan::Plan;
use crate::state::Entry;

/// Shows what exists according to the state, or what a saved plan does
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam show ecs-poc                           everything
  cofferdam show ecs-poc network.main/vpc.main     one resource, or all of a construct
  cofferdam show ecs-poc.plan                      a saved plan")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Only this address or construct
    address: Option<String>,

    /// Show this saved plan instead
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    plan: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let named = PathBuf::from(&args.stack.stack);
    let saved = args.plan.clone().or_else(|| Plan::is_saved(&named).then_some(named));
    if let Some(path) = saved {
        let plan = home::saved_plan(&path)?;
        if args.json {
            outln!("{:#}", render::json::plan(&plan));
        } else {
            out!("{}", render::plan::plan(&plan));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::open_state(&args.stack).await?;
    let state = session.peek().await?;
    let wanted = |address: &crate::graph::Address| args.address.as_ref().is_none_or(|target| address.is_within(target));
    let found: Vec<_> = state.iter().flat_map(|s| &s.resources).filter(|(address, _)| wanted(address)).collect();
    if let (Some(name), true) = (&args.address, found.is_empty()) {
        return Err(missing(state.as_ref(), name, &args.stack));
    }
    if args.json {
        let all: serde_json::Map<String, serde_json::Value> = found
            .iter()
            .map(|(address, entry)| Ok((address.to_string(), serde_json::to_value(entry)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|e| Failure::new(e.to_string()))?;
        outln!("{:#}", serde_json::json!({ "format_version": 1, "resources": all }));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        outln!("Nothing exists yet.");
    }
    for (address, entry) in found {
        outln!("{}  {}", style::strong(address.as_str()), style::faint(&entry.id));
        out!("{}", attributes(entry));
    }
    Ok(ExitCode::SUCCESS)
}

fn attributes(entry: &Entry) -> String {
    let all: std::collections::BTreeMap<&String, &serde_json::Value> =
        entry.outputs.iter().chain(&entry.attributes).collect();
    let width = all.keys().map(|name| name.len()).max().unwrap_or(0);
    let mut text: String =
        all.iter().map(|(name, value)| format!("  {name:width$}  {}\n", render::inline(value))).collect();
    for (is, what) in [(entry.protect, "protected"), (!entry.complete, "unfinished"), (entry.read_only, "only read")] {
        if is {
            text.push_str(&format!("  {}\n", style::faint(&format!("({what})"))));
        }
    }
    text.push('\n');
    text
}
