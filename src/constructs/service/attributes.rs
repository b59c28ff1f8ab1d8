//! What a stack says of a service.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::constructs::below::{list_or_reference, set_or_reference};
use crate::graph::Attributes;
use crate::kinds::document::PolicyDocument;
use crate::kinds::ecs_service::Deployment;
use crate::kinds::target_group::{HealthCheck as TargetCheck, Stickiness};
use crate::kinds::task_definition::container::{
    Condition, Container, HealthCheck, Linux, Mount, Protocol, Ulimit, Word,
};
use crate::kinds::task_definition::volume::Volume;
use crate::kinds::task_definition::{Architecture, Network as Mode};
use crate::kinds::{Tags, scaling_target, trust};

/// A container that is kept running, or started by the clock: its task definition, roles that allow what it uses, its
/// log group, its security group, and its way through a load balancer, into DNS and to scaling.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The cluster: `"main"`.
    #[schemars(extend("x-reference" = "cluster.name"))]
    pub cluster: String,
    /// The capacity whose instances run it: `"main"`.
    #[schemars(extend("x-reference" = "capacity_provider.name"))]
    pub capacity: Option<String>,
    /// Runs it on Fargate. Without it and `capacity`: on the instances that the stack gives the cluster, by the cluster's
    /// default; on Fargate, where it gives it none.
    pub launch: Option<Launch>,
    /// Its image: `"nginx:1.29"`, `"${repository.web.url}:v1"`.
    pub image: String,
    /// CPU units, 1024 to a core. Without it: 256 on Fargate; on instances what the others leave.
    pub cpu: Option<u32>,
    /// MiB of memory. Without it: 512; on Fargate the least that goes with `cpu`.
    pub memory: Option<u32>,
    /// The processor that the image is built for. Without it: x86_64 on Fargate, elsewhere what the instance has.
    pub architecture: Option<Architecture>,
    /// GiB of scratch space on Fargate, 21 to 200. Without it: 20.
    pub ephemeral_storage_gib: Option<u32>,
    /// The port that it listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The protocol of the port.
    #[serde(default)]
    pub protocol: Protocol,
    /// What it runs, in place of the image's entry point.
    #[serde(default)]
    pub entry_point: Vec<String>,
    /// The arguments, in place of the image's command.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment variables. No place for secrets.
    #[serde(default)]
    pub environment: BTreeMap<String, Word>,
    /// Environment variables that ECS fetches when it starts the container: `{ PASSWORD = "parameter.password" }`. A
    /// parameter or secret of the stack by its address, `"secret.login:user"` for one key of a secret, the path of a
    /// parameter, an ARN, or a reference. The execution role may read these and no others.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// The folder that it starts in.
    pub working_directory: Option<String>,
    /// The user it runs as: a name or number, with `:group` or without.
    pub user: Option<String>,
    /// Whether it cannot write to its own file system.
    #[serde(default)]
    pub read_only: bool,
    /// How ECS finds out whether it is healthy.
    pub health_check: Option<HealthCheck>,
    /// What sidecars have to be before it is started: `{ migrate = "success" }`.
    #[serde(default)]
    pub starts_after: BTreeMap<String, Condition>,
    /// Seconds between the request to stop and being killed. Without it: 30.
    pub stop_timeout_seconds: Option<u32>,
    /// Limits of the kernel, by name.
    #[serde(default)]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// What Linux allows it.
    pub linux: Option<Linux>,
    /// Volumes that it sees.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Volumes of the task, by name.
    #[serde(default)]
    pub volumes: BTreeMap<String, Volume>,
    /// Containers beside it, by name, as in `task_definition`. Their logs go where its own go.
    #[serde(default)]
    pub sidecars: BTreeMap<String, Container>,
    /// How many tasks there are. Without it and `scale`: one.
    pub count: Option<u32>,
    /// Between which bounds the number of tasks is scaled, and by what.
    pub scale: Option<Scale>,
    /// Starts tasks by the clock, `"cron(0 3 * * ? *)"`, instead of keeping them running.
    pub schedule: Option<When>,
    /// The network that tasks are in; the only one of the stack unless given.
    pub network: Option<String>,
    /// The tier of the network's subnets that tasks are in.
    #[serde(default = "private")]
    pub tier: String,
    /// The VPC, where it does not come from a `network`.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: Option<String>,
    /// The subnets, where they are not those of the tier.
    #[schemars(extend("x-reference" = "subnet.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    pub subnets: Option<Vec<String>>,
    /// How tasks are on the network: `"awsvpc"`, each with an address and a security group of its own, or `"bridge"`,
    /// many behind an instance's address. Without it: `"bridge"` on instances; on Fargate there is no other than
    /// `"awsvpc"`.
    pub mode: Option<Mode>,
    /// Whether tasks get public addresses, for subnets without a NAT gateway.
    #[serde(default)]
    pub public_ip: bool,
    /// Security groups beside the one that is made.
    #[schemars(extend("x-reference" = "security_group.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    pub security_groups: Option<Vec<String>>,
    /// Who may reach the port besides the load balancer: services and security groups of the stack, ids, address
    /// ranges.
    #[schemars(extend("x-reference" = "security_group.id"))]
    #[serde(default, deserialize_with = "set_or_reference")]
    pub from: BTreeSet<String>,
    /// Where tasks may go, as rules of `security_group`. Without it: everywhere.
    pub egress: Option<Vec<Attributes>>,
    /// How it is reached through a load balancer. Without it: not at all.
    pub expose: Option<Expose>,
    /// Under which name it is found: `true` for its own in the only namespace of the stack, the name of a namespace, or
    /// both.
    pub discover: Option<Discover>,
    /// Whether and how its output is kept.
    #[serde(default)]
    pub logs: Logs,
    /// Whether ECS Exec opens sessions in its containers.
    #[serde(default)]
    pub exec: bool,
    /// What its own code may do: policies for the task role, as in `role`.
    #[schemars(with = "BTreeMap<String, PolicyDocument>")]
    #[schemars(extend("x-files" = "json"))]
    #[serde(default)]
    pub policies: BTreeMap<String, Value>,
    /// Managed policies for the task role: of the stack, or AWS's own by name.
    #[serde(default)]
    pub managed_policies: Vec<String>,
    /// The role that its code acts as, instead of one that is made.
    #[schemars(extend("x-reference" = "role.arn"))]
    pub task_role: Option<String>,
    /// The role that ECS acts as to start it, instead of one that is made.
    #[schemars(extend("x-reference" = "role.arn"))]
    pub execution_role: Option<String>,
    /// How tasks are replaced by those of a new revision.
    pub deployment: Option<Deployment>,
    /// Seconds from a task's start in which the load balancer's health checks do not count.
    pub health_check_grace_seconds: Option<i32>,
    /// Tags for all that the service consists of; its tasks get them, too.
    #[serde(default)]
    pub tags: Tags,
}

