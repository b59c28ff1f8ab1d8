//! The first hour: what somebody does who does not know the product yet, and what they are told.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cofferdam::state::{Holder, State, Store};
use serde_json::Value;

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

const LOGS: &str = "[log_group.web]\nretention_days = 7\n\n[outputs]\nname = \"${log_group.web.name}\"\n";

/// Keeps a text in a snapshot; a difference fails the test.
fn keep(test: &str, number: u32, text: &str) {
    insta::with_settings!({ snapshot_path => "snapshots/newcomer", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("{test}_{number}"), text);
    });
}

/// Runs a verb that must fail with exit code 1; gives its stderr, with `demo` for the stack's name.
fn fails(project: &Project, arguments: &[&str]) -> String {
    let output = project.run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{arguments:?} fails:\n{out}\n{err}");
    err.replace(&project.name, "demo")
}

/// Runs the binary as it is called in a folder below the project's.
fn run_in(project: &Project, folder: &str, arguments: &[&str]) -> Output {
    let mut command = project.command();
    command.current_dir(project.path(folder)).args(arguments).args(["--cloud", "aws"]);
    command.output().expect("the binary runs")
}

fn succeeds_in(project: &Project, folder: &str, arguments: &[&str]) -> String {
    let output = run_in(project, folder, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?} in {folder} failed:\n{out}\n{err}");
    out
}

/// What `validate` says of a stack.
fn validated(stack: &str) -> String {
    validated_with(stack, &[])
}

/// The same, with options.
fn validated_with(stack: &str, options: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let text_of = format!("name = \"demo\"\nregion = \"eu-west-2\"\n\n{stack}");
    fs::write(folder.path().join("demo.toml"), text_of).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
    let output = command.args(["validate", "demo.toml"]).args(options).output().expect("the binary runs");
    text(&output.stdout) + &text(&output.stderr)
}

fn only_state(project: &Project) -> std::path::PathBuf {
    let folder = project.path("state").join(&project.name);
    fs::read_dir(folder).expect("a state").next().expect("one state").expect("readable").path()
}

#[test]
fn a_stack_file_that_is_broken_or_lacks_the_environment_is_gone_by_its_state() {
    let environment = format!("{LOGS}\n[env.staging.log_group.web]\nretention_days = 1\n");
    let project = Project::new(Emulator::Moto, &environment);
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["apply", "--yes", "--env", "staging"]);
    let name = format!("{}-web\n", project.name);
    let staging = format!("{}-staging-web\n", project.name);
    project.write(LOGS);
    assert_eq!(project.succeeds(&["output", "name", "--env", "staging"]), staging);
    let told = text(&project.run(&["show", "--env", "staging"]).stderr).replace(&project.name, "demo");
    keep("a_stack_file_that_is_broken_or_lacks_the_environment_is_gone_by_its_state", 1, &told);
    assert!(fails(&project, &["show", "--env", "stagin"]).contains("no environment `stagin`"));
    // Nothing of the file can be read but its head.
    project.write("[log_group.web\nretention_days = 7\n");
    assert_eq!(project.succeeds(&["output", "name"]), name);
    assert!(project.succeeds(&["state list"]).contains("log_group.web"));
    assert!(fails(&project, &["plan"]).contains("this is not TOML"));
    project.succeeds(&["destroy", "--yes", "--env", "staging"]);
    project.succeeds(&["destroy", "--yes"]);
    assert!(fs::read_dir(project.path("state")).expect("states").count() == 2);
    assert!(project.state().is_empty());
}

#[test]
fn a_region_that_was_changed_is_no_second_copy() {
    let project = Project::new(Emulator::Moto, LOGS);
    project.succeeds(&["apply", "--yes"]);
    let file = project.path("stack.toml");
    let moved = fs::read_to_string(&file).expect("it is there").replace("eu-west-2", "eu-west-1");
    fs::write(&file, moved).expect("it is written");
    keep("a_region_that_was_changed_is_no_second_copy", 1, &fails(&project, &["plan"]));
    project.succeeds(&["plan", "--new-region"]);
    project.write(LOGS);
    project.succeeds(&["destroy", "--yes"]);
}

