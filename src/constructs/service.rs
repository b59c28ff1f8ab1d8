//! `service`: a container that is kept running, or started by the clock, with all that it needs.

mod checks;
mod exposure;
mod rights;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::checks::{Chosen, Ground};
use self::exposure::Exposure;
use super::below::{Below, MAIN, cluster_arn, given, list_or_reference, named, reference, typed};
use super::{Construct, Expansion, Input, providers};
use crate::graph::{Address, Attributes, Problem};
use crate::kinds::document::PolicyDocument;
use crate::kinds::ecs_service::Deployment;
use crate::kinds::target_group::{HealthCheck as TargetCheck, Stickiness};
use crate::kinds::task_definition::container::{
    Condition, Container, HealthCheck, Linux, Mount, Port, Protocol, Ulimit, Word,
};
use crate::kinds::task_definition::volume::Volume;
use crate::kinds::task_definition::{Architecture, Network as Mode};
use crate::kinds::{Tags, scaling_target, trust};

pub use self::exposure::ways_to_instances;

/// A container that is kept running, or started by the clock: its task definition, roles that allow what it uses, its
/// log group, its security group, and its way through a load balancer, into DNS and to scaling.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    /// The cluster: `"main"`.
    #[schemars(extend("x-reference" = "cluster.name"))]
    cluster: String,
    /// The capacity whose instances run it: `"main"`.
    #[schemars(extend("x-reference" = "capacity_provider.name"))]
    capacity: Option<String>,
    /// Runs it on Fargate. Without it and `capacity`: on the instances that the stack gives the cluster, by the cluster's
    /// default; on Fargate, where it gives it none.
    launch: Option<Launch>,
    /// Its image: `"nginx:1.29"`, `"${repository.web.url}:v1"`.
    image: String,
    /// CPU units, 1024 to a core. Without it: 256 on Fargate; on instances what the others leave.
    cpu: Option<u32>,
    /// MiB of memory. Without it: 512; on Fargate the least that goes with `cpu`.
    memory: Option<u32>,
    /// The processor that the image is built for. Without it: x86_64 on Fargate, elsewhere what the instance has.
    architecture: Option<Architecture>,
    /// GiB of scratch space on Fargate, 21 to 200. Without it: 20.
    ephemeral_storage_gib: Option<u32>,
    /// The port that it listens on.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// The protocol of the port.
    #[serde(default)]
    protocol: Protocol,
    /// What it runs, in place of the image's entry point.
    #[serde(default)]
    entry_point: Vec<String>,
    /// The arguments, in place of the image's command.
    #[serde(default)]
    command: Vec<String>,
    /// Environment variables. No place for secrets.
    #[serde(default)]
    environment: BTreeMap<String, Word>,
    /// Environment variables that ECS fetches when it starts the container: `{ PASSWORD = "parameter.password" }`. A
    /// parameter or secret of the stack by its address, `"secret.login:user"` for one key of a secret, the path of a
    /// parameter, an ARN, or a reference. The execution role may read these and no others.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// The folder that it starts in.
    working_directory: Option<String>,
    /// The user it runs as: a name or number, with `:group` or without.
    user: Option<String>,
    /// Whether it cannot write to its own file system.
    #[serde(default)]
    read_only: bool,
    /// How ECS finds out whether it is healthy.
    health_check: Option<HealthCheck>,
    /// What sidecars have to be before it is started: `{ migrate = "success" }`.
    #[serde(default)]
    starts_after: BTreeMap<String, Condition>,
    /// Seconds between the request to stop and being killed. Without it: 30.
    stop_timeout_seconds: Option<u32>,
    /// Limits of the kernel, by name.
    #[serde(default)]
    ulimits: BTreeMap<String, Ulimit>,
    /// What Linux allows it.
    linux: Option<Linux>,
    /// Volumes that it sees.
    #[serde(default)]
    mounts: Vec<Mount>,
    /// Volumes of the task, by name.
    #[serde(default)]
    volumes: BTreeMap<String, Volume>,
    /// Containers beside it, by name, as in `task_definition`. Their logs go where its own go.
    #[serde(default)]
    sidecars: BTreeMap<String, Container>,
    /// How many tasks there are. Without it and `scale`: one.
    count: Option<u32>,
    /// Between which bounds the number of tasks is scaled, and by what.
    scale: Option<Scale>,
    /// Starts tasks by the clock, `"cron(0 3 * * ? *)"`, instead of keeping them running.
    schedule: Option<When>,
    /// The network that tasks are in; the only one of the stack unless given.
    network: Option<String>,
    /// The tier of the network's subnets that tasks are in.
    #[serde(default = "private")]
    tier: String,
    /// The VPC, where it does not come from a `network`.
    #[schemars(extend("x-reference" = "vpc.id"))]
    vpc: Option<String>,
    /// The subnets, where they are not those of the tier.
    #[schemars(extend("x-reference" = "subnet.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    subnets: Option<Vec<String>>,
    /// How tasks are on the network: `"awsvpc"`, each with an address and a security group of its own, or `"bridge"`,
    /// many behind an instance's address. Without it: `"bridge"` on instances; on Fargate there is no other than
    /// `"awsvpc"`.
    mode: Option<Mode>,
    /// Whether tasks get public addresses, for subnets without a NAT gateway.
    #[serde(default)]
    public_ip: bool,
    /// Security groups beside the one that is made.
    #[schemars(extend("x-reference" = "security_group.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    security_groups: Option<Vec<String>>,
    /// Who may reach the port besides the load balancer: services and security groups of the stack, ids, address
    /// ranges.
    #[schemars(extend("x-reference" = "security_group.id"))]
    #[serde(default)]
    from: BTreeSet<String>,
    /// Where tasks may go, as rules of `security_group`. Without it: everywhere.
    egress: Option<Vec<Attributes>>,
    /// How it is reached through a load balancer. Without it: not at all.
    expose: Option<Expose>,
    /// Under which name it is found: `true` for its own in the only namespace of the stack, the name of a namespace, or
    /// both.
    discover: Option<Discover>,
    /// Whether and how its output is kept.
    #[serde(default)]
    logs: Logs,
    /// Whether ECS Exec opens sessions in its containers.
    #[serde(default)]
    exec: bool,
    /// What its own code may do: policies for the task role, as in `role`.
    #[schemars(with = "BTreeMap<String, PolicyDocument>")]
    #[schemars(extend("x-files" = "json"))]
    #[serde(default)]
    policies: BTreeMap<String, Value>,
    /// Managed policies for the task role: of the stack, or AWS's own by name.
    #[serde(default)]
    managed_policies: Vec<String>,
    /// The role that its code acts as, instead of one that is made.
    #[schemars(extend("x-reference" = "role.arn"))]
    task_role: Option<String>,
    /// The role that ECS acts as to start it, instead of one that is made.
    #[schemars(extend("x-reference" = "role.arn"))]
    execution_role: Option<String>,
    /// How tasks are replaced by those of a new revision.
    deployment: Option<Deployment>,
    /// Seconds from a task's start in which the load balancer's health checks do not count.
    health_check_grace_seconds: Option<i32>,
    /// Tags for all that the service consists of; its tasks get them, too.
    #[serde(default)]
    tags: Tags,
}

