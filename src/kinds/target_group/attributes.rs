//! What a stack says of a target group, and AWS's settings that follow from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::Tags;
use crate::kinds::elbv2::Settings;

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
    /// Seconds in which a new target's share of requests grows, 30 to 900. Without it, or with 0: it has its share at once.
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
    pub(super) const ALL: [Self; 6] = [Self::Http, Self::Https, Self::Tcp, Self::Tls, Self::Udp, Self::TcpUdp];

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
    pub(super) fn as_str(self) -> &'static str {
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
    /// By what a client is known again. It follows from the protocol: by a cookie with HTTP and HTTPS, by its address with
    /// TCP and UDP. TLS has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// By the cookie of the application with this name. Without it: by a cookie of the load balancer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Seconds that it lasts, 1 to 604800; not by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
}

/// By what a client is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A cookie.
    Cookie,
    /// Its address.
    Address,
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
    pub(super) const ALL: [Self; 3] = [Self::RoundRobin, Self::LeastOutstandingRequests, Self::WeightedRandom];

    pub(super) fn as_str(self) -> &'static str {
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
    /// AWS's defaults filled in ("Health checks for your target groups", "TargetGroupAttribute").
    pub(super) fn normalize(&mut self) {
        if self.protocol.is_http() {
            self.version.get_or_insert(Version::Http1);
            self.slow_start_seconds.get_or_insert(0);
            self.algorithm.get_or_insert(Algorithm::RoundRobin);
        } else {
            // "Client IP preservation": the default is disabled for addresses as targets of TCP and TLS.
            let by_address = self.targets == Targets::Ip && matches!(self.protocol, Protocol::Tcp | Protocol::Tls);
            self.preserve_client_ip.get_or_insert(!by_address);
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
        if let Some(stickiness) = &mut self.stickiness {
            stickiness.by.get_or_insert(if self.protocol.is_http() { By::Cookie } else { By::Address });
            if self.protocol.is_http() {
                stickiness.duration_seconds.get_or_insert(A_DAY);
            }
        }
    }

    /// Its settings by AWS's keys ("TargetGroupAttribute").
    pub(super) fn settings(&self) -> Settings {
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

/// AWS's settings of such a group where nothing is said about them.
pub(super) fn usual_settings(group: &TargetGroup) -> Settings {
    let mut plain = TargetGroup {
        deregistration_delay_seconds: three_hundred(),
        stickiness: None,
        slow_start_seconds: None,
        algorithm: None,
        preserve_client_ip: None,
        ..group.clone()
    };
    plain.normalize();
    plain.settings()
}