#[test]
fn a_name_that_was_changed_is_no_second_copy() {
    let project = Project::new(Emulator::Moto, LOGS);
    project.succeeds(&["apply", "--yes"]);
    let file = project.path("stack.toml");
    let other = crate::support::unique("other");
    let renamed = fs::read_to_string(&file).expect("it is there").replace(&project.name, &other);
    fs::write(&file, &renamed).expect("it is written");
    let told = |text: String| text.replace(&other, "other").replace(&project.name, "demo");
    keep("a_name_that_was_changed_is_no_second_copy", 1, &told(fails(&project, &["plan"])));
    for arguments in [vec!["apply", "--yes"], vec!["destroy", "--yes"]] {
        assert!(fails(&project, &arguments).contains("--new-name"), "{arguments:?}");
    }
    project.succeeds(&["plan", "--new-name"]);
    // The file has another name, too.
    let moved = project.path("moved.toml");
    fs::rename(&file, &moved).expect("it is moved");
    let run =
        |arguments: &[&str]| project.command().args(arguments).args(["--cloud", "aws"]).output().expect("it runs");
    let refused = run(&["plan", "moved.toml"]);
    assert!(text(&refused.stderr).contains("--new-name"), "{}", text(&refused.stderr));
    // A copy beside the original is another stack.
    project.write(LOGS);
    assert!(run(&["plan", "moved.toml"]).status.success());
    project.succeeds(&["destroy", "--yes"]);
}

/// One file may well be many stacks.
#[test]
fn a_name_that_is_a_variable_may_be_another_each_time() {
    let project = Project::new(Emulator::Moto, "");
    let text =
        format!("name = \"{}-${{vars.who}}\"\nregion = \"eu-west-2\"\n[vars]\nwho = \"a\"\n{LOGS}", project.name);
    fs::write(project.path("stack.toml"), text).expect("it is written");
    for who in ["who=a", "who=b"] {
        project.succeeds(&["apply", "--yes", "--var", who]);
    }
    for who in ["who=a", "who=b"] {
        project.succeeds(&["destroy", "--yes", "--var", who]);
    }
}

#[test]
fn the_state_is_where_the_stack_file_is_from_wherever_it_is_looked_at() {
    let project = Project::new(Emulator::Moto, "");
    let stack = "name = \"{n}\"\nregion = \"eu-west-2\"\n[role.web]\nservice = \"ec2.amazonaws.com\"\n\
                 policies = [\"policies/logs.json\"]\n";
    for folder in ["stacks", "policies", "elsewhere/deep"] {
        fs::create_dir_all(project.path(folder)).expect("a folder");
    }
    let stack = stack.replace("{n}", &project.name);
    fs::write(project.path("stacks/web.toml"), stack).expect("it is written");
    let policy = "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"logs:PutLogEvents\", \
                  \"Resource\": \"*\"}]}";
    fs::write(project.path("policies/logs.json"), policy).expect("it is written");
    let whole = project.path("stacks/web.toml");
    let whole = whole.to_str().expect("text");
    succeeds_in(&project, ".", &["apply", "web", "--yes"]);
    succeeds_in(&project, ".", &["plan", "web", "--out", "web.plan"]);
    for (folder, name) in [
        (".", "web"),
        (".", "stacks/web.toml"),
        ("stacks", "web.toml"),
        ("stacks", "web"),
        ("stacks", "./web.toml"),
        ("elsewhere/deep", "../../stacks/web.toml"),
        ("elsewhere/deep", "web"),
        ("elsewhere/deep", whole),
        ("policies", "../elsewhere/../stacks/web.toml"),
    ] {
        let told = succeeds_in(&project, folder, &["plan", name]);
        assert!(told.contains("No changes"), "{name} from {folder}: {told}");
        assert_eq!(succeeds_in(&project, folder, &["state", "list", name]).lines().count(), 1, "{name} from {folder}");
    }
    succeeds_in(&project, "stacks", &["apply", "web.toml", "--plan", "../web.plan"]);
    for folder in ["stacks/state", "elsewhere/deep/state", "policies/state"] {
        assert!(!project.path(folder).exists(), "{folder} came into being");
    }
    succeeds_in(&project, "elsewhere/deep", &["destroy", "web", "--yes"]);
    assert!(project.state().is_empty());
}

#[test]
fn a_stack_outside_of_any_project_keeps_its_state_beside_it() {
    let project = Project::new(Emulator::Moto, LOGS);
    fs::create_dir(project.path("elsewhere")).expect("a folder");
    succeeds_in(&project, "elsewhere", &["apply", "../stack.toml", "--yes"]);
    assert!(!project.path("elsewhere/state").exists());
    project.plan_is_empty("an apply from elsewhere");
    succeeds_in(&project, "elsewhere", &["destroy", "../stack.toml", "--yes"]);
}

