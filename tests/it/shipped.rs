//! The shipped stacks through their days, each against two emulators: applied, planned, deployed, rolled back, scaled by
//! hand, destroyed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cofferdam::aws::{Aws, Connect};
use cofferdam::local::Attached;
use serde_json::Value;

use crate::lifecycle::text;
use crate::main_job::inventory;
use crate::support;

/// Which emulator has the most of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mostly {
    /// moto, with services that run from ministack, as `--cloud local` arranges both.
    Moto,
    /// ministack, with what it lacks from moto: Application Auto Scaling, and AWS's parameter with the image of instances.
    Ministack,
}

/// A copy of the project as it is shipped, and emulators of its own: names in it are fixed.
struct Project {
    folder: tempfile::TempDir,
    emulators: Attached,
    mostly: Mostly,
}

impl Project {
    async fn new(mostly: Mostly) -> Self {
        let emulators = support::local().attached(&|_| {}).await.expect("the emulators are started");
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["stacks", "policies"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
            for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it is shipped") {
                let file = file.expect("it can be read").path();
                let name = Path::new(name).join(file.file_name().expect("it has a name"));
                fs::copy(&file, folder.path().join(name)).expect("it is copied");
            }
        }
        Self { folder, emulators, mostly }
    }

    fn connect(&self) -> Connect {
        let endpoints = &self.emulators.endpoints;
        let (moto, ministack) = (endpoints.main.clone(), endpoints.ecs.clone());
        let (main, others) = match self.mostly {
            Mostly::Moto => (moto, [("ecs", ministack.clone()), ("cloudwatch", ministack)].to_vec()),
            Mostly::Ministack => (ministack, [("application_auto_scaling", moto.clone()), ("ssm", moto)].to_vec()),
        };
        let endpoints = others.into_iter().map(|(service, endpoint)| (service.to_owned(), endpoint)).collect();
        Connect { region: "eu-west-2".into(), endpoint: Some(main), endpoints, emulated: true }
    }

    async fn aws(&self) -> Aws {
        Aws::connect(&self.connect(), "test", None).await.expect("the emulator answers")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let how = self.connect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_ENDPOINT_URL", how.endpoint.as_deref().expect("an endpoint"));
        for (service, endpoint) in &how.endpoints {
            command.env(format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()), endpoint);
        }
        command.args(arguments).args(["--cloud", "aws"]).output().expect("the binary runs")
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{:?}: {arguments:?} failed:\n{out}\n{err}", self.mostly);
        out
    }

    fn plan_is_empty(&self, stack: &str, after: &str) {
        let output = self.run(&["plan", stack, "--detailed-exitcode"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code();
        assert_eq!(code, Some(0), "{:?}: the plan of {stack} after {after} is not empty:\n{out}\n{err}", self.mostly);
    }

    /// What a service runs: its revision, and how many tasks are wanted and run.
    fn running(&self, stack: &str, service: &str) -> (u64, i64, i64) {
        let told: Value = serde_json::from_str(&self.succeeds(&["status", stack, service, "--json"])).expect("JSON");
        let told = &told["services"][0];
        let number = |key: &str| told[key].as_i64().expect("a number");
        (told["revision"].as_u64().expect("a revision"), number("desired"), number("running"))
    }
}

/// A service: how many tasks it has at first, and how many by hand.
type Service = (&'static str, i64, i64);

/// The services of the shipped stacks that are kept running.
const SERVICES: [(&str, &[Service]); 5] = [
    ("minimal", &[]),
    ("production-network", &[]),
    ("ecs-poc", &[("web", 2, 4)]),
    ("fargate-web", &[("web", 2, 5), ("api", 2, 3)]),
    ("worker-and-cron", &[("worker", 2, 3)]),
];

async fn shipped(mostly: Mostly) {
    let project = Project::new(mostly).await;
    let mut files: Vec<PathBuf> = fs::read_dir("stacks").expect("stacks").map(|one| one.expect("one").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert_eq!(files.len(), SERVICES.len(), "each shipped stack is gone through");
    let aws = project.aws().await;
    let before = inventory(&aws).await;
    for (stack, services) in SERVICES {
        project.succeeds(&["apply", stack, "--yes"]);
        if (mostly, stack) == (Mostly::Ministack, "production-network") {
            // It drops the tags of new flow logs; the next apply sets them.
            project.succeeds(&["apply", stack, "--yes"]);
        }
        project.plan_is_empty(stack, "the first apply");
        for (service, first, by_hand) in services {
            assert_eq!(project.running(stack, service), (1, *first, *first), "{service} of {stack}");
            project.succeeds(&[
                "deploy",
                stack,
                service,
                "--image",
                "public.ecr.aws/docker/library/httpd:2.4",
                "--yes",
            ]);
            assert_eq!(project.running(stack, service), (2, *first, *first), "{service} of {stack} was deployed");
            project.plan_is_empty(stack, "a deploy");
            project.succeeds(&["rollback", stack, service, "--yes"]);
            assert_eq!(project.running(stack, service), (1, *first, *first), "{service} of {stack} was rolled back");
            project.plan_is_empty(stack, "a rollback");
            project.succeeds(&["scale", stack, service, &by_hand.to_string(), "--yes"]);
            assert_eq!(project.running(stack, service), (1, *by_hand, *by_hand), "{service} of {stack} was scaled");
            project.plan_is_empty(stack, "scaling by hand");
        }
        if stack == "worker-and-cron" {
            let refused = project.run(&["deploy", stack, "report", "--image", "busybox:1.38", "--yes"]);
            let told =
                "`report` is started by the clock: its tasks are run at their times, and no service keeps them up";
            assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
        }
        project.succeeds(&["destroy", stack, "--yes"]);
        assert_eq!(inventory(&aws).await, before, "{mostly:?}: nothing of {stack} is left");
    }
}

#[tokio::test]
async fn through_their_days_mostly_moto() {
    shipped(Mostly::Moto).await;
}

#[tokio::test]
async fn through_their_days_mostly_ministack() {
    shipped(Mostly::Ministack).await;
}
