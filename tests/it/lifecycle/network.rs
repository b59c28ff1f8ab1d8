use serde_json::json;

use super::{Case, run};
use crate::support::Emulator;

async fn vpc(emulator: Emulator) {
    let mut changes = vec![
        ("dns_hostnames = true", "dns_hostnames = false", "update"),
        ("dns_support = true", "dns_support = false", "update"),
        ("Team = \"a\"", "Team = \"b\"", "update"),
        ("Team = \"b\"", "Owner = \"c\"", "update"),
        ("tenancy = \"default\"", "tenancy = \"dedicated\"", "replace"),
        ("10.0.0.0/16", "10.9.0.0/16", "replace"),
    ];
    // ministack has no AssociateVpcCidrBlock.
    if emulator == Emulator::Moto {
        changes.push(("# more", "secondary_cidrs = [\"10.10.0.0/16\"]", "update"));
        changes.push(("secondary_cidrs = [\"10.10.0.0/16\"]", "", "update"));
    }
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"
dns_hostnames = true
dns_support = true
tenancy = "default"
# more
tags = { Team = "a" }
"#;
    let drifts = vec![("dns_hostnames", json!(true)), ("tags", json!({ "Owner": "somebody" }))];
    run(emulator, Case { stack: stack.into(), address: "vpc.main", changes, drifts }).await;
}

async fn subnet(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"
"#;
    let changes = vec![
        ("zone = \"a\"\n", "zone = \"a\"\npublic_ip = true\n", "update"),
        ("public_ip = true", "public_ip = false\ntags = { Team = \"a\" }", "update"),
        ("10.0.1.0/24", "10.0.2.0/24", "replace"),
        ("zone = \"a\"", "zone = \"b\"", "replace"),
    ];
    let drifts = vec![("public_ip", json!(true))];
    run(emulator, Case { stack: stack.into(), address: "subnet.a", changes, drifts }).await;
}

crate::on_each_emulator!(vpc, subnet);
