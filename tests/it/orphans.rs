//! What carries a stack's tags and is in no state: listed, adopted, deleted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

const STACK: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[role.web]
service = "ec2.amazonaws.com"
"#;

fn applied() -> Project {
    let project = Project::new(Emulator::Moto, STACK);
    project.succeeds(&["apply", "--yes"]);
    project
}

fn listed(project: &Project) -> BTreeSet<String> {
    let told: Value = serde_json::from_str(&project.succeeds(&["orphans", "--json"])).expect("JSON");
    let all = told["orphans"].as_array().expect("a list");
    all.iter().map(|one| one["address"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_the_state_forgot_is_listed_and_adopted() {
    let project = applied();
    assert_eq!(listed(&project), BTreeSet::new());
    let before = project.state();
    insta::assert_snapshot!(project.succeeds(&["state rm", "subnet.a", "role.web"]).replace(&before.resources["subnet.a"].id, "ID").replace(&project.name, "NAME"), @r"
    subnet.a  ID
    role.web  NAME-web
    2 resources are forgotten; in the cloud nothing was changed.
    What the stack declares of it, the next apply would make once more.
    `cofferdam orphans --adopt stack.toml --cloud aws` takes back what carries the stack's tags, `cofferdam import stack.toml --cloud aws ADDRESS ID` anything else.
    ");
    assert_eq!(listed(&project), BTreeSet::from(["role.web".to_owned(), "subnet.a".to_owned()]));
    project.succeeds(&["orphans", "--yes", "--adopt"]);
    assert_eq!(project.state().resources, before.resources, "they are what they were");
    project.plan_is_empty("adopting");
    assert_eq!(listed(&project), BTreeSet::new());
}

#[test]
fn what_the_stack_does_not_declare_is_adopted_only_by_name() {
    let project = applied();
    project.succeeds(&["state rm", "role.web"]);
    project.write(&STACK.replace("[role.web]\nservice = \"ec2.amazonaws.com\"\n", ""));
    let told = project.run(&["orphans", "--yes", "--adopt"]);
    assert_eq!(told.status.code(), Some(1), "{}", text(&told.stdout));
    assert!(text(&told.stdout).contains("the stack does not declare it"), "{}", text(&told.stdout));
    assert_eq!(listed(&project), BTreeSet::from(["role.web".to_owned()]));
    project.succeeds(&["orphans", "--yes", "--adopt", "role.web"]);
    assert_eq!(project.planned(&[]), BTreeSet::from(["delete role.web".to_owned()]));
}

#[tokio::test]
async fn orphans_are_deleted_dependents_first() {
    let project = applied();
    let state = project.state();
    project.succeeds(&["state rm", "vpc.main", "subnet.a"]);
    let told = project.succeeds(&["orphans", "--yes", "--delete"]);
    assert!(told.contains("2 deleted"), "{told}");
    let left: Vec<String> = project.ids().into_keys().collect();
    assert_eq!(left, ["role.web"], "what the state knows is left alone");
    let gone = cofferdam::state::State {
        resources: state.resources.into_iter().filter(|(address, _)| address.as_str() != "role.web").collect(),
        ..state
    };
    project.nothing_is_left_of(&gone).await;
}

#[tokio::test]
async fn a_second_one_at_an_address_is_deleted_and_the_first_stays() {
    let project = applied();
    let vpc = project.ids()["vpc.main"].clone();
    let cloud = Emulator::Moto.cloud().await;
    let made = cloud.aws().ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.expect("made");
    let second = made.vpc.and_then(|vpc| vpc.vpc_id).expect("an id");
    let tag = |key: &str, value: &str| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
    let tags = vec![tag("cofferdam:stack", &project.name), tag("cofferdam:address", "vpc.main")];
    cloud.aws().ec2.create_tags().resources(&second).set_tags(Some(tags)).send().await.expect("tagged");
    assert!(project.succeeds(&["orphans"]).contains("another one stands at its address"));
    let refused = project.run(&["orphans", "--yes", "--adopt"]);
    assert!(text(&refused.stdout).contains("another one stands there"), "{}", text(&refused.stdout));
    project.succeeds(&["orphans", "--yes", "--delete", &second]);
    assert_eq!(project.ids()["vpc.main"], vpc);
    project.plan_is_empty("deleting the other");
    assert_eq!(listed(&project), BTreeSet::new());
}

#[test]
fn what_is_no_orphan_is_not_touched() {
    let project = applied();
    let refused = project.run(&["orphans", "--yes", "--delete", "vpc.main"]);
    assert_eq!(refused.status.code(), Some(1));
    insta::assert_snapshot!(text(&refused.stderr), @r"
    error: `vpc.main` is no orphan of this stack
      help: `cofferdam orphans stack.toml --cloud aws` lists those that there are
    ");
}

/// A state that was put back from a copy knows what was made anew since by an id that is gone.
#[test]
fn what_took_the_place_of_something_gone_is_adopted_in_its_place() {
    let project =
        Project::new(Emulator::Moto, "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[security_group.web]\nvpc = \"main\"\n");
    project.succeeds(&["apply", "--yes"]);
    let folder = std::fs::read_dir(project.path("state").join(&project.name)).expect("a state");
    let folder = folder.map(|entry| entry.expect("readable").path()).next().expect("one state");
    let copy = std::fs::read(folder.join("snapshot.json")).expect("a snapshot");
    project.succeeds(&["apply", "--yes", "--replace", "security_group.web"]);
    let now = project.ids();
    std::fs::write(folder.join("snapshot.json"), copy).expect("it is put back");
    assert_ne!(project.ids(), now);
    let refused = project.run(&["apply", "--yes"]);
    let told = text(&refused.stdout) + &text(&refused.stderr);
    assert!(told.contains("cofferdam orphans stack.toml --cloud aws --adopt"), "{told}");
    project.succeeds(&["orphans", "--yes", "--adopt"]);
    assert_eq!(project.ids(), now);
    project.plan_is_empty("adopting");
    project.succeeds(&["destroy", "--yes"]);
}
