//! What is asked and done between applies: a stack's services, their releases, tasks, events and logs.
//!
//! Nothing here prints, and nothing here changes what a stack describes: that goes through a plan.

mod exec;
mod find;
mod logs;
mod releases;
mod run;
mod status;
mod tasks;

pub use exec::{OpenSession, open_session};
pub use find::{NotFound, Service, all, definition, definition_of, find, scaling_target_of};
pub use logs::{Line, Reader, sources};
pub use releases::{Release, release_numbers, releases};
pub use run::{RunTask, run_task, stop_task};
pub use status::{Deployment, Event, ServiceStatus, describe, restart, status};
pub use tasks::{Container, Status, Task, described, listed, tasks};

/// The last part of an ARN: a task's id, a service's name.
pub fn tail(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The number of a revision, given by its ARN: `…/web:12`.
pub fn revision_of(arn: &str) -> Option<u64> {
    arn.rsplit(':').next()?.parse().ok()
}

/// The family of a revision, given by its ARN.
pub fn family_of(arn: &str) -> &str {
    tail(arn).rsplit_once(':').map_or(tail(arn), |(family, _)| family)
}

/// A moment as RFC 3339, to the second.
pub fn moment(at: Option<&aws_smithy_types::DateTime>) -> Option<String> {
    let at = jiff::Timestamp::from_second(at?.secs()).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
