//! `scaling_policy`: by what the number of a service's tasks is scaled.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_applicationautoscaling::types::{
    AdjustmentType, CustomizedMetricSpecification, MetricAggregationType, MetricDimension, MetricStatistic, MetricType,
    PolicyType, PredefinedMetricSpecification, ScalableDimension, ScalingPolicy as Found, ServiceNamespace,
    StepAdjustment, StepScalingPolicyConfiguration, TargetTrackingScalingPolicyConfiguration,
};
use aws_smithy_types::error::operation::BuildError;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, During, Kind, Taking, gone_is_fine, in_order, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};

/// By what the number of a service's tasks is scaled: kept so that a metric stays near a value, or changed in steps when
/// an alarm says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingPolicy {
    /// Its name, unique for the target. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// What it scales.
    #[schemars(extend("x-reference" = "scaling_target.id"))]
    pub target: String,
    /// The metric that is kept near a value. One of `track` and `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Track>,
    /// The steps that are taken when an alarm names the policy. One of `track` and `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
}

/// A metric that is kept near a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// The metric.
    pub metric: Metric,
    /// The value: percent of CPU or memory, requests a minute for each task, or that of the metric of your own.
    pub value: f64,
    /// For `"requests"`: the load balancer, by the end of its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "load_balancer.arn_suffix"))]
    pub load_balancer: Option<String>,
    /// For `"requests"`: the target group, by the end of its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "target_group.arn_suffix"))]
    pub target_group: Option<String>,
    /// For `"custom"`: which metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// Seconds between one growth and the next. Without it: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grow_seconds: Option<i32>,
    /// Seconds between one shrinking and the next. Without it: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrink_seconds: Option<i32>,
    /// Whether it only lets the number grow.
    #[serde(default)]
    pub never_shrink: bool,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The average CPU of the tasks.
    Cpu,
    /// The average memory of the tasks.
    Memory,
    /// Requests of a load balancer for each task.
    Requests,
    /// One of your own.
    Custom,
}

impl Metric {
    fn of_aws(self) -> Option<MetricType> {
        match self {
            Self::Cpu => Some(MetricType::EcsServiceAverageCpuUtilization),
            Self::Memory => Some(MetricType::EcsServiceAverageMemoryUtilization),
            Self::Requests => Some(MetricType::AlbRequestCountPerTarget),
            Self::Custom => None,
        }
    }
}

/// A metric of CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Its namespace: `"AWS/SQS"`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its dimensions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// What is made of its values.
    #[serde(default)]
    pub statistic: Statistic,
}

/// What is made of the values of a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// Their average.
    #[default]
    Average,
    /// Their sum.
    Sum,
    /// The least.
    Minimum,
    /// The most.
    Maximum,
    /// How many there are.
    SampleCount,
}

impl Statistic {
    const ALL: [Self; 5] = [Self::Average, Self::Sum, Self::Minimum, Self::Maximum, Self::SampleCount];

    fn as_str(self) -> &'static str {
        match self {
            Self::Average => "Average",
            Self::Sum => "Sum",
            Self::Minimum => "Minimum",
            Self::Maximum => "Maximum",
            Self::SampleCount => "SampleCount",
        }
    }
}

/// Steps that are taken when an alarm says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// What a step says.
    #[serde(default)]
    pub by: By,
    /// The steps, by how far the metric is beyond the alarm's threshold. They lie side by side.
    pub steps: Vec<StepSize>,
    /// Seconds between one step and the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_seconds: Option<i32>,
    /// The fewest tasks that a step in percent adds or takes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i32>,
}

/// What a step says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// How many tasks are added; taken away where it is negative.
    #[default]
    Change,
    /// How many percent are added.
    Percent,
    /// How many there are.
    Exactly,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepSize {
    /// From how far beyond the threshold. Without it: from any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Up to how far beyond the threshold. Without it: to any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// The step.
    pub size: i32,
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(policy) = serde_json::from_value::<ScalingPolicy>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    match (&policy.track, &policy.steps) {
        (Some(track), None) => check_track(track, &mut problems),
        (None, Some(steps)) => check_steps(steps, &mut problems),
        _ => {
            let message = "a policy tracks a metric or takes steps: one of the two";
            let help = "write track = { metric = \"cpu\", value = 60 }";
            problems.push(Problem::at("track", message).help(help));
        }
    }
    problems
}

