//! Deployments that go as they do on AWS and never on an emulator: between the tool and the emulator stands somebody who
//! tells other things of services and tasks than the emulator does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::day_after::{STACK, applied, keep, settled};
use super::{Project, text};
use crate::support::Emulator;

/// What a teller does to an answer: it is given the action, the request and the answer.
type Tell = dyn FnMut(&str, &Value, &mut Value) + Send;

/// Stands before the emulator's ECS from now on; gives its endpoint.
pub fn teller(tell: impl FnMut(&str, &Value, &mut Value) + Send + 'static) -> String {
    let upstream = Emulator::Together.connect().endpoints["ecs"].trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let tell: Arc<Mutex<Box<Tell>>> = Arc::new(Mutex::new(Box::new(tell)));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tell, upstream) = (tell.clone(), upstream.clone());
            std::thread::spawn(move || answer(stream, &upstream, &tell));
        }
    });
    endpoint
}

/// Hands one request on, and the answer back.
fn answer(mut stream: TcpStream, upstream: &str, tell: &Mutex<Box<Tell>>) {
    let Some((head, body)) = message(&mut stream) else { return };
    let action = header(&head, "x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default();
    let mut server = TcpStream::connect(upstream).expect("the emulator answers");
    let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:") && !line.is_empty());
    let forward = kept.collect::<Vec<_>>().join("\r\n") + "\r\nconnection: close\r\n\r\n";
    server.write_all(forward.as_bytes()).and_then(|()| server.write_all(&body)).expect("it is sent");
    let (head, mut answer) = message(&mut server).expect("an answer");
    if let (Ok(request), Ok(mut told)) = (serde_json::from_slice(&body), serde_json::from_slice(&answer)) {
        tell.lock().expect("no teller panics")(action, &request, &mut told);
        answer = told.to_string().into_bytes();
    }
    let status = head.lines().next().unwrap_or_default();
    let kind = "content-type: application/x-amz-json-1.1";
    let head = format!("{status}\r\n{kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
}

/// The head and the body of a request or an answer.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut some = [0; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length: usize = header(&head, "content-length")?.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        match stream.read(&mut some).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&some[..read]),
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let found = head.lines().filter_map(|line| line.split_once(':'));
    found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// How the next deployment goes.
struct Story {
    /// The fields of the new deployment, each time that it is asked for; the last ones stay.
    deployment: Vec<Value>,
    /// Whether the one before is put back.
    rolled_back: bool,
    /// Events, the oldest first, as many of them as the deployment was asked for.
    events: Vec<&'static str>,
    /// Why its tasks stopped, and what the container ended with.
    stopped: Vec<(&'static str, Option<i32>)>,
}

/// The id of a task that stopped.
fn task_id(number: usize) -> String {
    format!("{number:032x}")
}

/// Tells a story of the deployment that the next update starts.
fn telling(story: Story) -> impl FnMut(&str, &Value, &mut Value) + Send {
    let Story { deployment, rolled_back, events, stopped } = story;
    let mut started: Option<Value> = None;
    let mut before: Option<Value> = None;
    let mut asked = 0;
    move |action, request, answer| {
        let primary = |service: &Value| service["deployments"][0].clone();
        match action {
            "DescribeServices" if started.is_none() => before = Some(primary(&answer["services"][0])),
            "UpdateService" => {
                started = Some(primary(&answer["service"]));
                answer["service"]["events"] = json!([]);
                answer["service"]["deployments"][0]["rolloutState"] = json!("IN_PROGRESS");
            }
            "DescribeServices" => {
                let mut new = started.clone().expect("it was started");
                new["rolloutStateReason"] = json!("");
                let over = deployment[asked.min(deployment.len() - 1)].clone();
                asked += 1;
                new.as_object_mut().expect("a deployment").extend(over.as_object().expect("fields").clone());
                let service = &mut answer["services"][0];
                let name = service["serviceName"].as_str().expect("a name").to_owned();
                let at = new["createdAt"].clone();
                let event = |(index, message): (usize, &&str)| json!({ "id": format!("event-{index}"), "createdAt": at, "message": format!("(service {name}) {message}") });
                let mut told: Vec<Value> = events.iter().take(asked).enumerate().map(event).collect();
                told.reverse();
                service["events"] = json!(told);
                service["deployments"] = match (rolled_back && asked >= deployment.len(), &before) {
                    (true, Some(before)) => {
                        new["status"] = json!("ACTIVE");
                        service["taskDefinition"] = before["taskDefinition"].clone();
                        json!([before, new])
                    }
                    _ => json!([new]),
                };
            }
            "ListTasks" if request["desiredStatus"] == "STOPPED" && started.is_some() => {
                let arn = |n| format!("arn:aws:ecs:eu-west-2:123456789012:task/main/{}", task_id(n));
                answer["taskArns"] = (0..stopped.len()).map(arn).collect::<Vec<_>>().into();
            }
            "DescribeTasks" if started.is_some() => {
                let by = started.as_ref().map(|started| started["id"].clone());
                let task = |(number, (reason, code)): (usize, &(&str, Option<i32>))| {
                    json!({
                        "taskArn": format!("arn:aws:ecs:eu-west-2:123456789012:task/main/{}", task_id(number)),
                        "startedBy": by, "lastStatus": "STOPPED", "stoppedReason": reason, "stoppedAt": 1_900_000_000 + number,
                        "containers": [{ "name": "app", "exitCode": code }],
                    })
                };
                answer["tasks"] = stopped.iter().enumerate().map(task).collect::<Vec<_>>().into();
            }
            _ => {}
        }
    }
}

/// A verb with ECS behind a teller, as it is kept.
pub fn told(project: &Project, endpoint: &str, arguments: &[&str]) -> String {
    let mut command = project.command();
    command.env("AWS_ENDPOINT_URL_ECS", endpoint);
    let (verb, rest) = arguments.split_first().expect("a verb");
    let output = command.arg(verb).args(["--cloud", "aws", "stack.toml"]).args(rest).output().expect("the binary runs");
    let (out, err) = (settled(&text(&output.stdout), project), settled(&text(&output.stderr), project));
    let code = output.status.code().expect("it ends by itself");
    format!("$ cofferdam {}\n{out}stderr:\n{err}exit code {code}\n", arguments.join(" "))
}

#[tokio::test]
async fn an_image_that_is_not_there() {
    let project = applied(STACK);
    let reason = "CannotPullContainerError: pull image manifest has been retried 1 time(s): nginx:nope: not found";
    let endpoint = teller(telling(Story {
        deployment: vec![
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 0, "pendingCount": 2, "failedTasks": 1 }),
            json!({ "rolloutState": "FAILED", "rolloutStateReason": "ECS deployment circuit breaker: tasks failed to start.", "runningCount": 0, "failedTasks": 3 }),
        ],
        rolled_back: true,
        events: vec![
            "has started 2 tasks: (task a) (task b).",
            "deployment ecs-svc/2 deployment failed: tasks failed to start.",
        ],
        stopped: vec![(reason, None), (reason, None), (reason, None)],
    }));
    let mut shown = vec![told(&project, &endpoint, &["deploy", "web", "--image", "nginx:nope", "--yes"])];
    // Back to what runs, which ECS has put back already.
    shown.push(told(&project, &endpoint, &["rollback", "web", "--yes"]));
    shown.push(told(&project, &endpoint, &["plan"]));
    keep("an_image_that_is_not_there", &shown);
    project.succeeds(&["apply", "--yes", "--reset"]);
    project.plan_is_empty("a reset after a deployment that failed");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_crash_loop() {
    let project = applied(STACK);
    let cloud = Emulator::Together.cloud().await;
    let (client, group) = (&cloud.aws().logs, project.ids()["log_group.web"].clone());
    let stream = format!("app/app/{}", task_id(2));
    client.create_log_stream().log_group_name(&group).log_stream_name(&stream).send().await.expect("a stream");
    let now = jiff::Timestamp::now().as_millisecond();
    let line = |at: i64, line: &str| {
        aws_sdk_cloudwatchlogs::types::InputLogEvent::builder().timestamp(at).message(line).build().expect("a line")
    };
    let lines = vec![line(now - 2, "connecting to db:5432"), line(now - 1, "panic: no DATABASE_URL")];
    let put = client.put_log_events().log_group_name(&group).log_stream_name(&stream).set_log_events(Some(lines));
    put.send().await.expect("lines");
    let endpoint = teller(telling(Story {
        deployment: vec![
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 1, "pendingCount": 1, "failedTasks": 1 }),
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 0, "pendingCount": 2, "failedTasks": 3 }),
        ],
        rolled_back: false,
        events: vec!["has started 2 tasks: (task a) (task b)."],
        stopped: vec![("Essential container in task exited", Some(1)); 3],
    }));
    keep("a_crash_loop", &[told(&project, &endpoint, &["deploy", "web", "--image", "nginx:1.28", "--yes"])]);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn health_checks_that_fail() {
    let project = applied(STACK);
    let endpoint = teller(telling(Story {
        deployment: vec![
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 2, "failedTasks": 0 }),
            json!({ "rolloutState": "FAILED", "rolloutStateReason": "ECS deployment failed: tasks failed container health checks.", "failedTasks": 3 }),
        ],
        rolled_back: false,
        events: vec!["has started 2 tasks: (task a) (task b).", "(task a) failed container health checks."],
        stopped: vec![
            ("Task failed container health checks", Some(137)),
            ("Scaling activity initiated by deployment", None),
        ],
    }));
    keep("health_checks_that_fail", &[told(&project, &endpoint, &["deploy", "web", "--image", "nginx:1.28", "--yes"])]);
    project.succeeds(&["destroy", "--yes"]);
}

