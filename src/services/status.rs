//! How a service is: its counts, deployments, targets and events.

use aws_sdk_ecs::types::{Deployment as EcsDeployment, Service as EcsService};
use serde::Serialize;

use super::{Service, moment, revision_of, tail};
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass};
use crate::kinds::{Target, targets};

/// How a service is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name in the cluster.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Where it is in its life: `ACTIVE`.
    pub status: String,
    /// The revision that it is set to, by ARN.
    pub task_definition: String,
    /// Its number.
    pub revision: Option<u64>,
    /// How many tasks there are to be.
    pub desired: i32,
    /// How many run.
    pub running: i32,
    /// How many are being started.
    pub pending: i32,
    /// Its deployments, the newest first.
    pub deployments: Vec<Deployment>,
    /// What its load balancers say of its tasks.
    pub targets: Vec<Target>,
    /// What happened, the newest first.
    pub events: Vec<Event>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// `PRIMARY`, `ACTIVE` for what is being replaced, or `INACTIVE`.
    pub status: String,
    /// How far it is: `IN_PROGRESS`, `COMPLETED`, `FAILED`.
    pub rollout: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The revision that it is of.
    pub revision: Option<u64>,
    /// How many tasks there are to be.
    pub desired: i32,
    /// How many run.
    pub running: i32,
    /// How many are being started.
    pub pending: i32,
    /// How many failed.
    pub failed: i32,
    /// When it began.
    pub created: Option<String>,
}

/// Something that ECS says happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When, RFC 3339.
    pub at: Option<String>,
    /// What.
    pub message: String,
}

/// A service as ECS describes it.
///
/// # Errors
/// Of `DescribeServices`; where there is none, too.
pub async fn describe(aws: &Aws, service: &Service<'_>) -> Result<EcsService, CloudError> {
    let call = || aws.ecs.describe_services().cluster(service.cluster()).services(&service.entry.id).send();
    let answer = aws.calls.read("ecs:DescribeServices", call).await?;
    answer.services.unwrap_or_default().pop().ok_or_else(|| {
        let message = format!("service `{}` is not in cluster `{}`", service.name(), service.cluster());
        CloudError::new(ErrorClass::NotFound, "ecs:DescribeServices", "", message)
            .help("`cofferdam plan STACK` shows what differs from the stack")
    })
}

/// How a service is.
///
/// # Errors
/// Of the calls that it takes.
pub async fn status(aws: &Aws, service: &Service<'_>) -> Result<ServiceStatus, CloudError> {
    let described = describe(aws, service).await?;
    let targets = targets(aws, &described).await?;
    let given = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let mut deployments: Vec<Deployment> = described.deployments().iter().map(Deployment::of).collect();
    deployments.sort_by(|one, other| {
        (&other.status == "PRIMARY", &other.created).cmp(&(&one.status == "PRIMARY", &one.created))
    });
    Ok(ServiceStatus {
        name: given(described.service_name()),
        cluster: described.cluster_arn().map(tail).unwrap_or_default().to_owned(),
        status: given(described.status()),
        task_definition: given(described.task_definition()),
        revision: described.task_definition().and_then(revision_of),
        desired: described.desired_count(),
        running: described.running_count(),
        pending: described.pending_count(),
        deployments,
        targets,
        events: events(&described),
    })
}

/// What ECS says happened to a service, the newest first: the last hundred.
fn events(service: &EcsService) -> Vec<Event> {
    let mut events: Vec<Event> = service
        .events()
        .iter()
        .map(|event| Event {
            id: event.id().unwrap_or_default().to_owned(),
            at: moment(event.created_at()),
            message: event.message().unwrap_or_default().to_owned(),
        })
        .collect();
    // They come the newest first; a moment may have several.
    events.sort_by(|one, other| other.at.cmp(&one.at));
    events
}

impl Deployment {
    fn of(one: &EcsDeployment) -> Self {
        Self {
            id: one.id().unwrap_or_default().to_owned(),
            status: one.status().unwrap_or_default().to_owned(),
            rollout: one.rollout_state().map(|state| state.as_str().to_owned()),
            reason: one.rollout_state_reason().filter(|reason| !reason.is_empty()).map(str::to_owned),
            revision: one.task_definition().and_then(revision_of),
            desired: one.desired_count(),
            running: one.running_count(),
            pending: one.pending_count(),
            failed: one.failed_tasks(),
            created: moment(one.created_at()),
        }
    }
}

/// Lets a service replace all its tasks by new ones of the same revision; gives the service as it is then.
///
/// # Errors
/// Of `UpdateService`.
pub async fn restart(aws: &Aws, service: &Service<'_>) -> Result<EcsService, CloudError> {
    let call = || {
        let call = aws.ecs.update_service().cluster(service.cluster()).service(&service.entry.id);
        call.force_new_deployment(true).send()
    };
    let answer = aws.calls.write("ecs:UpdateService", call).await?;
    answer.service.ok_or_else(|| CloudError::unexpected("ecs:UpdateService", "no service came back"))
}
