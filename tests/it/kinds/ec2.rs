use cofferdam::cloud::{Cloud, Known};
use cofferdam::kinds::AwsCloud;
use serde_json::json;

use crate::support::{Emulator, life, make, reads_back, remove, unique};

/// A VPC to stand on.
async fn a_vpc(cloud: &AwsCloud) -> Known {
    make(cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await
}

async fn internet_gateway(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let (first, second) = (a_vpc(&cloud).await, a_vpc(&cloud).await);
    life(
        &cloud,
        "internet_gateway",
        json!({ "vpc": first.id }),
        &[
            json!({ "vpc": second.id }),
            json!({ "vpc": null }),
            json!({ "vpc": first.id, "tags": { "Team": "platform" } }),
        ],
    )
    .await;
    remove_all(&cloud, &[&first, &second]).await;
}

/// A subnet of a VPC from [`a_vpc`], by the third part of its range.
async fn a_subnet(cloud: &AwsCloud, vpc: &Known, number: u8) -> Known {
    let cidr = format!("10.0.{number}.0/24");
    make(cloud, "subnet", json!({ "vpc": vpc.id, "cidr": cidr, "zone": "eu-west-2a" })).await
}

async fn remove_all(cloud: &AwsCloud, resources: &[&Known]) {
    for known in resources {
        remove(cloud, known.address.kind(), known).await;
    }
}

async fn elastic_ip(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    life(&cloud, "elastic_ip", json!({}), &[json!({ "tags": { "Team": "platform" } })]).await;
}

async fn nat_gateway(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let subnet = a_subnet(&cloud, &vpc, 1).await;
    let address = make(&cloud, "elastic_ip", json!({})).await;
    let tags = json!({ "tags": { "Team": "platform" } });
    life(&cloud, "nat_gateway", json!({ "subnet": subnet.id, "elastic_ip": address.id }), &[tags]).await;
    life(&cloud, "nat_gateway", json!({ "subnet": subnet.id, "connectivity": "private" }), &[]).await;
    remove_all(&cloud, &[&address, &subnet, &vpc]).await;
}

async fn route_table(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let (first, second) = (a_subnet(&cloud, &vpc, 1).await, a_subnet(&cloud, &vpc, 2).await);
    let gateway = make(&cloud, "internet_gateway", json!({ "vpc": vpc.id })).await;
    let address = make(&cloud, "elastic_ip", json!({})).await;
    let nat = make(&cloud, "nat_gateway", json!({ "subnet": first.id, "elastic_ip": address.id })).await;
    // Another table has the second subnet: it is taken over.
    let other = make(&cloud, "route_table", json!({ "vpc": vpc.id, "subnets": [second.id] })).await;
    life(
        &cloud,
        "route_table",
        json!({
            "vpc": vpc.id,
            "routes": [{ "to": "0.0.0.0/0", "internet_gateway": gateway.id }],
            "subnets": [first.id],
        }),
        &[
            json!({ "routes": [{ "to": "0.0.0.0/0", "nat_gateway": nat.id }] }),
            json!({ "routes": [
                { "to": "0.0.0.0/0", "nat_gateway": nat.id },
                { "to": "192.168.0.0/16", "internet_gateway": gateway.id },
            ] }),
            json!({ "subnets": [second.id, first.id] }),
            json!({ "subnets": [second.id], "routes": [] }),
            json!({ "subnets": [], "tags": { "Team": "platform" } }),
            json!({ "subnets": [first.id], "routes": [{ "to": "10.9.0.0/16", "nat_gateway": nat.id }] }),
        ],
    )
    .await;
    remove_all(&cloud, &[&other, &nat, &address, &gateway, &first, &second, &vpc]).await;
}

async fn security_group(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let other = make(&cloud, "security_group", json!({ "vpc": vpc.id, "name": unique("other") })).await;
    let mut changes = vec![
        // One port more, one peer less, a group instead of a range.
        json!({ "ingress": [
            { "ports": 80, "from": ["10.0.0.0/8"] },
            { "ports": 443, "from": ["10.0.0.0/8", other.id] },
            { "ports": "8000-8010", "from": ["self"] },
        ] }),
        json!({ "ingress": [
            { "protocol": "udp", "from": ["192.168.0.0/16"], "description": "everything of udp" },
            { "protocol": "icmp", "ports": 8, "from": ["10.0.0.0/8"] },
            { "protocol": "icmp", "ports": "3/4", "from": ["10.0.0.0/8"] },
            { "protocol": "all", "from": ["self"] },
        ] }),
        json!({ "egress": [{ "ports": 443, "to": ["0.0.0.0/0"] }, { "protocol": "udp", "ports": 53, "to": [other.id] }] }),
        json!({ "ingress": [], "egress": [] }),
        json!({ "egress": null, "tags": { "Team": "platform" } }),
    ];
    // ministack does not know UpdateSecurityGroupRuleDescriptions…; moto keeps the description of a group's rule and
    // cannot take one away.
    if emulator == Emulator::Moto {
        changes.extend([
            json!({ "ingress": [{ "ports": 22, "from": ["10.0.0.0/8", "10.0.0.0/16"], "description": "old" }] }),
            json!({ "ingress": [{ "ports": 22, "from": ["10.0.0.0/8"], "description": "new" }] }),
            json!({ "egress": [{ "protocol": "all", "to": ["0.0.0.0/0"], "description": "all of it" }] }),
        ]);
    }
    life(
        &cloud,
        "security_group",
        json!({
            "vpc": vpc.id,
            "name": unique("web"),
            "ingress": [{ "ports": 80, "from": ["10.0.0.0/8", "192.168.0.0/16", "self"] }],
        }),
        &changes,
    )
    .await;
    remove_all(&cloud, &[&other, &vpc]).await;
}

async fn gateway_endpoint(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let first = make(&cloud, "route_table", json!({ "vpc": vpc.id })).await;
    let second = make(&cloud, "route_table", json!({ "vpc": vpc.id })).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*" },
    ] });
    let mut changes = vec![json!({ "policy": policy }), json!({ "tags": { "Team": "platform" } })];
    // moto keeps no routes for tables that join later, and cannot delete the endpoint then.
    if emulator == Emulator::Ministack {
        changes.extend([
            json!({ "route_tables": [first.id, second.id] }),
            json!({ "route_tables": [second.id] }),
            json!({ "route_tables": [], "policy": null }),
        ]);
    }
    let endpoint = json!({ "vpc": vpc.id, "service": "com.amazonaws.eu-west-2.s3", "route_tables": [first.id] });
    life(&cloud, "vpc_endpoint", endpoint, &changes).await;
    // The route that the endpoint adds to a table is not the table's own.
    let endpoint = make(&cloud, "vpc_endpoint", json!({ "vpc": vpc.id, "service": "s3", "route_tables": [first.id] }));
    let endpoint = endpoint.await;
    let seen = cloud.read("route_table", std::slice::from_ref(&first)).await.unwrap().pop().flatten().unwrap();
    assert_eq!(seen.attributes["routes"], json!([]));
    remove_all(&cloud, &[&endpoint, &first, &second, &vpc]).await;
}

