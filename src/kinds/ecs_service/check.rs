//! What can be told offline about a service.

use std::collections::BTreeSet;

use serde_json::Value;

use super::request::DISTINCT;
use super::{CircuitBreaker, EcsService, LaunchType, PlacementType, Scheduling, Strategy};
use crate::graph::{Attributes, Problem};
use crate::kinds::ecs;

/// The most target groups of a service ("CreateService").
const MOST_TARGET_GROUPS: usize = 5;
/// The most subnets and security groups of a service ("AwsVpcConfiguration").
const MOST_SUBNETS: usize = 16;
const MOST_GROUPS: usize = 5;

/// Everything that is wrong with the attributes.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(mut service) = serde_json::from_value::<EcsService>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    service.normalize();
    let mut problems = Vec::new();
    ecs::check_name(attributes, &mut problems);
    let daemon = service.scheduling == Scheduling::Daemon;
    if let Some(count) = service.count {
        if count < 0 {
            problems.push(Problem::at("count", format!("{count} tasks")).help("0 stops them all"));
        }
        if daemon {
            let message = "a daemon has one task on each instance";
            problems.push(Problem::at("count", message).help("leave `count` out"));
        }
    }
    if let Some(least) = service.min_count {
        if service.count.is_some() || daemon {
            let message = "how many tasks there are is said already";
            problems.push(Problem::at("min_count", message).help("leave it out, or leave `count` to a scaling target"));
        }
        if least < 0 {
            problems.push(Problem::at("min_count", format!("{least} tasks")).help("0 starts with none"));
        }
    }
    if service.launch_type.is_some() && !service.capacity.is_empty() {
        let message = "`launch_type` and `capacity` say both what tasks run on";
        problems.push(Problem::at("launch_type", message).help("leave one of them"));
    }
    check_deployment(&service, &mut problems);
    check_placement(&service, daemon, &mut problems);
    if let Some(network) = &service.network {
        for (field, count, most) in [
            ("network.subnets", network.subnets.len(), MOST_SUBNETS),
            ("network.security_groups", network.security_groups.len(), MOST_GROUPS),
        ] {
            if count > most {
                problems.push(Problem::at(field, format!("{count} of them, and ECS takes {most}")));
            }
        }
        if network.subnets.is_empty() {
            problems.push(Problem::at("network.subnets", "tasks need a subnet").help("name one"));
        }
    } else if service.launch_type == Some(LaunchType::Fargate) || on_fargate(&service) {
        let message = "tasks on Fargate are in subnets, and none is given";
        problems.push(Problem::at("network", message).help("write network = { subnets = […] }"));
    }
    if service.load_balancers.len() > MOST_TARGET_GROUPS {
        let message = format!("{} target groups, and ECS takes {MOST_TARGET_GROUPS}", service.load_balancers.len());
        problems.push(Problem::at("load_balancers", message));
    }
    if service.health_check_grace_seconds.is_some_and(|seconds| seconds < 0) {
        problems.push(Problem::at("health_check_grace_seconds", "it cannot be negative"));
    }
    let connect = service.service_connect.iter().flat_map(|connect| &connect.offers);
    for (port, offer) in connect.filter(|(_, offer)| offer.dns_name.is_some() && offer.port.is_none()) {
        let message = format!("clients reach `{}` on a port", offer.dns_name.as_deref().unwrap_or_default());
        problems.push(Problem::at(&format!("service_connect.offers.{port}.port"), message).help("give it `port`"));
    }
    problems
}

fn on_fargate(service: &EcsService) -> bool {
    service.capacity.iter().any(|share| matches!(share.provider.as_str(), "FARGATE" | "FARGATE_SPOT"))
}

fn check_deployment(service: &EcsService, problems: &mut Vec<Problem>) {
    let deployment = &service.deployment;
    let (min, max) = (deployment.min_percent.unwrap_or(100), deployment.max_percent.unwrap_or(200));
    if !(0..=200).contains(&min) {
        problems.push(Problem::at("deployment.min_percent", format!("{min}: ECS takes 0 to 200")));
    }
    if !(100..=200).contains(&max) {
        problems.push(Problem::at("deployment.max_percent", format!("{max}: ECS takes 100 to 200")));
    }
    // The least that runs, rounded up, and the most, rounded down: where they meet, nothing can be replaced.
    let stuck = |count: i64| {
        let least = (count * i64::from(min) + 99) / 100;
        let most = count * i64::from(max) / 100;
        least >= count && most <= count
    };
    let count = i64::from(service.count.unwrap_or(1));
    if (1..=10_000).contains(&count) && stuck(count) && service.scheduling == Scheduling::Replica {
        let message = format!("with {count} tasks, {min} to {max} percent leaves no room to replace one");
        let help = "raise max_percent, or lower min_percent";
        problems.push(Problem::at("deployment.max_percent", message).help(help));
    }
    if let Some(minutes) = deployment.bake_minutes
        && !(0..=1440).contains(&minutes)
    {
        problems.push(Problem::at("deployment.bake_minutes", format!("{minutes}: ECS takes 0 to 1440")));
    }
    let alternates = service.load_balancers.iter().filter(|one| one.alternate.is_some()).count();
    match deployment.strategy {
        Strategy::Rolling if alternates > 0 => {
            let message = "an alternate target group is for blue/green deployments";
            let help = "write deployment = { strategy = \"blue-green\" }";
            problems.push(Problem::at("load_balancers", message).help(help));
        }
        Strategy::Rolling if deployment.bake_minutes.is_some() => {
            let message = "`bake_minutes` is for blue/green deployments";
            problems.push(Problem::at("deployment.bake_minutes", message).help("take it out"));
        }
        Strategy::BlueGreen if alternates < service.load_balancers.len() => {
            let message = "a blue/green deployment needs an alternate for each target group";
            let help = "alternate = { target_group = \"…\", rule = \"…\", role = \"…\" }";
            problems.push(Problem::at("load_balancers", message).help(help));
        }
        Strategy::BlueGreen if deployment.circuit_breaker != CircuitBreaker::Rollback => {
            let message = "blue/green deployments always go back";
            problems.push(Problem::at("deployment.circuit_breaker", message).help("leave it out"));
        }
        _ => {}
    }
}

