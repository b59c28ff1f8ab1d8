//! A described service, in the words of the language.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{
    AssignPublicIp, AvailabilityZoneRebalancing, Deployment as EcsDeployment, DeploymentStrategy,
    LaunchType as EcsLaunchType, PlacementConstraintType, PlacementStrategyType, PropagateTags as EcsPropagateTags,
    SchedulingStrategy, Service, ServiceConnectConfiguration,
};
use serde_json::{Value, json};

use super::request::DISTINCT;
use super::{
    Alternate, CircuitBreaker, Deployment, LaunchType, LoadBalancer, Network, Offer, Placement, PlacementType,
    PropagateTags, Registry, Scheduling, ServiceConnect, Strategy,
};
use crate::cloud::Observed;
use crate::graph::Attributes;
use crate::kinds::cluster_capacity::Share;
use crate::kinds::{ecs, text};

/// The service as it is.
pub fn observe(service: &Service) -> Observed {
    let arn = service.service_arn().unwrap_or_default().to_owned();
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let mut out = Attributes::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    put("name", json!(service.service_name()));
    put("cluster", json!(service.cluster_arn().and_then(|arn| arn.rsplit('/').next())));
    put("task_definition", json!(service.task_definition()));
    put("count", json!(service.desired_count()));
    let daemon = service.scheduling_strategy() == Some(&SchedulingStrategy::Daemon);
    put("scheduling", json!(if daemon { Scheduling::Daemon } else { Scheduling::Replica }));
    let launch_type = service.launch_type().and_then(|of| match of {
        EcsLaunchType::Ec2 => Some(LaunchType::Ec2),
        EcsLaunchType::Fargate => Some(LaunchType::Fargate),
        EcsLaunchType::External => Some(LaunchType::External),
        _ => None,
    });
    if let Some(launch_type) = launch_type {
        put("launch_type", json!(launch_type));
    }
    let shares: BTreeSet<Share> = service
        .capacity_provider_strategy()
        .iter()
        .map(|item| Share { provider: item.capacity_provider().to_owned(), weight: item.weight(), base: item.base() })
        .collect();
    put("capacity", json!(shares));
    if let Some(version) = service.platform_version().filter(|version| !version.is_empty()) {
        put("platform_version", json!(version));
    }
    let interface = service.network_configuration().and_then(|network| network.awsvpc_configuration());
    if let Some(interface) = interface {
        put(
            "network",
            json!(Network {
                subnets: interface.subnets().iter().cloned().collect(),
                security_groups: interface.security_groups().iter().cloned().collect(),
                public_ip: interface.assign_public_ip() == Some(&AssignPublicIp::Enabled),
            }),
        );
    }
    let load_balancers: BTreeSet<LoadBalancer> = service
        .load_balancers()
        .iter()
        .map(|one| LoadBalancer {
            target_group: one.target_group_arn().unwrap_or_default().to_owned(),
            container: one.container_name().unwrap_or_default().to_owned(),
            port: port(one.container_port()).unwrap_or_default(),
            alternate: one.advanced_configuration().map(|other| Alternate {
                target_group: other.alternate_target_group_arn().unwrap_or_default().to_owned(),
                rule: other.production_listener_rule().unwrap_or_default().to_owned(),
                test_rule: other.test_listener_rule().map(str::to_owned),
                role: other.role_arn().unwrap_or_default().to_owned(),
            }),
        })
        .collect();
    put("load_balancers", json!(load_balancers));
    let registries: BTreeSet<Registry> = service
        .service_registries()
        .iter()
        .map(|one| Registry {
            service: one.registry_arn().unwrap_or_default().to_owned(),
            container: one.container_name().map(str::to_owned),
            port: port(one.container_port().or(one.port())),
        })
        .collect();
    put("registries", json!(registries));
    if service.deployment_configuration().is_some() {
        put("deployment", json!(deployment(service, daemon)));
    }
    if let Some(seconds) = service.health_check_grace_period_seconds() {
        put("health_check_grace_seconds", json!(seconds));
    }
    put("exec", json!(service.enable_execute_command()));
    let placement: Vec<Placement> = service
        .placement_strategy()
        .iter()
        .map(|one| Placement {
            r#type: match one.r#type() {
                Some(PlacementStrategyType::Binpack) => PlacementType::Binpack,
                Some(PlacementStrategyType::Random) => PlacementType::Random,
                _ => PlacementType::Spread,
            },
            field: one.field().filter(|field| !field.is_empty()).map(str::to_owned),
        })
        .collect();
    put("placement", json!(placement));
    let constraints: BTreeSet<&str> = service
        .placement_constraints()
        .iter()
        .map(|one| match one.r#type() {
            Some(PlacementConstraintType::DistinctInstance) => DISTINCT,
            _ => one.expression().unwrap_or_default(),
        })
        .collect();
    put("constraints", json!(constraints));
    if let Some(rebalancing) = service.availability_zone_rebalancing() {
        put("zone_rebalancing", json!(*rebalancing == AvailabilityZoneRebalancing::Enabled));
    }
    let primary = service.deployments().iter().find(|one| one.status() == Some("PRIMARY"));
    let connect = primary.and_then(EcsDeployment::service_connect_configuration).filter(|one| one.enabled());
    if let Some(connect) = connect {
        put("service_connect", json!(service_connect(connect)));
    }
    if let Some(propagate) = service.propagate_tags() {
        put(
            "propagate_tags",
            json!(match propagate {
                EcsPropagateTags::Service => PropagateTags::Service,
                EcsPropagateTags::TaskDefinition => PropagateTags::TaskDefinition,
                _ => PropagateTags::None,
            }),
        );
    }
    put("managed_tags", json!(service.enable_ecs_managed_tags()));
    put("tags", ecs::tags(service.tags()));
    let outputs = Attributes::from_iter([("id".into(), json!(arn)), ("arn".into(), json!(arn))]);
    Observed { id: arn, attributes: out, outputs }
}

