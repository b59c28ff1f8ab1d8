use serde_json::json;

use crate::support::{Emulator, change, life, make, remove, unique};

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

async fn launch_template(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    life(
        &cloud,
        "launch_template",
        json!({
            "name": unique("template"),
            "image": image(emulator),
            "instance_type": "t3.small",
            "user_data": "#!/bin/sh\necho ECS_CLUSTER=main >> /etc/ecs/ecs.config\n",
            "security_groups": ["sg-2", "sg-1"],
        }),
        &[
            json!({ "instance_type": "t3.medium" }),
            json!({ "user_data": "#!/bin/sh\ntrue\n" }),
            json!({ "user_data": null }),
            json!({ "instance_profile": "arn:aws:iam::123456789012:instance-profile/web" }),
            json!({ "instance_profile": "web" }),
            json!({ "instance_profile": null }),
            json!({ "key_pair": "ops" }),
            json!({ "volumes": [
                { "device": "/dev/xvdb", "size_gib": 8, "type": "gp3", "iops": 4000, "throughput": 200 },
                { "device": "/dev/xvda", "size_gib": 30, "delete_on_termination": false, "encrypted": false },
            ] }),
            json!({ "volumes": [] }),
            json!({ "imds": "optional" }),
            json!({ "imds_hop_limit": 1 }),
            json!({ "detailed_monitoring": true }),
            json!({ "public_ip": true, "security_groups": ["sg-1"] }),
            json!({ "public_ip": null }),
            json!({ "ebs_optimized": true }),
            json!({ "instance_tags": { "Role": "ecs" } }),
            json!({ "cpu_credits": "standard" }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
}

/// Not on ministack: its DescribeLaunchTemplateVersions leaves out the key of a volume.
#[tokio::test]
async fn launch_template_volume_key() {
    let cloud = Emulator::Moto.cloud().await;
    let template = json!({ "name": unique("key"), "image": image(Emulator::Moto) });
    let volumes = json!([{ "device": "/dev/xvda", "size_gib": 30, "kms_key": "alias/disks" }]);
    life(&cloud, "launch_template", template, &[json!({ "volumes": volumes })]).await;
}

/// An update makes a version and sets it default, however many there are; neither emulator knows
/// DeleteLaunchTemplateVersions, so old ones stay here.
async fn launch_template_versions(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let mut known =
        make(&cloud, "launch_template", json!({ "name": unique("versions"), "image": image(emulator) })).await;
    assert_eq!(known.outputs["latest_version"], json!("1"));
    for hops in 3..=15 {
        change(&cloud, "launch_template", &mut known, json!({ "imds_hop_limit": hops })).await;
    }
    assert_eq!(known.outputs["latest_version"], json!("14"));
    assert_eq!(known.outputs["default_version"], json!("14"));
    remove(&cloud, "launch_template", &known).await;
}

/// An image that the emulator has.
fn image(emulator: Emulator) -> &'static str {
    match emulator {
        // Of moto's own list of images.
        Emulator::Moto => "ami-12c6146b",
        Emulator::Ministack => "ami-0123456789abcdef0",
    }
}

crate::on_each_emulator!(cluster, launch_template, launch_template_versions);
