//! `status`: how a stack's services are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::failure::Outcome;
use super::options::StackOptions;
use super::render::{inline, json, style, table};
use super::service::{ReadSession, done};
use super::session::Session;
use crate::services::{self, Deployment, Service, ServiceStatus};
use crate::state::State;

/// Shows how services are: tasks, deployments, what load balancers say, the last events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam status ecs-poc                      every service of the stack
  cofferdam status ecs-poc web --cloud aws
  cofferdam status ecs-poc web --json | jq .services[0].deployments")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The service: its address, the block that it stands below, or its name; without it every service
    service: Option<String>,

    /// How many events are shown, the newest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    events: usize,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.stack).await?;
    let state = &opened.state;
    let mut all = Vec::new();
    for service in opened.services(args.service.as_deref())? {
        let mut status = services::status(opened.aws(), &service).await?;
        status.events.truncate(args.events);
        all.push((service, status));
    }
    if args.json {
        let told: Vec<_> = all.iter().map(|(service, status)| as_json(state, service, status)).collect();
        outln!("{:#}", json::versioned("services", &told));
        return done();
    }
    heading(&opened.session, "status of");
    for (index, (service, status)) in all.iter().enumerate() {
        if index > 0 {
            outln!("");
        }
        out!("{}", as_text(state, service, status));
    }
    done()
}

/// The line that says what is looked at.
pub fn heading(session: &Session, what: &str) {
    let mut headline = session.headline(what);
    headline[..1].make_ascii_uppercase();
    outln!("{}\n", style::strong(&headline));
}

fn as_json(state: &State, service: &Service<'_>, status: &ServiceStatus) -> serde_json::Value {
    let mut told = json!(status);
    let scaled = services::scaling_target_of(state, service);
    told["address"] = json!(service.address);
    told["scaled"] = scaled.map_or(serde_json::Value::Null, |(address, entry)| {
        json!({ "by": address, "min": entry.attributes.get("min"), "max": entry.attributes.get("max") })
    });
    told["held"] = json!(held(state, service));
    told
}

/// What is held of the service and of its task definition.
fn held(state: &State, service: &Service<'_>) -> BTreeMap<String, serde_json::Value> {
    let definition = services::definition_of(state, service).map(|(address, _)| address);
    let mut out = BTreeMap::new();
    for address in [Some(service.address), definition].into_iter().flatten() {
        for (path, held) in state.held.get(address).into_iter().flatten() {
            out.insert(format!("{address}.{path}"), json!(held));
        }
    }
    out
}

fn as_text(state: &State, service: &Service<'_>, status: &ServiceStatus) -> String {
    let mut text = String::new();
    let name = format!("{} in {}", status.name, status.cluster);
    let _ = writeln!(text, "{}  {}", style::strong(service.address.as_str()), style::faint(&name));
    let _ = writeln!(text, "  {}", counts(status));
    if let Some((address, entry)) = services::scaling_target_of(state, service) {
        let bound = |name: &str| entry.attributes.get(name).map(inline).unwrap_or_default();
        let _ = writeln!(text, "  scaled between {} and {} ({address})", bound("min"), bound("max"));
    }
    for (what, held) in held(state, service) {
        let given = |name: &str| held[name].as_str().unwrap_or_default().to_owned();
        let by = format!("held by {} since {} ({})", given("by"), given("at"), given("who"));
        let _ = writeln!(text, "  {what} = {}, {by}", inline(&held["value"]));
    }
    let deployments: Vec<Vec<String>> = status.deployments.iter().map(deployment).collect();
    section(&mut text, "Deployments", &table::table(&["", "REVISION", "STATE", "TASKS", "SINCE", ""], &deployments));
    let targets: Vec<Vec<String>> = status
        .targets
        .iter()
        .map(|one| {
            let state = match one.state.as_str() {
                "healthy" => style::good(&one.state),
                "unhealthy" => style::bad(&one.state),
                other => other.to_owned(),
            };
            vec![one.group.clone(), one.target.clone(), state, one.reason.clone().unwrap_or_default()]
        })
        .collect();
    section(&mut text, "Targets", &table::table(&["GROUP", "TARGET", "STATE", "REASON"], &targets));
    let events: Vec<Vec<String>> =
        status.events.iter().map(|one| vec![one.at.clone().unwrap_or_default(), one.message.clone()]).collect();
    section(&mut text, "Events", &table::table(&["AT", "EVENT"], &events));
    text
}

fn section(text: &mut String, name: &str, table: &str) {
    if !table.is_empty() {
        let _ = writeln!(text, "\n  {}", style::strong(name));
        for line in table.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
}

fn counts(status: &ServiceStatus) -> String {
    let mut text = format!("{} of {} tasks running", status.running, status.desired);
    if status.pending > 0 {
        let _ = write!(text, ", {} pending", status.pending);
    }
    if let Some(revision) = status.revision {
        let _ = write!(text, ", revision {revision}");
    }
    if status.status != "ACTIVE" {
        let _ = write!(text, ", {}", style::bad(&status.status.to_lowercase()));
    }
    text
}

fn deployment(one: &Deployment) -> Vec<String> {
    let state = one.rollout.as_deref().unwrap_or_default().to_lowercase().replace('_', " ");
    let mut tasks = format!("{} of {} running", one.running, one.desired);
    for (count, what) in [(one.pending, "pending"), (one.failed, "failed")] {
        if count > 0 {
            let _ = write!(tasks, ", {count} {what}");
        }
    }
    vec![
        one.status.to_lowercase(),
        one.revision.map(|number| number.to_string()).unwrap_or_default(),
        if state == "failed" { style::bad(&state) } else { state },
        tasks,
        one.created.clone().unwrap_or_default(),
        one.reason.clone().unwrap_or_default(),
    ]
}
