//! `autoscaling_group`: instances of one launch template, as many as are needed.

mod attributes;
mod check;
mod group;
mod refresh;

use async_trait::async_trait;
use serde_json::json;

pub use attributes::AutoscalingGroup;

use super::{Actions, During, Kind, Taking, in_order, is_own, owned, spec, tag_changes, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming};

/// How many instances one call takes ("SetInstanceProtection").
const INSTANCES_PER_CALL: usize = 50;

/// The kind `autoscaling_group`.
#[derive(Default)]
pub struct AutoscalingGroupKind {
    refreshes: refresh::Started,
}

#[async_trait]
impl Kind for AutoscalingGroupKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            rebuilt_around: &["subnet"],
            outputs: &["arn"],
            write_only: &["instance_refresh"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 255 }),
            canonical: attributes::canonical,
            check: check::check,
            typical_seconds: 60,
            ..spec::<AutoscalingGroup>("autoscaling_group", "autoscaling group")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeInstanceRefreshes",
            ],
            // With a launch template the caller needs what starting an instance needs ("Control Amazon EC2 launch
            // template usage in Auto Scaling groups").
            create: &[
                "autoscaling:CreateAutoScalingGroup",
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:CreateOrUpdateTags",
                "autoscaling:EnableMetricsCollection",
                "ec2:RunInstances",
                "ec2:CreateTags",
                "iam:PassRole",
                "iam:CreateServiceLinkedRole",
                "autoscaling:DescribeScalingActivities",
            ],
            update: &[
                "autoscaling:UpdateAutoScalingGroup",
                "autoscaling:CreateOrUpdateTags",
                "autoscaling:DeleteTags",
                "autoscaling:EnableMetricsCollection",
                "autoscaling:DisableMetricsCollection",
                "autoscaling:AttachLoadBalancerTargetGroups",
                "autoscaling:DetachLoadBalancerTargetGroups",
                "autoscaling:SetInstanceProtection",
                "autoscaling:StartInstanceRefresh",
                "autoscaling:DescribeInstanceRefreshes",
                "autoscaling:CancelInstanceRefresh",
                "ec2:RunInstances",
                "iam:PassRole",
                "autoscaling:DescribeAutoScalingGroups",
            ],
            delete: &[
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:UpdateAutoScalingGroup",
                "autoscaling:SetInstanceProtection",
                "autoscaling:DeleteAutoScalingGroup",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "autoscaling:UpdateAutoScalingGroup" => taking.during == During::Delete || taking.changes(SETTINGS),
            "autoscaling:EnableMetricsCollection" => taking.gains("enabled_metrics"),
            "autoscaling:DisableMetricsCollection" => taking.removes("enabled_metrics"),
            "autoscaling:AttachLoadBalancerTargetGroups" => taking.adds("target_groups"),
            "autoscaling:DetachLoadBalancerTargetGroups" => taking.removes("target_groups"),
            "autoscaling:SetInstanceProtection" => {
                taking.changes(&["protect_from_scale_in"])
                    || taking.during == During::Delete
                        && taking.before.get("protect_from_scale_in") == Some(&json!(true))
            }
            "autoscaling:DescribeAutoScalingGroups" if taking.during == During::Update => {
                taking.changes(&["protect_from_scale_in"])
            }
            "autoscaling:StartInstanceRefresh"
            | "autoscaling:DescribeInstanceRefreshes"
            | "autoscaling:CancelInstanceRefresh" => taking.has("instance_refresh") && taking.changes(LAUNCHED),
            "ec2:RunInstances" | "iam:PassRole" if taking.during == During::Update => taking.changes(LAUNCHED),
            "autoscaling:CreateOrUpdateTags" if taking.changes(&["propagate_tags"]) => true,
            "autoscaling:DescribeScalingActivities" => taking.creates(),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let groups = group::living(aws, &names).await?;
        let observed = groups.iter().map(|found| {
            let known = wanted.iter().find(|known| Some(known.id.as_str()) == found.auto_scaling_group_name());
            group::observe(found, known.map(|known| &known.attributes))
        });
        Ok(in_order(wanted, observed.collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let groups = group::of_stack(aws).await?;
        Ok(owned::of_observed(&aws.scope, groups.iter().map(|found| group::observe(found, None))))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let attributes = &lost.request.attributes;
        let groups = group::living(aws, &[text(attributes, "name").to_owned()]).await?;
        let observed = groups.first().map(|found| group::observe(found, Some(attributes)));
        Ok(observed.filter(|observed| is_own(observed, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let group: AutoscalingGroup = typed(&request.attributes)?;
        let (template, mixed) = group::launch(&group, None);
        aws.calls
            .create("autoscaling:CreateAutoScalingGroup", || {
                aws.autoscaling
                    .create_auto_scaling_group()
                    .auto_scaling_group_name(&group.name)
                    .set_launch_template(template.clone())
                    .set_mixed_instances_policy(mixed.clone())
                    .vpc_zone_identifier(group::joined(&group.subnets))
                    .min_size(group.min)
                    .max_size(group.max)
                    .set_desired_capacity(group.desired)
                    .default_cooldown(group.default_cooldown)
                    .set_default_instance_warmup(group.default_warmup_seconds)
                    .health_check_type(group.health_check.as_str())
                    .health_check_grace_period(group.health_check_grace_seconds)
                    .new_instances_protected_from_scale_in(group.protect_from_scale_in)
                    .set_target_group_arns(group::list(&group.target_groups))
                    .set_termination_policies(Some(group.termination_policies.clone()))
                    .set_max_instance_lifetime(group.max_instance_lifetime_seconds)
                    .capacity_rebalance(group.capacity_rebalance)
                    .set_tags(Some(group::new_tags(&group, request)))
                    .send()
            })
            .await?;
        // The call answers nothing, and the ARN holds an id of AWS's. Who needs no more than the ARN (a capacity
        // provider) need not wait for instances; where it is not to be seen yet, it comes with the first poll.
        let id = json!(group.name);
        let seen = group::living(aws, std::slice::from_ref(&group.name)).await.unwrap_or_default();
        let outputs = seen.first().map_or_else(|| Attributes::from_iter([("id".into(), id)]), group::outputs);
        Ok(Created { id: group.name, outputs })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let group: AutoscalingGroup = typed(&request.attributes)?;
        group::set_metrics(aws, id, true, &group.enabled_metrics).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let group: AutoscalingGroup = typed(&request.after)?;
        let before: AutoscalingGroup = typed(&request.before)?;
        let changed = |names: &[&str]| names.iter().any(|name| request.changed.contains(*name));
        if changed(SETTINGS) {
            group::update(aws, &request.id, &group, &before).await?;
        }
        if changed(&["protect_from_scale_in"]) {
            // The setting is about instances to come; those that run follow by a call of their own.
            let running = group::living(aws, std::slice::from_ref(&request.id)).await?;
            group::set_protection(aws, &request.id, running.first(), group.protect_from_scale_in).await?;
        }
        if changed(&["target_groups"]) {
            group::set_target_groups(aws, &request.id, &before.target_groups, &group.target_groups).await?;
        }
        if changed(&["enabled_metrics"]) {
            let gone = before.enabled_metrics.difference(&group.enabled_metrics).cloned().collect();
            group::set_metrics(aws, &request.id, false, &gone).await?;
            group::set_metrics(aws, &request.id, true, &group.enabled_metrics).await?;
        }
        if changed(&["tags", "propagate_tags"]) {
            let (mut set, removed) = tag_changes(request);
            if changed(&["propagate_tags"]) {
                set.clone_from(&group.tags);
            }
            group::set_tags(aws, &request.id, &set, group.propagate_tags).await?;
            group::delete_tags(aws, &request.id, &removed).await?;
        }
        if let Some(preferences) = &group.instance_refresh
            && changed(LAUNCHED)
        {
            self.refreshes.start(aws, &request.id, preferences).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let names = std::slice::from_ref(&known.id);
        let found = group::living(aws, names).await?;
        let Some(running) = found.first() else { return Ok(()) };
        match group::delete(aws, &known.id, running).await {
            Ok(()) => Ok(()),
            // That a group is gone is a validation error like any other: look before believing it.
            Err(_) if group::living(aws, names).await?.is_empty() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        match phase {
            Phase::Created => group::filled(aws, &known.id).await,
            Phase::Updated => self.refreshes.watch(aws, &known.id).await,
            Phase::Deleted => Ok(match group::describe(aws, std::slice::from_ref(&known.id)).await?.first() {
                None => Progress::Done(Attributes::new()),
                Some(group) => {
                    let left = group.instances().len();
                    Progress::Pending(format!("{left} instance{} to terminate", if left == 1 { "" } else { "s" }))
                }
            }),
        }
    }
}

/// What instances are started from.
const LAUNCHED: &[&str] = &["launch_template", "launch_template_version", "mixed_instances"];

/// The attributes that `UpdateAutoScalingGroup` changes.
const SETTINGS: &[&str] = &[
    "launch_template",
    "launch_template_version",
    "mixed_instances",
    "subnets",
    "min",
    "max",
    "desired",
    "default_cooldown",
    "default_warmup_seconds",
    "health_check",
    "health_check_grace_seconds",
    "protect_from_scale_in",
    "termination_policies",
    "max_instance_lifetime_seconds",
    "capacity_rebalance",
];
