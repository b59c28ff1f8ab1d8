//! A service in ECS's words: the calls that create and update it.

use aws_sdk_ecs::operation::create_service::builders::CreateServiceFluentBuilder;
use aws_sdk_ecs::operation::update_service::builders::UpdateServiceFluentBuilder;
use aws_sdk_ecs::types::{
    AdvancedConfiguration, AssignPublicIp, AvailabilityZoneRebalancing, AwsVpcConfiguration,
    CapacityProviderStrategyItem, DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration,
    DeploymentStrategy, LaunchType as EcsLaunchType, LoadBalancer as EcsLoadBalancer, NetworkConfiguration,
    PlacementConstraint, PlacementConstraintType, PlacementStrategy, PlacementStrategyType,
    PropagateTags as EcsPropagateTags, SchedulingStrategy, ServiceConnectClientAlias, ServiceConnectConfiguration,
    ServiceConnectService, ServiceRegistry,
};
use aws_smithy_types::error::operation::BuildError;

use super::{
    CircuitBreaker, EcsService, LaunchType, Network, PlacementType, PropagateTags, Scheduling, ServiceConnect,
    Strategy, cluster_of,
};
use crate::aws::Aws;
use crate::cloud::{CloudError, UpdateRequest};

/// What stands in `constraints` for one task an instance.
pub const DISTINCT: &str = "distinct";

/// The call that creates it, without its tags.
pub fn create(aws: &Aws, service: &EcsService, token: &str) -> Result<CreateServiceFluentBuilder, CloudError> {
    let parts = Parts::of(service).map_err(|error| CloudError::unexpected("ecs:CreateService", error.to_string()))?;
    let daemon = service.scheduling == Scheduling::Daemon;
    Ok(aws
        .ecs
        .create_service()
        .client_token(token)
        .cluster(&service.cluster)
        .service_name(&service.name)
        .task_definition(&service.task_definition)
        .set_desired_count((!daemon).then(|| service.count.or(service.min_count).unwrap_or(1)))
        .scheduling_strategy(if daemon { SchedulingStrategy::Daemon } else { SchedulingStrategy::Replica })
        .set_launch_type(service.launch_type.map(launch_type))
        .set_capacity_provider_strategy(some(parts.capacity))
        .set_platform_version(service.platform_version.clone())
        .set_network_configuration(parts.network)
        .set_load_balancers(some(parts.load_balancers))
        .set_service_registries(some(parts.registries))
        .deployment_configuration(parts.deployment)
        .set_health_check_grace_period_seconds(service.health_check_grace_seconds)
        .enable_execute_command(service.exec)
        .set_placement_strategy(some(parts.placement))
        .set_placement_constraints(some(parts.constraints))
        .set_availability_zone_rebalancing(service.zone_rebalancing.map(rebalancing))
        .set_service_connect_configuration(parts.service_connect)
        .propagate_tags(propagate(service.propagate_tags))
        .enable_ecs_managed_tags(service.managed_tags))
}

