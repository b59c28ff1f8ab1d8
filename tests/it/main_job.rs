//! The main job, as a newcomer meets it: the shipped stacks on the local cloud, planned, applied, edited, applied again
//! and destroyed; and the local cloud stopped or emptied in between.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use aws_sdk_applicationautoscaling::types::ServiceNamespace;
use cofferdam::aws::Aws;
use cofferdam::local::Status;
use cofferdam::state::Store;

use crate::support;

/// A copy of the project as it is shipped, with a local cloud of its own.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["stacks", "policies"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
            for file in fs::read_dir(shipped.join(name)).expect("it is shipped") {
                let file = file.expect("it can be read").path();
                let name = Path::new(name).join(file.file_name().expect("it has a name"));
                fs::copy(&file, folder.path().join(name)).expect("it is copied");
            }
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary, as in a pipeline: nobody can be asked.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("COFFERDAM_")) {
                command.env_remove(name);
            }
        }
        command.output().expect("the binary runs")
    }

    /// Runs what must succeed; gives its stdout.
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?} failed:\n{out}\n{err}");
        out
    }

    fn plan_is_empty(&self, stack: &str, after: &str) {
        let output = self.run(&["plan", stack, "--detailed-exitcode"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "the plan of {stack} after {after} is not empty:\n{out}\n{err}");
        assert!(out.contains("No changes"), "{out}");
    }

    /// Replaces text of a file, once.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).expect("the file is there");
        assert!(text.contains(from), "{file} holds {from:?}:\n{text}");
        fs::write(path, text.replacen(from, to, 1)).expect("the file is written");
    }

    /// Clients of the local cloud, which runs.
    async fn aws(&self) -> Aws {
        let local = support::local().in_folder(self.path("state/.local-cloud"));
        let Status::Running(endpoints) = local.status().await else { panic!("the local cloud does not run") };
        Aws::connect(&endpoints.connect("eu-west-2"), "test", None).await.expect("it answers")
    }

    /// What a plan or an apply said, with the address of a resource in the place of its id; neighbours in a list, which
    /// are in the order of their ids, in that of their addresses.
    fn without_ids(&self, stack: &str, text: &str) -> String {
        let folder = fs::read_dir(self.path("state").join(stack)).expect("there is a state").next().expect("one");
        let state = Store::at(&folder.expect("readable").path()).read().expect("it is whole").expect("it is there");
        let mut text = text.to_owned();
        for (address, entry) in &state.resources {
            // Names are the same every time; ids that the cloud gives are not.
            if entry.id.contains("-0") || entry.id.chars().filter(char::is_ascii_digit).count() > 3 {
                text = text.replace(&entry.id, &format!("<{}>", address.as_str()));
            }
        }
        let mut lines: Vec<&str> = text.lines().collect();
        let is_item = |line: &&str| line.trim_start().starts_with("\"<");
        lines.chunk_by_mut(|one, other| is_item(one) && is_item(other)).for_each(<[&str]>::sort);
        lines.join("\n")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.run(&["cloud", "down"]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything of the kinds of the shipped stacks that there is in a cloud.
pub async fn inventory(aws: &Aws) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    macro_rules! each {
        ($call:expr, $what:literal, $items:ident, |$one:ident| $id:expr) => {
            for $one in $call.send().await.expect($what).$items() {
                let id: Option<&str> = $id;
                found.extend(id.map(|id| format!("{}: {id}", $what)));
            }
        };
    }
    let ec2 = &aws.ec2;
    each!(ec2.describe_vpcs(), "VPC", vpcs, |one| one.vpc_id());
    each!(ec2.describe_subnets(), "subnet", subnets, |one| one.subnet_id());
    each!(ec2.describe_security_groups(), "security group", security_groups, |one| one.group_id());
    each!(ec2.describe_route_tables(), "route table", route_tables, |one| one.route_table_id());
    each!(ec2.describe_internet_gateways(), "internet gateway", internet_gateways, |one| one.internet_gateway_id());
    each!(ec2.describe_nat_gateways(), "NAT gateway", nat_gateways, |one| {
        one.nat_gateway_id().filter(|_| one.state().is_none_or(|state| state.as_str() != "deleted"))
    });
    each!(ec2.describe_addresses(), "elastic IP", addresses, |one| one.allocation_id());
    each!(ec2.describe_vpc_endpoints(), "endpoint", vpc_endpoints, |one| {
        one.vpc_endpoint_id().filter(|_| one.state().is_none_or(|state| state.as_str() != "deleted"))
    });
    each!(ec2.describe_flow_logs(), "flow log", flow_logs, |one| one.flow_log_id());
    each!(ec2.describe_launch_templates(), "launch template", launch_templates, |one| one.launch_template_id());
    // Those of a deleted endpoint outlive it and even their VPC in the emulator.
    let vpcs: BTreeSet<String> = found.iter().filter_map(|one| one.strip_prefix("VPC: ")).map(str::to_owned).collect();
    each!(ec2.describe_network_interfaces(), "interface", network_interfaces, |one| {
        one.network_interface_id().filter(|_| one.vpc_id().is_some_and(|vpc| vpcs.contains(vpc)))
    });
    for reservation in ec2.describe_instances().send().await.expect("instances").reservations() {
        for instance in reservation.instances() {
            let state = instance.state().and_then(|state| state.name()).map(|name| name.as_str());
            if state != Some("terminated") {
                found.insert(format!("instance: {}", instance.instance_id().unwrap_or_default()));
            }
        }
    }
    each!(aws.autoscaling.describe_auto_scaling_groups(), "group", auto_scaling_groups, |one| {
        one.auto_scaling_group_name()
    });
    each!(aws.iam.list_roles(), "role", roles, |one| Some(one.role_name()));
    each!(aws.iam.list_instance_profiles(), "instance profile", instance_profiles, |one| {
        Some(one.instance_profile_name())
    });
    each!(aws.route53.list_hosted_zones(), "zone", hosted_zones, |one| Some(one.id()));
    each!(aws.ecr.describe_repositories(), "repository", repositories, |one| one.repository_name());
    each!(aws.logs.describe_log_groups(), "log group", log_groups, |one| one.log_group_name());
    for arn in aws.ecs.list_clusters().send().await.expect("clusters").cluster_arns() {
        found.insert(format!("cluster: {arn}"));
    }
    each!(aws.ecs.describe_capacity_providers(), "capacity provider", capacity_providers, |one| one.name());
    for arn in aws.ecs.list_task_definitions().send().await.expect("task definitions").task_definition_arns() {
        found.insert(format!("task definition: {arn}"));
    }
    each!(aws.elb.describe_load_balancers(), "load balancer", load_balancers, |one| one.load_balancer_arn());
    each!(aws.elb.describe_target_groups(), "target group", target_groups, |one| one.target_group_arn());
    each!(aws.discovery.list_namespaces(), "namespace", namespaces, |one| one.id());
    each!(aws.scheduler.list_schedules(), "schedule", schedules, |one| one.name());
    // AWS's own are there as soon as somebody has asked for one.
    each!(aws.ssm.describe_parameters(), "parameter", parameters, |one| {
        one.name().filter(|name| !name.starts_with("/aws/"))
    });
    each!(
        aws.scaling.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs),
        "scaling target",
        scalable_targets,
        |one| Some(one.resource_id())
    );
    let certificates = aws.acm.list_certificates().send().await.expect("certificates");
    let arns = certificates.certificate_summary_list().iter().filter_map(|one| one.certificate_arn());
    found.extend(arns.map(|arn| format!("certificate: {arn}")));
    found
}

