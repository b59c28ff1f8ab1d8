//! `ps`: the tasks of a stack's services.

use serde_json::json;

use super::failure::Outcome;
use super::options::StackOptions;
use super::render::{json, style, table};
use super::service::{ReadSession, done};
use crate::services::{self, Status, Task};

/// Lists the tasks of services: revision, health, where they run, and why they stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam ps ecs-poc
  cofferdam ps ecs-poc web --cloud aws --stopped     those that stopped within the last hour, and why
  cofferdam ps ecs-poc web --json | jq -r .tasks[].id")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The service: its address, the block that it stands below, or its name; without it every service
    service: Option<String>,

    /// Also tasks that stopped; ECS shows them for an hour
    #[arg(long)]
    stopped: bool,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.stack).await?;
    let services = opened.services(args.service.as_deref())?;
    let is_one = services.len() == 1;
    let mut all = Vec::new();
    for service in services {
        for status in [Some(Status::Running), args.stopped.then_some(Status::Stopped)].into_iter().flatten() {
            let tasks = services::tasks(opened.aws(), service.cluster(), service.name(), status).await?;
            all.extend(tasks.into_iter().map(|task| (service.address.clone(), task)));
        }
    }
    if args.json {
        let told: Vec<_> = all
            .iter()
            .map(|(address, task)| {
                let mut told = json!(task);
                told["address"] = json!(address);
                told
            })
            .collect();
        outln!("{:#}", json::versioned("tasks", &told));
        return done();
    }
    if all.is_empty() {
        outln!("no task runs");
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(address, task)| {
            let mut cells = vec![if is_one { String::new() } else { address.to_string() }];
            cells.extend(row(task));
            cells
        })
        .collect();
    let heads = ["SERVICE", "TASK", "REVISION", "STATUS", "HEALTH", "ZONE", "ON", "SINCE", "REASON"];
    out!("{}", table::table(&heads, &rows));
    done()
}

fn row(task: &Task) -> [String; 8] {
    let status = match (task.status.as_str(), task.desired.as_str()) {
        ("STOPPED", _) => "stopped".to_owned(),
        (status, "STOPPED") => format!("{}, stopping", status.to_lowercase()),
        (status, _) => status.to_lowercase(),
    };
    let health = match task.health.as_deref() {
        Some("HEALTHY") => style::good("healthy"),
        Some("UNHEALTHY") => style::bad("unhealthy"),
        other => other.unwrap_or_default().to_lowercase(),
    };
    let on = match (&task.instance, &task.capacity) {
        (Some(instance), _) => instance.clone(),
        (None, Some(capacity)) => capacity.to_lowercase(),
        (None, None) => String::new(),
    };
    [
        task.id.clone(),
        task.revision.map(|number| number.to_string()).unwrap_or_default(),
        status,
        health,
        task.zone.clone().unwrap_or_default(),
        on,
        task.stopped.clone().or_else(|| task.since.clone()).unwrap_or_default(),
        task.why(),
    ]
}
