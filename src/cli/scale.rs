//! `scale`: another number of tasks.

use serde_json::Value;

use super::apply::{RunOptions, WaitOptions};
use super::failure::{Failure, Outcome};
use super::options::StackOptions;
use super::service::LockedSession;
use super::session::Session;
use crate::cloud::{Cloud, Known};
use crate::graph::Address;
use crate::plan::GivenValue;
use crate::services;
use crate::state::Entry;

/// Sets how many tasks a service has, and waits until they run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam scale ecs-poc web 5
  cofferdam scale ecs-poc web 0 --cloud aws --yes

The count is held: plans show it and leave it as it is, until the stack says the same or `apply --reset` takes it back; \
the number that the stack says is not held. \
Where a scaling target has the count, it is set within its bounds, and scaling goes on from there.")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The service: its address, the block that it stands below, or its name where only one has it
    service: String,

    /// How many tasks
    #[arg(value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    count: i32,

    #[command(flatten)]
    wait: WaitOptions,

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let locked = LockedSession::open(&args.stack, "scale", &args.run.lock).await?;
    let service = locked.service(&args.service)?;
    if service.entry.attributes.get("scheduling").and_then(Value::as_str) == Some("daemon") {
        return Err(Failure::new(format!("{} has one task on each instance", service.address))
            .help("change the size of the capacity that it runs on"));
    }
    let target = services::scaling_target_of(locked.state(), &service);
    if let Some((target, entry)) = target {
        within(&locked.session, args.count, &service, (target, entry)).await?;
    }
    let given = locked.gives(service.address, "count", args.count.into())?;
    // What scales it goes on from there; nobody else holds the count then.
    let values = [GivenValue { held: given.held.clone().filter(|_| target.is_none()), ..given }];
    let targets = [service.address.clone()];
    locked.put(&targets, &values, |_, _| {}, &args.run.waiting(args.wait)).await
}

/// Refuses a count outside of the bounds that hold now; the clock may have set others than the stack.
async fn within(
    session: &Session,
    count: i32,
    service: &services::Service<'_>,
    (target, entry): (&Address, &Entry),
) -> Result<(), Failure> {
    let known = Known {
        address: target.clone(),
        id: entry.id.clone(),
        attributes: entry.attributes.clone(),
        outputs: entry.outputs.clone(),
    };
    let Some(seen) = session.cloud.read("scaling_target", &[known]).await?.pop().flatten() else { return Ok(()) };
    let bound = |name: &str| seen.attributes.get(name).and_then(Value::as_i64);
    let (Some(min), Some(max)) = (bound("min"), bound("max")) else { return Ok(()) };
    if (min..=max).contains(&i64::from(count)) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is scaled between {min} and {max} by {target}, and {count} is outside of that",
        service.address
    ))
    .help(format!(
        "change `{}` of {target} in the stack and apply it",
        if i64::from(count) < min { "min" } else { "max" }
    )))
}