fn deployment(service: &Service, daemon: bool) -> Deployment {
    let found = service.deployment_configuration();
    let breaker = found.and_then(|one| one.deployment_circuit_breaker());
    let alarms = found.and_then(|one| one.alarms()).filter(|alarms| alarms.enable());
    let blue_green = found.and_then(|one| one.strategy()) == Some(&DeploymentStrategy::BlueGreen);
    let (min, max) = if daemon { (0, 100) } else { (100, 200) };
    Deployment {
        min_percent: Some(found.and_then(|one| one.minimum_healthy_percent()).unwrap_or(min)),
        max_percent: Some(found.and_then(|one| one.maximum_percent()).unwrap_or(max)),
        circuit_breaker: match breaker {
            Some(one) if one.enable() && one.rollback() => CircuitBreaker::Rollback,
            Some(one) if one.enable() => CircuitBreaker::Stop,
            // Blue/green deployments have none, and go back by themselves.
            _ if blue_green => CircuitBreaker::Rollback,
            _ => CircuitBreaker::Off,
        },
        alarms: alarms.map(|alarms| alarms.alarm_names().iter().cloned().collect()).unwrap_or_default(),
        strategy: if blue_green { Strategy::BlueGreen } else { Strategy::Rolling },
        bake_minutes: found.and_then(|one| one.bake_time_in_minutes()).filter(|_| blue_green),
    }
}

fn service_connect(connect: &ServiceConnectConfiguration) -> ServiceConnect {
    let offers: BTreeMap<String, Offer> = connect
        .services()
        .iter()
        .map(|one| {
            let alias = one.client_aliases().first();
            let offer = Offer {
                discovery_name: one.discovery_name().map(str::to_owned),
                port: alias.and_then(|alias| u16::try_from(alias.port()).ok()),
                dns_name: alias.and_then(|alias| alias.dns_name()).map(str::to_owned),
            };
            (one.port_name().to_owned(), offer)
        })
        .collect();
    ServiceConnect { namespace: connect.namespace().map(str::to_owned), offers }
}

/// Says what is the same in the words that were used: a cluster by ARN, a platform by `LATEST`, a namespace by the
/// cluster's.
pub fn in_the_words_of(wanted: &Attributes, observed: &mut Attributes) {
    let cluster = text(wanted, "cluster");
    if cluster.contains('/') && cluster.rsplit('/').next() == Some(text(observed, "cluster")) {
        observed.insert("cluster".into(), json!(cluster));
    }
    // A revision can be given as `family:1`.
    let revision = text(wanted, "task_definition");
    if !revision.starts_with("arn:") && text(observed, "task_definition").ends_with(&format!("/{revision}")) {
        observed.insert("task_definition".into(), json!(revision));
    }
    // LATEST reads back as itself or as the version that it stands for.
    if matches!(text(wanted, "platform_version"), "" | "LATEST") {
        observed.remove("platform_version");
    }
    // Where the stack names no capacity, what is there is the cluster's default; it is nobody's drift.
    for name in ["capacity", "launch_type", "count", "health_check_grace_seconds", "zone_rebalancing"] {
        if !wanted.contains_key(name) {
            observed.remove(name);
        }
    }
    // Where Service Connect takes the cluster's namespace, or names ports after themselves, that is filled in.
    let (Some(Value::Object(wanted)), Some(Value::Object(found))) =
        (wanted.get("service_connect"), observed.get_mut("service_connect"))
    else {
        return;
    };
    if !wanted.contains_key("namespace") {
        found.remove("namespace");
    }
    let (Some(Value::Object(wanted)), Some(Value::Object(found))) = (wanted.get("offers"), found.get_mut("offers"))
    else {
        return;
    };
    for (port, offer) in found {
        let (Some(wanted), Value::Object(offer)) = (wanted.get(port), offer) else { continue };
        for name in ["discovery_name", "dns_name"] {
            if wanted.get(name).is_none() {
                offer.remove(name);
            }
        }
    }
}
