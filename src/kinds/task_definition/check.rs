//! What can be told offline about a task definition.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::container::{AWSLOGS, Condition, Container, HealthCheck};
use super::volume::Volume;
use super::{Network, PidMode, RunsOn, TaskDefinition, image, limits};
use crate::graph::{Attributes, Problem, template};
use crate::kinds::names;

/// The most containers of a task ("RegisterTaskDefinition").
const MOST_CONTAINERS: usize = 10;
/// The longest name of a family, container or volume.
const LONGEST_NAME: usize = 255;

/// Everything that is wrong with the attributes.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(definition) = serde_json::from_value::<TaskDefinition>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if !definition.family.contains("${") {
        check_name("family", &definition.family, &mut problems);
    }
    if !(2..=100).contains(&definition.keep_revisions) {
        let message = format!("{} revisions: between 2 and 100 can be kept", definition.keep_revisions);
        problems.push(Problem::at("keep_revisions", message).help("the current one and one to go back to are 2"));
    }
    if definition.runs_on.is_empty() {
        let message = "it runs nowhere";
        problems.push(Problem::at("runs_on", message).help("name \"ec2\", \"fargate\" or both"));
    }
    check_size(&definition, &mut problems);
    if definition.runs_on.contains(&RunsOn::Fargate) {
        check_fargate(&definition, &mut problems);
    }
    check_containers(&definition, &mut problems);
    check_ports(&definition, &mut problems);
    check_dependencies(&definition.containers, &mut problems);
    for (name, volume) in &definition.volumes {
        check_name(&format!("volumes.{name}"), name, &mut problems);
        check_volume(name, volume, &mut problems);
    }
    problems
}

fn check_name(path: &str, name: &str, problems: &mut Vec<Problem>) {
    problems.extend(names::letters(path, name, "ECS", "-_"));
    if name.len() > LONGEST_NAME {
        problems.push(Problem::at(path, format!("it has more than {LONGEST_NAME} characters")).help("shorten it"));
    }
}

fn check_size(definition: &TaskDefinition, problems: &mut Vec<Problem>) {
    let containers = || definition.containers.values();
    let cpu: u64 = containers().map(|one| u64::from(one.cpu)).sum();
    if let Some(whole) = definition.cpu
        && cpu > u64::from(whole)
    {
        let message = format!("the containers ask for {cpu} CPU units, and the task has {whole}");
        problems.push(Problem::at("cpu", message).help("give the task more, or its containers less"));
    }
    let memory: u64 =
        containers().map(|one| u64::from(one.memory_reservation.or(one.memory).unwrap_or_default())).sum();
    if let Some(whole) = definition.memory
        && memory > u64::from(whole)
    {
        let message = format!("the containers ask for {memory} MiB of memory, and the task has {whole}");
        problems.push(Problem::at("memory", message).help("give the task more, or its containers less"));
    }
    if definition.memory.is_some_and(|size| size < 6) && !definition.runs_on.contains(&RunsOn::Fargate) {
        let message = "less than 6 MiB, and Docker starts nothing with less";
        problems.push(Problem::at("memory", message).help("`memory` is in MiB: 512 is usual"));
    }
    for (name, container) in &definition.containers {
        let path = |field: &str| format!("containers.{name}.{field}");
        if let (Some(memory), Some(kept)) = (container.memory, container.memory_reservation)
            && kept >= memory
        {
            let message = format!("{kept} MiB are kept for it, and it is stopped beyond {memory}");
            problems.push(Problem::at(&path("memory_reservation"), message).help("make `memory` larger than it"));
        }
        for (field, size) in [("memory", container.memory), ("memory_reservation", container.memory_reservation)] {
            if size.is_some_and(|size| size < 6) {
                let message = "less than 6 MiB, and Docker starts nothing with less";
                problems.push(Problem::at(&path(field), message));
            }
        }
        let has_none = container.memory.or(container.memory_reservation).or(definition.memory).is_none();
        if has_none && !definition.runs_on.contains(&RunsOn::Fargate) {
            let message = format!("nothing says how much memory `{name}` has");
            problems.push(Problem::at(&path("memory"), message).help("give it `memory`, or the whole task"));
        }
    }
}

