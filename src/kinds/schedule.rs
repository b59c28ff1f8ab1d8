//! `schedule`: tasks that are started by the clock.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, DeadLetterConfig, EcsParameters,
    FlexibleTimeWindow, FlexibleTimeWindowMode, LaunchType as SchedulerLaunchType, NetworkConfiguration,
    PropagateTags as SchedulerPropagateTags, RetryPolicy, ScheduleState, Target,
};
use aws_smithy_types::error::operation::BuildError;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster_capacity::Share;
use super::document::JsonDocument;
use super::ecs_service::{LaunchType, Network};
use super::scaling_target::wrong_time;
use super::{Actions, Kind, gone_is_fine, in_order, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope, template};

/// Tasks that are started by the clock, by EventBridge Scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name, unique in its group. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// The group it is in; it must exist.
    #[serde(default = "default_group")]
    pub group: String,
    /// When: `"cron(0 3 * * ? *)"`, `"rate(1 hour)"` or `"at(2030-01-01T00:00:00)"`.
    pub at: String,
    /// The time zone of `at`: `"Europe/London"`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Whether it starts anything.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Minutes within which the start may be put off, 1 to 1440. Without it: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flexible_minutes: Option<i32>,
    /// The cluster in which tasks are started.
    #[schemars(extend("x-reference" = "cluster.arn"))]
    pub cluster: String,
    /// What is started: a revision.
    #[schemars(extend("x-reference" = "task_definition.arn"))]
    pub task_definition: String,
    /// The role that the scheduler acts as. It may run the task, and pass the task's roles.
    #[schemars(extend("x-reference" = "role.arn"))]
    pub role: String,
    /// How many tasks are started, 1 to 10.
    #[serde(default = "one")]
    pub count: i32,
    /// What tasks run on. Without it and `capacity`: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<LaunchType>,
    /// How tasks are spread over capacity providers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capacity: BTreeSet<Share>,
    /// The version of Fargate. Without it: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Where tasks are on the network; for tasks of network `"awsvpc"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What is otherwise than in the task definition, as RunTask takes it: a table, or a file of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    pub overrides: Option<JsonDocument>,
    /// How often a start that failed is tried again, 0 to 185.
    #[serde(default = "most_retries")]
    pub retries: i32,
    /// The queue that starts are put in that failed for good, by ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<String>,
}

fn default_group() -> String {
    "default".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

/// What the scheduler does where nothing is said ("RetryPolicy").
fn most_retries() -> i32 {
    185
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(schedule) = serde_json::from_value::<Schedule>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if !schedule.at.contains("${")
        && let Some(message) = wrong_time(&schedule.at)
    {
        problems.push(Problem::at("at", message).help("write \"cron(0 3 * * ? *)\" for three in the morning"));
    }
    for (field, value, least, most) in [
        ("count", Some(schedule.count), 1, 10),
        ("retries", Some(schedule.retries), 0, 185),
        ("flexible_minutes", schedule.flexible_minutes, 1, 1440),
    ] {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            problems.push(Problem::at(field, format!("{value} is out of range: AWS takes {least} to {most}")));
        }
    }
    if schedule.launch_type.is_some() && !schedule.capacity.is_empty() {
        let message = "`launch_type` and `capacity` say both what tasks run on";
        problems.push(Problem::at("launch_type", message).help("leave one of them"));
    }
    let fargate = schedule.launch_type == Some(LaunchType::Fargate)
        || schedule.capacity.iter().any(|share| matches!(share.provider.as_str(), "FARGATE" | "FARGATE_SPOT"));
    if fargate && schedule.network.is_none() {
        let message = "tasks on Fargate are in subnets, and none is given";
        problems.push(Problem::at("network", message).help("write network = { subnets = […] }"));
    }
    problems
}

/// The kind `schedule`.
pub struct ScheduleKind;

