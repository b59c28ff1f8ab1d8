use serde_json::json;

use crate::support::{Emulator, life, make, remove};

async fn vpc(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let mut changes = vec![
        json!({ "dns_hostnames": false }),
        json!({ "dns_support": false }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    // ministack does not know AssociateVpcCidrBlock.
    if emulator == Emulator::Moto {
        changes.extend([json!({ "secondary_cidrs": ["10.1.0.0/16"] }), json!({ "secondary_cidrs": [] })]);
    }
    life(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" }), &changes).await;
}

async fn subnet(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    life(
        &cloud,
        "subnet",
        json!({ "vpc": vpc.id, "cidr": "10.0.1.0/24", "zone": "eu-west-2a" }),
        &[json!({ "public_ip": true }), json!({ "tags": { "Team": "platform" } })],
    )
    .await;
    remove(&cloud, "vpc", &vpc).await;
}

crate::on_each_emulator!(vpc, subnet);
