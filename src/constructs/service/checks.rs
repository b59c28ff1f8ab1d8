//! What of a service follows from its attributes and its surroundings, and what is wrong with them.

use std::collections::BTreeSet;

use super::exposure::{Exposure, is_capacity};
use super::{Discover, Logs, Mode, Service, own_port, rights};
use crate::constructs::Input;
use crate::constructs::below::{is_unknown, named, reference};
use crate::constructs::place::{Place, Wanted, place};
use crate::constructs::providers::{list_of, of_cluster, own_cluster};
use crate::graph::{Address, Problem};
use crate::kinds::instance_type;
use crate::kinds::scaling_target::wrong_time;
use crate::kinds::task_definition::check::check_health;
use crate::kinds::task_definition::{image, limits};

/// The least memory that Docker starts a container with, in MiB.
const LEAST_MEMORY: u32 = 6;

/// What tasks run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// Fargate.
    Fargate,
    /// Fargate's spare capacity.
    Spot,
    /// The instances behind this capacity provider, by name, as a template.
    Provider(String),
    /// The cluster's instances, by its default.
    Instances,
}

impl Ground {
    /// What a service runs on.
    pub fn of(service: &Service, input: &Input<'_>) -> Self {
        let cluster = named(input, "cluster", "name", &service.cluster);
        match (&service.capacity, service.launch) {
            (Some(capacity), _) => Self::Provider(capacity.clone()),
            (None, Some(super::Launch::Fargate)) => Self::Fargate,
            (None, Some(super::Launch::FargateSpot)) => Self::Spot,
            (None, None) if of_cluster(input, &cluster, "capacity").is_empty() => Self::Fargate,
            (None, None) => Self::Instances,
        }
    }

    /// Whether there are no instances.
    pub fn is_fargate(&self) -> bool {
        matches!(self, Self::Fargate | Self::Spot)
    }

    /// How tasks are on the network, where nothing is said.
    pub fn usual_mode(&self) -> Mode {
        if self.is_fargate() { Mode::Awsvpc } else { Mode::Bridge }
    }
}

/// A name under which tasks are found.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The namespace: a name, a reference or an id.
    pub namespace: String,
    /// The name in it.
    pub name: String,
    /// Whether the name was made for it.
    pub is_made: bool,
    /// Seconds that answers may be kept.
    pub ttl: u32,
}

/// What was chosen for a service.
#[derive(Debug)]
pub struct Chosen {
    /// Its name in the cloud: of the family, the service and the log group.
    pub name: String,
    /// The cluster's name, as a template.
    pub cluster: String,
    /// What its tasks run on.
    pub ground: Ground,
    /// How its tasks are on the network.
    pub mode: Mode,
    /// Where its tasks are.
    pub place: Place,
    /// CPU units of a task.
    pub cpu: Option<u32>,
    /// MiB of memory of a task.
    pub memory: u32,
    /// The list of the cluster's providers, where one is named.
    pub providers: Option<Address>,
    /// How it is reached through a load balancer.
    pub exposure: Option<Exposure>,
    /// Under which name it is found.
    pub discovery: Option<Discovery>,
}

impl Chosen {
    /// What follows from these attributes.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn of(service: &Service, input: &Input<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let cluster = named(input, "cluster", "name", &service.cluster);
        let ground = Ground::of(service, input);
        let mode = service.mode.unwrap_or_else(|| ground.usual_mode());
        let wanted = Wanted {
            who: "tasks",
            block: "service",
            network: service.network.as_deref(),
            tier: &service.tier,
            vpc: service.vpc.as_deref(),
            subnets: service.subnets.as_deref(),
        };
        // Tasks behind an instance's address are where the instance is; only a load balancer needs to know where.
        let stands = mode == Mode::Awsvpc || service.expose.is_some();
        let place = if stands { place(&wanted, input, &mut problems) } else { Place::default() };
        check_ground(service, &ground, mode, &mut problems);
        let (cpu, memory) = size(service, &ground, &mut problems);
        check_fits(service, &ground, (&cluster, memory), input, &mut problems);
        check_image(service, &mut problems);
        check_containers(service, input, &mut problems);
        check_port(service, mode, &mut problems);
        check_count(service, &mut problems);
        check_schedule(service, &mut problems);
        check_roles(service, &mut problems);
        rights::check_secrets(service, input, &mut problems);
        let exposure = service.expose.as_ref().and_then(|expose| Exposure::of(expose, service, input, &mut problems));
        if let Some(exposure) = &exposure
            && exposure.balancer.groups.is_empty()
            && service.from.is_empty()
        {
            let message = "nothing says who the load balancer is, so nothing could reach the tasks from it";
            let help = "give the load balancer `security_groups` of its own, or name its group here in `from`";
            problems.push(Problem::at("expose", message).help(help).maybe_follows());
        }
        let discovery = discovery(service, input, &mut problems);
        let providers = (ground != Ground::Fargate).then(|| list_of(input, &cluster)).flatten();
        let name = format!("{}-{}", input.scope.prefix(), input.own_name()).to_lowercase().replace('_', "-");
        if problems.is_empty() {
            Ok(Self { name, cluster, ground, mode, place, cpu, memory, providers, exposure, discovery })
        } else {
            Err(problems)
        }
    }

    /// Who may reach the port.
    pub fn from(&self, service: &Service) -> BTreeSet<String> {
        let balancer = self.exposure.iter().flat_map(|exposure| &exposure.balancer.groups);
        balancer.chain(&service.from).cloned().collect()
    }
}

