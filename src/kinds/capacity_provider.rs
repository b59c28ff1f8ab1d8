//! `capacity_provider`: lets ECS scale an autoscaling group by what its tasks need.

use async_trait::async_trait;
use aws_sdk_ecs::types::{
    AutoScalingGroupProvider, AutoScalingGroupProviderUpdate, CapacityProvider as EcsCapacityProvider,
    CapacityProviderField, CapacityProviderStatus, CapacityProviderUpdateStatus as UpdateStatus, ManagedDraining,
    ManagedScaling as EcsManagedScaling, ManagedScalingStatus, ManagedTerminationProtection,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, Taking, ecs, gone_is_fine, in_order, is_own, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, template};

/// An autoscaling group as capacity for ECS: tasks are placed on its instances, and their number follows the tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapacityProvider {
    /// Its name, unique in the account and region. Without one it is named after the stack and its place in it. AWS
    /// reserves names that begin with `aws`, `ecs` and `fargate`.
    #[serde(default)]
    pub name: String,
    /// The autoscaling group, by ARN. A group serves one capacity provider.
    #[schemars(extend("x-reference" = "autoscaling_group.arn"))]
    pub autoscaling_group: String,
    /// How the group is scaled by what its tasks need.
    #[serde(default)]
    pub managed_scaling: ManagedScaling,
    /// Whether scaling in spares instances on which tasks run. Needs managed scaling, and
    /// `protect_from_scale_in = true` on the group.
    #[serde(default)]
    pub managed_termination_protection: bool,
    /// Whether tasks are moved away before their instance is terminated.
    #[serde(default = "yes")]
    pub managed_draining: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// How the group is scaled by what its tasks need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ManagedScaling {
    /// Whether it is.
    pub enabled: bool,
    /// How full the instances shall be, in percent, 1 to 100. Below 100 there is room for tasks to start at once.
    pub target_percent: i32,
    /// The fewest instances that are started or stopped at a time, 1 to 10000.
    pub min_step: i32,
    /// The most instances that are started or stopped at a time, 1 to 10000.
    pub max_step: i32,
    /// Seconds until a new instance counts, 0 to 10000.
    pub warmup_seconds: i32,
}

impl Default for ManagedScaling {
    fn default() -> Self {
        Self { enabled: true, target_percent: 100, min_step: 1, max_step: 10_000, warmup_seconds: 300 }
    }
}

fn yes() -> bool {
    true
}

/// The kind `capacity_provider`.
pub struct CapacityProviderKind;

