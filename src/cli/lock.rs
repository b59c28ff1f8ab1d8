//! `lock`: who holds the state's lock, and taking it away from whoever is gone.

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::{Failure, Outcome};
use super::options::StackOptions;
use super::render::{self, style};
use super::session::Session;

/// Shows who holds the lock of the state, or takes it away
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows who holds it
    #[command(after_help = "Example:\n  cofferdam lock show ecs-poc --cloud aws")]
    Show {
        #[command(flatten)]
        stack: StackOptions,

        /// Print JSON (documented in docs/json.md)
        #[arg(long)]
        json: bool,
    },
    /// Takes it away from whoever holds it
    ///
    /// Only needed where the holder is known to hang: a lock ends with its process. A holder that goes on after all
    /// notices before it writes again, and stops.
    #[command(after_help = "Example:\n  cofferdam lock break ecs-poc --cloud aws")]
    Break {
        #[command(flatten)]
        stack: StackOptions,
    },
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::Show { stack, json } => show(stack, *json).await,
        Verb::Break { stack } => break_lock(stack).await,
    }
}

async fn show(stack: &StackOptions, json: bool) -> Outcome {
    let session = Session::open_state(stack).await?;
    let holder = session.store.holder()?;
    if json {
        let holder = holder.as_ref().map(|(holder, _)| holder);
        outln!("{:#}", serde_json::json!({ "format_version": 1, "holder": holder }));
        return Ok(ExitCode::SUCCESS);
    }
    match holder {
        None => outln!("Nobody holds the lock."),
        Some((holder, dead_in)) => {
            outln!("{}.", holder.sentence());
            if let Some(dead_in) = dead_in {
                let rest = render::duration(dead_in);
                outln!("It may be dead: if it gives no sign of life for {rest}, the next run takes its lock over.");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn break_lock(stack: &StackOptions) -> Outcome {
    let session = Session::open_state(stack).await?;
    let Some((holder, _)) = session.store.holder()? else {
        return Err(Failure::new("nobody holds the lock").help("run what you wanted to run"));
    };
    session.store.break_lock()?;
    outln!("{} the lock was taken away from {}.", style::good("✓"), holder.sentence());
    outln!("The next run settles what that one left unresolved.");
    Ok(ExitCode::SUCCESS)
}
