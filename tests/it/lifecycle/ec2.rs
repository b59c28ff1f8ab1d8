use serde_json::json;

use super::{Project, Step, go_on, many, one, tell};
use crate::support::Emulator;

/// Gateways, addresses and route tables, which stand on one another.
async fn gateways(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[vpc.other]
cidr = "10.1.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[subnet.b]
vpc  = "main"
cidr = "10.0.2.0/24"
zone = "b"

[internet_gateway.main]
vpc  = "main"
tags = { Of = "gateway" }

[internet_gateway.spare]
vpc = "other"

[elastic_ip.nat]
tags = { Of = "address" }

[elastic_ip.spare]

[nat_gateway.main]
subnet     = "a" # home
elastic_ip = "nat"
tags       = { Of = "nat" }
depends_on = ["internet_gateway.main"]

[route_table.main]
vpc     = "main" # of the table
routes  = [{ to = "0.0.0.0/0", nat_gateway = "main" }]
subnets = ["a"]
tags    = { Of = "table" }
"#;
    let tags =
        ["internet_gateway.main.tags", "elastic_ip.nat.tags", "nat_gateway.main.tags.Of", "route_table.main.tags.Of"];
    let edits = [
        ("Of = \"gateway\"", "Team = \"a\""),
        ("Of = \"address\"", ""),
        ("Of = \"nat\"", "Of = \"egress\""),
        ("Of = \"table\"", "Of = \"egress\", Team = \"a\""),
    ];
    let all = "routes  = [{ to = \"0.0.0.0/0\", internet_gateway = \"main\" }, \
               { to = \"192.168.0.0/16\", nat_gateway = \"main\" }]";
    let steps = vec![
        many(&edits, "update", &tags),
        one("nat_gateway = \"main\" }]", "internet_gateway = \"main\" }]", "update", "route_table.main.routes"),
        one(
            "routes  = [{ to = \"0.0.0.0/0\", internet_gateway = \"main\" }]",
            all,
            "update",
            "route_table.main.routes",
        ),
        one("subnets = [\"a\"]", "subnets = [\"a\", \"b\"]", "update", "route_table.main.subnets"),
        one("subnets = [\"a\", \"b\"]", "subnets = [\"b\"]", "update", "route_table.main.subnets"),
        Step::Drift("route_table.main", "routes", json!([])),
        Step::Drift("route_table.main", "subnets", json!(["@subnet.a"])),
        Step::Drift("nat_gateway.main", "tags", json!({ "Of": "somebody" })),
        Step::Drift("elastic_ip.spare", "tags", json!({})),
        Step::Drift("internet_gateway.spare", "vpc", json!(null)),
        one("elastic_ip = \"nat\"", "elastic_ip = \"spare\"", "replace", "nat_gateway.main.elastic_ip"),
        one("elastic_ip = \"spare\"", "connectivity = \"private\"", "replace", "nat_gateway.main.connectivity"),
        one("\"a\" # home", "\"b\" # home", "replace", "nat_gateway.main.subnet"),
        // The table's route leads to another gateway then.
        Step::Gone(&["nat_gateway.main"]),
        Step::Gone(&["route_table.main", "internet_gateway.spare", "elastic_ip.nat"]),
        one("[elastic_ip.nat]", "[elastic_ip.nat]\npool = \"ipv4pool-ec2-012345\"", "replace", "elastic_ip.nat.pool"),
        Step::Change(
            vec![("\"main\" # of the table", "\"other\""), (all, ""), ("subnets = [\"b\"]", "")],
            vec![("replace", "route_table.main.vpc")],
        ),
        Step::Change(
            vec![("[internet_gateway.spare]\nvpc = \"other\"", "[internet_gateway.spare]")],
            vec![("update", "internet_gateway.spare.vpc")],
        ),
        Step::Change(
            vec![("[internet_gateway.main]\nvpc  = \"main\"", "[internet_gateway.main]\nvpc  = \"other\"")],
            vec![("update", "internet_gateway.main.vpc")],
        ),
    ];
    tell(emulator, stack, steps).await;
}