#[test]
fn a_state_that_is_gone_is_not_taken_for_a_beginning() {
    let project = Project::new(Emulator::Moto, LOGS);
    project.succeeds(&["apply", "--yes"]);
    project.write(&LOGS.replace("= 7", "= 30"));
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    fs::remove_file(only_state(&project).join("snapshot.json")).expect("it is there");
    for verb in ["plan", "apply"] {
        let told = fails(&project, &[verb]);
        assert!(told.contains("snapshot.json is damaged: it is missing, and the history beside it"), "{told}");
        assert!(told.contains("cofferdam recover") && told.contains("history restore"), "{told}");
    }
    let listed = project.succeeds(&["history"]);
    let newest = listed.split_whitespace().find(|word| word.parse::<u64>().is_ok()).expect("a run").to_owned();
    let told = project.succeeds(&["history restore", &newest, "--yes"]);
    assert!(told.contains(&format!("what run {newest} left")), "{told}");
    assert_eq!(project.ids(), before);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("going back and applying");
    project.succeeds(&["destroy", "--yes"]);
    // Nothing is there any more: an empty state takes the place of the one that is gone, where that is meant.
    fs::remove_file(only_state(&project).join("snapshot.json")).expect("it is there");
    let told = fails(&project, &["recover", "--yes"]);
    assert!(told.contains("--anew writes an empty state"), "{told}");
    project.succeeds(&["recover", "--yes", "--anew"]);
    assert_eq!(project.planned(&[]).len(), 1);
}

#[test]
fn one_quotation_mark_is_one_mistake() {
    let logs: String =
        (0..20).map(|n| format!("[log_group.g{n}]\nname = \"group-{n}\"\nretention_days = 7\n\n")).collect();
    keep("one_quotation_mark_is_one_mistake", 1, &validated(&logs.replacen("\"group-0\"", "\"group-0", 1)));
    keep("one_quotation_mark_is_one_mistake", 2, &validated(&format!("[tags]\nTeam = \"a\nOf = \"b\"\n{logs}")));
    keep(
        "one_quotation_mark_is_one_mistake",
        3,
        &validated(&format!("[role.web]\nservice = \"ec2.amazonaws.com\"\npolicies = [\"a.json\"\n\n{logs}")),
    );
}

#[test]
fn two_files_of_one_name_are_told_of() {
    let project = Project::new(Emulator::Moto, LOGS);
    fs::copy(project.path("stack.toml"), project.path("copy.toml")).expect("it is copied");
    let told = text(&project.run(&["plan"]).stderr).replace(&project.name, "demo");
    keep("two_files_of_one_name_are_told_of", 1, &told);
}

#[test]
fn a_kind_without_a_name() {
    keep("a_kind_without_a_name", 1, &validated("[cluster]\n"));
    keep("a_kind_without_a_name", 2, &validated("[log_group.web]\n\n[env.staging]\nremove = [\"log_group.web\"]\n"));
}

/// A network with a capacity of one small instance type, and a service on it.
fn small(instance_type: &str, service: &str) -> String {
    format!(
        "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = {{ private = [\"a\"], public = [\"a\"] }}\nnat = \"single\"\n\n\
         [cluster.main]\n\n[capacity.main]\ncluster = \"main\"\ninstance_type = \"{instance_type}\"\n\
         size = {{ min = 1, max = 2 }}\n\n[service.web]\ncluster = \"main\"\nimage = \"nginx:1\"\n{service}"
    )
}

#[test]
fn a_mistake_in_a_network_hides_no_other() {
    let wrong = "[network.main]\ncidr = \"10.0.0.0/16\"\nnat = \"typo\"\nnat_zone = \"a\"\nzone = \"nodot\"\n\n\
                 [network.main.subnets]\nprivate = { a = \"10.1.0.0/24\", b = \"10.0.0.1/24\" }\npublic = [\"q\"]\n";
    keep("a_mistake_in_a_network_hides_no_other", 1, &validated(wrong));
    // Which range the subnets are meant to lie in is not known.
    let key = "[network.main]\ncidr = \"10.0.0.0/16\"\nsecondary_cidr = [\"10.1.0.0/16\"]\n\
               subnets = { private = { a = \"10.1.0.0/24\" } }\n";
    keep("a_mistake_in_a_network_hides_no_other", 2, &validated(key));
    let exists = "[network.main]\nexisting = 5\nsubnets = { private = { a = \"subnet-0a1b2c3d\" } }\n";
    keep("a_mistake_in_a_network_hides_no_other", 3, &validated(exists));
}

