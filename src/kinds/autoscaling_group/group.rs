//! Calls about autoscaling groups, and what their answers mean.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::{
    AutoScalingGroup as Group, Filter, InstancesDistribution, LaunchTemplate as MixedTemplate, LaunchTemplateOverrides,
    LaunchTemplateSpecification, LifecycleState, MixedInstancesPolicy, ScalingActivityStatusCode as Status, Tag,
};
use serde_json::{Value, json};

use super::INSTANCES_PER_CALL;
use super::attributes::{AutoscalingGroup, MixedInstances};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, ErrorClass, Observed, Progress, STACK_TAG, TOKEN_TAG};
use crate::graph::Attributes;
use crate::kinds::{Tags, create_tags, tags_of, what_is_missing_is_unset};

/// How many groups one call takes ("DescribeAutoScalingGroups": 100 where MaxRecords says so).
const PER_CALL: usize = 100;

/// Groups by name; what is gone is left out.
///
/// # Errors
/// Of `DescribeAutoScalingGroups`.
pub async fn describe(aws: &Aws, names: &[String]) -> Result<Vec<Group>, CloudError> {
    let mut groups = Vec::new();
    for chunk in names.chunks(PER_CALL) {
        groups.extend(listed(aws, Some(chunk.to_vec()), None).await?);
    }
    Ok(groups)
}

/// The groups that carry the tag of the stack that is worked on, without those that are being deleted.
///
/// # Errors
/// Of `DescribeAutoScalingGroups`.
pub async fn of_stack(aws: &Aws) -> Result<Vec<Group>, CloudError> {
    let filter = Filter::builder().name(format!("tag:{STACK_TAG}")).values(&aws.scope.stack).build();
    let mut groups = listed(aws, None, Some(vec![filter])).await?;
    groups.retain(is_living);
    Ok(groups)
}

