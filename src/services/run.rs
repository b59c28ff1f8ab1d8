//! A task that runs once, where a service runs its own.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, LaunchType,
    NetworkConfiguration, Service as EcsService, Tag, TaskOverride,
};
use serde_json::Value;

use super::{Service, Task};
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass};

/// A task to be run.
#[derive(Debug, Clone)]
pub struct RunTask<'a> {
    /// The service whose cluster, network and capacity it uses.
    pub like: &'a Service<'a>,
    /// The same, as ECS describes it.
    pub described: &'a EcsService,
    /// The revision, by ARN.
    pub revision: &'a str,
    /// The container that runs another command, and the command; its own where that is empty.
    pub container: &'a str,
    /// See `container`.
    pub command: &'a [String],
    /// Whether sessions can be opened in it.
    pub exec: bool,
    /// Who asked for it: `cofferdam:NAME`.
    pub started_by: &'a str,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Unique to this task: asked for twice, it runs once.
    pub token: &'a str,
}

/// Runs a task.
///
/// # Errors
/// Of `RunTask`; where there is no room for it, too.
pub async fn run_task(aws: &Aws, run: &RunTask<'_>) -> Result<Task, CloudError> {
    const CALL: &str = "ecs:RunTask";
    let unbuilt =
        |error: aws_smithy_types::error::operation::BuildError| CloudError::unexpected(CALL, error.to_string());
    let described = run.described;
    let container = ContainerOverride::builder().name(run.container).set_command(Some(run.command.to_vec())).build();
    let overrides = TaskOverride::builder().container_overrides(container).build();
    let strategy = described.capacity_provider_strategy();
    let launch_type = described.launch_type().filter(|_| strategy.is_empty()).cloned();
    let strategy: Vec<CapacityProviderStrategyItem> = strategy.to_vec();
    let platform = described.platform_version().filter(|version| !version.is_empty());
    let is_fargate = launch_type == Some(LaunchType::Fargate);
    let tags = run.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let network = network(run.like).map_err(unbuilt)?;
    let call = aws
        .ecs
        .run_task()
        .cluster(run.like.cluster())
        .task_definition(run.revision)
        .count(1)
        .client_token(run.token)
        .started_by(run.started_by)
        .enable_execute_command(run.exec)
        .set_launch_type(launch_type)
        .set_capacity_provider_strategy((!strategy.is_empty()).then_some(strategy))
        .set_platform_version(platform.filter(|_| is_fargate).map(str::to_owned))
        .set_network_configuration(network)
        .set_overrides((!run.command.is_empty()).then_some(overrides))
        .set_tags(Some(tags));
    let answer = aws.calls.create(CALL, || call.clone().send()).await?;
    if let Some(task) = answer.tasks().first() {
        return Ok(Task::of(task, &BTreeMap::new()));
    }
    let failures = answer.failures().iter();
    let reasons: Vec<&str> = failures.filter_map(|one| one.reason().or(one.detail())).collect();
    let message = format!("no task was started: {}", reasons.join("; "));
    Err(CloudError::new(ErrorClass::Refused, CALL, reasons.first().copied().unwrap_or_default(), message)
        .help("see to the capacity of the cluster; `RESOURCE:MEMORY` and `RESOURCE:CPU` say that no instance has room"))
}

/// Where a service's tasks are on the network.
fn network(
    service: &Service<'_>,
) -> Result<Option<NetworkConfiguration>, aws_smithy_types::error::operation::BuildError> {
    let Some(network) = service.entry.attributes.get("network").filter(|network| network.is_object()) else {
        return Ok(None);
    };
    let list = |name: &str| -> Vec<String> {
        let items = network.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let public = network.get("public_ip").and_then(Value::as_bool).unwrap_or_default();
    let groups = list("security_groups");
    let interface = AwsVpcConfiguration::builder()
        .set_subnets(Some(list("subnets")))
        .set_security_groups((!groups.is_empty()).then_some(groups))
        .assign_public_ip(if public { AssignPublicIp::Enabled } else { AssignPublicIp::Disabled })
        .build()?;
    Ok(Some(NetworkConfiguration::builder().awsvpc_configuration(interface).build()))
}

/// Stops a task.
///
/// # Errors
/// Of `StopTask`.
pub async fn stop_task(aws: &Aws, cluster: &str, task: &str, reason: &str) -> Result<(), CloudError> {
    let call = || aws.ecs.stop_task().cluster(cluster).task(task).reason(reason).send();
    aws.calls.write("ecs:StopTask", call).await.map(|_| ())
}
