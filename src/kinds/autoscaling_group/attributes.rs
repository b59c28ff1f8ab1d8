//! The attributes of an autoscaling group.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graph::template::{self, Part, Reference};
use crate::graph::{Attributes, Problem};
use crate::kinds::Tags;

/// Instances of one launch template, as many as are needed, spread over subnets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoscalingGroup {
    /// Its name, unique in the account and region. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// The launch template that instances are started from.
    #[schemars(extend("x-reference" = "launch_template.id"))]
    pub launch_template: String,
    /// The version of it: a number, `"$Default"` or `"$Latest"`. For a template of the stack it is the template's
    /// `"${launch_template.NAME.default_version}"` unless given, so that its changes reach the instances that run.
    #[serde(default = "default_version")]
    pub launch_template_version: String,
    /// The subnets that instances are started in.
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnets: BTreeSet<String>,
    /// The fewest instances.
    pub min: i32,
    /// The most instances.
    pub max: i32,
    /// How many instances there shall be now. Leave it out where scaling policies or a capacity provider decide: then
    /// it is not touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Seconds between two simple scaling activities.
    #[serde(default = "five_minutes")]
    pub default_cooldown: i32,
    /// Seconds until a new instance counts in the group's metrics. Without it: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_warmup_seconds: Option<i32>,
    /// Who says that an instance is ill.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// Seconds that a new instance has before its health counts.
    #[serde(default = "five_minutes")]
    pub health_check_grace_seconds: i32,
    /// Whether scaling in spares the instances. A capacity provider with managed termination protection needs it.
    #[serde(default)]
    pub protect_from_scale_in: bool,
    /// ARNs of the target groups that instances are registered in.
    #[serde(default)]
    pub target_groups: BTreeSet<String>,
    /// How running instances are replaced when the launch template, its version or the mix of instances changes.
    /// Without it they keep running as they are, and only new ones follow the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_refresh: Option<InstanceRefresh>,
    /// Several instance types, on demand and spot. Without it: the template's own type, on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixed_instances: Option<MixedInstances>,
    /// Which instances go first when scaling in, by name of AWS's policy, in order: `["OldestInstance", "Default"]`.
    #[serde(default = "default_policies")]
    pub termination_policies: Vec<String>,
    /// Seconds after which an instance is replaced, a day to a year. Without it: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instance_lifetime_seconds: Option<i32>,
    /// Whether a spot instance at risk of interruption is replaced before it happens.
    #[serde(default)]
    pub capacity_rebalance: bool,
    /// The group metrics that go to CloudWatch: `["GroupDesiredCapacity", "GroupInServiceInstances"]`.
    #[serde(default)]
    pub enabled_metrics: BTreeSet<String>,
    /// Whether instances get the group's tags.
    #[serde(default = "yes")]
    pub propagate_tags: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Who says that an instance is ill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthCheck {
    /// EC2's status checks.
    #[default]
    Ec2,
    /// The load balancer's health checks as well.
    Elb,
}

impl HealthCheck {
    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Elb => "ELB",
        }
    }
}

/// How running instances are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceRefresh {
    /// How many instances stay in service meanwhile, in percent of those wanted, 0 to 100.
    #[serde(default = "ninety")]
    pub min_healthy_percent: i32,
    /// How many there may be meanwhile, in percent of those wanted, 100 to 200. Above 100 new ones come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_healthy_percent: Option<i32>,
    /// Seconds that a new instance warms up before the next is replaced. Without it: the group's grace time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_seconds: Option<i32>,
    /// Whether instances that already are as they shall be are kept.
    #[serde(default = "yes")]
    pub skip_matching: bool,
}

/// Several instance types, on demand and spot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixedInstances {
    /// The instance types, the preferred ones first: `["t3.small", "t3a.small"]`.
    pub instance_types: Vec<String>,
    /// How many instances are on demand before any is spot.
    #[serde(default)]
    pub on_demand_base: i32,
    /// How many of the others are on demand, in percent. 0: all of them spot.
    #[serde(default = "hundred")]
    pub on_demand_percent: i32,
    /// How types are chosen for instances on demand.
    #[serde(default)]
    pub on_demand_strategy: OnDemandStrategy,
    /// How types are chosen for spot instances.
    #[serde(default)]
    pub spot_strategy: SpotStrategy,
    /// The most to pay for a spot instance, in dollars an hour: `"0.05"`. Without it: the price on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_spot_price: Option<String>,
}

/// How types are chosen for instances on demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDemandStrategy {
    /// In the order of `instance_types`.
    #[default]
    Prioritized,
    /// The cheapest first.
    LowestPrice,
}

/// How types are chosen for spot instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpotStrategy {
    /// Few interruptions first, then price.
    #[default]
    PriceCapacityOptimized,
    /// Few interruptions.
    CapacityOptimized,
    /// Few interruptions, in the order of `instance_types` where it makes little difference.
    CapacityOptimizedPrioritized,
    /// The cheapest.
    LowestPrice,
}

impl OnDemandStrategy {
    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prioritized => "prioritized",
            Self::LowestPrice => "lowest-price",
        }
    }
}

impl SpotStrategy {
    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PriceCapacityOptimized => "price-capacity-optimized",
            Self::CapacityOptimized => "capacity-optimized",
            Self::CapacityOptimizedPrioritized => "capacity-optimized-prioritized",
            Self::LowestPrice => "lowest-price",
        }
    }
}

/// Attributes in their canonical form: a template of the stack is followed from version to version.
///
/// # Errors
/// Where they are not of their type.
pub fn canonical(mut attributes: Attributes) -> Result<Attributes, Problem> {
    let template = attributes.get("launch_template").and_then(Value::as_str).map(template::parts);
    if let Some([Part::Reference(inner, _)]) = template.as_deref()
        && let Some(Reference { target, attribute }) = Reference::parse(inner)
        && attribute == "id"
    {
        let version = format!("${{{target}.default_version}}");
        attributes.entry("launch_template_version").or_insert_with(|| version.into());
    }
    crate::kinds::canonical::<AutoscalingGroup>(attributes)
}

fn default_version() -> String {
    "$Default".to_owned()
}

fn default_policies() -> Vec<String> {
    vec!["Default".to_owned()]
}

fn five_minutes() -> i32 {
    300
}

fn ninety() -> i32 {
    90
}

fn hundred() -> i32 {
    100
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_of_the_stack_is_followed_from_version_to_version() {
        let version = |given: Value| {
            let mut group = json!({ "subnets": [], "min": 0, "max": 1 });
            for (name, value) in given.as_object().unwrap() {
                group[name] = value.clone();
            }
            canonical(group.as_object().cloned().unwrap()).unwrap()["launch_template_version"].clone()
        };
        let own = "${capacity.a/launch_template.web.id}";
        assert_eq!(version(json!({ "launch_template": own })), "${capacity.a/launch_template.web.default_version}");
        assert_eq!(version(json!({ "launch_template": "lt-0123456789abcdef0" })), "$Default");
        assert_eq!(version(json!({ "launch_template": own, "launch_template_version": "3" })), "3");
    }
}