/// What runs tasks without instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Launch {
    /// Fargate.
    Fargate,
    /// Fargate's spare capacity: cheaper, and taken back at two minutes' notice.
    FargateSpot,
}

/// Between which bounds the number of tasks is scaled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The fewest tasks.
    pub min: u32,
    /// The most tasks.
    pub max: u32,
    /// The average CPU of the tasks that is aimed at, in percent.
    pub cpu: Option<f64>,
    /// The average memory of the tasks that is aimed at, in percent.
    pub memory: Option<f64>,
    /// The requests a minute for each task that are aimed at.
    pub requests: Option<f64>,
    /// Seconds between one growth and the next. Without it: 300.
    pub grow_seconds: Option<u32>,
    /// Seconds between one shrinking and the next. Without it: 300.
    pub shrink_seconds: Option<u32>,
    /// Other bounds from certain times on, by name, as in `scaling_target`.
    #[serde(default)]
    pub schedules: BTreeMap<String, scaling_target::Schedule>,
}

/// When tasks are started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum When {
    /// At this time: `"rate(1 hour)"`.
    At(String),
    /// As these settings say.
    Settings(WhenSettings),
}

/// When and how tasks are started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhenSettings {
    /// When: `"cron(0 3 * * ? *)"`, `"rate(1 hour)"` or `"at(2030-01-01T00:00:00)"`.
    pub at: String,
    /// The time zone of `at`: `"Europe/London"`; UTC unless given.
    pub timezone: Option<String>,
    /// Whether anything is started; yes unless given.
    pub enabled: Option<bool>,
    /// Minutes within which the start may be put off, 1 to 1440. Without it: at once.
    pub flexible_minutes: Option<i32>,
    /// How often a start that failed is tried again, 0 to 185. Without it: 185.
    pub retries: Option<i32>,
    /// The queue that starts are put in that failed for good, by ARN.
    pub dead_letters: Option<String>,
}

