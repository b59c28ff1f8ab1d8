//! `target_group`: where a load balancer sends what it takes in, and how it finds out who is healthy.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup as Group, TargetGroupAttribute, TargetTypeEnum,
};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::elbv2::{self, Settings, changed_settings};
use super::{Actions, Kind, Tags, Taking, gone_is_fine, in_order, is_own, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};

/// Where a load balancer sends what it takes in, and how it finds out who is healthy. What cannot be changed in place
/// is part of its name, so that predecessor and successor stand side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Its name, unique in the account and region, up to 32 characters. Without one it is named after the stack and its
    /// place in it.
    #[serde(default)]
    pub name: String,
    /// The VPC of its targets.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: String,
    /// What its targets are: `"ip"` for tasks of network `"awsvpc"`, `"instance"` for others.
    #[serde(default)]
    pub targets: Targets,
    /// What is spoken with targets.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port of targets that say none of their own.
    #[serde(default = "eighty")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The version of HTTP that is spoken with targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How it finds out who is healthy.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// Seconds that requests under way have when a target goes, 0 to 3600.
    #[serde(default = "three_hundred")]
    pub deregistration_delay_seconds: u32,
    /// Whether a client stays with its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
    /// Seconds in which a new target's share of requests grows, 30 to 900. Without it: it has its share at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start_seconds: Option<u32>,
    /// How requests are shared among targets; of HTTP and HTTPS. Without it: in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Whether targets see the client's address; of TCP, UDP and TLS. Without it the kind of targets decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_client_ip: Option<bool>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What targets are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// Addresses.
    #[default]
    Ip,
    /// Instances.
    Instance,
}

/// What is spoken with targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP.
    #[default]
    Http,
    /// HTTPS.
    Https,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// UDP.
    Udp,
    /// TCP and UDP on one port.
    #[serde(rename = "tcp-udp")]
    TcpUdp,
}

impl Protocol {
    const ALL: [Self; 6] = [Self::Http, Self::Https, Self::Tcp, Self::Tls, Self::Udp, Self::TcpUdp];

    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
        }
    }

    /// From AWS's word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// Whether application load balancers speak it.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
}

impl Version {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP1",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
        }
    }
}

/// How it is found out who is healthy. What is left out is AWS's default for the protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// What is spoken. Without it: HTTP with targets of HTTP and HTTPS, else TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The path that is asked for, over HTTP and HTTPS. Without it: `"/"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The port that is asked. Without it: the target's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Seconds between checks, 5 to 300. Without it: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u32>,
    /// Seconds that a check may take, 2 to 120 and less than the interval. Without it: 5, of TCP and TLS 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Successes in a row after which a target is healthy, 2 to 10. Without it: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<u32>,
    /// Failures in a row after which a target is unhealthy, 2 to 10. Without it: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<u32>,
    /// The status codes of success: `"200"`, `"200-299"`, `"200,302"`; of gRPC `"0-99"`. Without it: 200, of gRPC 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<String>,
}

/// How a client stays with its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stickiness {
    /// By the cookie of the application with this name. Without it: by a cookie of the load balancer's, or, of TCP, UDP
    /// and TLS, by the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Seconds that it lasts, 1 to 604800; not by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
}

/// How requests are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// In turn.
    RoundRobin,
    /// To who has the fewest under way.
    LeastOutstandingRequests,
    /// By chance, less to who fails.
    WeightedRandom,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::RoundRobin, Self::LeastOutstandingRequests, Self::WeightedRandom];

    fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastOutstandingRequests => "least_outstanding_requests",
            Self::WeightedRandom => "weighted_random",
        }
    }
}

fn eighty() -> u16 {
    80
}

fn three_hundred() -> u32 {
    300
}

/// Seconds that stickiness by cookie lasts where nothing is said ("TargetGroupAttribute").
const A_DAY: u32 = 86_400;

