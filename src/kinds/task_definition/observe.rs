//! A registered revision, in the words of the language.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, CpuArchitecture, FirelensConfigurationType, IpcMode as EcsIpcMode,
    LinuxParameters, LogConfiguration, NetworkMode, OsFamily, PidMode as EcsPidMode, ResourceType, Secret,
    TaskDefinition as Revision, TransportProtocol,
};

use super::container::{
    AWSLOGS, Condition, Container, Device, Firelens, HealthCheck, Linux, Logging, Mount, Permission, Port, Protocol,
    Restart, Router, ShellCommand, Speaks, Tmpfs, Ulimit, VolumesFrom, Word,
};
use super::volume::{Volume, observed_words};
use super::{Architecture, IpcMode, Network, Os, PidMode, RunsOn, TaskDefinition, on_ec2, ten};
use crate::kinds::Tags;

/// What a revision holds, but for its tags.
pub fn definition(revision: &Revision, region: &str) -> TaskDefinition {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    let platform = revision.runtime_platform();
    let runs_on: std::collections::BTreeSet<RunsOn> = revision
        .requires_compatibilities()
        .iter()
        .filter_map(|one| match one {
            Compatibility::Ec2 => Some(RunsOn::Ec2),
            Compatibility::Fargate => Some(RunsOn::Fargate),
            Compatibility::External => Some(RunsOn::External),
            _ => None,
        })
        .collect();
    let containers = revision.container_definitions().iter();
    let volumes = revision.volumes().iter();
    TaskDefinition {
        family: revision.family().unwrap_or_default().to_owned(),
        runs_on: if runs_on.is_empty() { on_ec2() } else { runs_on },
        cpu: number(revision.cpu()),
        memory: number(revision.memory()),
        network: revision.network_mode().and_then(|mode| match mode {
            NetworkMode::Awsvpc => Some(Network::Awsvpc),
            NetworkMode::Bridge => Some(Network::Bridge),
            NetworkMode::Host => Some(Network::Host),
            NetworkMode::None => Some(Network::None),
            _ => None,
        }),
        execution_role: given(revision.execution_role_arn()),
        task_role: given(revision.task_role_arn()),
        architecture: platform.and_then(|platform| platform.cpu_architecture()).and_then(|one| match one {
            CpuArchitecture::X8664 => Some(Architecture::X86_64),
            CpuArchitecture::Arm64 => Some(Architecture::Arm64),
            _ => None,
        }),
        os: platform.and_then(|platform| platform.operating_system_family()).and_then(|family| match family {
            OsFamily::Linux => Some(Os::Linux),
            OsFamily::WindowsServer2019Core => Some(Os::WindowsServer2019Core),
            OsFamily::WindowsServer2019Full => Some(Os::WindowsServer2019Full),
            OsFamily::WindowsServer2022Core => Some(Os::WindowsServer2022Core),
            OsFamily::WindowsServer2022Full => Some(Os::WindowsServer2022Full),
            _ => None,
        }),
        ephemeral_storage_gib: revision.ephemeral_storage().and_then(|one| positive(one.size_in_gib())),
        pid_mode: revision.pid_mode().and_then(|mode| match mode {
            EcsPidMode::Host => Some(PidMode::Host),
            EcsPidMode::Task => Some(PidMode::Task),
            _ => None,
        }),
        ipc_mode: revision.ipc_mode().and_then(|mode| match mode {
            EcsIpcMode::Host => Some(IpcMode::Host),
            EcsIpcMode::Task => Some(IpcMode::Task),
            EcsIpcMode::None => Some(IpcMode::None),
            _ => None,
        }),
        placement: revision.placement_constraints().iter().filter_map(|one| given(one.expression())).collect(),
        containers: containers
            .map(|one| {
                let name = one.name().unwrap_or_default();
                (name.to_owned(), container(one, region))
            })
            .collect(),
        volumes: volumes.map(|one| (one.name().unwrap_or_default().to_owned(), Volume::observed(one))).collect(),
        keep_revisions: ten(),
        tags: Tags::new(),
    }
}