/// What Fargate has not ("Amazon ECS task definition differences for Fargate").
fn check_fargate(definition: &TaskDefinition, problems: &mut Vec<Problem>) {
    match (definition.cpu, definition.memory) {
        (Some(cpu), Some(memory)) => {
            if let Some((message, help)) = limits::wrong_size(cpu, memory) {
                let at = if message.contains("memory") { "memory" } else { "cpu" };
                problems.push(Problem::at(at, message).help(help));
            }
        }
        (cpu, _) => {
            let lacking = if cpu.is_none() { "cpu" } else { "memory" };
            let message = format!("a task on Fargate needs `{lacking}`");
            problems.push(Problem::at(lacking, message).help("the smallest is cpu = 256, memory = 512"));
        }
    }
    if definition.network() != Network::Awsvpc {
        let message = "tasks on Fargate have a network interface of their own";
        problems.push(Problem::at("network", message).help("write network = \"awsvpc\", or leave it out"));
    }
    if definition.ephemeral_storage_gib.is_some_and(|size| !(21..=200).contains(&size)) {
        let message = "Fargate gives 21 to 200 GiB of scratch space";
        problems.push(Problem::at("ephemeral_storage_gib", message).help("leave it out for the usual 20"));
    }
    if !definition.placement.is_empty() {
        problems.push(Problem::at("placement", "Fargate has no instances to choose from").help("take it out"));
    }
    if definition.pid_mode == Some(PidMode::Host) {
        problems.push(Problem::at("pid_mode", "Fargate shows nothing of its host").help("write \"task\""));
    }
    if definition.ipc_mode.is_some() {
        problems.push(Problem::at("ipc_mode", "Fargate has no choice of it").help("take it out"));
    }
    for (name, container) in &definition.containers {
        let mut refuse = |field: &str, message: &str| {
            problems.push(Problem::at(&format!("containers.{name}.{field}"), message).help("take it out"));
        };
        if container.privileged {
            refuse("privileged", "Fargate gives no container rights on its host");
        }
        if container.gpus.is_some() {
            refuse("gpus", "Fargate has no GPUs");
        }
        if !container.links.is_empty() {
            refuse("links", "links need a bridge, and Fargate has none");
        }
        for name in container.ulimits.keys().filter(|name| *name != "nofile") {
            refuse(&format!("ulimits.{name}"), "Fargate takes `nofile` alone");
        }
        if let Some(linux) = &container.linux {
            if linux.add_capabilities.iter().any(|one| one != "SYS_PTRACE") {
                refuse("linux.add_capabilities", "Fargate adds SYS_PTRACE alone");
            }
            for (field, given) in [
                ("devices", !linux.devices.is_empty()),
                ("tmpfs", !linux.tmpfs.is_empty()),
                ("shared_memory_mib", linux.shared_memory_mib.is_some()),
                ("max_swap_mib", linux.max_swap_mib.is_some()),
                ("swappiness", linux.swappiness.is_some()),
            ] {
                if given {
                    refuse(&format!("linux.{field}"), "Fargate does not take it");
                }
            }
        }
        if container.stop_timeout_seconds.is_some_and(|seconds| seconds > 120) {
            refuse("stop_timeout_seconds", "Fargate waits 120 seconds at most");
        }
        let logs = container.log.as_ref().is_some_and(|log| log.driver == AWSLOGS);
        let why = match () {
            () if logs => "to write logs",
            () if !container.secrets.is_empty() => "to fetch its secrets",
            () if container.image.contains(".dkr.ecr.") => "to pull its image",
            () => continue,
        };
        if definition.execution_role.is_none() {
            let message = format!("`{name}` needs an execution role on Fargate {why}");
            let help = "give execution_role a role for ecs-tasks.amazonaws.com";
            problems.push(Problem::at("execution_role", message).help(help));
        }
    }
    for (name, volume) in &definition.volumes {
        for (field, given) in [("host_path", volume.host_path.is_some()), ("docker", volume.docker.is_some())] {
            if given {
                let message = "Fargate has no instance whose volume it could be";
                problems.push(Problem::at(&format!("volumes.{name}.{field}"), message).help("use `efs`"));
            }
        }
    }
}

