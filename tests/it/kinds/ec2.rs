use cofferdam::cloud::Known;
use cofferdam::kinds::AwsCloud;
use serde_json::json;

use crate::support::{Emulator, life, make, remove};

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
    remove(&cloud, "vpc", &first).await;
    remove(&cloud, "vpc", &second).await;
}

crate::on_each_emulator!(internet_gateway);
