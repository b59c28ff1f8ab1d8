//! A container of a task, typed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Its image: `"nginx:1.27"`, `"${repository.web.url}:v1"`, or by digest `"nginx@sha256:…"`.
    pub image: String,
    /// Whether the task ends when it ends.
    #[serde(default = "yes")]
    pub essential: bool,
    /// CPU units kept for it, 1024 to a core; 0 leaves it what the others do not use.
    #[serde(default)]
    pub cpu: u32,
    /// MiB of memory beyond which it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// MiB of memory kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u32>,
    /// What it runs, in place of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_point: Vec<String>,
    /// The arguments, in place of the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The folder that it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// The user it runs as: a name or number, with `:group` or without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment variables. No place for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Word>,
    /// Files of environment variables, by the ARNs of objects in S3; the earlier ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<String>,
    /// Environment variables whose values ECS fetches when it starts the container: ARNs of secrets and parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// How ECS finds out whether it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// What other containers have to be before it is started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<String, Condition>,
    /// Seconds that its dependencies may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout_seconds: Option<u32>,
    /// Seconds between the request to stop and being killed. Without it: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u32>,
    /// Where its output goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Logging>,
    /// Volumes that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Containers whose volumes it sees, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// Limits of the kernel, by name: `nofile = { soft = 65536, hard = 65536 }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// What Linux allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    /// Settings of the kernel: `"net.core.somaxconn" = "1024"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, Word>,
    /// Whether it has root's rights on the instance.
    #[serde(default, skip_serializing_if = "is_not")]
    pub privileged: bool,
    /// Whether it cannot write to its own file system.
    #[serde(default, skip_serializing_if = "is_not")]
    pub read_only: bool,
    /// Whether standard input stays open.
    #[serde(default, skip_serializing_if = "is_not")]
    pub interactive: bool,
    /// Whether it has a terminal.
    #[serde(default, skip_serializing_if = "is_not")]
    pub terminal: bool,
    /// How many GPUs of the instance it has to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The name servers that it asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<String>,
    /// The domains in which it looks for names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// More names of hosts, with their addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// Containers that it sees by name on a bridge: `"db"` or `"db:alias"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<String>,
    /// Labels of Docker's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Word>,
    /// Profiles of SELinux and AppArmor.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub security_options: BTreeSet<String>,
    /// The ARN of the secret with the name and password of a private registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_credentials: Option<String>,
    /// Whether and how it is started again without the task ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Makes it the router of the other containers' logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firelens: Option<Firelens>,
}

/// A text; in a stack also a number, true or false.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            plain @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(plain.to_string())),
            other => Err(serde::de::Error::custom(format!("`{other}` is no text"))),
        }
    }
}

impl JsonSchema for Word {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "number" }, { "type": "boolean" }] })
    }
}

/// A port that a container listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The port in the container.
    #[schemars(range(min = 1, max = 65535))]
    pub container: u16,
    /// The port on the instance, where the network is a bridge; 0: any that is free. Without it: any that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Its name, for Service Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is spoken there, for Service Connect. Without it: plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaks: Option<Speaks>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    /// HTTP.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
}

impl Speaks {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
        }
    }
}

/// How ECS finds out whether a container is healthy: a command that ends with 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// A line for the container's shell, or `["CMD", …]` without one.
    pub command: ShellCommand,
    /// Seconds between checks, 5 to 300.
    #[serde(default = "thirty")]
    pub interval_seconds: u32,
    /// Seconds that a check may take, 2 to 60.
    #[serde(default = "five")]
    pub timeout_seconds: u32,
    /// Failures in a row after which it is unhealthy, 1 to 10.
    #[serde(default = "three")]
    pub retries: u32,
    /// Seconds from its start in which failures do not count, 0 to 300.
    #[serde(default)]
    pub start_period_seconds: u32,
}

/// A command: a line for the shell, or a list that begins with `CMD` or `CMD-SHELL`. Canonical: the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShellCommand(pub Vec<String>);

impl<'de> Deserialize<'de> for ShellCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Line(String),
            List(Vec<String>),
        }
        Ok(Self(match Given::deserialize(deserializer)? {
            Given::Line(line) => vec!["CMD-SHELL".to_owned(), line],
            Given::List(list) => list,
        }))
    }
}

impl JsonSchema for ShellCommand {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ShellCommand".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

/// What another container has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Started.
    Start,
    /// Ended, however.
    Complete,
    /// Ended with 0.
    Success,
    /// Healthy, by its health check.
    Healthy,
}

