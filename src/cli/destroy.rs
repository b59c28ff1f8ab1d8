//! `destroy`: deletes everything that the state knows.

use super::apply::{RunOptions, carry_out};
use super::failure::Outcome;
use super::options::{PlanOptions, StackOptions};
use super::session::Session;
use crate::plan::Mode;

/// Plans, asks, and deletes everything that the stack's state knows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam destroy ecs-poc
  cofferdam destroy ecs-poc --cloud aws --env staging
  cofferdam destroy ecs-poc --target capacity.main")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Only this address or construct, and what depends on it; may be given several times
    #[arg(long = "target", value_name = "ADDRESS")]
    targets: Vec<String>,

    /// Whether to read from the cloud what exists; with false the state is believed
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    refresh: bool,

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open_state(&args.stack).await?;
    session.is_not_lost(&args.stack).await?;
    let writer = session.lock("destroy", &args.run.lock).await?;
    let how = PlanOptions { targets: args.targets.clone(), replace: Vec::new(), refresh: args.refresh, reset: false };
    let plan = session.plan(Some(writer.state()), Mode::Destroy, &how).await?;
    carry_out(&session, writer, &plan, &args.run, false, "destroy").await
}