/// How a service is reached through a load balancer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expose {
    /// The listener whose requests it gets, by rule; the only one of the stack that does not just redirect, unless given.
    #[schemars(extend("x-reference" = "listener.arn"))]
    pub listener: Option<String>,
    /// The load balancer that it has a port of its own on, instead of a rule: for network load balancers.
    #[schemars(extend("x-reference" = "load_balancer.arn"))]
    pub load_balancer: Option<String>,
    /// That port. Without it: 443 with a certificate; else 80 on application load balancers, and the service's own on
    /// network load balancers.
    pub port: Option<u16>,
    /// The certificate of that port, which is then encrypted.
    #[schemars(extend("x-reference" = "certificate.arn"))]
    pub certificate: Option<String>,
    /// The hosts that are asked, one or several: `"www.example.com"`. Without any: all.
    #[serde(deserialize_with = "trust::one_or_many")]
    #[schemars(schema_with = "trust::one_or_many_schema")]
    pub host: BTreeSet<String>,
    /// The paths that are asked for, one or several: `"/api/*"`. Without any: all.
    #[serde(deserialize_with = "trust::one_or_many")]
    #[schemars(schema_with = "trust::one_or_many_schema")]
    pub path: BTreeSet<String>,
    /// Its place among the rules of the listener, 1 to 50000. Without it, it follows from host and path: hosts before paths,
    /// long ones before short ones.
    pub priority: Option<i32>,
    /// How the load balancer finds out which tasks are healthy.
    pub health: Option<TargetCheck>,
    /// Seconds that requests under way have when a task goes.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(default = "thirty")]
    pub deregistration_delay_seconds: u32,
    /// Whether a client stays with its task.
    pub stickiness: Option<Stickiness>,
}

/// Under which name a service is found.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Discover {
    /// Under its own, in the only namespace of the stack; or not at all.
    Switch(bool),
    /// Under its own, in this namespace.
    Namespace(String),
    /// As these settings say.
    Settings(DiscoverSettings),
}

/// A name and where it stands.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverSettings {
    /// The namespace; the only one of the stack unless given.
    #[schemars(extend("x-reference" = "namespace.id"))]
    pub namespace: Option<String>,
    /// The name; the service's own unless given.
    pub name: Option<String>,
    /// Seconds that answers may be kept; 10 unless given.
    pub ttl: Option<u32>,
}

/// Whether and how output is kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Logs {
    /// In a log group of its own, for 30 days; or not at all.
    Switch(bool),
    /// As these settings say.
    Settings(LogSettings),
}

impl Default for Logs {
    fn default() -> Self {
        Self::Switch(true)
    }
}

/// How output is kept.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Days that it is kept; 30 unless given.
    pub retention_days: Option<u32>,
    /// The log group, instead of one that is made.
    #[schemars(extend("x-reference" = "log_group.name"))]
    pub group: Option<String>,
    /// The ARN of the KMS key that encrypts the group that is made.
    pub kms_key: Option<String>,
}

fn private() -> String {
    "private".to_owned()
}

fn thirty() -> u32 {
    30
}

impl When {
    /// When and how, in full.
    pub fn settings(&self) -> WhenSettings {
        match self {
            Self::Settings(settings) => settings.clone(),
            Self::At(at) => WhenSettings {
                at: at.clone(),
                timezone: None,
                enabled: None,
                flexible_minutes: None,
                retries: None,
                dead_letters: None,
            },
        }
    }
}