#[test]
fn a_task_that_fits_on_no_instance() {
    keep("a_task_that_fits_on_no_instance", 1, &validated(&small("t3.small", "memory = 2\n")));
    keep("a_task_that_fits_on_no_instance", 2, &validated(&small("t3.small", "memory = 2048\ncapacity = \"main\"\n")));
    keep("a_task_that_fits_on_no_instance", 3, &validated(&small("t3.nano", "")));
    let fits = ["t3.small", "m99z.large"].map(|one| validated(&small(one, "memory = 1900\n"))).concat();
    keep("a_task_that_fits_on_no_instance", 4, &fits);
    // Larger instances may be among those that are not blocks of the stack's own.
    let listed = "memory = 2048\n\n[capacity_provider.big]\nexisting = \"big\"\n\n[cluster_capacity.main]\n\
                  cluster = \"main\"\nproviders = [\"main\", \"big\"]\ndefault = [{ provider = \"big\", weight = 1 }]\n";
    keep("a_task_that_fits_on_no_instance", 6, &validated(&small("t3.small", listed)));
    let exists = small("t3.small", "memory = 2048\n").replace("[cluster.main]", "[cluster.main]\nexisting = \"main\"");
    keep("a_task_that_fits_on_no_instance", 7, &validated(&exists));
    let by_hand = "[task_definition.web]\nmemory = 2\ncontainers = { web = { image = \"nginx:1\" } }\n";
    keep("a_task_that_fits_on_no_instance", 5, &validated(by_hand));
}

#[test]
fn a_rule_that_gets_no_request() {
    let service = |name: &str, expose: &str| {
        format!("[service.{name}]\ncluster = \"main\"\nimage = \"nginx:1\"\nport = 80\nexpose = {{ {expose} }}\n\n")
    };
    let stack = format!(
        "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = {{ private = [\"a\", \"b\"], public = [\"a\", \"b\"] }}\n\
         nat = \"single\"\n\n[cluster.main]\n\n[security_group.balancer]\nvpc = \"main\"\n\n[load_balancer.main]\n\
         subnets = [\"${{network.main.public_subnet_ids}}\"]\nsecurity_groups = [\"balancer\"]\n\n[listener.web]\n\
         load_balancer = \"main\"\nprotocol = \"http\"\nport = 80\naction = {{ respond = {{ status = 404 }} }}\n\n"
    );
    let pair = |first: &str, second: &str| format!("{stack}{}{}", service("a", first), service("b", second));
    let same = "host = [\"www.example.com\"], path = [\"/api/*\"]";
    keep("a_rule_that_gets_no_request", 1, &validated(&pair(same, same)));
    let wide = "path = [\"/*\"], priority = 1";
    keep("a_rule_that_gets_no_request", 2, &validated(&pair(same, wide)));
    keep("a_rule_that_gets_no_request", 3, &validated(&pair(same, "path = [\"/api/*\"]")));
}

#[test]
fn what_aws_would_refuse_only_half_way_is_told_before() {
    let balanced = |zones: &str, more: &str| {
        format!(
            "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = {{ public = [{zones}] }}\n\n[load_balancer.main]\n\
             subnets = \"${{network.main.public_subnet_ids}}\"\nsecurity_groups = []\n\n[listener.web]\nload_balancer = \
             \"main\"\nprotocol = \"http\"\nport = 80\naction = {{ respond = {{ status = 404 }} }}\n\n{more}"
        )
    };
    keep("what_aws_refuses", 1, &validated(&balanced("\"a\"", "")));
    let twice = "[listener.more]\nload_balancer = \"main\"\nprotocol = \"http\"\nport = 80\naction = { respond = { status = 404 } }\n";
    keep("what_aws_refuses", 2, &validated(&balanced("\"a\", \"b\"", twice)));
    let sidecar = "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = [\"a\", \"b\"] }\n\n\
                   [cluster.main]\n\n[service.worker]\ncluster = \"main\"\nimage = \"nginx:1\"\n\n\
                   [service.worker.sidecars.worker]\nimage = \"envoy:1\"\n";
    keep("what_aws_refuses", 3, &validated(sidecar));
}

