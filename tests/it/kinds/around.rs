use cofferdam::cloud::Known;
use cofferdam::kinds::AwsCloud;
use cofferdam::secret::Secrets;
use serde_json::json;

use crate::support::{Emulator, life, make, remove, unique};

/// A service to scale, with what it stands on.
async fn service(cloud: &AwsCloud) -> [(&'static str, Known); 3] {
    let cluster = make(cloud, "cluster", json!({ "name": unique("cluster") })).await;
    let task = json!({ "family": unique("task"), "containers": { "web": { "image": "nginx", "memory": 64 } } });
    let task = make(cloud, "task_definition", task).await;
    let service =
        json!({ "name": unique("web"), "cluster": cluster.id, "task_definition": task.outputs["arn"], "count": 1 });
    let service = make(cloud, "ecs_service", service).await;
    [("ecs_service", service), ("task_definition", task), ("cluster", cluster)]
}

/// ministack has no Application Auto Scaling, and moto alone no service that runs.
#[tokio::test]
async fn scaling() {
    let cloud = Emulator::Together.cloud().await;
    let ground = service(&cloud).await;
    let arn = &ground[0].1.outputs["arn"];
    let night = json!({ "at": "cron(0 20 * * ? *)", "timezone": "Europe/London", "max": 2 });
    let target = json!({ "service": arn, "min": 1, "max": 4, "schedules": { "night": night } });
    let changes = [
        json!({ "max": 6 }),
        json!({ "min": 0 }),
        json!({ "suspended": true }),
        json!({ "schedules": { "night": { "at": "cron(0 22 * * ? *)", "min": 0 }, "once": { "at": "at(2037-01-01T00:00:00)", "min": 2 } } }),
        json!({ "schedules": null }),
    ];
    life(&cloud, "scaling_target", target, &changes).await;

    let target = make(&cloud, "scaling_target", json!({ "service": arn, "min": 1, "max": 4 })).await;
    let policy = json!({ "name": unique("cpu"), "target": target.id, "track": { "metric": "cpu", "value": 60 } });
    let custom = json!({ "namespace": "AWS/SQS", "name": "ApproximateNumberOfMessagesVisible", "dimensions": { "QueueName": "jobs" }, "statistic": "sum" });
    let changes = [
        json!({ "track": { "metric": "memory", "value": 70.5, "grow_seconds": 30, "shrink_seconds": 60, "never_shrink": true } }),
        json!({ "track": { "metric": "requests", "value": 1000, "load_balancer": "app/main/1", "target_group": "targetgroup/web/2" } }),
        json!({ "track": { "metric": "custom", "value": 10, "custom": custom } }),
        json!({ "track": null, "steps": { "steps": [{ "from": 0, "to": 10, "size": 1 }, { "from": 10, "size": 3 }], "cooldown_seconds": 60 } }),
        json!({ "steps": { "by": "percent", "steps": [{ "to": 0, "size": -50 }], "at_least": 2 } }),
    ];
    life(&cloud, "scaling_policy", policy, &changes).await;
    remove(&cloud, "scaling_target", &target).await;
    for (kind, known) in &ground {
        remove(&cloud, kind, known).await;
    }
}

async fn alarm(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let metric = json!({ "namespace": "AWS/ECS", "name": "CPUUtilization", "dimensions": { "ClusterName": "main" } });
    let alarm = json!({ "name": unique("alarm"), "metric": metric, "when": "above", "threshold": 80.0 });
    let changes = [
        json!({ "description": "Busy", "when": "at-most", "threshold": 0.5 }),
        json!({ "metric": { "namespace": "Web", "name": "Latency", "statistic": "maximum", "unit": "Seconds" } }), // ministack knows no percentiles
        json!({ "periods": 5, "datapoints": 3, "period_seconds": 300, "missing": "not-breaching" }),
        json!({ "notify": ["arn:aws:sns:eu-west-2:123456789012:people"] }),
        json!({ "notify": null, "notify_unknown": ["arn:aws:sns:eu-west-2:123456789012:people"], "enabled": false }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    life(&cloud, "alarm", alarm, &changes).await;
}

async fn dashboard(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let body = |text: &str| json!({ "widgets": [{ "type": "text", "properties": { "markdown": text } }] }).to_string();
    let changes = [json!({ "body": body("other") })];
    life(&cloud, "dashboard", json!({ "name": unique("board"), "body": body("one") }), &changes).await;
}

async fn namespace(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let tags = [json!({ "tags": { "Team": "platform" } })];
    let private = json!({ "name": format!("{}.internal", unique("ns")), "vpc": vpc.id });
    life(&cloud, "namespace", private, &tags).await;
    life(&cloud, "namespace", json!({ "name": unique("http"), "type": "http" }), &tags).await;
    life(&cloud, "namespace", json!({ "name": format!("{}.example.com", unique("ns")), "type": "public-dns" }), &tags)
        .await;
    remove(&cloud, "vpc", &vpc).await;
}

async fn discovery_service(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let namespace = json!({ "name": format!("{}.internal", unique("ns")), "vpc": vpc.id });
    let namespace = make(&cloud, "namespace", namespace).await;
    let service = json!({ "name": "web", "namespace": namespace.id, "records": [{ "ttl": 60 }] });
    let changes = [json!({ "records": [{ "ttl": 10 }] }), json!({ "tags": { "Team": "platform" } })];
    life(&cloud, "discovery_service", service, &changes).await;
    remove(&cloud, "namespace", &namespace).await;
    remove(&cloud, "vpc", &vpc).await;
}

async fn schedule(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let task = "arn:aws:ecs:eu-west-2:123456789012:task-definition/job";
    let schedule = json!({
        "name": unique("nightly"),
        "at": "cron(0 3 * * ? *)",
        "cluster": "arn:aws:ecs:eu-west-2:123456789012:cluster/main",
        "task_definition": format!("{task}:1"),
        "role": "arn:aws:iam::123456789012:role/scheduler",
        "launch_type": "fargate",
        "network": { "subnets": ["subnet-2", "subnet-1"], "security_groups": ["sg-1"] },
    });
    let changes = [
        json!({ "at": "rate(5 minutes)" }),
        json!({ "timezone": "Europe/London" }),
        json!({ "enabled": false }),
        json!({ "flexible_minutes": 10 }),
        json!({ "flexible_minutes": null }),
        json!({ "task_definition": format!("{task}:2") }),
        json!({ "count": 2 }),
        json!({ "launch_type": null, "capacity": [{ "provider": "FARGATE_SPOT" }] }),
        json!({ "overrides": { "containerOverrides": [{ "name": "job", "command": ["run"] }] } }),
        json!({ "retries": 0 }),
        json!({ "dead_letters": "arn:aws:sqs:eu-west-2:123456789012:lost" }),
    ];
    life(&cloud, "schedule", schedule, &changes).await;
}

async fn topic(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let queue =
        |name: &str| json!({ "protocol": "sqs", "endpoint": format!("arn:aws:sqs:eu-west-2:123456789012:{name}") });
    let allow = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "cloudwatch.amazonaws.com" }, "Action": "sns:Publish", "Resource": "*",
    }] });
    let changes = [
        json!({ "display_name": "Alarms" }),
        json!({ "display_name": null }),
        json!({ "kms_key": "alias/aws/sns" }),
        json!({ "policy": allow }),
        json!({ "subscriptions": [queue("one"), queue("two")] }),
        json!({ "subscriptions": [queue("two")] }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    life(&cloud, "topic", json!({ "name": unique("alarms") }), &changes).await;
    let fifo = json!({ "name": format!("{}.fifo", unique("ordered")), "fifo": true });
    life(&cloud, "topic", fifo, &[]).await;
}

async fn secret(emulator: Emulator) {
    let mut cloud = emulator.cloud().await;
    let mut secrets = Secrets::default();
    secrets.declare("one", Some("correct horse".to_owned()));
    secrets.declare("other", Some("battery staple".to_owned()));
    cloud.keep(std::sync::Arc::new(secrets));
    let name = unique("web/login");
    let attributes = json!({ "name": name, "value": "(secret one)", "recovery_days": 0 });
    let mut changes = vec![
        json!({ "value": "(secret other)" }),
        json!({ "description": "Of the database" }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    if emulator == Emulator::Ministack {
        // moto never takes a description back.
        changes.push(json!({ "description": null }));
    }
    life(&cloud, "secret", attributes, &changes).await;

    // One that was deleted and can be had back is had back, with the value that is wanted now.
    let kept = json!({ "name": unique("web/kept"), "value": "(secret one)" });
    let made = make(&cloud, "secret", kept.clone()).await;
    remove(&cloud, "secret", &made).await;
    let mut again = kept;
    again["value"] = json!("(secret other)");
    let made = make(&cloud, "secret", again).await;
    let value = cloud.aws().secrets.get_secret_value().secret_id(&made.id).send().await.expect("it is there");
    assert_eq!(value.secret_string(), Some("battery staple"));
    remove(&cloud, "secret", &made).await;
}

async fn file_system(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let mut changes = vec![json!({ "tags": { "Team": "platform" } })];
    if emulator == Emulator::Ministack {
        // moto knows neither UpdateFileSystem nor PutBackupPolicy.
        changes.push(json!({ "backup": false }));
        changes.push(json!({ "throughput": "provisioned", "mib_per_second": 10 }));
    }
    life(&cloud, "file_system", json!({ "throughput": "bursting" }), &changes).await;

    let system = make(&cloud, "file_system", json!({})).await;
    let point = json!({
        "file_system": system.id, "path": "/data", "user": { "uid": 1000, "gid": 1000, "more_gids": [2000] },
        "owner": { "uid": 1000, "gid": 1000 },
    });
    life(&cloud, "access_point", point, &[json!({ "tags": { "Team": "platform" } })]).await;

    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let subnet = json!({ "vpc": vpc.id, "cidr": "10.0.0.0/24", "zone": "eu-west-2a" });
    let subnet = make(&cloud, "subnet", subnet).await;
    let mut groups = Vec::new();
    for _ in 0..2 {
        groups.push(make(&cloud, "security_group", json!({ "vpc": vpc.id, "name": unique("efs") })).await);
    }
    let target = json!({ "file_system": system.id, "subnet": subnet.id, "security_groups": [groups[0].id] });
    life(&cloud, "mount_target", target, &[json!({ "security_groups": [groups[1].id] })]).await;
    remove(&cloud, "file_system", &system).await;
}

crate::on_each_emulator!(alarm, dashboard, discovery_service, file_system, namespace, schedule, secret, topic);
