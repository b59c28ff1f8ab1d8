//! `schema`: the JSON Schema of the stack language.

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use crate::kinds::{Registry, identity};

/// Prints the JSON Schema of stack files, by which editors complete and check them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cofferdam schema --out stacks/.schema.json")]
pub struct Args {
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print the reference of the language for people instead, in Markdown
    #[arg(long)]
    markdown: bool,

    /// Print how of each kind what an interrupted run made is found again, in Markdown
    #[arg(long, conflicts_with = "markdown")]
    identity: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Outcome {
    let registry = Registry::new();
    let schema = match (args.markdown, args.identity) {
        (true, _) => crate::stack::reference(&registry),
        (_, true) => identity::table(&registry),
        _ => format!("{:#}\n", crate::stack::schema(&registry)),
    };
    match &args.out {
        Some(path) => std::fs::write(path, schema)
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", path.display())).help("check the path"))?,
        None => out!("{schema}"),
    }
    Ok(ExitCode::SUCCESS)
}
