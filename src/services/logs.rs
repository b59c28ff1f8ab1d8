//! What the containers of a service write, as far as that goes to CloudWatch Logs.

use std::collections::HashSet;

use serde::Serialize;

use super::tail;
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass};
use crate::kinds::container_logs::{self, Source};
use crate::kinds::revisions;

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The container.
    pub container: String,
    /// The task, by id, where the stream's name tells.
    pub task: Option<String>,
    /// What it wrote.
    pub message: String,
    /// Its id in CloudWatch Logs.
    #[serde(skip)]
    pub id: String,
}

/// How far back lines are looked for again: they may be shown late.
const LATE: i64 = 10_000;

/// Where the containers of a revision write.
///
/// # Errors
/// Of `DescribeTaskDefinition`; where none writes to CloudWatch Logs of this region, too.
pub async fn sources(aws: &Aws, revision: &str) -> Result<Vec<Source>, CloudError> {
    let described = revisions::describe(aws, revision).await?;
    let found =
        described.map(|(revision, _)| container_logs::sources(&revision, &aws.scope.region)).unwrap_or_default();
    if found.is_empty() {
        let message = format!("no container of {} writes to CloudWatch Logs of {}", tail(revision), aws.scope.region);
        let error = CloudError::new(ErrorClass::NotFound, "ecs:DescribeTaskDefinition", "", message);
        return Err(error.help("give its containers a log group: log = { group = \"…\" }"));
    }
    Ok(found)
}

/// Reads on where it stopped.
pub struct Reader {
    sources: Vec<Source>,
    task: Option<String>,
    since: i64,
    seen: HashSet<String>,
}

impl Reader {
    /// Reads these sources from a moment on (in milliseconds since 1970); of one task, or of all.
    pub fn new(sources: Vec<Source>, task: Option<String>, since: i64) -> Self {
        Self { sources, task, since, seen: HashSet::new() }
    }

    /// The lines that were not read yet, the oldest first.
    ///
    /// # Errors
    /// Of `FilterLogEvents`. Groups and streams that are not there yet have no lines.
    pub async fn next(&mut self, aws: &Aws) -> Result<Vec<Line>, CloudError> {
        let mut lines = Vec::new();
        for source in &self.sources {
            match read(aws, source, self.task.as_deref(), self.since).await {
                Err(error) if error.is(ErrorClass::NotFound) => {}
                read => lines.extend(read?),
            }
        }
        lines.retain(|line| self.seen.insert(line.id.clone()));
        lines.sort();
        if let Some(last) = lines.last() {
            self.since = self.since.max(last.at - LATE);
        }
        Ok(lines)
    }
}

async fn read(aws: &Aws, source: &Source, task: Option<&str>, since: i64) -> Result<Vec<Line>, CloudError> {
    let mut lines = Vec::new();
    let stream = task.and_then(|task| source.stream(task));
    let mut next: Option<String> = None;
    loop {
        let call = || {
            let call = aws.logs.filter_log_events().log_group_name(&source.group).start_time(since);
            let call = match &stream {
                Some(stream) => call.log_stream_names(stream),
                None => call.set_log_stream_name_prefix(source.streams()),
            };
            call.set_next_token(next.clone()).send()
        };
        let page = aws.calls.read("logs:FilterLogEvents", call).await?;
        for event in page.events.unwrap_or_default() {
            let stream = event.log_stream_name.unwrap_or_default();
            // Emulators give more than was asked for.
            if source.streams().is_some_and(|start| !stream.starts_with(&start)) {
                continue;
            }
            let at = event.timestamp.unwrap_or_default();
            let message = event.message.unwrap_or_default().trim_end().to_owned();
            lines.push(Line {
                at,
                container: source.container.clone(),
                task: source.streams().and_then(|start| stream.strip_prefix(&start).map(str::to_owned)),
                id: event.event_id.unwrap_or_else(|| format!("{stream} {at} {message}")),
                message,
            });
        }
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(lines);
        }
    }
}