fn check_placement(service: &EcsService, daemon: bool, problems: &mut Vec<Problem>) {
    let given = !service.placement.is_empty() || !service.constraints.is_empty();
    if given && (service.launch_type == Some(LaunchType::Fargate) || on_fargate(service)) {
        let field = if service.placement.is_empty() { "constraints" } else { "placement" };
        let message = "Fargate has no instances to choose from";
        problems.push(Problem::at(field, message).help("take it out"));
    }
    if daemon && !service.placement.is_empty() {
        let message = "a daemon is placed on every instance";
        problems.push(Problem::at("placement", message).help("take it out"));
    }
    if daemon && service.constraints.contains(DISTINCT) {
        let message = "a daemon has one task on each instance anyhow";
        problems.push(Problem::at("constraints", message).help("take out \"distinct\""));
    }
    if service.placement.len() > 5 {
        problems.push(Problem::at("placement", format!("{} strategies, and ECS takes 5", service.placement.len())));
    }
    for (index, one) in service.placement.iter().enumerate() {
        let path = format!("placement.{index}.field");
        let field = one.field.as_deref();
        match one.r#type {
            PlacementType::Random if field.is_some() => {
                problems.push(Problem::at(&path, "random is by nothing").help("take it out"));
            }
            PlacementType::Binpack if !matches!(field, Some("cpu" | "memory")) => {
                problems.push(Problem::at(&path, "binpack is by cpu or memory").help("write field = \"memory\""));
            }
            PlacementType::Spread if field.is_none() => {
                let help = "write field = \"attribute:ecs.availability-zone\"";
                problems.push(Problem::at(&path, "spread by what?").help(help));
            }
            _ => {}
        }
    }
    let empty: BTreeSet<&String> = service.constraints.iter().filter(|one| one.trim().is_empty()).collect();
    if !empty.is_empty() {
        problems.push(Problem::at("constraints", "an empty expression"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(more: Value) -> Vec<String> {
        let mut service = json!({ "name": "web", "cluster": "main", "task_definition": "web:1" });
        service.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let typed: Result<EcsService, _> = serde_json::from_value(service.clone());
        assert!(typed.is_ok(), "{typed:?}");
        let told = check(service.as_object().unwrap());
        told.into_iter().map(|p| format!("{}: {}", p.path.join("."), p.message)).collect()
    }

    #[test]
    fn plain_services_are_fine() {
        let network = json!({ "subnets": ["subnet-1"] });
        assert!(told(json!({})).is_empty());
        assert!(told(json!({ "scheduling": "daemon" })).is_empty());
        assert!(told(json!({ "launch_type": "fargate", "network": network, "count": 2 })).is_empty());
        assert!(told(json!({ "count": 4, "deployment": { "min_percent": 50, "max_percent": 100 } })).is_empty());
    }

    #[test]
    fn what_ecs_refuses_is_found_offline() {
        insta::assert_snapshot!(
            told(json!({
                "scheduling": "daemon", "count": 2, "launch_type": "fargate", "capacity": [{ "provider": "FARGATE" }],
                "placement": [{ "type": "spread" }, { "type": "binpack", "field": "disk" }], "constraints": ["distinct"],
            })).join("\n"),
            @r"
        count: a daemon has one task on each instance
        launch_type: `launch_type` and `capacity` say both what tasks run on
        placement: Fargate has no instances to choose from
        placement: a daemon is placed on every instance
        constraints: a daemon has one task on each instance anyhow
        placement.0.field: spread by what?
        placement.1.field: binpack is by cpu or memory
        network: tasks on Fargate are in subnets, and none is given
        ");
        insta::assert_snapshot!(
            told(json!({ "count": 1, "deployment": { "min_percent": 100, "max_percent": 150, "bake_minutes": 5 } })).join("\n"),
            @r"
        deployment.max_percent: with 1 tasks, 100 to 150 percent leaves no room to replace one
        deployment.bake_minutes: `bake_minutes` is for blue/green deployments
        ");
    }
}
