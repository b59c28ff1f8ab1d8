//! The emulated AWS behind `--cloud local`, each in a run folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use cofferdam::aws::Aws;
use cofferdam::local::{Endpoints, Local, LocalError, Status};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support;

/// A local cloud that is stopped when the test ends, also where it fails.
struct Guarded {
    local: Local,
    _run: TempDir,
}

impl Guarded {
    fn new() -> Self {
        let run = TempDir::new().expect("a folder");
        Self { local: support::local().in_folder(run.path().join("run")), _run: run }
    }

    fn record(&self) -> Value {
        let text = fs::read(self.local.run_folder().join("cloud.json")).expect("there is a record");
        serde_json::from_slice(&text).expect("the record is JSON")
    }

    fn write(&self, record: &Value) {
        fs::write(self.local.run_folder().join("cloud.json"), record.to_string()).expect("the record is written");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let local = self.local.clone();
        let stop =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(local.down());
        std::thread::scope(|scope| scope.spawn(stop).join().unwrap()).expect("it stops");
    }
}

fn quiet(_: &str) {}

fn alive(pid: u32) -> bool {
    // A process that ended and was not waited for yet has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn vpcs(endpoints: &Endpoints) -> usize {
    let aws = Aws::connect(&endpoints.connect("eu-west-2"), "test", None).await.expect("it answers");
    let answer = aws.ec2.describe_vpcs().send().await.expect("VPCs are described");
    answer.vpcs().iter().filter(|vpc| vpc.is_default() != Some(true)).count()
}

async fn clusters(endpoints: &Endpoints) -> usize {
    let aws = Aws::connect(&endpoints.connect("eu-west-2"), "test", None).await.expect("it answers");
    aws.ecs.list_clusters().send().await.expect("clusters are listed").cluster_arns().len()
}

async fn fill(endpoints: &Endpoints) {
    let aws = Aws::connect(&endpoints.connect("eu-west-2"), "test", None).await.expect("it answers");
    aws.ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.expect("a VPC is made");
    aws.ecs.create_cluster().cluster_name("main").send().await.expect("a cluster is made");
}

#[tokio::test]
async fn its_whole_life() {
    let cloud = Guarded::new();
    let local = &cloud.local;
    let said = Mutex::new(Vec::new());
    let say = |line: &str| said.lock().unwrap().push(line.to_owned());

    let first = local.up(&say).await.expect("it starts");
    assert!(said.lock().unwrap().iter().any(|line| line == "starting the local cloud"), "{said:?}");
    assert_eq!(local.status().await, Status::Running(first.clone()));
    fill(&first).await;
    assert_eq!((vpcs(&first).await, clusters(&first).await), (1, 1));

    said.lock().unwrap().clear();
    assert_eq!(local.up(&say).await.expect("it is reused"), first, "the same processes with the same contents");
    assert_eq!(*said.lock().unwrap(), Vec::<String>::new(), "nothing takes a while, so nothing is said");

    let empty = local.reset().await.expect("it is emptied").expect("it runs");
    assert_ne!(empty.instance, first.instance);
    assert_eq!(Endpoints { instance: first.instance.clone(), ..empty.clone() }, first, "the same processes");
    assert_eq!((vpcs(&empty).await, clusters(&empty).await), (0, 0));
    assert_eq!(local.status().await, Status::Running(empty.clone()));

    assert!(local.down().await.expect("it stops"));
    assert_eq!(local.status().await, Status::Stopped);
    assert!(!alive(first.main_pid) && !alive(first.ecs_pid));
    assert!(!local.down().await.expect("stopping it again is no error"));
    assert_eq!(local.reset().await.expect("nor is emptying it"), None);

    let again = local.up(&quiet).await.expect("it starts again");
    assert_eq!((&again.main, &again.ecs), (&first.main, &first.ecs), "at the same endpoints");
    assert!(again.instance != first.instance && again.instance != empty.instance);
}

