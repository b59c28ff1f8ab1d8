//! The verbs of the day after on services: each leaves a plan that is empty.

use serde_json::{Value, json};

use super::{Project, text};
use crate::support::Emulator;

pub const STACK: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[security_group.web]
vpc = "main"

[cluster.main]

[log_group.web]

[role.execution]
service = "ecs-tasks.amazonaws.com"
managed_policies = ["arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"]

[task_definition.web]
runs_on = ["fargate"]
cpu = 256
memory = 512
execution_role = "execution"

[task_definition.web.containers.app]
image = "nginx:1.27"
environment = { LEVEL = "info" }
log = { group = "web" }

[ecs_service.web]
cluster = "main"
task_definition = "web"
count = 2
launch_type = "fargate"
exec = true
network = { subnets = ["a"], security_groups = ["web"] }
# more

[outputs]
revision = "${task_definition.web.arn}"
"#;

pub fn applied(stack: &str) -> Project {
    let project = Project::new(Emulator::Together, stack);
    project.succeeds(&["apply", "--yes"]);
    project
}

/// Text without what differs from run to run: names, ids, moments, people, durations.
pub fn settled(text: &str, project: &Project) -> String {
    let text = text.replace(&project.name, "demo");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            let (before, from) = rest.split_at(at);
            let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || "-:.@_".contains(c))).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let is_moment = word.len() >= 20 && word.ends_with('Z') && word.contains('T') && word.starts_with("20");
            let is_id = word.len() == 36 && word.matches('-').count() == 4;
            let is_time = word.trim_end_matches('.').strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok());
            out.push_str(before);
            match () {
                () if is_moment => out.push_str("MOMENT"),
                () if is_id => out.push_str("ID"),
                () if word.contains('@') => out.push_str("WHO"),
                () if is_time => out.push_str("TIME"),
                () => out.push_str(word),
            }
            rest = after;
        }
        out.push_str(rest);
    }
    out
}

/// What a verb prints, and its exit code, as it is kept.
fn shown(project: &Project, arguments: &[&str]) -> String {
    let output = project.run(arguments);
    let (out, err) = (settled(&text(&output.stdout), project), settled(&text(&output.stderr), project));
    let code = output.status.code().expect("it ends by itself");
    format!("$ cofferdam {}\n{out}stderr:\n{err}exit code {code}\n", arguments.join(" ")).replace(&project.name, "demo")
}

pub fn keep(name: &str, parts: &[String]) {
    insta::with_settings!({ snapshot_path => "../snapshots/day_after", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, parts.join("\n"));
    });
}

/// What the service runs, as ECS says.
fn running(project: &Project) -> (u64, i64) {
    let told: Value = serde_json::from_str(&project.succeeds(&["status", "--json"])).expect("JSON");
    let service = &told["services"][0];
    (service["revision"].as_u64().expect("a revision"), service["running"].as_i64().expect("a count"))
}

