//! The tasks of a service.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{DesiredStatus, Task as EcsTask};
use serde::Serialize;

use super::{moment, revision_of, tail};
use crate::aws::Aws;
use crate::cloud::CloudError;

/// How many tasks or instances one describe call takes ("DescribeTasks", "DescribeContainerInstances").
const PER_CALL: usize = 100;

/// Which tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Those that run or are to run.
    Running,
    /// Those that stopped; ECS shows them for an hour.
    Stopped,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The revision that it is of.
    pub revision: Option<u64>,
    /// Where it is in its life: `RUNNING`.
    pub status: String,
    /// Where it is to be: `STOPPED` for one that is being stopped.
    pub desired: String,
    /// Whether it is healthy, where its containers have health checks.
    pub health: Option<String>,
    /// The availability zone.
    pub zone: Option<String>,
    /// The EC2 instance, where it runs on one.
    pub instance: Option<String>,
    /// What it runs on: a capacity provider, or a launch type.
    pub capacity: Option<String>,
    /// Since when it runs, or else when it was asked for; RFC 3339.
    pub since: Option<String>,
    /// When it stopped.
    pub stopped: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub status: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// The digest of what the image's name stood for.
    pub digest: Option<String>,
    /// What it ended with.
    pub exit_code: Option<i32>,
    /// Why it ended, where ECS says so.
    pub reason: Option<String>,
}

/// The ARNs of tasks of a service.
///
/// # Errors
/// Of `ListTasks`.
pub async fn listed(aws: &Aws, cluster: &str, service: &str, status: Status) -> Result<Vec<String>, CloudError> {
    let desired = match status {
        Status::Running => DesiredStatus::Running,
        Status::Stopped => DesiredStatus::Stopped,
    };
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let call = || {
            let call = aws.ecs.list_tasks().cluster(cluster).service_name(service);
            call.desired_status(desired.clone()).set_next_token(next.clone()).send()
        };
        let page = aws.calls.read("ecs:ListTasks", call).await?;
        found.extend(page.task_arns.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Tasks by ARN, as ECS describes them.
///
/// # Errors
/// Of `DescribeTasks`.
pub async fn described(aws: &Aws, cluster: &str, arns: &[String]) -> Result<Vec<EcsTask>, CloudError> {
    let mut found = Vec::new();
    for some in arns.chunks(PER_CALL) {
        let call = || aws.ecs.describe_tasks().cluster(cluster).set_tasks(Some(some.to_vec())).send();
        found.extend(aws.calls.read("ecs:DescribeTasks", call).await?.tasks.unwrap_or_default());
    }
    Ok(found)
}

/// The tasks of a service, those that came last first.
///
/// # Errors
/// Of the calls that it takes.
pub async fn tasks(aws: &Aws, cluster: &str, service: &str, status: Status) -> Result<Vec<Task>, CloudError> {
    let arns = listed(aws, cluster, service, status).await?;
    let described = described(aws, cluster, &arns).await?;
    let instances = instances(aws, cluster, &described).await?;
    let mut tasks: Vec<Task> = described.iter().map(|task| Task::of(task, &instances)).collect();
    tasks.sort_by(|one, other| (&other.since, &one.id).cmp(&(&one.since, &other.id)));
    Ok(tasks)
}

/// The EC2 instances of container instances, by ARN.
async fn instances(aws: &Aws, cluster: &str, tasks: &[EcsTask]) -> Result<BTreeMap<String, String>, CloudError> {
    let mut arns: Vec<String> = tasks.iter().filter_map(|task| task.container_instance_arn.clone()).collect();
    arns.sort();
    arns.dedup();
    let mut found = BTreeMap::new();
    for some in arns.chunks(PER_CALL) {
        let call = || {
            aws.ecs.describe_container_instances().cluster(cluster).set_container_instances(Some(some.to_vec())).send()
        };
        let answer = aws.calls.read("ecs:DescribeContainerInstances", call).await?;
        for one in answer.container_instances.unwrap_or_default() {
            found.extend(one.container_instance_arn.zip(one.ec2_instance_id));
        }
    }
    Ok(found)
}

impl Task {
    /// A task as ECS describes it; `instances` are EC2 instances by the ARNs of container instances.
    pub fn of(task: &EcsTask, instances: &BTreeMap<String, String>) -> Self {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let arn = task.task_arn().unwrap_or_default();
        let instance = task.container_instance_arn();
        Self {
            id: tail(arn).to_owned(),
            arn: arn.to_owned(),
            revision: task.task_definition_arn().and_then(revision_of),
            status: task.last_status().unwrap_or_default().to_owned(),
            desired: task.desired_status().unwrap_or_default().to_owned(),
            health: task.health_status().map(|health| health.as_str().to_owned()).filter(|health| health != "UNKNOWN"),
            zone: given(task.availability_zone()),
            instance: instance.map(|arn| instances.get(arn).cloned().unwrap_or_else(|| tail(arn).to_owned())),
            capacity: given(task.capacity_provider_name())
                .or_else(|| task.launch_type().map(|one| one.as_str().to_owned())),
            since: moment(task.started_at().or(task.created_at())),
            stopped: moment(task.stopped_at()),
            reason: given(task.stopped_reason()),
            containers: task
                .containers()
                .iter()
                .map(|one| Container {
                    name: one.name().unwrap_or_default().to_owned(),
                    status: given(one.last_status()),
                    image: given(one.image()),
                    digest: given(one.image_digest()),
                    exit_code: one.exit_code(),
                    reason: given(one.reason()),
                })
                .collect(),
        }
    }

    /// Why it stopped, with what its containers ended with: `Essential container in task exited; app ended with 1`.
    pub fn why(&self) -> String {
        let mut why = self.reason.clone().unwrap_or_default();
        for container in &self.containers {
            let part = match (container.exit_code, &container.reason) {
                (Some(code), Some(reason)) if code != 0 => format!("{} ended with {code} ({reason})", container.name),
                (Some(code), None) if code != 0 => format!("{} ended with {code}", container.name),
                (_, Some(reason)) if !why.contains(reason.as_str()) => format!("{}: {reason}", container.name),
                _ => continue,
            };
            if !why.is_empty() {
                why.push_str("; ");
            }
            why.push_str(&part);
        }
        why
    }
}
