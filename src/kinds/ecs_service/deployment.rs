//! How far a deployment is: completed, failed with reasons, or under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, DesiredStatus, Service, Task};

use super::{cluster_of, targets};
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass, Known, Progress};
use crate::graph::Attributes;
use crate::kinds::{container_logs, revisions, text};

/// How many tasks of one deployment may stop for the same reason before it is given up. ECS itself goes on for as many
/// tasks as half of what is wanted, and at least three ("How the Amazon ECS deployment circuit breaker detects failures").
const SAME_REASON: usize = 3;

/// How many events and reasons are told.
const TOLD: usize = 3;

/// How many of the last lines that a failed task wrote are told.
const LINES: i32 = 10;

/// The deployments that creates and updates of this process started, by service: what `poll` waits for. Where a process
/// that died started it, the task definition says which deployment is meant.
#[derive(Default)]
pub struct Started {
    by_service: Mutex<HashMap<String, Watched>>,
}

/// A deployment that is watched.
#[derive(Default)]
struct Watched {
    /// Its id.
    deployment: Option<String>,
    /// Events and tasks that were told, or are of no interest, by their ids.
    told: HashSet<String>,
    /// How many failed tasks there were when they were last told.
    failed: i32,
}

impl Started {
    /// Notes the deployment that a call's answer shows. What has happened until then is not told.
    pub fn note(&self, service: &Service) {
        if let (Some(arn), Some(primary)) = (service.service_arn(), primary(service)) {
            let told = service.events().iter().filter_map(|event| event.id.clone()).collect();
            let watched = Watched { deployment: primary.id.clone(), told, failed: primary.failed_tasks() };
            self.watched().insert(arn.to_owned(), watched);
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.by_service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, service: &str) -> Option<String> {
        self.watched().get(service)?.deployment.clone()
    }

    /// What happened since this was last asked, a line each.
    async fn news(&self, aws: &Aws, service: &Service, primary: &Deployment) -> Vec<String> {
        let arn = service.service_arn().unwrap_or_default();
        let failed = primary.failed_tasks();
        let has_failed = self.watched().get(arn).map_or(0, |watched| watched.failed) < failed;
        // What cannot be found out is not told; it stops nobody.
        let stopped = if has_failed { stopped(aws, service, primary).await.unwrap_or_default() } else { Vec::new() };
        let mut watched = self.watched();
        let watched = watched.entry(arn.to_owned()).or_default();
        watched.failed = failed;
        let mut news = Vec::new();
        // They come the newest first. What happened before the deployment is none of it.
        let is_of_it = |at: Option<&aws_smithy_types::DateTime>| at >= primary.created_at();
        for event in service.events().iter().rev().filter(|event| is_of_it(event.created_at())) {
            let message = event.message().unwrap_or_default();
            if watched.told.insert(event.id().unwrap_or(message).to_owned()) {
                let own = format!("(service {}) ", service.service_name().unwrap_or_default());
                news.push(message.strip_prefix(&own).unwrap_or(message).to_owned());
            }
        }
        for task in &stopped {
            let id = task.task_arn().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
            if watched.told.insert(id.to_owned()) {
                news.push(format!("task {id} stopped: {}", reason(task)));
            }
        }
        news
    }

    /// How far it is.
    ///
    /// # Errors
    /// Where it failed, was rolled back, or its tasks stop again and again for the same reason.
    pub async fn progress(&self, aws: &Aws, service: &Service, known: &Known) -> Result<Progress, CloudError> {
        let Some(primary) = primary(service) else { return Ok(Progress::Pending("a deployment".into())) };
        let wanted = text(&known.attributes, "task_definition");
        let started = self.of(&known.id);
        let mine = started.as_deref().and_then(|id| service.deployments().iter().find(|one| one.id() == Some(id)));
        if started.as_deref().is_some_and(|id| primary.id() != Some(id)) || !is_of(primary, wanted) {
            let what = if is_of(primary, wanted) { "was replaced by another one" } else { "was rolled back" };
            return Err(failure(aws, service, mine, what).await);
        }
        match primary.rollout_state() {
            Some(DeploymentRolloutState::Failed) => Err(failure(aws, service, Some(primary), "failed").await),
            Some(DeploymentRolloutState::Completed) => Ok(Progress::Done(Attributes::new())),
            state => {
                let steady = primary.running_count() == primary.desired_count() && service.deployments().len() == 1;
                if state.is_none() && steady {
                    return Ok(Progress::Done(Attributes::new()));
                }
                if usize::try_from(primary.failed_tasks()).unwrap_or_default() >= SAME_REASON {
                    let stopped = stopped(aws, service, primary).await?;
                    if reasons(&stopped).values().any(|count| *count >= SAME_REASON) {
                        return Err(failure(aws, service, Some(primary), "starts tasks that stop").await);
                    }
                }
                let mut what = counts(service, primary);
                what += &health(aws, service, primary).await;
                Ok(match self.news(aws, service, primary).await {
                    news if news.is_empty() => Progress::Pending(what),
                    news => Progress::Telling(what, news),
                })
            }
        }
    }
}

fn primary(service: &Service) -> Option<&Deployment> {
    service.deployments().iter().find(|one| one.status() == Some("PRIMARY"))
}

/// Whether a deployment is of this revision, given as ARN or as `family:1`.
fn is_of(deployment: &Deployment, wanted: &str) -> bool {
    let found = deployment.task_definition().unwrap_or_default();
    // A family alone means its newest revision, whichever that was.
    found == wanted || found.ends_with(&format!("/{wanted}")) || !wanted.contains(':')
}

fn counts(service: &Service, primary: &Deployment) -> String {
    let mut text = format!("{} of {} tasks running", primary.running_count(), primary.desired_count());
    for (count, what) in [(primary.pending_count(), "pending"), (primary.failed_tasks(), "failed")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    let old: i32 =
        service.deployments().iter().filter(|one| one.id() != primary.id()).map(|one| one.running_count()).sum();
    if old > 0 {
        text += &format!(", {old} of the last deployment");
    }
    text
}

/// What load balancers say, once that is what is waited for.
async fn health(aws: &Aws, service: &Service, primary: &Deployment) -> String {
    if service.load_balancers().is_empty() || primary.running_count() < primary.desired_count() {
        return String::new();
    }
    let targets = targets(aws, service).await.unwrap_or_default();
    let healthy = targets.iter().filter(|target| target.state == "healthy").count();
    let draining = targets.iter().filter(|target| target.state == "draining").count();
    let mut text = format!(", {healthy} of {} targets healthy", targets.len() - draining);
    for one in targets.iter().filter(|one| one.state == "unhealthy").take(1) {
        text += &format!(" ({}: {})", one.target, one.reason.as_deref().unwrap_or("unhealthy"));
    }
    text
}

/// The tasks of a deployment that stopped; ECS shows them for an hour ("DescribeTasks").
async fn stopped(aws: &Aws, service: &Service, deployment: &Deployment) -> Result<Vec<Task>, CloudError> {
    let arn = service.service_arn().unwrap_or_default();
    let listed = aws
        .calls
        .read("ecs:ListTasks", || {
            aws.ecs
                .list_tasks()
                .cluster(cluster_of(arn))
                .set_service_name(service.service_name().map(str::to_owned))
                .desired_status(DesiredStatus::Stopped)
                .send()
        })
        .await?;
    let arns = listed.task_arns.unwrap_or_default();
    if arns.is_empty() {
        return Ok(Vec::new());
    }
    let described = aws
        .calls
        .read("ecs:DescribeTasks", || {
            aws.ecs.describe_tasks().cluster(cluster_of(arn)).set_tasks(Some(arns.clone())).send()
        })
        .await?;
    let mut tasks = described.tasks.unwrap_or_default();
    tasks.retain(|task| task.started_by() == deployment.id());
    Ok(tasks)
}

/// Why a task stopped, with what its containers ended with.
fn reason(task: &Task) -> String {
    let mut reason = task.stopped_reason().unwrap_or("no reason given").to_owned();
    for container in task.containers() {
        let name = container.name().unwrap_or_default();
        match (container.exit_code(), container.reason()) {
            (Some(code), _) if code != 0 => reason += &format!("; `{name}` ended with {code}"),
            (_, Some(why)) if !reason.contains(why) => reason += &format!("; `{name}`: {why}"),
            _ => {}
        }
    }
    reason
}

/// Why tasks stopped, and how many for each reason.
fn reasons(stopped: &[Task]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for task in stopped {
        let reason = reason(task);
        // Tasks are told apart by their ids in some reasons; the reason is the same.
        let id = task.task_arn().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
        let reason = if id.is_empty() { reason } else { reason.replace(id, "…") };
        *found.entry(reason).or_default() += 1;
    }
    found
}

/// The last lines that a task of a deployment wrote, where that can be found out.
async fn last_lines(aws: &Aws, deployment: &Deployment, task: &Task) -> Vec<String> {
    let id = task.task_arn().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
    let revision = deployment.task_definition().unwrap_or_default();
    let Ok(Some((revision, _))) = revisions::describe(aws, revision).await else { return Vec::new() };
    let mut out = Vec::new();
    for source in container_logs::sources(&revision, &aws.scope.region) {
        let lines = container_logs::last_lines(aws, &source, id, LINES).await.unwrap_or_default();
        out.extend(lines.into_iter().map(|line| format!("{}: {line}", source.container)));
    }
    out
}

/// The error of a deployment that did not come to pass, with everything that says why.
async fn failure(aws: &Aws, service: &Service, deployment: Option<&Deployment>, what: &str) -> CloudError {
    let name = service.service_name().unwrap_or_default();
    let mut lines = vec![format!("the deployment of service `{name}` {what}")];
    if let Some(reason) = deployment.and_then(Deployment::rollout_state_reason).filter(|reason| !reason.is_empty()) {
        lines.push(reason.to_owned());
    }
    if let Some(deployment) = deployment
        && let Ok(stopped) = stopped(aws, service, deployment).await
    {
        let mut reasons: Vec<(String, usize)> = reasons(&stopped).into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (reason, count) in reasons.into_iter().take(TOLD) {
            let tasks = if count == 1 { "a task" } else { "tasks" };
            lines.push(format!("{tasks} stopped ({count}): {reason}"));
        }
        let latest = stopped.iter().max_by_key(|task| task.stopped_at().map(|at| at.secs()));
        if let Some(task) = latest {
            lines.extend(last_lines(aws, deployment, task).await.into_iter().map(|line| format!("log: {line}")));
        }
    }
    for one in targets(aws, service).await.unwrap_or_default().iter().filter(|one| one.state == "unhealthy") {
        let why = one.reason.as_deref().unwrap_or("no reason given");
        lines.push(format!("target {} in {} is unhealthy: {why}", one.target, one.group));
    }
    let events = service.events().iter().filter_map(|event| event.message());
    let telling = events.filter(|message| !message.contains("steady state") && !message.contains("has begun draining"));
    lines.extend(telling.take(TOLD).map(|message| format!("event: {message}")));
    CloudError::new(ErrorClass::Refused, "ecs:DescribeServices", "DeploymentFailed", lines.join("\n")).help(
        "see to the reasons and run this again, or roll back; tasks of the last deployment that worked go on running",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::Container;

    #[test]
    fn tasks_that_stop_alike_are_counted_together() {
        let task = |id: &str, code: i32| {
            let web = Container::builder().name("web").exit_code(code).build();
            Task::builder()
                .task_arn(format!("arn:aws:ecs:eu-west-2:1:task/main/{id}"))
                .stopped_reason(format!("Essential container in task {id} exited"))
                .containers(web)
                .build()
        };
        let found = reasons(&[task("a1", 1), task("b2", 1), task("c3", 137)]);
        let told: Vec<_> = found.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        assert_eq!(
            told,
            [
                "2 Essential container in task … exited; `web` ended with 1",
                "1 Essential container in task … exited; `web` ended with 137"
            ]
        );
    }

    #[test]
    fn a_revision_is_known_by_arn_and_by_number() {
        let deployment =
            Deployment::builder().task_definition("arn:aws:ecs:eu-west-2:1:task-definition/web:12").build();
        for wanted in ["arn:aws:ecs:eu-west-2:1:task-definition/web:12", "web:12", "web"] {
            assert!(is_of(&deployment, wanted), "{wanted}");
        }
        for wanted in ["web:1", "eb:12", "arn:aws:ecs:eu-west-2:1:task-definition/web:2"] {
            assert!(!is_of(&deployment, wanted), "{wanted}");
        }
    }
}