#[tokio::test]
async fn deployed_rolled_back_and_taken_back() {
    let project = applied(STACK);
    let mut told = vec![shown(&project, &["deploy", "web", "--image", "nginx:1.28", "--yes"])];
    project.plan_is_empty("a deploy");
    assert_eq!(running(&project), (2, 2));
    told.push(shown(&project, &["plan"]));
    told.push(shown(&project, &["releases", "web"]));

    // The same again is nothing new.
    project.succeeds(&["deploy", "ecs_service.web", "--image", "nginx:1.28", "--yes"]);
    assert_eq!(running(&project), (2, 2));

    told.push(shown(&project, &["rollback", "web", "--yes"]));
    project.plan_is_empty("a rollback");
    assert_eq!(running(&project), (1, 2));
    told.push(shown(&project, &["plan"]));
    told.push(shown(&project, &["rollback", "web", "--yes"]));

    // A newer image ends what the rollback held.
    project.succeeds(&["deploy", "web", "--image", "nginx:1.29", "--yes"]);
    project.plan_is_empty("a deploy after a rollback");
    assert_eq!(running(&project), (3, 2));
    // Forward again to the newest is what the stack says, and nothing is held.
    project.succeeds(&["rollback", "web", "--to", "1", "--yes"]);
    project.succeeds(&["rollback", "web", "--to", "3", "--yes"]);
    assert_eq!(project.plan()["kept"].as_array().map(Vec::len), Some(1));

    // What else the stack changes goes along with the image that is held.
    project.write(&STACK.replace("\"info\"", "\"debug\""));
    project.succeeds(&["apply", "--yes"]);
    let image = |project: &Project| {
        project.state().resources["task_definition.web"].attributes["containers"]["app"]["image"].clone()
    };
    assert_eq!(image(&project), "nginx:1.29");
    project.plan_is_empty("an apply of another change");
    // Once the stack says the same, nothing is held.
    project.write(&STACK.replace("1.27", "1.29").replace("\"info\"", "\"debug\""));
    told.push(shown(&project, &["plan"]));
    project.succeeds(&["apply", "--yes"]);
    assert!(project.state().held.is_empty());
    project.succeeds(&["deploy", "web", "--image", "nginx:1.30", "--yes"]);
    project.succeeds(&["apply", "--yes", "--reset"]);
    assert_eq!(image(&project), "nginx:1.29");
    project.plan_is_empty("a reset");

    for wrong in [
        &["deploy", "wep", "--image", "nginx"][..],
        &["deploy", "web", "--image", "Nginx"],
        &["deploy", "web", "--image", "nginx", "--container", "proxy"],
        &["rollback", "web", "--to", "77"],
        &["scale", "web", "-1"],
    ] {
        told.push(shown(&project, wrong));
    }
    keep("deploys", &told);
    project.succeeds(&["deploy", "web", "--image", "nginx:1.31", "--yes"]);
    project.succeeds(&["destroy", "--yes"]);
    // Who makes it anew begins with what the stack says.
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(image(&project), "nginx:1.29");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn scaled_by_hand() {
    let project = applied(STACK);
    let mut told = vec![shown(&project, &["scale", "web", "4", "--yes"])];
    project.plan_is_empty("scaling");
    assert_eq!(running(&project), (1, 4));
    told.push(shown(&project, &["plan"]));
    // The number that the stack says is nobody's to hold.
    told.push(shown(&project, &["scale", "web", "2", "--yes"]));
    assert!(project.state().held.is_empty());
    told.push(shown(&project, &["scale", "web", "2", "--yes"]));
    project.succeeds(&["scale", "web", "4", "--yes"]);
    // A deploy leaves the count alone.
    project.succeeds(&["deploy", "web", "--image", "nginx:1.28", "--yes"]);
    assert_eq!(running(&project), (2, 4));
    project.succeeds(&["apply", "--yes", "--reset"]);
    assert_eq!(running(&project), (3, 2));
    keep("scaled_by_hand", &told);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn scaled_by_a_target() {
    let target = "\n[scaling_target.web]\nservice = \"web\"\nmin = 1\nmax = 6\n";
    let scaled = STACK.replace("# more", target);
    let open = scaled.replace("count = 2\n", "");
    let project = applied(&open);
    let mut told = vec![shown(&project, &["scale", "web", "3", "--yes"])];
    project.plan_is_empty("scaling what the stack leaves open");
    assert_eq!(running(&project), (1, 3));
    assert!(project.state().held.is_empty(), "nobody holds what is scaled");
    // What it is now is the cloud's.
    project.change_behind("ecs_service.web", "count", json!(2)).await;
    for count in ["4", "4", "9", "0"] {
        told.push(shown(&project, &["scale", "web", count, "--yes"]));
    }
    // The stack says a number, and the target scales: that is no drift, and is left.
    project.write(&scaled);
    project.succeeds(&["apply", "--yes"]);
    project.change_behind("ecs_service.web", "count", json!(5)).await;
    project.plan_is_empty("being scaled");
    told.push(shown(&project, &["plan"]));
    told.push(shown(&project, &["drift"]));
    project.succeeds(&["deploy", "web", "--image", "nginx:1.28", "--yes"]);
    assert_eq!(running(&project), (2, 5));
    keep("scaled_by_a_target", &told);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn looked_at() {
    let project = applied(STACK);
    let told: Vec<String> = [
        &["restart", "web"][..],
        &["history"],
        &["status"],
        &["status", "web", "--events", "0"],
        &["events", "web"],
        &["ps"],
        &["releases", "web"],
        &["exec", "web"],
    ]
    .iter()
    .map(|arguments| shown(&project, arguments))
    .collect();
    keep("looked_at", &told);
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&project.succeeds(arguments)).expect("JSON") };
    let tasks = json(&["ps", "--json"]);
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(2), "{tasks:#}");
    assert_eq!(tasks["tasks"][0]["revision"], 1);
    let releases = json(&["releases", "web", "--json"]);
    assert_eq!(releases["releases"][0]["images"], json!({ "app": "nginx:1.27" }));
    assert_eq!(releases["releases"][0]["running"], 2);
    assert!(json(&["events", "--json"])["events"].is_array());
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn logs() {
    let project = applied(STACK);
    let tasks: Value = serde_json::from_str(&project.succeeds(&["ps", "--json"])).expect("JSON");
    let task = tasks["tasks"][0]["id"].as_str().expect("an id").to_owned();
    let cloud = Emulator::Together.cloud().await;
    let (client, group) = (&cloud.aws().logs, project.ids()["log_group.web"].clone());
    let now = jiff::Timestamp::now().as_millisecond();
    for (stream, lines) in [
        (format!("app/app/{task}"), vec![(now - 3000, "GET / 200"), (now - 1000, "GET /x 404")]),
        ("app/app/another".to_owned(), vec![(now - 2000, "POST / 500"), (now - 3_600_000, "of an hour ago")]),
        ("app/proxy/another".to_owned(), vec![(now - 2000, "not of this service")]),
    ] {
        client.create_log_stream().log_group_name(&group).log_stream_name(&stream).send().await.expect("a stream");
        let event = |(at, line): &(i64, &str)| {
            aws_sdk_cloudwatchlogs::types::InputLogEvent::builder()
                .timestamp(*at)
                .message(*line)
                .build()
                .expect("an event")
        };
        let mut lines = lines;
        lines.sort_unstable();
        let events = lines.iter().map(event).collect();
        let put = client.put_log_events().log_group_name(&group).log_stream_name(&stream).set_log_events(Some(events));
        put.send().await.expect("lines");
    }
    let lines = |arguments: &[&str]| -> Vec<String> {
        let printed = project.succeeds(&[&["logs", "web", "--json"], arguments].concat());
        let message =
            |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["message"].as_str().map(str::to_owned);
        printed.lines().filter_map(message).collect()
    };
    assert_eq!(lines(&[]), ["GET / 200", "POST / 500", "GET /x 404"]);
    assert_eq!(lines(&["--grep", "GET"]), ["GET / 200", "GET /x 404"]);
    assert_eq!(lines(&["--task", &task]), ["GET / 200", "GET /x 404"]);
    assert_eq!(lines(&["--since", "2h"]).len(), 4);
    let plain = project.succeeds(&["logs", "web", "--grep", "500"]);
    assert!(plain.trim_end().ends_with("Z app/another POST / 500"), "{plain}");
    follows(&project, client, &group).await;
    let told: Vec<String> = [
        &["logs", "web", "--grep", "nothing like it"][..],
        &["logs", "web", "--task", "0123456789abcdef0123456789abcdef"],
        &["events", "web", "--last", "0"],
    ]
    .iter()
    .map(|arguments| shown(&project, arguments))
    .collect();
    keep("nothing_is_found", &told);
    let wrong = project.run(&["logs", "web", "--container", "proxy"]);
    assert_eq!(wrong.status.code(), Some(1));
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_task_that_runs_once() {
    let project = applied(STACK);
    let mut command = project.command();
    command.args(["run", "stack.toml", "--cloud", "aws", "web", "--json", "--", "./migrate", "--all"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    let cloud = Emulator::Together.cloud().await;
    let ecs = &cloud.aws().ecs;
    let cluster = &project.ids()["cluster.main"];
    // The emulator's tasks run until somebody stops them.
    let arn = loop {
        let listed = ecs.list_tasks().cluster(cluster).send().await.expect("tasks").task_arns.unwrap_or_default();
        let described = ecs.describe_tasks().cluster(cluster).set_tasks(Some(listed)).send().await.expect("tasks");
        let own = |task: &aws_sdk_ecs::types::Task| task.started_by().is_some_and(|by| by.starts_with("cofferdam:"));
        match described.tasks.unwrap_or_default().into_iter().find(own) {
            Some(task) => {
                let command = task.overrides().and_then(|over| over.container_overrides().first().cloned());
                assert_eq!(command.expect("another command").command(), ["./migrate", "--all"]);
                break task.task_arn.expect("an ARN");
            }
            None => tokio::task::yield_now().await,
        }
    };
    ecs.stop_task().cluster(cluster).task(&arn).reason("done").send().await.expect("it is stopped");
    let waited = text(&project.run(&["run", "web", "--timeout", "0s"]).stderr);
    assert!(
        waited.contains("has not ended in 0.0s") && waited.contains("cofferdam ps stack.toml --cloud aws"),
        "{waited}"
    );
    let output = child.wait_with_output().expect("it ends");
    let told = text(&output.stdout);
    let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!((output.status.code(), &last["exit_code"], &last["reason"]), (Some(0), &json!(0), &json!("done")));
    project.succeeds(&["destroy", "--yes"]);
}

/// The session itself is another program's: it is given what AWS answered.
#[cfg(unix)]
#[tokio::test]
async fn a_session_is_handed_over() {
    use std::os::unix::fs::PermissionsExt;
    let project = applied(STACK);
    let plugin = project.path("session-manager-plugin");
    std::fs::write(&plugin, "#!/bin/sh\nprintf '%s\\n' \"$2\" \"$3\" \"$5\" \"$6\"\nexit 7\n").expect("a plugin");
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    let mut command = project.command();
    command.env("PATH", plugin.parent().expect("a folder"));
    let output = command.args(["exec", "stack.toml", "--cloud", "aws", "web"]).output().expect("it runs");
    let told = text(&output.stdout);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(output.status.code(), Some(7), "{told}{}", text(&output.stderr));
    assert_eq!((lines[0], lines[1], lines[3]), ("eu-west-2", "StartSession", "https://ssm.eu-west-2.amazonaws.com"));
    assert!(lines[2].starts_with(&format!("{{\"Target\":\"ecs:{}-main_", project.name)), "{}", lines[2]);
    project.succeeds(&["destroy", "--yes"]);
}

/// What comes while somebody follows is shown, until an interrupt ends it.
async fn follows(project: &Project, client: &aws_sdk_cloudwatchlogs::Client, group: &str) {
    use std::io::BufRead;
    let mut command = project.command();
    command.args(["logs", "--cloud", "aws", "stack.toml", "web", "-f", "--since", "5s", "--grep", "late"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    let now = jiff::Timestamp::now().as_millisecond();
    let line = aws_sdk_cloudwatchlogs::types::InputLogEvent::builder().timestamp(now).message("of late").build();
    let put = client.put_log_events().log_group_name(group).log_stream_name("app/app/another");
    put.log_events(line.expect("a line")).send().await.expect("a line");
    let mut shown = std::io::BufReader::new(child.stdout.take().expect("its output"));
    let mut first = String::new();
    shown.read_line(&mut first).expect("a line");
    assert!(first.ends_with(" of late\n"), "{first}");
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().expect("it is interrupted");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