/// What runs tasks without instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Launch {
    /// Fargate.
    Fargate,
    /// Fargate's spare capacity: cheaper, and taken back at two minutes' notice.
    FargateSpot,
}

/// Between which bounds the number of tasks is scaled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// The fewest tasks.
    min: u32,
    /// The most tasks.
    max: u32,
    /// The average CPU of the tasks that is aimed at, in percent.
    cpu: Option<f64>,
    /// The average memory of the tasks that is aimed at, in percent.
    memory: Option<f64>,
    /// The requests a minute for each task that are aimed at.
    requests: Option<f64>,
    /// Seconds between one growth and the next. Without it: 300.
    grow_seconds: Option<u32>,
    /// Seconds between one shrinking and the next. Without it: 300.
    shrink_seconds: Option<u32>,
    /// Other bounds from certain times on, by name, as in `scaling_target`.
    #[serde(default)]
    schedules: BTreeMap<String, scaling_target::Schedule>,
}

/// When tasks are started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum When {
    /// At this time: `"rate(1 hour)"`.
    At(String),
    /// As these settings say.
    Settings(WhenSettings),
}

/// When and how tasks are started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhenSettings {
    /// When: `"cron(0 3 * * ? *)"`, `"rate(1 hour)"` or `"at(2030-01-01T00:00:00)"`.
    at: String,
    /// The time zone of `at`: `"Europe/London"`; UTC unless given.
    timezone: Option<String>,
    /// Whether anything is started; yes unless given.
    enabled: Option<bool>,
    /// Minutes within which the start may be put off, 1 to 1440. Without it: at once.
    flexible_minutes: Option<i32>,
    /// How often a start that failed is tried again, 0 to 185. Without it: 185.
    retries: Option<i32>,
    /// The queue that starts are put in that failed for good, by ARN.
    dead_letters: Option<String>,
}