async fn listed(aws: &Aws, names: Option<Vec<String>>, filters: Option<Vec<Filter>>) -> Result<Vec<Group>, CloudError> {
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("autoscaling:DescribeAutoScalingGroups", || {
                aws.autoscaling
                    .describe_auto_scaling_groups()
                    .set_auto_scaling_group_names(names.clone())
                    .set_filters(filters.clone())
                    .max_records(PER_CALL as i32)
                    .set_next_token(next.clone())
                    .send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        groups.extend(page.auto_scaling_groups.unwrap_or_default());
        if next.is_none() {
            return Ok(groups);
        }
    }
}

/// A group has a status only while it is being deleted ("AutoScalingGroup").
fn is_living(group: &Group) -> bool {
    !group.status().is_some_and(|status| status.starts_with("Delete"))
}

/// Groups by name, without those that are being deleted.
///
/// # Errors
/// Of `DescribeAutoScalingGroups`.
pub async fn living(aws: &Aws, names: &[String]) -> Result<Vec<Group>, CloudError> {
    let mut groups = describe(aws, names).await?;
    groups.retain(is_living);
    Ok(groups)
}

/// Whether a new group has the instances it wants, all in service.
///
/// # Errors
/// Where AWS tried to start instances and could not.
pub async fn filled(aws: &Aws, name: &str) -> Result<Progress, CloudError> {
    let found = living(aws, &[name.to_owned()]).await?;
    let Some(group) = found.first() else { return Ok(Progress::Pending("visible".into())) };
    let wanted = usize::try_from(group.desired_capacity().unwrap_or_default()).unwrap_or_default();
    let in_service = |state: Option<&LifecycleState>| state == Some(&LifecycleState::InService);
    let ready = group.instances().iter().filter(|instance| in_service(instance.lifecycle_state())).count();
    if ready >= wanted {
        return Ok(Progress::Done(outputs(group)));
    }
    let pending = format!("{ready} of {wanted} instances in service");
    let page = aws
        .calls
        .read("autoscaling:DescribeScalingActivities", || {
            aws.autoscaling.describe_scaling_activities().auto_scaling_group_name(name).max_records(20).send()
        })
        .await?;
    let over =
        |status: Option<&Status>| matches!(status, Some(Status::Successful | Status::Failed | Status::Cancelled));
    let activities = page.activities();
    if activities.is_empty() || activities.iter().any(|activity| !over(activity.status_code())) {
        return Ok(Progress::Pending(pending));
    }
    // The newest comes first. AWS goes on trying after a failure, and a profile made seconds ago or a short lack of
    // capacity passes; what else it says needs a change of the stack.
    let newest = activities.first().filter(|activity| activity.status_code() == Some(&Status::Failed));
    let Some(failed) = newest else { return Ok(Progress::Pending(pending)) };
    let reason = failed.status_message().unwrap_or("AWS gives no reason");
    let passes = ["nstance profile", "nstanceProfile", "nsufficient", "no Spot capacity"];
    if passes.iter().any(|text| reason.contains(text)) {
        return Ok(Progress::Pending(format!("{pending}: {reason}")));
    }
    let message = format!("no instance of `{name}` can be started: {reason}");
    Err(CloudError::new(ErrorClass::Refused, "autoscaling:CreateAutoScalingGroup", "", message))
}

/// What instances are started from: the template alone, or the template in a policy. `before` is the group as it is.
pub fn launch(
    group: &AutoscalingGroup,
    before: Option<&AutoscalingGroup>,
) -> (Option<LaunchTemplateSpecification>, Option<MixedInstancesPolicy>) {
    let template = LaunchTemplateSpecification::builder()
        .launch_template_id(&group.launch_template)
        .version(&group.launch_template_version)
        .build();
    match &group.mixed_instances {
        None => (Some(template), None),
        Some(mixed) => {
            // An empty price takes back one that was set ("InstancesDistribution").
            let had_price = before.and_then(|group| group.mixed_instances.as_ref()?.max_spot_price.as_ref()).is_some();
            let price = mixed.max_spot_price.clone().or(had_price.then(String::new));
            (None, Some(policy(template, mixed, price)))
        }
    }
}

fn policy(
    template: LaunchTemplateSpecification,
    mixed: &MixedInstances,
    price: Option<String>,
) -> MixedInstancesPolicy {
    let overrides =
        mixed.instance_types.iter().map(|one| LaunchTemplateOverrides::builder().instance_type(one).build());
    let template = MixedTemplate::builder()
        .launch_template_specification(template)
        .set_overrides(Some(overrides.collect()))
        .build();
    let distribution = InstancesDistribution::builder()
        .on_demand_base_capacity(mixed.on_demand_base)
        .on_demand_percentage_above_base_capacity(mixed.on_demand_percent)
        .on_demand_allocation_strategy(mixed.on_demand_strategy.as_str())
        .spot_allocation_strategy(mixed.spot_strategy.as_str())
        .set_spot_max_price(price)
        .build();
    MixedInstancesPolicy::builder().launch_template(template).instances_distribution(distribution).build()
}

/// A group as attributes. `desired` is only told where the stack owns it: elsewhere scaling does.
pub fn observe(group: &Group, wanted: Option<&Attributes>) -> Observed {
    let mut attributes = Attributes::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    };
    let wants = |name: &str| wanted.is_some_and(|wanted| wanted.contains_key(name));
    put("name", group.auto_scaling_group_name().map(|name| json!(name)));
    put("min", group.min_size().map(|size| json!(size)));
    put("max", group.max_size().map(|size| json!(size)));
    put("desired", group.desired_capacity().filter(|_| wants("desired")).map(|size| json!(size)));
    put("default_cooldown", group.default_cooldown().map(|seconds| json!(seconds)));
    put("default_warmup_seconds", group.default_instance_warmup().filter(|s| *s >= 0).map(|seconds| json!(seconds)));
    let elb = |kind: &str| if kind.contains("ELB") { "elb" } else { "ec2" };
    put("health_check", group.health_check_type().map(|kind| json!(elb(kind))));
    put("health_check_grace_seconds", group.health_check_grace_period().map(|seconds| json!(seconds)));
    put("protect_from_scale_in", group.new_instances_protected_from_scale_in().map(|on| json!(on)));
    put("target_groups", group.target_group_arns.as_ref().map(|arns| json!(arns.iter().collect::<BTreeSet<_>>())));
    put("termination_policies", group.termination_policies.as_ref().map(|names| json!(names)));
    put(
        "max_instance_lifetime_seconds",
        group.max_instance_lifetime().filter(|s| *s > 0).map(|seconds| json!(seconds)),
    );
    put("capacity_rebalance", group.capacity_rebalance().map(|on| json!(on)));
    let metrics = |one: &aws_sdk_autoscaling::types::EnabledMetric| one.metric().map(str::to_owned);
    let metrics = group.enabled_metrics.as_ref().map(|all| all.iter().filter_map(metrics).collect::<BTreeSet<_>>());
    put("enabled_metrics", metrics.map(|names| json!(names)));
    let subnets = group.vpc_zone_identifier().filter(|subnets| !subnets.is_empty());
    put("subnets", subnets.map(|ids| json!(ids.split(',').map(str::trim).collect::<BTreeSet<_>>())));
    let mixed = group.mixed_instances_policy();
    let template = mixed
        .and_then(|mixed| mixed.launch_template()?.launch_template_specification())
        .or_else(|| group.launch_template());
    put("launch_template", template.and_then(|template| template.launch_template_id()).map(|id| json!(id)));
    put("launch_template_version", template.and_then(|template| template.version()).map(|version| json!(version)));
    put("mixed_instances", mixed.map(|mixed| json!(observe_mixed(mixed))));
    put("propagate_tags", propagates(group, wanted).map(|on| json!(on)));
    put("tags", Some(tags(group)));
    if let Some(wanted) = wanted {
        let unset = [
            ("default_warmup_seconds", Value::Null),
            ("max_instance_lifetime_seconds", Value::Null),
            ("mixed_instances", Value::Null),
            ("target_groups", json!([])),
            ("enabled_metrics", json!([])),
        ];
        what_is_missing_is_unset(&mut attributes, wanted, &unset);
    }
    let id = group.auto_scaling_group_name().unwrap_or_default().to_owned();
    Observed { id, attributes, outputs: outputs(group) }
}

