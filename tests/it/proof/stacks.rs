//! The stacks that the proofs are about: the shipped one, and a large one that is made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cofferdam::graph::{Graph, Scope};
use cofferdam::kinds::Registry;
use cofferdam::simulated::{Behaviour, Simulated};
use cofferdam::stack::{Files, Language, Options, parse};
use serde_json::Value;

/// The graph of a stack's text, and what its names are computed for.
pub fn read(text: &str) -> (Graph, Scope) {
    let registry = Registry::new();
    let constructs = cofferdam::constructs::all();
    let language = Language::of(&registry, &constructs);
    let read = |name: &str| std::fs::read(name);
    let files = Files { read: &read, root: ".".into() };
    let stack =
        parse("proof.toml", text, &files, &Options::default(), &language).unwrap_or_else(|errors| panic!("{errors:?}"));
    let scope = Scope { account: Some("123456789012".into()), ..stack.scope() };
    (stack.graph, scope)
}

/// The text of `stacks/ecs-poc.toml`.
pub fn ecs_poc() -> String {
    std::fs::read_to_string("stacks/ecs-poc.toml").expect("it is shipped")
}

/// The same stack, where everything that can be changed in place is.
pub fn ecs_poc_updated() -> String {
    let mut text = ecs_poc();
    for (from, to) in [
        ("instance_type = \"t3.small\"", "instance_type = \"t3.medium\""),
        ("log_days      = 30", "log_days      = 7"),
        ("Project = \"ecs-poc\"", "Project = \"ecs-poc\"\nTeam = \"platform\""),
        ("scan_on_push = true", "scan_on_push = false"),
        ("max = 3, desired = 1", "max = 4, desired = 1"),
    ] {
        assert!(text.contains(from), "the stack says {from}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// The same stack under another zone, with other names.
pub fn ecs_poc_replaced() -> String {
    let mut text = ecs_poc();
    for (from, to) in [
        ("\"myorg.local\"", "\"other.local\""),
        ("name         = \"eha\"", "name         = \"other\""),
        ("logs     = { retention_days = \"${vars.log_days}\" }", "logs     = { group = \"/other\" }"),
        ("[role.instance]", "[role.instance]\npath = \"/other/\""),
        ("[cluster.main]\n", "[cluster.main]\nname = \"other\"\n"),
    ] {
        assert!(text.contains(from), "the stack says {from}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// What is made anew besides, although nothing asks for it.
pub const REPLACED: [&str; 4] = [
    "network.main/nat_gateway.a",
    "network.main/elastic_ip.a",
    "network.main/vpc_endpoint.s3",
    "capacity.main/launch_template.instances",
];

/// A stack of some three hundred resources: networks, their roles, logs, repositories, groups and clusters. `variant`
/// changes some of it in place and replaces some of it.
pub fn large(variant: u64) -> String {
    let mut text = format!(
        "name = \"large\"\nregion = \"eu-west-2\"\n\n[tags]\nProject = \"large\"\nVariant = \"v{}\"\n",
        variant % 2
    );
    for n in 0..NETWORKS {
        // Of a variant, some things have other names and are replaced.
        let other = if (n + variant) % 4 == 3 && variant > 0 { "other" } else { "n" };
        let days = [7, 14, 30][((variant + n) % 3) as usize];
        let _ = write!(
            text,
            r#"
[network.n{n}]
cidr = "10.{n}.0.0/16"
zone = "{other}{n}.local"
nat  = "single"

[network.n{n}.subnets]
private = {{ a = "10.{n}.0.0/24", b = "10.{n}.1.0/24" }}
public  = {{ a = "10.{n}.2.0/24", b = "10.{n}.3.0/24" }}

[repository.r{n}]
name = "{other}-{n}"
keep_images = {keep}

[log_group.l{n}]
retention_days = {days}

[role.instance{n}]
service  = "ec2.amazonaws.com"

[role.task{n}]
service  = "ecs-tasks.amazonaws.com"

[security_group.g{n}]
vpc = "${{network.n{n}.vpc_id}}"
description = "group {n}"

[cluster.c{n}]
name = "{other}-{n}"

[capacity.k{n}]
cluster       = "c{n}"
network       = "n{n}"
instance_type = "t3.small"
role          = "instance{n}"
size          = {{ min = 1, max = {most}, desired = 1 }}
"#,
            keep = 10 + (variant + n) % 5,
            most = 3 + variant % 3,
        );
    }
    text
}

const NETWORKS: u64 = 12;

/// What the cloud holds, by address, with addresses in place of ids.
pub fn contents(cloud: &Simulated) -> BTreeMap<String, String> {
    let held = cloud.held();
    let addresses: BTreeMap<&str, &str> = held.iter().map(|(id, one)| (id.as_str(), one.address.as_str())).collect();
    let mut texts = BTreeMap::new();
    for one in held.values() {
        let text = without_ids(Value::Object(one.attributes.clone()), &addresses).to_string();
        assert!(texts.insert(one.address.to_string(), text).is_none(), "{} is there once", one.address);
    }
    texts
}

/// The value with addresses in place of ids, and lists in an order that does not hang on the ids.
fn without_ids(value: Value, addresses: &BTreeMap<&str, &str>) -> Value {
    match value {
        Value::String(text) => with_addresses(&text, addresses).into(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(|item| without_ids(item, addresses)).collect();
            items.sort_by_cached_key(Value::to_string);
            items.into()
        }
        Value::Object(map) => map.into_iter().map(|(key, item)| (key, without_ids(item, addresses))).collect(),
        other => other,
    }
}

fn with_addresses(text: &str, addresses: &BTreeMap<&str, &str>) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |end| start + end);
        out.push_str(&rest[..start]);
        // What a cloud makes up of an id ends with it: `arn-of-…`.
        let token = &rest[start..end];
        let id = token.rfind("-of-").map_or(0, |at| at + "-of-".len());
        out.push_str(&token[..id]);
        out.push_str(addresses.get(&token[id..]).copied().unwrap_or(&token[id..]));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// A cloud of nothing yet.
pub fn cloud(scope: &Scope, behaviour: Behaviour) -> Simulated {
    Simulated::within(scope.clone(), behaviour)
}