async fn interface_endpoint(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let (first, second) = (a_subnet(&cloud, &vpc, 1).await, a_subnet(&cloud, &vpc, 2).await);
    let web = make(&cloud, "security_group", json!({ "vpc": vpc.id, "name": unique("web") })).await;
    let other = make(&cloud, "security_group", json!({ "vpc": vpc.id, "name": unique("other") })).await;
    life(
        &cloud,
        "vpc_endpoint",
        json!({
            "vpc": vpc.id,
            "service": "ecr.api",
            "type": "interface",
            "subnets": [first.id],
            "security_groups": [web.id],
        }),
        &[
            json!({ "subnets": [first.id, second.id] }),
            json!({ "subnets": [second.id], "security_groups": [other.id] }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
    remove_all(&cloud, &[&web, &other, &first, &second, &vpc]).await;
}

async fn flow_log(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = a_vpc(&cloud).await;
    let subnet = a_subnet(&cloud, &vpc, 1).await;
    let group = format!("arn:aws:logs:eu-west-2:123456789012:log-group:{}", unique("flows"));
    let role = "arn:aws:iam::123456789012:role/flow-logs";
    let to_group = json!({ "vpc": vpc.id, "log_group": group, "role": role });
    let by_choice = json!({
        "subnet": subnet.id,
        "traffic": "reject",
        "log_group": group,
        "role": role,
        "format": "version vpc-id srcaddr dstaddr action",
        "interval_seconds": 60,
    });
    match emulator {
        Emulator::Moto | Emulator::Together => {
            life(&cloud, "flow_log", to_group, &[json!({ "tags": { "Team": "platform" } })]).await;
            life(&cloud, "flow_log", by_choice, &[]).await;
        }
        // ministack drops the tags of the create call, so none is found by its token. moto wants the bucket to exist.
        Emulator::Ministack => {
            let to_bucket = json!({ "vpc": vpc.id, "bucket_arn": "arn:aws:s3:::flows" });
            for attributes in [to_group, by_choice, to_bucket] {
                let mut made = make(&cloud, "flow_log", attributes).await;
                made.attributes.remove("tags");
                reads_back(&cloud, "flow_log", &made).await;
                remove(&cloud, "flow_log", &made).await;
            }
        }
    }
    remove_all(&cloud, &[&subnet, &vpc]).await;
}

async fn key_pair(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@home";
    let pair = json!({ "name": unique("key"), "public_key": key });
    match emulator {
        Emulator::Moto | Emulator::Together => {
            life(&cloud, "key_pair", pair, &[json!({ "tags": { "Team": "platform" } })]).await
        }
        // ministack keeps no tags of key pairs, so none is found by its token.
        Emulator::Ministack => {
            let mut made = make(&cloud, "key_pair", pair).await;
            made.attributes.remove("tags");
            reads_back(&cloud, "key_pair", &made).await;
            remove(&cloud, "key_pair", &made).await;
        }
    }
}

crate::on_each_emulator!(
    elastic_ip,
    flow_log,
    gateway_endpoint,
    interface_endpoint,
    internet_gateway,
    key_pair,
    nat_gateway,
    route_table,
    security_group,
);