async fn security_group(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[vpc.other]
cidr = "10.1.0.0/16"

[security_group.web]
vpc         = "main"
name        = "{u}-web"
description = "The web"
ingress     = [{ ports = 80, from = ["10.0.0.0/8", "self"] }]
# egress

[security_group.app]
vpc     = "main"
ingress = [{ ports = 8080, from = ["web"] }, { ports = "9000-9010", from = ["web", "10.0.0.0/8"] }]
"#;
    let mut steps = vec![
        one("ports = 80,", "ports = 443,", "update", "security_group.web.ingress"),
        one(
            "\"10.0.0.0/8\", \"self\"",
            "\"10.0.0.0/8\", \"10.1.0.0/16\", \"self\"",
            "update",
            "security_group.web.ingress",
        ),
        one("# egress", "egress = []", "update", "security_group.web.egress"),
        one(
            "egress = []",
            "egress = [{ ports = 443, to = [\"0.0.0.0/0\"] }, { protocol = \"udp\", ports = 53, to = [\"10.0.0.2/32\"] }]",
            "update",
            "security_group.web.egress",
        ),
        one(
            "description = \"The web\"",
            "description = \"The web\"\ntags = { Team = \"a\" }",
            "update",
            "security_group.web.tags",
        ),
        Step::Drift(
            "security_group.web",
            "ingress",
            json!([{ "protocol": "tcp", "ports": "22", "from": ["0.0.0.0/0"] }]),
        ),
        Step::Drift("security_group.web", "egress", json!([])),
        Step::Drift("security_group.app", "ingress", json!([])),
        Step::Drift("security_group.web", "tags", json!({ "Team": "somebody" })),
        // The other group's rules lead to the new one then.
        one("\"{u}-web\"", "\"{u}-front\"", "replace", "security_group.web.name"),
        Step::Change(
            vec![("\"{u}-front\"", "\"{u}-again\""), ("\"The web\"", "\"The front\"")],
            vec![("replace", "security_group.web.description"), ("update", "security_group.app.ingress")],
        ),
        Step::Gone(&["security_group.app", "security_group.web"]),
        many(
            &[("vpc         = \"main\"", "vpc = \"other\""), ("vpc     = \"main\"", "vpc = \"other\"")],
            "replace",
            &["security_group.web.vpc", "security_group.app.vpc"],
        ),
    ];
    if emulator == Emulator::Moto {
        // ministack knows no call for the descriptions of rules.
        let described = "\"self\"] }, { ports = 22, from = [\"10.0.0.0/8\"], description = \"old\" }]";
        steps.insert(0, one("\"self\"] }]", described, "update", "security_group.web.ingress"));
        steps.insert(1, one("\"old\"", "\"new\"", "update", "security_group.web.ingress"));
    }
    tell(emulator, stack, steps).await;
}

async fn gateway_endpoint(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[vpc.other]
cidr = "10.1.0.0/16"

[route_table.a]
vpc = "main"

[route_table.b]
vpc = "main"

[vpc_endpoint.s3]
vpc          = "main" # of the endpoint
service      = "s3"
route_tables = ["a"]
"#;
    let policy = "route_tables = [\"a\"]\n[vpc_endpoint.s3.policy]\nVersion = \"2012-10-17\"\nStatement = [{ Effect = \"Allow\", \
                  Principal = \"*\", Action = \"s3:GetObject\", Resource = \"*\" }]";
    let open = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" },
    ] });
    let mut steps = vec![
        one("service      = \"s3\"", "service = \"s3\"\ntags = { Team = \"a\" }", "update", "vpc_endpoint.s3.tags"),
        one("route_tables = [\"a\"]", policy, "update", "vpc_endpoint.s3.policy"),
        one("s3:GetObject", "s3:ListBucket", "update", "vpc_endpoint.s3.policy"),
        Step::Drift("vpc_endpoint.s3", "tags", json!({})),
        Step::Gone(&["vpc_endpoint.s3"]),
        one("service = \"s3\"", "service = \"dynamodb\"", "replace", "vpc_endpoint.s3.service"),
    ];
    // ministack does not show the policy.
    if emulator == Emulator::Moto {
        steps.insert(3, Step::Drift("vpc_endpoint.s3", "policy", open));
    }
    // moto keeps no routes for tables that join later, and cannot delete the endpoint then.
    if emulator == Emulator::Ministack {
        steps.extend([
            one("[\"a\"]", "[\"a\", \"b\"]", "update", "vpc_endpoint.s3.route_tables"),
            one("[\"a\", \"b\"]", "[\"b\"]", "update", "vpc_endpoint.s3.route_tables"),
            Step::Drift("vpc_endpoint.s3", "route_tables", json!(["@route_table.a"])),
            one("[\"b\"]", "[]", "update", "vpc_endpoint.s3.route_tables"),
        ]);
    }
    let tables = if emulator == Emulator::Ministack { "[]" } else { "[\"a\"]" };
    steps.push(Step::Change(
        vec![("\"main\" # of the endpoint", "\"other\""), (tables, "[]")],
        vec![("replace", "vpc_endpoint.s3.vpc")],
    ));
    tell(emulator, stack, steps).await;
}

