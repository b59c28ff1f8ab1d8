//! A task definition in ECS's words, to be registered.

use std::collections::BTreeMap;

use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionFluentBuilder;
use aws_sdk_ecs::types::{
    ApplicationProtocol, Compatibility, ContainerCondition, ContainerDefinition, ContainerDependency,
    ContainerRestartPolicy, CpuArchitecture, Device as EcsDevice, DeviceCgroupPermission, EnvironmentFile,
    EnvironmentFileType, EphemeralStorage, FirelensConfiguration, FirelensConfigurationType,
    HealthCheck as EcsHealthCheck, HostEntry, IpcMode as EcsIpcMode, KernelCapabilities, KeyValuePair, LinuxParameters,
    LogConfiguration, LogDriver, MountPoint, NetworkMode, OsFamily, PidMode as EcsPidMode, PortMapping,
    RepositoryCredentials, ResourceRequirement, ResourceType, RuntimePlatform, Secret, SystemControl,
    TaskDefinitionPlacementConstraint, TaskDefinitionPlacementConstraintType, Tmpfs as EcsTmpfs, TransportProtocol,
    Ulimit as EcsUlimit, UlimitName, VolumeFrom,
};
use aws_smithy_types::error::operation::BuildError;

use super::container::{AWSLOGS, Container, Linux, Logging, Router, Word};
use super::volume::words;
use super::{Architecture, IpcMode, Network, Os, PidMode, RunsOn, TaskDefinition};
use crate::aws::Aws;
use crate::cloud::CloudError;

/// The call that registers this definition, without its tags.
pub fn register(aws: &Aws, definition: &TaskDefinition) -> Result<RegisterTaskDefinitionFluentBuilder, CloudError> {
    let region = aws.scope.region.as_str();
    let containers = definition
        .containers
        .iter()
        .map(|(name, container)| self::container(name, container, region))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CloudError::unexpected("ecs:RegisterTaskDefinition", error.to_string()))?;
    let volumes =
        definition.volumes.iter().map(|(name, volume)| volume.request(name)).collect::<Result<Vec<_>, _>>()?;
    let placement = definition.placement.iter().map(|expression| {
        TaskDefinitionPlacementConstraint::builder()
            .r#type(TaskDefinitionPlacementConstraintType::MemberOf)
            .expression(expression)
            .build()
    });
    let platform = (definition.architecture.is_some() || definition.os.is_some()).then(|| {
        RuntimePlatform::builder()
            .set_cpu_architecture(definition.architecture.map(Architecture::request))
            .set_operating_system_family(definition.os.map(Os::request))
            .build()
    });
    let storage =
        definition.ephemeral_storage_gib.map(|size| EphemeralStorage::builder().size_in_gib(number(size)).build());
    Ok(aws
        .ecs
        .register_task_definition()
        .family(&definition.family)
        .set_requires_compatibilities(Some(definition.runs_on.iter().map(|one| one.request()).collect()))
        .set_cpu(definition.cpu.map(|units| units.to_string()))
        .set_memory(definition.memory.map(|mib| mib.to_string()))
        .network_mode(definition.network().request())
        .set_execution_role_arn(definition.execution_role.clone())
        .set_task_role_arn(definition.task_role.clone())
        .set_runtime_platform(platform)
        .set_ephemeral_storage(storage)
        .set_pid_mode(definition.pid_mode.map(PidMode::request))
        .set_ipc_mode(definition.ipc_mode.map(IpcMode::request))
        .set_placement_constraints(some(placement.collect()))
        .set_container_definitions(Some(containers))
        .set_volumes(some(volumes)))
}