fn check_containers(definition: &TaskDefinition, problems: &mut Vec<Problem>) {
    let containers = &definition.containers;
    if containers.is_empty() {
        problems.push(Problem::at("containers", "a task needs a container").help("declare one: containers.web"));
    } else if containers.values().all(|one| !one.essential) {
        let message = "no container is essential, and a task ends with its essential ones";
        problems.push(Problem::at("containers", message).help("make one of them essential"));
    }
    if containers.len() > MOST_CONTAINERS {
        let message = format!("{} containers, and a task has {MOST_CONTAINERS} at most", containers.len());
        problems.push(Problem::at("containers", message).help("split the task"));
    }
    for (name, container) in containers {
        let path = |field: &str| format!("containers.{name}.{field}");
        check_name(&format!("containers.{name}"), name, problems);
        if !container.image.contains("${")
            && let Some(message) = image::wrong(&container.image)
        {
            let help = "images are written [registry/]name[:tag][@digest]";
            problems.push(Problem::at(&path("image"), message).help(help));
        }
        let timeouts = [
            ("start_timeout_seconds", container.start_timeout_seconds),
            ("stop_timeout_seconds", container.stop_timeout_seconds),
        ];
        for (field, seconds) in timeouts {
            // `stopContainer` of amazon-ecs-agent, engine/docker_task_engine.go: its own default where it is not above 0.
            if seconds == Some(0) {
                let message = "the agent of ECS takes 0 for nothing said, and waits as long as it usually does";
                problems.push(Problem::at(&path(field), message).help("say 1 for hardly at all, or leave it out"));
            }
        }
        for variable in container.secrets.keys().filter(|name| container.environment.contains_key(*name)) {
            let message = format!("`{variable}` is a secret and stands in `environment`, too");
            problems.push(Problem::at(&path(&format!("secrets.{variable}")), message).help("take one out"));
        }
        if let Some(check) = &container.health_check {
            check_health(&path("health_check"), check, problems);
        }
        if let Some(log) = &container.log
            && log.driver == AWSLOGS
            && log.group.is_none()
        {
            let message = "`awslogs` writes to a log group";
            problems.push(Problem::at(&path("log"), message).help("name it: log = { group = \"main\" }"));
        }
        for (index, mount) in container.mounts.iter().enumerate() {
            if !definition.volumes.contains_key(&mount.volume) && !mount.volume.contains("${") {
                let message = format!("the task has no volume `{}`", mount.volume);
                let help = format!("declare it: volumes.{}", mount.volume);
                problems.push(Problem::at(&path(&format!("mounts.{index}.volume")), message).help(help));
            }
        }
        for (index, from) in container.volumes_from.iter().enumerate() {
            if from.container == *name || !containers.contains_key(&from.container) {
                let message = format!("the task has no other container `{}`", from.container);
                problems.push(Problem::at(&path(&format!("volumes_from.{index}.container")), message));
            }
        }
        for (limit, ulimit) in &container.ulimits {
            if ulimit.soft > ulimit.hard && ulimit.hard >= 0 {
                let message = format!("the soft limit {} is above the hard limit {}", ulimit.soft, ulimit.hard);
                problems.push(Problem::at(&path(&format!("ulimits.{limit}")), message));
            }
        }
        if let Some(restart) = &container.restart
            && !(60..=1800).contains(&restart.attempt_period_seconds)
        {
            let message = format!("{} seconds, and ECS takes 60 to 1800", restart.attempt_period_seconds);
            problems.push(Problem::at(&path("restart.attempt_period_seconds"), message));
        }
    }
}

/// What is wrong with a health check that stands at this path. The limits are those of the API ("HealthCheck").
pub fn check_health(path: &str, check: &HealthCheck, problems: &mut Vec<Problem>) {
    for (field, value, least, most) in [
        ("interval_seconds", check.interval_seconds, 5, 300),
        ("timeout_seconds", check.timeout_seconds, 2, 60),
        ("retries", check.retries, 1, 10),
        ("start_period_seconds", check.start_period_seconds, 0, 300),
    ] {
        if !(least..=most).contains(&value) {
            let message = format!("{value} is out of range: ECS takes {least} to {most}");
            problems.push(Problem::at(&format!("{path}.{field}"), message));
        }
    }
    let command = &check.command.0;
    let how = command.first().map(String::as_str);
    if !matches!(how, Some("CMD" | "CMD-SHELL" | "NONE")) {
        let message = "the list begins with neither \"CMD\" nor \"CMD-SHELL\"";
        let help = "write a line for the shell, or [\"CMD\", \"program\", \"argument\"]";
        problems.push(Problem::at(&format!("{path}.command"), message).help(help));
    } else if how != Some("NONE") && command.iter().skip(1).all(|part| part.trim().is_empty()) {
        problems.push(Problem::at(&format!("{path}.command"), "it runs nothing").help("say what it runs"));
    }
}