#[async_trait]
impl Kind for CapacityProviderKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "autoscaling_group"],
            outputs: &["arn"],
            // ECS takes the group by its ARN and does not care for its instances.
            needs_only_existence: &["autoscaling_group"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: ecs::LONGEST_NAME }),
            check,
            predict: |attributes, scope| ecs::predict_arn("capacity-provider", attributes, scope),
            ..spec::<CapacityProvider>("capacity_provider", "capacity provider")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ecs:DescribeCapacityProviders"],
            // ECS tags the group and makes a scaling plan for it, with the rights of the caller ("Amazon ECS capacity
            // providers for EC2": required permissions).
            create: &[
                "ecs:CreateCapacityProvider",
                "ecs:TagResource",
                "autoscaling:CreateOrUpdateTags",
                "iam:CreateServiceLinkedRole",
                "ecs:DescribeCapacityProviders",
            ],
            update: &[
                "ecs:UpdateCapacityProvider",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:DescribeCapacityProviders",
            ],
            delete: &["ecs:DeleteCapacityProvider", "ecs:DescribeCapacityProviders"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ecs:UpdateCapacityProvider" => taking.changes_besides(&["tags"]),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = describe(aws, &names).await?;
        Ok(in_order(wanted, found.iter().map(observe).collect()))
    }

    fn own_id<'a>(&self, given: &'a str) -> &'a str {
        ecs::name_in(given)
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let found = listed(aws, None).await?;
        Ok(owned::of_observed(&aws.scope, found.iter().map(observe)))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, &[text(&lost.request.attributes, "name").to_owned()]).await?;
        Ok(found.first().map(observe).filter(|observed| is_own(observed, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let provider: CapacityProvider = typed(&request.attributes)?;
        let group = AutoScalingGroupProvider::builder()
            .auto_scaling_group_arn(&provider.autoscaling_group)
            .managed_scaling(managed_scaling(&provider))
            .managed_termination_protection(termination_protection(&provider))
            .managed_draining(draining(&provider))
            .build()
            .map_err(|error| CloudError::unexpected("ecs:CreateCapacityProvider", error.to_string()))?;
        let answer = aws
            .calls
            .create("ecs:CreateCapacityProvider", || {
                aws.ecs
                    .create_capacity_provider()
                    .name(&provider.name)
                    .auto_scaling_group_provider(group.clone())
                    .set_tags(Some(ecs::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.capacity_provider().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let provider: CapacityProvider = typed(&request.after)?;
        let settings = ["managed_scaling", "managed_termination_protection", "managed_draining"];
        if settings.iter().any(|name| request.changed.contains(*name)) {
            let group = AutoScalingGroupProviderUpdate::builder()
                .managed_scaling(managed_scaling(&provider))
                .managed_termination_protection(termination_protection(&provider))
                .managed_draining(draining(&provider))
                .build();
            aws.calls
                .write("ecs:UpdateCapacityProvider", || {
                    aws.ecs
                        .update_capacity_provider()
                        .name(&request.id)
                        .auto_scaling_group_provider(group.clone())
                        .send()
                })
                .await?;
        }
        ecs::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // One that is inactive is refused like one that never was: look first.
        let found = describe(aws, std::slice::from_ref(&known.id)).await?;
        match found.first().map(|provider| provider.update_status()) {
            None | Some(Some(UpdateStatus::DeleteInProgress | UpdateStatus::DeleteComplete)) => return Ok(()),
            Some(_) => {}
        }
        let deleted = aws
            .calls
            .write("ecs:DeleteCapacityProvider", || {
                aws.ecs.delete_capacity_provider().capacity_provider(&known.id).send()
            })
            .await;
        gone_is_fine(deleted.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        use UpdateStatus::{
            CreateFailed, CreateInProgress, DeleteComplete, DeleteFailed, DeleteInProgress, UpdateFailed,
            UpdateInProgress,
        };
        let found = describe(aws, std::slice::from_ref(&known.id)).await?;
        let done = Ok(Progress::Done(Attributes::new()));
        let Some(provider) = found.first() else {
            return if phase == Phase::Deleted { done } else { Ok(Progress::Pending("visible".into())) };
        };
        let status = provider.update_status();
        let failed = match (phase, status) {
            (Phase::Created, Some(CreateFailed)) => Some("ecs:CreateCapacityProvider"),
            (Phase::Updated, Some(UpdateFailed)) => Some("ecs:UpdateCapacityProvider"),
            (Phase::Deleted, Some(DeleteFailed)) => Some("ecs:DeleteCapacityProvider"),
            _ => None,
        };
        if let (Some(call), Some(status)) = (failed, status) {
            let reason = provider.update_status_reason().unwrap_or("AWS gives no reason");
            let message = format!("capacity provider `{}`: {reason}", known.id);
            return Err(CloudError::new(ErrorClass::Refused, call, status.as_str(), message));
        }
        match (phase, status) {
            (Phase::Deleted, Some(DeleteComplete)) => done,
            (Phase::Deleted, status) | (_, status @ Some(CreateInProgress | UpdateInProgress | DeleteInProgress)) => {
                let status = status.map_or("deletion", UpdateStatus::as_str);
                Ok(Progress::Pending(status.to_ascii_lowercase().replace('_', " ")))
            }
            _ => done,
        }
    }
}

/// Providers by name. What is gone or inactive (a deleted provider stays visible as that, and its name is free again:
/// "DeleteCapacityProvider") is left out.
async fn describe(aws: &Aws, names: &[String]) -> Result<Vec<EcsCapacityProvider>, CloudError> {
    let mut found = Vec::new();
    for chunk in names.chunks(ecs::PER_CALL) {
        found.extend(listed(aws, Some(chunk.to_vec())).await?);
    }
    Ok(found)
}

/// These providers, or all.
async fn listed(aws: &Aws, names: Option<Vec<String>>) -> Result<Vec<EcsCapacityProvider>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ecs:DescribeCapacityProviders", || {
                aws.ecs
                    .describe_capacity_providers()
                    .set_capacity_providers(names.clone())
                    .include(CapacityProviderField::Tags)
                    .set_next_token(next.clone())
                    .send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        found.extend(page.capacity_providers.unwrap_or_default());
        if next.is_none() {
            break;
        }
    }
    found.retain(|provider| provider.status() != Some(&CapacityProviderStatus::Inactive));
    Ok(found)
}

fn managed_scaling(provider: &CapacityProvider) -> EcsManagedScaling {
    let scaling = &provider.managed_scaling;
    let status = if scaling.enabled { ManagedScalingStatus::Enabled } else { ManagedScalingStatus::Disabled };
    EcsManagedScaling::builder()
        .status(status)
        .target_capacity(scaling.target_percent)
        .minimum_scaling_step_size(scaling.min_step)
        .maximum_scaling_step_size(scaling.max_step)
        .instance_warmup_period(scaling.warmup_seconds)
        .build()
}

fn termination_protection(provider: &CapacityProvider) -> ManagedTerminationProtection {
    match provider.managed_termination_protection {
        true => ManagedTerminationProtection::Enabled,
        false => ManagedTerminationProtection::Disabled,
    }
}

fn draining(provider: &CapacityProvider) -> ManagedDraining {
    if provider.managed_draining { ManagedDraining::Enabled } else { ManagedDraining::Disabled }
}

fn observe(provider: &EcsCapacityProvider) -> Observed {
    let name = provider.name().unwrap_or_default().to_owned();
    let mut attributes = Attributes::new();
    attributes.insert("name".into(), json!(name));
    attributes.insert("tags".into(), ecs::tags(provider.tags()));
    if let Some(group) = provider.auto_scaling_group_provider() {
        attributes.insert("autoscaling_group".into(), json!(group.auto_scaling_group_arn()));
        if let Some(protection) = group.managed_termination_protection() {
            let on = *protection == ManagedTerminationProtection::Enabled;
            attributes.insert("managed_termination_protection".into(), json!(on));
        }
        if let Some(draining) = group.managed_draining() {
            attributes.insert("managed_draining".into(), json!(*draining == ManagedDraining::Enabled));
        }
        if let Some(scaling) = group.managed_scaling() {
            attributes.insert("managed_scaling".into(), json!(observe_scaling(scaling)));
        }
    }
    let outputs = [("id".into(), json!(name)), ("arn".into(), json!(provider.capacity_provider_arn()))];
    Observed { id: name, attributes, outputs: Attributes::from_iter(outputs) }
}

/// What AWS leaves out is its default, which is the stack's own.
fn observe_scaling(scaling: &EcsManagedScaling) -> ManagedScaling {
    let usual = ManagedScaling::default();
    ManagedScaling {
        enabled: scaling.status().map_or(usual.enabled, |status| *status == ManagedScalingStatus::Enabled),
        target_percent: scaling.target_capacity().unwrap_or(usual.target_percent),
        min_step: scaling.minimum_scaling_step_size().unwrap_or(usual.min_step),
        max_step: scaling.maximum_scaling_step_size().unwrap_or(usual.max_step),
        warmup_seconds: scaling.instance_warmup_period().unwrap_or(usual.warmup_seconds),
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    ecs::check_name(attributes, &mut problems);
    if let Some(name) = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str)
        && let Some(reserved) = ["aws", "ecs", "fargate"]
            .iter()
            .find(|prefix| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
    {
        let message = format!("`{name}` begins with `{reserved}`, and AWS keeps such names for itself");
        problems.push(Problem::at("name", message).help(format!("name it otherwise: name = \"capacity-{name}\"")));
    }
    let scaling = attributes.get("managed_scaling");
    let number = |name: &str| scaling.and_then(|scaling| scaling.get(name)).and_then(Value::as_i64);
    for (name, least, most) in
        [("target_percent", 1, 100), ("min_step", 1, 10_000), ("max_step", 1, 10_000), ("warmup_seconds", 0, 10_000)]
    {
        if let Some(found) = number(name)
            && !(least..=most).contains(&found)
        {
            let message = format!("{found} is out of range: ECS takes {least} to {most}");
            problems.push(Problem::at(&format!("managed_scaling.{name}"), message));
        }
    }
    if let (Some(min), Some(max)) = (number("min_step"), number("max_step"))
        && min > max
    {
        problems.push(Problem::at("managed_scaling.min_step", format!("at least {min} instances, but at most {max}")));
    }
    let off = scaling.and_then(|scaling| scaling.get("enabled")) == Some(&json!(false));
    if off && attributes.get("managed_termination_protection") == Some(&json!(true)) {
        let message = "managed termination protection needs managed scaling";
        problems
            .push(Problem::at("managed_termination_protection", message).help("enable the one or disable the other"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ecs_refuses_is_found_offline() {
        let problems = |attributes: Value| match attributes {
            Value::Object(attributes) => check(&attributes).into_iter().map(|p| p.path.join(".")).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert!(problems(json!({ "name": "web", "managed_scaling": { "target_percent": 80 } })).is_empty());
        assert_eq!(problems(json!({ "name": "ECS-web" })), ["name"]);
        assert_eq!(
            problems(json!({ "managed_scaling": { "target_percent": 0, "min_step": 5, "max_step": 2 } })),
            ["managed_scaling.target_percent", "managed_scaling.min_step"]
        );
        let off = json!({ "managed_scaling": { "enabled": false }, "managed_termination_protection": true });
        assert_eq!(problems(off), ["managed_termination_protection"]);
    }
}
