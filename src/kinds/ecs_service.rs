//! `ecs_service`: tasks of one definition, kept running.

mod check;
mod deployment;
mod health;
mod observe;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ecs::types::{Service, ServiceField};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster_capacity::Share;
use super::{Actions, During, Kind, Tags, Taking, ecs, gone_is_fine, in_order, is_own, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope, template};

pub use deployment::Started as Deployments;
pub use health::{Target, targets};

/// Tasks of one definition, kept running, and reached through load balancers and names. It is ready when its deployment
/// is completed: this one, on this task definition. A deployment that fails or is rolled back is an error with its
/// reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EcsService {
    /// Its name, unique in the cluster. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// The cluster, by name.
    #[schemars(extend("x-reference" = "cluster.name"))]
    pub cluster: String,
    /// What its tasks are: a revision.
    #[schemars(extend("x-reference" = "task_definition.arn"))]
    pub task_definition: String,
    /// How many tasks there are. Without it: one at first, and then as many as somebody says, such as a scaling policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// Where `count` is left out: how many tasks there are at first, and at least when this is changed. Give it what the
    /// scaling target has as `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<i32>,
    /// How many tasks there are, and where.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// What its tasks run on. Without it and `capacity`: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<LaunchType>,
    /// How its tasks are spread over capacity providers: `[{ provider = "FARGATE_SPOT" }]`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capacity: BTreeSet<Share>,
    /// The version of Fargate. Without it: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Where its tasks are on the network; for tasks of network `"awsvpc"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The target groups that its tasks are registered in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub load_balancers: BTreeSet<LoadBalancer>,
    /// The discovery services that its tasks are registered in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub registries: BTreeSet<Registry>,
    /// How tasks are replaced by those of a new revision.
    #[serde(default)]
    pub deployment: Deployment,
    /// Seconds from a task's start in which the load balancer's health checks do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_grace_seconds: Option<i32>,
    /// Whether ECS Exec opens sessions in its containers. The task role must allow it.
    #[serde(default)]
    pub exec: bool,
    /// By what tasks are spread over instances, the first before the second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement: Vec<Placement>,
    /// What instances must be like: expressions of the cluster query language, or `"distinct"` for one task an instance.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub constraints: BTreeSet<String>,
    /// Whether tasks are moved where zones have become unequal. Without it AWS decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_rebalancing: Option<bool>,
    /// Names under which services of one namespace reach each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_connect: Option<ServiceConnect>,
    /// Whose tags its tasks get.
    #[serde(default)]
    pub propagate_tags: PropagateTags,
    /// Whether its tasks are tagged with cluster and service, for cost reports.
    #[serde(default = "yes")]
    pub managed_tags: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// How many tasks there are, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduling {
    /// As many as are asked for.
    #[default]
    Replica,
    /// One on each instance.
    Daemon,
}

/// What tasks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchType {
    /// Instances of the cluster.
    Ec2,
    /// Fargate.
    Fargate,
    /// Registered machines outside of AWS.
    External,
}

/// Where tasks are on the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The subnets.
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnets: BTreeSet<String>,
    /// The security groups. Without any: the VPC's default group.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub security_groups: BTreeSet<String>,
    /// Whether tasks get public addresses.
    #[serde(default)]
    pub public_ip: bool,
}

/// A target group that tasks are registered in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// The target group. The service waits until a listener or a rule sends something there.
    #[schemars(extend("x-reference" = "target_group.arn"))]
    pub target_group: String,
    /// The container that listens.
    pub container: String,
    /// The port that it listens on.
    pub port: u16,
    /// The other target group of a blue/green deployment, and what switches between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternate: Option<Alternate>,
}

/// What a blue/green deployment switches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternate {
    /// The other target group.
    #[schemars(extend("x-reference" = "target_group.arn"))]
    pub target_group: String,
    /// The rule that production traffic follows.
    #[schemars(extend("x-reference" = "listener_rule.arn"))]
    pub rule: String,
    /// The rule that test traffic follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "listener_rule.arn"))]
    pub test_rule: Option<String>,
    /// The role that ECS acts as to switch.
    #[schemars(extend("x-reference" = "role.arn"))]
    pub role: String,
}