/// What references may name: the group's id and ARN.
pub fn outputs(group: &Group) -> Attributes {
    Attributes::from_iter([
        ("id".into(), json!(group.auto_scaling_group_name())),
        ("arn".into(), json!(group.auto_scaling_group_arn())),
    ])
}

/// A mix in the words of the stack; what AWS leaves out is its default, which is the stack's own.
fn observe_mixed(policy: &MixedInstancesPolicy) -> Value {
    let types: Vec<&str> = policy
        .launch_template()
        .map(|template| template.overrides().iter().filter_map(|one| one.instance_type()).collect())
        .unwrap_or_default();
    let mut mixed = json!({
        "instance_types": types,
        "on_demand_base": 0,
        "on_demand_percent": 100,
        "on_demand_strategy": "prioritized",
        "spot_strategy": "lowest-price",
    });
    if let Some(distribution) = policy.instances_distribution() {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                mixed[name] = value;
            }
        };
        put("on_demand_base", distribution.on_demand_base_capacity().map(|count| json!(count)));
        put("on_demand_percent", distribution.on_demand_percentage_above_base_capacity().map(|percent| json!(percent)));
        put("on_demand_strategy", distribution.on_demand_allocation_strategy().map(|name| json!(name)));
        put("spot_strategy", distribution.spot_allocation_strategy().map(|name| json!(name)));
        let price = distribution.spot_max_price().filter(|price| !price.is_empty());
        put("max_spot_price", price.map(|price| json!(price)));
    }
    mixed
}

fn tags(group: &Group) -> Value {
    let own = group.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())));
    own.filter(|(key, _)| !key.starts_with("aws:"))
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect::<Attributes>()
        .into()
}

/// Whether the stack's tags go to the instances; those of others (ECS sets one on the group of a capacity provider) say
/// nothing about it.
fn propagates(group: &Group, wanted: Option<&Attributes>) -> Option<bool> {
    let own = wanted.map(tags_of).unwrap_or_default();
    let mut own = group.tags().iter().filter(|tag| tag.key().is_some_and(|key| own.contains_key(key))).peekable();
    own.peek()?;
    Some(own.all(|tag| tag.propagate_at_launch().unwrap_or_default()))
}

fn tag(group: &str, key: &str, value: &str, propagate: bool) -> Tag {
    Tag::builder()
        .resource_id(group)
        .resource_type("auto-scaling-group")
        .key(key)
        .value(value)
        // The token is the group's, and its instances are not found by it.
        .propagate_at_launch(propagate && key != TOKEN_TAG)
        .build()
}

fn api_tags(group: &str, tags: &Tags, propagate: bool) -> Vec<Tag> {
    tags.iter().map(|(key, value)| tag(group, key, value, propagate)).collect()
}