#[test]
fn what_another_stack_puts_out_is_checked_before_it_is_applied() {
    let project =
        Project::new(Emulator::Moto, "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[outputs]\nvpc = \"${vpc.main.id}\"\n");
    let stack = |output: &str| {
        format!(
            "name = \"shop\"\nregion = \"eu-west-2\"\n\n[vars]\nvpc = \"${{stack.{name}.{output}}}\"\n\n[subnet.a]\n\
             vpc = \"${{vars.vpc}}\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n\n[subnet.b]\nvpc = \"${{stack.{name}.{output}}}\"\n\
             cidr = \"10.0.1.0/24\"\nzone = \"b\"\n\n[outputs]\nsame = \"${{stack.{name}.{output}}}\"\n",
            name = project.name
        )
    };
    let told = |verb: &str| {
        let mut command = project.command();
        let output = command.args([verb, "shop.toml", "--cloud", "aws"]).output().expect("the binary runs");
        (text(&output.stdout) + &text(&output.stderr)).replace(&project.name, "demo")
    };
    let shop = project.path("shop.toml");
    fs::write(&shop, stack("vpc")).expect("it is written");
    keep("another_stack_is_checked", 1, &told("validate"));
    keep("another_stack_is_checked", 2, &told("plan"));
    fs::write(&shop, stack("vcp")).expect("it is written");
    keep("another_stack_is_checked", 3, &told("validate"));
    let here = "${stack.DEMO.region}".replace("DEMO", &project.name);
    fs::write(&shop, stack("vpc").replace("eu-west-2", &here)).expect("it is written");
    keep("another_stack_is_checked", 4, &told("validate"));
    fs::write(&shop, stack("vpc").replace(&project.name, "nowhere")).expect("it is written");
    keep("another_stack_is_checked", 5, &told("validate"));
}