fn check_track(track: &Track, problems: &mut Vec<Problem>) {
    let percent = matches!(track.metric, Metric::Cpu | Metric::Memory);
    if track.value <= 0.0 || (percent && track.value > 100.0) {
        let range = if percent { "percent, 1 to 100" } else { "more than 0" };
        problems.push(Problem::at("track.value", format!("{}: it is {range}", track.value)));
    }
    let requests = track.metric == Metric::Requests;
    for (field, given) in
        [("load_balancer", track.load_balancer.is_some()), ("target_group", track.target_group.is_some())]
    {
        if given != requests {
            let (message, help) = match requests {
                true => ("requests are counted of a load balancer and a target group", "name it"),
                false => ("it is for the metric \"requests\"", "take it out"),
            };
            problems.push(Problem::at(&format!("track.{field}"), message).help(help));
        }
    }
    if track.custom.is_some() != (track.metric == Metric::Custom) {
        let message = "`custom` goes with the metric \"custom\"";
        problems.push(Problem::at("track.custom", message));
    }
}

fn check_steps(steps: &Steps, problems: &mut Vec<Problem>) {
    if steps.steps.is_empty() {
        problems.push(Problem::at("steps.steps", "it takes no step").help("write { from = 0, size = 1 }"));
    }
    for (index, step) in steps.steps.iter().enumerate() {
        let path = format!("steps.steps.{index}");
        if let (Some(from), Some(to)) = (step.from, step.to)
            && from >= to
        {
            problems.push(Problem::at(&path, format!("from {from} to {to} there is nothing")));
        }
        let next = steps.steps.get(index + 1);
        if let Some(next) = next.filter(|next| next.from != step.to || step.to.is_none()) {
            let show = |bound: Option<f64>| bound.map_or("anywhere".to_owned(), |bound| bound.to_string());
            let message = format!("it ends at {}, and the next begins at {}", show(step.to), show(next.from));
            problems.push(Problem::at(&path, message).help("let each begin where the one before it ends"));
        }
    }
    if steps.at_least.is_some() && steps.by != By::Percent {
        problems.push(Problem::at("steps.at_least", "it is for steps in percent").help("take it out"));
    }
}

/// The kind `scaling_policy`.
pub struct ScalingPolicyKind;

#[async_trait]
impl Kind for ScalingPolicyKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "target"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 256 }),
            name_within: &["target"],
            taggable: false,
            check,
            typical_seconds: 1,
            ..spec::<ScalingPolicy>("scaling_policy", "scaling policy")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["application-autoscaling:DescribeScalingPolicies"],
            // Alarms of a policy that tracks a metric are made with the rights of the service's own role.
            create: &["application-autoscaling:PutScalingPolicy"],
            update: &["application-autoscaling:PutScalingPolicy", "application-autoscaling:DeleteScalingPolicy"],
            delete: &["application-autoscaling:DeleteScalingPolicy"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "application-autoscaling:DeleteScalingPolicy" if taking.during == During::Update => {
                taking.before.contains_key("track") != taking.after.contains_key("track")
            }
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let targets: BTreeSet<&str> = wanted.iter().map(|known| text(&known.attributes, "target")).collect();
        let found = try_join_all(targets.into_iter().map(|target| describe(aws, target, None))).await?;
        Ok(in_order(wanted, found.iter().flatten().map(observe).collect()))
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        Ok(describe(aws, text(wanted, "target"), Some(text(wanted, "name"))).await?.first().map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let policy: ScalingPolicy = typed(&request.attributes)?;
        let arn = put(aws, &policy).await?;
        let id = id_of(&policy.target, &policy.name);
        Ok(Created { outputs: outputs(&id, &arn), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let (before, after): (ScalingPolicy, ScalingPolicy) = (typed(&request.before)?, typed(&request.after)?);
        // A policy keeps its type as long as it lives.
        if before.track.is_some() != after.track.is_some() {
            delete(aws, &after.target, &after.name).await?;
        }
        put(aws, &after).await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        delete(aws, text(&known.attributes, "target"), text(&known.attributes, "name")).await
    }
}

async fn describe(aws: &Aws, target: &str, name: Option<&str>) -> Result<Vec<Found>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || {
            aws.scaling
                .describe_scaling_policies()
                .service_namespace(ServiceNamespace::Ecs)
                .resource_id(target)
                .set_policy_names(name.map(|name| vec![name.to_owned()]))
                .set_next_token(next.clone())
                .send()
        };
        let page = aws.calls.read("application-autoscaling:DescribeScalingPolicies", call).await?;
        found.extend(page.scaling_policies.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            // Emulated clouds may pass over the name.
            found.retain(|one: &Found| name.is_none_or(|name| one.policy_name() == name));
            return Ok(found);
        }
    }
}

