//! What a team does with a stack over time, verb by verb.

use std::collections::BTreeSet;

use cofferdam::cloud::Cloud;
use serde_json::{Value, json};

use super::{Project, text};
use crate::support::{Emulator, make, remove, unique};

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

const ROLES: &str = r#"
[role.one]
service = "ec2.amazonaws.com"

[role.two]
service = "ec2.amazonaws.com"

[instance_profile.one]
role = "one"

[log_group.web]
retention_days = 7
"#;

/// Runs a verb that must fail with exit code 1; gives its stderr.
fn fails(project: &Project, arguments: &[&str]) -> String {
    let output = project.run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{arguments:?} fails:\n{out}\n{err}");
    err
}

#[tokio::test]
async fn another_stack_reads_the_outputs() {
    let network = Project::new(
        Emulator::Moto,
        "[network.main]\ncidr = \"10.0.0.0/16\"\nsubnets = { private = [\"a\", \"b\"] }\n\n[outputs]\nvpc = \
         \"${network.main.vpc_id}\"\nsubnets = \"${network.main.private_subnet_ids}\"\n",
    );
    let name = network.name.clone();
    let service = format!(
        "name = \"web\"\nregion = \"eu-west-2\"\n[security_group.web]\nvpc = \"${{stack.{name}.vpc}}\"\n[outputs]\n\
         subnets = \"${{stack.{name}.subnets}}\"\n"
    );
    std::fs::write(network.path("web.toml"), service).expect("it is written");
    let run = |arguments: &[&str]| network.command().args(arguments).output().expect("it runs");

    let checked = run(&["validate", "web.toml", "--cloud", "aws"]);
    assert!(checked.status.success(), "what is declared is good enough: {}", text(&checked.stderr));
    let early = run(&["plan", "web.toml", "--cloud", "aws"]);
    assert_eq!(early.status.code(), Some(1), "{}", text(&early.stdout));
    assert!(text(&early.stderr).contains("not applied"), "{}", text(&early.stderr));

    network.succeeds(&["apply", "--yes"]);
    let applied = run(&["apply", "web.toml", "--cloud", "aws", "--yes"]);
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    let outputs = run(&["output", "web.toml", "--cloud", "aws", "--json"]);
    let outputs: Value = serde_json::from_slice(&outputs.stdout).expect("JSON");
    let ids = network.ids();
    assert_eq!(
        outputs,
        json!({ "subnets": [ids["network.main/subnet.private.a"], ids["network.main/subnet.private.b"]] })
    );
    let again = run(&["plan", "web.toml", "--cloud", "aws", "--detailed-exitcode"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
    assert!(run(&["destroy", "web.toml", "--cloud", "aws", "--yes"]).status.success());
    network.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn an_environment_has_names_and_a_state_of_its_own() {
    let project = Project::new(
        Emulator::Moto,
        "[vars]\ndays = 30\n\n[log_group.web]\nretention_days = \"${vars.days}\"\n\n[role.web]\nservice = \
         \"ec2.amazonaws.com\"\n\n[env.staging]\nremove = [\"role.web\"]\n\n[env.staging.vars]\ndays = 7\n",
    );
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(project.planned(&["--env", "staging"]), set(&["create log_group.web"]));
    project.succeeds(&["apply", "--yes", "--env", "staging"]);
    project.plan_is_empty("the apply of staging");
    let shown = |env: &[&str]| -> Value {
        serde_json::from_str(&project.succeeds(&[&["show", "--json"], env].concat())).expect("JSON")
    };
    let (own, staging) = (shown(&[]), shown(&["--env", "staging"]));
    let name = &project.name;
    assert_eq!(own["resources"]["log_group.web"]["id"], json!(format!("{name}-web")));
    assert_eq!(staging["resources"]["log_group.web"]["id"], json!(format!("{name}-staging-web")));
    assert_eq!(staging["resources"]["log_group.web"]["attributes"]["retention_days"], json!(7));
    assert_eq!(staging["resources"].as_object().map(|all| all.len()), Some(1));
    project.succeeds(&["destroy", "--yes", "--env", "staging"]);
    project.plan_is_empty("the destroy of staging");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn what_is_moved_is_not_made_anew() {
    let project = Project::new(Emulator::Moto, "[vpc.old]\ncidr = \"10.0.0.0/16\"\n");
    project.succeeds(&["apply", "--yes"]);
    let id = project.ids()["vpc.old"].clone();
    project.write("moved = [{ from = \"vpc.old\", to = \"vpc.new\" }]\n\n[vpc.new]\ncidr = \"10.0.0.0/16\"\n");
    assert_eq!(project.planned(&[]), set(&["update vpc.new"]), "but for the tag that names it");
    // A plan of a move can be saved and applied.
    project.succeeds(&["plan", "--out", "moved.plan"]);
    project.succeeds(&["apply", "--plan", "moved.plan"]);
    project.plan_is_empty("the move");
    assert_eq!(project.ids(), [("vpc.new".to_owned(), id)].into());
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn several_moves_are_made_one_after_the_other() {
    let roles = |names: &[&str]| -> String {
        names
            .iter()
            .map(|name| format!("[role.{name}]\nname = \"{{u}}-{name}\"\nservice = \"ec2.amazonaws.com\"\n\n"))
            .collect()
    };
    let project = Project::new(Emulator::Moto, &roles(&["web", "legacy"]));
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    // The second takes the place that the first leaves.
    let renamed = roles(&["web", "legacy"]).replace("[role.web]", "[role.api]").replace("[role.legacy]", "[role.web]");
    project.write(&format!(
        "moved = [{{ from = \"role.legacy\", to = \"role.web\" }}, {{ from = \"role.web\", to = \"role.api\" }}]\n\n{renamed}"
    ));
    let told = project.run(&["plan"]);
    let err = text(&told.stderr);
    assert!(err.contains("role.web is role.api from now on") && err.contains("role.legacy is role.web"), "{err}");
    assert_eq!(project.planned(&[]), set(&["update role.api", "update role.web"]), "but for the tags that name them");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the moves");
    let after = project.ids();
    assert_eq!((&after["role.api"], &after["role.web"]), (&before["role.web"], &before["role.legacy"]));
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_construct_moves_as_a_whole() {
    let network = "[network.main]\ncidr = \"10.0.0.0/16\"\nendpoints = []\nsubnets = { private = [\"a\"] }\n";
    let project = Project::new(Emulator::Moto, network);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let told = fails(&project, &["state mv", "network.main", "network.core/network.inner"]);
    assert!(told.contains("is part of a construct"), "{told}");
    project.write(&format!(
        "moved = [{{ from = \"network.main\", to = \"network.core\" }}]\n\n{}",
        network.replace("main", "core")
    ));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the move");
    let renamed: std::collections::BTreeMap<_, _> =
        before.into_iter().map(|(address, id)| (address.replace("network.main", "network.core"), id)).collect();
    assert_eq!(project.ids(), renamed);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn what_is_wrong_in_a_stack_does_not_keep_it_from_being_destroyed() {
    let project = Project::new(
        Emulator::Moto,
        "[vars]\ndays = 7\n\n[log_group.web]\nretention_days = \"${vars.days}\"\n\n[outputs]\nname = \"${log_group.web.name}\"\n",
    );
    project.succeeds(&["apply", "--yes"]);
    let output = format!("{}-web\n", project.name);
    project.write(
        "[vars]\ndays = { type = \"integer\" }\n\n[log_group.web]\nretention_days = \"${vars.days}\"\n\n[rloe.x]\n",
    );
    assert!(fails(&project, &["plan"]).contains("has no value"));
    assert_eq!(project.succeeds(&["output", "name"]), output);
    assert_eq!(project.succeeds(&["state list"]), format!("log_group.web  {output}"));
    let state = project.state();
    // Nor does a stack file that is gone.
    std::fs::rename(project.path("stack.toml"), project.path(&format!("{}.old", project.name)))
        .expect("it is moved away");
    let run =
        |arguments: &[&str]| project.command().args(arguments).args(["--cloud", "aws"]).output().expect("it runs");
    assert_eq!(text(&run(&["output", &project.name, "name"]).stdout), output);
    let destroyed = run(&["destroy", &project.name, "--yes"]);
    assert!(text(&destroyed.stdout).contains("Done: 1 deleted"), "{}", text(&destroyed.stderr));
    project.nothing_is_left_of(&state).await;
}

#[tokio::test]
async fn outputs_of_another_region_are_not_taken_for_this_ones() {
    let network = Project::new(Emulator::Moto, "[log_group.web]\n\n[outputs]\nname = \"${log_group.web.name}\"\n");
    network.succeeds(&["apply", "--yes"]);
    let name = &network.name;
    let service =
        format!("name = \"web\"\nregion = \"us-east-1\"\n[outputs]\nlog_group = \"${{stack.{name}.name}}\"\n");
    std::fs::write(network.path("web.toml"), service).expect("it is written");
    let told = network.command().args(["validate", "web.toml", "--cloud", "aws"]).output().expect("it runs");
    let err = text(&told.stderr);
    assert!(err.contains("it was applied elsewhere") && err.contains("eu-west-2"), "{err}");
    network.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn what_belongs_to_another_is_not_imported() {
    let cloud = Emulator::Moto.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.7.0.0/16" })).await;
    let project = Project::new(Emulator::Moto, &format!("[vpc.main]\nexisting = \"{}\"\n", vpc.id));
    assert!(fails(&project, &["import", "vpc.main", &vpc.id]).contains("it belongs to somebody else"));
    project.write("[vpc.main]\ncidr = \"10.7.0.0/16\"\n\n[vpc.twin]\ncidr = \"10.7.0.0/16\"\n");
    project.succeeds(&["import", "vpc.main", &vpc.id]);
    let told = fails(&project, &["import", "vpc.twin", &vpc.id]);
    assert!(told.contains("is in the state already, as `vpc.main`"), "{told}");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_resource_moves_into_a_construct() {
    let project = Project::new(
        Emulator::Moto,
        "[vpc.main]\ncidr = \"10.0.0.0/16\"\ndns_hostnames = true\n\n[subnet.a]\nvpc = \"main\"\ncidr = \
         \"10.0.0.0/24\"\nzone = \"a\"\n",
    );
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    project.write(
        "moved = [\n  { from = \"vpc.main\", to = \"network.main/vpc.main\" },\n  { from = \"subnet.a\", to = \
         \"network.main/subnet.private.a\" },\n]\n\n[network.main]\ncidr = \"10.0.0.0/16\"\nendpoints = []\nsubnets = \
         { private = { a = \"10.0.0.0/24\" } }\n",
    );
    let planned = project.planned(&[]);
    assert!(!planned.iter().any(|one| one.starts_with("delete") || one.starts_with("replace")), "{planned:?}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the move");
    let after = project.ids();
    assert_eq!(after["network.main/vpc.main"], before["vpc.main"]);
    assert_eq!(after["network.main/subnet.private.a"], before["subnet.a"]);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn what_exists_is_adopted() {
    let cloud = Emulator::Moto.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.7.0.0/16" })).await;
    let group = unique("/web");
    let log = make(&cloud, "log_group", json!({ "name": group, "retention_days": 7 })).await;
    let project = Project::new(
        Emulator::Moto,
        &format!(
            "[vpc.main]\ncidr = \"10.7.0.0/16\"\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.7.0.0/24\"\nzone = \
             \"a\"\n\n[log_group.web]\nname = \"{group}\"\nretention_days = 7\n"
        ),
    );
    let err = fails(&project, &["import", "vpc.other", &vpc.id]);
    assert!(err.contains("vpc.other"), "{err}");
    let err = fails(&project, &["import", "vpc.main", "vpc-00000000000000000"]);
    assert!(err.contains("vpc-00000000000000000"), "{err}");
    project.succeeds(&["import", "vpc.main", &vpc.id]);
    let err = fails(&project, &["import", "vpc.main", &vpc.id]);
    assert!(err.contains("already"), "{err}");
    project.succeeds(&["import", "log_group.web", &log.id]);

    let planned = project.planned(&[]);
    assert!(planned.contains("create subnet.a"), "{planned:?}");
    assert!(!planned.iter().any(|one| one.starts_with("replace")), "{planned:?}");
    let plan = project.plan();
    for action in plan["actions"].as_array().expect("actions").iter().filter(|one| one["action"] == "update") {
        let paths = action["changes"].as_array().expect("changes").iter().map(|one| one["path"].as_str().unwrap_or(""));
        assert!(paths.clone().all(|path| path.starts_with("tags.")), "only tags change: {action:#}");
    }
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the adoption");
    assert_eq!(project.ids()["vpc.main"], vpc.id);
    project.succeeds(&["destroy", "--yes"]);
    cloud.forget();
    assert_eq!(cloud.read("vpc", std::slice::from_ref(&vpc)).await.expect("read"), [None], "it is the stack's now");
}

#[tokio::test]
async fn the_state_is_moved_and_forgotten_by_hand() {
    let cloud = Emulator::Moto.cloud().await;
    let project = Project::new(Emulator::Moto, ROLES);
    project.succeeds(&["apply", "--yes"]);
    let id = project.ids()["log_group.web"].clone();

    let err = fails(&project, &["state mv", "log_group.wbe", "log_group.api"]);
    assert!(err.contains("log_group.web"), "it says what was meant: {err}");
    let err = fails(&project, &["state mv", "role.one", "role.two"]);
    assert!(err.contains("role.two"), "{err}");
    project.succeeds(&["state mv", "log_group.web", "log_group.api"]);
    let renamed = ROLES.replace("log_group.web", "log_group.api");
    project.write(&renamed.replace("retention_days = 7", "name = \"{u}-web\"\nretention_days = 7"));
    assert_eq!(project.planned(&[]), set(&["update log_group.api"]), "but for the tag that names it");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the move");
    assert_eq!(project.ids()["log_group.api"], id);

    let known = {
        let entry = project.state().resources["role.two"].clone();
        cofferdam::cloud::Known {
            address: cofferdam::graph::Address::new("role", "two"),
            id: entry.id,
            attributes: entry.attributes,
            outputs: entry.outputs,
        }
    };
    let told = project.succeeds(&["state rm", "role.two"]);
    assert!(told.contains("role.two") && told.contains("nothing was changed"), "{told}");
    assert!(!project.succeeds(&["state list"]).contains("role.two"));
    let seen = cloud.read("role", std::slice::from_ref(&known)).await.expect("read");
    assert!(seen[0].is_some(), "it stays in the cloud");
    assert_eq!(project.planned(&[]), set(&["create role.two"]));
    // What the stack made and its state lost is taken over again: the name and the tags say that it is ours.
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("taking it over again");
    project.succeeds(&["destroy", "--yes"]);
    cloud.forget();
    assert_eq!(cloud.read("role", &[known]).await.expect("read"), [None]);
}

#[tokio::test]
async fn only_what_is_targeted_is_touched() {
    let project = Project::new(Emulator::Moto, ROLES);
    assert_eq!(
        project.planned(&["--target", "instance_profile.one"]),
        set(&["create instance_profile.one", "create role.one"]),
        "with what it depends on"
    );
    project.succeeds(&["apply", "--yes", "--target", "instance_profile.one"]);
    assert_eq!(project.planned(&[]), set(&["create log_group.web", "create role.two"]));
    project.succeeds(&["apply", "--yes"]);
    let err = fails(&project, &["plan", "--target", "role.tow"]);
    assert!(err.contains("role.two"), "it says what was meant: {err}");
    project.succeeds(&["destroy", "--yes", "--target", "role.one"]);
    assert_eq!(
        project.planned(&[]),
        set(&["create instance_profile.one", "create role.one"]),
        "with what depends on it"
    );
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty());
}

#[tokio::test]
async fn what_is_asked_for_is_made_anew() {
    let stack = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \
                 \"a\"\n\n[subnet.b]\nvpc = \"main\"\ncidr = \"10.0.1.0/24\"\nzone = \"b\"\n";
    let project = Project::new(Emulator::Moto, stack);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    assert_eq!(project.planned(&["--replace", "subnet.a"]), set(&["replace subnet.a"]));
    project.succeeds(&["apply", "--yes", "--replace", "subnet.a"]);
    project.plan_is_empty("the replacement");
    let after = project.ids();
    assert_ne!(before["subnet.a"], after["subnet.a"]);
    assert_eq!((&before["subnet.b"], &before["vpc.main"]), (&after["subnet.b"], &after["vpc.main"]));
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_nat_gateway_is_made_anew_with_the_address_it_had() {
    let project = Project::new(
        Emulator::Moto,
        "[network.main]\ncidr = \"10.0.0.0/16\"\nnat = \"single\"\nendpoints = []\n\n[network.main.subnets]\nprivate = \
         [\"a\"]\npublic = [\"a\"]\n",
    );
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let gateway = before.keys().find(|address| address.contains("/nat_gateway.")).expect("there is one").clone();
    project.succeeds(&["apply", "--yes", "--replace", &gateway]);
    project.plan_is_empty("the replacement");
    let after = project.ids();
    assert_ne!(before[&gateway], after[&gateway]);
    let changed = before.keys().filter(|address| before[*address] != after[*address]).count();
    assert_eq!(changed, 1, "the elastic IP and all else stay: {before:#?}\n{after:#?}");
    project.succeeds(&["destroy", "--yes"]);
}

/// What stands at another address under the same name is the same thing: it is never made and then deleted.
#[tokio::test]
async fn one_name_at_two_addresses_is_refused() {
    let project = Project::new(Emulator::Moto, "[role.web]\nname = \"{u}-api\"\nservice = \"ec2.amazonaws.com\"\n");
    project.succeeds(&["apply", "--yes"]);
    let renamed = "[role.api]\nname = \"{u}-api\"\nservice = \"ec2.amazonaws.com\"\n";
    project.write(renamed);
    let told = fails(&project, &["apply", "--yes"]).replace(&project.name, "demo");
    insta::assert_snapshot!(told, @r#"
    error: role.api would be what role.web in the state is already: the IAM role named `demo-api`
      help: if it only has another address now, say so at the top of the stack: moved = [{ from = "role.web", to = "role.api" }] (or with `cofferdam state mv stack.toml --cloud aws role.web role.api`); otherwise give it another name
    "#);
    project.write(&format!("moved = [{{ from = \"role.web\", to = \"role.api\" }}]\n{renamed}"));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the move");
    // A move to an address that the stack does not have.
    project.succeeds(&["state mv", "role.api", "role.wbe"]);
    project.write(renamed);
    let told = fails(&project, &["plan"]);
    assert!(told.contains("cofferdam state mv stack.toml --cloud aws role.wbe role.api"), "{told}");
    project.succeeds(&["state mv", "role.wbe", "role.api"]);
    project.plan_is_empty("moving it back");
    project.succeeds(&["destroy", "--yes"]);
}

/// Names that are made for the user follow the address of the first apply.
#[tokio::test]
async fn what_is_moved_keeps_the_name_that_was_made_for_it() {
    let stack = "[log_group.web]\n\n[role.web]\nservice = \"ec2.amazonaws.com\"\n\n[instance_profile.web]\nrole = \
                 \"web\"\n\n[cluster.web]\n\n[network.main]\ncidr = \"10.0.0.0/16\"\nendpoints = []\nsubnets = { private = \
                 [\"a\"], public = [\"a\"] }\n\n[capacity.web]\ncluster = \"web\"\ninstance_type = \"t3.small\"\nnetwork = \
                 \"main\"\nsize = { min = 0, max = 1 }\n";
    let project = Project::new(Emulator::Together, stack);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let moves: Vec<String> = ["log_group", "role", "instance_profile", "cluster", "capacity"]
        .iter()
        .map(|kind| format!("{{ from = \"{kind}.web\", to = \"{kind}.api\" }}"))
        .collect();
    let renamed = stack.replace(".web]", ".api]").replace("role = \"web\"", "role = \"api\"");
    let renamed = renamed.replace("cluster = \"web\"", "cluster = \"api\"");
    project.write(&format!("moved = [{}]\n\n{renamed}", moves.join(", ")));
    let planned = project.planned(&[]);
    assert!(planned.iter().all(|one| one.starts_with("update")), "{planned:#?}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the moves");
    let renamed: std::collections::BTreeMap<String, String> =
        before.into_iter().map(|(address, id)| (address.replace(".web", ".api"), id)).collect();
    assert_eq!(project.ids(), renamed);
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_saved_plan_is_applied_as_it_was_shown_or_not_at_all() {
    let project = Project::new(Emulator::Moto, ROLES);
    project.succeeds(&["plan", "--out", "first.plan"]);
    let shown = project.succeeds(&["show", "--plan", "first.plan"]);
    assert!(shown.contains("4 to create"), "{shown}");
    // What was looked at is approved.
    project.succeeds(&["apply", "--plan", "first.plan"]);
    project.plan_is_empty("applying the saved plan");
    let err = fails(&project, &["apply", "--plan", "first.plan"]);
    assert!(err.contains("does not fit") && err.contains("plan again"), "the state moved: {err}");

    project.write(&ROLES.replace("retention_days = 7", "retention_days = 30"));
    project.succeeds(&["plan", "--out", "second.plan"]);
    project.write(&ROLES.replace("retention_days = 7", "retention_days = 90"));
    let err = fails(&project, &["apply", "--plan", "second.plan"]);
    assert!(err.contains("the stack has changed"), "{err}");
    project.write(&ROLES.replace("retention_days = 7", "retention_days = 30"));
    project.succeeds(&["apply", "--plan", "second.plan"]);
    project.plan_is_empty("applying the second plan");

    let whole = std::fs::read(project.path("second.plan")).expect("a plan");
    std::fs::write(project.path("cut.plan"), &whole[..whole.len() / 2]).expect("written");
    let err = fails(&project, &["apply", "--plan", "cut.plan"]);
    assert!(err.contains("no plan file"), "{err}");

    project.succeeds(&["plan", "--destroy", "--out", "end.plan"]);
    project.succeeds(&["apply", "--plan", "end.plan", "--yes"]);
    assert!(project.state().is_empty());
}

#[tokio::test]
async fn without_a_refresh_the_state_is_believed() {
    let project = Project::new(Emulator::Moto, ROLES);
    project.succeeds(&["apply", "--yes"]);
    project.change_behind("log_group.web", "retention_days", json!(90)).await;
    assert_eq!(project.planned(&["--refresh=false"]), set(&[]));
    assert_eq!(project.planned(&[]), set(&["update log_group.web"]));
    project.succeeds(&["destroy", "--yes", "--refresh=false"]);
    assert!(project.state().is_empty());
}

#[tokio::test]
async fn detailed_exit_codes() {
    let project = Project::new(Emulator::Moto, ROLES);
    let code = |arguments: &[&str]| project.run(arguments).status.code();
    assert_eq!(code(&["plan"]), Some(0));
    assert_eq!(code(&["plan", "--detailed-exitcode"]), Some(2));
    project.succeeds(&["apply", "--yes"]);
    assert_eq!(code(&["plan", "--detailed-exitcode"]), Some(0));
    assert_eq!(code(&["drift", "--detailed-exitcode"]), Some(0));
    project.change_behind("log_group.web", "retention_days", json!(90)).await;
    assert_eq!(code(&["drift"]), Some(0));
    assert_eq!(code(&["drift", "--detailed-exitcode"]), Some(2));
    project.write("[role.one]\nservce = \"ec2.amazonaws.com\"\n");
    assert_eq!(code(&["plan", "--detailed-exitcode"]), Some(1));
    project.write(ROLES);
    project.succeeds(&["destroy", "--yes"]);
    assert_eq!(code(&["plan", "--destroy", "--detailed-exitcode"]), Some(0));
}

#[tokio::test]
async fn what_is_protected_stays() {
    let protected = ROLES.replace("[log_group.web]\n", "[log_group.web]\nprotect = true\n");
    let project = Project::new(Emulator::Moto, &protected);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    let err = fails(&project, &["destroy", "--yes"]);
    assert!(err.contains("log_group.web is protected") && err.contains("protect = false"), "{err}");
    // The protection outlives the block: it is in the state.
    project.write(&ROLES.replace("[log_group.web]\nretention_days = 7\n", ""));
    let err = fails(&project, &["apply", "--yes"]);
    assert!(err.contains("log_group.web is protected"), "{err}");
    project.write(&protected.replace("protect = true", "protect = true\nname = \"another\""));
    let err = fails(&project, &["apply", "--yes"]);
    assert!(err.contains("would replace it"), "{err}");
    assert_eq!(project.ids(), before, "nothing was changed");
    project.write(&protected.replace("protect = true", "protect = false"));
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty());
}

/// A stack and what it made survive that its blocks are taken out and put back.
#[tokio::test]
async fn blocks_come_and_go() {
    let project = Project::new(Emulator::Moto, ROLES);
    project.succeeds(&["apply", "--yes"]);
    project.write(&ROLES.replace("[instance_profile.one]\nrole = \"one\"\n", ""));
    assert_eq!(project.planned(&[]), set(&["delete instance_profile.one"]));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("taking a block out");
    project.write("");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("taking all blocks out");
    assert!(project.state().is_empty());
}

/// A resource that somebody deletes is made again, with what hung on it.
#[tokio::test]
async fn what_somebody_deleted_is_made_again() {
    let cloud = Emulator::Moto.cloud().await;
    let project = Project::new(Emulator::Moto, ROLES);
    project.succeeds(&["apply", "--yes"]);
    let entry = project.state().resources["role.one"].clone();
    let known = cofferdam::cloud::Known {
        address: cofferdam::graph::Address::new("role", "one"),
        id: entry.id,
        attributes: entry.attributes,
        outputs: entry.outputs,
    };
    remove(&cloud, "role", &known).await;
    let told = project.succeeds(&["drift"]);
    assert!(told.contains("role.one") && told.contains("is gone"), "{told}");
    assert_eq!(project.planned(&[]), set(&["create role.one", "update instance_profile.one"]));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("making it again");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn a_second_region_does_not_take_over_what_the_account_has_once() {
    let blocks = "\n[role.web]\nservice = \"ec2.amazonaws.com\"\n\n[instance_profile.web]\nrole = \"web\"\n\n[policy.pull]\n\
        document = { Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", Action = \"ecr:BatchGetImage\", Resource = \"*\" }] }\n";
    for emulator in [Emulator::Moto, Emulator::Ministack] {
        let project = Project::new(emulator, blocks);
        let name = project.name.clone();
        let second = format!("name = \"{name}\"\nregion = \"eu-west-1\"\n{blocks}");
        std::fs::write(project.path("second.toml"), second).expect("it is written");
        let run = |arguments: &[&str]| project.command().args(arguments).output().expect("it runs");
        project.succeeds(&["apply", "--yes"]);
        let refused = run(&["apply", "second.toml", "--cloud", "aws", "--yes", "--new-account"]);
        assert_eq!(refused.status.code(), Some(1));
        let told = text(&refused.stdout).replace(&name, "NAME");
        for kind in ["role", "policy"] {
            let help = format!(
                "this stack has it in eu-west-2, and the account has it once for all regions: set a `name` of its own on {kind}."
            );
            assert!(told.contains(&help), "{told}");
        }
        let destroyed = run(&["destroy", "second.toml", "--cloud", "aws", "--yes"]);
        assert!(destroyed.status.success(), "{}", text(&destroyed.stderr));
        project.plan_is_empty("the other region came and went");
        project.succeeds(&["destroy", "--yes"]);
    }
}
