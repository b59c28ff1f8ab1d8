//! What load balancers say of a service's tasks.

use aws_sdk_ecs::types::Service as EcsService;
use serde::Serialize;

use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass};

/// What a load balancer says of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// The target group.
    pub group: String,
    /// The address or instance, and the port.
    pub target: String,
    /// `healthy`, `unhealthy`, `initial`, `draining`.
    pub state: String,
    /// Why it is not healthy.
    pub reason: Option<String>,
}

/// What load balancers say of the tasks of a service.
///
/// # Errors
/// Of `DescribeTargetHealth`.
pub async fn targets(aws: &Aws, service: &EcsService) -> Result<Vec<Target>, CloudError> {
    let mut groups: Vec<&str> = service.load_balancers().iter().filter_map(|one| one.target_group_arn()).collect();
    let others = service.load_balancers().iter().filter_map(|one| one.advanced_configuration());
    groups.extend(others.filter_map(|one| one.alternate_target_group_arn()));
    let mut out = Vec::new();
    for arn in groups {
        let call = || aws.elb.describe_target_health().target_group_arn(arn).send();
        let answer = match aws.calls.read("elasticloadbalancing:DescribeTargetHealth", call).await {
            // One that is gone has no targets.
            Err(error) if error.is(ErrorClass::NotFound) => continue,
            other => other?,
        };
        for one in answer.target_health_descriptions() {
            let target = one.target();
            let id = target.and_then(|target| target.id()).unwrap_or_default();
            let port = target.and_then(|target| target.port()).map(|port| format!(":{port}")).unwrap_or_default();
            let health = one.target_health();
            out.push(Target {
                group: arn.split('/').nth(1).unwrap_or(arn).to_owned(),
                target: format!("{id}{port}"),
                state: health.and_then(|health| health.state()).map_or("unknown", |state| state.as_str()).to_owned(),
                reason: health
                    .and_then(|health| health.description())
                    .filter(|reason| !reason.is_empty())
                    .map(str::to_owned),
            });
        }
    }
    out.sort_by(|one, other| (&one.group, &one.target).cmp(&(&other.group, &other.target)));
    Ok(out)
}
