//! `scaling_target`: between which bounds the number of a service's tasks is scaled, also by the clock.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_applicationautoscaling::types::{
    ScalableDimension, ScalableTarget, ScalableTargetAction, ScheduledAction, ServiceNamespace, SuspendedState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, During, Kind, Taking, gone_is_fine, in_order, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// Between which bounds the number of a service's tasks is scaled: by policies, and by the clock. Leave the service's
/// own `count` out, so that the number is left to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingTarget {
    /// The service.
    #[schemars(extend("x-reference" = "ecs_service.arn"))]
    pub service: String,
    /// The fewest tasks.
    pub min: i32,
    /// The most tasks.
    pub max: i32,
    /// Whether nothing is scaled for the time being.
    #[serde(default)]
    pub suspended: bool,
    /// Other bounds from certain times on, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<String, Schedule>,
}

/// Bounds from a certain time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// When: `"cron(0 20 * * ? *)"`, `"rate(1 day)"` or `"at(2030-01-01T00:00:00)"`.
    pub at: String,
    /// The time zone of `at`: `"Europe/London"`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// The fewest tasks from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// The most tasks from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What is wrong with an expression of a time; of Application Auto Scaling and EventBridge Scheduler.
pub fn wrong_time(at: &str) -> Option<String> {
    let inner = |word: &str| at.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(fields) = inner("cron") {
        let count = fields.split_whitespace().count();
        return (count != 6).then(|| format!("`{at}` has {count} fields, and AWS's cron has 6: minute to year"));
    }
    if let Some(rate) = inner("rate") {
        let (count, unit) = rate.split_once(' ').unwrap_or((rate, ""));
        let units = match count.parse::<u32>() {
            Ok(1) => ["minute", "hour", "day"],
            _ => ["minutes", "hours", "days"],
        };
        let fits = count.parse::<u32>().is_ok_and(|count| count > 0) && units.contains(&unit);
        return (!fits).then(|| format!("`{at}` is no rate: rate(1 hour), rate(5 minutes)"));
    }
    if let Some(moment) = inner("at") {
        let fits = moment.parse::<jiff::civil::DateTime>().is_ok() && moment.contains('T');
        return (!fits).then(|| format!("`{at}` names no moment: at(2030-01-31T08:00:00)"));
    }
    Some(format!("`{at}` is no time: cron(…), rate(…) or at(…)"))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(target) = serde_json::from_value::<ScalingTarget>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if target.min < 0 || target.min > target.max {
        let message = format!("at least {} tasks, and at most {}", target.min, target.max);
        problems.push(Problem::at("min", message).help("make `min` no larger than `max`"));
    }
    if !target.service.contains("${") && resource_of(&target.service).is_none() {
        let message = format!("`{}` is no service", target.service);
        problems.push(Problem::at("service", message).help("give the ARN of a service, or name one of the stack"));
    }
    for (name, schedule) in &target.schedules {
        let path = |field: &str| format!("schedules.{name}.{field}");
        if !schedule.at.contains("${")
            && let Some(message) = wrong_time(&schedule.at)
        {
            problems.push(Problem::at(&path("at"), message));
        }
        match (schedule.min, schedule.max) {
            (None, None) => {
                let message = "it changes no bound";
                problems.push(Problem::at(&path("min"), message).help("give it `min`, `max` or both"));
            }
            (Some(min), Some(max)) if min > max => {
                problems.push(Problem::at(&path("min"), format!("at least {min} tasks, and at most {max}")));
            }
            _ => {}
        }
    }
    problems
}

/// The kind `scaling_target`.
pub struct ScalingTargetKind;

