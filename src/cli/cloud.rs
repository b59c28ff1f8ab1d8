//! `cloud`: the emulated AWS on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Outcome;
use super::render::style;
use super::{project, session};
use crate::local::{EMULATORS, Status};

/// Starts, stops and empties the emulated AWS on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam cloud up
  cofferdam cloud reset     what was applied to it is gone then")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,

    /// The directory that holds the states of all stacks; the local cloud runs below it [default: `state` in the project's
    /// folder]
    #[arg(long, global = true, value_name = "DIR", env = "COFFERDAM_STATE")]
    state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts it, and installs it first where it is missing; other verbs do so by themselves
    Up,
    /// Stops it; what is in it is lost
    Down,
    /// Says whether it runs, and where
    Status,
    /// Empties it
    Reset,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let local = session::local(&project::state_directory(args.state.as_deref(), None))?;
    match args.verb {
        Verb::Up => {
            let endpoints = local.up(&|line| errln!("{line}")).await?;
            outln!("{} the local cloud answers at {}", style::good("✓"), endpoints.main);
            outln!("  ECS answers at {}", endpoints.ecs);
            let (main, ecs) = (&endpoints.main, &endpoints.ecs);
            outln!(
                "  for the AWS CLI: AWS_ENDPOINT_URL={main} AWS_ENDPOINT_URL_ECS={ecs} AWS_ENDPOINT_URL_CLOUDWATCH={ecs}"
            );
        }
        Verb::Down => match local.down().await? {
            true => outln!("{} the local cloud is stopped", style::good("✓")),
            false => outln!("the local cloud was not running"),
        },
        Verb::Status => match local.status().await {
            Status::NotInstalled => outln!("not installed; `cofferdam cloud up` installs {EMULATORS}"),
            Status::Stopped => outln!("installed, and not running"),
            Status::Running(endpoints) => {
                outln!("running at {} (process {})", endpoints.main, endpoints.main_pid);
                outln!("ECS at {} (process {})", endpoints.ecs, endpoints.ecs_pid);
            }
        },
        Verb::Reset => match local.reset().await? {
            Some(_) => outln!("{} the local cloud is empty", style::good("✓")),
            None => outln!("the local cloud was not running"),
        },
    }
    Ok(ExitCode::SUCCESS)
}
