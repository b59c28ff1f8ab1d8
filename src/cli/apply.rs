//! `apply`: makes what exists what the stack says.

use std::path::PathBuf;
use std::process::ExitCode;

use super::approve::approve;
use super::failure::{Failure, Outcome};
use super::home;
use super::interrupt;
use super::options::{CloudName, LockOptions, PlanOptions, StackOptions};
use super::progress::Progress;
use super::render::{self, style};
use super::session::Session;
use crate::apply::{Execution, Options, Stop, execute};
use crate::plan::{Mode, Plan};
use crate::state::{End, Record, Writer};

/// Plans, asks, and applies
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam apply ecs-poc                         to the local cloud
  cofferdam apply ecs-poc --cloud aws             shows the plan and asks
  cofferdam apply ecs-poc --cloud aws --yes       in a pipeline
  cofferdam apply ecs-poc --cloud aws --plan ecs-poc.plan")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    #[command(flatten)]
    how: PlanOptions,

    /// Apply this saved plan, as it was shown; only one that destroys is asked about once more
    #[arg(long, value_name = "FILE", conflicts_with_all = ["targets", "replace"])]
    plan: Option<PathBuf>,

    /// Also where the plan deletes more of the stack than [guards] allows
    #[arg(long)]
    allow_deletes: bool,

    #[command(flatten)]
    wait: WaitOptions,

    #[command(flatten)]
    run: RunOptions,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct WaitOptions {
    /// Do not wait until deployments of services are completed
    #[arg(long)]
    pub no_wait: bool,
}

/// How a plan is carried out.
#[derive(Debug, Clone, clap::Args)]
pub struct RunOptions {
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,

    /// Print one JSON object a line: the plan, each event, and the end (documented in docs/json.md)
    #[arg(long)]
    pub json: bool,

    /// How many calls may be under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub slots: u16,

    /// Whether to wait for what goes on by itself; see [`WaitOptions`].
    #[arg(skip = true)]
    pub wait: bool,

    #[command(flatten)]
    pub lock: LockOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let saved = args.plan.as_deref().map(home::saved_plan).transpose()?;
    let destroys = saved.as_ref().is_some_and(|plan| plan.mode == Mode::Destroy);
    // What is deleted follows from the state alone.
    let session = match destroys {
        true => Session::open_state(&args.stack).await?,
        false => Session::open(&args.stack).await?,
    };
    session.is_not_lost(&args.stack).await?;
    let mut writer = session.lock("apply", &args.run.lock).await?;
    let plan = match saved {
        None => {
            session.give_seal(&mut writer, None);
            session.plan(Some(writer.state()), Mode::Apply, &args.how).await?
        }
        Some(plan) => {
            let scope = crate::cloud::Cloud::scope(&session.cloud);
            plan.fits(writer.state(), args.stack.cloud.as_str(), scope.account.as_deref(), &scope.region)?;
            if !destroys && plan.inputs_digest != session.inputs_digest {
                return Err(Failure::new("the stack has changed since the plan was made")
                    .help("plan again, look at it, and apply the new plan"));
            }
            session.give_seal(&mut writer, plan.seal.as_ref());
            session.same_secrets(&plan, writer.state())?;
            plan
        }
    };
    if let (Some(refused), false) = (session.too_many_deletions(&plan, Some(writer.state())), args.allow_deletes) {
        if !args.run.json {
            outln!("{}\n", style::strong(&session.headline("Apply of")));
            out!("{}", render::plan::plan(&plan));
        }
        writer.close()?;
        return Err(Failure::new(refused.to_string()).help(refused.remedy()));
    }
    // What was looked at is approved; but for what cannot be taken back.
    let how = args.run.waiting(args.wait);
    match destroys {
        true => carry_out(&session, writer, &plan, &how, false, "destroy").await,
        false => carry_out(&session, writer, &plan, &how, args.plan.is_some(), "apply").await,
    }
}

impl RunOptions {
    /// The same, waiting for what is to be waited for.
    pub fn waiting(&self, options: WaitOptions) -> Self {
        Self { wait: !options.no_wait, ..self.clone() }
    }
}

/// Shows a plan, asks, executes it, and tells how it ended.
///
/// # Errors
/// Where state cannot be kept, or there is nobody to ask.
pub async fn carry_out(
    session: &Session,
    writer: Writer,
    plan: &Plan,
    how: &RunOptions,
    approved: bool,
    verb: &str,
) -> Outcome {
    carry_out_with(session, writer, plan, how, approved, verb, Vec::new()).await
}

/// The same, taking these records into the state once the plan is approved.
///
/// # Errors
/// As of [`carry_out`].
pub async fn carry_out_with(
    session: &Session,
    mut writer: Writer,
    plan: &Plan,
    how: &RunOptions,
    approved: bool,
    verb: &str,
    records: Vec<Record>,
) -> Outcome {
    if how.json {
        outln!("{}", render::json::plan(plan));
    } else {
        let mut headline = session.headline(&format!("{verb} of"));
        headline[..1].make_ascii_uppercase();
        outln!("{}\n", style::strong(&headline));
        out!("{}", render::plan::plan(plan));
    }
    let mut question = format!("{verb} this?");
    question[..1].make_ascii_uppercase();
    // What is made in the local cloud costs nothing and hurts nobody; what is deleted there may still be missed.
    let is_trial = verb != "destroy" && session.name == CloudName::Local;
    if plan.has_changes() && !approve(&question, how.yes || approved || is_trial)? {
        writer.close()?;
        return Err(Failure::new("not approved; nothing was changed"));
    }
    records.into_iter().for_each(|record| writer.note(record));
    writer.sync()?;
    let mut progress = Progress::new(how.json, plan);
    let stop = interrupt::watch();
    let report = execute(Execution {
        plan,
        cloud: &session.cloud,
        ledger: &mut writer,
        options: Options { slots: usize::from(how.slots), wait: how.wait, ..Options::default() },
        stop: stop.clone(),
        emit: &mut |event| progress.take(&event),
    })
    .await?;
    progress.end();
    let interrupted = *stop.borrow() != Stop::No;
    let left = report.skipped.len() + report.left.len();
    let state = writer.end(match report.is_complete() {
        true => End::Done,
        false => End::Incomplete { failed: report.failed.len(), left },
    })?;
    if how.json {
        outln!("{}", render::json::report(&report));
    } else {
        if plan.has_changes() || !report.is_complete() {
            out!("{}", render::report(&report));
        }
        if verb == "apply" && !state.outputs.is_empty() && report.is_complete() {
            out!("\n{}\n{}", style::strong("Outputs:"), render::outputs(state.outputs.iter()));
        }
        if interrupted && !report.is_complete() {
            errln!("{}", style::note("stopped as asked; run the same command again to go on"));
        }
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
