//! `releases`: what a service ran, and what it can go back to.

use super::failure::Outcome;
use super::render::{json, style, table};
use super::service::{ReadSession, ServiceOptions, done};
use crate::services;

/// Lists the revisions of a service: when each was made, with which images, and which one runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam releases ecs-poc web
  cofferdam releases ecs-poc web --cloud aws --last 3 --json

`cofferdam rollback ecs-poc web --to N` goes back to one of them.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.service.stack).await?;
    let service = opened.service(&args.service.service)?;
    let aws = opened.aws();
    let described = services::describe(aws, &service).await?;
    let set_to = described.task_definition().unwrap_or_default();
    let releases = services::releases(aws, &service, set_to, args.last).await?;
    if args.json {
        outln!("{:#}", json::versioned("releases", &releases));
        return done();
    }
    let mut rows = Vec::new();
    for release in &releases {
        let running = match release.running {
            0 => String::new(),
            count => format!("{count} running"),
        };
        let mark = if release.current { "current" } else { "" };
        let first =
            [release.revision.to_string(), mark.to_owned(), running, release.registered.clone().unwrap_or_default()];
        for (index, (container, image)) in release.images.iter().enumerate() {
            let image = match release.image_digests.get(container).filter(|_| !image.contains('@')) {
                Some(digest) => format!("{image} {}", style::faint(digest)),
                None => image.clone(),
            };
            let start = if index == 0 { first.clone() } else { Default::default() };
            rows.push([&start[..], &[container.clone(), image]].concat());
        }
    }
    out!("{}", table::table(&["REVISION", "", "TASKS", "MADE", "CONTAINER", "IMAGE"], &rows));
    done()
}