async fn put(aws: &Aws, policy: &ScalingPolicy) -> Result<String, CloudError> {
    let unbuilt =
        |error: BuildError| CloudError::unexpected("application-autoscaling:PutScalingPolicy", error.to_string());
    let call = aws
        .scaling
        .put_scaling_policy()
        .service_namespace(ServiceNamespace::Ecs)
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .resource_id(&policy.target)
        .policy_name(&policy.name);
    let call = match (&policy.track, &policy.steps) {
        (Some(tracked), _) => {
            let config = track(tracked).map_err(unbuilt)?;
            call.policy_type(PolicyType::TargetTrackingScaling).target_tracking_scaling_policy_configuration(config)
        }
        (None, Some(taken)) => {
            let config = steps(taken).map_err(unbuilt)?;
            call.policy_type(PolicyType::StepScaling).step_scaling_policy_configuration(config)
        }
        (None, None) => call,
    };
    let answer = aws.calls.write("application-autoscaling:PutScalingPolicy", || call.clone().send()).await?;
    Ok(answer.policy_arn)
}

fn track(track: &Track) -> Result<TargetTrackingScalingPolicyConfiguration, BuildError> {
    let config = TargetTrackingScalingPolicyConfiguration::builder()
        .target_value(track.value)
        .set_scale_out_cooldown(track.grow_seconds)
        .set_scale_in_cooldown(track.shrink_seconds)
        .disable_scale_in(track.never_shrink);
    let config = match (track.metric.of_aws(), &track.custom) {
        (Some(metric), _) => {
            let label = match (&track.load_balancer, &track.target_group) {
                (Some(balancer), Some(group)) => Some(format!("{balancer}/{group}")),
                _ => None,
            };
            let metric =
                PredefinedMetricSpecification::builder().predefined_metric_type(metric).set_resource_label(label);
            config.predefined_metric_specification(metric.build()?)
        }
        (None, Some(custom)) => {
            let dimensions = custom
                .dimensions
                .iter()
                .map(|(name, value)| MetricDimension::builder().name(name).value(value).build())
                .collect::<Result<Vec<_>, _>>()?;
            let metric = CustomizedMetricSpecification::builder()
                .namespace(&custom.namespace)
                .metric_name(&custom.name)
                .set_dimensions((!dimensions.is_empty()).then_some(dimensions))
                .statistic(MetricStatistic::from(custom.statistic.as_str()))
                .build();
            config.customized_metric_specification(metric)
        }
        (None, None) => config,
    };
    config.build()
}

