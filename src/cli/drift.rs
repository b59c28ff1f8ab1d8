//! `drift`: what was changed behind the tool's back?

use std::process::ExitCode;

use super::failure::Outcome;
use super::options::StackOptions;
use super::render::{self, plural, style};
use super::session::Session;
use crate::cloud::Cloud;
use crate::graph::Graph;
use crate::plan;

/// Shows what was changed outside of this tool since the last apply. Changes nothing
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam drift ecs-poc --cloud aws\n  cofferdam drift ecs-poc --cloud aws --detailed-exitcode   # 2 where there is drift"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,

    /// Exit with 2 where there is drift, 0 where there is none
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open(&args.stack).await?;
    session.is_not_lost(&args.stack).await?;
    let state = session.peek().await?;
    let drift = match &state {
        // What the stack says is of no account: what was applied is compared with what is there.
        Some(state) => {
            let observed = plan::refresh::refresh(&session.cloud, &Graph::default(), state).await?;
            plan::drift(state, &observed, &|kind| session.cloud.spec(kind))
        }
        None => Vec::new(),
    };
    let count = drift.len();
    if args.json {
        outln!("{:#}", serde_json::json!({ "format_version": plan::FORMAT_VERSION, "drift": drift }));
    } else {
        outln!("{}\n", style::strong(&session.headline("Drift of")));
        out!("{}", render::plan::drift(&drift));
        if state.is_none_or(|state| state.resources.is_empty()) {
            outln!("Nothing of this stack is applied yet, so nothing can differ.");
        } else if count == 0 {
            outln!("{}.", style::good("No drift"));
        } else {
            let what = plural(count, "resource differs", "resources differ");
            outln!("{what} from the last apply; an apply makes them what the stack says.");
        }
    }
    Ok(if args.detailed_exitcode && count > 0 { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
