//! `deploy`: another image for a service.

use serde_json::Value;

use super::apply::{RunOptions, WaitOptions};
use super::failure::{Failure, Outcome};
use super::service::{LockedSession, ServiceOptions};
use super::session::Session;
use crate::cloud::Cloud;
use crate::graph::Attributes;
use crate::plan::{GivenValue, at_path};
use crate::services;
use crate::state::Entry;

/// Gives a service another image, and waits until it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam deploy ecs-poc web --image 123456789012.dkr.ecr.eu-west-2.amazonaws.com/web:v42 --cloud aws
  cofferdam deploy ecs-poc service.web --image nginx:1.28 --container web
  cofferdam deploy ecs-poc web --image \"$IMAGE\" --cloud aws --yes --json     in a pipeline

A new revision of the service's task definition is made, with nothing changed but the image, and the service is set to \
it. The image is held: plans show it and leave it as it is, until the stack says the same or `apply --reset` takes it back.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// The image
    #[arg(long)]
    image: String,

    /// The container, where the task has several
    #[arg(long, value_name = "NAME")]
    container: Option<String>,

    #[command(flatten)]
    wait: WaitOptions,

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let locked = LockedSession::open(&args.service.stack, "deploy", &args.run.lock).await?;
    let service = locked.service(&args.service.service)?;
    let Some((definition, entry)) = services::definition_of(locked.state(), &service) else {
        let message =
            format!("the task definition of {}, {}, is not of this stack", service.address, service.revision());
        return Err(Failure::new(message).help("deploy with what makes it; or let the stack have a task definition"));
    };
    let path = format!("containers.{}.image", container(entry, args.container.as_deref(), &service)?);
    is_image(&locked.session, entry, &path, &args.image)?;
    let follows = "task_definition".to_owned();
    let values = [
        locked.gives(definition, &path, args.image.as_str().into())?,
        // What a rollback held is over.
        GivenValue { address: service.address.clone(), path: follows.clone(), value: None, held: None },
    ];
    let targets = [definition.clone(), service.address.clone()];
    let revision = Value::from(format!("${{{definition}.arn}}"));
    let of_service = service.address.clone();
    let follow = move |address: &crate::graph::Address, attributes: &mut Attributes| {
        if *address == of_service {
            attributes.insert(follows.clone(), revision.clone());
        }
    };
    locked.put(&targets, &values, follow, &args.run.waiting(args.wait)).await
}

/// The container that is meant: the one that is named, the only one, or the one that load balancers send to.
fn container(entry: &Entry, named: Option<&str>, service: &services::Service<'_>) -> Result<String, Failure> {
    let containers = entry.attributes.get("containers").and_then(Value::as_object);
    let names: Vec<&str> = containers.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let list = names.join(", ");
    if let Some(named) = named {
        return match names.contains(&named) {
            true => Ok(named.to_owned()),
            false => Err(Failure::new(format!("the task has no container `{named}`")).help(format!("it has {list}"))),
        };
    }
    let balanced = service.entry.attributes.get("load_balancers").and_then(Value::as_array);
    let mut balanced: Vec<&str> =
        balanced.into_iter().flatten().filter_map(|one| one.get("container")?.as_str()).collect();
    balanced.dedup();
    match (names.as_slice(), balanced.as_slice()) {
        ([one], _) | (_, [one]) => Ok((*one).to_owned()),
        _ => Err(Failure::new("the task has several containers").help(format!("say which with --container: {list}"))),
    }
}

/// Refuses what is no image, as the stack would.
fn is_image(session: &Session, entry: &Entry, path: &str, image: &str) -> Result<(), Failure> {
    let mut attributes = entry.attributes.clone();
    let mut segments = path.split('.').skip(1);
    let own = segments.next().and_then(|name| attributes.get_mut("containers")?.get_mut(name)?.as_object_mut());
    if let Some(own) = own {
        own.insert("image".to_owned(), image.into());
    }
    let problems = session.cloud.spec("task_definition").map(|spec| (spec.check)(&attributes)).unwrap_or_default();
    match problems.into_iter().find(|problem| problem.path.join(".") == path) {
        Some(problem) if at_path(&attributes, path).is_some() => {
            Err(Failure::new(problem.message).help(problem.help.unwrap_or_else(|| "give another image".to_owned())))
        }
        _ => Ok(()),
    }
}