fn check_ground(service: &Service, ground: &Ground, mode: Mode, problems: &mut Vec<Problem>) {
    if service.capacity.is_some() && service.launch.is_some() {
        let message = "`capacity` and `launch` both say what tasks run on";
        problems.push(Problem::at("launch", message).help("remove one of them"));
    }
    if matches!(service.capacity.as_deref(), Some("FARGATE" | "FARGATE_SPOT")) {
        let message = "Fargate has no capacity of the stack";
        problems.push(Problem::at("capacity", message).help("write launch = \"fargate\" or \"fargate-spot\""));
    }
    match mode {
        Mode::Awsvpc => {}
        Mode::Bridge if !ground.is_fargate() => {
            for (field, given) in [
                ("public_ip", service.public_ip),
                ("security_groups", service.security_groups.is_some()),
                ("egress", service.egress.is_some()),
            ] {
                if given {
                    let message = "tasks behind an instance's address have none, and no security group, of their own";
                    problems.push(Problem::at(field, message).help("write mode = \"awsvpc\", or take it out"));
                }
            }
        }
        Mode::Bridge => {
            let message = "tasks on Fargate have a network interface of their own";
            problems.push(Problem::at("mode", message).help("take it out"));
        }
        Mode::Host | Mode::None => {
            let message = "a service's tasks are on the network as \"awsvpc\" or \"bridge\"";
            problems.push(Problem::at("mode", message).help("write out task_definition and ecs_service for others"));
        }
    }
    if service.ephemeral_storage_gib.is_some() && !ground.is_fargate() {
        let message = "scratch space is measured out on Fargate alone";
        problems.push(Problem::at("ephemeral_storage_gib", message).help("take it out"));
    }
}

/// CPU and memory of a task, with what is usual where nothing is said.
fn size(service: &Service, ground: &Ground, problems: &mut Vec<Problem>) -> (Option<u32>, u32) {
    if !ground.is_fargate() {
        return (service.cpu, service.memory.unwrap_or(512));
    }
    let cpu = service.cpu.unwrap_or(256);
    // The least memory of each size is two MiB a unit.
    let memory = service.memory.unwrap_or(cpu.saturating_mul(2));
    if let Some((message, help)) = limits::wrong_size(cpu, memory) {
        let field = if message.contains("memory") { "memory" } else { "cpu" };
        let given = if field == "cpu" { service.cpu.is_some() } else { service.memory.is_some() };
        let path = if given { field } else { "" };
        problems.push(Problem::at(path, message).help(help));
    }
    (Some(cpu), memory)
}

/// A task that no instance has the memory for is never started: ECS would wait for room for ever.
fn check_fits(
    service: &Service,
    ground: &Ground,
    (cluster, memory): (&str, u32),
    input: &Input<'_>,
    problems: &mut Vec<Problem>,
) {
    if ground.is_fargate() {
        return;
    }
    let path = if service.memory.is_some() { "memory" } else { "" };
    if memory < LEAST_MEMORY {
        let message = format!("{memory} MiB is less than the {LEAST_MEMORY} that Docker starts a container with");
        problems.push(Problem::at(path, message).help("`memory` is in MiB: 512 is usual"));
        return;
    }
    // Which instances a cluster has that is not made here, or has its providers written out, is not for the blocks to tell.
    let is_known = own_cluster(input, cluster).is_some() && of_cluster(input, cluster, "cluster_capacity").is_empty();
    if *ground == Ground::Instances && !is_known {
        return;
    }
    let capacities = of_cluster(input, cluster, "capacity");
    let used = capacities.into_iter().filter(|(address, _)| match ground {
        Ground::Provider(name) => is_capacity(name, address),
        _ => true,
    });
    let types: Vec<&str> = used
        .flat_map(|(_, block)| {
            let given = ["instance_type", "instance_types"].into_iter().filter_map(|name| block.get(name));
            given.flat_map(|one| one.as_array().map_or(std::slice::from_ref(one), Vec::as_slice))
        })
        .map(|one| one.as_str().unwrap_or_default())
        .collect();
    // Where the memory of one type is not known, tasks may fit on that.
    let known: Option<Vec<(u32, &str)>> =
        types.into_iter().map(|one| Some((instance_type::memory_mib(one)?, one))).collect();
    if let Some((most, largest)) = known.unwrap_or_default().into_iter().max()
        // The system and the agent need some of it.
        && memory >= most
    {
        let message =
            format!("a task of {memory} MiB fits on no instance: `{largest}` has {most} MiB, and ECS gets less of it");
        problems.push(Problem::at(path, message).help("give the task less, or its capacity larger instances"));
    }
}

