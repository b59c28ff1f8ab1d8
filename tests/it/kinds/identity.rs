use serde_json::{Value, json};

use crate::support::{Emulator, life, unique};

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

crate::on_each_emulator!(role);
