use cofferdam::cloud::{Cloud, CreateRequest, ErrorClass, STACK_TAG};
use serde_json::{Value, json};

use crate::support::{Emulator, life, make, remove, request, unique};

fn allow(actions: Value, resources: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resources}]})
        .to_string()
}

async fn role(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}]});
    let mut changes = vec![
        json!({ "service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"] }),
        json!({ "service": null, "trust": trust }),
        json!({ "trust": null, "service": "ecs-tasks.amazonaws.com" }),
        json!({ "policies": {
            "pull": allow(json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*")),
            "logs": allow(json!(["logs:PutLogEvents"]), json!(["arn:aws:logs:*:*:*"])),
        } }),
        json!({ "policies": {} }),
        json!({ "managed_policies": ["AmazonECSTaskExecutionRolePolicy", "AmazonSSMManagedInstanceCore"] }),
        json!({ "managed_policies": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"] }),
        json!({ "managed_policies": [] }),
        json!({ "description": "Pulls images" }),
        json!({ "max_session_seconds": 7200 }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    // ministack's UpdateRole ignores an empty description, and its GetAccountAuthorizationDetails leaves a role's
    // permissions boundary out.
    if emulator == Emulator::Moto {
        changes.push(json!({ "description": null }));
        changes.push(json!({ "boundary": "PowerUserAccess" }));
        changes.push(json!({ "boundary": null }));
    }
    life(
        &cloud,
        "role",
        json!({
            "name": unique("role"),
            "path": "/ecs/",
            "service": "ec2.amazonaws.com",
            "description": "Of the instances",
            "policies": { "pull": allow(json!("ecr:BatchGetImage"), json!(["*"])) },
            "managed_policies": ["AmazonSSMManagedInstanceCore"],
        }),
        &changes,
    )
    .await;
}

async fn instance_profile(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let one = make(&cloud, "role", json!({ "name": unique("role"), "service": "ec2.amazonaws.com" })).await;
    let other = make(&cloud, "role", json!({ "name": unique("role"), "service": "ec2.amazonaws.com" })).await;
    life(
        &cloud,
        "instance_profile",
        json!({ "name": unique("profile"), "path": "/ecs/", "role": one.id }),
        &[json!({ "role": other.id }), json!({ "tags": { "Team": "platform" } })],
    )
    .await;
    // A role is deleted although a profile still holds it, and the profile then has none.
    let profile = make(&cloud, "instance_profile", json!({ "name": unique("profile"), "role": one.id })).await;
    remove(&cloud, "role", &one).await;
    cloud.forget();
    let seen = cloud.read("instance_profile", std::slice::from_ref(&profile)).await.unwrap();
    assert_eq!(seen[0].as_ref().map(|seen| &seen.attributes["role"]), Some(&Value::Null));
    remove(&cloud, "instance_profile", &profile).await;
    remove(&cloud, "role", &other).await;
}

async fn policy(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    // More changes than a policy may have versions.
    let mut changes: Vec<Value> = (0..7)
        .map(|n| json!({ "document": allow(json!("s3:GetObject"), json!(format!("arn:aws:s3:::b{n}/*"))) }))
        .collect();
    changes.push(json!({ "tags": { "Team": "platform" } }));
    life(
        &cloud,
        "policy",
        json!({
            "name": unique("policy"),
            "path": "/ecs/",
            "description": "Reads",
            "document": allow(json!(["s3:GetObject"]), json!("*")),
        }),
        &changes,
    )
    .await;
}

/// What carries another owner's tags is not taken over.
async fn a_name_of_somebody_else(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let name = unique("role");
    let role = make(&cloud, "role", json!({ "name": name, "service": "ec2.amazonaws.com" })).await;
    let request = |stack: &str| CreateRequest {
        address: role.address.clone(),
        token: unique("token"),
        attributes: {
            let mut attributes = role.attributes.clone();
            attributes["tags"][STACK_TAG] = json!(stack);
            attributes
        },
    };
    let error = cloud.create("role", &request("another")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Exists);
    let taken_over = cloud.create("role", &request("test")).await.unwrap();
    assert_eq!((taken_over.id, taken_over.outputs), (role.id.clone(), role.outputs.clone()));
    remove(&cloud, "role", &role).await;
}

async fn log_group(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    // Neither emulator knows AssociateKmsKey and DisassociateKmsKey, so the key is not changed here.
    let key = "arn:aws:kms:eu-west-2:123456789012:key/0d6b0a9e-2b5b-4d4b-9c53-0a4a1d3c0001";
    life(
        &cloud,
        "log_group",
        json!({
            "name": unique("/cofferdam/web"),
            "retention_days": 14,
            "class": "infrequent-access",
            "kms_key": key,
        }),
        &[
            json!({ "retention_days": 30 }),
            json!({ "retention_days": null }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
}

/// One that is there already, and ours, is taken over as it is.
#[tokio::test]
async fn a_log_group_that_is_there() {
    let cloud = Emulator::Moto.cloud().await;
    let group = make(&cloud, "log_group", json!({ "name": unique("/cofferdam/there") })).await;
    let again = request(&cloud, "log_group", json!({ "name": group.id }));
    cloud.create("log_group", &again).await.expect("it is taken over");
    let calls = cloud.aws().calls.counts();
    assert!(!calls.keys().any(|call| call.contains("KmsKey")), "its key is what it shall be: {calls:?}");
    remove(&cloud, "log_group", &group).await;
}

async fn repository(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let lifecycle = json!({"rules": [{"rulePriority": 1, "action": {"type": "expire"}, "selection":
        {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}}]});
    // PutImageScanningConfiguration says "off" by leaving the setting out, and moto then changes nothing.
    let (first, changed) = (emulator != Emulator::Moto, emulator == Emulator::Moto);
    life(
        &cloud,
        "repository",
        json!({ "name": unique("shop/web"), "keep_images": 20, "scan_on_push": first }),
        &[
            json!({ "scan_on_push": changed }),
            json!({ "immutable_tags": true }),
            json!({ "lifecycle": lifecycle }),
            json!({ "lifecycle": null }),
            json!({ "force_delete": true }),
            json!({ "tags": { "Team": "platform" } }),
        ],
    )
    .await;
    // Two are read together, although one of them is gone.
    let one = make(&cloud, "repository", json!({ "name": unique("one") })).await;
    let two = make(&cloud, "repository", json!({ "name": unique("two") })).await;
    remove(&cloud, "repository", &one).await;
    let seen = cloud.read("repository", &[one, two.clone()]).await.unwrap();
    assert_eq!(seen.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    let spec = cloud.spec("repository").unwrap();
    assert_eq!((spec.predict)(&two.attributes, cloud.scope())["arn"], two.outputs["arn"], "the ARN is known before");
    remove(&cloud, "repository", &two).await;
}

crate::on_each_emulator!(role, instance_profile, policy, a_name_of_somebody_else, log_group, repository);