fn steps(steps: &Steps) -> Result<StepScalingPolicyConfiguration, BuildError> {
    let all = steps
        .steps
        .iter()
        .map(|step| {
            StepAdjustment::builder()
                .set_metric_interval_lower_bound(step.from)
                .set_metric_interval_upper_bound(step.to)
                .scaling_adjustment(step.size)
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(StepScalingPolicyConfiguration::builder()
        .adjustment_type(match steps.by {
            By::Change => AdjustmentType::ChangeInCapacity,
            By::Percent => AdjustmentType::PercentChangeInCapacity,
            By::Exactly => AdjustmentType::ExactCapacity,
        })
        .set_step_adjustments(Some(all))
        .set_cooldown(steps.cooldown_seconds)
        .set_min_adjustment_magnitude(steps.at_least)
        .metric_aggregation_type(MetricAggregationType::Average)
        .build())
}

async fn delete(aws: &Aws, target: &str, name: &str) -> Result<(), CloudError> {
    let call = || {
        aws.scaling
            .delete_scaling_policy()
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .resource_id(target)
            .policy_name(name)
            .send()
    };
    gone_is_fine(aws.calls.write("application-autoscaling:DeleteScalingPolicy", call).await.map(|_| ()))
}

/// What it scales, and its name there.
fn id_of(target: &str, name: &str) -> String {
    format!("{target}/{name}")
}

fn outputs(id: &str, arn: &str) -> Attributes {
    Attributes::from_iter([("id".to_owned(), json!(id)), ("arn".to_owned(), json!(arn))])
}

fn observe(policy: &Found) -> Observed {
    let id = id_of(policy.resource_id(), policy.policy_name());
    let mut attributes = Attributes::from_iter([
        ("name".to_owned(), json!(policy.policy_name())),
        ("target".to_owned(), json!(policy.resource_id())),
    ]);
    let tracked = policy.target_tracking_scaling_policy_configuration().map(observe_track);
    let taken = policy.step_scaling_policy_configuration().map(observe_steps);
    attributes.insert("track".into(), json!(tracked));
    attributes.insert("steps".into(), json!(taken));
    Observed { outputs: outputs(&id, policy.policy_arn()), id, attributes }
}

fn observe_track(config: &TargetTrackingScalingPolicyConfiguration) -> Track {
    let predefined = config.predefined_metric_specification();
    let metric = [Metric::Cpu, Metric::Memory, Metric::Requests]
        .into_iter()
        .find(|one| one.of_aws().as_ref() == predefined.map(|found| found.predefined_metric_type()));
    // `app/NAME/ID/targetgroup/NAME/ID`.
    let label = predefined.and_then(|found| found.resource_label()).unwrap_or_default();
    let parts = label.split_once("/targetgroup/").map(|(one, other)| (one.to_owned(), format!("targetgroup/{other}")));
    let custom = config.customized_metric_specification().map(|custom| Custom {
        namespace: custom.namespace().unwrap_or_default().to_owned(),
        name: custom.metric_name().unwrap_or_default().to_owned(),
        dimensions: custom.dimensions().iter().map(|one| (one.name().to_owned(), one.value().to_owned())).collect(),
        statistic: custom
            .statistic()
            .and_then(|found| Statistic::ALL.into_iter().find(|one| one.as_str() == found.as_str()))
            .unwrap_or_default(),
    });
    Track {
        metric: metric.unwrap_or(Metric::Custom),
        value: config.target_value(),
        load_balancer: parts.as_ref().map(|(balancer, _)| balancer.clone()),
        target_group: parts.map(|(_, group)| group),
        custom,
        grow_seconds: config.scale_out_cooldown(),
        shrink_seconds: config.scale_in_cooldown(),
        never_shrink: config.disable_scale_in().unwrap_or_default(),
    }
}

fn observe_steps(config: &StepScalingPolicyConfiguration) -> Steps {
    Steps {
        by: match config.adjustment_type() {
            Some(AdjustmentType::PercentChangeInCapacity) => By::Percent,
            Some(AdjustmentType::ExactCapacity) => By::Exactly,
            _ => By::Change,
        },
        steps: config
            .step_adjustments()
            .iter()
            .map(|step| StepSize {
                from: step.metric_interval_lower_bound(),
                to: step.metric_interval_upper_bound(),
                size: step.scaling_adjustment(),
            })
            .collect(),
        cooldown_seconds: config.cooldown(),
        at_least: config.min_adjustment_magnitude(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_or_too_much_is_found_offline() {
        let told = |more: Value| {
            let mut policy = json!({ "name": "web", "target": "service/main/web" });
            policy.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            let told = check(policy.as_object().unwrap()).into_iter();
            told.map(|p| format!("{}: {}", p.path.join("."), p.message)).collect::<Vec<_>>()
        };
        assert!(told(json!({ "track": { "metric": "cpu", "value": 60 } })).is_empty());
        assert_eq!(told(json!({})), ["track: a policy tracks a metric or takes steps: one of the two"]);
        insta::assert_snapshot!(
            told(json!({ "track": { "metric": "requests", "value": 0, "target_group": "x" } })).join("\n"),
            @r"
        track.value: 0: it is more than 0
        track.load_balancer: requests are counted of a load balancer and a target group
        ");
        insta::assert_snapshot!(
            told(json!({ "steps": { "steps": [{ "from": 0, "to": 10, "size": 1 }, { "from": 20, "size": 2 }], "at_least": 1 } })).join("\n"),
            @r"
        steps.steps.0: it ends at 10, and the next begins at 20
        steps.at_least: it is for steps in percent
        ");
    }
}