/// The types of the instances that run.
async fn instance_types(aws: &Aws) -> Vec<String> {
    let answer = aws.ec2.describe_instances().send().await.expect("instances are described");
    let running = answer.reservations().iter().flat_map(|one| one.instances()).filter(|instance| {
        instance.state().and_then(|state| state.name()).is_some_and(|name| name.as_str() == "running")
    });
    running.filter_map(|instance| Some(instance.instance_type()?.as_str().to_owned())).collect()
}

/// How many tasks of a service run, all of one deployment that is completed.
async fn steady(aws: &Aws, cluster: &str, service: &str) -> i32 {
    let answer = aws.ecs.describe_services().cluster(cluster).services(service).send().await.expect("it is described");
    let service = answer.services().first().expect("it is there");
    let states: Vec<_> = service.deployments().iter().map(|one| one.rollout_state().map(|s| s.as_str())).collect();
    assert_eq!(states, [Some("COMPLETED")], "nothing is under way");
    assert_eq!(service.desired_count(), service.running_count());
    service.running_count()
}

#[tokio::test]
async fn the_stack_of_the_first_minutes_is_applied_edited_and_destroyed() {
    let project = Project::new();
    project.succeeds(&["cloud", "up"]);
    let aws = project.aws().await;
    let before = inventory(&aws).await;

    let applied = project.succeeds(&["apply", "ecs-poc"]);
    assert!(applied.contains("Plan: 34 to create; 1 only read.\n"), "{applied}");
    assert!(applied.contains("Done: 34 created in "), "{applied}");
    let outputs = applied.rsplit("\nOutputs:\n").next().expect("outputs");
    for expected in ["cluster            = \"ecs-poc-main\"", "vpc_id             = \"vpc-", "nat_public_ips     = [\""]
    {
        assert!(outputs.contains(expected), "{expected} is among the outputs:\n{outputs}");
    }
    assert_eq!(project.succeeds(&["output", "ecs-poc", "cluster"]), "ecs-poc-main\n");
    project.plan_is_empty("ecs-poc", "the first apply");
    assert_eq!(instance_types(&aws).await, ["t3.small"]);
    assert_eq!(steady(&aws, "ecs-poc-main", "ecs-poc-web").await, 2, "two tasks run, behind the load balancer");

    // The emulator runs no containers, and says so instead of waiting for the end of one.
    let output = project.run(&["run", "ecs-poc", "web", "--", "./migrate"]);
    let err = text(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("the local cloud runs no containers"), "{err}");
    let output = project.run(&["logs", "ecs-poc", "web"]);
    let err = text(&output.stderr);
    assert!(output.status.success() && err.contains("nothing was written in the last 10m"), "{err}");

    // A larger instance, one more tag, a third zone, more memory, and one more thing the service may do.
    let stack = "stacks/ecs-poc.toml";
    project.edit(stack, "instance_type = \"t3.small\"", "instance_type = \"t3.medium\"");
    project.edit(stack, "memory   = 256", "memory   = 384\ntags = { Team = \"web\" }");
    project.edit(stack, "b = \"172.24.1.0/24\" }", "b = \"172.24.1.0/24\", c = \"172.24.4.0/24\" }");
    project.edit(
        "policies/task.json",
        "\"ssm:GetParameters\",",
        "\"ssm:GetParameters\",\n        \"ssm:GetParameterHistory\",",
    );
    let output = project.run(&["plan", "ecs-poc", "--detailed-exitcode"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    insta::assert_snapshot!(project.without_ids("ecs-poc", &text(&output.stdout)));
    project.succeeds(&["apply", "ecs-poc"]);
    project.plan_is_empty("ecs-poc", "the edits");
    assert_eq!(instance_types(&aws).await, ["t3.medium"], "the instances were refreshed");
    assert_eq!(steady(&aws, "ecs-poc-main", "ecs-poc-web").await, 2, "two tasks of the new revision run");

    let destroyed = project.succeeds(&["destroy", "ecs-poc", "--yes"]);
    assert!(destroyed.contains("Done: 36 deleted in "), "{destroyed}");
    assert_eq!(inventory(&aws).await, before, "nothing of the stack is left");
    assert_eq!(project.succeeds(&["show", "ecs-poc"]), "Nothing exists yet.\n");
}

#[tokio::test]
async fn the_other_shipped_stacks_stand_beside_each_other_and_go() {
    let project = Project::new();
    project.succeeds(&["cloud", "up"]);
    let aws = project.aws().await;
    let before = inventory(&aws).await;
    for stack in ["minimal", "production-network"] {
        project.succeeds(&["apply", stack]);
        project.plan_is_empty(stack, "the first apply");
    }
    // A NAT gateway in each zone instead of one: the one that is there stays, with its address.
    project.edit("stacks/minimal.toml", "nat  = \"single\"", "nat  = \"per-az\"");
    let plan = project.succeeds(&["plan", "minimal"]);
    assert!(plan.contains("+ network.main/nat_gateway.b") && !plan.contains("nat_gateway.a\n"), "{plan}");
    project.succeeds(&["apply", "minimal"]);
    project.plan_is_empty("minimal", "one NAT gateway more");
    // And an environment beside its stack, with a state and names of its own.
    for environment in [&[][..], &["--env", "staging"]] {
        project.succeeds(&[&["apply", "ecs-poc"], environment].concat());
    }
    project.succeeds(&["plan", "ecs-poc", "--env", "staging", "--detailed-exitcode"]);
    project.plan_is_empty("ecs-poc", "its environment");
    for stack in ["minimal", "production-network", "ecs-poc"] {
        project.succeeds(&["destroy", stack, "--yes"]);
    }
    project.succeeds(&["destroy", "ecs-poc", "--env", "staging", "--yes"]);
    assert_eq!(inventory(&aws).await, before, "nothing of the stacks is left");
}

/// The stacks of services: applied, planned empty, changed in one line, and destroyed.
#[tokio::test]
async fn the_stacks_of_services_run_change_and_go() {
    let project = Project::new();
    project.succeeds(&["cloud", "up"]);
    let aws = project.aws().await;
    let before = inventory(&aws).await;
    let of_service = |name: &str, what: &[&str]| -> BTreeSet<String> {
        what.iter().map(|one| format!("service.{name}/{one}")).collect()
    };
    for (stack, edit, changed, services) in [
        (
            "fargate-web",
            ("host = \"www.${vars.domain}\", health", "host = \"${vars.domain}\", health"),
            of_service("web", &["listener_rule.main"]),
            vec![("web", 2), ("api", 2)],
        ),
        (
            "worker-and-cron",
            ("working for", "still working for"),
            of_service("worker", &["task_definition.main", "ecs_service.main"]),
            vec![("worker", 2)],
        ),
    ] {
        project.succeeds(&["apply", stack]);
        project.plan_is_empty(stack, "the first apply");
        for (service, count) in &services {
            let running = steady(&aws, &format!("{stack}-main"), &format!("{stack}-{service}")).await;
            assert_eq!(running, *count, "{service} of {stack}");
        }
        project.edit(&format!("stacks/{stack}.toml"), edit.0, edit.1);
        let plan: serde_json::Value =
            serde_json::from_str(&project.succeeds(&["plan", stack, "--json"])).expect("the plan is JSON");
        let actions = plan["actions"].as_array().expect("actions").iter();
        let addresses: BTreeSet<String> =
            actions.map(|one| one["address"].as_str().expect("an address").to_owned()).collect();
        assert_eq!(addresses, changed, "one line of {stack} changes what it is about");
        project.succeeds(&["apply", stack]);
        project.plan_is_empty(stack, "the change");
        for (service, count) in &services {
            let running = steady(&aws, &format!("{stack}-main"), &format!("{stack}-{service}")).await;
            assert_eq!(running, *count, "{service} of {stack}");
        }
    }
    for stack in ["worker-and-cron", "fargate-web"] {
        project.succeeds(&["destroy", stack, "--yes"]);
    }
    assert_eq!(inventory(&aws).await, before, "nothing of the stacks is left");
}

#[test]
fn a_local_cloud_that_was_stopped_or_emptied_is_planned_anew() {
    let project = Project::new();
    project.succeeds(&["apply", "minimal"]);
    for (verb, after) in [("down", "it was stopped"), ("reset", "it was emptied")] {
        project.succeeds(&["cloud", verb]);
        for _ in 0..2 {
            let output = project.run(&["plan", "minimal"]);
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert!(err.contains("what was in it is gone"), "after {after} the user is told why:\n{err}");
            assert!(out.contains("Plan: 20 to create; 1 only read.\n"), "after {after} all is created anew:\n{out}");
            assert!(!out.contains("Changed outside"), "after {after} nothing of it is drift:\n{out}");
        }
        let applied = project.succeeds(&["apply", "minimal"]);
        assert!(applied.contains("Done: 20 created in "), "{applied}");
        project.plan_is_empty("minimal", after);
    }
    // Another region is another place, of which nothing would be seen where the stack stands now.
    project.edit("stacks/minimal.toml", "eu-west-2", "eu-west-1");
    for verb in ["plan", "apply", "destroy"] {
        let output = project.run(&[verb, "minimal"]);
        let err = text(&output.stderr);
        assert!(!output.status.success() && err.contains("this stack stands in eu-west-2"), "{verb}: {err}");
        assert!(err.contains("--new-region"), "{verb}: {err}");
    }
    assert!(project.succeeds(&["plan", "minimal", "--new-region"]).contains("Plan: 20 to create"));
    project.edit("stacks/minimal.toml", "eu-west-1", "eu-west-2");
    project.succeeds(&["cloud", "down"]);
    let destroyed = project.run(&["destroy", "minimal"]);
    assert!(destroyed.status.success(), "{}", text(&destroyed.stderr));
    assert!(text(&destroyed.stdout).contains("Nothing to delete"), "what is gone need not be deleted");
}
