use serde_json::json;

use super::{Project, Step, go_on, many, one, tell};
use crate::support::Emulator;

/// A service that is scaled. ministack has no Application Auto Scaling, and moto alone no service that runs.
#[tokio::test]
async fn scaling() {
    let stack = r#"
[cluster.main]

[task_definition.web]
memory = 64
containers = { app = { image = "nginx" } }

[ecs_service.web]
cluster = "main"
task_definition = "web"

[scaling_target.web]
service = "web"
min = 1
max = 4
# target

[scaling_policy.cpu]
target = "web"
track = { metric = "cpu", value = 60 }
"#;
    let night = "schedules = { night = { at = \"cron(0 20 * * ? *)\", max = 2 } }\n";
    let steps = vec![
        one("max = 4", "max = 6", "update", "scaling_target.web.max"),
        one(
            "# target",
            "schedules = { night = { at = \"cron(0 20 * * ? *)\", max = 2 } }\n# target",
            "update",
            "scaling_target.web.schedules",
        ),
        one(night, "", "update", "scaling_target.web.schedules"),
        one("value = 60", "value = 50, shrink_seconds = 600", "update", "scaling_policy.cpu.track"),
        Step::Drift("scaling_target.web", "max", json!(20)),
        Step::Drift("scaling_policy.cpu", "track", json!({ "metric": "cpu", "value": 90.0 })),
        Step::Gone(&["scaling_policy.cpu"]),
        Step::Gone(&["scaling_policy.cpu", "scaling_target.web"]),
    ];
    tell(Emulator::Together, stack, steps).await;
}

async fn discovery(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[namespace.main]
name = "{u}.internal"
vpc = "main"
# namespace

[discovery_service.web]
namespace = "main"
records = [{ ttl = 60 }]
# service
"#;
    let steps = vec![
        one("ttl = 60", "ttl = 5", "update", "discovery_service.web.records"),
        many(
            &[("# namespace", "tags = { Team = \"a\" }\n"), ("# service", "tags = { Team = \"b\" }\n# service")],
            "update",
            &["namespace.main.tags.Team", "discovery_service.web.tags.Team"],
        ),
        Step::Drift("discovery_service.web", "records", json!([{ "type": "A", "ttl": 300 }])),
        Step::Gone(&["discovery_service.web"]),
        one("# service", "name = \"other\"", "replace", "discovery_service.web.name"),
        one("{u}.internal", "{u}.private", "replace", "namespace.main.name"),
    ];
    tell(emulator, stack, steps).await;
}

async fn schedule(emulator: Emulator) {
    let stack = r#"
[cluster.main]

[task_definition.job]
memory = 64
containers = { job = { image = "busybox", environment = { LEVEL = "info" } } }

[role.scheduler]
service = "scheduler.amazonaws.com"

[schedule.nightly]
at = "cron(0 3 * * ? *)"
cluster = "main"
task_definition = "job"
role = "scheduler"
# more
"#;
    let overrides = "overrides = { containerOverrides = [{ name = \"job\", command = [\"run\"] }] }\n";
    let steps = vec![
        one("0 3", "30 4", "update", "schedule.nightly.at"),
        one("\"info\"", "\"debug\"", "update", "schedule.nightly.task_definition"),
        one("# more", "enabled = false\n# more", "update", "schedule.nightly.enabled"),
        one(
            "# more",
            "overrides = { containerOverrides = [{ name = \"job\", command = [\"run\"] }] }\n# more",
            "update",
            "schedule.nightly.overrides",
        ),
        one(overrides, "", "update", "schedule.nightly.overrides"),
        Step::Drift("schedule.nightly", "at", json!("rate(1 minute)")),
        Step::Gone(&["schedule.nightly"]),
        one("# more", "name = \"{u}-other\"", "replace", "schedule.nightly.name"),
    ];
    tell(emulator, stack, steps).await;
}