#[tokio::test]
async fn an_ecs_service_becomes_steady_and_can_be_scaled() {
    let how = support::Emulator::Together.connect();
    let aws = Aws::connect(&how, "test", None).await.expect("it answers");
    let name = support::unique("steady");
    let cluster = aws.ecs.create_cluster().cluster_name(&name).send().await.expect("a cluster is made");
    let arn = cluster.cluster().and_then(|cluster| cluster.cluster_arn()).expect("it has an ARN").to_owned();
    let account = aws.scope.account.as_deref().expect("the account is known");
    assert_eq!(arn, format!("arn:aws:ecs:eu-west-2:{account}:cluster/{name}"), "both emulators are of one account");
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web").image("nginx").build();
    let task = aws.ecs.register_task_definition().family(&name).container_definitions(container);
    task.send().await.expect("a task definition is made");
    let service = aws.ecs.create_service().cluster(&name).service_name("web").task_definition(&name).desired_count(2);
    service.send().await.expect("a service is made");
    let seen = aws.ecs.describe_services().cluster(&name).services("web").send().await.expect("it is described");
    assert_eq!(seen.services()[0].running_count(), 2);

    let main = how.endpoint.expect("it has an endpoint");
    let target = json!({
        "ServiceNamespace": "ecs",
        "ResourceId": format!("service/{name}/web"),
        "ScalableDimension": "ecs:service:DesiredCount",
        "MinCapacity": 1,
        "MaxCapacity": 4,
    });
    let (status, answer) = autoscale(&main, "RegisterScalableTarget", &target).await;
    assert_eq!(status, 200, "{answer}");
    let mut policy = target.clone();
    policy["PolicyName"] = json!("cpu");
    policy["PolicyType"] = json!("TargetTrackingScaling");
    policy["TargetTrackingScalingPolicyConfiguration"] = json!({
        "TargetValue": 50.0,
        "PredefinedMetricSpecification": { "PredefinedMetricType": "ECSServiceAverageCPUUtilization" },
    });
    let (status, answer) = autoscale(&main, "PutScalingPolicy", &policy).await;
    assert_eq!(status, 200, "{answer}");
    let mut nowhere = target;
    nowhere["ResourceId"] = json!(format!("service/{name}/nothing"));
    let (status, answer) = autoscale(&main, "RegisterScalableTarget", &nowhere).await;
    assert_eq!(status, 400, "a service that is not there cannot be scaled: {answer}");
}

/// A call of Application Auto Scaling, which has no client here.
async fn autoscale(endpoint: &str, action: &str, body: &Value) -> (u16, String) {
    let address = endpoint.trim_start_matches("http://");
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AnyScaleFrontendService.{action}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-2/application-autoscaling/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("it answers in HTTP");
    (status, answer)
}

#[tokio::test]
async fn several_at_once_start_one() {
    let cloud = Guarded::new();
    let ups = (0..4).map(|_| cloud.local.up(&quiet));
    let all: Vec<_> = futures_util::future::join_all(ups).await.into_iter().map(|up| up.expect("it starts")).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
}

