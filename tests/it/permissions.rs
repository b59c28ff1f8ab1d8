//! The policy of a plan: it covers every call of the apply, is scoped to resources, and is enough for a user who holds
//! nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Output};

use cofferdam::aws::Aws;
use cofferdam::kinds::AwsCloud;
use cofferdam::kinds::permissions::{self, Coverage};
use cofferdam::local::{Attached, Endpoints};
use cofferdam::plan::Mode;
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

/// What AWS asks for along with calls that are sent, and with which ("Actions, resources, and condition keys for AWS
/// services", under dependent actions; "Grant permission to tag resources during creation").
const ALONG: &[(&str, &[&str])] = &[
    ("autoscaling:CreateOrUpdateTags", &["autoscaling:CreateAutoScalingGroup", "ecs:CreateCapacityProvider"]),
    ("ec2:CreateTags", &["ec2:Create", "ec2:AllocateAddress", "autoscaling:CreateAutoScalingGroup"]),
    ("ec2:RunInstances", &["autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"]),
    ("ecr:TagResource", &["ecr:CreateRepository"]),
    ("ecs:TagResource", &["ecs:Create", "ecs:RegisterTaskDefinition"]),
    ("elasticloadbalancing:AddTags", &["elasticloadbalancing:Create"]),
    (
        "iam:CreateServiceLinkedRole",
        &[
            "application-autoscaling:RegisterScalableTarget",
            "autoscaling:CreateAutoScalingGroup",
            "ecs:Create",
            "ecs:PutClusterCapacityProviders",
            "elasticloadbalancing:CreateLoadBalancer",
        ],
    ),
    (
        "iam:PassRole",
        &["autoscaling:CreateAutoScalingGroup", "ecs:RegisterTaskDefinition", "iam:AddRoleToInstanceProfile"],
    ),
    ("iam:TagInstanceProfile", &["iam:CreateInstanceProfile"]),
    ("iam:TagRole", &["iam:CreateRole"]),
    ("logs:TagResource", &["logs:CreateLogGroup"]),
];

/// What is sent where AWS takes its time or refuses, as no emulator does: when that is.
const AT_TIMES: &[(&str, &str)] = &[
    ("autoscaling:DescribeScalingActivities", "while a group lacks instances"),
    ("autoscaling:SetInstanceProtection", "while instances are protected from scale-in"),
    ("autoscaling:CancelInstanceRefresh", "while another instance refresh runs"),
    ("ec2:DeleteLaunchTemplateVersions", "once a template has more versions than are kept"),
    ("ec2:DescribeLaunchTemplateVersions", "once a template has more versions than are kept"),
    ("ec2:DescribeTags", "while a template is shown with tags that were changed"),
    ("ec2:DescribeNetworkInterfaces", "while interfaces keep something from being deleted"),
    ("ecs:DeleteTaskDefinitions", "once a family has more revisions than are kept"),
    ("ecs:DeregisterTaskDefinition", "once a family has more revisions than are kept"),
    ("ecs:ListTaskDefinitions", "where the newest revision of a family is somebody else's"),
    ("ecs:DescribeTasks", "when tasks of a deployment stop"),
    ("ecs:ListTasks", "when tasks of a deployment stop"),
    ("elasticloadbalancing:DescribeTargetHealth", "while all tasks run and the deployment is not completed"),
    ("iam:RemoveRoleFromInstanceProfile", "where a profile that is not the stack's holds a role"),
    ("logs:GetLogEvents", "when a deployment failed"),
];

/// What is asked before anything is planned for a state that is not there.
const TELLTALES: [&str; 3] = ["ec2:DescribeTags", "ecs:DescribeClusters", "ecs:ListClusters"];

/// Why an action is in a policy that was not sent; `None` where it is superfluous.
fn reason(action: &str, sent: &BTreeSet<String>, first: bool) -> Option<String> {
    let along = ALONG.iter().find(|(one, _)| *one == action).and_then(|(_, calls)| {
        let is_one = |call: &&String| calls.iter().any(|one| call.starts_with(one));
        sent.iter().find(is_one).map(|call| format!("AWS asks for it along with {call}"))
    });
    let at_times = AT_TIMES.iter().find(|(one, _)| *one == action).map(|(_, when)| format!("sent {when}"));
    let telltale = (first && TELLTALES.contains(&action)).then(|| "tells a state that was lost from none".to_owned());
    along.or(telltale).or(at_times)
}

