//! `plan`: what would an apply do?

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::Outcome;
use super::home;
use super::options::{PlanOptions, StackOptions};
use super::render::{self, style};
use super::session::Session;
use crate::kinds::permissions::{self, Coverage};
use crate::plan::Mode;
use crate::words::shell_words;

/// Shows what an apply would do. Changes nothing and takes no lock
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam plan ecs-poc
  cofferdam plan ecs-poc --cloud aws --out ecs-poc.plan && cofferdam apply ecs-poc --cloud aws --plan ecs-poc.plan
  cofferdam plan ecs-poc --json | jq .summary
  cofferdam plan ecs-poc --cloud aws --iam > policy.json     what whoever applies it must be allowed to do
  cofferdam plan ecs-poc --target network.main --refresh=false")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    #[command(flatten)]
    how: PlanOptions,

    /// Plan the deletion of everything
    #[arg(long, conflicts_with = "replace")]
    destroy: bool,

    /// Save the plan to this file, to be applied as it is shown
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,

    /// Print the IAM policy that an apply of this plan needs, and nothing else
    #[arg(long, conflicts_with = "json")]
    iam: bool,

    /// With --iam: also what a run needs that goes on where this one was interrupted
    #[arg(long, requires = "iam")]
    resumable: bool,

    /// Exit with 2 where there are changes, 0 where there are none
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = match args.destroy {
        true => Session::open_state(&args.stack).await?,
        false => Session::open(&args.stack).await?,
    };
    session.is_not_lost(&args.stack).await?;
    let state = session.peek().await?;
    let mode = if args.destroy { Mode::Destroy } else { Mode::Apply };
    let mut plan = session.plan(state.as_ref(), mode, &args.how).await?;
    if let Some(path) = &args.out {
        let keys = home::keys(&args.stack, &session.head.state)?;
        plan.save(path, state.as_ref(), keys.as_ref())?;
    }
    if args.iam {
        let place = session.head.state.url.as_deref().and_then(|url| url.strip_prefix("s3://"));
        let coverage = if args.resumable { Coverage::Resumable } else { Coverage::OneRun };
        let bucket = place.map(|place| place.split_once('/').unwrap_or((place, "")));
        outln!("{:#}", permissions::policy(&plan, state.as_ref(), bucket, coverage));
    } else if args.json {
        outln!("{:#}", render::json::plan(&plan));
    } else {
        outln!("{}\n", style::strong(&session.headline("Plan of")));
        out!("{}", render::plan::plan(&plan));
        if let Some(refused) = session.too_many_deletions(&plan, state.as_ref()) {
            errln!("{}", style::note(&format!("an apply refuses this: {refused}; --allow-deletes lets it through")));
        }
        if let Some(path) = &args.out {
            let how = args.stack.same_inputs("apply");
            let file = shell_words(&[path.display().to_string()]);
            outln!("Saved to {}. To apply it, as it is shown here:\n  {how} --plan {file}", path.display());
        }
    }
    Ok(if args.detailed_exitcode && plan.has_changes() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
