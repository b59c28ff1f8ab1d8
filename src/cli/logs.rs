//! `logs`: what the containers of a service write.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::failure::Outcome;
use super::interrupt;
use super::options::{CloudName, duration};
use super::render::{self, plural, style};
use super::service::{ReadSession, ServiceOptions, done};
use crate::apply::Stop;
use crate::kinds::container_logs::Source;
use crate::services::{self, Line, Reader};

/// How often it is looked whether there is more.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Shows what the containers of a service write to CloudWatch Logs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam logs ecs-poc web --cloud aws                      the last ten minutes
  cofferdam logs ecs-poc web --cloud aws -f --grep ERROR      what comes, until Ctrl-C
  cofferdam logs ecs-poc web --since 2h --json | jq -r .message

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
    let opened = ReadSession::open(&args.service.stack).await?;
    let service = opened.service(&args.service.service)?;
    let aws = opened.aws();
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
    let places = places(&sources);
    let mut reader = Reader::new(sources, args.task.clone(), ago(args.since));
    let mut stop = interrupt::watch();
    let mut is_first = true;
    loop {
        let lines = reader.next(aws).await?;
        let mut wanted =
            lines.iter().filter(|line| args.grep.as_ref().is_none_or(|text| line.message.contains(text))).peekable();
        if wanted.peek().is_none() && std::mem::take(&mut is_first) {
            errln!("{}", style::note(&nothing(args, &places, lines.len())));
        }
        is_first = false;
        wanted.for_each(|line| show(line, args.json));
        if !args.follow || super::print::is_closed() {
            return done();
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, stop.changed()).await;
        if *stop.borrow() != Stop::No {
            return done();
        }
    }
}

/// Where containers write, in words.
fn places(sources: &[Source]) -> String {
    let each = sources.iter().map(|source| match source.streams() {
        Some(streams) => format!("{} (streams {streams}…)", source.group),
        None => source.group.clone(),
    });
    each.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" and ")
}

/// What was looked at and holds nothing that was asked for.
fn nothing(args: &Args, places: &str, others: usize) -> String {
    let since = render::duration(args.since);
    let what = match (&args.grep, &args.task) {
        (Some(text), _) => format!("no line holds `{text}` (of {})", plural(others, "line", "lines")),
        (None, Some(task)) => format!("task {task} wrote nothing"),
        (None, None) => "nothing was written".to_owned(),
    };
    let more = match (args.follow, args.service.stack.cloud) {
        (true, _) => "; waiting for what comes",
        (false, CloudName::Local) => "; the local cloud runs no containers, so that none writes there",
        (false, CloudName::Aws) => "; --since looks further back",
    };
    format!("{what} in the last {since} to {places}{more}")
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
