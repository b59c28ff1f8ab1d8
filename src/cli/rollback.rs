//! `rollback`: an earlier revision for a service.

use serde_json::Value;

use super::apply::{RunOptions, WaitOptions};
use super::failure::{Failure, Outcome};
use super::service::{LockedSession, ServiceOptions, held};
use crate::plan::GivenValue;
use crate::services::{self, Service, revision_of};

/// Sets a service to an earlier revision, and waits until it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam rollback ecs-poc web --cloud aws             the revision before the one that it is set to
  cofferdam rollback ecs-poc web --to 12 --cloud aws     this one; `cofferdam releases ecs-poc web` lists them

The revision is held: plans show it and leave it as it is, until `deploy` brings a newer one or `apply --reset` takes \
it back. `keep_revisions` of the task definition says how many there are to go back to.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// The number of the revision
    #[arg(long, value_name = "N")]
    to: Option<u64>,

    #[command(flatten)]
    wait: WaitOptions,

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let locked = LockedSession::open(&args.service.stack, "rollback", &args.run.lock).await?;
    let service = locked.service(&args.service.service)?;
    let aws = locked.session.cloud.aws();
    let releases = services::release_numbers(aws, &service).await?;
    let running = services::describe(aws, &service).await?;
    let running = running.task_definition().unwrap_or_default();
    let arn = Value::from(chosen(&service, &releases, running, args)?);
    // What the stack says anyhow is not held.
    let newest = services::definition_of(locked.state(), &service).and_then(|(_, entry)| entry.outputs.get("arn"));
    let held = (newest != Some(&arn)).then(|| held("rollback", arn.clone()));
    let (address, path) = (service.address.clone(), "task_definition".to_owned());
    let targets = [address.clone()];
    let values = [GivenValue { address, path, value: Some(arn), held }];
    locked.put(&targets, &values, |_, _| {}, &args.run.waiting(args.wait)).await
}

/// The revision to go back to: the one that is asked for, or the one before. Where a deployment failed and ECS went back by
/// itself, that is the one that runs.
fn chosen(service: &Service<'_>, releases: &[String], running: &str, args: &Args) -> Result<String, Failure> {
    let list = releases.iter().filter_map(|arn| revision_of(arn)).map(|number| number.to_string());
    let list = list.collect::<Vec<_>>().join(", ");
    if let Some(to) = args.to {
        let found = releases.iter().find(|arn| revision_of(arn) == Some(to));
        let message = format!("{} has no revision {to}", service.family());
        return found.cloned().ok_or_else(|| Failure::new(message).help(format!("there are {list}")));
    }
    let (set_to, runs) = (revision_of(service.revision()), revision_of(running));
    if runs < set_to && releases.iter().any(|arn| arn == running) {
        return Ok(running.to_owned());
    }
    let earlier = releases.iter().find(|arn| revision_of(arn) < runs);
    earlier.cloned().ok_or_else(|| {
        let message = format!("{} has no revision before {}", service.family(), runs.unwrap_or_default());
        Failure::new(message).help(match list.as_str() {
            "" => "it has none that could be run".to_owned(),
            list => format!("there are {list}; `keep_revisions` of the task definition says how many are kept"),
        })
    })
}
