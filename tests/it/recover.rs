//! A state that was lost or damaged is made again from the cloud alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_sdk_ssm::types::ParameterType;
use cofferdam::kinds::Registry;
use serde_json::Value;

use crate::lifecycle::{Project, text};
use crate::support::{Emulator, unique};

/// One of every kind. A new kind is added here, or `every_kind_is_found_again` fails.
const EVERYTHING: &str = include_str!("recover/everything.toml");

impl Project {
    /// Where the state lies.
    fn store(&self) -> PathBuf {
        let folder = self.path("state").join(&self.name);
        std::fs::read_dir(folder).expect("a state").next().expect("one state").expect("readable").path()
    }

    /// Loses the state, whole, and makes it again.
    pub fn loses_its_state_and_recovers(&self) {
        let before = self.state();
        std::fs::remove_dir_all(self.path("state")).expect("the state is lost");
        let told = self.succeeds(&["recover", "--yes"]);
        let after = self.state();
        let ids = |state: &cofferdam::state::State| -> BTreeMap<String, String> {
            state.resources.iter().map(|(address, entry)| (address.to_string(), entry.id.clone())).collect()
        };
        assert_eq!(ids(&after), ids(&before), "everything is found again under its id:\n{told}");
        for (address, entry) in &after.resources {
            let had = &before.resources[address];
            assert_eq!(entry.depends_on, had.depends_on, "{address} hangs on what it hung on");
            let outputs: Vec<&String> = had.outputs.keys().filter(|name| !entry.outputs.contains_key(*name)).collect();
            assert!(outputs.is_empty(), "{address} has its outputs: {outputs:?}");
        }
        assert_eq!(after.outputs, before.outputs);
        self.plan_is_empty(&format!("recovering:\n{told}"));
    }
}

#[tokio::test]
async fn every_kind_is_found_again() {
    let parameter = unique("/images/ecs");
    let cloud = Emulator::Together.cloud().await;
    let call = cloud.aws().ssm.put_parameter().name(&parameter).value("ami-12c6146b");
    call.r#type(ParameterType::String).send().await.expect("the parameter is put");
    let project = Project::new(Emulator::Together, &EVERYTHING.replace("PARAMETER", &parameter));
    std::fs::write(project.path("login.txt"), "correct horse").expect("the secret is written");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    let registry = Registry::new();
    let all: BTreeSet<&str> = registry.specs().into_iter().map(|spec| spec.name).collect();
    let state = project.state();
    let made: BTreeSet<&str> = state.resources.keys().map(|address| address.kind()).collect();
    assert_eq!(made, all, "tests/it/recover/everything.toml holds one of every kind");
    project.loses_its_state_and_recovers();
    project.succeeds(&["destroy", "--yes"]);
    project.nothing_is_left_of(&state).await;
}

/// Enough to lose.
const SMALL: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[security_group.web]
vpc = "main"
"#;

fn small() -> Project {
    let project = Project::new(Emulator::Moto, SMALL);
    project.succeeds(&["apply", "--yes"]);
    project
}

#[test]
fn a_lost_state_is_not_taken_for_none() {
    let project = Project::new(Emulator::Moto, &format!("{SMALL}\n[role.web]\nservice = \"ec2.amazonaws.com\"\n"));
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    let told = [vec!["plan"], vec!["apply", "--yes"], vec!["destroy", "--yes"], vec!["drift"]].map(|arguments| {
        let output = project.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        text(&output.stderr).replace(&project.name, "NAME")
    });
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    insta::assert_snapshot!(told[0], @r"
    error: there is no state in state/NAME/aws-123456789012-eu-west-2, and 4 resources bear the tags of this stack in account 123456789012 in eu-west-2
      help: `cofferdam recover stack.toml --cloud aws` makes the state again from what is there; where it is somebody else's, give the stack another name
    ");
    let orphans: Value = serde_json::from_str(&project.succeeds(&["orphans", "--json"])).expect("JSON");
    assert_eq!(orphans["orphans"].as_array().map(Vec::len), Some(4), "the same is told everywhere: {orphans:#}");
    let told = project.succeeds(&["recover", "--yes"]);
    assert!(told.contains("\n4 found (4 by tags).\n"), "{told}");
    assert_eq!(project.ids(), before);
    project.plan_is_empty("recovering");
    project.succeeds(&["destroy", "--yes"]);
    // Tags that outlived what bore them are no reason.
    std::fs::remove_dir_all(project.path("state")).expect("it is lost once more");
    project.succeeds(&["plan"]);
}

#[test]
fn a_damaged_state_is_set_aside_and_made_again() {
    let project = small();
    let store = project.store();
    let before = project.ids();
    let mut bytes = std::fs::read(store.join("snapshot.json")).expect("a snapshot");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(store.join("snapshot.json"), &bytes).expect("it is damaged");
    let refused = project.run(&["plan"]);
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("cofferdam recover"), "{told}");
    assert_eq!(std::fs::read(store.join("snapshot.json")).expect("still there"), bytes, "nothing was overwritten");

    project.succeeds(&["recover", "--yes"]);
    assert_eq!(project.ids(), before);
    project.plan_is_empty("recovering");
    let aside: Vec<_> = std::fs::read_dir(store.join("set-aside")).expect("set aside").flatten().collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(std::fs::read(aside[0].path().join("snapshot.json")).expect("kept"), bytes, "the old state is kept");
}

