use cofferdam::cloud::{Cloud, ErrorClass, Known};
use cofferdam::kinds::AwsCloud;
use serde_json::{Value, json};

use crate::support::{Emulator, change, life, make, reads_back, remove, unique};

/// What a container can have, all of it.
fn everything() -> Value {
    json!({
        "image": "public.ecr.aws/nginx/nginx:1.27",
        "cpu": 64,
        "memory": 256,
        "memory_reservation": 128,
        "entry_point": ["/bin/sh", "-c"],
        "command": ["nginx -g 'daemon off;'"],
        "working_directory": "/srv",
        "user": "1000:1000",
        "environment": { "PORT": 8080, "DEBUG": false, "EMPTY": "" },
        "environment_files": ["arn:aws:s3:::settings/web.env"],
        "secrets": { "TOKEN": "arn:aws:secretsmanager:eu-west-2:123456789012:secret:token" },
        "ports": [{ "container": 8443, "name": "tls" }, { "container": 80, "host": 8080 }, { "container": 53, "protocol": "udp" }],
        "health_check": { "command": "curl -f http://localhost/", "start_period_seconds": 10 },
        "depends_on": { "init": "success", "db": "healthy" },
        "start_timeout_seconds": 60,
        "stop_timeout_seconds": 90,
        "log": { "group": "/ecs/web", "options": { "mode": "non-blocking" } },
        "mounts": [{ "volume": "scratch", "path": "/tmp", "read_only": true }, { "volume": "data", "path": "/data" }],
        "volumes_from": [{ "container": "db", "read_only": true }],
        "ulimits": { "nofile": { "soft": 1024, "hard": 65536 } },
        "linux": {
            "init": true, "add_capabilities": ["SYS_PTRACE"], "drop_capabilities": ["NET_RAW", "MKNOD"],
            "devices": [{ "host": "/dev/fuse", "permissions": ["write", "read"] }], "shared_memory_mib": 64,
            "tmpfs": [{ "path": "/run", "size_mib": 16, "options": ["noexec"] }],
        },
        "sysctls": { "net.core.somaxconn": 1024 },
        "read_only": true,
        "hostname": "web",
        "dns_servers": ["10.0.0.2"],
        "hosts": { "legacy": "10.0.0.9" },
        "labels": { "team": "web" },
        "restart": { "ignored_exit_codes": [0], "attempt_period_seconds": 120 },
    })
}

async fn task_definition(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let containers = json!({
        "web": everything(),
        "db": { "image": "postgres:17", "memory": 128, "health_check": { "command": ["CMD", "pg_isready"] } },
        "init": { "image": "busybox", "memory": 16, "essential": false },
    });
    let volumes = json!({
        "scratch": {},
        "data": { "efs": { "file_system": "fs-0123456789abcdef0", "access_point": "fsap-0123", "iam": true } },
        "host": { "host_path": "/var/lib/web" },
        "docker": { "docker": { "shared": true, "autoprovision": true, "labels": { "a": "b" } } },
    });
    let task = json!({ "family": unique("task"), "containers": containers, "volumes": volumes });
    life(
        &cloud,
        "task_definition",
        task,
        &[
            json!({ "containers": { "web": { "image": "nginx:1.28", "memory": 64 } }, "volumes": null }),
            json!({ "runs_on": ["fargate", "ec2"], "cpu": 256, "memory": 512, "network": "awsvpc" }),
            json!({ "architecture": "arm64", "os": "linux" }),
            json!({ "ephemeral_storage_gib": 30 }),
            json!({ "task_role": "arn:aws:iam::123456789012:role/web" }),
            json!({ "placement": ["attribute:ecs.os-type == linux"] }),
            json!({ "pid_mode": "task", "ipc_mode": "task" }),
            json!({ "tags": { "Team": "platform" } }),
            json!({ "keep_revisions": 3 }),
        ],
    )
    .await;
}