/// How a service is reached through a load balancer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Expose {
    /// The listener whose requests it gets, by rule; the only one of the stack that does not just redirect, unless given.
    #[schemars(extend("x-reference" = "listener.arn"))]
    listener: Option<String>,
    /// The load balancer that it has a port of its own on, instead of a rule: for network load balancers.
    #[schemars(extend("x-reference" = "load_balancer.arn"))]
    load_balancer: Option<String>,
    /// That port. Without it: 443 with a certificate; else 80 on application load balancers, and the service's own on
    /// network load balancers.
    port: Option<u16>,
    /// The certificate of that port, which is then encrypted.
    #[schemars(extend("x-reference" = "certificate.arn"))]
    certificate: Option<String>,
    /// The hosts that are asked, one or several: `"www.example.com"`. Without any: all.
    #[serde(deserialize_with = "trust::one_or_many")]
    #[schemars(schema_with = "trust::one_or_many_schema")]
    host: BTreeSet<String>,
    /// The paths that are asked for, one or several: `"/api/*"`. Without any: all.
    #[serde(deserialize_with = "trust::one_or_many")]
    #[schemars(schema_with = "trust::one_or_many_schema")]
    path: BTreeSet<String>,
    /// Its place among the rules of the listener, 1 to 50000. Without it, it follows from host and path: hosts before paths,
    /// long ones before short ones.
    priority: Option<i32>,
    /// How the load balancer finds out which tasks are healthy.
    health: Option<TargetCheck>,
    /// Seconds that requests under way have when a task goes.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(default = "thirty")]
    deregistration_delay_seconds: u32,
    /// Whether a client stays with its task.
    stickiness: Option<Stickiness>,
}

/// Under which name a service is found.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Discover {
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
struct DiscoverSettings {
    /// The namespace; the only one of the stack unless given.
    #[schemars(extend("x-reference" = "namespace.id"))]
    namespace: Option<String>,
    /// The name; the service's own unless given.
    name: Option<String>,
    /// Seconds that answers may be kept; 10 unless given.
    ttl: Option<u32>,
}

/// Whether and how output is kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Logs {
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
struct LogSettings {
    /// Days that it is kept; 30 unless given.
    retention_days: Option<u32>,
    /// The log group, instead of one that is made.
    #[schemars(extend("x-reference" = "log_group.name"))]
    group: Option<String>,
    /// The ARN of the KMS key that encrypts the group that is made.
    kms_key: Option<String>,
}

fn private() -> String {
    "private".to_owned()
}

fn thirty() -> u32 {
    30
}

/// The longest name of a schedule ("CreateSchedule"); longer ones are made shorter where none is given.
const LONGEST_SCHEDULE: usize = 64;

/// The construct `service`.
pub struct ServiceConstruct;

impl Construct for ServiceConstruct {
    fn name(&self) -> &'static str {
        "service"
    }

    fn summary(&self) -> &'static str {
        "a container kept running or started by the clock: task definition, roles, logs, load balancing, DNS, scaling"
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Service).into()
    }

    fn expand(&self, input: &Input<'_>) -> Result<Expansion, Vec<Problem>> {
        let service: Service = typed(input)?;
        let chosen = Chosen::of(&service, input)?;
        let parts = Parts {
            input,
            service: &service,
            chosen: &chosen,
            below: Below::new(input, &service.tags),
            exports: Attributes::new(),
            stands_for: BTreeMap::new(),
        };
        Ok(parts.put_together())
    }
}