/// What is sent is allowed, and what is allowed is sent, or needed in a way that no emulator shows.
#[tokio::test]
async fn every_call_of_an_apply_is_covered_and_nothing_else() {
    let pair = emulators().await;
    let aws = Aws::connect(&pair.endpoints.connect("eu-west-2"), "ecs-poc", None).await.expect("it answers");
    let cloud = AwsCloud::new(aws);
    let (text, updated) = (crate::proof::ecs_poc(), crate::proof::ecs_poc_updated());
    let updated = updated.replacen("memory   = 256", "memory   = 384", 1);
    let (first, changed) = (crate::proof::read(&text).0, crate::proof::read(&updated).0);
    let (mut told, mut superfluous) = (String::new(), Vec::new());
    let mut state = State::empty("ecs-poc", None, "local", "123456789012", "eu-west-2");
    let runs =
        [("create", &first, Mode::Apply), ("update", &changed, Mode::Apply), ("destroy", &changed, Mode::Destroy)];
    for (name, graph, mode) in runs {
        let is_first = name == "create";
        let before = cloud.aws().calls.counts();
        let known = state.clone();
        let ran = run_with(&cloud, graph, state, Ask { mode, ..Ask::default() }, options()).await;
        assert!(ran.report.is_complete(), "{:?}", ran.report);
        let after = cloud.aws().calls.counts();
        let is_new = |call: &str| after.get(call) > before.get(call);
        let sent: BTreeSet<String> = after.keys().filter(|call| is_new(call)).map(|call| (*call).to_owned()).collect();
        let known = Some(&known).filter(|_| !is_first);
        let allowed = allowed(&permissions::policy(&ran.plan, known, None, Coverage::OneRun));
        let missing: Vec<_> = sent.difference(&allowed).collect();
        assert!(missing.is_empty(), "to {name} sends {missing:?}, which the policy does not allow");
        let _ =
            writeln!(told, "{name}: {} calls allowed, of which {} were sent; the others:", allowed.len(), sent.len());
        for action in allowed.difference(&sent) {
            match reason(action, &sent, is_first) {
                Some(reason) => drop(writeln!(told, "  {action}: {reason}")),
                None => superfluous.push(format!("{name}: {action}")),
            }
        }
        state = ran.state;
    }
    assert!(superfluous.is_empty(), "nothing needs\n{}", superfluous.join("\n"));
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

/// Tells one of the emulators something that is not AWS's.
fn tell(endpoint: &str, path: &str, body: &str) {
    let host = endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).expect("it answers");
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

/// How many calls go by from now on until the emulator asks who is asking.
fn guarded(endpoints: &Endpoints, free: u32) {
    tell(&endpoints.main, "/moto-api/reset-auth", &free.to_string());
}

/// Empties both emulators.
fn emptied(endpoints: &Endpoints) {
    guarded(endpoints, u32::MAX);
    tell(&endpoints.main, "/moto-api/reset", "");
    tell(&endpoints.ecs, "/_ministack/reset", "");
}

/// A user who holds the policy of the plan applies it; without any one action of it, somebody cannot. One of eight actions
/// is tried, with `COFFERDAM_EVERY=1` (`make prove`) each of them.
#[tokio::test]
async fn enough_for_whoever_holds_nothing_else_and_no_less() {
    let pair = emulators().await;
    let endpoints = &pair.endpoints;
    let folder = tempfile::tempdir().expect("a folder");
    let root = Somebody { key: "test".into(), secret: "test".into() };
    let aws = Aws::connect(&endpoints.connect("eu-west-2"), "ecs-poc", None).await.expect("it answers");
    let planned = root.runs(endpoints, folder.path(), &["plan", "ecs-poc", "--iam"]);
    let policy: Value = serde_json::from_slice(&planned.stdout).expect("a policy");
    let holder = Somebody::with(&aws, "holder", &policy).await;
    guarded(endpoints, 0);
    let output = holder.runs(endpoints, folder.path(), &["apply", "ecs-poc", "--yes"]);
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));

    // ECS is ministack's, which asks nobody; what AWS asks for along with a call, moto does not.
    let unasked = |action: &str| {
        action.starts_with("ecs:")
            || TELLTALES.contains(&action)
            || ALONG.iter().any(|(one, _)| *one == action)
            || AT_TIMES.iter().any(|(one, _)| *one == action)
    };
    let asked: Vec<String> = allowed(&policy).into_iter().filter(|action| !unasked(action)).collect();
    let (mut told, every) = (Vec::new(), crate::proof::number("COFFERDAM_EVERY").unwrap_or(8).max(1));
    for (number, action) in (0..).zip(&asked) {
        if number % every != 0 {
            continue;
        }
        emptied(endpoints);
        let mut less = policy.clone();
        let statements = less["Statement"].as_array_mut().expect("statements");
        for statement in &mut *statements {
            statement["Action"].as_array_mut().expect("actions").retain(|one| one != action);
        }
        statements.retain(|statement| statement["Action"] != serde_json::json!([]));
        let somebody = Somebody::with(&aws, "somebody", &less).await;
        guarded(endpoints, 0);
        let state = folder.path().join(number.to_string());
        let output = somebody.runs(endpoints, &state, &["apply", "ecs-poc", "--yes"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        if output.status.code() != Some(1) || !said.contains(action.as_str()) {
            told.push(format!("without {action}: {:?}\n{said}", output.status.code()));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    println!(
        "without each of {} actions in turn the apply of ecs-poc is refused",
        asked.len().div_ceil(every as usize)
    );
}
