//! Rules of security groups: their canonical form, their checks, and EC2's form of them.
//!
//! A user writes rules with many peers each; EC2 keeps one per peer and returns them grouped by protocol and ports. Both
//! are taken apart into [`Flows`], compared there, and put together again as few rules: merged by protocol, ports and
//! description, sorted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::graph::{Problem, template};
use crate::net;

/// Every protocol.
pub const ALL: &str = "all";
/// The group itself, as a peer.
const SELF: &str = "self";

/// What the API calls every protocol ("IpPermission").
const EC2_ALL: &str = "-1";
/// Any type or code of ICMP ("IpPermission").
const ANY: i32 = -1;
const LAST_PORT: i32 = 65535;
const LAST_ICMP: i32 = 255;

/// The protocol of a rule that names none.
pub fn tcp() -> String {
    "tcp".to_owned()
}

/// Ports as text, from text or a number.
pub fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(u32),
        Text(String),
    }
    Ok(Option::<Given>::deserialize(deserializer)?.map(|given| match given {
        Given::Number(number) => number.to_string(),
        Given::Text(text) => text,
    }))
}

/// The schema of ports.
pub fn ports_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The ports: 443 or \"8000-8010\"; all of them, if not given. For ICMP the type, 8, or type and \
                        code, \"3/4\".",
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": LAST_PORT,
    })
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ingress.
    In,
    /// Egress.
    Out,
}

/// A rule of either direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `all`, or a number.
    pub protocol: String,
    /// `80`, `8000-8010`, `3/4`; `None` for all.
    pub ports: Option<String>,
    /// Ranges, groups, prefix lists, `self`.
    pub peers: BTreeSet<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// What makes a rule another one to EC2: one protocol, one range of ports, one peer. The description does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    protocol: String,
    ports: Option<String>,
    peer: String,
}

/// Rules taken apart, with the description of each.
pub type Flows = BTreeMap<Flow, Option<String>>;

/// The usual name of a protocol. Numbers by IANA's "Protocol Numbers".
fn protocol_name(protocol: &str) -> Cow<'_, str> {
    match protocol.to_ascii_lowercase().as_str() {
        "6" | "tcp" => "tcp".into(),
        "17" | "udp" => "udp".into(),
        "1" | "icmp" => "icmp".into(),
        "58" | "icmpv6" => "icmpv6".into(),
        EC2_ALL | ALL => ALL.into(),
        _ => protocol.into(),
    }
}

fn is_icmp(protocol: &str) -> bool {
    protocol == "icmp" || protocol == "icmpv6"
}

/// Ports in the API's two numbers, or what is wrong with them. `None` where the protocol has none.
fn port_range(protocol: &str, ports: Option<&str>) -> Result<Option<(i32, i32)>, String> {
    let number = |text: &str, last: i32| match text.trim().parse::<i32>() {
        Ok(number) if (0..=last).contains(&number) => Ok(number),
        _ => Err(format!("`{}` is no number from 0 to {last}", text.trim())),
    };
    match (protocol, ports) {
        ("tcp" | "udp", None) => Ok(Some((0, LAST_PORT))),
        ("tcp" | "udp", Some(text)) => {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (from, to) = (number(from, LAST_PORT)?, number(to, LAST_PORT)?);
            if from > to { Err(format!("`{text}` ends before it begins")) } else { Ok(Some((from, to))) }
        }
        ("icmp" | "icmpv6", None) => Ok(Some((ANY, ANY))),
        ("icmp" | "icmpv6", Some(text)) => Ok(Some(match text.split_once('/') {
            Some((kind, code)) => (number(kind, LAST_ICMP)?, number(code, LAST_ICMP)?),
            None => (number(text, LAST_ICMP)?, ANY),
        })),
        (_, None) => Ok(None),
        (_, Some(_)) => Err(format!("protocol `{protocol}` has no ports")),
    }
}

/// The API's two numbers as ports; the inverse of [`port_range`].
fn port_text(protocol: &str, range: Option<(i32, i32)>) -> Option<String> {
    match (protocol, range?) {
        ("tcp" | "udp", (0, LAST_PORT)) => None,
        ("tcp" | "udp", (from, to)) if from == to => Some(from.to_string()),
        ("tcp" | "udp", (from, to)) => Some(format!("{from}-{to}")),
        ("icmp" | "icmpv6", (ANY, _)) => None,
        ("icmp" | "icmpv6", (kind, ANY)) => Some(kind.to_string()),
        ("icmp" | "icmpv6", (kind, code)) => Some(format!("{kind}/{code}")),
        _ => None,
    }
}