fn check_image(service: &Service, problems: &mut Vec<Problem>) {
    if !is_unknown(&service.image)
        && let Some(message) = image::wrong(&service.image)
    {
        problems.push(Problem::at("image", message).help("images are written [registry/]name[:tag][@digest]"));
    }
}

/// What the task definition would find too, told here at its place.
fn check_containers(service: &Service, input: &Input<'_>, problems: &mut Vec<Problem>) {
    if let Some(check) = &service.health_check {
        check_health("health_check", check, problems);
    }
    let own = input.own_name();
    if service.sidecars.contains_key(&own) {
        let message = format!("`{own}` is the service's own container");
        problems.push(Problem::at(&format!("sidecars.{own}"), message).help("give the sidecar another name"));
    }
    for (name, sidecar) in &service.sidecars {
        if let Some(check) = &sidecar.health_check {
            check_health(&format!("sidecars.{name}.health_check"), check, problems);
        }
    }
    for name in service.starts_after.keys().filter(|name| !service.sidecars.contains_key(*name)) {
        let names: Vec<&str> = service.sidecars.keys().map(String::as_str).collect();
        let help = match names.is_empty() {
            true => format!("declare [{}.sidecars.{name}]", input.address),
            false => format!("it has {}", names.join(", ")),
        };
        let message = format!("the service has no sidecar `{name}`");
        problems.push(Problem::at(&format!("starts_after.{name}"), message).help(help));
    }
}

fn check_port(service: &Service, mode: Mode, problems: &mut Vec<Problem>) {
    let needs = [
        ("expose", service.expose.is_some(), "what is reached through a load balancer listens on a port"),
        ("from", !service.from.is_empty(), "who is let in is let in to a port"),
        (
            "discover",
            service.discover.is_some() && mode == Mode::Bridge,
            "tasks behind an instance's address are found by address and port",
        ),
    ];
    for (field, _, message) in needs.into_iter().filter(|(_, given, _)| *given && service.port.is_none()) {
        problems.push(Problem::at(field, message).help("add `port`"));
    }
    let Some(own) = own_port(service) else { return };
    if mode != Mode::Awsvpc {
        return;
    }
    for (name, sidecar) in &service.sidecars {
        let taken = |port: &super::Port| (port.container, port.protocol) == (own.container, own.protocol);
        if let Some(index) = sidecar.ports.iter().position(taken) {
            let message = format!("port {} ({}) is the service's own", own.container, own.protocol.as_str());
            let path = format!("sidecars.{name}.ports.{index}");
            problems.push(Problem::at(&path, message).help("give one of them another port"));
        }
    }
}

fn check_count(service: &Service, problems: &mut Vec<Problem>) {
    let Some(scale) = &service.scale else { return };
    if service.count.is_some() {
        let message = "`count` and `scale` both say how many tasks there are";
        problems.push(Problem::at("count", message).help("remove one of them"));
    }
    if scale.min > scale.max {
        let message = format!("at least {} tasks, and at most {}", scale.min, scale.max);
        problems.push(Problem::at("scale.min", message).help("make `min` no larger than `max`"));
    }
    let by = [("cpu", scale.cpu), ("memory", scale.memory), ("requests", scale.requests)];
    if by.iter().all(|(_, value)| value.is_none()) && scale.schedules.is_empty() {
        let message = "nothing says by what the number of tasks is scaled";
        problems.push(Problem::at("scale", message).help("add `cpu = 60`, or `memory`, `requests`, `schedules`"));
    }
    for (name, value) in by {
        let Some(value) = value else { continue };
        let path = format!("scale.{name}");
        if value <= 0.0 || (name != "requests" && value > 100.0) {
            let message = format!("{value} is nothing to aim at");
            let help = if name == "requests" { "give requests a minute for each task" } else { "give a percentage" };
            problems.push(Problem::at(&path, message).help(help));
        }
        if name == "requests" && service.expose.is_none() {
            let message = "requests are counted by a load balancer, and none sends any";
            problems.push(Problem::at(&path, message).help("add `expose`, or scale by `cpu`"));
        }
    }
    for (name, schedule) in &scale.schedules {
        if let Some(message) = wrong_time(&schedule.at).filter(|_| !is_unknown(&schedule.at)) {
            problems.push(Problem::at(&format!("scale.schedules.{name}.at"), message));
        }
    }
}