/// The parts of a service, as they are put together.
struct Parts<'a> {
    input: &'a Input<'a>,
    service: &'a Service,
    chosen: &'a Chosen,
    below: Below<'a>,
    exports: Attributes,
    stands_for: BTreeMap<&'static str, Address>,
}

/// What a service runs as.
struct Roles {
    /// The ARN of the role that ECS acts as, as a template.
    execution: Option<String>,
    /// The ARN of the role that its code acts as.
    task: Option<String>,
    /// Those that were made here.
    made: Vec<Address>,
}

impl Parts<'_> {
    fn put_together(mut self) -> Expansion {
        let logs = self.logs();
        let roles = self.roles(logs.as_ref());
        let task = self.task_definition(logs.as_deref(), &roles);
        let group = self.security_group();
        // What tasks need from their first moment to their last, besides what they reference.
        let mut before = self.chosen.place.ways.clone();
        before.extend(roles.made.iter().cloned());
        before.extend(self.chosen.providers.clone());
        match &self.service.schedule {
            Some(when) => self.schedule(when, &task, group.as_ref(), &roles, before),
            None => {
                let targets = self.chosen.exposure.as_ref().map(|exposure| self.target_group(exposure));
                let service = self.ecs_service(&task, group.as_ref(), targets.as_ref(), before);
                self.scaling(&service, targets.as_ref());
            }
        }
        let mut resources = self.below.resources;
        if self.chosen.ground == Ground::Spot {
            resources.extend(providers::cluster_capacity(self.input, &self.chosen.cluster));
        }
        Expansion { resources, exports: self.exports, stands_for: self.stands_for }
    }

    fn export(&mut self, name: &str, address: &Address, attribute: &str) {
        self.exports.insert(name.to_owned(), reference(address, attribute).into());
    }

    /// The name of the log group, as a template.
    fn logs(&mut self) -> Option<String> {
        let settings = match &self.service.logs {
            Logs::Switch(false) => return None,
            Logs::Switch(true) => LogSettings::default(),
            Logs::Settings(settings) => settings.clone(),
        };
        let name = match &settings.group {
            Some(group) => named(self.input, "log_group", "name", group),
            None => {
                let attributes = json!({
                    "name": format!("/ecs/{}", self.chosen.name),
                    "retention_days": settings.retention_days.unwrap_or(30),
                    "kms_key": settings.kms_key,
                });
                let group = self.below.add("log_group", MAIN, attributes);
                self.stands_for.insert("log_group", group.clone());
                reference(&group, "name")
            }
        };
        self.exports.insert("log_group_name".to_owned(), name.clone().into());
        Some(name)
    }

    fn roles(&mut self, logs: Option<&String>) -> Roles {
        let (service, input) = (self.service, self.input);
        let mut made = Vec::new();
        let execution = match &service.execution_role {
            Some(role) => Some(named(input, "role", "arn", role)),
            None => rights::execution(service, logs.map(String::as_str), input).map(|document| {
                let attributes = json!({
                    "service": rights::ECS_TASKS,
                    "description": format!("Lets ECS start {}", self.chosen.name),
                    "policies": { "start": document },
                });
                made.push(self.below.add("role", "execution", attributes));
                reference(&made[made.len() - 1], "arn")
            }),
        };
        let task = match &service.task_role {
            Some(role) => Some(named(input, "role", "arn", role)),
            None => rights::task(service, input).map(|attributes| {
                let role = self.below.add("role", "task", attributes);
                self.stands_for.insert("role", role.clone());
                made.push(role);
                reference(&made[made.len() - 1], "arn")
            }),
        };
        for (name, arn) in [("execution_role_arn", &execution), ("task_role_arn", &task)] {
            if let Some(arn) = arn {
                self.exports.insert(name.to_owned(), arn.clone().into());
            }
        }
        Roles { execution, task, made }
    }

    fn task_definition(&mut self, logs: Option<&str>, roles: &Roles) -> Address {
        let attributes = task::definition(self.service, self.chosen, self.input, logs, roles);
        let task = self.below.add("task_definition", MAIN, attributes);
        self.export("task_definition_arn", &task, "arn");
        self.stands_for.insert("task_definition", task.clone());
        task
    }

    /// The group of the tasks, where they have addresses of their own: who is told may reach the port.
    fn security_group(&mut self) -> Option<Address> {
        if self.chosen.mode != Mode::Awsvpc {
            return None;
        }
        let service = self.service;
        let from = self.chosen.from(service);
        let ingress = service
            .port
            .filter(|_| !from.is_empty())
            .map(|port| json!([{ "protocol": service.protocol.as_str(), "ports": port.to_string(), "from": from }]));
        let attributes = json!({
            "vpc": self.chosen.place.vpc,
            "description": format!("Tasks of {}", self.chosen.name),
            "ingress": ingress.unwrap_or_else(|| json!([])),
            "egress": service.egress,
        });
        let group = self.below.add("security_group", "tasks", attributes);
        self.export("security_group_id", &group, "id");
        self.stands_for.insert("security_group", group.clone());
        Some(group)
    }

    fn target_group(&mut self, exposure: &Exposure) -> Address {
        let settings = &exposure.settings;
        let awsvpc = self.chosen.mode == Mode::Awsvpc;
        let attributes = json!({
            "vpc": self.chosen.place.vpc,
            "targets": if awsvpc { "ip" } else { "instance" },
            "protocol": exposure.target_protocol(self.service.protocol),
            "port": self.service.port,
            "health_check": settings.health,
            "deregistration_delay_seconds": settings.deregistration_delay_seconds,
            "stickiness": settings.stickiness,
        });
        let group = self.below.add("target_group", MAIN, attributes);
        self.export("target_group_arn", &group, "arn");
        self.stands_for.insert("target_group", group.clone());
        let forward = json!({ "forward": [{ "target_group": reference(&group, "arn") }] });
        match &exposure.listener {
            Some(listener) => {
                let paths = match (settings.host.is_empty(), settings.path.is_empty()) {
                    (true, true) => BTreeSet::from(["/*".to_owned()]),
                    _ => settings.path.clone(),
                };
                let rule = json!({
                    "listener": listener,
                    "priority": exposure.priority,
                    "hosts": settings.host,
                    "paths": paths,
                    "action": forward,
                });
                self.below.add("listener_rule", MAIN, rule);
            }
            None => {
                let listener = json!({
                    "load_balancer": exposure.balancer.name,
                    "port": exposure.port,
                    "protocol": exposure.listener_protocol(self.service.protocol),
                    "certificate": settings.certificate,
                    "action": forward,
                });
                self.below.add("listener", MAIN, listener);
            }
        }
        group
    }

    /// The discovery service, and how tasks are registered in it.
    fn discovery(&mut self) -> Option<Value> {
        let discovery = self.chosen.discovery.as_ref()?;
        let awsvpc = self.chosen.mode == Mode::Awsvpc;
        // Tasks behind an instance's address are found with their ports.
        let record = json!({ "type": if awsvpc { "A" } else { "SRV" }, "ttl": discovery.ttl });
        let attributes = json!({ "name": discovery.name, "namespace": discovery.namespace, "records": [record] });
        let found = self.below.add("discovery_service", MAIN, attributes);
        self.stands_for.insert("discovery_service", found.clone());
        let mut registry = json!({ "service": reference(&found, "arn") });
        if !awsvpc {
            registry["container"] = self.input.address.name().into();
            registry["port"] = json!(self.service.port);
        }
        Some(registry)
    }

    /// Where tasks run, as services and schedules take it.
    fn ground(&self) -> (Option<&'static str>, Option<Value>) {
        match &self.chosen.ground {
            Ground::Fargate => (Some("fargate"), None),
            Ground::Spot => (None, Some(json!([{ "provider": "FARGATE_SPOT" }]))),
            Ground::Provider(name) => (None, Some(json!([{ "provider": name }]))),
            Ground::Instances => (None, None),
        }
    }

    fn interface(&self, group: Option<&Address>) -> Option<Value> {
        let mut groups = vec![reference(group?, "id")];
        let more = self.service.security_groups.iter().flatten();
        groups.extend(more.map(|name| named(self.input, "security_group", "id", name)));
        let (subnets, public_ip) = (&self.chosen.place.subnets, self.service.public_ip);
        Some(json!({ "subnets": subnets, "security_groups": groups, "public_ip": public_ip }))
    }

    fn ecs_service(
        &mut self,
        task: &Address,
        group: Option<&Address>,
        targets: Option<&Address>,
        before: Vec<Address>,
    ) -> Address {
        let registry = self.discovery();
        let service = self.service;
        let (launch_type, capacity) = self.ground();
        let load_balancer = targets.map(|targets| {
            let container = self.input.address.name();
            json!([{ "target_group": reference(targets, "arn"), "container": container, "port": service.port }])
        });
        let attributes = json!({
            "name": self.chosen.name,
            "cluster": self.chosen.cluster,
            "task_definition": reference(task, "arn"),
            "count": service.scale.is_none().then(|| service.count.unwrap_or(1)),
            "min_count": service.scale.as_ref().map(|scale| scale.min),
            "launch_type": launch_type,
            "capacity": capacity,
            "network": self.interface(group),
            "load_balancers": load_balancer,
            "registries": registry.map(|one| json!([one])),
            "deployment": service.deployment,
            "health_check_grace_seconds": service.health_check_grace_seconds,
            "exec": service.exec,
        });
        let made = self.below.add_after("ecs_service", MAIN, attributes, before);
        self.export("service_name", &made, "name");
        self.export("service_arn", &made, "arn");
        self.stands_for.insert("ecs_service", made.clone());
        made
    }

    fn scaling(&mut self, made: &Address, targets: Option<&Address>) {
        let Some(scale) = &self.service.scale else { return };
        let schedules = (!scale.schedules.is_empty()).then_some(&scale.schedules);
        let bounds =
            json!({ "service": reference(made, "arn"), "min": scale.min, "max": scale.max, "schedules": schedules });
        let target = self.below.add("scaling_target", MAIN, bounds);
        for (metric, value) in [("cpu", scale.cpu), ("memory", scale.memory), ("requests", scale.requests)] {
            let Some(value) = value else { continue };
            let mut track = json!({
                "metric": metric,
                "value": value,
                "grow_seconds": scale.grow_seconds,
                "shrink_seconds": scale.shrink_seconds,
            });
            if let ("requests", Some(targets), Some(exposure)) = (metric, targets, &self.chosen.exposure) {
                track["target_group"] = reference(targets, "arn_suffix").into();
                track["load_balancer"] = json!(exposure.balancer.suffix);
            }
            let track = Value::Object(given(track));
            self.below.add("scaling_policy", metric, json!({ "target": reference(&target, "id"), "track": track }));
        }
    }

    fn schedule(
        &mut self,
        when: &When,
        task: &Address,
        group: Option<&Address>,
        roles: &Roles,
        mut before: Vec<Address>,
    ) {
        let settings = when.settings();
        let scope = self.input.scope;
        let document = rights::scheduler(self.chosen, roles, settings.dead_letters.as_deref(), scope);
        let role = json!({
            "service": rights::SCHEDULER,
            "description": format!("Lets the scheduler start {}", self.chosen.name),
            "policies": { "run": document },
        });
        let role = self.below.add("role", "schedule", role);
        before.push(role.clone());
        let (launch_type, capacity) = self.ground();
        let attributes = json!({
            "name": (self.chosen.name.len() <= LONGEST_SCHEDULE).then_some(&self.chosen.name),
            "at": settings.at,
            "timezone": settings.timezone,
            "enabled": settings.enabled,
            "flexible_minutes": settings.flexible_minutes,
            "cluster": match self.chosen.cluster.contains("${") {
                true => cluster_arn(&self.chosen.cluster, scope),
                // The language knows whether there is one of that name, and says so.
                false => self.chosen.cluster.clone(),
            },
            "task_definition": reference(task, "arn"),
            "role": reference(&role, "arn"),
            "count": self.service.count,
            "launch_type": launch_type,
            "capacity": capacity,
            "network": self.interface(group),
            "retries": settings.retries,
            "dead_letters": settings.dead_letters,
        });
        let made = self.below.add_after("schedule", MAIN, attributes, before);
        self.export("schedule_arn", &made, "arn");
    }
}

impl When {
    fn settings(&self) -> WhenSettings {
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

/// The one port of the container.
fn own_port(service: &Service) -> Option<Port> {
    let container = service.port?;
    Some(Port { container, host: None, protocol: service.protocol, name: None, speaks: None })
}