impl Rule {
    /// The rule in its usual spelling. What is wrong or not known yet stays as it is.
    fn spelled(self) -> Self {
        let protocol = protocol_name(&self.protocol).into_owned();
        let ports = match port_range(&protocol, self.ports.as_deref()) {
            Ok(range) => port_text(&protocol, range),
            Err(_) => self.ports,
        };
        let peers = self.peers.iter().map(|peer| net::spelled(peer)).collect();
        Self { protocol, ports, peers, description: self.description.filter(|text| !text.is_empty()) }
    }

    /// What is wrong with it; `peers` is the attribute that holds them.
    pub fn problems(&self, path: &str, peers: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let unknown = |text: &str| template::is_unknown(&json!(text));
        let protocol = protocol_name(&self.protocol);
        let named = matches!(protocol.as_ref(), "tcp" | "udp" | "icmp" | "icmpv6" | ALL);
        if !named && !unknown(&self.protocol) && self.protocol.parse::<u8>().is_err() {
            problems
                .push(Problem::at(&format!("{path}.protocol"), format!("`{}` is no protocol", self.protocol)).help(
                    "it is \"tcp\", \"udp\", \"icmp\", \"icmpv6\", \"all\", or a protocol number such as \"50\"",
                ));
        } else if !unknown(&self.protocol)
            && !self.ports.as_deref().is_some_and(unknown)
            && let Err(why) = port_range(&protocol, self.ports.as_deref())
        {
            let help = match protocol.as_ref() {
                "tcp" | "udp" => "write one port, 443, or a range, \"8000-8010\"; leave it out for all",
                icmp if is_icmp(icmp) => "write a type, 8, or a type and a code, \"3/4\"; leave it out for all",
                _ => "leave `ports` out, or name the protocol: protocol = \"tcp\"",
            };
            problems.push(Problem::at(&format!("{path}.ports"), why).help(help));
        }
        let at = format!("{path}.{peers}");
        if self.peers.is_empty() {
            problems.push(
                Problem::at(&at, format!("the rule has nothing in `{peers}`"))
                    .help("name at least one range, security group, prefix list or \"self\""),
            );
        }
        for peer in self.peers.iter().filter(|peer| !unknown(peer)) {
            let group = peer.rsplit('/').next().is_some_and(|last| last.starts_with("sg-"));
            if peer != SELF && !group && !peer.starts_with("pl-") {
                problems.extend(net::range_problem(&at, peer).map(|problem| match problem.help {
                    Some(_) if peer.contains('/') => problem,
                    _ => problem.help(
                        "name a range (\"10.0.0.0/16\"), a security group of the stack or its id, a prefix list \
                         (\"pl-…\") or \"self\"",
                    ),
                }));
            }
        }
        if let Some(text) = &self.description {
            problems.extend(text_problem(&format!("{path}.description"), text));
        }
        problems
    }
}

/// What is wrong with a name or description. Letters and length as in "SecurityGroupRule" and "CreateSecurityGroup".
pub fn text_problem(path: &str, text: &str) -> Option<Problem> {
    const LONGEST: usize = 255;
    if template::is_unknown(&json!(text)) {
        return None;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Some(
            Problem::at(path, format!("`{bad}` cannot stand here"))
                .help("AWS takes letters without accents, digits, spaces and ._-:/()#,@[]+=&;{}!$*"),
        );
    }
    let length = text.chars().count();
    (length > LONGEST)
        .then(|| Problem::at(path, format!("{length} characters, and AWS takes {LONGEST}")).help("make it shorter"))
}

/// Rules of one list that allow the same twice with different descriptions, which EC2 refuses.
pub fn twice(rules: &[(String, Rule)], peers: &str) -> Vec<Problem> {
    let mut seen: BTreeMap<Flow, &Option<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    for (path, rule) in rules {
        let spelled = rule.clone().spelled();
        for flow in flows_of(&spelled) {
            let peer = flow.peer.clone();
            if seen.insert(flow, &rule.description).is_some_and(|before| *before != rule.description) {
                problems.push(
                    Problem::at(&format!("{path}.{peers}"), format!("`{peer}` is allowed twice with two descriptions"))
                        .help("one protocol, port range and peer make one rule: keep one of them"),
                );
            }
        }
    }
    problems
}

/// Rules in their canonical form: merged by protocol, ports and description.
pub fn merged(rules: impl Iterator<Item = Rule>) -> BTreeSet<Rule> {
    let mut merged: BTreeMap<(String, Option<String>, Option<String>), BTreeSet<String>> = BTreeMap::new();
    for Rule { protocol, ports, peers, description } in rules.map(Rule::spelled) {
        merged.entry((protocol, ports, description)).or_default().extend(peers);
    }
    let rule = |((protocol, ports, description), peers)| Rule { protocol, ports, peers, description };
    merged.into_iter().map(rule).collect()
}