/// The call that changes what differs, and raises the count to `raised`; `None` where only tags differ. An empty list takes
/// back what was set ("UpdateService").
pub fn update(
    aws: &Aws,
    service: &EcsService,
    request: &UpdateRequest,
    raised: Option<i32>,
) -> Result<Option<UpdateServiceFluentBuilder>, CloudError> {
    // A count that the stack says no more is left to whom it is left to.
    let is_silent = |name: &str| match name {
        "tags" => true,
        "count" => service.count.is_none(),
        "min_count" => raised.is_none(),
        _ => false,
    };
    if request.changed.iter().all(|name| is_silent(name)) {
        return Ok(None);
    }
    let parts = Parts::of(service).map_err(|error| CloudError::unexpected("ecs:UpdateService", error.to_string()))?;
    let changed = |name: &str| request.changed.contains(name);
    // What only new tasks take on: without a new deployment the running ones would never have it. A strategy of capacity
    // providers is not even taken without one.
    let anew = ["capacity", "exec", "propagate_tags", "managed_tags"].iter().any(|name| changed(name));
    // Service Connect is switched off; it is not taken away.
    let connect =
        parts.service_connect.unwrap_or_else(|| ServiceConnectConfiguration::builder().enabled(false).build());
    Ok(Some(
        aws.ecs
            .update_service()
            .cluster(cluster_of(&request.id))
            .service(&request.id)
            .set_task_definition(changed("task_definition").then(|| service.task_definition.clone()))
            .set_desired_count(service.count.filter(|_| changed("count")).or(raised))
            .set_capacity_provider_strategy(changed("capacity").then_some(parts.capacity))
            .set_platform_version(
                changed("platform_version").then(|| service.platform_version.clone().unwrap_or("LATEST".into())),
            )
            .set_network_configuration(parts.network.filter(|_| changed("network")))
            .set_load_balancers(changed("load_balancers").then_some(parts.load_balancers))
            .set_service_registries(changed("registries").then_some(parts.registries))
            .set_deployment_configuration(changed("deployment").then_some(parts.deployment))
            .set_health_check_grace_period_seconds(
                changed("health_check_grace_seconds").then(|| service.health_check_grace_seconds.unwrap_or(0)),
            )
            .set_enable_execute_command(changed("exec").then_some(service.exec))
            .set_placement_strategy(changed("placement").then_some(parts.placement))
            .set_placement_constraints(changed("constraints").then_some(parts.constraints))
            .set_availability_zone_rebalancing(
                service.zone_rebalancing.filter(|_| changed("zone_rebalancing")).map(rebalancing),
            )
            .set_service_connect_configuration(changed("service_connect").then_some(connect))
            .set_propagate_tags(changed("propagate_tags").then(|| propagate(service.propagate_tags)))
            .set_enable_ecs_managed_tags(changed("managed_tags").then_some(service.managed_tags))
            .set_force_new_deployment(anew.then_some(true)),
    ))
}

/// What both calls take.
struct Parts {
    capacity: Vec<CapacityProviderStrategyItem>,
    network: Option<NetworkConfiguration>,
    load_balancers: Vec<EcsLoadBalancer>,
    registries: Vec<ServiceRegistry>,
    deployment: DeploymentConfiguration,
    placement: Vec<PlacementStrategy>,
    constraints: Vec<PlacementConstraint>,
    service_connect: Option<ServiceConnectConfiguration>,
}

impl Parts {
    fn of(service: &EcsService) -> Result<Self, BuildError> {
        let capacity = service
            .capacity
            .iter()
            .map(|share| {
                CapacityProviderStrategyItem::builder()
                    .capacity_provider(&share.provider)
                    .weight(share.weight)
                    .base(share.base)
                    .build()
            })
            .collect::<Result<_, _>>()?;
        let load_balancers = service.load_balancers.iter().map(|one| {
            let alternate = one.alternate.as_ref().map(|other| {
                AdvancedConfiguration::builder()
                    .alternate_target_group_arn(&other.target_group)
                    .production_listener_rule(&other.rule)
                    .set_test_listener_rule(other.test_rule.clone())
                    .role_arn(&other.role)
                    .build()
            });
            EcsLoadBalancer::builder()
                .target_group_arn(&one.target_group)
                .container_name(&one.container)
                .container_port(i32::from(one.port))
                .set_advanced_configuration(alternate)
                .build()
        });
        let registries = service.registries.iter().map(|one| {
            // Of a container the port is its own; without one it is the task's.
            let port = one.port.map(i32::from);
            ServiceRegistry::builder()
                .registry_arn(&one.service)
                .set_container_name(one.container.clone())
                .set_container_port(port.filter(|_| one.container.is_some()))
                .set_port(port.filter(|_| one.container.is_none()))
                .build()
        });
        let placement = service.placement.iter().map(|one| {
            let how = match one.r#type {
                PlacementType::Spread => PlacementStrategyType::Spread,
                PlacementType::Binpack => PlacementStrategyType::Binpack,
                PlacementType::Random => PlacementStrategyType::Random,
            };
            PlacementStrategy::builder().r#type(how).set_field(one.field.clone()).build()
        });
        let constraints = service.constraints.iter().map(|one| {
            let constraint = PlacementConstraint::builder();
            match one.as_str() {
                DISTINCT => constraint.r#type(PlacementConstraintType::DistinctInstance).build(),
                expression => constraint.r#type(PlacementConstraintType::MemberOf).expression(expression).build(),
            }
        });
        Ok(Self {
            capacity,
            network: service.network.as_ref().map(network).transpose()?,
            load_balancers: load_balancers.collect(),
            registries: registries.collect(),
            deployment: deployment(service)?,
            placement: placement.collect(),
            constraints: constraints.collect(),
            service_connect: service.service_connect.as_ref().map(service_connect).transpose()?,
        })
    }
}