/// What is started by the clock ends, and nobody waits at its door.
fn check_schedule(service: &Service, problems: &mut Vec<Problem>) {
    let Some(when) = &service.schedule else { return };
    let settings = when.settings();
    if let Some(message) = wrong_time(&settings.at).filter(|_| !is_unknown(&settings.at)) {
        let path = if matches!(when, super::When::At(_)) { "schedule" } else { "schedule.at" };
        problems.push(Problem::at(path, message).help("write \"cron(0 3 * * ? *)\" for three in the morning"));
    }
    for (field, given) in [
        ("scale", service.scale.is_some()),
        ("expose", service.expose.is_some()),
        ("discover", matches!(&service.discover, Some(discover) if !matches!(discover, Discover::Switch(false)))),
        ("deployment", service.deployment.is_some()),
        ("health_check_grace_seconds", service.health_check_grace_seconds.is_some()),
        ("exec", service.exec),
    ] {
        if given {
            let message = "it is for what is kept running, and this is started by the clock";
            problems.push(Problem::at(field, message).help("take it out, or take out `schedule`"));
        }
    }
}

/// A role that is given has the permissions it has.
fn check_roles(service: &Service, problems: &mut Vec<Problem>) {
    if service.task_role.is_some() {
        for (field, given) in
            [("policies", !service.policies.is_empty()), ("managed_policies", !service.managed_policies.is_empty())]
        {
            if given {
                let message = format!("`{field}` is for the role that is made, and a role is given");
                problems.push(Problem::at(field, message).help("say it in the role, or remove `task_role`"));
            }
        }
    }
    if service.policies.contains_key(rights::EXEC) {
        let message = format!("`{}` is the name of the policy that `exec` adds", rights::EXEC);
        problems.push(Problem::at(&format!("policies.{}", rights::EXEC), message).help("choose another name"));
    }
    if let Logs::Settings(logs) = &service.logs
        && logs.group.is_some()
    {
        for (field, given) in [("retention_days", logs.retention_days.is_some()), ("kms_key", logs.kms_key.is_some())] {
            if given {
                let message = format!("`{field}` is for the log group that is made, and one is given");
                let path = format!("logs.{field}");
                problems.push(Problem::at(&path, message).help("say it there, or remove `group`"));
            }
        }
    }
}

fn discovery(service: &Service, input: &Input<'_>, problems: &mut Vec<Problem>) -> Option<Discovery> {
    let mut settings = super::DiscoverSettings::default();
    match service.discover.as_ref()? {
        Discover::Switch(false) => return None,
        Discover::Switch(true) => {}
        Discover::Namespace(namespace) => settings.namespace = Some(namespace.clone()),
        Discover::Settings(given) => settings = given.clone(),
    }
    let declared: Vec<&Address> =
        input.declared.iter().filter(|one| one.kind() == "namespace" && one.construct().is_none()).collect();
    let namespace = match (settings.namespace, declared.as_slice()) {
        (Some(namespace), _) => named(input, "namespace", "id", &namespace),
        (None, [only]) => reference(only, "id"),
        (None, []) => {
            let message = "a name stands in a namespace, and the stack has none";
            let help = "declare [namespace.main] with a name and the VPC";
            problems.push(Problem::at("discover", message).help(help).maybe_follows());
            return None;
        }
        (None, several) => {
            let names = several.iter().map(|one| format!("\"{}\"", one.name())).collect::<Vec<_>>().join(", ");
            let message = "the stack has several namespaces, and the service names none";
            problems.push(Problem::at("discover", message).help(format!("name one of {names}")));
            return None;
        }
    };
    let is_made = settings.name.is_none();
    let name = settings.name.unwrap_or_else(|| input.own_name().to_lowercase().replace('_', "-"));
    Some(Discovery { namespace, name, is_made, ttl: settings.ttl.unwrap_or(10) })
}
