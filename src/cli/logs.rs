//! `logs`: what the containers of a service write.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::failure::Outcome;
use super::interrupt;
use super::options::duration;
use super::render::style;
use super::service::{ServiceOptions, done, look};
use crate::apply::Stop;
use crate::services::{self, Line, Reader};

/// How often it is looked whether there is more.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Shows what the containers of a service write to CloudWatch Logs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam logs shop web --cloud aws                      the last ten minutes
  cofferdam logs shop web --cloud aws -f --grep ERROR      what comes, until Ctrl-C
  cofferdam logs shop web --since 2h --json | jq -r .message

The log groups are those of the revision that the service is set to.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceOptions,

    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,

    /// From so long ago: 90s, 10m, 2h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    since: Duration,

    /// Only lines that hold this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,

    /// Only what this container writes
    #[arg(long, value_name = "NAME")]
    container: Option<String>,

    /// Only what this task writes
    #[arg(long, value_name = "ID")]
    task: Option<String>,

    /// Print one JSON object a line (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let (session, state) = look(&args.service.stack).await?;
    let service = services::find(&state, &args.service.service)?;
    let aws = session.cloud.aws();
    let described = services::describe(aws, &service).await?;
    let mut sources = services::sources(aws, described.task_definition().unwrap_or_default()).await?;
    if let Some(container) = &args.container {
        let names: Vec<String> = sources.iter().map(|source| source.container.clone()).collect();
        sources.retain(|source| source.container == *container);
        if sources.is_empty() {
            let message = format!("no container `{container}` writes to CloudWatch Logs");
            return Err(super::failure::Failure::new(message).help(format!("there are {}", names.join(", "))));
        }
    }
    let mut reader = Reader::new(sources, args.task.clone(), ago(args.since));
    let mut stop = interrupt::watch();
    loop {
        for line in reader.next(aws).await? {
            if args.grep.as_ref().is_none_or(|text| line.message.contains(text)) {
                show(&line, args.json);
            }
        }
        if !args.follow || super::print::is_closed() {
            return done();
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, stop.changed()).await;
        if *stop.borrow() != Stop::No {
            return done();
        }
    }
}

/// A moment so long ago, in milliseconds since 1970.
pub fn ago(since: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(since).as_millis()).unwrap_or_default()
}

/// Shows a line.
pub fn show(line: &Line, as_json: bool) {
    let at = jiff::Timestamp::from_millisecond(line.at).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
    let at = at.unwrap_or_default();
    if as_json {
        let Line { container, task, message, .. } = line;
        outln!("{}", json!({ "event": "log", "at": at, "container": container, "task": task, "message": message }));
        return;
    }
    let task = line.task.as_deref().map(|task| format!("/{}", task.get(..8).unwrap_or(task))).unwrap_or_default();
    outln!("{} {}", style::faint(&format!("{at} {}{task}", line.container)), line.message);
}