fn flows_of(rule: &Rule) -> impl Iterator<Item = Flow> {
    rule.peers.iter().map(|peer| Flow {
        protocol: rule.protocol.clone(),
        ports: rule.ports.clone(),
        peer: peer.clone(),
    })
}

/// Rules taken apart.
pub fn flows(rules: impl Iterator<Item = Rule>) -> Flows {
    let mut out = Flows::new();
    for rule in rules.map(Rule::spelled) {
        out.extend(flows_of(&rule).map(|flow| (flow, rule.description.clone())));
    }
    out
}

/// Flows put together as rules in their canonical form.
pub fn of_flows(flows: Flows) -> BTreeSet<Rule> {
    merged(flows.into_iter().map(|(Flow { protocol, ports, peer }, description)| Rule {
        protocol,
        ports,
        peers: BTreeSet::from([peer]),
        description,
    }))
}

/// What EC2 returns, taken apart. `group` and `owner`: the group's own id and account.
pub fn observed(permissions: &[IpPermission], group: &str, owner: &str) -> Flows {
    let mut out = Flows::new();
    for permission in permissions {
        let protocol = protocol_name(permission.ip_protocol().unwrap_or(EC2_ALL)).into_owned();
        let ports = port_text(&protocol, permission.from_port().zip(permission.to_port()));
        let mut add = |peer: String, description: Option<&str>| {
            let description = description.filter(|text| !text.is_empty()).map(str::to_owned);
            out.insert(Flow { protocol: protocol.clone(), ports: ports.clone(), peer }, description);
        };
        for one in permission.ip_ranges() {
            add(net::spelled(one.cidr_ip().unwrap_or_default()), one.description());
        }
        for one in permission.ipv6_ranges() {
            add(net::spelled(one.cidr_ipv6().unwrap_or_default()), one.description());
        }
        for one in permission.prefix_list_ids() {
            add(one.prefix_list_id().unwrap_or_default().to_owned(), one.description());
        }
        for one in permission.user_id_group_pairs() {
            let id = one.group_id().unwrap_or_default();
            let peer = match one.user_id() {
                _ if id == group => SELF.to_owned(),
                Some(account) if account != owner => format!("{account}/{id}"),
                _ => id.to_owned(),
            };
            add(peer, one.description());
        }
    }
    out
}

/// What takes the rules of a group from one set to another.
#[derive(Debug, Default)]
pub struct Difference {
    /// To be authorised.
    pub missing: Option<Vec<IpPermission>>,
    /// Whose description changes.
    pub described_otherwise: Option<Vec<IpPermission>>,
    /// To be revoked.
    pub surplus: Option<Vec<IpPermission>>,
}

/// What takes the rules of `group` from `current` to `wanted`.
pub fn difference(current: &Flows, wanted: &Flows, group: &str) -> Difference {
    let permissions = |flows: Vec<(&Flow, &Option<String>)>| {
        let all: Vec<IpPermission> =
            flows.into_iter().map(|(flow, description)| permission(flow, description.as_deref(), group)).collect();
        (!all.is_empty()).then_some(all)
    };
    let otherwise = |(flow, description): &(&Flow, &Option<String>)| {
        current.get(*flow).is_some_and(|before| before != *description)
    };
    Difference {
        missing: permissions(wanted.iter().filter(|(flow, _)| !current.contains_key(flow)).collect()),
        described_otherwise: permissions(wanted.iter().filter(otherwise).collect()),
        surplus: permissions(current.iter().filter(|(flow, _)| !wanted.contains_key(flow)).collect()),
    }
}

