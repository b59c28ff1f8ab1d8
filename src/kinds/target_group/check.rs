//! What is wrong with a target group, as far as that can be told offline.

use serde_json::Value;

use super::attributes::By;
use super::{Protocol, TargetGroup, Version};
use crate::graph::{Attributes, Problem};
use crate::kinds::elbv2;

/// Everything that AWS would refuse.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
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
        ("slow_start_seconds", group.slow_start_seconds.filter(|seconds| *seconds > 0), 30, 900),
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
    if let Some(by) = group.stickiness.as_ref().and_then(|stickiness| stickiness.by)
        && http != (by == By::Cookie)
    {
        let message =
            if http { "HTTP and HTTPS know no stickiness by address" } else { "cookies are of HTTP and HTTPS" };
        problems.push(Problem::at("stickiness.by", message).help("take it out"));
    }
    if let (Some(stickiness), false) = (&group.stickiness, http) {
        for (field, given) in
            [("cookie", stickiness.cookie.is_some()), ("duration_seconds", stickiness.duration_seconds.is_some())]
        {
            if given {
                let message = "it is of cookies, and they are of HTTP and HTTPS";
                problems.push(Problem::at(&format!("stickiness.{field}"), message).help("take it out"));
            }
        }
        // "Sticky sessions" of "Edit target group attributes for your Network Load Balancer".
        if group.protocol == Protocol::Tls {
            problems.push(Problem::at("stickiness", "AWS has none for TLS").help("take it out, or let it be tcp"));
        }
    }
    // "TargetGroupAttribute": it cannot be switched off for these.
    if group.preserve_client_ip == Some(false) && matches!(group.protocol, Protocol::Udp | Protocol::TcpUdp) {
        let message = "AWS always keeps the address of the client for UDP";
        problems.push(Problem::at("preserve_client_ip", message).help("take it out"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            told(json!({ "protocol": "udp", "health_check": { "path": "/" }, "algorithm": "round-robin",
                "stickiness": { "cookie": "shop", "duration_seconds": 60 }, "preserve_client_ip": false })).join("\n"),
            @r"
        health_check.path: it is asked for over HTTP, and the check is not
        stickiness.cookie: it is of cookies, and they are of HTTP and HTTPS
        stickiness.duration_seconds: it is of cookies, and they are of HTTP and HTTPS
        preserve_client_ip: AWS always keeps the address of the client for UDP
        algorithm: it is a setting of HTTP and HTTPS
        ");
        assert_eq!(told(json!({ "protocol": "tls", "stickiness": {} })), ["stickiness: AWS has none for TLS"]);
    }
}
