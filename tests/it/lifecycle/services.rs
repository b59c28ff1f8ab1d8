//! The construct `service` as a whole, on what it stands on.

use super::{Step, many, one, tell};
use crate::support::Emulator;

const GROUND: &str = r#"
[network.main]
cidr = "10.0.0.0/16"

[network.main.subnets]
private = ["a", "b"]
public  = ["a", "b"]

[security_group.balancer]
vpc     = "main"
ingress = [{ ports = 80, from = ["0.0.0.0/0"] }]

[load_balancer.main]
subnets         = "${network.main.public_subnet_ids}"
security_groups = ["balancer"]

[listener.http]
load_balancer = "main"
port          = 80
action        = { respond = { status = 404 } }

[cluster.main]
"#;

/// On Fargate: behind the load balancer, found by name, scaled, with secrets and sessions. ministack has no Application
/// Auto Scaling, and moto alone no service that runs.
#[tokio::test]
async fn on_fargate() {
    let stack = GROUND.to_owned()
        + r#"
[namespace.main]
name = "{u}.internal"
vpc  = "main"

[parameter.key]
name  = "/{u}/key"
value = "1234"

[service.web]
cluster     = "main"
image       = "nginx:1.29"
port        = 80
environment = { LEVEL = "info" }
secrets     = { KEY = "parameter.key" }
expose      = { path = "/web/*", health = { path = "/up" } }
discover    = true
scale       = { min = 2, max = 4, cpu = 60 }
exec        = true
# web

[service.api]
cluster  = "main"
image    = "httpd:2.4"
port     = 8080
from     = ["web"]
count    = 2
# api
"#;
    let sidecar = "[service.web.sidecars.proxy]\nimage = \"envoy:1\"\nessential = false\n";
    let steps = vec![
        many(
            &[("\"info\"", "\"debug\"")],
            "update",
            &["service.web/task_definition.main.containers", "service.web/ecs_service.main.task_definition"],
        ),
        one("/web/*", "/shop/*", "update", "service.web/listener_rule.main.paths"),
        many(
            &[("min = 2, max = 4", "min = 3, max = 9")],
            "update",
            &["service.web/scaling_target.main.max", "service.web/ecs_service.main.min_count"],
        ),
        one("cpu = 60", "cpu = 50, memory = 70", "create", "service.web/scaling_policy.memory"),
        one("path = \"/up\"", "path = \"/healthy\"", "update", "service.web/target_group.main.health_check"),
        one("count    = 2", "count    = 1", "update", "service.api/ecs_service.main.count"),
        one(
            "from     = [\"web\"]",
            "from     = [\"web\", \"10.0.0.0/24\"]",
            "update",
            "service.api/security_group.tasks.ingress",
        ),
        one("# web", sidecar, "update", "service.web/task_definition.main.containers"),
        Step::Drift("service.web/ecs_service.main", "exec", serde_json::json!(false)),
        Step::Gone(&["service.api/ecs_service.main"]),
        // What leads to it goes before it, and it goes on.
        many(&[("expose      =", "#")], "delete", &["service.web/listener_rule.main", "service.web/target_group.main"]),
    ];
    tell(Emulator::Together, &stack, steps).await;
}

/// On instances: several tasks to an address, of which the load balancer reaches the ports.
#[tokio::test]
async fn on_instances() {
    let stack = GROUND.to_owned()
        + r#"
[capacity.main]
cluster       = "main"
instance_type = "t3.small"
size          = { min = 1, max = 3 }

[service.web]
cluster = "main"
image   = "nginx:1.29"
port    = 80
memory  = 256
scale   = { min = 2, max = 6, requests = 1000 }
expose  = {}
# web
"#;
    let steps = vec![
        one("memory  = 256", "memory  = 384", "update", "service.web/task_definition.main.memory"),
        many(
            &[("# web", "mode = \"awsvpc\"\n# web")],
            "update",
            &["service.web/task_definition.main.network", "capacity.main/security_group.instances.ingress"],
        ),
    ];
    tell(Emulator::Together, &stack, steps).await;
}

/// By the clock, on Fargate's spare capacity.
#[tokio::test]
async fn by_the_clock() {
    let stack = r#"
[network.main]
cidr = "10.0.0.0/16"
subnets = { private = ["a"] }

[cluster.main]

[service.report]
cluster  = "main"
launch   = "fargate-spot"
image    = "busybox:1.37"
command  = ["report"]
schedule = "cron(0 3 * * ? *)"
# report
"#;
    let steps = vec![
        one("0 3", "30 4", "update", "service.report/schedule.main.at"),
        many(
            &[("[\"report\"]", "[\"report\", \"--all\"]")],
            "update",
            &["service.report/task_definition.main.containers", "service.report/schedule.main.task_definition"],
        ),
        one("# report", "count = 2", "update", "service.report/schedule.main.count"),
        Step::Gone(&["service.report/schedule.main"]),
    ];
    tell(Emulator::Together, stack, steps).await;
}

/// By blue/green deployments: what they switch is theirs.
#[tokio::test]
async fn switched() {
    let stack = GROUND.to_owned()
        + r#"
[service.web]
cluster    = "main"
image      = "nginx:1.29"
port       = 80
count      = 2
expose     = {}
deployment = { strategy = "blue-green", bake_minutes = 5 }
"#;
    let rule = serde_json::json!({ "forward": [
        { "target_group": "@service.web/target_group.main", "weight": 0 },
        { "target_group": "@service.web/target_group.other", "weight": 100 },
    ] });
    let project = super::Project::new(Emulator::Together, &stack);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    // What ECS does at the end of a deployment.
    let rule = super::with_ids(rule, &project.state());
    project.change_behind("service.web/listener_rule.main", "action", rule).await;
    project.plan_is_empty("a switch");
    let told = project.succeeds(&["plan"]);
    assert!(told.contains("service.web/listener_rule.main") && told.contains("service.web/ecs_service.main"), "{told}");
    assert!(project.succeeds(&["drift"]).contains("No drift"), "what is switched is no drift");
    project.succeeds(&["deploy", "web", "--image", "nginx:1.30", "--yes"]);
    project.plan_is_empty("a deploy");
    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    project.nothing_is_left_of(&state).await;
}
