use cofferdam::cloud::Known;
use cofferdam::kinds::AwsCloud;
use serde_json::json;

use crate::support::{Emulator, life, make, remove, unique};

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

crate::on_each_emulator!(elastic_ip, internet_gateway, nat_gateway, route_table, security_group);
