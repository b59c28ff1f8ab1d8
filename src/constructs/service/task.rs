//! The task definition of a service.

use serde_json::{Map, Value, json};

use super::checks::Chosen;
use super::{Mode, Roles, Service, own_port, rights};
use crate::constructs::Input;

/// Its attributes. `logs` is the name of the log group, as a template.
pub fn definition(service: &Service, chosen: &Chosen, input: &Input<'_>, logs: Option<&str>, roles: &Roles) -> Value {
    let fargate = chosen.ground.is_fargate();
    let mut containers = Map::new();
    for (name, sidecar) in &service.sidecars {
        let mut sidecar = sidecar.clone();
        for value in sidecar.secrets.values_mut() {
            *value = rights::Secret::of(value, input).map_or_else(|| value.clone(), |secret| secret.source);
        }
        let mut sidecar = json!(sidecar);
        if sidecar.get("log").is_none_or(Value::is_null) {
            put(&mut sidecar, "log", logging(logs));
        }
        containers.insert(name.clone(), sidecar);
    }
    // Its name is the service's, whatever is beside it.
    containers.insert(input.own_name(), container(service, input, logs));
    json!({
        "family": chosen.name,
        "runs_on": [if fargate { "fargate" } else { "ec2" }],
        "cpu": chosen.cpu,
        "memory": chosen.memory,
        "network": (chosen.mode != chosen.ground.usual_mode()).then_some(match chosen.mode {
            Mode::Awsvpc => "awsvpc",
            _ => "bridge",
        }),
        "architecture": service.architecture,
        "ephemeral_storage_gib": service.ephemeral_storage_gib,
        "execution_role": roles.execution,
        "task_role": roles.task,
        "containers": containers,
        "volumes": (!service.volumes.is_empty()).then_some(&service.volumes),
    })
}

/// The container that the service is about.
fn container(service: &Service, input: &Input<'_>, logs: Option<&str>) -> Value {
    let secrets: Map<String, Value> = service
        .secrets
        .iter()
        .filter_map(|(name, given)| Some((name.clone(), rights::Secret::of(given, input)?.source.into())))
        .collect();
    let mut out = json!({ "image": service.image });
    put(&mut out, "entry_point", json!(service.entry_point));
    put(&mut out, "command", json!(service.command));
    put(&mut out, "environment", json!(service.environment));
    put(&mut out, "secrets", secrets.into());
    put(&mut out, "ports", json!(own_port(service).map(|port| [port])));
    put(&mut out, "working_directory", json!(service.working_directory));
    put(&mut out, "user", json!(service.user));
    put(&mut out, "read_only", if service.read_only { json!(true) } else { Value::Null });
    put(&mut out, "health_check", json!(service.health_check));
    put(&mut out, "depends_on", json!(service.starts_after));
    put(&mut out, "stop_timeout_seconds", json!(service.stop_timeout_seconds));
    put(&mut out, "ulimits", json!(service.ulimits));
    put(&mut out, "linux", json!(service.linux));
    put(&mut out, "mounts", json!(service.mounts));
    put(&mut out, "log", logging(logs));
    out
}

fn logging(group: Option<&str>) -> Value {
    group.map_or(Value::Null, |group| json!({ "group": group }))
}

/// Sets what is given; nothing, where it is empty.
fn put(table: &mut Value, name: &str, value: Value) {
    let empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if !empty {
        table[name] = value;
    }
}
