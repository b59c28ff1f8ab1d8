//! `restart`: new tasks of the same revision.

use std::time::{Duration, Instant};

use aws_sdk_ecs::types::Service as EcsService;
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::interrupt;
use super::options::LockOptions;
use super::render::{duration, style};
use super::service::{ServiceOptions, done};
use super::session::Session;
use crate::apply::Stop;
use crate::aws::Aws;
use crate::cloud::{FIRST_PAUSE, Known, Progress, longer};
use crate::graph::Address;
use crate::kinds::Deployments;
use crate::plan::FORMAT_VERSION;
use crate::services::{self, Service};
use crate::state::End;

/// How long the new tasks may take.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Replaces the tasks of a service by new ones of the same revision, and waits until they run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam restart ecs-poc web
  cofferdam restart ecs-poc web --cloud aws --no-wait

New tasks pull their images again: what a tag stands for by now is what runs then. Nothing that the stack describes is \
changed.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// Do not wait until the new tasks run
    #[arg(long)]
    no_wait: bool,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    lock: LockOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open_state(&args.service.stack).await?;
    let mut writer = session.lock(&format!("restart {}", args.service.service), &args.lock).await?;
    let state = writer.state().clone();
    let service = services::find(&state, &args.service.service)?;
    let aws = session.cloud.aws();
    let began = Instant::now();
    let deployments = Deployments::default();
    let described = services::restart(aws, &service).await?;
    // Nothing of the state becomes different, and yet something was done.
    writer.remember();
    deployments.note(&described);
    if args.no_wait {
        writer.close()?;
        match args.json {
            true => outln!("{}", ended(service.address, false, began.elapsed())),
            false => outln!("{} {} is being restarted", style::good("✓"), service.address),
        }
        return done();
    }
    let waited = until_done(args, aws, &service, (&deployments, described), began).await;
    // Nothing of it is left for another run.
    writer.end(match waited {
        Ok(()) => End::Done,
        Err(_) => End::Incomplete { failed: 1, left: 0 },
    })?;
    waited?;
    match args.json {
        true => outln!("{}", ended(service.address, true, began.elapsed())),
        false => outln!("{} {}: restarted in {}", style::good("✓"), service.address, duration(began.elapsed())),
    }
    done()
}

/// Waits until the new tasks run, and tells what is waited for.
async fn until_done(
    args: &Args,
    aws: &Aws,
    service: &Service<'_>,
    (deployments, mut described): (&Deployments, EcsService),
    began: Instant,
) -> Result<(), Failure> {
    let mut known = Known {
        address: service.address.clone(),
        id: service.entry.id.clone(),
        attributes: service.entry.attributes.clone(),
        outputs: service.entry.outputs.clone(),
    };
    // What it is set to now: somebody may have set it to something else than the state says.
    known.attributes.insert("task_definition".into(), described.task_definition().unwrap_or_default().into());
    let mut stop = interrupt::watch();
    let (mut pause, mut told) = (FIRST_PAUSE, String::new());
    loop {
        let (what, news) = match deployments.progress(aws, &described, &known).await? {
            Progress::Done(_) => return Ok(()),
            Progress::Telling(what, news) => (what, news),
            Progress::Pending(what) => (what, Vec::new()),
        };
        news.iter().for_each(|line| errln!("  {}: {line}", service.address));
        if what != told {
            errln!("  {}: waiting: {what}", service.address);
            told = what;
        }
        if *stop.borrow() != Stop::No {
            return Err(Failure::new("stopped as asked; the restart goes on by itself").help(format!(
                "`{} {}` shows how far it is",
                args.service.stack.command("status"),
                args.service.service
            )));
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(format!("{} is still not restarted: {told}", service.address))
                .help("`cofferdam status STACK` and `cofferdam events STACK` say what it waits for"));
        }
        let _ = tokio::time::timeout(pause, stop.changed()).await;
        pause = longer(pause);
        described = services::describe(aws, service).await?;
    }
}

fn ended(address: &Address, complete: bool, elapsed: Duration) -> serde_json::Value {
    let seconds = elapsed.as_secs_f64();
    json!({ "format_version": FORMAT_VERSION, "address": address, "complete": complete, "seconds": seconds })
}