impl TargetGroup {
    /// AWS's defaults filled in ("Health checks for your target groups").
    fn normalize(&mut self) {
        if self.protocol.is_http() {
            self.version.get_or_insert(Version::Http1);
        }
        let check = &mut self.health_check;
        let how = *check.protocol.get_or_insert(if self.protocol.is_http() { Protocol::Http } else { Protocol::Tcp });
        check.interval_seconds.get_or_insert(30);
        check.timeout_seconds.get_or_insert(match (how.is_http(), self.protocol.is_http()) {
            (true, true) => 5,
            (true, false) => 6,
            (false, _) => 10,
        });
        check.healthy.get_or_insert(5);
        check.unhealthy.get_or_insert(2);
        if how.is_http() {
            let grpc = self.version == Some(Version::Grpc);
            check.path.get_or_insert_with(|| if grpc { "/AWS.ALB/healthcheck" } else { "/" }.to_owned());
            check.success.get_or_insert_with(|| match (grpc, self.protocol.is_http()) {
                (true, _) => "12".to_owned(),
                (false, true) => "200".to_owned(),
                (false, false) => "200-399".to_owned(),
            });
        }
        if let Some(stickiness) = &mut self.stickiness
            && self.protocol.is_http()
        {
            stickiness.duration_seconds.get_or_insert(A_DAY);
        }
    }

    /// Its settings by AWS's keys ("TargetGroupAttribute").
    fn settings(&self) -> Settings {
        let mut out =
            Settings::from([("deregistration_delay.timeout_seconds", self.deregistration_delay_seconds.to_string())]);
        out.insert("stickiness.enabled", self.stickiness.is_some().to_string());
        if let Some(stickiness) = &self.stickiness {
            let seconds = stickiness.duration_seconds.unwrap_or(A_DAY).to_string();
            match (&stickiness.cookie, self.protocol.is_http()) {
                (_, false) => drop(out.insert("stickiness.type", "source_ip".into())),
                (Some(cookie), true) => {
                    out.insert("stickiness.type", "app_cookie".into());
                    out.insert("stickiness.app_cookie.cookie_name", cookie.clone());
                    out.insert("stickiness.app_cookie.duration_seconds", seconds);
                }
                (None, true) => {
                    out.insert("stickiness.type", "lb_cookie".into());
                    out.insert("stickiness.lb_cookie.duration_seconds", seconds);
                }
            }
        }
        if self.protocol.is_http() {
            out.insert("slow_start.duration_seconds", self.slow_start_seconds.unwrap_or(0).to_string());
            let algorithm = self.algorithm.unwrap_or(Algorithm::RoundRobin);
            out.insert("load_balancing.algorithm.type", algorithm.as_str().to_owned());
        } else if let Some(preserve) = self.preserve_client_ip {
            out.insert("preserve_client_ip.enabled", preserve.to_string());
        }
        out
    }
}

/// Whether a step sets settings: where they are not those that AWS gives a new one, or change.
fn sets(taking: &Taking<'_>) -> bool {
    let Ok(after) = typed::<TargetGroup>(taking.after) else { return true };
    match typed::<TargetGroup>(taking.before) {
        Ok(before) if !taking.creates() => !changed_settings(&before.settings(), &after.settings()).is_empty(),
        _ => !changed_settings(&usual_settings(after.protocol.is_http()), &after.settings()).is_empty(),
    }
}