/// A discovery service that tasks are registered in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The discovery service.
    #[schemars(extend("x-reference" = "discovery_service.arn"))]
    pub service: String,
    /// The container whose port is registered, for SRV records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// That port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// How tasks are replaced by those of a new revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deployment {
    /// The fewest tasks that run meanwhile, in percent. Without it: 100, and 0 for daemons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_percent: Option<i32>,
    /// The most tasks that run meanwhile, in percent. Without it: 200, and 100 for daemons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_percent: Option<i32>,
    /// Whether a deployment whose tasks do not start is given up, and what becomes of it then.
    pub circuit_breaker: CircuitBreaker,
    /// CloudWatch alarms, by name, that end a deployment.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub alarms: BTreeSet<String>,
    /// How traffic moves.
    pub strategy: Strategy,
    /// Minutes that both revisions run after traffic has moved, for blue/green.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_minutes: Option<i32>,
}

/// Whether a deployment whose tasks do not start is given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitBreaker {
    /// It is, and the last one that worked is put back.
    #[default]
    Rollback,
    /// It is, and left as it is.
    Stop,
    /// It goes on for ever.
    Off,
}

/// How traffic moves from the old revision to the new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Task by task.
    #[default]
    Rolling,
    /// All at once, when all new tasks are healthy.
    BlueGreen,
}

/// By what tasks are spread over instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// How.
    pub r#type: PlacementType,
    /// By what: `"attribute:ecs.availability-zone"`, `"instanceId"`; `"cpu"` or `"memory"` for binpack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// How tasks are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementType {
    /// Evenly.
    Spread,
    /// On as few instances as possible.
    Binpack,
    /// At random.
    Random,
}

/// Names under which services of one namespace reach each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConnect {
    /// The namespace, by ARN. Without it: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "namespace.arn"))]
    pub namespace: Option<String>,
    /// What it offers, by the names of ports. Nothing: it only reaches others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub offers: BTreeMap<String, Offer>,
}

/// What a service offers on a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Offer {
    /// Its name in Cloud Map. Without it: the port's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_name: Option<String>,
    /// The port under which clients reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The name under which clients reach it. Without it: discovery name and namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
}

/// Whose tags tasks get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PropagateTags {
    /// The service's.
    #[default]
    Service,
    /// The task definition's.
    TaskDefinition,
    /// None.
    None,
}

fn yes() -> bool {
    true
}

impl EcsService {
    /// AWS's defaults filled in ("DeploymentConfiguration").
    fn normalize(&mut self) {
        let (min, max) = match self.scheduling {
            Scheduling::Replica => (100, 200),
            Scheduling::Daemon => (0, 100),
        };
        self.deployment.min_percent.get_or_insert(min);
        self.deployment.max_percent.get_or_insert(max);
    }
}

/// The canonical form: as [`super::canonical`], with the defaults that follow from something else.
fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut service: EcsService =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    service.normalize();
    Ok(super::untyped(&service))
}

/// How many services one describe call takes ("DescribeServices").
const PER_CALL: usize = 10;

/// The kind `ecs_service`.
#[derive(Default)]
pub struct EcsServiceKind {
    deployments: deployment::Started,
}