#[async_trait]
impl Kind for ScheduleKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "group"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            // It carries no tags; its name is its own in its group.
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 64 }),
            name_within: &["group"],
            documents: &["overrides"],
            taggable: false,
            check,
            predict,
            typical_seconds: 1,
            ..spec::<Schedule>("schedule", "schedule")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["scheduler:GetSchedule"],
            create: &["scheduler:CreateSchedule", "iam:PassRole"],
            update: &["scheduler:UpdateSchedule", "iam:PassRole"],
            delete: &["scheduler:DeleteSchedule"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let each = wanted.iter().map(|known| async {
            let (group, name) = parts(&known.id);
            Ok::<_, CloudError>(get(aws, group, name).await?.map(|found| observe(&found, &known.attributes)))
        });
        Ok(in_order(wanted, try_join_all(each).await?.into_iter().flatten().collect()))
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        Ok(get(aws, text(wanted, "group"), text(wanted, "name")).await?.map(|found| observe(&found, wanted)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let schedule: Schedule = typed(&request.attributes)?;
        let unbuilt = |error: BuildError| CloudError::unexpected("scheduler:CreateSchedule", error.to_string());
        let (window, target) = (window(&schedule).map_err(unbuilt)?, target(&schedule).map_err(unbuilt)?);
        let answer = aws
            .calls
            .write("scheduler:CreateSchedule", || {
                aws.scheduler
                    .create_schedule()
                    .client_token(&request.token)
                    .name(&schedule.name)
                    .group_name(&schedule.group)
                    .schedule_expression(&schedule.at)
                    .schedule_expression_timezone(&schedule.timezone)
                    .state(state(&schedule))
                    .flexible_time_window(window.clone())
                    .target(target.clone())
                    .send()
            })
            .await?;
        let id = format!("{}/{}", schedule.group, schedule.name);
        let outputs = Attributes::from_iter([("arn".to_owned(), json!(answer.schedule_arn))]);
        Ok(Created { id, outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let schedule: Schedule = typed(&request.after)?;
        let unbuilt = |error: BuildError| CloudError::unexpected("scheduler:UpdateSchedule", error.to_string());
        let (window, target) = (window(&schedule).map_err(unbuilt)?, target(&schedule).map_err(unbuilt)?);
        aws.calls
            .write("scheduler:UpdateSchedule", || {
                aws.scheduler
                    .update_schedule()
                    .client_token(&request.token)
                    .name(&schedule.name)
                    .group_name(&schedule.group)
                    .schedule_expression(&schedule.at)
                    .schedule_expression_timezone(&schedule.timezone)
                    .state(state(&schedule))
                    .flexible_time_window(window.clone())
                    .target(target.clone())
                    .send()
            })
            .await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let (group, name) = parts(&known.id);
        let call = || aws.scheduler.delete_schedule().group_name(group).name(name).send();
        gone_is_fine(aws.calls.write("scheduler:DeleteSchedule", call).await.map(|_| ()))
    }
}

/// Group and name of an id (`GROUP/NAME`).
fn parts(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("default", id))
}

fn predict(attributes: &Attributes, scope: &Scope) -> Attributes {
    let known = |name: &str| attributes.get(name).filter(|value| !template::is_unknown(value)).and_then(Value::as_str);
    let (Some(account), Some(group), Some(name)) = (&scope.account, known("group"), known("name")) else {
        return Attributes::new();
    };
    let arn = format!("arn:{}:scheduler:{}:{account}:schedule/{group}/{name}", scope.partition, scope.region);
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

async fn get(aws: &Aws, group: &str, name: &str) -> Result<Option<GetScheduleOutput>, CloudError> {
    let call = || aws.scheduler.get_schedule().group_name(group).name(name).send();
    match aws.calls.read("scheduler:GetSchedule", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        found => found.map(Some),
    }
}

fn state(schedule: &Schedule) -> ScheduleState {
    if schedule.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
}

fn window(schedule: &Schedule) -> Result<FlexibleTimeWindow, BuildError> {
    match schedule.flexible_minutes {
        Some(minutes) => FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Flexible)
            .maximum_window_in_minutes(minutes)
            .build(),
        None => FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build(),
    }
}

fn target(schedule: &Schedule) -> Result<Target, BuildError> {
    let shares = schedule
        .capacity
        .iter()
        .map(|share| {
            CapacityProviderStrategyItem::builder()
                .capacity_provider(&share.provider)
                .weight(share.weight)
                .base(share.base)
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let network = schedule
        .network
        .as_ref()
        .map(|network| {
            let groups: Vec<String> = network.security_groups.iter().cloned().collect();
            let interface = AwsVpcConfiguration::builder()
                .set_subnets(Some(network.subnets.iter().cloned().collect()))
                .set_security_groups((!groups.is_empty()).then_some(groups))
                .assign_public_ip(if network.public_ip { AssignPublicIp::Enabled } else { AssignPublicIp::Disabled })
                .build()?;
            Ok::<_, BuildError>(NetworkConfiguration::builder().awsvpc_configuration(interface).build())
        })
        .transpose()?;
    let ecs = EcsParameters::builder()
        .task_definition_arn(&schedule.task_definition)
        .task_count(schedule.count)
        .set_launch_type(schedule.launch_type.map(|of| match of {
            LaunchType::Ec2 => SchedulerLaunchType::Ec2,
            LaunchType::Fargate => SchedulerLaunchType::Fargate,
            LaunchType::External => SchedulerLaunchType::External,
        }))
        .set_capacity_provider_strategy((!shares.is_empty()).then_some(shares))
        .set_platform_version(schedule.platform_version.clone())
        .set_network_configuration(network)
        .propagate_tags(SchedulerPropagateTags::TaskDefinition)
        .build()?;
    Target::builder()
        .arn(&schedule.cluster)
        .role_arn(&schedule.role)
        .ecs_parameters(ecs)
        .set_input(schedule.overrides.as_ref().map(|document| document.as_str().to_owned()))
        .retry_policy(RetryPolicy::builder().maximum_retry_attempts(schedule.retries).build())
        .set_dead_letter_config(schedule.dead_letters.as_ref().map(|arn| DeadLetterConfig::builder().arn(arn).build()))
        .build()
}

fn observe(found: &GetScheduleOutput, known: &Attributes) -> Observed {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let target = found.target();
    let ecs = target.and_then(|target| target.ecs_parameters());
    let interface = ecs.and_then(|ecs| ecs.network_configuration()).and_then(|one| one.awsvpc_configuration());
    let network = interface.map(|one| Network {
        subnets: one.subnets().iter().cloned().collect(),
        security_groups: one.security_groups().iter().cloned().collect(),
        public_ip: one.assign_public_ip() == Some(&AssignPublicIp::Enabled),
    });
    let launch_type = ecs.and_then(|ecs| ecs.launch_type()).and_then(|of| match of {
        SchedulerLaunchType::Ec2 => Some(LaunchType::Ec2),
        SchedulerLaunchType::Fargate => Some(LaunchType::Fargate),
        SchedulerLaunchType::External => Some(LaunchType::External),
        _ => None,
    });
    let capacity: BTreeSet<Share> = ecs
        .map(|ecs| ecs.capacity_provider_strategy())
        .unwrap_or_default()
        .iter()
        .map(|item| Share { provider: item.capacity_provider().to_owned(), weight: item.weight(), base: item.base() })
        .collect();
    let group = given(found.group_name()).unwrap_or_else(default_group);
    let name = found.name().unwrap_or_default().to_owned();
    let retries = target.and_then(|target| target.retry_policy()).and_then(|one| one.maximum_retry_attempts());
    let schedule = Schedule {
        name: name.clone(),
        group: group.clone(),
        at: found.schedule_expression().unwrap_or_default().to_owned(),
        timezone: given(found.schedule_expression_timezone()).unwrap_or_else(utc),
        enabled: found.state() != Some(&ScheduleState::Disabled),
        flexible_minutes: found.flexible_time_window().and_then(|one| one.maximum_window_in_minutes()),
        cluster: target.map(|target| target.arn().to_owned()).unwrap_or_default(),
        task_definition: ecs.map(|ecs| ecs.task_definition_arn().to_owned()).unwrap_or_default(),
        role: target.map(|target| target.role_arn().to_owned()).unwrap_or_default(),
        count: ecs.and_then(|ecs| ecs.task_count()).unwrap_or(1),
        launch_type,
        capacity,
        platform_version: given(ecs.and_then(|ecs| ecs.platform_version())),
        network,
        overrides: target.and_then(|target| target.input()).map(JsonDocument::new),
        retries: retries.unwrap_or_else(most_retries),
        dead_letters: given(target.and_then(|target| target.dead_letter_config()).and_then(|one| one.arn())),
    };
    let mut attributes = super::untyped(&schedule);
    // What it once had and has no more is told as nothing.
    for gone in known.keys().filter(|name| !attributes.contains_key(*name)).cloned().collect::<Vec<_>>() {
        attributes.insert(gone, Value::Null);
    }
    let id = format!("{group}/{name}");
    let outputs = Attributes::from_iter([("id".to_owned(), json!(id)), ("arn".to_owned(), json!(found.arn()))]);
    Observed { id, attributes, outputs }
}
