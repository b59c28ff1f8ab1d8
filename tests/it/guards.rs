//! Guards: what is refused because it is most likely a mistake, and how it is lifted.

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

const PROTECTED: &str = r#"
[vpc.main]
cidr    = "10.0.0.0/16"
protect = true
"#;

fn refused(project: &Project, arguments: &[&str]) -> String {
    let output = project.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} is refused: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn protection_outlives_its_block() {
    let project = Project::new(Emulator::Moto, PROTECTED);
    project.succeeds(&["apply", "--yes"]);
    insta::assert_snapshot!(refused(&project, &["destroy", "--yes"]), @r"
    error: vpc.main is protected, and this would delete it
      help: if it shall really go, set protect = false on it (in its block, put back if need be) and apply that first
    ");
    project.write(&PROTECTED.replace("10.0.0.0", "10.1.0.0"));
    insta::assert_snapshot!(refused(&project, &["apply", "--yes"]), @r"
    error: vpc.main is protected, and this would replace it
      help: if it shall really go, set protect = false on it (in its block, put back if need be) and apply that first
    ");
    // The block is gone, and so is the word; the state still has it.
    project.write("");
    let told = refused(&project, &["apply", "--yes"]);
    assert!(told.contains("vpc.main is protected, and this would delete it"), "{told}");
    // Lifting it takes the block, without the word: one change, seen in a plan.
    project.write(&PROTECTED.replace("protect = true", "protect = false"));
    let told = project.succeeds(&["apply", "--yes"]);
    assert!(told.contains("it is protected no longer"), "{told}");
    project.write("");
    project.succeeds(&["apply", "--yes"]);
    assert!(project.state().is_empty());
}

/// Nine resources, of which one names the stack's guards.
fn many(guards: &str) -> String {
    let groups: String = (0..8).map(|n| format!("[security_group.g{n}]\nvpc = \"main\"\n\n")).collect();
    format!("{guards}\n[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n{groups}")
}

#[test]
fn a_plan_that_deletes_most_of_a_stack_is_refused_unless_allowed() {
    let project = Project::new(Emulator::Moto, &many(""));
    project.succeeds(&["apply", "--yes"]);
    let without = |kept: usize| {
        let text = many("");
        let from = text.find(&format!("[security_group.g{kept}]")).unwrap_or(text.len());
        text[..from].to_owned()
    };
    // Five at once are a handful, whatever their share.
    project.write(&without(3));
    project.succeeds(&["plan"]);
    project.write(&without(2));
    let output = project.run(&["plan"]);
    assert!(text(&output.stderr).contains("an apply refuses this"), "{}", text(&output.stderr));
    insta::assert_snapshot!(refused(&project, &["apply", "--yes"]), @r"
    error: 6 of 9 resources would be deleted, and this stack allows 50 percent
      help: look at the plan: is a block, a file or the environment missing? If they shall go, give --allow-deletes; `max_delete_percent` in [guards] sets the share
    ");
    assert_eq!(project.ids().len(), 9, "nothing was changed");
    project.succeeds(&["plan", "--out", "saved.plan"]);
    refused(&project, &["apply", "--yes", "--plan", "saved.plan"]);
    project.write(&(without(2) + "\n[guards]\nmax_delete_percent = 80\n"));
    project.succeeds(&["plan"]);
    project.write(&without(2));
    project.succeeds(&["apply", "--yes", "--allow-deletes"]);
    assert_eq!(project.ids().len(), 3);
}

/// What is made anew loses all that is in it.
#[test]
fn what_is_made_anew_counts_as_deleted() {
    let project = Project::new(Emulator::Moto, &many(""));
    project.succeeds(&["apply", "--yes"]);
    let before = project.ids();
    project.write(&many("").replace("10.0.0.0", "10.1.0.0"));
    insta::assert_snapshot!(refused(&project, &["apply", "--yes"]), @r"
    error: 9 of 9 resources would be deleted and made anew, and this stack allows 50 percent
      help: look at the plan: does a value differ that cannot be changed in place? If they shall go, give --allow-deletes; `max_delete_percent` in [guards] sets the share
    ");
    assert_eq!(project.ids(), before, "nothing was changed");
    // One word less in the stack, too.
    let text = many("").replace("10.0.0.0", "10.1.0.0");
    let from = text.find("[security_group.g7]").unwrap_or(text.len());
    project.write(&text[..from]);
    insta::assert_snapshot!(refused(&project, &["apply", "--yes"]), @r"
    error: 9 of 9 resources would be deleted, 8 of them to be made anew, and this stack allows 50 percent
      help: look at the plan: is a block, a file or the environment missing? If they shall go, give --allow-deletes; `max_delete_percent` in [guards] sets the share
    ");
    project.succeeds(&["apply", "--yes", "--allow-deletes"]);
    project.plan_is_empty("making it anew");
    project.succeeds(&["destroy", "--yes"]);
}

#[test]
fn destroying_is_explicit_and_not_guarded() {
    let project = Project::new(Emulator::Moto, &many("[guards]\nmax_delete_percent = 0\n"));
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty());
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["plan", "--destroy", "--out", "destroy.plan"]);
    let told = refused(&project, &["apply", "--plan", "destroy.plan"]);
    assert!(told.contains("no terminal to ask on") && told.contains("--yes"), "{told}");
    project.succeeds(&["apply", "--plan", "destroy.plan", "--yes"]);
    assert!(project.state().is_empty());
}

#[test]
fn an_account_that_the_guards_do_not_name_is_refused() {
    let project = Project::new(Emulator::Moto, "[guards]\naccounts = [\"111122223333\"]\n");
    insta::assert_snapshot!(refused(&project, &["plan"]), @r"
    error: the credentials are those of account 123456789012, and this stack is only for 111122223333
      help: use credentials of that account (AWS_PROFILE); or change `accounts` in [guards]
    ");
    project.write("[guards]\naccounts = [\"111122223333\", \"123456789012\"]\n");
    project.succeeds(&["plan"]);
    // What is deleted is guarded as what is made.
    project.write("[guards]\naccounts = [\"111122223333\"]\n");
    let told = refused(&project, &["destroy", "--yes"]);
    assert!(told.contains("this stack is only for 111122223333"), "{told}");
}

#[test]
fn a_region_that_the_guards_do_not_name_is_an_error_of_the_stack() {
    let project = Project::new(Emulator::Moto, "[guards]\nregions = [\"us-east-1\"]\n");
    let told = refused(&project, &["plan"]);
    assert!(told.contains("the stack is in eu-west-2, and its guards allow us-east-1"), "{told}");
}

#[test]
fn a_saved_plan_is_refused_once_state_or_stack_moved() {
    let project = Project::new(Emulator::Moto, PROTECTED);
    project.succeeds(&["plan", "--out", "first.plan"]);
    project.succeeds(&["apply", "--yes"]);
    let told = refused(&project, &["apply", "--yes", "--plan", "first.plan"]);
    assert!(told.contains("the plan does not fit"), "{told}");
    project.write(&PROTECTED.replace("protect = true", "tags = { Team = \"a\" }\nprotect = true"));
    project.succeeds(&["plan", "--out", "second.plan"]);
    project.write(PROTECTED);
    let told = refused(&project, &["apply", "--yes", "--plan", "second.plan"]);
    assert!(told.contains("the stack has changed since the plan was made"), "{told}");
}