/// Ports that two containers of a task listen on, or that two take of an instance.
fn check_ports(definition: &TaskDefinition, problems: &mut Vec<Problem>) {
    let network = definition.network();
    let shared = matches!(network, Network::Awsvpc | Network::Host);
    let mut taken: HashMap<(u16, &str), String> = HashMap::new();
    let mut names: HashMap<&str, String> = HashMap::new();
    for (name, container) in &definition.containers {
        for (index, port) in container.ports.iter().enumerate() {
            let path = format!("containers.{name}.ports.{index}");
            if network == Network::None {
                let message = "it is on no network, and listens on a port";
                problems.push(Problem::at(&path, message).help("take out the port, or give the task a network"));
                continue;
            }
            if shared && port.host.is_some_and(|host| host != port.container) {
                let message = format!("port {} cannot be another one outside of the container", port.container);
                problems.push(Problem::at(&format!("{path}.host"), message).help("leave `host` out"));
            }
            // In a container of its own network, one port can be taken twice under two numbers of the instance.
            let number = if shared { port.container } else { port.host.unwrap_or_default() };
            if number != 0 {
                let what = if shared { "port" } else { "port of the instance" };
                if let Some(other) = taken.insert((number, port.protocol.as_str()), name.clone()) {
                    let message = match other == *name {
                        true => format!("{what} {number} ({}) is given twice", port.protocol.as_str()),
                        false => format!("{what} {number} ({}) is taken by `{other}`", port.protocol.as_str()),
                    };
                    problems.push(Problem::at(&path, message).help("give one of them another port"));
                }
            }
            if let Some(port_name) = &port.name
                && names.insert(port_name, name.clone()).is_some()
            {
                let message = format!("two ports are named `{port_name}`");
                problems.push(Problem::at(&format!("{path}.name"), message).help("rename one of them"));
            }
            if port.speaks.is_some() && port.name.is_none() {
                let message = "`speaks` is for Service Connect, which knows ports by their names";
                problems.push(Problem::at(&format!("{path}.speaks"), message).help("give the port a `name`"));
            }
        }
    }
}

fn check_dependencies(containers: &BTreeMap<String, Container>, problems: &mut Vec<Problem>) {
    for (name, container) in containers {
        for (other, condition) in &container.depends_on {
            let path = format!("containers.{name}.depends_on.{other}");
            let Some(on) = containers.get(other) else {
                let names: Vec<&str> = containers.keys().map(String::as_str).collect();
                let message = format!("the task has no container `{other}`");
                problems.push(Problem::at(&path, message).help(format!("it has {}", names.join(", "))));
                continue;
            };
            match condition {
                Condition::Healthy if on.health_check.is_none() => {
                    let message = format!("`{other}` has no health check, so it never is healthy");
                    problems.push(Problem::at(&path, message).help("give it one, or wait for \"start\""));
                }
                Condition::Complete | Condition::Success if on.essential => {
                    let message = format!("`{other}` is essential: the task ends when it ends");
                    problems
                        .push(Problem::at(&path, message).help(format!("write containers.{other}.essential = false")));
                }
                _ => {}
            }
        }
    }
    let mut done = BTreeSet::new();
    for name in containers.keys() {
        let mut walk = Vec::new();
        if let Some(cycle) = cycle_from(name, containers, &mut walk, &mut done) {
            let message = format!("these containers wait for each other: {}", cycle.join(" → "));
            let first = cycle.first().copied().unwrap_or_default();
            let path = format!("containers.{first}.depends_on");
            problems.push(Problem::at(&path, message).help("take one of the dependencies out"));
        }
    }
}

/// A walk along the dependencies that comes back to where it was. Containers that were looked at are `done`.
fn cycle_from<'a>(
    name: &'a str,
    containers: &'a BTreeMap<String, Container>,
    walk: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(start) = walk.iter().position(|one| *one == name) {
        let mut cycle = walk.split_off(start);
        cycle.push(name);
        return Some(cycle);
    }
    let container = containers.get(name)?;
    if !done.insert(name) {
        return None;
    }
    walk.push(name);
    let found = container.depends_on.keys().find_map(|other| cycle_from(other, containers, walk, done));
    walk.pop();
    found
}