#[async_trait]
impl Kind for ScalingTargetKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["service"],
            // A service that is being deployed can be scaled.
            needs_only_existence: &["service"],
            takes_over: &[("service", "count")],
            identity: Identity::Natural,
            taggable: false,
            check,
            predict: |attributes, _| {
                let service = attributes.get("service").filter(|service| !template::is_unknown(service));
                let id = service.and_then(Value::as_str).and_then(resource_of);
                Attributes::from_iter(id.map(|id| ("id".to_owned(), json!(id))))
            },
            typical_seconds: 1,
            ..spec::<ScalingTarget>("scaling_target", "scaling target")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "application-autoscaling:DescribeScalableTargets",
                "application-autoscaling:DescribeScheduledActions",
            ],
            create: &[
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:PutScheduledAction",
                "iam:CreateServiceLinkedRole",
            ],
            update: &[
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:PutScheduledAction",
                "application-autoscaling:DeleteScheduledAction",
                "application-autoscaling:DescribeScheduledActions",
            ],
            delete: &[
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:DeleteScheduledAction",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "application-autoscaling:RegisterScalableTarget" => {
                taking.creates() || taking.changes(&["min", "max", "suspended"])
            }
            "application-autoscaling:PutScheduledAction" => taking.adds("schedules"),
            // With the target go its schedules.
            "application-autoscaling:DeleteScheduledAction" => {
                taking.during == During::Update && taking.removes("schedules")
            }
            "application-autoscaling:DescribeScheduledActions" if taking.during == During::Update => {
                taking.changes(&["schedules"])
            }
            "application-autoscaling:DescribeScheduledActions" => taking.has("schedules"),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let ids: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let scheduled = wanted.iter().any(|known| known.attributes.contains_key("schedules"));
        let schedules = if scheduled { schedules(aws, None).await? } else { BTreeMap::new() };
        let found = describe(aws, &ids).await?;
        let mut observed = in_order(wanted, found.iter().map(|target| observe(aws, target)).collect());
        for (known, observed) in wanted.iter().zip(&mut observed) {
            let Some(observed) = observed else { continue };
            // A service is named by its ARN; an imported one is named as it is here.
            if resource_of(text(&known.attributes, "service")).as_deref() == Some(&known.id) {
                observed.attributes.insert("service".into(), json!(text(&known.attributes, "service")));
            }
            if known.attributes.contains_key("schedules") {
                let own = schedules.get(&known.id).cloned().unwrap_or_default();
                observed.attributes.insert("schedules".into(), json!(own));
            }
        }
        Ok(observed)
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let Some(id) = resource_of(text(&lost.request.attributes, "service")) else { return Ok(None) };
        Ok(describe(aws, &[id]).await?.first().map(|target| observe(aws, target)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let target: ScalingTarget = typed(&request.attributes)?;
        let id = resource_of(&target.service).ok_or_else(|| {
            let message = format!("`{}` is no service", target.service);
            CloudError::unexpected("application-autoscaling:RegisterScalableTarget", message)
        })?;
        register(aws, &id, &target).await?;
        Ok(Created { outputs: Attributes::from_iter([("id".to_owned(), json!(id))]), id })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let target: ScalingTarget = typed(&request.attributes)?;
        for (name, schedule) in &target.schedules {
            put_schedule(aws, id, name, schedule).await?;
        }
        Ok(())
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let target: ScalingTarget = typed(&request.after)?;
        if ["min", "max", "suspended"].iter().any(|name| request.changed.contains(*name)) {
            register(aws, &request.id, &target).await?;
        }
        if request.changed.contains("schedules") {
            let have = schedules(aws, Some(&request.id)).await?.remove(&request.id).unwrap_or_default();
            for (name, schedule) in target.schedules.iter().filter(|(name, one)| have.get(*name) != Some(*one)) {
                put_schedule(aws, &request.id, name, schedule).await?;
            }
            for name in have.keys().filter(|name| !target.schedules.contains_key(*name)) {
                delete_schedule(aws, &request.id, name).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // With it go its policies and schedules ("DeregisterScalableTarget").
        let call = || {
            aws.scaling
                .deregister_scalable_target()
                .service_namespace(ServiceNamespace::Ecs)
                .resource_id(&known.id)
                .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
                .send()
        };
        let gone = aws.calls.write("application-autoscaling:DeregisterScalableTarget", call).await;
        gone_is_fine(gone.map(|_| ()))
    }
}

/// What Application Auto Scaling calls a service (`service/CLUSTER/NAME`), of its ARN.
fn resource_of(arn: &str) -> Option<String> {
    let tail = arn.rsplit(':').next()?;
    let mut parts = tail.split('/');
    let fits = parts.next() == Some("service") && parts.filter(|part| !part.is_empty()).count() == 2;
    fits.then(|| tail.to_owned())
}

async fn describe(aws: &Aws, ids: &[String]) -> Result<Vec<ScalableTarget>, CloudError> {
    let mut found = Vec::new();
    // 50 is the most that a page holds ("DescribeScalableTargets").
    for some in ids.chunks(50) {
        let call = || {
            aws.scaling
                .describe_scalable_targets()
                .service_namespace(ServiceNamespace::Ecs)
                .set_resource_ids(Some(some.to_vec()))
                .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
                .send()
        };
        let answer = aws.calls.read("application-autoscaling:DescribeScalableTargets", call).await?;
        found.extend(answer.scalable_targets.unwrap_or_default());
    }
    Ok(found)
}

async fn register(aws: &Aws, id: &str, target: &ScalingTarget) -> Result<(), CloudError> {
    let suspended = SuspendedState::builder()
        .dynamic_scaling_in_suspended(target.suspended)
        .dynamic_scaling_out_suspended(target.suspended)
        .scheduled_scaling_suspended(target.suspended)
        .build();
    let call = || {
        aws.scaling
            .register_scalable_target()
            .service_namespace(ServiceNamespace::Ecs)
            .resource_id(id)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .min_capacity(target.min)
            .max_capacity(target.max)
            .suspended_state(suspended.clone())
            .send()
    };
    aws.calls.write("application-autoscaling:RegisterScalableTarget", call).await?;
    Ok(())
}

/// The schedules of one service, or of all, by service and name.
async fn schedules(aws: &Aws, id: Option<&str>) -> Result<BTreeMap<String, BTreeMap<String, Schedule>>, CloudError> {
    let mut found: BTreeMap<String, BTreeMap<String, Schedule>> = BTreeMap::new();
    let mut next = None;
    loop {
        let call = || {
            aws.scaling
                .describe_scheduled_actions()
                .service_namespace(ServiceNamespace::Ecs)
                .set_resource_id(id.map(str::to_owned))
                .set_next_token(next.clone())
                .send()
        };
        let page = aws.calls.read("application-autoscaling:DescribeScheduledActions", call).await?;
        for one in page.scheduled_actions.unwrap_or_default() {
            let schedule = observe_schedule(&one);
            found.entry(one.resource_id).or_default().insert(one.scheduled_action_name, schedule);
        }
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn observe_schedule(one: &ScheduledAction) -> Schedule {
    let bounds = one.scalable_target_action();
    Schedule {
        at: one.schedule().to_owned(),
        timezone: one.timezone().filter(|zone| !zone.is_empty()).map_or_else(utc, str::to_owned),
        min: bounds.and_then(|bounds| bounds.min_capacity()),
        max: bounds.and_then(|bounds| bounds.max_capacity()),
    }
}

async fn put_schedule(aws: &Aws, id: &str, name: &str, schedule: &Schedule) -> Result<(), CloudError> {
    let bounds = ScalableTargetAction::builder().set_min_capacity(schedule.min).set_max_capacity(schedule.max).build();
    let call = || {
        aws.scaling
            .put_scheduled_action()
            .service_namespace(ServiceNamespace::Ecs)
            .resource_id(id)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .scheduled_action_name(name)
            .schedule(&schedule.at)
            .timezone(&schedule.timezone)
            .scalable_target_action(bounds.clone())
            .send()
    };
    aws.calls.write("application-autoscaling:PutScheduledAction", call).await?;
    Ok(())
}

async fn delete_schedule(aws: &Aws, id: &str, name: &str) -> Result<(), CloudError> {
    let call = || {
        aws.scaling
            .delete_scheduled_action()
            .service_namespace(ServiceNamespace::Ecs)
            .resource_id(id)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .scheduled_action_name(name)
            .send()
    };
    gone_is_fine(aws.calls.write("application-autoscaling:DeleteScheduledAction", call).await.map(|_| ()))
}

fn observe(aws: &Aws, target: &ScalableTarget) -> Observed {
    let id = target.resource_id().to_owned();
    let mut attributes = Attributes::from_iter([
        ("min".to_owned(), json!(target.min_capacity())),
        ("max".to_owned(), json!(target.max_capacity())),
    ]);
    let scope = &aws.scope;
    let account = scope.account.as_deref().unwrap_or_default();
    let arn = format!("arn:{}:ecs:{}:{account}:{id}", scope.partition, scope.region);
    attributes.insert("service".into(), json!(arn));
    if let Some(state) = target.suspended_state() {
        let suspended = [
            state.dynamic_scaling_in_suspended(),
            state.dynamic_scaling_out_suspended(),
            state.scheduled_scaling_suspended(),
        ];
        attributes.insert("suspended".into(), json!(suspended.iter().all(|one| *one == Some(true))));
    }
    Observed { outputs: Attributes::from_iter([("id".to_owned(), json!(id))]), id, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_aws_takes() {
        for good in ["cron(0 3 * * ? *)", "rate(1 hour)", "rate(5 minutes)", "at(2030-01-31T08:00:00)"] {
            assert_eq!(wrong_time(good), None, "{good}");
        }
        for bad in [
            "0 3 * * *",
            "cron(0 3 * * *)",
            "rate(1 hours)",
            "rate(5)",
            "rate(5 minute)",
            "rate(0 days)",
            "at(tomorrow)",
            "at(2030-01-31)",
        ] {
            assert!(wrong_time(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_service_is_named_by_the_end_of_its_arn() {
        let arn = "arn:aws:ecs:eu-west-2:1:service/main/web";
        assert_eq!(resource_of(arn).as_deref(), Some("service/main/web"));
        assert_eq!(resource_of("arn:aws:ecs:eu-west-2:1:service/web"), None);
        assert_eq!(resource_of("web"), None);
    }
}
