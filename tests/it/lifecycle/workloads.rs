use serde_json::json;

use super::{Project, Step, go_on, many, one, tell};
use crate::support::Emulator;

const TASK: &str = r#"
[log_group.web]

[role.execution]
service = "ecs-tasks.amazonaws.com"
managed_policies = ["arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"]

[task_definition.web]
runs_on = ["fargate"]
cpu = 256
memory = 512
execution_role = "execution"
# more

[task_definition.web.containers.app]
image = "nginx:1.27"
ports = [{ container = 80 }]
log = { group = "web" }
environment = { LEVEL = "info", WORKERS = 2 }
# container
"#;

async fn task_definition(emulator: Emulator) {
    let sidecar = "\n[task_definition.web.containers.proxy]\nimage = \"envoy:1\"\nessential = false\ndepends_on = { app = \"start\" }\n";
    let steps = vec![
        one("LEVEL = \"info\"", "LEVEL = \"debug\"", "update", "task_definition.web.containers"),
        one("nginx:1.27", "nginx:1.28", "update", "task_definition.web.containers"),
        many(
            &[("cpu = 256", "cpu = 512"), ("memory = 512", "memory = 1024")],
            "update",
            &["task_definition.web.cpu", "task_definition.web.memory"],
        ),
        one("# container", sidecar, "update", "task_definition.web.containers"),
        one("# more", "architecture = \"arm64\"\n# more", "update", "task_definition.web.architecture"),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "task_definition.web.tags.Team"),
        one("# more", "keep_revisions = 2\n# more", "update", "task_definition.web.keep_revisions"),
        Step::Gone(&["task_definition.web"]),
        one("# more", "family = \"{u}-other\"\n# more", "replace", "task_definition.web.family"),
    ];
    tell(emulator, TASK, steps).await;
}

/// Somebody deregisters the revision: it is registered again. Somebody registers another one: it is nobody's business.
#[tokio::test]
async fn revisions_of_somebody_else() {
    let project = Project::new(Emulator::Together, TASK);
    project.succeeds(&["apply", "--yes"]);
    let cloud = Emulator::Together.cloud().await;
    let arn = project.state().resources["task_definition.web"].outputs["arn"].as_str().expect("an ARN").to_owned();
    let family = project.ids()["task_definition.web"].clone();
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("app").image("nginx").memory(64).build();
    let call = cloud.aws().ecs.register_task_definition().family(&family).container_definitions(container);
    call.send().await.expect("another revision is registered");
    project.plan_is_empty("a revision of somebody else");
    // Tags go on the revision that is ours, and it stays the one that services run.
    project.write(&TASK.replace("# more", "tags = { Team = \"a\" }\n# more"));
    project.applies();
    project.plan_is_empty("a change of tags");
    assert_eq!(project.state().resources["task_definition.web"].outputs["arn"], arn.as_str());
    // Where the state is lost, it is ours that is found again.
    let before = project.state();
    project.succeeds(&["state rm", "task_definition.web"]);
    project.succeeds(&["orphans", "--yes", "--adopt"]);
    assert_eq!(project.state().resources, before.resources);
    project.succeeds(&["recover", "--yes", "--anew"]);
    assert_eq!(project.state().resources, before.resources);
    project.plan_is_empty("recovering beside a revision of somebody else");
    cloud.aws().ecs.deregister_task_definition().task_definition(&arn).send().await.expect("ours is deregistered");
    assert_eq!(project.planned(&[]), ["create task_definition.web".to_owned()].into());
    // The newest of the family is not ours now; the family is, for it had revisions of ours.
    project.applies();
    project.plan_is_empty("registering it again");
    assert_ne!(project.state().resources["task_definition.web"].outputs["arn"], arn.as_str());
    project.succeeds(&["destroy", "--yes"]);
}

/// What a service stands on.
const SERVICE: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[subnet.b]
vpc = "main"
cidr = "10.0.1.0/24"
zone = "b"

[security_group.web]
vpc = "main"

[cluster.main]

[task_definition.web]
runs_on = ["fargate"]
cpu = 256
memory = 512
containers = { app = { image = "nginx:1.27", environment = { LEVEL = "info" } } }

[ecs_service.web]
cluster = "main"
task_definition = "web"
count = 2
launch_type = "fargate"
network = { subnets = ["a"], security_groups = ["web"] }
# more
"#;

/// Not on moto alone: its services never run a task. With `max_percent` below 200 a deployment of ministack's stops half-way.
async fn service_on(emulator: Emulator) {
    let steps = vec![
        many(
            &[("\"info\"", "\"debug\"")],
            "update",
            &["task_definition.web.containers", "ecs_service.web.task_definition"],
        ),
        one("count = 2", "count = 3", "update", "ecs_service.web.count"),
        one("[\"a\"]", "[\"a\", \"b\"]", "update", "ecs_service.web.network"),
        one("# more", "exec = true\n# more", "update", "ecs_service.web.exec"),
        one(
            "# more",
            "health_check_grace_seconds = 60\n# more",
            "update",
            "ecs_service.web.health_check_grace_seconds",
        ),
        one(
            "# more",
            "deployment = { min_percent = 50, circuit_breaker = \"stop\" }\n# more",
            "update",
            "ecs_service.web.deployment",
        ),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "ecs_service.web.tags.Team"),
        Step::Drift("ecs_service.web", "count", json!(1)),
        Step::Drift("ecs_service.web", "exec", json!(false)),
        Step::Drift("ecs_service.web", "tags", json!({ "Team": "somebody" })),
        Step::Gone(&["ecs_service.web"]),
        // A count that the stack says no more is left as it is.
        one("count = 3\n", "", "update", "ecs_service.web.count"),
        one("# more", "name = \"{u}-other\"\n# more", "replace", "ecs_service.web.name"),
    ];
    tell(emulator, SERVICE, steps).await;
}

#[tokio::test]
async fn service_ministack() {
    service_on(Emulator::Ministack).await;
}

#[tokio::test]
async fn service_together() {
    service_on(Emulator::Together).await;
}

/// A stack of several services: changing one's environment plans one new revision and one update of its service.
#[tokio::test]
async fn one_variable_of_one_service() {
    let service = |name: &str, level: &str| {
        format!(
            "[task_definition.{name}]\nmemory = 64\ncontainers = {{ app = {{ image = \"nginx\", environment = {{ LEVEL = \"{level}\" }} }} }}\n\
             [ecs_service.{name}]\ncluster = \"main\"\ntask_definition = \"{name}\"\n"
        )
    };
    let stack = |level: &str| {
        let others: String = (1..50).map(|n| service(&format!("s{n}"), "info")).collect();
        format!("[cluster.main]\n{}{others}", service("s0", level))
    };
    let project = Project::new(Emulator::Together, &stack("info"));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    project.write(&stack("debug"));
    assert_eq!(
        project.planned(&[]),
        ["update ecs_service.s0".to_owned(), "update task_definition.s0".to_owned()].into()
    );
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the change of one variable");
    go_on(project, &stack("debug"), Vec::new()).await;
}

crate::on_each_emulator!(task_definition);