fn check_volume(name: &str, volume: &Volume, problems: &mut Vec<Problem>) {
    let path = format!("volumes.{name}");
    let kinds = [volume.host_path.is_some(), volume.efs.is_some(), volume.docker.is_some()];
    if kinds.iter().filter(|given| **given).count() > 1 {
        let message = "a volume is a folder of the host, a file system, or one of Docker's";
        problems.push(Problem::at(&path, message).help("leave one"));
    }
    if let Some(efs) = &volume.efs {
        if !efs.encrypted && (efs.iam || efs.access_point.is_some()) {
            let message = "an access point and IAM need encrypted traffic";
            problems.push(Problem::at(&format!("{path}.efs.encrypted"), message).help("write encrypted = true"));
        }
        if efs.access_point.is_some() && efs.root.as_deref().is_some_and(|root| root != "/") {
            let message = "an access point has a root of its own";
            problems.push(Problem::at(&format!("{path}.efs.root"), message).help("leave it out"));
        }
        if !template::is_unknown(&Value::from(efs.file_system.as_str())) && !efs.file_system.starts_with("fs-") {
            let message = format!("`{}` is no file system", efs.file_system);
            problems.push(Problem::at(&format!("{path}.efs.file_system"), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is told of these containers, in a task of this kind.
    fn told(task: Value) -> Vec<String> {
        let attributes = task.as_object().cloned().unwrap();
        let typed: Result<TaskDefinition, _> = serde_json::from_value(task);
        assert!(typed.is_ok(), "{typed:?}");
        check(&attributes).into_iter().map(|p| format!("{}: {}", p.path.join("."), p.message)).collect()
    }

    fn fargate(cpu: u32, memory: u32, containers: Value) -> Vec<String> {
        told(json!({ "runs_on": ["fargate"], "cpu": cpu, "memory": memory, "containers": containers }))
    }

    #[test]
    fn a_plain_task_is_fine() {
        assert!(fargate(256, 512, json!({ "web": { "image": "nginx", "ports": [{ "container": 80 }] } })).is_empty());
        assert!(told(json!({ "memory": 128, "containers": { "web": { "image": "nginx" } } })).is_empty());
    }

    #[test]
    fn what_ecs_refuses_is_found_offline() {
        insta::assert_snapshot!(
            fargate(300, 512, json!({ "web": { "image": "Nginx", "privileged": true, "secrets": { "A": "arn:x" },
                "environment": { "A": 1 }, "ulimits": { "core": { "soft": 2, "hard": 1 } } } })).join("\n"),
            @r"
        cpu: Fargate has no tasks of 300 CPU units
        containers.web.privileged: Fargate gives no container rights on its host
        containers.web.ulimits.core: Fargate takes `nofile` alone
        execution_role: `web` needs an execution role on Fargate to fetch its secrets
        containers.web.image: `Nginx` holds capital letters: names of images have none
        containers.web.secrets.A: `A` is a secret and stands in `environment`, too
        containers.web.ulimits.core: the soft limit 2 is above the hard limit 1
        ");
        insta::assert_snapshot!(
            fargate(256, 512, json!({
                "a": { "image": "x", "cpu": 200, "stop_timeout_seconds": 0, "ports": [{ "container": 80 }, { "container": 80, "protocol": "udp" }] },
                "b": { "image": "x", "cpu": 100, "memory": 600, "ports": [{ "container": 80, "host": 81 }],
                    "health_check": { "command": "true", "interval_seconds": 1, "retries": 11 } },
            })).join("\n"),
            @r"
        cpu: the containers ask for 300 CPU units, and the task has 256
        memory: the containers ask for 600 MiB of memory, and the task has 512
        containers.a.stop_timeout_seconds: the agent of ECS takes 0 for nothing said, and waits as long as it usually does
        containers.b.health_check.interval_seconds: 1 is out of range: ECS takes 5 to 300
        containers.b.health_check.retries: 11 is out of range: ECS takes 1 to 10
        containers.b.ports.0.host: port 80 cannot be another one outside of the container
        containers.b.ports.0: port 80 (tcp) is taken by `a`
        ");
    }

    #[test]
    fn containers_wait_for_what_can_come_to_pass() {
        insta::assert_snapshot!(
            told(json!({ "memory": 512, "containers": {
                "a": { "image": "x", "depends_on": { "b": "healthy", "d": "success" } },
                "b": { "image": "x", "depends_on": { "c": "start" } },
                "c": { "image": "x", "depends_on": { "a": "start", "bb": "start" } },
                "d": { "image": "x", "depends_on": { "d": "start" } },
            } })).join("\n"),
            @r"
        containers.a.depends_on.b: `b` has no health check, so it never is healthy
        containers.a.depends_on.d: `d` is essential: the task ends when it ends
        containers.c.depends_on.bb: the task has no container `bb`
        containers.a.depends_on: these containers wait for each other: a → b → c → a
        containers.d.depends_on: these containers wait for each other: d → d
        ");
    }
}