#[test]
fn a_damaged_journal_is_set_aside_too() {
    let project = small();
    let store = project.store();
    // Neither says any more what was there.
    let bad = "0000000a ffffffff {\"a\":true}\n".repeat(2);
    let good = std::fs::read(store.join("snapshot.json")).expect("a snapshot");
    std::fs::write(store.join("journal.jsonl"), bad).expect("written");
    std::fs::remove_file(store.join("snapshot.json")).expect("the snapshot is lost");
    std::fs::write(store.join("snapshot.json"), &good[..good.len() / 2]).expect("and half of it comes back");
    project.succeeds(&["recover", "--yes"]);
    project.plan_is_empty("recovering");
}

#[test]
fn a_whole_state_is_not_made_again_by_mistake() {
    let project = small();
    let before = project.state();
    let refused = project.run(&["recover", "--yes"]);
    insta::assert_snapshot!(text(&refused.stderr), @r"
    error: the state is whole, and holds 3 resources: there is nothing to recover
      help: `cofferdam orphans stack.toml --cloud aws` lists what is in the cloud and not in it; --anew sets it aside nevertheless
    ");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(project.state(), before);
    project.succeeds(&["recover", "--yes", "--anew"]);
    let after = project.state();
    assert_eq!(after.resources, before.resources);
    assert_ne!(after.lineage, before.lineage, "plans of the old state do not fit");
    assert!(after.serial > before.serial);
}

#[test]
fn what_the_stack_no_longer_says_is_found_by_its_tags_and_deleted() {
    let project = small();
    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    project.write("[vpc.main]\ncidr = \"10.0.0.0/16\"\n");
    let told = project.succeeds(&["recover", "--yes"]);
    assert!(told.contains("2 resources are in the cloud and not in the stack"), "{told}");
    let state = project.state();
    let on: Vec<String> = state.resources["subnet.a"].depends_on.iter().map(ToString::to_string).collect();
    assert_eq!(on, ["vpc.main"], "what it hangs on is told by what it names");
    assert_eq!(
        project.planned(&[]),
        BTreeSet::from(["delete security_group.web".to_owned(), "delete subnet.a".to_owned()])
    );
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the deletion");
}

#[tokio::test]
async fn two_that_claim_one_address_are_reported_and_never_guessed() {
    let project = small();
    let first = project.ids()["security_group.web"].clone();
    let cloud = Emulator::Moto.cloud().await;
    let vpc = project.ids()["vpc.main"].clone();
    let call = cloud.aws().ec2.create_security_group().group_name(unique("other")).description("-").vpc_id(vpc);
    let second = call.send().await.expect("made").group_id.expect("an id");
    let tag = |key: &str, value: &str| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
    let tags = [tag("cofferdam:stack", &project.name), tag("cofferdam:address", "security_group.web")];
    let call = cloud.aws().ec2.create_tags().resources(&second).set_tags(Some(tags.to_vec()));
    call.send().await.expect("tagged");

    std::fs::remove_dir_all(project.path("state")).expect("the state is lost");
    let output = project.run(&["recover", "--yes", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let claimants: BTreeSet<&str> = BTreeSet::from([first.as_str(), second.as_str()]);
    let disputed = told["disputed"]["security_group.web"].as_array().expect("disputed");
    assert_eq!(disputed.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), claimants, "{told:#}");
    assert_eq!(output.status.code(), Some(1), "who runs it in a script is told");
    assert!(!project.ids().contains_key("security_group.web"));
    project.succeeds(&["import", "security_group.web", &first]);
    assert_eq!(project.ids()["security_group.web"], first);
}

#[test]
fn environments_are_told_apart() {
    let stack = format!("[env.staging.vpc.main]\ncidr = \"10.0.0.0/16\"\n{SMALL}");
    let project = Project::new(Emulator::Moto, &stack);
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    project.succeeds(&["apply", "--yes", "--env", "staging"]);
    std::fs::remove_dir_all(project.path("state")).expect("both states are lost");
    project.succeeds(&["recover", "--yes"]);
    assert_eq!(project.ids(), before, "nothing of the other environment is taken");
    project.succeeds(&["recover", "--yes", "--env", "staging"]);
    let output = project.run(&["plan", "--env", "staging", "--detailed-exitcode"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn what_was_never_there_is_not_recovered() {
    let project = Project::new(Emulator::Moto, SMALL);
    let output = project.run(&["recover", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @r"
    error: nothing of this stack was found; no state is written
      help: check account, region and environment; where nothing exists, `cofferdam apply stack.toml --cloud aws` begins anew
    ");
    assert!(!project.path("state").join(&project.name).join("snapshot.json").exists());
}