#[tokio::test]
async fn one_emulator_that_died_is_noticed() {
    let cloud = Guarded::new();
    let first = cloud.local.up(&quiet).await.expect("it starts");
    let killed = Command::new("kill").args(["-KILL", &first.ecs_pid.to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(cloud.local.status().await, Status::Stopped);
    let second = cloud.local.up(&quiet).await.expect("it starts again");
    assert!(!alive(first.main_pid), "the other one's contents fit no empty ECS, so it goes too");
    assert_ne!(second.instance, first.instance);
    assert_eq!(vpcs(&second).await, 0);
}

#[tokio::test]
async fn somebody_elses_process_is_left_alone() {
    let cloud = Guarded::new();
    let first = cloud.local.up(&quiet).await.expect("it starts");
    let record = cloud.record();
    assert!(cloud.local.down().await.expect("it stops"));
    // As after a restart of the machine: the ids of the record are other processes' now.
    let mut bystander = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat runs");
    let mut stale = record.clone();
    stale["main"]["pid"] = json!(bystander.id());
    cloud.write(&stale);
    assert_eq!(cloud.local.status().await, Status::Stopped);
    assert!(!cloud.local.down().await.expect("nothing is there to stop"));
    cloud.write(&stale);
    let second = cloud.local.up(&quiet).await.expect("it starts");
    assert_ne!(second.instance, first.instance);
    assert!(bystander.try_wait().expect("cat can be asked").is_none(), "it still runs");
    drop(bystander.stdin.take());
    assert!(bystander.wait().expect("it ends").success(), "of its own will");
}

#[tokio::test]
async fn a_port_that_is_taken_is_given_up() {
    let cloud = Guarded::new();
    let first = cloud.local.up(&quiet).await.expect("it starts");
    assert!(cloud.local.down().await.expect("it stops"));
    let taken = std::net::TcpListener::bind(first.main.trim_start_matches("http://")).expect("its port is free now");
    let second = cloud.local.up(&quiet).await.expect("it starts elsewhere");
    assert_ne!(second.main, first.main);
    assert_eq!(second.ecs, first.ecs);
    drop(taken);
}

#[tokio::test]
async fn a_record_that_is_no_record_is_replaced() {
    let cloud = Guarded::new();
    fs::create_dir_all(cloud.local.run_folder()).expect("a folder");
    fs::write(cloud.local.run_folder().join("cloud.json"), "{\"main\": 7").expect("a file");
    assert!(!matches!(cloud.local.status().await, Status::Running(_)));
    let endpoints = cloud.local.up(&quiet).await.expect("it starts");
    assert_eq!(cloud.local.status().await, Status::Running(endpoints));
}

/// A folder of programs that print and end like this.
fn programs(folder: &Path, names: &[&str], body: &str) {
    fs::create_dir_all(folder).expect("a folder");
    for name in names {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }
}

async fn failure(folder: &Path, search: &Path) -> (LocalError, Local) {
    let local = Local::new(folder.join("cache"), folder.join("run"), search);
    assert_eq!(local.status().await, Status::NotInstalled);
    let error = local.up(&quiet).await.expect_err("it cannot be installed");
    assert_eq!(local.status().await, Status::NotInstalled, "a failed installation is none");
    (error, local)
}

#[tokio::test]
async fn without_python_the_error_says_what_to_install() {
    let folder = TempDir::new().expect("a folder");
    let (error, _) = failure(folder.path(), &folder.path().join("nothing")).await;
    assert_eq!(
        error.to_string(),
        "the local cloud needs Python 3.10 or later, and there is none that works on the PATH"
    );
    assert!(error.help().contains("apt install python3 python3-venv"), "{}", error.help());
}

#[tokio::test]
async fn an_old_python_is_named() {
    let folder = TempDir::new().expect("a folder");
    let bin = folder.path().join("bin");
    programs(&bin, &["python3"], "echo 3 8");
    let (error, _) = failure(folder.path(), &bin).await;
    let python = bin.join("python3");
    assert_eq!(
        error.to_string(),
        format!("the local cloud needs Python 3.10 or later, and {} is 3.8", python.display())
    );
}

#[tokio::test]
async fn a_python_without_venv_names_the_package() {
    let folder = TempDir::new().expect("a folder");
    let bin = folder.path().join("bin");
    programs(&bin, &["python3"], "echo 3 12; echo \"No module named 'ensurepip'\" >&2; exit 1");
    let (error, _) = failure(folder.path(), &bin).await;
    assert!(matches!(&error, LocalError::NoVenv { version, .. } if version == "3.12"), "{error}");
    assert!(error.help().contains("apt install python3.12-venv"), "{}", error.help());
}

#[tokio::test]
async fn a_failed_installation_shows_why_and_is_tried_again() {
    let folder = TempDir::new().expect("a folder");
    let bin = folder.path().join("bin");
    // Passes as Python 3.12, and makes an "environment" whose pip fails.
    let python = r#"case "$2" in
-c) echo 3 12 ;;
-m) if [ "$3" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit; fi
    echo "ERROR: no route to the index" >&2
    exit 1 ;;
esac"#;
    programs(&bin, &["python3"], &format!("PATH=/usr/bin:/bin\n{python}"));
    let (error, local) = failure(folder.path(), &bin).await;
    assert_eq!(
        error.to_string(),
        "the emulators cannot be installed: pip install failed\n  ERROR: no route to the index"
    );
    assert!(error.help().contains("PIP_INDEX_URL"), "{}", error.help());
    let said = Mutex::new(Vec::new());
    local.up(&|line: &str| said.lock().unwrap().push(line.to_owned())).await.expect_err("it fails again");
    assert!(said.lock().unwrap()[0].starts_with("installing moto 5.2.5 and ministack 1.5.33 into "), "{said:?}");
}