fn container(name: &str, container: &Container, region: &str) -> Result<ContainerDefinition, BuildError> {
    let all =
        |map: &BTreeMap<String, String>| map.iter().map(|(name, arn)| secret(name, arn)).collect::<Result<Vec<_>, _>>();
    let pairs = |map: &BTreeMap<String, Word>| -> Vec<KeyValuePair> {
        map.iter().map(|(key, Word(value))| KeyValuePair::builder().name(key).value(value).build()).collect()
    };
    let files = container
        .environment_files
        .iter()
        .map(|arn| EnvironmentFile::builder().value(arn).r#type(EnvironmentFileType::S3).build())
        .collect::<Result<Vec<_>, _>>()?;
    let ports = container.ports.iter().map(|port| {
        PortMapping::builder()
            .container_port(i32::from(port.container))
            .set_host_port(port.host.map(i32::from))
            .protocol(TransportProtocol::from(port.protocol.as_str()))
            .set_name(port.name.clone())
            .set_app_protocol(port.speaks.map(|speaks| ApplicationProtocol::from(speaks.as_str())))
            .build()
    });
    let health_check = container
        .health_check
        .as_ref()
        .map(|check| {
            EcsHealthCheck::builder()
                .set_command(Some(check.command.0.clone()))
                .interval(number(check.interval_seconds))
                .timeout(number(check.timeout_seconds))
                .retries(number(check.retries))
                .set_start_period((check.start_period_seconds > 0).then(|| number(check.start_period_seconds)))
                .build()
        })
        .transpose()?;
    let depends_on = container
        .depends_on
        .iter()
        .map(|(other, condition)| {
            ContainerDependency::builder()
                .container_name(other)
                .condition(ContainerCondition::from(condition.as_str()))
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mounts = container.mounts.iter().map(|mount| {
        MountPoint::builder()
            .source_volume(&mount.volume)
            .container_path(&mount.path)
            .read_only(mount.read_only)
            .build()
    });
    let volumes_from = container
        .volumes_from
        .iter()
        .map(|from| VolumeFrom::builder().source_container(&from.container).read_only(from.read_only).build());
    let ulimits = container
        .ulimits
        .iter()
        .map(|(name, limit)| {
            EcsUlimit::builder()
                .name(UlimitName::from(name.as_str()))
                .soft_limit(limit.soft)
                .hard_limit(limit.hard)
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let sysctls = container
        .sysctls
        .iter()
        .map(|(name, Word(value))| SystemControl::builder().namespace(name).value(value).build());
    let hosts = container
        .hosts
        .iter()
        .map(|(name, address)| HostEntry::builder().hostname(name).ip_address(address).build())
        .collect::<Result<Vec<_>, _>>()?;
    let gpus = container
        .gpus
        .map(|count| ResourceRequirement::builder().r#type(ResourceType::Gpu).value(count.to_string()).build())
        .transpose()?;
    let registry = container
        .registry_credentials
        .as_ref()
        .map(|arn| RepositoryCredentials::builder().credentials_parameter(arn).build())
        .transpose()?;
    let restart = container
        .restart
        .as_ref()
        .map(|restart| {
            ContainerRestartPolicy::builder()
                .enabled(restart.enabled)
                .set_ignored_exit_codes(some(restart.ignored_exit_codes.iter().copied().collect()))
                .restart_attempt_period(restart.attempt_period_seconds)
                .build()
        })
        .transpose()?;
    let firelens = container
        .firelens
        .as_ref()
        .map(|firelens| {
            FirelensConfiguration::builder()
                .r#type(match firelens.r#type {
                    Router::Fluentbit => FirelensConfigurationType::Fluentbit,
                    Router::Fluentd => FirelensConfigurationType::Fluentd,
                })
                .set_options(words(&firelens.options))
                .build()
        })
        .transpose()?;
    Ok(ContainerDefinition::builder()
        .name(name)
        .image(&container.image)
        .essential(container.essential)
        .cpu(number(container.cpu))
        .set_memory(container.memory.map(number))
        .set_memory_reservation(container.memory_reservation.map(number))
        .set_entry_point(some(container.entry_point.clone()))
        .set_command(some(container.command.clone()))
        .set_working_directory(container.working_directory.clone())
        .set_user(container.user.clone())
        .set_environment(some(pairs(&container.environment)))
        .set_environment_files(some(files))
        .set_secrets(some(all(&container.secrets)?))
        .set_port_mappings(some(ports.collect()))
        .set_health_check(health_check)
        .set_depends_on(some(depends_on))
        .set_start_timeout(container.start_timeout_seconds.map(number))
        .set_stop_timeout(container.stop_timeout_seconds.map(number))
        .set_log_configuration(container.log.as_ref().map(|log| logging(log, name, region)).transpose()?)
        .set_mount_points(some(mounts.collect()))
        .set_volumes_from(some(volumes_from.collect()))
        .set_ulimits(some(ulimits))
        .set_linux_parameters(container.linux.as_ref().map(linux).transpose()?)
        .set_system_controls(some(sysctls.collect()))
        .set_privileged(container.privileged.then_some(true))
        .set_readonly_root_filesystem(container.read_only.then_some(true))
        .set_interactive(container.interactive.then_some(true))
        .set_pseudo_terminal(container.terminal.then_some(true))
        .set_resource_requirements(gpus.map(|gpus| vec![gpus]))
        .set_hostname(container.hostname.clone())
        .set_dns_servers(some(container.dns_servers.clone()))
        .set_dns_search_domains(some(container.dns_search.clone()))
        .set_extra_hosts(some(hosts))
        .set_links(some(container.links.iter().cloned().collect()))
        .set_docker_labels(words(&container.labels))
        .set_docker_security_options(some(container.security_options.iter().cloned().collect()))
        .set_repository_credentials(registry)
        .set_restart_policy(restart)
        .set_firelens_configuration(firelens)
        .build())
}

fn logging(log: &Logging, container: &str, region: &str) -> Result<LogConfiguration, BuildError> {
    let mut options: std::collections::HashMap<String, String> = words(&log.options).unwrap_or_default();
    if log.driver == AWSLOGS {
        if let Some(group) = &log.group {
            options.insert("awslogs-group".into(), group.clone());
        }
        options.entry("awslogs-region".into()).or_insert_with(|| region.to_owned());
        let prefix = log.stream_prefix.as_deref().unwrap_or(container);
        options.insert("awslogs-stream-prefix".into(), prefix.to_owned());
    }
    let secrets = log.secret_options.iter().map(|(name, arn)| secret(name, arn)).collect::<Result<Vec<_>, _>>()?;
    LogConfiguration::builder()
        .log_driver(LogDriver::from(log.driver.as_str()))
        .set_options((!options.is_empty()).then_some(options))
        .set_secret_options(some(secrets))
        .build()
}

fn linux(linux: &Linux) -> Result<LinuxParameters, BuildError> {
    let capabilities = (!linux.add_capabilities.is_empty() || !linux.drop_capabilities.is_empty()).then(|| {
        KernelCapabilities::builder()
            .set_add(some(linux.add_capabilities.iter().cloned().collect()))
            .set_drop(some(linux.drop_capabilities.iter().cloned().collect()))
            .build()
    });
    let devices = linux
        .devices
        .iter()
        .map(|device| {
            let permissions = device.permissions.iter().map(|one| DeviceCgroupPermission::from(one.as_str()));
            EcsDevice::builder()
                .host_path(&device.host)
                .set_container_path(device.container.clone())
                .set_permissions(some(permissions.collect()))
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let tmpfs = linux
        .tmpfs
        .iter()
        .map(|one| {
            EcsTmpfs::builder()
                .container_path(&one.path)
                .size(one.size_mib)
                .set_mount_options(some(one.options.iter().cloned().collect()))
                .build()
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(LinuxParameters::builder()
        .set_init_process_enabled(linux.init.then_some(true))
        .set_capabilities(capabilities)
        .set_devices(some(devices))
        .set_shared_memory_size(linux.shared_memory_mib)
        .set_max_swap(linux.max_swap_mib)
        .set_swappiness(linux.swappiness)
        .set_tmpfs(some(tmpfs))
        .build())
}

fn secret(name: &str, arn: &str) -> Result<Secret, BuildError> {
    Secret::builder().name(name).value_from(arn).build()
}

/// A list, where there is anything in it.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A number as the SDK takes it. What is too large was refused offline.
fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl RunsOn {
    fn request(self) -> Compatibility {
        match self {
            Self::Ec2 => Compatibility::Ec2,
            Self::Fargate => Compatibility::Fargate,
            Self::External => Compatibility::External,
        }
    }
}

impl Network {
    fn request(self) -> NetworkMode {
        match self {
            Self::Awsvpc => NetworkMode::Awsvpc,
            Self::Bridge => NetworkMode::Bridge,
            Self::Host => NetworkMode::Host,
            Self::None => NetworkMode::None,
        }
    }
}

impl Architecture {
    fn request(self) -> CpuArchitecture {
        match self {
            Self::X86_64 => CpuArchitecture::X8664,
            Self::Arm64 => CpuArchitecture::Arm64,
        }
    }
}

impl Os {
    fn request(self) -> OsFamily {
        match self {
            Self::Linux => OsFamily::Linux,
            Self::WindowsServer2019Core => OsFamily::WindowsServer2019Core,
            Self::WindowsServer2019Full => OsFamily::WindowsServer2019Full,
            Self::WindowsServer2022Core => OsFamily::WindowsServer2022Core,
            Self::WindowsServer2022Full => OsFamily::WindowsServer2022Full,
        }
    }
}

impl PidMode {
    fn request(self) -> EcsPidMode {
        match self {
            Self::Host => EcsPidMode::Host,
            Self::Task => EcsPidMode::Task,
        }
    }
}

impl IpcMode {
    fn request(self) -> EcsIpcMode {
        match self {
            Self::Host => EcsIpcMode::Host,
            Self::Task => EcsIpcMode::Task,
            Self::None => EcsIpcMode::None,
        }
    }
}