impl Condition {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Success => "SUCCESS",
            Self::Healthy => "HEALTHY",
        }
    }

    /// From AWS's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Start, Self::Complete, Self::Success, Self::Healthy].into_iter().find(|one| one.as_str() == text)
    }
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The log driver.
    #[serde(default = "awslogs")]
    pub driver: String,
    /// The log group, for `awslogs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "log_group.name"))]
    pub group: Option<String>,
    /// What the names of its streams begin with, for `awslogs`. Without it: the container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_prefix: Option<String>,
    /// Further options of the driver: `mode = "non-blocking"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Word>,
    /// Options whose values ECS fetches: ARNs of secrets and parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_options: BTreeMap<String, String>,
}

/// The driver that writes to CloudWatch Logs.
pub const AWSLOGS: &str = "awslogs";

/// A volume that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The volume.
    pub volume: String,
    /// Where in the container.
    pub path: String,
    /// Whether it cannot write there.
    #[serde(default)]
    pub read_only: bool,
}

/// A container whose volumes another one sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumesFrom {
    /// The container that has them.
    pub container: String,
    /// Whether this one cannot write there.
    #[serde(default)]
    pub read_only: bool,
}

/// A limit of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// The limit that the container may raise.
    pub soft: i32,
    /// How far.
    pub hard: i32,
}

/// What Linux allows a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Linux {
    /// Whether a small init process reaps what the container leaves.
    #[serde(skip_serializing_if = "is_not")]
    pub init: bool,
    /// Capabilities it has besides Docker's usual ones: `"SYS_PTRACE"`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub add_capabilities: BTreeSet<String>,
    /// Capabilities that are taken from it, `"ALL"` for all of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub drop_capabilities: BTreeSet<String>,
    /// Devices of the instance that it sees.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<Device>,
    /// MiB of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory_mib: Option<i32>,
    /// MiB of swap that it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_swap_mib: Option<i32>,
    /// How readily it is swapped, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<i32>,
    /// File systems in memory.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tmpfs: BTreeSet<Tmpfs>,
}

/// A device of the instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its path on the instance.
    pub host: String,
    /// Its path in the container. Without it: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What may be done with it. Without any: everything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub permissions: BTreeSet<Permission>,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making nodes.
    Mknod,
}

impl Permission {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Mknod => "mknod",
        }
    }

    /// From AWS's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Mknod].into_iter().find(|one| one.as_str() == text)
    }
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Where in the container.
    pub path: String,
    /// Its size in MiB.
    pub size_mib: i32,
    /// Options of its mount: `"noexec"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub options: BTreeSet<String>,
}

/// How a container is started again without the task ending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// Whether it is.
    pub enabled: bool,
    /// Exit codes after which it is not.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored_exit_codes: BTreeSet<i32>,
    /// Seconds that it must have run to be started again, 60 to 1800.
    pub attempt_period_seconds: i32,
}

impl Default for Restart {
    fn default() -> Self {
        Self { enabled: true, ignored_exit_codes: BTreeSet::new(), attempt_period_seconds: 300 }
    }
}

/// A router of logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firelens {
    /// Which one.
    #[serde(default)]
    pub r#type: Router,
    /// Its options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Word>,
}

/// A program that routes logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Router {
    /// Fluent Bit.
    #[default]
    Fluentbit,
    /// Fluentd.
    Fluentd,
}

fn yes() -> bool {
    true
}

fn is_not(value: &bool) -> bool {
    !value
}

fn thirty() -> u32 {
    30
}

fn five() -> u32 {
    5
}

fn three() -> u32 {
    3
}

fn awslogs() -> String {
    AWSLOGS.to_owned()
}

impl Container {
    /// Equal things in equal words. `same_ports`: the network gives ports on the instance the container's numbers.
    pub fn normalize(&mut self, name: &str, same_ports: bool) {
        for port in &mut self.ports {
            let follows = if same_ports { port.container } else { 0 };
            port.host = port.host.filter(|host| *host != follows);
        }
        self.ports.sort();
        self.mounts.sort();
        self.volumes_from.sort();
        if let Some(log) = &mut self.log
            && log.driver == AWSLOGS
        {
            log.stream_prefix.get_or_insert_with(|| name.to_owned());
        }
        self.linux = self.linux.take().filter(|linux| *linux != Linux::default());
    }
}