/// Every update makes one revision and no more, old ones are retired, and one that is deregistered by somebody is gone.
async fn revisions(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let image = |tag: u32| json!({ "containers": { "web": { "image": format!("nginx:{tag}"), "memory": 64 } } });
    let mut task = image(1);
    task["family"] = json!(unique("revisions"));
    task["keep_revisions"] = json!(2);
    let mut known = make(&cloud, "task_definition", task).await;
    for tag in 2..=5 {
        change(&cloud, "task_definition", &mut known, image(tag)).await;
        assert_eq!(known.outputs["revision"], json!(tag.to_string()));
    }
    reads_back(&cloud, "task_definition", &known).await;
    let listed =
        cloud.aws().ecs.list_task_definitions().family_prefix(&known.id).send().await.expect("they are listed");
    assert_eq!(listed.task_definition_arns().len(), 2, "two are kept: {listed:?}");

    let arn = known.outputs["arn"].as_str().expect("an ARN");
    cloud.aws().ecs.deregister_task_definition().task_definition(arn).send().await.expect("it is deregistered");
    cloud.forget();
    assert_eq!(cloud.read("task_definition", &[known.clone()]).await.expect("it is read"), [None]);
    remove(&cloud, "task_definition", &known).await;
}

/// What somebody else registered in the family of a task is neither counted nor retired, and stays when the task goes.
async fn revisions_of_others(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let image = |tag: u32| json!({ "containers": { "web": { "image": format!("nginx:{tag}"), "memory": 64 } } });
    let mut task = image(1);
    task["family"] = json!(unique("shared"));
    task["keep_revisions"] = json!(2);
    let mut known = make(&cloud, "task_definition", task).await;
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web").image("theirs").memory(64).build();
    let call = cloud.aws().ecs.register_task_definition().family(&known.id).container_definitions(container);
    call.send().await.expect("it is registered");
    let numbers = async |id: &str| -> Vec<String> {
        let listed = cloud.aws().ecs.list_task_definitions().family_prefix(id).send().await.expect("they are listed");
        let number = |arn: &String| arn.rsplit(':').next().unwrap_or_default().to_owned();
        listed.task_definition_arns().iter().map(number).collect()
    };
    for tag in 3..=5 {
        change(&cloud, "task_definition", &mut known, image(tag)).await;
    }
    assert_eq!(numbers(&known.id).await, ["2", "4", "5"], "two of the stack's are kept, and the other one");
    remove(&cloud, "task_definition", &known).await;
    assert_eq!(numbers(&known.id).await, ["2"]);
}

/// Many revisions are read by listing them, not one by one.
#[tokio::test]
async fn many_revisions_are_listed() {
    let cloud = Emulator::Moto.cloud().await;
    let mut known = Vec::new();
    for _ in 0..12 {
        let task = json!({ "family": unique("many"), "containers": { "web": { "image": "nginx", "memory": 64 } } });
        known.push(make(&cloud, "task_definition", task).await);
    }
    let before = cloud.aws().calls.counts();
    let seen = cloud.read("task_definition", &known).await.expect("they are read");
    assert_eq!(seen.iter().flatten().count(), known.len());
    let after = cloud.aws().calls.counts();
    let sent = |call: &str| after.get(call).unwrap_or(&0) - before.get(call).unwrap_or(&0);
    assert_eq!((sent("ecs:DescribeTaskDefinition"), sent("ecs:ListTaskDefinitions") <= 2), (0, true), "{after:?}");
    for one in &known {
        remove(&cloud, "task_definition", one).await;
    }
}

/// A family that somebody else has is not added to.
async fn family_of_somebody_else(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let family = unique("taken");
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web").image("nginx").memory(64).build();
    let call = cloud.aws().ecs.register_task_definition().family(&family).container_definitions(container);
    call.send().await.expect("it is registered");
    let task = json!({ "family": family, "containers": { "web": { "image": "nginx", "memory": 64 } } });
    let request = crate::support::request(&cloud, "task_definition", task);
    let error = cloud.create("task_definition", &request).await.expect_err("the family is taken");
    assert!(error.is(ErrorClass::Exists) && error.message.contains(&family), "{error}");
}