/// AWS's settings of a group about which nothing is said.
fn usual_settings(http: bool) -> Settings {
    let mut out = Settings::from([
        ("deregistration_delay.timeout_seconds", three_hundred().to_string()),
        ("stickiness.enabled", false.to_string()),
    ]);
    if http {
        out.insert("slow_start.duration_seconds", "0".to_owned());
        out.insert("load_balancing.algorithm.type", Algorithm::RoundRobin.as_str().to_owned());
    }
    out
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut group: TargetGroup =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    group.normalize();
    Ok(super::untyped(&group))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(mut group) = serde_json::from_value::<TargetGroup>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    group.normalize();
    let mut problems = Vec::new();
    elbv2::check_name(attributes, &mut problems);
    let http = group.protocol.is_http();
    let check = &group.health_check;
    for (field, value, least, most) in [
        ("health_check.interval_seconds", check.interval_seconds, 5, 300),
        ("health_check.timeout_seconds", check.timeout_seconds, 2, 120),
        ("health_check.healthy", check.healthy, 2, 10),
        ("health_check.unhealthy", check.unhealthy, 2, 10),
        ("deregistration_delay_seconds", Some(group.deregistration_delay_seconds), 0, 3600),
        ("slow_start_seconds", group.slow_start_seconds, 30, 900),
        ("stickiness.duration_seconds", group.stickiness.as_ref().and_then(|one| one.duration_seconds), 1, 604_800),
    ] {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            problems.push(Problem::at(field, format!("{value} is out of range: AWS takes {least} to {most}")));
        }
    }
    if let (Some(timeout), Some(interval)) = (check.timeout_seconds, check.interval_seconds)
        && timeout >= interval
    {
        let message = format!("a check may take {timeout} seconds, and the next begins after {interval}");
        problems.push(Problem::at("health_check.timeout_seconds", message).help("make it less than the interval"));
    }
    if let Some(path) = check.path.as_ref().filter(|path| !path.starts_with('/') && !path.contains("${")) {
        let message = format!("`{path}` is no path");
        problems.push(Problem::at("health_check.path", message).help(format!("paths begin with a slash: \"/{path}\"")));
    }
    if !check.protocol.is_some_and(Protocol::is_http) {
        for (field, given) in [("path", check.path.is_some()), ("success", check.success.is_some())] {
            if given {
                let message = "it is asked for over HTTP, and the check is not";
                let help = "write health_check.protocol = \"http\", or take it out";
                problems.push(Problem::at(&format!("health_check.{field}"), message).help(help));
            }
        }
    } else if let Some(codes) = &check.success
        && !codes.contains("${")
        && !are_codes(codes, group.version == Some(Version::Grpc))
    {
        let message = format!("`{codes}` are no status codes");
        let help = "write \"200\", \"200-299\" or \"200,302\"";
        problems.push(Problem::at("health_check.success", message).help(help));
    }
    if matches!(check.protocol, Some(Protocol::Udp | Protocol::TcpUdp | Protocol::Tls)) {
        let message = "targets are checked over HTTP, HTTPS or TCP";
        problems.push(Problem::at("health_check.protocol", message));
    }
    for (field, given, of_http) in [
        ("version", group.version.is_some(), true),
        ("slow_start_seconds", group.slow_start_seconds.is_some(), true),
        ("algorithm", group.algorithm.is_some(), true),
        ("preserve_client_ip", group.preserve_client_ip.is_some(), false),
    ] {
        if given && of_http != http {
            let of = if of_http { "HTTP and HTTPS" } else { "TCP, UDP and TLS" };
            problems.push(Problem::at(field, format!("it is a setting of {of}")).help("take it out"));
        }
    }
    problems
}

/// `200`, `200-299`, `200,302`; of gRPC 0 to 99.
fn are_codes(codes: &str, grpc: bool) -> bool {
    let code =
        |text: &str| text.parse::<u16>().is_ok_and(|code| if grpc { code < 100 } else { (200..600).contains(&code) });
    codes.split(',').all(|part| part.split_once('-').map_or_else(|| code(part), |(from, to)| code(from) && code(to)))
}

/// The kind `target_group`.
pub struct TargetGroupKind;