/// What happens is told once, and not at all where nobody waits.
#[tokio::test]
async fn watched_until_it_is_completed() {
    let project = applied(STACK);
    let story = || Story {
        deployment: vec![
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 0, "pendingCount": 2 }),
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 0, "pendingCount": 2 }),
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 1, "pendingCount": 1 }),
            json!({ "rolloutState": "COMPLETED", "runningCount": 2 }),
        ],
        rolled_back: false,
        events: vec!["has started 2 tasks: (task a) (task b).", "registered 1 targets in (target-group g)."],
        stopped: Vec::new(),
    };
    let mut shown = Vec::new();
    for arguments in [
        &["deploy", "web", "--image", "nginx:1.28", "--yes"][..],
        &["deploy", "web", "--image", "nginx:1.29", "--yes", "--no-wait"],
        &["restart", "web"],
        &["restart", "web", "--no-wait"],
    ] {
        shown.push(told(&project, &teller(telling(story())), arguments));
    }
    keep("watched_until_it_is_completed", &shown);
    project.plan_is_empty("all of that");
    project.succeeds(&["destroy", "--yes"]);
}

/// Tells of a task that runs once: it is this one, and ends so once it was asked for twice.
fn ending(arn: &'static str, container: Value, reason: &'static str) -> impl FnMut(&str, &Value, &mut Value) + Send {
    let mut asked = 0;
    move |action, request, answer| {
        let is_meant = request["tasks"][0] == arn;
        match action {
            "RunTask" => answer["tasks"][0]["taskArn"] = arn.into(),
            "DescribeTasks" if is_meant => {
                asked += 1;
                let status = if asked > 1 { "STOPPED" } else { "PENDING" };
                let mut container = container.clone();
                container["name"] = "app".into();
                answer["tasks"] = json!([{
                    "taskArn": arn, "lastStatus": status, "stoppedReason": reason, "containers": [container],
                }]);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_task_that_runs_once_ends_as_its_container_does() {
    let arn = "arn:aws:ecs:eu-west-2:123456789012:task/main/0123456789abcdef0123456789abcdef";
    let project = applied(STACK);
    let cloud = Emulator::Together.cloud().await;
    let (client, group) = (&cloud.aws().logs, project.ids()["log_group.web"].clone());
    let stream = format!("app/app/{}", arn.rsplit('/').next().expect("an id"));
    client.create_log_stream().log_group_name(&group).log_stream_name(&stream).send().await.expect("a stream");
    let soon = jiff::Timestamp::now().as_millisecond() + 60_000;
    let line = aws_sdk_cloudwatchlogs::types::InputLogEvent::builder().timestamp(soon).message("no such table: users");
    let line = line.build().expect("a line");
    let put = client.put_log_events().log_group_name(&group).log_stream_name(&stream).log_events(line);
    put.send().await.expect("a line");
    let command = ["run", "web", "--", "./migrate"];
    let failed = teller(ending(arn, json!({ "exitCode": 3 }), "Essential container in task exited"));
    let mut shown = vec![told(&project, &failed, &command)];
    let reason = "CannotPullContainerError: nginx:1.27: not found";
    let never = teller(ending(arn, json!({ "reason": reason }), "Task failed to start"));
    shown.push(told(&project, &never, &command));
    let none = teller(|action, _, answer| {
        if action == "RunTask" {
            *answer = json!({ "tasks": [], "failures": [{ "reason": "RESOURCE:MEMORY" }] });
        }
    });
    shown.push(told(&project, &none, &command));
    keep("a_task_that_runs_once", &shown);
    project.succeeds(&["destroy", "--yes"]);
}

/// Once all tasks run, it is the load balancer that is waited for.
#[tokio::test]
async fn targets_that_are_not_healthy_yet() {
    let project = applied(STACK);
    let cloud = Emulator::Together.cloud().await;
    let (elb, vpc) = (&cloud.aws().elb, project.ids()["vpc.main"].clone());
    let group = elb.create_target_group().name(crate::support::unique("g")).vpc_id(vpc).port(80);
    let group = group.protocol(aws_sdk_elasticloadbalancingv2::types::ProtocolEnum::Http);
    let group = group.target_type(aws_sdk_elasticloadbalancingv2::types::TargetTypeEnum::Ip);
    let made = group.send().await.expect("a target group");
    let arn = made.target_groups()[0].target_group_arn().expect("an ARN").to_owned();
    let target = aws_sdk_elasticloadbalancingv2::types::TargetDescription::builder().id("10.0.0.9").port(80).build();
    elb.register_targets().target_group_arn(&arn).targets(target).send().await.expect("a target");
    let mut story = telling(Story {
        deployment: vec![
            json!({ "rolloutState": "IN_PROGRESS", "runningCount": 2, "pendingCount": 0 }),
            json!({ "rolloutState": "COMPLETED", "runningCount": 2 }),
        ],
        rolled_back: false,
        events: Vec::new(),
        stopped: Vec::new(),
    });
    let group = arn.clone();
    let endpoint = teller(move |action, request, answer| {
        story(action, request, answer);
        if action == "DescribeServices" {
            let balanced = json!({ "targetGroupArn": group, "containerName": "app", "containerPort": 80 });
            answer["services"][0]["loadBalancers"] = json!([balanced]);
        }
    });
    let shown = told(&project, &endpoint, &["restart", "web"]);
    assert!(shown.contains("waiting: 2 of 2 tasks running, 1 of 1 targets healthy"), "{shown}");
    let shown = told(&project, &endpoint, &["status", "web", "--json"]);
    assert!(shown.contains("\"target\": \"10.0.0.9:80\"") && shown.contains("\"state\": \"healthy\""), "{shown}");
    elb.delete_target_group().target_group_arn(&arn).send().await.expect("it goes");
    project.succeeds(&["destroy", "--yes"]);
}
