use serde_json::json;

use crate::support::{Emulator, life, unique};

async fn cluster(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    life(
        &cloud,
        "cluster",
        json!({ "name": unique("cluster") }),
        &[
            json!({ "container_insights": "enhanced" }),
            json!({ "container_insights": "disabled" }),
            json!({ "exec_logging": { "log_group": "sessions", "kms_key": "alias/sessions" } }),
            json!({ "exec_logging": { "off": true } }),
            json!({ "exec_logging": null }),
            json!({ "service_connect_namespace": "arn:aws:servicediscovery:eu-west-2:123456789012:namespace/ns-abc" }),
            json!({ "service_connect_namespace": null }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
}

crate::on_each_emulator!(cluster);