#[async_trait]
impl Kind for TargetGroupKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "vpc", "targets", "protocol", "port", "version"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn", "arn_suffix"],
            needs_only_existence: &["vpc"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: elbv2::LONGEST_NAME }),
            name_digests: &["vpc", "targets", "protocol", "port", "version"],
            canonical,
            check,
            typical_seconds: 1,
            ..spec::<TargetGroup>("target_group", "target group")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
            ],
            create: &[
                "elasticloadbalancing:CreateTargetGroup",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
            ],
            update: &[
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
            ],
            delete: &["elasticloadbalancing:DeleteTargetGroup"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "elasticloadbalancing:ModifyTargetGroup" => taking.changes(&["health_check"]),
            "elasticloadbalancing:ModifyTargetGroupAttributes" => sets(taking),
            // All there are, to see whose they are.
            "elasticloadbalancing:DescribeLoadBalancers"
            | "elasticloadbalancing:DescribeListeners"
            | "elasticloadbalancing:DescribeRules" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = elbv2::by_arn(&arns, |some| describe(aws, By::Arns(some))).await?;
        Ok(in_order(wanted, observe(aws, &found).await?))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        elbv2::owned(aws, "targetgroup").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let name = text(&lost.request.attributes, "name").to_owned();
        let found = match describe(aws, By::Name(name)).await {
            Err(error) if error.is(ErrorClass::NotFound) => Vec::new(),
            other => other?,
        };
        Ok(observe(aws, &found).await?.into_iter().find(|one| is_own(one, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let group: TargetGroup = typed(&request.attributes)?;
        let check = &group.health_check;
        let answer = aws
            .calls
            .create("elasticloadbalancing:CreateTargetGroup", || {
                aws.elb
                    .create_target_group()
                    .name(&group.name)
                    .vpc_id(&group.vpc)
                    .target_type(match group.targets {
                        Targets::Ip => TargetTypeEnum::Ip,
                        Targets::Instance => TargetTypeEnum::Instance,
                    })
                    .protocol(ProtocolEnum::from(group.protocol.as_str()))
                    .port(i32::from(group.port))
                    .set_protocol_version(group.version.map(|version| version.as_str().to_owned()))
                    .set_health_check_protocol(check.protocol.map(|one| ProtocolEnum::from(one.as_str())))
                    .health_check_port(port_of(check))
                    .set_health_check_path(check.path.clone())
                    .set_health_check_interval_seconds(check.interval_seconds.map(number))
                    .set_health_check_timeout_seconds(check.timeout_seconds.map(number))
                    .set_healthy_threshold_count(check.healthy.map(number))
                    .set_unhealthy_threshold_count(check.unhealthy.map(number))
                    .set_matcher(matcher(&group))
                    .set_tags(Some(elbv2::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.target_groups().first().map(outputs).unwrap_or_default();
        Ok(Created { id: text(&made, "arn").to_owned(), outputs: made })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let group: TargetGroup = typed(&request.attributes)?;
        set(aws, id, &changed_settings(&usual_settings(group.protocol.is_http()), &group.settings())).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let (before, after): (TargetGroup, TargetGroup) = (typed(&request.before)?, typed(&elbv2::wanted(request))?);
        if request.changed.contains("health_check") {
            let check = &after.health_check;
            aws.calls
                .write("elasticloadbalancing:ModifyTargetGroup", || {
                    aws.elb
                        .modify_target_group()
                        .target_group_arn(&request.id)
                        .set_health_check_protocol(check.protocol.map(|one| ProtocolEnum::from(one.as_str())))
                        .health_check_port(port_of(check))
                        .set_health_check_path(check.path.clone())
                        .set_health_check_interval_seconds(check.interval_seconds.map(number))
                        .set_health_check_timeout_seconds(check.timeout_seconds.map(number))
                        .set_healthy_threshold_count(check.healthy.map(number))
                        .set_unhealthy_threshold_count(check.unhealthy.map(number))
                        .set_matcher(matcher(&after))
                        .send()
                })
                .await?;
        }
        set(aws, &request.id, &changed_settings(&before.settings(), &after.settings())).await?;
        elbv2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while a listener or rule sends there, which passes.
        let call = || aws.elb.delete_target_group().target_group_arn(&known.id).send();
        gone_is_fine(aws.calls.write("elasticloadbalancing:DeleteTargetGroup", call).await.map(|_| ()))
    }
}

enum By {
    Arns(Vec<String>),
    Name(String),
}

async fn describe(aws: &Aws, by: By) -> Result<Vec<Group>, CloudError> {
    let call = match by {
        By::Arns(arns) => aws.elb.describe_target_groups().set_target_group_arns(Some(arns)),
        By::Name(name) => aws.elb.describe_target_groups().names(name),
    };
    let answer = aws.calls.read("elasticloadbalancing:DescribeTargetGroups", || call.clone().send()).await?;
    Ok(answer.target_groups.unwrap_or_default())
}

async fn settings_of(aws: &Aws, arn: &str) -> Result<HashMap<String, String>, CloudError> {
    let call = || aws.elb.describe_target_group_attributes().target_group_arn(arn).send();
    let answer = aws.calls.read("elasticloadbalancing:DescribeTargetGroupAttributes", call).await;
    match answer {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(HashMap::new()),
        answer => Ok(answer?
            .attributes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|one| Some((one.key?, one.value.unwrap_or_default())))
            .collect()),
    }
}

async fn set(aws: &Aws, arn: &str, settings: &Settings) -> Result<(), CloudError> {
    if settings.is_empty() {
        return Ok(());
    }
    let all: Vec<TargetGroupAttribute> =
        settings.iter().map(|(key, value)| TargetGroupAttribute::builder().key(*key).value(value).build()).collect();
    let call =
        || aws.elb.modify_target_group_attributes().target_group_arn(arn).set_attributes(Some(all.clone())).send();
    aws.calls.write("elasticloadbalancing:ModifyTargetGroupAttributes", call).await?;
    Ok(())
}

/// The port of a health check as AWS takes it ("CreateTargetGroup": `HealthCheckPort`).
fn port_of(check: &HealthCheck) -> String {
    check.port.map_or_else(|| TRAFFIC_PORT.to_owned(), |port| port.to_string())
}

const TRAFFIC_PORT: &str = "traffic-port";

fn matcher(group: &TargetGroup) -> Option<Matcher> {
    let codes = group.health_check.success.as_ref()?;
    Some(match group.version {
        Some(Version::Grpc) => Matcher::builder().grpc_code(codes).build(),
        _ => Matcher::builder().http_code(codes).build(),
    })
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn outputs(group: &Group) -> Attributes {
    let arn = group.target_group_arn().unwrap_or_default();
    Attributes::from_iter([
        ("id".to_owned(), json!(arn)),
        ("arn".to_owned(), json!(arn)),
        ("arn_suffix".to_owned(), json!(elbv2::suffix(arn))),
    ])
}

async fn observe(aws: &Aws, found: &[Group]) -> Result<Vec<Observed>, CloudError> {
    let arns: Vec<String> = found.iter().filter_map(Group::target_group_arn).map(str::to_owned).collect();
    let mut tags = elbv2::tags(aws, &arns).await?;
    let settings = try_join_all(arns.iter().map(|arn| settings_of(aws, arn))).await?;
    let one = |(group, settings): (&Group, &HashMap<String, String>)| {
        let id = group.target_group_arn().unwrap_or_default().to_owned();
        let mut attributes = observed(group, settings);
        if let Some(tags) = tags.remove(&id) {
            attributes.insert("tags".into(), tags);
        }
        Observed { id, attributes, outputs: outputs(group) }
    };
    Ok(found.iter().zip(&settings).map(one).collect())
}

fn observed(group: &Group, settings: &HashMap<String, String>) -> Attributes {
    let positive = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let protocol = group.protocol().and_then(|one| Protocol::parse(one.as_str()));
    let http = protocol.is_some_and(Protocol::is_http);
    let how = group.health_check_protocol().and_then(|one| Protocol::parse(one.as_str()));
    let over_http = how.is_some_and(Protocol::is_http);
    let matcher = group.matcher().and_then(|one| one.http_code().or(one.grpc_code()));
    let check = HealthCheck {
        protocol: how,
        path: group.health_check_path().filter(|path| over_http && !path.is_empty()).map(str::to_owned),
        port: group.health_check_port().and_then(|port| port.parse().ok()),
        interval_seconds: positive(group.health_check_interval_seconds()),
        timeout_seconds: positive(group.health_check_timeout_seconds()),
        healthy: positive(group.healthy_threshold_count()),
        unhealthy: positive(group.unhealthy_threshold_count()),
        success: matcher.filter(|codes| over_http && !codes.is_empty()).map(str::to_owned),
    };
    let instance = group.target_type() == Some(&TargetTypeEnum::Instance);
    let mut out = Attributes::from_iter([
        ("name".to_owned(), json!(group.target_group_name())),
        ("vpc".to_owned(), json!(group.vpc_id())),
        ("targets".to_owned(), json!(if instance { Targets::Instance } else { Targets::Ip })),
        ("protocol".to_owned(), json!(protocol)),
        ("port".to_owned(), json!(group.port())),
        ("health_check".to_owned(), json!(check)),
    ]);
    let version = [Version::Http1, Version::Http2, Version::Grpc];
    let version = group.protocol_version().and_then(|found| version.into_iter().find(|one| one.as_str() == found));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("version", version.map(|version| json!(version)));
    let number = |key: &str| settings.get(key).and_then(|text| text.parse::<u32>().ok());
    let delay = number("deregistration_delay.timeout_seconds");
    put("deregistration_delay_seconds", delay.map(Value::from));
    let stickiness = |kind: &str| match kind {
        "app_cookie" => Stickiness {
            cookie: settings.get("stickiness.app_cookie.cookie_name").cloned(),
            duration_seconds: number("stickiness.app_cookie.duration_seconds"),
        },
        "lb_cookie" => Stickiness { cookie: None, duration_seconds: number("stickiness.lb_cookie.duration_seconds") },
        _ => Stickiness { cookie: None, duration_seconds: None },
    };
    match settings.get("stickiness.enabled").map(String::as_str) {
        Some("true") => {
            let kind = settings.get("stickiness.type").map(String::as_str).unwrap_or_default();
            put("stickiness", Some(json!(stickiness(kind))));
        }
        Some(_) => put("stickiness", Some(Value::Null)),
        None => {}
    }
    if http {
        let slow = number("slow_start.duration_seconds");
        put("slow_start_seconds", slow.map(|seconds| if seconds == 0 { Value::Null } else { seconds.into() }));
        let algorithm = settings.get("load_balancing.algorithm.type");
        let algorithm = algorithm.and_then(|found| Algorithm::ALL.into_iter().find(|one| one.as_str() == found));
        put("algorithm", algorithm.map(|algorithm| json!(algorithm)));
    } else {
        let preserve = settings.get("preserve_client_ip.enabled");
        put("preserve_client_ip", preserve.map(|value| json!(value == "true")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(more: Value) -> Vec<String> {
        let mut group = json!({ "name": "web", "vpc": "vpc-1" });
        group.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let told = check(group.as_object().unwrap());
        told.into_iter().map(|p| format!("{}: {}", p.path.join("."), p.message)).collect()
    }

    #[test]
    fn what_aws_refuses_is_found_offline() {
        assert!(told(json!({})).is_empty());
        assert!(told(json!({ "protocol": "tcp", "health_check": { "protocol": "http", "path": "/up" } })).is_empty());
        insta::assert_snapshot!(
            told(json!({ "health_check": { "path": "up", "interval_seconds": 5, "timeout_seconds": 5, "healthy": 1,
                "success": "ok" }, "slow_start_seconds": 10, "preserve_client_ip": true })).join("\n"),
            @r"
        health_check.healthy: 1 is out of range: AWS takes 2 to 10
        slow_start_seconds: 10 is out of range: AWS takes 30 to 900
        health_check.timeout_seconds: a check may take 5 seconds, and the next begins after 5
        health_check.path: `up` is no path
        health_check.success: `ok` are no status codes
        preserve_client_ip: it is a setting of TCP, UDP and TLS
        ");
        insta::assert_snapshot!(
            told(json!({ "protocol": "udp", "health_check": { "path": "/" }, "algorithm": "round-robin" })).join("\n"),
            @r"
        health_check.path: it is asked for over HTTP, and the check is not
        algorithm: it is a setting of HTTP and HTTPS
        ");
    }
}
