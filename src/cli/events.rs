//! `events`: what ECS says happened to a stack's services.

use serde_json::json;

use super::failure::Outcome;
use super::options::StackOptions;
use super::render::{json, style, table};
use super::service::{ReadSession, done};
use crate::graph::Address;
use crate::services;

/// Lists what ECS says happened to services, the newest last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam events ecs-poc
  cofferdam events ecs-poc web --cloud aws --last 5

ECS keeps the last hundred of each service.")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The service: its address, the block that it stands below, or its name; without it every service
    service: Option<String>,

    /// At most so many of each service
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.stack).await?;
    let services = opened.services(args.service.as_deref())?;
    let is_one = services.len() == 1;
    let names: Vec<Address> = services.iter().map(|service| service.address.clone()).collect();
    let mut all = Vec::new();
    for service in services {
        let status = services::status(opened.aws(), &service).await?;
        all.extend(status.events.into_iter().take(args.last).map(|event| (service.address.clone(), event)));
    }
    // ECS gives the newest first; of one moment, in that order.
    all.reverse();
    all.sort_by(|(_, one), (_, other)| one.at.cmp(&other.at));
    if args.json {
        let told: Vec<_> = all
            .iter()
            .map(|(address, event)| json!({ "address": address, "at": event.at, "message": event.message, "id": event.id }))
            .collect();
        outln!("{:#}", json::versioned("events", &told));
        return done();
    }
    if all.is_empty() {
        let of: Vec<String> = names.iter().map(ToString::to_string).collect();
        let why = if args.last == 0 { "none was asked for" } else { "ECS keeps none" };
        errln!("{}", style::note(&format!("no events of {}: {why}", of.join(", "))));
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(address, event)| {
            let service = if is_one { String::new() } else { address.to_string() };
            vec![event.at.unwrap_or_default(), service, event.message]
        })
        .collect();
    out!("{}", table::table(&["AT", "SERVICE", "EVENT"], &rows));
    done()
}