/// The tags of a create call.
pub fn new_tags(group: &AutoscalingGroup, request: &CreateRequest) -> Vec<Tag> {
    api_tags(&group.name, &create_tags(request), group.propagate_tags)
}

/// Sets tags.
///
/// # Errors
/// Of `CreateOrUpdateTags`.
pub async fn set_tags(aws: &Aws, group: &str, tags: &Tags, propagate: bool) -> Result<(), CloudError> {
    if tags.is_empty() {
        return Ok(());
    }
    let tags = api_tags(group, tags, propagate);
    aws.calls
        .write("autoscaling:CreateOrUpdateTags", || {
            aws.autoscaling.create_or_update_tags().set_tags(Some(tags.clone())).send()
        })
        .await?;
    Ok(())
}

/// Removes tags.
///
/// # Errors
/// Of `DeleteTags`.
pub async fn delete_tags(aws: &Aws, group: &str, keys: &[String]) -> Result<(), CloudError> {
    if keys.is_empty() {
        return Ok(());
    }
    let of = |key: &String| Tag::builder().resource_id(group).resource_type("auto-scaling-group").key(key).build();
    let tags: Vec<Tag> = keys.iter().map(of).collect();
    aws.calls
        .write("autoscaling:DeleteTags", || aws.autoscaling.delete_tags().set_tags(Some(tags.clone())).send())
        .await?;
    Ok(())
}

/// Makes the settings of a group what they shall be.
///
/// # Errors
/// Of `UpdateAutoScalingGroup`.
pub async fn update(
    aws: &Aws,
    name: &str,
    group: &AutoscalingGroup,
    before: &AutoscalingGroup,
) -> Result<(), CloudError> {
    let (template, mixed) = launch(group, Some(before));
    // What was set and is not any more is taken back by these values ("UpdateAutoScalingGroup").
    let lifetime = group.max_instance_lifetime_seconds.or(before.max_instance_lifetime_seconds.map(|_| 0));
    let warmup = group.default_warmup_seconds.or(before.default_warmup_seconds.map(|_| -1));
    aws.calls
        .write("autoscaling:UpdateAutoScalingGroup", || {
            aws.autoscaling
                .update_auto_scaling_group()
                .auto_scaling_group_name(name)
                .set_launch_template(template.clone())
                .set_mixed_instances_policy(mixed.clone())
                .vpc_zone_identifier(joined(&group.subnets))
                .min_size(group.min)
                .max_size(group.max)
                .set_desired_capacity(group.desired.filter(|desired| Some(*desired) != before.desired))
                .default_cooldown(group.default_cooldown)
                .set_default_instance_warmup(warmup)
                .health_check_type(group.health_check.as_str())
                .health_check_grace_period(group.health_check_grace_seconds)
                .new_instances_protected_from_scale_in(group.protect_from_scale_in)
                .set_termination_policies(Some(group.termination_policies.clone()))
                .set_max_instance_lifetime(lifetime)
                .capacity_rebalance(group.capacity_rebalance)
                .send()
        })
        .await?;
    Ok(())
}

/// Empties a group and deletes it: sizes to nothing, protection off, then by force, so that nothing hangs on an
/// instance that does not go by itself.
///
/// # Errors
/// Of the calls it takes; a group that went meanwhile is one too.
pub async fn delete(aws: &Aws, name: &str, group: &Group) -> Result<(), CloudError> {
    aws.calls
        .write("autoscaling:UpdateAutoScalingGroup", || {
            aws.autoscaling
                .update_auto_scaling_group()
                .auto_scaling_group_name(name)
                .min_size(0)
                .max_size(0)
                .desired_capacity(0)
                .new_instances_protected_from_scale_in(false)
                .send()
        })
        .await?;
    set_protection(aws, name, Some(group), false).await?;
    aws.calls
        .write("autoscaling:DeleteAutoScalingGroup", || {
            aws.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(true).send()
        })
        .await?;
    Ok(())
}