/// A flow in EC2's form. Each has a permission of its own, as EC2 keeps them.
fn permission(flow: &Flow, description: Option<&str>, group: &str) -> IpPermission {
    let protocol = if flow.protocol == ALL { EC2_ALL } else { &flow.protocol };
    let range = port_range(&flow.protocol, flow.ports.as_deref()).ok().flatten();
    let built = IpPermission::builder()
        .ip_protocol(protocol)
        .set_from_port(range.map(|(from, _)| from))
        .set_to_port(range.map(|(_, to)| to));
    let description = description.map(str::to_owned);
    let peer = flow.peer.as_str();
    let of_group = |account: Option<&str>, id: &str| {
        let pair = UserIdGroupPair::builder().group_id(id).set_user_id(account.map(str::to_owned));
        pair.set_description(description.clone()).build()
    };
    match peer.split_once('/') {
        _ if peer == SELF => built.user_id_group_pairs(of_group(None, group)),
        _ if peer.starts_with("sg-") => built.user_id_group_pairs(of_group(None, peer)),
        Some((account, id)) if id.starts_with("sg-") => built.user_id_group_pairs(of_group(Some(account), id)),
        _ if peer.starts_with("pl-") => {
            built.prefix_list_ids(PrefixListId::builder().prefix_list_id(peer).set_description(description).build())
        }
        _ if peer.contains(':') => {
            built.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(peer).set_description(description).build())
        }
        _ => built.ip_ranges(IpRange::builder().cidr_ip(peer).set_description(description).build()),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<&str>, peers: &[&str], description: Option<&str>) -> Rule {
        Rule {
            protocol: protocol.into(),
            ports: ports.map(Into::into),
            peers: peers.iter().map(|p| (*p).to_owned()).collect(),
            description: description.map(Into::into),
        }
    }

    /// Whatever is written reads back as the canonical form of what was written.
    #[test]
    fn what_is_written_reads_back_equal() {
        let written = [
            rule("6", Some("443-443"), &["10.0.0.0/8", "sg-2"], None),
            rule("TCP", Some("443"), &["::/0", "pl-1", "self"], None),
            rule("tcp", Some("0-65535"), &["10.0.0.0/8"], Some("all of them")),
            rule("udp", Some("8000 - 8010"), &["111122223333/sg-9"], None),
            rule("icmp", Some("3/4"), &["10.0.0.0/8"], None),
            rule("icmp", Some("8"), &["10.0.0.0/8"], None),
            rule("icmpv6", None, &["2001:0db8::/32"], None),
            rule("-1", None, &["self"], None),
            rule("50", None, &["10.0.0.0/8"], Some("")),
        ];
        let canonical = merged(written.clone().into_iter());
        let sent = difference(&Flows::new(), &flows(written.into_iter()), "sg-1").missing.unwrap();
        // EC2 fills in the account of the groups.
        let returned: Vec<IpPermission> = sent
            .into_iter()
            .map(|mut permission| {
                for pair in permission.user_id_group_pairs.iter_mut().flatten() {
                    pair.user_id.get_or_insert_with(|| "444455556666".into());
                }
                permission
            })
            .collect();
        assert_eq!(of_flows(observed(&returned, "sg-1", "444455556666")), canonical);
        let https = canonical.iter().find(|one| one.ports.as_deref() == Some("443")).unwrap();
        let peers: Vec<&str> = https.peers.iter().map(String::as_str).collect();
        assert_eq!(peers, ["10.0.0.0/8", "::/0", "pl-1", "self", "sg-2"], "two rules became one");
    }

    #[test]
    fn a_difference_is_one_list_each() {
        let before = flows([rule("tcp", Some("80"), &["10.0.0.0/8", "self"], Some("old"))].into_iter());
        let after = flows([rule("tcp", Some("80"), &["self", "sg-2", "sg-3"], Some("new"))].into_iter());
        let change = difference(&before, &after, "sg-1");
        let lengths = [change.missing, change.described_otherwise, change.surplus].map(|list| list.unwrap().len());
        assert_eq!(lengths, [2, 1, 1]);
        let same = difference(&after, &after, "sg-1");
        assert!(same.missing.is_none() && same.described_otherwise.is_none() && same.surplus.is_none());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = [
            (rule("tpc", None, &["self"], None), "`tpc` is no protocol"),
            (rule("tcp", Some("http"), &["self"], None), "`http` is no number from 0 to 65535"),
            (rule("tcp", Some("80-70"), &["self"], None), "`80-70` ends before it begins"),
            (rule("tcp", Some("70000"), &["self"], None), "`70000` is no number from 0 to 65535"),
            (rule("all", Some("80"), &["self"], None), "protocol `all` has no ports"),
            (rule("icmp", Some("300"), &["self"], None), "`300` is no number from 0 to 255"),
            (rule("tcp", None, &[], None), "the rule has nothing in `from`"),
            (rule("tcp", None, &["10.0.0.1/8"], None), "`10.0.0.1/8` has host bits set"),
            (rule("tcp", None, &["wbe"], None), "`wbe` is no address range"),
            (rule("tcp", None, &["self"], Some("über")), "`ü` cannot stand here"),
        ];
        for (rule, message) in wrong {
            let told: Vec<String> = rule.problems("ingress.0", "from").into_iter().map(|p| p.message).collect();
            assert_eq!(told, [message]);
        }
        let fine = rule("${vars.protocol}", Some("${vars.port}"), &["${security_group.web.id}"], Some("${vars.a}"));
        assert_eq!(fine.problems("ingress.0", "from"), []);
    }

    #[test]
    fn one_flow_with_two_descriptions_is_refused() {
        let rules = [
            ("ingress.0".to_owned(), rule("tcp", Some("80"), &["self", "sg-1"], Some("a"))),
            ("ingress.1".to_owned(), rule("6", Some("80-80"), &["sg-1"], Some("b"))),
            ("ingress.2".to_owned(), rule("tcp", Some("80"), &["self"], Some("a"))),
        ];
        let told = twice(&rules, "from");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].path, ["ingress", "1", "from"]);
    }
}
