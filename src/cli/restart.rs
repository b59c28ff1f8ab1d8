//! `restart`: new tasks of the same revision.

use std::time::{Duration, Instant};

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::interrupt;
use super::options::LockOptions;
use super::render::{duration, style};
use super::service::{ServiceOptions, done};
use super::session::Session;
use crate::apply::Stop;
use crate::cloud::{FIRST_PAUSE, Known, Progress, longer};
use crate::graph::Address;
use crate::kinds::Deployments;
use crate::plan::FORMAT_VERSION;
use crate::services;

/// How long the new tasks may take.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Replaces the tasks of a service by new ones of the same revision, and waits until they run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam restart shop web
  cofferdam restart shop web --cloud aws --no-wait

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
    let writer = session.lock("restart", &args.lock).await?;
    let state = writer.state().clone();
    let service = services::find(&state, &args.service.service)?;
    let aws = session.cloud.aws();
    let began = Instant::now();
    let deployments = Deployments::default();
    let mut described = services::restart(aws, &service).await?;
    deployments.note(&described);
    if args.no_wait {
        writer.close()?;
        match args.json {
            true => outln!("{}", ended(service.address, false, began.elapsed())),
            false => outln!("{} {} is being restarted", style::good("✓"), service.address),
        }
        return done();
    }
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
        match deployments.progress(aws, &described, &known).await? {
            Progress::Done(_) => break,
            progress @ (Progress::Pending(_) | Progress::Telling(..)) => {
                let (what, news) = match progress {
                    Progress::Telling(what, news) => (what, news),
                    Progress::Pending(what) => (what, Vec::new()),
                    Progress::Done(_) => break,
                };
                news.iter().for_each(|line| errln!("  {}: {line}", service.address));
                if what != told {
                    errln!("  {}: waiting: {what}", service.address);
                    told = what;
                }
            }
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
                .help("`cofferdam status` and `cofferdam events` say what it waits for"));
        }
        let _ = tokio::time::timeout(pause, stop.changed()).await;
        pause = longer(pause);
        described = services::describe(aws, &service).await?;
    }
    writer.close()?;
    match args.json {
        true => outln!("{}", ended(service.address, true, began.elapsed())),
        false => outln!("{} {}: restarted in {}", style::good("✓"), service.address, duration(began.elapsed())),
    }
    done()
}

fn ended(address: &Address, complete: bool, elapsed: Duration) -> serde_json::Value {
    let seconds = elapsed.as_secs_f64();
    json!({ "format_version": FORMAT_VERSION, "address": address, "complete": complete, "seconds": seconds })
}
