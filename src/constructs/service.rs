//! `service`: a container that is kept running, or started by the clock, with all that it needs.

mod attributes;
mod checks;
mod exposure;
mod rights;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::attributes::{Discover, DiscoverSettings, Expose, Launch, LogSettings, Logs, Service, When};
use self::checks::{Chosen, Ground};
use self::exposure::Exposure;
use super::below::{Below, MAIN, cluster_arn, given, named, reference, typed};
use super::{Construct, Expansion, Input, providers};
use crate::graph::{Address, Attributes, Problem};
use crate::kinds::ecs_service::Strategy;
use crate::kinds::task_definition::Network as Mode;
use crate::kinds::task_definition::container::{Port, Protocol};

pub use self::exposure::ways_to_instances;

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
                self.scaling(&service, targets.as_ref().map(|(group, _)| group));
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
                let group = self.below.add_named("log_group", MAIN, attributes);
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
        let task = self.below.add_named("task_definition", MAIN, attributes);
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

    /// The target group; and of blue/green deployments, what they switch.
    fn target_group(&mut self, exposure: &Exposure) -> (Address, Option<Value>) {
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
        let group = self.below.add("target_group", MAIN, attributes.clone());
        self.export("target_group_arn", &group, "arn");
        self.stands_for.insert("target_group", group.clone());
        let mut forward = json!({ "forward": [{ "target_group": reference(&group, "arn") }] });
        let other = self.is_blue_green().then(|| self.below.add("target_group", "other", attributes));
        if let Some(other) = &other {
            // All of it goes to the one at first, and ECS switches between the two.
            let share =
                |group: &Address, weight: u32| json!({ "target_group": reference(group, "arn"), "weight": weight });
            forward = json!({ "forward": [share(&group, 100), share(other, 0)] });
        }
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
                let rule = self.below.add("listener_rule", MAIN, rule);
                let switched = other.map(|other| self.switch(&other, &rule));
                return (group, switched);
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
        (group, None)
    }

    fn is_blue_green(&self) -> bool {
        self.service.deployment.as_ref().is_some_and(|one| one.strategy == Strategy::BlueGreen)
    }

    /// What a blue/green deployment switches: the other target group, by which rule, and the role that ECS does it as.
    fn switch(&mut self, other: &Address, rule: &Address) -> Value {
        let attributes = json!({
            "service": rights::ECS,
            "description": format!("Lets ECS switch between target groups of {}", self.chosen.name),
            "managed_policies": [rights::SWITCHES],
        });
        let role = self.below.add("role", "switch", attributes);
        json!({ "target_group": reference(other, "arn"), "rule": reference(rule, "arn"), "role": reference(&role, "arn") })
    }

    /// The discovery service, and how tasks are registered in it.
    fn discovery(&mut self) -> Option<Value> {
        let discovery = self.chosen.discovery.as_ref()?;
        let awsvpc = self.chosen.mode == Mode::Awsvpc;
        // Tasks behind an instance's address are found with their ports.
        let record = json!({ "type": if awsvpc { "A" } else { "SRV" }, "ttl": discovery.ttl });
        let attributes = json!({ "name": discovery.name, "namespace": discovery.namespace, "records": [record] });
        let found = match discovery.is_made {
            true => self.below.add_named("discovery_service", MAIN, attributes),
            false => self.below.add("discovery_service", MAIN, attributes),
        };
        self.stands_for.insert("discovery_service", found.clone());
        let mut registry = json!({ "service": reference(&found, "arn") });
        if !awsvpc {
            registry["container"] = self.input.own_name().into();
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
        targets: Option<&(Address, Option<Value>)>,
        before: Vec<Address>,
    ) -> Address {
        let registry = self.discovery();
        let service = self.service;
        let (launch_type, capacity) = self.ground();
        let load_balancer = targets.map(|(group, switched)| {
            let container = self.input.own_name();
            let balanced = json!({
                "target_group": reference(group, "arn"),
                "container": container,
                "port": service.port,
                "alternate": switched,
            });
            json!([given(balanced)])
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
        let made = self.below.add_named_after("ecs_service", MAIN, attributes, before);
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
        let made = self.below.add_named_after("schedule", MAIN, attributes, before);
        self.export("schedule_arn", &made, "arn");
    }
}

/// The one port of the container.
fn own_port(service: &Service) -> Option<Port> {
    let container = service.port?;
    Some(Port { container, host: None, protocol: service.protocol, name: None, speaks: None })
}