async fn interface_endpoint(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr          = "10.0.0.0/16"
dns_hostnames = true

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[subnet.b]
vpc  = "main"
cidr = "10.0.2.0/24"
zone = "b"

[security_group.a]
vpc = "main"

[security_group.b]
vpc = "main"

[vpc_endpoint.ecr]
vpc             = "main"
service         = "ecr.api"
type            = "interface"
subnets         = ["a"]
security_groups = ["a"]
# more
"#;
    let mut steps = vec![
        one("= [\"a\"]\nsecurity", "= [\"a\", \"b\"]\nsecurity", "update", "vpc_endpoint.ecr.subnets"),
        one("= [\"a\", \"b\"]\nsecurity", "= [\"b\"]\nsecurity", "update", "vpc_endpoint.ecr.subnets"),
        one("groups = [\"a\"]", "groups = [\"a\", \"b\"]", "update", "vpc_endpoint.ecr.security_groups"),
        one("groups = [\"a\", \"b\"]", "groups = [\"b\"]", "update", "vpc_endpoint.ecr.security_groups"),
        one("service         =", "tags = { Team = \"a\" }\nservice =", "update", "vpc_endpoint.ecr.tags"),
        Step::Drift("vpc_endpoint.ecr", "subnets", json!(["@subnet.a"])),
        Step::Gone(&["vpc_endpoint.ecr", "security_group.b"]),
        one("\"ecr.api\"", "\"ecr.dkr\"", "replace", "vpc_endpoint.ecr.service"),
    ];
    match emulator {
        // ministack does not show the security groups, nor whether there is a private name.
        Emulator::Moto | Emulator::Together => {
            steps.insert(6, Step::Drift("vpc_endpoint.ecr", "security_groups", json!(["@security_group.a"])));
        }
        // moto's ModifyVpcEndpoint leaves the private name out.
        Emulator::Ministack => {
            steps.insert(
                6,
                one("service =", "private_dns = false\nservice =", "update", "vpc_endpoint.ecr.private_dns"),
            );
        }
    }
    steps.push(Step::Change(
        vec![
            ("\"ecr.dkr\"", "\"s3\""),
            ("type            = \"interface\"", ""),
            (if emulator == Emulator::Ministack { "private_dns = false" } else { "# more" }, ""),
            ("subnets         = [\"b\"]\nsecurity_groups = [\"b\"]", ""),
        ],
        vec![("replace", "vpc_endpoint.ecr.type")],
    ));
    tell(emulator, stack, steps).await;
}

/// Only tags can be changed of a flow log: everything else makes it anew.
async fn flow_log(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[log_group.a]

[log_group.b]

[role.a]
service = "vpc-flow-logs.amazonaws.com"

[role.b]
service = "vpc-flow-logs.amazonaws.com"

[flow_log.main]
vpc       = "main"
log_group = "a"
role      = "a"
"#;
    let steps = vec![
        one("role      = \"a\"", "role = \"a\"\ntags = { Team = \"a\" }", "update", "flow_log.main.tags"),
        Step::Drift("flow_log.main", "tags", json!({ "Team": "somebody" })),
        Step::Gone(&["flow_log.main"]),
        one("role = \"a\"", "role = \"b\"", "replace", "flow_log.main.role"),
        one("log_group = \"a\"", "log_group = \"b\"\ntraffic = \"reject\"", "replace", "flow_log.main.traffic"),
        one("traffic = \"reject\"", "interval_seconds = 60", "replace", "flow_log.main.interval_seconds"),
        one("interval_seconds = 60", "format = \"version srcaddr dstaddr\"", "replace", "flow_log.main.format"),
        one("vpc       = \"main\"", "subnet = \"a\"", "replace", "flow_log.main.subnet"),
    ];
    // ministack drops the tags of the create call; the next apply sets them.
    if emulator == Emulator::Ministack {
        let project = Project::new(emulator, stack);
        project.succeeds(&["apply", "--yes"]);
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty("the second apply");
        go_on(project, stack, steps.into_iter().take(2).collect()).await;
        return;
    }
    tell(emulator, stack, steps).await;
}

async fn key_pair(emulator: Emulator) {
    let stack = r#"
[key_pair.ops]
public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@home"
tags       = { Team = "a" }
"#;
    let mut steps = vec![
        one("Team = \"a\"", "Team = \"b\"", "update", "key_pair.ops.tags.Team"),
        one("tags  ", "name = \"{u}-other\"\ntags ", "replace", "key_pair.ops.name"),
        one("HR4f me", "HR4e me", "replace", "key_pair.ops.public_key"),
        Step::Gone(&["key_pair.ops"]),
    ];
    // ministack keeps no tags of key pairs.
    if emulator == Emulator::Moto {
        steps.push(Step::Drift("key_pair.ops", "tags", json!({})));
    }
    tell(emulator, stack, steps).await;
}

crate::on_each_emulator!(flow_log, gateway_endpoint, gateways, interface_endpoint, key_pair, security_group);

/// What uses a group holds it back: the successor has to stand beside it, so it needs a name of its own.
#[test]
fn a_described_group_is_replaced_create_first() {
    let stack = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[security_group.web]\nvpc = \"main\"\ndescription = \"one\"\n";
    let project = Project::new(Emulator::Moto, stack);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids()["security_group.web"].clone();
    project.write(&stack.replace("\"one\"", "\"two\""));
    let plan = project.plan();
    let action = &plan["actions"][0];
    assert_eq!((&action["action"], &action["create_first"]), (&json!("replace"), &json!(true)), "{action}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("a replacement");
    assert_ne!(project.ids()["security_group.web"], before);
    project.succeeds(&["destroy", "--yes"]);
}