async fn secret(emulator: Emulator) {
    let stack = r#"
[vars]
login = { secret = true, file = "login.txt" }

[secret.login]
value = "${vars.login}"
recovery_days = 0
# more
"#;
    let project = Project::new(emulator, stack);
    std::fs::write(project.path("login.txt"), "correct horse").expect("written");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    std::fs::write(project.path("login.txt"), "battery staple").expect("written");
    assert_eq!(project.planned(&[]), ["update secret.login".to_owned()].into());
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("another value");
    let steps = vec![
        one("# more", "description = \"Of the database\"\n# more", "update", "secret.login.description"),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "secret.login.tags.Team"),
        Step::Drift("secret.login", "description", json!("Of somebody")),
        Step::Drift("secret.login", "tags", json!({ "Team": "somebody" })),
        Step::Gone(&["secret.login"]),
        one("# more", "name = \"{u}-other\"", "replace", "secret.login.name"),
    ];
    go_on(project, stack, steps).await;
}

async fn topic(emulator: Emulator) {
    let stack = r#"
[topic.alarms]
# more
"#;
    let steps = vec![
        one("# more", "display_name = \"Alarms\"\n# more", "update", "topic.alarms.display_name"),
        one(
            "# more",
            "subscriptions = [{ protocol = \"sqs\", endpoint = \"arn:aws:sqs:eu-west-2:123456789012:one\" }]\n# more",
            "update",
            "topic.alarms.subscriptions",
        ),
        one(":one\"", ":two\"", "update", "topic.alarms.subscriptions"),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "topic.alarms.tags.Team"),
        Step::Drift("topic.alarms", "display_name", json!("Noise")),
        Step::Drift("topic.alarms", "subscriptions", json!([])),
        Step::Gone(&["topic.alarms"]),
        one("# more", "name = \"{u}-other\"", "replace", "topic.alarms.name"),
    ];
    tell(emulator, stack, steps).await;
}

async fn file_system(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[security_group.one]
vpc = "main"

[security_group.two]
vpc = "main"

[file_system.data]
throughput = "bursting"
# system

[access_point.web]
file_system = "data"
path = "/web"

[mount_target.a]
file_system = "data"
subnet = "a"
security_groups = ["one"]
"#;
    let mut steps = vec![
        one("[\"one\"]", "[\"two\"]", "update", "mount_target.a.security_groups"),
        one("\"/web\"", "\"/app\"", "replace", "access_point.web.path"),
        Step::Drift("mount_target.a", "security_groups", json!(["@security_group.one"])),
        Step::Drift("file_system.data", "tags", json!({ "Name": "somebody" })),
        Step::Gone(&["access_point.web", "mount_target.a"]),
    ];
    if emulator == Emulator::Ministack {
        // moto knows no PutBackupPolicy.
        steps.push(one("# system", "backup = false\n# system", "update", "file_system.data.backup"));
    }
    tell(emulator, stack, steps).await;
}

async fn watching(emulator: Emulator) {
    let stack = r#"
[topic.people]

[alarm.busy]
description = "The cluster is busy"
metric      = { namespace = "AWS/ECS", name = "CPUUtilization", dimensions = { ClusterName = "main" } }
when        = "above"
threshold   = 80
notify      = ["people"]
# more

[dashboard.main]
body = { widgets = [{ type = "text", x = 0, y = 0, width = 6, height = 3, properties = { markdown = "hello" } }] }
# board
"#;
    let steps = vec![
        one("threshold   = 80", "threshold   = 90.5", "update", "alarm.busy.threshold"),
        one("\"above\"", "\"at-least\"", "update", "alarm.busy.when"),
        one("# more", "periods = 3\n# more", "update", "alarm.busy.periods"),
        one("# more", "period_seconds = 120\n# more", "update", "alarm.busy.period_seconds"),
        one("# more", "notify_ok = [\"people\"]\n# more", "update", "alarm.busy.notify_ok"),
        one("# more", "enabled = false\n# more", "update", "alarm.busy.enabled"),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "alarm.busy.tags.Team"),
        one("hello", "welcome", "update", "dashboard.main.body"),
        Step::Drift("alarm.busy", "threshold", json!(1.0)),
        Step::Drift("dashboard.main", "body", json!("{\"widgets\": []}")),
        Step::Gone(&["alarm.busy", "dashboard.main"]),
        one("# more", "name = \"{u}-other\"", "replace", "alarm.busy.name"),
        one("# board", "name = \"{u}-other\"", "replace", "dashboard.main.name"),
    ];
    tell(emulator, stack, steps).await;
}

crate::on_each_emulator!(discovery, file_system, schedule, secret, topic, watching);