fn container(one: &ContainerDefinition, region: &str) -> Container {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let pairs = one.environment().iter();
    let sysctls = one.system_controls().iter();
    let gpus = one.resource_requirements().iter().find(|need| *need.r#type() == ResourceType::Gpu);
    Container {
        image: one.image().unwrap_or_default().to_owned(),
        essential: one.essential().unwrap_or(true),
        cpu: positive(one.cpu()).unwrap_or_default(),
        memory: one.memory().and_then(positive),
        memory_reservation: one.memory_reservation().and_then(positive),
        entry_point: one.entry_point().to_vec(),
        command: one.command().to_vec(),
        working_directory: given(one.working_directory()),
        user: given(one.user()),
        environment: pairs
            .filter_map(|pair| Some((pair.name()?.to_owned(), Word(pair.value().unwrap_or_default().to_owned()))))
            .collect(),
        environment_files: one.environment_files().iter().map(|file| file.value().to_owned()).collect(),
        secrets: secrets(one.secrets()),
        ports: one
            .port_mappings()
            .iter()
            .map(|port| Port {
                container: port.container_port().and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
                host: port.host_port().and_then(|port| u16::try_from(port).ok()),
                protocol: match port.protocol() {
                    Some(TransportProtocol::Udp) => Protocol::Udp,
                    _ => Protocol::Tcp,
                },
                name: given(port.name()),
                speaks: port.app_protocol().and_then(|speaks| {
                    [Speaks::Http, Speaks::Http2, Speaks::Grpc].into_iter().find(|one| one.as_str() == speaks.as_str())
                }),
            })
            .collect(),
        // What is left out is Docker's default, which is the language's own.
        health_check: one.health_check().map(|check| HealthCheck {
            command: ShellCommand(check.command().to_vec()),
            interval_seconds: check.interval().and_then(positive).unwrap_or(30),
            timeout_seconds: check.timeout().and_then(positive).unwrap_or(5),
            retries: check.retries().and_then(positive).unwrap_or(3),
            start_period_seconds: check.start_period().and_then(positive).unwrap_or(0),
        }),
        depends_on: one
            .depends_on()
            .iter()
            .filter_map(|on| Some((on.container_name().to_owned(), Condition::parse(on.condition().as_str())?)))
            .collect(),
        start_timeout_seconds: one.start_timeout().and_then(positive),
        stop_timeout_seconds: one.stop_timeout().and_then(positive),
        log: one.log_configuration().map(|log| logging(log, region)),
        mounts: one
            .mount_points()
            .iter()
            .map(|mount| Mount {
                volume: mount.source_volume().unwrap_or_default().to_owned(),
                path: mount.container_path().unwrap_or_default().to_owned(),
                read_only: mount.read_only().unwrap_or_default(),
            })
            .collect(),
        volumes_from: one
            .volumes_from()
            .iter()
            .map(|from| VolumesFrom {
                container: from.source_container().unwrap_or_default().to_owned(),
                read_only: from.read_only().unwrap_or_default(),
            })
            .collect(),
        ulimits: one
            .ulimits()
            .iter()
            .map(|limit| {
                let name = limit.name().as_str().to_owned();
                (name, Ulimit { soft: limit.soft_limit(), hard: limit.hard_limit() })
            })
            .collect(),
        linux: one.linux_parameters().map(linux),
        sysctls: sysctls
            .filter_map(|one| Some((one.namespace()?.to_owned(), Word(one.value().unwrap_or_default().to_owned()))))
            .collect(),
        privileged: one.privileged().unwrap_or_default(),
        read_only: one.readonly_root_filesystem().unwrap_or_default(),
        interactive: one.interactive().unwrap_or_default(),
        terminal: one.pseudo_terminal().unwrap_or_default(),
        gpus: gpus.and_then(|need| need.value().parse().ok()),
        hostname: given(one.hostname()),
        dns_servers: one.dns_servers().to_vec(),
        dns_search: one.dns_search_domains().to_vec(),
        hosts: one
            .extra_hosts()
            .iter()
            .map(|host| (host.hostname().to_owned(), host.ip_address().to_owned()))
            .collect(),
        links: one.links().iter().cloned().collect(),
        labels: observed_words(one.docker_labels()),
        security_options: one.docker_security_options().iter().cloned().collect(),
        registry_credentials: one.repository_credentials().map(|one| one.credentials_parameter().to_owned()),
        restart: one.restart_policy().map(|restart| Restart {
            enabled: restart.enabled(),
            ignored_exit_codes: restart.ignored_exit_codes().iter().copied().collect(),
            attempt_period_seconds: restart.restart_attempt_period().unwrap_or(300),
        }),
        firelens: one.firelens_configuration().map(|firelens| Firelens {
            r#type: match firelens.r#type() {
                FirelensConfigurationType::Fluentd => Router::Fluentd,
                _ => Router::Fluentbit,
            },
            options: observed_words(firelens.options()),
        }),
    }
}

fn logging(log: &LogConfiguration, region: &str) -> Logging {
    let mut options = observed_words(log.options());
    let driver = log.log_driver().as_str().to_owned();
    let (mut group, mut stream_prefix) = (None, None);
    if driver == AWSLOGS {
        group = options.remove("awslogs-group").map(|Word(name)| name);
        stream_prefix = options.remove("awslogs-stream-prefix").map(|Word(prefix)| prefix);
        if options.get("awslogs-region") == Some(&Word(region.to_owned())) {
            options.remove("awslogs-region");
        }
    }
    Logging { driver, group, stream_prefix, options, secret_options: secrets(log.secret_options()) }
}

fn linux(linux: &LinuxParameters) -> Linux {
    let capabilities = linux.capabilities();
    Linux {
        init: linux.init_process_enabled().unwrap_or_default(),
        add_capabilities: capabilities.map(|all| all.add().iter().cloned().collect()).unwrap_or_default(),
        drop_capabilities: capabilities.map(|all| all.drop().iter().cloned().collect()).unwrap_or_default(),
        devices: linux
            .devices()
            .iter()
            .map(|device| Device {
                host: device.host_path().to_owned(),
                container: device.container_path().filter(|path| !path.is_empty()).map(str::to_owned),
                permissions: device.permissions().iter().filter_map(|one| Permission::parse(one.as_str())).collect(),
            })
            .collect(),
        shared_memory_mib: linux.shared_memory_size(),
        max_swap_mib: linux.max_swap(),
        swappiness: linux.swappiness(),
        tmpfs: linux
            .tmpfs()
            .iter()
            .map(|one| Tmpfs {
                path: one.container_path().to_owned(),
                size_mib: one.size(),
                options: one.mount_options().iter().cloned().collect(),
            })
            .collect(),
    }
}

fn secrets(all: &[Secret]) -> BTreeMap<String, String> {
    all.iter().map(|secret| (secret.name().to_owned(), secret.value_from().to_owned())).collect()
}

/// A number that says something.
fn positive(number: i32) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}