/// Protects the instances of a group from scale-in, or does so no more. Instances that went meanwhile are no matter.
///
/// # Errors
/// Of `SetInstanceProtection`.
pub async fn set_protection(aws: &Aws, name: &str, group: Option<&Group>, on: bool) -> Result<(), CloudError> {
    let Some(group) = group else { return Ok(()) };
    let ids: Vec<String> = group
        .instances()
        .iter()
        .filter(|instance| instance.protected_from_scale_in().unwrap_or_default() != on)
        .filter(|instance| !on || instance.lifecycle_state() == Some(&LifecycleState::InService))
        .filter_map(|instance| instance.instance_id().map(str::to_owned))
        .collect();
    for chunk in ids.chunks(INSTANCES_PER_CALL) {
        let set = aws
            .calls
            .write("autoscaling:SetInstanceProtection", || {
                aws.autoscaling
                    .set_instance_protection()
                    .auto_scaling_group_name(name)
                    .set_instance_ids(Some(chunk.to_vec()))
                    .protected_from_scale_in(on)
                    .send()
            })
            .await;
        let Err(error) = set else { continue };
        let now = living(aws, &[name.to_owned()]).await?;
        let left: BTreeSet<_> = now.iter().flat_map(Group::instances).filter_map(|one| one.instance_id()).collect();
        if chunk.iter().all(|id| left.contains(id.as_str())) {
            return Err(error);
        }
    }
    Ok(())
}

/// Attaches and detaches target groups, ten a call ("AttachLoadBalancerTargetGroups").
///
/// # Errors
/// Of either call.
pub async fn set_target_groups(
    aws: &Aws,
    name: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<(), CloudError> {
    let added: Vec<String> = after.difference(before).cloned().collect();
    for chunk in added.chunks(10) {
        aws.calls
            .write("autoscaling:AttachLoadBalancerTargetGroups", || {
                aws.autoscaling
                    .attach_load_balancer_target_groups()
                    .auto_scaling_group_name(name)
                    .set_target_group_arns(Some(chunk.to_vec()))
                    .send()
            })
            .await?;
    }
    let removed: Vec<String> = before.difference(after).cloned().collect();
    for chunk in removed.chunks(10) {
        aws.calls
            .write("autoscaling:DetachLoadBalancerTargetGroups", || {
                aws.autoscaling
                    .detach_load_balancer_target_groups()
                    .auto_scaling_group_name(name)
                    .set_target_group_arns(Some(chunk.to_vec()))
                    .send()
            })
            .await?;
    }
    Ok(())
}

/// Sends group metrics to CloudWatch, or does so no more.
///
/// # Errors
/// Of `EnableMetricsCollection` and `DisableMetricsCollection`.
pub async fn set_metrics(aws: &Aws, name: &str, on: bool, metrics: &BTreeSet<String>) -> Result<(), CloudError> {
    // No names would mean all of them.
    let Some(metrics) = list(metrics) else { return Ok(()) };
    if on {
        aws.calls
            .write("autoscaling:EnableMetricsCollection", || {
                aws.autoscaling
                    .enable_metrics_collection()
                    .auto_scaling_group_name(name)
                    .granularity("1Minute")
                    .set_metrics(Some(metrics.clone()))
                    .send()
            })
            .await?;
    } else {
        aws.calls
            .write("autoscaling:DisableMetricsCollection", || {
                aws.autoscaling
                    .disable_metrics_collection()
                    .auto_scaling_group_name(name)
                    .set_metrics(Some(metrics.clone()))
                    .send()
            })
            .await?;
    }
    Ok(())
}

/// A set as a list; `None` where it is empty.
pub fn list(set: &BTreeSet<String>) -> Option<Vec<String>> {
    (!set.is_empty()).then(|| set.iter().cloned().collect())
}

/// Ids with commas between them, as `VPCZoneIdentifier` takes them.
pub fn joined(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_took_away_is_not_set_any_more() {
        let group = Group::builder().auto_scaling_group_name("web").default_instance_warmup(-1).build();
        let wanted = json!({
            "name": "web", "mixed_instances": { "instance_types": ["t3.small"] }, "default_warmup_seconds": 60,
            "max_instance_lifetime_seconds": 86400, "target_groups": ["arn"], "enabled_metrics": ["GroupMaxSize"],
        });
        let seen = observe(&group, wanted.as_object()).attributes;
        for name in ["mixed_instances", "default_warmup_seconds", "max_instance_lifetime_seconds"] {
            assert_eq!(seen.get(name), Some(&Value::Null), "{name}");
        }
        assert_eq!((&seen["target_groups"], &seen["enabled_metrics"]), (&json!([]), &json!([])));
        assert!(!observe(&group, Some(&Attributes::new())).attributes.contains_key("target_groups"));
    }
}
