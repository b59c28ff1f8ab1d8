//! What can be wrong with a network besides where its subnets lie.

use super::layout::Layout;
use super::{FlowLogs, Nat, Network};
use crate::constructs::below::is_unknown;
use crate::graph::{Problem, Scope};
use crate::kinds::GATEWAY_SERVICES;

/// Whether a text that should be an id is one of this sort, or a reference that cannot be judged yet.
pub fn is_id(text: &str, prefix: &str) -> bool {
    is_unknown(text) || text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-') && rest.len() > 1)
}

/// Whether a text is the id of a hosted zone, not the name of one: names hold a dot.
pub fn is_zone_id(text: &str) -> bool {
    text.len() > 8 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// A VPC that exists is only referenced.
pub fn nothing_to_create(network: &Network, problems: &mut Vec<Problem>) {
    let given = [
        ("cidr", network.cidr.is_some()),
        ("secondary_cidrs", !network.secondary_cidrs.is_empty()),
        ("nat", network.nat != Nat::None),
        ("nat_zone", network.nat_zone.is_some()),
        ("endpoints", network.endpoints.as_ref().is_some_and(|list| !list.is_empty())),
        ("flow_logs", !matches!(network.flow_logs, FlowLogs::Switch(false))),
        ("dns_support", !network.dns_support),
        ("dns_hostnames", !network.dns_hostnames),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.push(
            Problem::at(name, format!("`{name}` describes a network that is created, and this one exists"))
                .help(format!("remove `{name}`, or remove `existing`")),
        );
    }
}

/// A private zone and the names of interface endpoints are answered by the VPC's resolver
/// (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html).
pub fn check_dns(network: &Network, layout: &Layout, scope: &Scope, problems: &mut Vec<Problem>) {
    if let Some(zone) = &network.zone
        && !is_unknown(zone)
        && !is_zone_id(zone)
    {
        let name = zone.strip_suffix('.').unwrap_or(zone);
        let label = |part: &str| {
            !part.is_empty() && part.len() <= 63 && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        if !name.contains('.') || name.len() > 253 || !name.split('.').all(label) {
            problems.push(
                Problem::at("zone", format!("`{zone}` is neither the name nor the id of a hosted zone"))
                    .help("write it as \"myorg.local\" or \"Z0123456789ABCDEFGHIJ\""),
            );
        }
    }
    let full = format!("com.amazonaws.{}.", scope.region);
    let interface = layout
        .endpoints
        .iter()
        .any(|service| !GATEWAY_SERVICES.contains(&service.strip_prefix(&full).unwrap_or(service)));
    let needed_by = match (&network.zone, interface) {
        (Some(_), _) => "the private zone",
        (None, true) => "interface endpoints",
        (None, false) => return,
    };
    for (name, on) in [("dns_support", network.dns_support), ("dns_hostnames", network.dns_hostnames)] {
        if !on && network.existing.is_none() {
            problems
                .push(Problem::at(name, format!("{needed_by} cannot be reached without it")).help("remove the line"));
        }
    }
}
