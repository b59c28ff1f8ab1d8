use cofferdam::cloud::{Cloud, CreateRequest, ErrorClass, STACK_TAG};
use serde_json::{Value, json};

use crate::support::{Emulator, life, make, remove, unique};

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

crate::on_each_emulator!(role, instance_profile, policy, a_name_of_somebody_else);
