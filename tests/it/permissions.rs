//! The policy of a plan: it covers every call of the apply, is scoped to resources, and is enough for a user who holds
//! nothing else.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use cofferdam::aws::Aws;
use cofferdam::kinds::{AwsCloud, Registry, permissions};
use cofferdam::local::{Attached, Endpoints};
use cofferdam::plan::Mode;
use cofferdam::stack;
use cofferdam::state::State;
use serde_json::Value;

use crate::engine::{options, run_with};
use crate::lifecycle::{Project, text};
use crate::stack::Ask;
use crate::support::{self, Emulator};

/// A pair of emulators of its own: names of the stack are fixed, and who may do what is decided for all who ask.
async fn emulators() -> Attached {
    support::local().attached(&|_| {}).await.expect("the emulators are started")
}

fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let actions = statements.flat_map(|one| one["Action"].as_array().expect("actions"));
    actions.map(|action| action.as_str().expect("an action").to_owned()).collect()
}

fn keep(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "snapshots/permissions", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[tokio::test]
async fn every_call_of_an_apply_is_covered() {
    let pair = emulators().await;
    let aws = Aws::connect(&pair.endpoints.connect("eu-west-2"), "ecs-poc", None).await.expect("it answers");
    let cloud = AwsCloud::new(aws);
    let no_outputs = |_: &str, _: &str| Err("there are no other stacks".to_owned());
    let how = stack::Options {
        env: None,
        vars: Default::default(),
        environment: Default::default(),
        stack_outputs: &no_outputs,
        names: Default::default(),
    };
    let stack = stack::load(Path::new("stacks/ecs-poc.toml"), &how, &Registry::new()).expect("the stack is right");
    let fresh = State::empty("ecs-poc", None, "local", "123456789012", "eu-west-2");
    let mut told = String::new();
    let mut state = fresh;
    for mode in [Mode::Apply, Mode::Destroy] {
        let before = cloud.aws().calls.counts();
        let known = state.clone();
        let ran = run_with(&cloud, &stack.graph, state, Ask { mode, ..Ask::default() }, options()).await;
        assert!(ran.report.is_complete(), "{:?}", ran.report);
        let after = cloud.aws().calls.counts();
        let is_new = |call: &str| after.get(call) > before.get(call);
        let sent: BTreeSet<String> = after.keys().filter(|call| is_new(call)).map(|call| (*call).to_owned()).collect();
        let allowed = allowed(&permissions::policy(&ran.plan, Some(&known), None));
        let missing: Vec<_> = sent.difference(&allowed).collect();
        assert!(missing.is_empty(), "{mode:?} sends {missing:?}, which the policy does not allow");
        // What AWS asks for besides, and what a step may send where it meets something else than here.
        let spare: Vec<&str> = allowed.difference(&sent).map(String::as_str).collect();
        told +=
            &format!("{mode:?}: {} calls sent\nallowed, and not sent here:\n  {}\n", sent.len(), spare.join("\n  "));
        state = ran.state;
    }
    keep("spare", &told);
}

const STACK: &str = r#"
[cluster.main]

[log_group.web]

[repository.web]

[role.web]
service = "ecs-tasks.amazonaws.com"
managed_policies = ["arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"]

[task_definition.web]
runs_on = ["fargate"]
cpu = 256
memory = 512
execution_role = "web"
containers = { app = { image = "nginx", log = { group = "web" } } }

[vpc.main]
cidr = "10.0.0.0/16"
"#;

#[tokio::test]
async fn scoped_to_resources() {
    let project = Project::new(Emulator::Together, STACK);
    let mut told = project.succeeds(&["plan", "--iam"]);
    project.succeeds(&["apply", "--yes"]);
    project
        .write(&STACK.replace("10.0.0.0/16\"", "10.0.0.0/16\"\ndns_hostnames = false").replace("nginx", "nginx:1.28"));
    let vpc = project.ids()["vpc.main"].clone();
    told += &project.succeeds(&["plan", "--iam"]);
    keep("scoped", &told.replace(&project.name, "demo").replace(&vpc, "vpc-ID"));
    project.succeeds(&["destroy", "--yes"]);
}

/// Somebody who holds this policy alone.
struct Somebody {
    key: String,
    secret: String,
}

impl Somebody {
    /// The emulator tells actions apart, and not what they are done to.
    async fn with(aws: &Aws, name: &str, policy: &Value) -> Self {
        let mut document = policy.clone();
        for statement in document["Statement"].as_array_mut().expect("statements") {
            statement["Resource"] = "*".into();
        }
        aws.iam.create_user().user_name(name).send().await.expect("a user");
        let put = aws.iam.put_user_policy().user_name(name).policy_name("apply").policy_document(document.to_string());
        put.send().await.expect("a policy");
        let made = aws.iam.create_access_key().user_name(name).send().await.expect("a key");
        let key = made.access_key.expect("a key");
        Self { key: key.access_key_id, secret: key.secret_access_key }
    }

    fn runs(&self, endpoints: &Endpoints, state: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.env_clear().env("HOME", state).env("COFFERDAM_STATE", state);
        command.env("AWS_ACCESS_KEY_ID", &self.key).env("AWS_SECRET_ACCESS_KEY", &self.secret);
        command.env("AWS_ENDPOINT_URL", &endpoints.main).env("AWS_ENDPOINT_URL_ECS", &endpoints.ecs);
        command.args(arguments).args(["--cloud", "aws"]).output().expect("the binary runs")
    }
}

/// From now on the emulator asks who is asking, or no longer.
fn guarded(endpoints: &Endpoints, free: &str) {
    let host = endpoints.main.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).expect("it answers");
    let length = free.len();
    let head = format!(
        "POST /moto-api/reset-auth HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + free).as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn enough_for_whoever_holds_nothing_else() {
    let pair = emulators().await;
    let endpoints = &pair.endpoints;
    let folder = tempfile::tempdir().expect("a folder");
    let root = Somebody { key: "test".into(), secret: "test".into() };
    let aws = Aws::connect(&endpoints.connect("eu-west-2"), "ecs-poc", None).await.expect("it answers");
    let planned = root.runs(endpoints, folder.path(), &["plan", "ecs-poc", "--iam"]);
    let policy: Value = serde_json::from_slice(&planned.stdout).expect("a policy");
    let holder = Somebody::with(&aws, "holder", &policy).await;
    let mut without = Vec::new();
    for (number, action) in ["ec2:CreateVpc", "iam:CreateRole", "logs:CreateLogGroup"].into_iter().enumerate() {
        let mut less = policy.clone();
        for statement in less["Statement"].as_array_mut().expect("statements") {
            statement["Action"].as_array_mut().expect("actions").retain(|one| one != action);
        }
        let somebody = Somebody::with(&aws, &format!("without-{number}"), &less).await;
        without.push((action, somebody, folder.path().join(number.to_string())));
    }
    guarded(endpoints, "0");
    for (action, somebody, state) in &without {
        let output = somebody.runs(endpoints, state, &["apply", "ecs-poc", "--yes"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "without {action}: {out}\n{err}");
        assert!(out.contains(action), "without {action}: {out}\n{err}");
        guarded(endpoints, "100000");
        let output = root.runs(endpoints, state, &["destroy", "ecs-poc", "--yes"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        guarded(endpoints, "0");
    }
    let output = holder.runs(endpoints, folder.path(), &["apply", "ecs-poc", "--yes"]);
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}