fn network(network: &Network) -> Result<NetworkConfiguration, BuildError> {
    let interface = AwsVpcConfiguration::builder()
        .set_subnets(Some(network.subnets.iter().cloned().collect()))
        .set_security_groups(some(network.security_groups.iter().cloned().collect()))
        .assign_public_ip(if network.public_ip { AssignPublicIp::Enabled } else { AssignPublicIp::Disabled })
        .build()?;
    Ok(NetworkConfiguration::builder().awsvpc_configuration(interface).build())
}

fn deployment(service: &EcsService) -> Result<DeploymentConfiguration, BuildError> {
    let deployment = &service.deployment;
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(deployment.circuit_breaker != CircuitBreaker::Off)
        .rollback(deployment.circuit_breaker == CircuitBreaker::Rollback)
        .build();
    let alarms = (!deployment.alarms.is_empty())
        .then(|| {
            DeploymentAlarms::builder()
                .set_alarm_names(Some(deployment.alarms.iter().cloned().collect()))
                .enable(true)
                .rollback(deployment.circuit_breaker == CircuitBreaker::Rollback)
                .build()
        })
        .transpose()?;
    let blue_green = deployment.strategy == Strategy::BlueGreen;
    Ok(DeploymentConfiguration::builder()
        .set_minimum_healthy_percent(deployment.min_percent)
        .set_maximum_percent(deployment.max_percent)
        // The circuit breaker is of rolling deployments; blue/green ones go back by themselves.
        .set_deployment_circuit_breaker((!blue_green).then_some(breaker))
        .set_alarms(alarms)
        .set_strategy(blue_green.then_some(DeploymentStrategy::BlueGreen))
        .set_bake_time_in_minutes(deployment.bake_minutes)
        .build())
}

fn service_connect(connect: &ServiceConnect) -> Result<ServiceConnectConfiguration, BuildError> {
    let offers = connect
        .offers
        .iter()
        .map(|(port, offer)| {
            let alias = offer
                .port
                .map(|port| {
                    ServiceConnectClientAlias::builder()
                        .port(i32::from(port))
                        .set_dns_name(offer.dns_name.clone())
                        .build()
                })
                .transpose()?;
            ServiceConnectService::builder()
                .port_name(port)
                .set_discovery_name(offer.discovery_name.clone())
                .set_client_aliases(alias.map(|alias| vec![alias]))
                .build()
        })
        .collect::<Result<_, _>>()?;
    Ok(ServiceConnectConfiguration::builder()
        .enabled(true)
        .set_namespace(connect.namespace.clone())
        .set_services(some(offers))
        .build())
}

fn launch_type(of: LaunchType) -> EcsLaunchType {
    match of {
        LaunchType::Ec2 => EcsLaunchType::Ec2,
        LaunchType::Fargate => EcsLaunchType::Fargate,
        LaunchType::External => EcsLaunchType::External,
    }
}

fn propagate(tags: PropagateTags) -> EcsPropagateTags {
    match tags {
        PropagateTags::Service => EcsPropagateTags::Service,
        PropagateTags::TaskDefinition => EcsPropagateTags::TaskDefinition,
        PropagateTags::None => EcsPropagateTags::None,
    }
}

fn rebalancing(on: bool) -> AvailabilityZoneRebalancing {
    if on { AvailabilityZoneRebalancing::Enabled } else { AvailabilityZoneRebalancing::Disabled }
}

/// A list, where there is anything in it.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