#[async_trait]
impl Kind for EcsServiceKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "cluster", "scheduling", "launch_type"],
            rebuilt_around: &["subnet"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            holdable: &["task_definition", "count"],
            // It acts on the count, which is read.
            write_only: &["min_count"],
            identity: Identity::UniqueName,
            // "CreateService" refuses a target group without a load balancer, and a task that no rule sends anything to is
            // never found healthy.
            after_users: &[("target_group", &["listener", "listener_rule"])],
            // A blue/green deployment switches between the groups of a rule. Which groups these are is the stack's: ECS finds
            // them there.
            takes_over: &[
                ("load_balancers.*.alternate.rule", "action.forward.*.weight"),
                ("load_balancers.*.alternate.test_rule", "action.forward.*.weight"),
            ],
            naming: Some(Naming { attribute: "name", longest: ecs::LONGEST_NAME }),
            name_within: &["cluster"],
            canonical,
            check: check::check,
            predict,
            goes_on_by_itself: true,
            typical_seconds: 90,
            ..spec::<EcsService>("ecs_service", "service")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "ecs:DescribeServices",
                "ecs:ListTasks",
                "ecs:DescribeTasks",
                "ecs:ListClusters",
                "ecs:ListServices",
                "ecs:DescribeTaskDefinition",
                "elasticloadbalancing:DescribeTargetHealth",
                "logs:GetLogEvents",
            ],
            create: &[
                "ecs:CreateService",
                "ecs:TagResource",
                "iam:CreateServiceLinkedRole",
                "iam:PassRole",
                "ecs:DescribeServices",
                "ecs:ListTasks",
                "ecs:DescribeTasks",
                "ecs:DescribeTaskDefinition",
                "elasticloadbalancing:DescribeTargetHealth",
                "logs:GetLogEvents",
            ],
            update: &[
                "ecs:UpdateService",
                "ecs:TagResource",
                "ecs:UntagResource",
                "iam:PassRole",
                "ecs:DescribeServices",
                "ecs:ListTasks",
                "ecs:DescribeTasks",
                "ecs:DescribeTaskDefinition",
                "elasticloadbalancing:DescribeTargetHealth",
                "logs:GetLogEvents",
            ],
            delete: &["ecs:UpdateService", "ecs:DeleteService", "ecs:DescribeServices"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        let daemon = text(taking.before, "scheduling") == "daemon";
        // The role that ECS acts as to switch between target groups is the only one that a service is given.
        let balanced = taking.after.get("load_balancers").and_then(Value::as_array);
        let switches = balanced.into_iter().flatten().any(|one| one.get("alternate").is_some());
        match call {
            "ecs:UpdateService" => taking.changes_besides(&["tags"]) || taking.during == During::Delete && !daemon,
            "iam:PassRole" => switches && (taking.creates() || taking.changes(&["load_balancers"])),
            "elasticloadbalancing:DescribeTargetHealth" => {
                taking.during != During::Read && taking.has("load_balancers")
            }
            // What becomes of a deployment is of no interest to a refresh.
            "ecs:ListTasks" | "ecs:DescribeTasks" | "ecs:DescribeTaskDefinition" | "logs:GetLogEvents" => {
                taking.during != During::Read
            }
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut by_cluster: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for known in wanted {
            by_cluster.entry(cluster_of(&known.id)).or_default().push(known.id.clone());
        }
        let mut found = Vec::with_capacity(wanted.len());
        for (cluster, ids) in by_cluster {
            found.extend(describe(aws, cluster, &ids).await?.iter().filter(|one| is_active(one)).map(observe::observe));
        }
        let mut observed = in_order(wanted, found);
        for (known, observed) in wanted.iter().zip(&mut observed) {
            if let Some(observed) = observed {
                observe::in_the_words_of(&known.attributes, &mut observed.attributes);
            }
        }
        Ok(observed)
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let mut found = Vec::new();
        for cluster in ecs::cluster_names(aws).await? {
            let arns = listed(aws, &cluster).await?;
            found.extend(
                describe(aws, &cluster, &arns).await?.iter().filter(|one| is_active(one)).map(observe::observe),
            );
        }
        Ok(owned::of_observed(&aws.scope, found.into_iter()))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = describe(aws, text(wanted, "cluster"), &[text(wanted, "name").to_owned()]).await?;
        let own = found.iter().filter(|one| is_active(one)).map(observe::observe);
        Ok(own.into_iter().find(|observed| is_own(observed, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let service: EcsService = typed(&request.attributes)?;
        let call = request::create(aws, &service, &request.token)?.set_tags(Some(ecs::new_tags(request)));
        let answer = aws.calls.create("ecs:CreateService", || call.clone().send()).await?;
        let made = answer.service.ok_or_else(|| CloudError::unexpected("ecs:CreateService", "no service came back"))?;
        self.deployments.note(&made);
        let made = observe::observe(&made);
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let service: EcsService = typed(&request.after)?;
        if let Some(call) = request::update(aws, &service, request, raised(aws, &service, request).await?)? {
            let answer = aws.calls.write("ecs:UpdateService", || call.clone().send()).await?;
            if let Some(changed) = &answer.service {
                self.deployments.note(changed);
            }
        }
        ecs::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let cluster = cluster_of(&known.id);
        if text(&known.attributes, "scheduling") != "daemon" {
            let call = || aws.ecs.update_service().cluster(cluster).service(&known.id).desired_count(0).send();
            match aws.calls.write("ecs:UpdateService", call).await {
                // One that is draining or gone has no count any more.
                Err(error) if error.is(ErrorClass::NotFound) => return Ok(()),
                other => other.map(|_| ())?,
            }
        }
        // `force`: also while tasks have not stopped yet.
        let call = || aws.ecs.delete_service().cluster(cluster).service(&known.id).force(true).send();
        gone_is_fine(aws.calls.write("ecs:DeleteService", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = describe(aws, cluster_of(&known.id), std::slice::from_ref(&known.id)).await?;
        match (phase, found.first()) {
            (Phase::Deleted, service) => Ok(match service.and_then(Service::status) {
                // "DeleteService": from ACTIVE by way of DRAINING, while tasks stop, to INACTIVE.
                None | Some("INACTIVE") => Progress::Done(Attributes::new()),
                Some(status) => Progress::Pending(draining(status, service)),
            }),
            (_, None) => Ok(Progress::Pending("the service to be visible".into())),
            (_, Some(service)) => self.deployments.progress(aws, service, known).await,
        }
    }
}

/// The count that an update raises the service to: what it has at least from now on, where it has fewer. It is never
/// lowered, for how many there are is for others to say.
async fn raised(aws: &Aws, service: &EcsService, request: &UpdateRequest) -> Result<Option<i32>, CloudError> {
    let (None, Some(least)) = (service.count, service.min_count) else { return Ok(None) };
    if !request.changed.contains("min_count") {
        return Ok(None);
    }
    let found = describe(aws, cluster_of(&request.id), std::slice::from_ref(&request.id)).await?;
    Ok(found.first().is_some_and(|found| found.desired_count() < least).then_some(least))
}

fn draining(status: &str, service: Option<&Service>) -> String {
    let running = service.map_or(0, |service| service.running_count() + service.pending_count());
    format!("{}: {running} tasks are still to stop", status.to_ascii_lowercase())
}

fn predict(attributes: &Attributes, scope: &Scope) -> Attributes {
    let known = |name: &str| attributes.get(name).filter(|value| !template::is_unknown(value)).and_then(Value::as_str);
    let (Some(account), Some(cluster), Some(name)) = (&scope.account, known("cluster"), known("name")) else {
        return Attributes::new();
    };
    // A cluster may be given by its ARN.
    let cluster = cluster.rsplit('/').next().unwrap_or(cluster);
    let arn = format!("arn:{}:ecs:{}:{account}:service/{cluster}/{name}", scope.partition, scope.region);
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

/// The name of the cluster in a service's ARN (`arn:…:service/CLUSTER/NAME`).
fn cluster_of(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or_default()
}

fn is_active(service: &Service) -> bool {
    service.status() == Some("ACTIVE")
}

/// The services of one cluster, by ARN.
async fn listed(aws: &Aws, cluster: &str) -> Result<Vec<String>, CloudError> {
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let call = || aws.ecs.list_services().cluster(cluster).max_results(100).set_next_token(next.clone()).send();
        let page = match aws.calls.read("ecs:ListServices", call).await {
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
            page => page?,
        };
        found.extend(page.service_arns.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Services of one cluster, as many a call as the API takes; those that are drained or being drained among them.
async fn describe(aws: &Aws, cluster: &str, services: &[String]) -> Result<Vec<Service>, CloudError> {
    let mut found = Vec::new();
    for some in services.chunks(PER_CALL) {
        let answer = aws
            .calls
            .read("ecs:DescribeServices", || {
                aws.ecs
                    .describe_services()
                    .cluster(cluster)
                    .set_services(Some(some.to_vec()))
                    .include(ServiceField::Tags)
                    .send()
            })
            .await;
        match answer {
            // With its cluster a service is gone, too.
            Err(error) if error.is(ErrorClass::NotFound) => {}
            answer => found.extend(answer?.services.unwrap_or_default()),
        }
    }
    Ok(found)
}