/// What `validate` says of `shop.toml` beside the stack `base` with these outputs.
fn validated_beside(outputs: &str, shop: &str, options: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let base = format!("name = \"base\"\nregion = \"eu-west-2\"\n\n{outputs}");
    fs::write(folder.path().join("base.toml"), base).expect("it is written");
    let shop = format!("name = \"shop\"\nregion = \"eu-west-2\"\n\n{shop}");
    fs::write(folder.path().join("shop.toml"), shop).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
    let output = command.args(["validate", "shop.toml"]).args(options).output().expect("the binary runs");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn what_needs_another_stacks_values_is_not_checked_before_they_are_known() {
    let outputs = "[outputs]\nmin = 1\ncidr = \"10.0.0.0/16\"\nzones = [\"a\"]\nsizes = { web = 128 }\n";
    let check = |number: u32, from: &str, to: &str, more: &str| {
        assert!(SERVICE.contains(from), "{from}");
        let told = validated_beside(outputs, &(SERVICE.replacen(from, to, 1) + more), &[]);
        keep("what_needs_another_stacks_values", number, &told);
    };
    check(1, "min = 1", "min = \"${stack.base.min}\"", "");
    check(2, "min = 1", "min = \"${vars.least}\"", "[vars]\nleast = \"${stack.base.min}\"\n");
    check(3, "memory = 128", "memory = \"${vars.sizes.web}\"", "[vars]\nsizes = \"${stack.base.sizes}\"\n");
    check(4, "\"10.0.0.0/16\"", "\"${stack.base.cidr}\"", "");
    check(5, "[\"a\"]", "\"${stack.base.zones}\"", "[outputs]\nsubnets = \"${network.main.private_subnet_ids}\"\n");
    let (alone, _) = SERVICE.split_once("[service.web]").expect("it has a service");
    let alone = alone.replace("min = 1", "min = \"${stack.base.min}\"");
    keep("what_needs_another_stacks_values", 6, &validated_beside(outputs, &alone, &[]));
    // What is wrong besides is told as ever.
    check(7, "min = 1, max = 2", "min = \"${stack.base.min}\", max = \"many\"", "");
    check(8, "\"10.0.0.0/16\"", "\"${stack.base.cidr}\"\nnat = \"none\"\ndns_support = false\nzone = \"nodot\"", "");
    check(9, "min = 1", "min = \"${stack.base.mn}\"", "");
}

#[test]
fn outputs_of_an_environment_are_declared() {
    let outputs = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[env.prod.outputs]\nvpc = \"${vpc.main.id}\"\n";
    let shop = "[subnet.a]\nvpc = \"vpc-0a1b2c3d\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n\n\
                [env.prod.subnet.a]\nvpc = \"${stack.base.vpc}\"\n";
    for (number, options) in [(1, &["--env", "prod"][..]), (2, &[])] {
        keep("outputs_of_an_environment_are_declared", number, &validated_beside(outputs, shop, options));
    }
}

#[test]
fn a_plan_beside_an_apply_says_who_is_at_work() {
    let project = Project::new(Emulator::Moto, LOGS);
    project.succeeds(&["apply", "--yes"]);
    let since = "10:00".into();
    let holder = Holder { user: "alice".into(), host: "mars".into(), pid: 4711, verb: "apply".into(), since };
    let store = Store::at(&only_state(&project));
    let held = store.open(&holder, || State::empty("web", None, "aws", "1", "eu-west-2")).expect("it is free");
    for verb in ["plan", "drift"] {
        let err = text(&project.run(&[verb]).stderr);
        assert!(err.contains("alice on mars (process 4711) runs `apply` since 10:00"), "{err}");
    }
    drop(held);
    assert_eq!(text(&project.run(&["plan"]).stderr), "");
    project.succeeds(&["destroy", "--yes"]);
}

#[test]
fn outputs_go_with_what_they_are_made_from() {
    let stack = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n\n\
                 [outputs]\nvpc = \"${vpc.main.id}\"\nsubnet = \"in ${subnet.a.zone}: ${subnet.a.id}\"\nfixed = 7\n";
    let project = Project::new(Emulator::Moto, stack);
    keep("outputs_go_with_what_they_are_made_from", 1, &fails(&project, &["output"]));
    keep("outputs_go_with_what_they_are_made_from", 2, &project.succeeds(&["drift"]).replace(&project.name, "demo"));
    project.succeeds(&["apply", "--yes"]);
    let names = |project: &Project| -> Vec<String> {
        let outputs: Value = serde_json::from_str(&project.succeeds(&["output", "--json"])).expect("JSON");
        outputs.as_object().expect("a table").keys().cloned().collect()
    };
    assert_eq!(names(&project), ["fixed", "subnet", "vpc"]);
    project.succeeds(&["destroy", "--yes", "--target", "subnet.a"]);
    assert_eq!(names(&project), ["fixed", "vpc"]);
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(names(&project), ["fixed", "subnet", "vpc"]);
    project.succeeds(&["apply", "--yes", "--replace", "subnet.a"]);
    assert_eq!(names(&project), ["fixed", "subnet", "vpc"]);
    project.succeeds(&["destroy", "--yes"]);
    assert!(fails(&project, &["output"]).contains("nothing of this stack is applied"));
}

#[test]
fn one_mistake_is_told_once() {
    keep("one_mistake_is_told_once", 1, &validated("[vpc.main]\nexisting = \"${stack.other.unknown}\"\n"));
    keep(
        "one_mistake_is_told_once",
        2,
        &validated("[vpc.main]\nexisting = \"${vars.vcp}\"\n\n[vars]\nvpc = \"vpc-1\"\n"),
    );
    keep(
        "one_mistake_is_told_once",
        3,
        &validated("[role.web]\nservice = \"ec2.amazonaws.com\"\npolicies = \"file\"\n"),
    );
    keep(
        "one_mistake_is_told_once",
        4,
        &validated("[role.web]\nservice = \"ec2.amazonaws.com\"\npolicies = \"file.json\"\n"),
    );
    keep(
        "one_mistake_is_told_once",
        5,
        &validated("[role.web]\nservice = \"ec2.amazonaws.com\"\npolicies = [\"file.json\"]\n"),
    );
}

const SERVICE: &str = "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = [\"a\"] }\n\n[cluster.main]\n\n\
                       [capacity.main]\ncluster = \"main\"\ninstance_type = \"t3.small\"\n\
                       size = { min = 1, max = 2 }\n\n[service.web]\ncluster = \"main\"\ncapacity = \"main\"\n\
                       image = \"nginx:1.29\"\nmemory = 128\nlogs = { retention_days = 30 }\n\n";

#[test]
fn what_a_broken_block_would_have_made_is_not_missed() {
    let broken = |from: &str, to: &str| {
        assert!(SERVICE.contains(from), "{from}");
        validated(&SERVICE.replacen(from, to, 1))
    };
    for (number, (from, to)) in [
        ("\"t3.small\"", "\"t3.smal\""),
        ("min = 1", "min = \"one\""),
        ("[cluster.main]", "[[cluster.main]]"),
        ("[cluster.main]", "[[cluster]]"),
        ("[cluster.main]", "[clutser.main]"),
        ("[network.main]", "[netwrok.main]"),
        ("[cluster.main]", "[cluster.Main!]"),
        ("[cluster.main]", "[cluster.\"Main!\"]"),
    ]
    .into_iter()
    .enumerate()
    {
        let number = u32::try_from(number + 1).expect("few");
        keep("what_a_broken_block_would_have_made_is_not_missed", number, &broken(from, to));
    }
}

#[test]
fn wrong_values_are_underlined_where_they_stand() {
    let told = |number: u32, text: &str| keep("wrong_values_are_underlined_where_they_stand", number, &validated(text));
    told(1, "[log_group.web]\nretention_days = 31\n");
    told(2, &SERVICE.replace("retention_days = 30", "retention_days = 31"));
    told(3, &SERVICE.replace("\"t3.small\"", "\"t9.smal\""));
    let variable = "[vars]\ntype = \"t9.smal\"\n\n";
    told(4, &format!("{variable}{}", SERVICE.replace("\"t3.small\"", "\"${vars.type}\"")));
    told(5, &SERVICE.replace("memory = 128", "secrets = [\"parameter.password\"]"));
    told(6, &SERVICE.replace("memory = 128", "memory = \"${cluster.main.arn}\""));
    told(7, &SERVICE.replace("memory = 128", "command = \"${cluster.main.arn}\""));
    told(8, &SERVICE.replace("memory = 128", "memory = 128.0"));
    told(9, &SERVICE.replace("retention_days = 30", "retention_days = \"${cluster.main.arn}\""));
    told(10, &SERVICE.replace("cidr = \"10.0.0.0/16\"", "cidr = \"10.0.0.0/16\"\nflow_logs = { retention_days = 2 }"));
}

#[test]
fn variables_of_another_type() {
    let told = |number: u32, text: &str, vars: &[&str]| {
        let given = vars.iter().flat_map(|one| ["--var", one]);
        keep("variables_of_another_type", number, &validated_with(text, &given.collect::<Vec<_>>()));
    };
    let days = |declared: &str| {
        let used = SERVICE.replace("retention_days = 30", "retention_days = \"${vars.days}\"");
        format!("[vars]\ndays = {declared}\n\n{used}")
    };
    told(1, &days("30"), &["days=abc"]);
    told(2, &days("{ description = \"how long\" }"), &["days=abc"]);
    told(3, &days("{ description = \"how long\" }"), &["days=7"]);
    told(4, &days("\"7\""), &[]);
    told(5, &days("{ type = \"integer\" }"), &[]);
    told(6, &days("31"), &[]);
    let logs = SERVICE.replace("logs = { retention_days = 30 }", "logs = \"${vars.logs}\"");
    told(7, &format!("[vars]\nlogs = \"maybe\"\n\n{logs}"), &[]);
    told(8, &format!("[vars]\nlogs = {{ retention = 7 }}\n\n{logs}"), &[]);
}

#[test]
fn what_was_probably_meant() {
    let network = "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = [\"a\"] }\n\n";
    keep(
        "what_was_probably_meant",
        1,
        &validated(&format!("{network}[security_group.web]\nvpc = \"${{vpc.main.id}}\"\n")),
    );
    keep(
        "what_was_probably_meant",
        2,
        &validated(&format!("{network}[log_group.web]\ndepends_on = [\"subnet.private.a\"]\n")),
    );
    keep(
        "what_was_probably_meant",
        3,
        &validated("[var]\ndays = 7\n\n[log_group.web]\nretention_days = \"${var.days}\"\n"),
    );
    let project = Project::new(Emulator::Moto, network);
    keep("what_was_probably_meant", 4, &fails(&project, &["plan", "--target", "vpc.main"]));
    keep("what_was_probably_meant", 5, &fails(&project, &["plan", "--target", "netwrok.main"]));
    fs::create_dir(project.path("stacks")).expect("a folder");
    fs::copy(project.path("stack.toml"), project.path("stacks/ecs-poc.toml")).expect("it is copied");
    let told = |name: &str| text(&run_in(&project, ".", &["validate", name]).stderr);
    keep("what_was_probably_meant", 6, &told("./stacks/ecs-poc"));
    keep("what_was_probably_meant", 7, &told("./stacks/ecs-pco.toml"));
    keep("what_was_probably_meant", 8, &told("/tmp/xyz.toml"));
    keep("what_was_probably_meant", 9, &told("ecs"));
}

#[test]
fn a_plan_that_is_saved_says_how_to_go_on() {
    let project =
        Project::new(Emulator::Moto, "[vars]\nteam = \"a\"\n\n[log_group.web]\ntags = { Team = \"${vars.team}\" }\n");
    let saved = project.succeeds(&["plan", "--out", "my plan.bin", "--var", "team=it's b"]);
    let saved = saved.replace(&project.name, "demo");
    keep("a_plan_that_is_saved_says_how_to_go_on", 1, &saved);
    let plan = project.command().args(["show", "my plan.bin"]).output().expect("the binary runs");
    let shown = text(&plan.stdout).replace(&project.name, "demo");
    assert!(plan.status.success() && saved.contains(&shown) && shown.contains("+ log_group.web"), "{shown}");
    // What it says works as it is printed.
    let line =
        saved.lines().last().expect("a command").trim().replacen("cofferdam", env!("CARGO_BIN_EXE_cofferdam"), 1);
    let mut command = project.command();
    let path = std::env::var("PATH").unwrap_or_default();
    let names: Vec<(String, String)> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    command = Command::new("sh");
    command.env_clear().envs(names).env("PATH", path).current_dir(project.path(".")).args(["-c", &line]);
    let applied = command.output().expect("sh runs");
    assert!(applied.status.success(), "{line}: {}", text(&applied.stderr));
    // Hints name the stack as it was typed.
    project.write(&LOGS.replace("log_group.web", "log_group.other"));
    keep("a_plan_that_is_saved_says_how_to_go_on", 2, &fails(&project, &["plan", "--target", "frobnicate"]));
    project.write(LOGS);
    project.succeeds(&["destroy", "--yes"]);
}

/// What bash offers for a word.
#[test]
fn shells_complete_the_names_of_stacks() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("stacks/deep")).expect("folders");
    for name in ["web", "worker", "other"] {
        fs::write(folder.path().join(format!("stacks/{name}.toml")), "").expect("it is written");
    }
    let binary = env!("CARGO_BIN_EXE_cofferdam");
    let offered = |words: &str, below: &str| -> Vec<String> {
        let last = words.split(' ').count() - 1;
        let script = format!(
            "source <({binary} completions bash); COMP_WORDS=({words}); COMP_CWORD={last}; _cofferdam cofferdam \
             \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path().join(below)).output();
        text(&output.expect("bash runs").stdout).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(offered("cofferdam plan w", "."), ["web", "worker"]);
    assert_eq!(offered("cofferdam state list o", "stacks/deep"), ["other"]);
    assert_eq!(offered("cofferdam history web --clo", "."), ["--cloud"]);
    assert!(offered("cofferdam completions w", ".").is_empty());
    for (shell, line) in [("zsh", ":__cofferdam_stacks' \\"), ("fish", "-a \"(__cofferdam_stacks)\"")] {
        let output = Command::new(binary).args(["completions", shell]).output().expect("it runs");
        assert!(text(&output.stdout).contains(line), "{shell}");
    }
}

#[test]
fn errors_as_json() {
    let project = Project::new(Emulator::Moto, "[vpc.main]\ncidir = \"10.0.0.0/16\"\n\n[cluster]\n");
    let error = |project: &Project, arguments: &[&str]| -> Value {
        let output = project.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(!output.stderr.is_empty(), "people are told, too");
        let out = text(&output.stdout);
        serde_json::from_str::<Value>(out.lines().last().expect("a line")).expect("JSON")["error"].clone()
    };
    let told = error(&project, &["plan", "--json"]);
    let things = told["things"].as_array().expect("things").clone();
    assert_eq!(
        (things.len(), &things[1]["line"], &things[1]["file"]),
        (2, &Value::from(6), &Value::from("stack.toml"))
    );
    assert_eq!(told["message"], "2 things are wrong");
    project.write(LOGS);
    let told = error(&project, &["output", "--json"]);
    assert!(told["message"].as_str().is_some_and(|text| text.contains("nothing of this stack is applied")), "{told}");
    assert!(told["help"].as_str().is_some_and(|text| text.contains("cofferdam apply")), "{told}");
    let told = error(&project, &["apply", "--json"]);
    assert!(told["message"].as_str().is_some_and(|text| text.contains("no terminal")), "{told}");
}

#[test]
fn a_policy_is_underlined_where_it_is_wrong() {
    let policy =
        "{ Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", Action = \"logs\", Resource = \"*\" }] }";
    keep("a_policy_is_underlined_where_it_is_wrong", 1, &validated(&format!("[policy.web]\ndocument = {policy}\n")));
    let folder = tempfile::tempdir().expect("a folder");
    let stack = "name = \"demo\"\nregion = \"eu-west-2\"\n[role.web]\nservice = \"ec2.amazonaws.com\"\npolicies = [\"logs.json\"]\n";
    fs::write(folder.path().join("demo.toml"), stack).expect("it is written");
    let policy = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\n      \"Effect\": \"Alow\",\n      \"Action\": \
                  [\n        \"logs:*\",\n        \"logs\"\n      ],\n      \"Resource\": \"*\"\n    }\n  ]\n}\n";
    fs::write(folder.path().join("logs.json"), policy).expect("it is written");
    keep("a_policy_is_underlined_where_it_is_wrong", 2, &validated_in(folder.path()));
}

fn validated_in(folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    let command = command.current_dir(folder).env_clear().env("HOME", folder).args(["validate", "demo.toml"]);
    text(&command.output().expect("the binary runs").stderr)
}
