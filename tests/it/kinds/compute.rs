use aws_sdk_ssm::types::ParameterType;
use cofferdam::cloud::{Cloud, ErrorClass, Known};
use cofferdam::kinds::AwsCloud;
use serde_json::json;

use crate::support::{Emulator, canonical, change, life, make, map, remove, unique};

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
            json!({ "public_ip": true }),
            json!({ "public_ip": null }),
            json!({ "security_groups": [] }),
            json!({ "ebs_optimized": true }),
            json!({ "instance_tags": { "Role": "ecs" } }),
            json!({ "cpu_credits": "standard" }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
}

/// Not on ministack: its DescribeLaunchTemplateVersions leaves out the key of a volume and the groups of an interface.
#[tokio::test]
async fn launch_template_keys_and_interfaces() {
    let cloud = Emulator::Moto.cloud().await;
    let template = json!({ "name": unique("key"), "image": image(Emulator::Moto) });
    let volumes = json!([{ "device": "/dev/xvda", "size_gib": 30, "kms_key": "alias/disks" }]);
    let changes = [json!({ "volumes": volumes }), json!({ "public_ip": true, "security_groups": ["sg-2", "sg-1"] })];
    life(&cloud, "launch_template", template, &changes).await;
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

/// Many templates are read in two calls: the templates, and the default versions of them all.
async fn many_templates(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let mut known = Vec::new();
    for kind in ["t3.small", "t3.medium", "t3.large"] {
        let template = json!({ "name": unique("many"), "image": image(emulator), "instance_type": kind });
        known.push(make(&cloud, "launch_template", template).await);
    }
    let before = cloud.aws().calls.counts();
    let seen = cloud.read("launch_template", &known).await.expect("templates are read");
    let after = cloud.aws().calls.counts();
    let types: Vec<_> = seen.iter().flatten().map(|one| one.attributes["instance_type"].clone()).collect();
    assert_eq!(types, ["t3.small", "t3.medium", "t3.large"]);
    if emulator == Emulator::Moto {
        // ministack's DescribeLaunchTemplateVersions wants a template, and so each is asked for there.
        for call in ["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"] {
            assert_eq!(after[call] - before.get(call).unwrap_or(&0), 1, "{call}");
        }
    }
    for one in &known {
        remove(&cloud, "launch_template", one).await;
    }
}

/// A template and a subnet for a group, and what they stand on.
async fn ground(cloud: &AwsCloud, emulator: Emulator) -> [(&'static str, Known); 3] {
    let vpc = make(cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let subnet = make(cloud, "subnet", json!({ "vpc": vpc.id, "cidr": "10.0.1.0/24", "zone": "eu-west-2a" })).await;
    let template = json!({ "name": unique("template"), "image": image(emulator), "instance_type": "t3.small" });
    let template = make(cloud, "launch_template", template).await;
    [("vpc", vpc), ("subnet", subnet), ("launch_template", template)]
}

async fn clear(cloud: &AwsCloud, ground: &[(&str, Known)]) {
    for (kind, known) in ground.iter().rev() {
        remove(cloud, kind, known).await;
    }
}

async fn autoscaling_group(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = ground(&cloud, emulator).await;
    let [(_, vpc), (_, subnet), (_, template)] = &ground;
    let other = make(&cloud, "subnet", json!({ "vpc": vpc.id, "cidr": "10.0.2.0/24", "zone": "eu-west-2b" })).await;
    let mut changes = vec![
        json!({ "min": 0 }),
        json!({ "max": 4 }),
        json!({ "desired": 2 }),
        json!({ "desired": null }),
        json!({ "health_check": "elb" }),
        json!({ "health_check_grace_seconds": 60 }),
        json!({ "subnets": [subnet.id, other.id] }),
        json!({ "propagate_tags": false }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    match emulator {
        // moto's UpdateAutoScalingGroup leaves out cooldown, warm-up, termination policies, lifetime and rebalancing.
        Emulator::Moto | Emulator::Together => changes.extend([
            json!({ "launch_template_version": "1" }),
            json!({ "protect_from_scale_in": true }),
            json!({ "protect_from_scale_in": false }),
            json!({ "enabled_metrics": ["GroupDesiredCapacity", "GroupInServiceInstances"] }),
            json!({ "mixed_instances": {
                "instance_types": ["t3.small", "t3a.small"],
                "on_demand_base": 1,
                "on_demand_percent": 50,
                "max_spot_price": "0.05",
            } }),
            json!({ "mixed_instances": { "instance_types": ["t3.small"], "spot_strategy": "capacity-optimized" } }),
            json!({ "mixed_instances": null }),
        ]),
        // ministack's leaves out those, the launch template, a mix and protection, and it knows no calls for metrics
        // and target groups.
        Emulator::Ministack => changes.extend([json!({ "default_cooldown": 60 })]),
    }
    life(
        &cloud,
        "autoscaling_group",
        json!({
            "name": unique("group"),
            "launch_template": template.id,
            "subnets": [subnet.id],
            "min": 1,
            "max": 3,
            "termination_policies": ["OldestInstance", "Default"],
        }),
        &changes,
    )
    .await;
    remove(&cloud, "subnet", &other).await;
    clear(&cloud, &ground).await;
}

/// A group whose instances are protected goes all the same.
async fn protected_group(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = ground(&cloud, emulator).await;
    let [_, (_, subnet), (_, template)] = &ground;
    let group = json!({
        "name": unique("protected"),
        "launch_template": template.id,
        "subnets": [subnet.id],
        "min": 2,
        "max": 2,
        "protect_from_scale_in": true,
    });
    let group = make(&cloud, "autoscaling_group", group).await;
    assert!(group.outputs["arn"].as_str().is_some_and(|arn| arn.contains(":autoScalingGroup:")), "{:?}", group.outputs);
    remove(&cloud, "autoscaling_group", &group).await;
    clear(&cloud, &ground).await;
}

/// A new version of the template starts an instance refresh where one is wanted, and another change does not. Not on
/// moto: StartInstanceRefresh answers no API's error there.
#[tokio::test]
async fn instance_refresh() {
    let cloud = Emulator::Ministack.cloud().await;
    let ground = ground(&cloud, Emulator::Ministack).await;
    let [_, (_, subnet), (_, template)] = &ground;
    let group = json!({
        "name": unique("refreshed"),
        "launch_template": template.id,
        "launch_template_version": "1",
        "subnets": [subnet.id],
        "min": 1,
        "max": 1,
        "instance_refresh": { "min_healthy_percent": 50 },
    });
    let mut group = make(&cloud, "autoscaling_group", group).await;
    let id = group.id.clone();
    change(&cloud, "autoscaling_group", &mut group, json!({ "max": 2 })).await;
    assert_eq!(refreshed(&cloud, &id).await, 0, "another change leaves instances alone");
    change(&cloud, "autoscaling_group", &mut group, json!({ "launch_template_version": "2" })).await;
    assert_eq!(refreshed(&cloud, &id).await, 1);
    remove(&cloud, "autoscaling_group", &group).await;
    clear(&cloud, &ground).await;
}

async fn refreshed(cloud: &AwsCloud, group: &str) -> usize {
    let call = cloud.aws().autoscaling.describe_instance_refreshes().auto_scaling_group_name(group);
    call.send().await.expect("refreshes are listed").instance_refreshes().len()
}

/// moto alone has the public parameters of AWS.
#[tokio::test]
async fn ami_of_a_public_parameter() {
    let cloud = Emulator::Moto.cloud().await;
    let attributes = canonical(&cloud, "ami", map(json!({})));
    let image = cloud.look_up("ami", None, &attributes).await.expect("the image for ECS is found");
    assert!(image.id.starts_with("ami-"), "{image:?}");
    assert_eq!(image.outputs["id"], json!(image.id));
}

/// A parameter of one's own holds the id, or a JSON document with the id in it.
async fn ami(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ssm = &cloud.aws().ssm;
    let document = r#"{"image_id":"ami-0fedcba9876543210","os":"linux"}"#;
    for (value, id) in [("ami-0123456789abcdef0", "ami-0123456789abcdef0"), (document, "ami-0fedcba9876543210")] {
        let name = unique("/images/ecs");
        let put = ssm.put_parameter().name(&name).value(value).r#type(ParameterType::String);
        put.send().await.expect("the parameter is put");
        let attributes = map(json!({ "parameter": name }));
        assert_eq!(cloud.look_up("ami", None, &attributes).await.expect("it is found").id, id);
    }
    let attributes = map(json!({ "parameter": "/no/such/image" }));
    let error = cloud.look_up("ami", None, &attributes).await.expect_err("there is none");
    assert!(error.is(ErrorClass::NotFound) && error.message.contains("/no/such/image"), "{error}");
}

/// An image given by id is taken as it is where it exists. ministack knows no image of AWS's.
#[tokio::test]
async fn ami_by_id() {
    let cloud = Emulator::Moto.cloud().await;
    let id = image(Emulator::Moto);
    let attributes = canonical(&cloud, "ami", map(json!({})));
    assert_eq!(cloud.look_up("ami", Some(id), &attributes).await.expect("it exists").id, id);
    let error = cloud.look_up("ami", Some("ami-00000000000000000"), &attributes).await.expect_err("it does not");
    assert!(error.is(ErrorClass::NotFound), "{error}");
}

async fn zones(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let zones = cloud.look_up("zones", None, &map(json!({}))).await.expect("zones are listed");
    assert_eq!(zones.id, "eu-west-2");
    assert_eq!(zones.outputs["names"], json!(["eu-west-2a", "eu-west-2b", "eu-west-2c"]));
    assert_eq!(zones.outputs["ids"].as_array().map(Vec::len), Some(3));
}

/// A group without instances, for a capacity provider.
async fn group(cloud: &AwsCloud, ground: &[(&'static str, Known); 3]) -> Known {
    let [_, (_, subnet), (_, template)] = ground;
    let group = json!({
        "name": unique("capacity"),
        "launch_template": template.id,
        "subnets": [subnet.id],
        "min": 0,
        "max": 3,
        "protect_from_scale_in": true,
    });
    make(cloud, "autoscaling_group", group).await
}

async fn capacity_provider(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = ground(&cloud, emulator).await;
    let group = group(&cloud, &ground).await;
    let provider = json!({ "name": unique("provider"), "autoscaling_group": group.outputs["arn"] });
    let mut changes = vec![
        json!({ "managed_scaling": { "target_percent": 80, "min_step": 2, "max_step": 10, "warmup_seconds": 60 } }),
        json!({ "managed_termination_protection": true }),
        json!({ "managed_termination_protection": false }),
        json!({ "managed_scaling": { "enabled": false } }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    if emulator == Emulator::Ministack {
        // moto's UpdateCapacityProvider leaves out draining.
        changes.push(json!({ "managed_draining": false }));
    }
    life(&cloud, "capacity_provider", provider, &changes).await;
    remove(&cloud, "autoscaling_group", &group).await;
    clear(&cloud, &ground).await;
}

async fn cluster_capacity(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let ground = ground(&cloud, emulator).await;
    let group = group(&cloud, &ground).await;
    let provider = json!({ "name": unique("provider"), "autoscaling_group": group.outputs["arn"] });
    let provider = make(&cloud, "capacity_provider", provider).await;
    let cluster = make(&cloud, "cluster", json!({ "name": unique("cluster") })).await;
    life(
        &cloud,
        "cluster_capacity",
        json!({ "cluster": cluster.id, "providers": [provider.id] }),
        &[
            json!({ "default": [{ "provider": provider.id, "base": 1 }] }),
            json!({ "providers": [provider.id, "FARGATE", "FARGATE_SPOT"], "default": [
                { "provider": "FARGATE_SPOT", "weight": 4 },
                { "provider": "FARGATE", "weight": 1, "base": 2 },
            ] }),
            json!({ "default": [] }),
            json!({ "providers": ["FARGATE"] }),
        ],
    )
    .await;
    for (kind, known) in [("cluster", &cluster), ("capacity_provider", &provider), ("autoscaling_group", &group)] {
        remove(&cloud, kind, known).await;
    }
    clear(&cloud, &ground).await;
}

/// An image that the emulator has.
fn image(emulator: Emulator) -> &'static str {
    match emulator {
        // Of moto's own list of images.
        Emulator::Moto | Emulator::Together => "ami-12c6146b",
        Emulator::Ministack => "ami-0123456789abcdef0",
    }
}

crate::on_each_emulator!(
    ami,
    autoscaling_group,
    capacity_provider,
    cluster,
    cluster_capacity,
    launch_template,
    launch_template_versions,
    many_templates,
    protected_group,
    zones,
);