/// A cluster and two revisions, for services.
async fn ground(cloud: &AwsCloud) -> (Known, Known) {
    let cluster = make(cloud, "cluster", json!({ "name": unique("cluster") })).await;
    let container = json!({ "image": "nginx", "memory": 64, "ports": [{ "container": 80, "name": "http" }] });
    let task = json!({ "family": unique("task"), "containers": { "web": container } });
    (cluster, make(cloud, "task_definition", task).await)
}

/// Not on moto: its services never run a task, so that no deployment is ever completed. On ministack alone and as
/// `--cloud local` arranges it. ministack's UpdateService leaves out load balancers, registries, placement, capacity and
/// rebalancing.
async fn service_on(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let (cluster, task) = ground(&cloud).await;
    let service = json!({
        "name": unique("web"),
        "cluster": cluster.id,
        "task_definition": task.outputs["arn"],
        "count": 2,
        "network": { "subnets": ["subnet-2", "subnet-1"], "security_groups": ["sg-1"] },
        "load_balancers": [{ "target_group": "arn:aws:elasticloadbalancing:eu-west-2:1:targetgroup/web/1", "container": "web", "port": 80 }],
        "registries": [{ "service": "arn:aws:servicediscovery:eu-west-2:1:service/srv-1" }],
    });
    let changes = [
        json!({ "count": 3 }),
        json!({ "network": { "subnets": ["subnet-1"], "public_ip": true } }),
        json!({ "deployment": { "min_percent": 50, "max_percent": 150, "circuit_breaker": "stop", "alarms": ["errors"] } }),
        json!({ "deployment": { "circuit_breaker": "off" } }),
        json!({ "health_check_grace_seconds": 30 }),
        json!({ "exec": true }),
        json!({ "platform_version": "1.4.0" }),
        json!({ "tags": { "Team": "platform" } }),
    ];
    life(&cloud, "ecs_service", service, &changes).await;
    remove(&cloud, "task_definition", &task).await;
    remove(&cloud, "cluster", &cluster).await;
}

#[tokio::test]
async fn service_ministack() {
    service_on(Emulator::Ministack).await;
}

#[tokio::test]
async fn service_together() {
    service_on(Emulator::Together).await;
}

/// A new revision is deployed; a service whose tasks are of another one than was asked for was rolled back.
#[tokio::test]
async fn service_rolled_back() {
    let cloud = Emulator::Together.cloud().await;
    let (cluster, mut task) = ground(&cloud).await;
    let first = task.outputs["arn"].clone();
    let service = json!({ "name": unique("web"), "cluster": cluster.id, "task_definition": first, "count": 1 });
    let mut service = make(&cloud, "ecs_service", service).await;
    change(
        &cloud,
        "task_definition",
        &mut task,
        json!({ "containers": { "web": { "image": "nginx:2", "memory": 64 } } }),
    )
    .await;
    change(&cloud, "ecs_service", &mut service, json!({ "task_definition": task.outputs["arn"] })).await;

    // What ECS does when its circuit breaker opens: a deployment of the last revision that worked takes over.
    let call = cloud.aws().ecs.update_service().cluster(&cluster.id).service(&service.id);
    call.task_definition(first.as_str().expect("an ARN")).send().await.expect("it is put back");
    let error = cloud.poll("ecs_service", &service, cofferdam::cloud::Phase::Updated).await.expect_err("it failed");
    assert!(error.message.contains("was rolled back") && error.help.is_some(), "{error}");
    for (kind, known) in [("ecs_service", &service), ("task_definition", &task), ("cluster", &cluster)] {
        remove(&cloud, kind, known).await;
    }
}

crate::on_each_emulator!(family_of_somebody_else, revisions, revisions_of_others, task_definition);
