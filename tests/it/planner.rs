//! The planner, row by row: desired, state and observed give a plan, shown as golden text.

use std::fmt::Write;

use cofferdam::plan::{After, Change, Mode, Plan, Verb};
use cofferdam::simulated::Simulated;
use serde_json::{Value, json};

use crate::stack::{Ask, graph, observations, plan, state};

fn value(value: &Value) -> String {
    if value.is_null() { "nothing".into() } else { value.to_string() }
}

fn after(after: &After) -> String {
    match after {
        After::Known { value: known } => value(known),
        After::Unknown { unknown_until, template } => format!("{template} (unknown until {unknown_until})"),
    }
}

fn changes(out: &mut String, changes: &[Change]) {
    for change in changes {
        let notes = [(change.forces_replacement, ", forces replacement"), (change.drift, ", drift")];
        let notes: String = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
        let _ = writeln!(out, "    {}: {} -> {}{notes}", change.path, value(&change.before), after(&change.after));
    }
}

/// A plan as text: one block an action, and what it would be executed after.
fn render(plan: &Plan) -> String {
    let mut out = String::new();
    for drift in &plan.drift {
        let what = if drift.gone { "is gone" } else { "differs" };
        let _ = writeln!(out, "drift: {} {what}", drift.address);
        changes(&mut out, &drift.changes);
    }
    for action in &plan.actions {
        let sign = match action.action {
            Verb::NoChange => " ",
            Verb::Read => "<",
            Verb::Create => "+",
            Verb::Update => "~",
            Verb::Replace if action.create_first => "+/-",
            Verb::Replace => "-/+",
            Verb::Delete => "-",
            Verb::Forget => "o",
        };
        let _ = write!(out, "{sign} {}", action.address);
        if action.deposed {
            let _ = write!(out, " (left behind)");
        }
        if !action.reason.is_empty() {
            let _ = write!(out, ": {}", action.reason);
        }
        out.push('\n');
        if action.action != Verb::Delete {
            changes(&mut out, &action.changes);
        }
    }
    for kept in &plan.kept {
        let whose = kept.since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
        let (what, stack) = (value(&kept.value), after(&kept.stack));
        let _ =
            writeln!(out, "kept: {} {} {what} by {}{whose}, the stack says {stack}", kept.address, kept.path, kept.by);
    }
    for hold in &plan.holds {
        let _ = writeln!(out, "let go: {} {}", hold.address, hold.path);
    }
    for rename in &plan.renames {
        let _ = writeln!(out, "looks renamed: {} -> {}", rename.from, rename.to);
    }
    for (name, change) in &plan.output_changes {
        let _ = writeln!(out, "output {name}: {} -> {}", value(&change.before), after(&change.after));
    }
    let s = plan.summary;
    let _ = writeln!(
        out,
        "create {} update {} replace {} delete {} forget {} same {} drift {}",
        s.create, s.update, s.replace, s.delete, s.forget, s.no_change, s.drift
    );
    out
}

/// One row of the table.
#[derive(Default)]
struct Row {
    desired: Value,
    state: Value,
    /// Where the cloud differs from the state; see `observations`.
    observed: Value,
    /// Plan from the state alone.
    unrefreshed: bool,
    ask: Ask<'static>,
}

fn golden(name: &str, row: Row) {
    let cloud = Simulated::default();
    let graph = graph(&cloud, row.desired);
    let state = (!row.state.is_null()).then(|| state(&cloud, row.state));
    let seen = state.as_ref().map(|state| observations(state, row.observed)).unwrap_or_default();
    let observed = (!row.unrefreshed).then_some(&seen);
    let text = match plan(&cloud, &graph, state.as_ref(), observed, row.ask) {
        Ok(plan) => {
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "a plan survives its JSON form");
            render(&plan)
        }
        Err(errors) => errors.iter().map(|error| format!("error: {error}\n  help: {}\n", error.remedy())).collect(),
    };
    insta::with_settings!({ snapshot_path => "snapshots/planner", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

macro_rules! rows {
    ($($name:ident: $row:expr;)+) => {$(
        #[test]
        fn $name() {
            golden(stringify!($name), $row);
        }
    )+};
}

/// A node in the state.
fn node(attributes: Value) -> Value {
    json!({ "attributes": attributes, "outputs": { "serial": "0" } })
}

/// A node in the state that depends on others.
fn node_on(depends_on: &[&str], attributes: Value) -> Value {
    json!({ "attributes": attributes, "outputs": { "serial": "0" }, "depends_on": depends_on })
}

fn destroy() -> Ask<'static> {
    Ask { mode: Mode::Destroy, ..Ask::default() }
}

rows! {
    create_shows_what_is_unknown_and_until_when: Row {
        desired: json!({
            "node.base": { "size": 2, "tags": { "Team": "a" } },
            "node.top": { "inputs": ["${node.base.id}", "${site.web.arn}", "plain"] },
            "site.web": { "name": "web" },
            "outputs": { "top": "${node.top.id}", "arn": "${site.web.arn}", "size": "${node.base.size}" },
        }),
        ..Row::default()
    };

    nothing_changes: Row {
        desired: json!({
            "node.base": {},
            "node.top": { "inputs": ["${node.base.id}"] },
            "outputs": { "top": "${node.top.id}" },
        }),
        state: json!({
            "node.base": node(json!({})),
            "node.top": node_on(&["node.base"], json!({ "inputs": ["id-of-node.base"] })),
            "outputs": { "top": "id-of-node.top" },
        }),
        ..Row::default()
    };

    update_in_place_and_what_hangs_on_it: Row {
        desired: json!({
            "node.base": { "size": 5, "tags": { "Team": "b", "New": "x" } },
            "node.by_id": { "inputs": ["${node.base.id}"] },
            "node.by_serial": { "inputs": ["${node.base.serial}"] },
            "node.by_size": { "inputs": ["size ${node.base.size}"] },
            "outputs": { "serial": "${node.base.serial}" },
        }),
        state: json!({
            "node.base": node(json!({ "size": 1, "tags": { "Team": "a", "Old": "y" } })),
            "node.by_id": node_on(&["node.base"], json!({ "inputs": ["id-of-node.base"] })),
            "node.by_serial": node_on(&["node.base"], json!({ "inputs": ["0"] })),
            "node.by_size": node_on(&["node.base"], json!({ "inputs": ["size 1"] })),
            "outputs": { "serial": "0", "former": 1 },
        }),
        ..Row::default()
    };

    replace_create_first_and_its_dependents: Row {
        desired: json!({
            "node.base": { "fixed": "new" },
            "node.top": { "inputs": ["${node.base.id}"] },
            "node.far": { "inputs": ["${node.top.id}"] },
        }),
        state: json!({
            "node.base": node(json!({ "fixed": "old" })),
            "node.top": node_on(&["node.base"], json!({ "inputs": ["id-of-node.base"] })),
            "node.far": node_on(&["node.top"], json!({ "inputs": ["id-of-node.top"] })),
        }),
        ..Row::default()
    };

    replace_delete_first_spreads_to_dependents_that_are_replaced: Row {
        desired: json!({
            "site.web": { "name": "web", "fixed": "new" },
            "node.top": { "fixed": "${site.web.id}" },
            "node.far": { "fixed": "${node.top.id}" },
            "node.soft": { "inputs": ["${site.web.id}"] },
        }),
        state: json!({
            "site.web": { "attributes": { "name": "web", "fixed": "old" } },
            "node.top": node_on(&["site.web"], json!({ "fixed": "id-of-site.web" })),
            "node.far": node_on(&["node.top"], json!({ "fixed": "id-of-node.top" })),
            "node.soft": node_on(&["site.web"], json!({ "inputs": ["id-of-site.web"] })),
        }),
        ..Row::default()
    };

    replacing_keeps_an_output_that_can_be_foreseen: Row {
        desired: json!({
            "site.web": { "name": "web", "fixed": "new" },
            "node.top": { "inputs": ["${site.web.arn}"] },
        }),
        state: json!({
            "site.web": {
                "attributes": { "name": "web", "fixed": "old" },
                "outputs": { "arn": "arn:aws:simulated:eu-west-2::site/web" },
            },
            "node.top": node_on(&["site.web"], json!({ "inputs": ["arn:aws:simulated:eu-west-2::site/web"] })),
        }),
        ..Row::default()
    };

    a_replacement_that_was_asked_for: Row {
        desired: json!({ "node.base": {}, "node.top": { "inputs": ["${node.base.id}"] } }),
        state: json!({
            "node.base": node(json!({})),
            "node.top": node_on(&["node.base"], json!({ "inputs": ["id-of-node.base"] })),
        }),
        ask: Ask { replace: &["node.base"], ..Ask::default() },
        ..Row::default()
    };

    deletions_come_last_and_dependents_first: Row {
        desired: json!({ "node.stays": {} }),
        state: json!({
            "node.a": node(json!({})),
            "node.b": node_on(&["node.a"], json!({ "inputs": ["id-of-node.a"] })),
            "node.c": node_on(&["node.a", "node.b"], json!({ "inputs": ["id-of-node.b"] })),
            "node.stays": node(json!({})),
        }),
        ..Row::default()
    };

    destroying_deletes_everything_and_its_outputs: Row {
        desired: json!({ "node.a": {} }),
        state: json!({
            "node.a": node(json!({})),
            "node.b": node_on(&["node.a"], json!({})),
            "catalog.x": { "id": "x", "attributes": { "name": "x" }, "read_only": true },
            "outputs": { "a": "id-of-node.a" },
        }),
        ask: destroy(),
        ..Row::default()
    };

    destroying_deletes_even_what_depends_on_each_other: Row {
        desired: json!({}),
        state: json!({
            "node.a": node_on(&["node.b"], json!({})),
            "node.b": node_on(&["node.a"], json!({})),
            "node.c": node_on(&["node.b"], json!({})),
        }),
        ask: destroy(),
        ..Row::default()
    };

    drift_alone: Row {
        desired: json!({ "node.a": { "size": 1, "tags": { "Team": "a" } } }),
        state: json!({ "node.a": node(json!({ "size": 1, "tags": { "Team": "a" } })) }),
        observed: json!({ "node.a": { "size": 9, "tags": { "Team": "b", "theirs": "x" } } }),
        ..Row::default()
    };

    drift_beside_an_intended_change: Row {
        desired: json!({ "node.a": { "size": 1, "inputs": ["x"] } }),
        state: json!({ "node.a": node(json!({ "size": 1 })) }),
        observed: json!({ "node.a": { "size": 9 } }),
        ..Row::default()
    };

    drift_towards_what_the_stack_says_now: Row {
        desired: json!({ "node.a": { "size": 9 } }),
        state: json!({ "node.a": node(json!({ "size": 1 })) }),
        observed: json!({ "node.a": { "size": 9 } }),
        ..Row::default()
    };

    tags_alone_change_no_outputs: Row {
        desired: json!({
            "node.base": { "size": 1, "tags": { "Name": "new" } },
            "node.by_serial": { "inputs": ["${node.base.serial}"] },
        }),
        state: json!({
            "node.base": node(json!({ "size": 1, "tags": { "Name": "old" } })),
            "node.by_serial": node_on(&["node.base"], json!({ "inputs": ["0"] })),
        }),
        ..Row::default()
    };

    what_looks_renamed_is_told: Row {
        desired: json!({
            "node.new": { "size": 3, "inputs": ["a", "b"] },
            "edge.new/node.main": { "size": 1, "inputs": ["${edge.new/node.other.id}", "at-new"] },
            "edge.new/node.other": { "size": 2 },
            "node.twin_a": { "size": 7 },
            "node.twin_b": { "size": 7 },
            "node.unlike": { "size": 9, "inputs": ["x"] },
            "node.cloudy": { "size": 100 },
        }),
        state: json!({
            "node.old": node(json!({ "size": 3, "inputs": ["a", "b"] })),
            "edge.old/node.main": node_on(&["edge.old/node.other"], json!({ "size": 1, "inputs": ["id-of-edge.old/node.other", "at-old"] })),
            "edge.old/node.other": node(json!({ "size": 2 })),
            "node.former_a": node(json!({ "size": 7 })),
            "node.former_b": node(json!({ "size": 7 })),
            "node.rain": node(json!({ "size": 5, "inputs": ["p", "q"] })),
        }),
        observed: json!({ "node.rain": { "tags": { "cofferdam:address": "node.cloudy" } } }),
        ..Row::default()
    };

    tags_of_others_are_left_alone: Row {
        desired: json!({ "node.a": { "tags": { "Team": "a" } } }),
        state: json!({ "node.a": node(json!({ "tags": { "Team": "a" } })) }),
        observed: json!({ "node.a": { "tags": { "Team": "a", "theirs": "x" } } }),
        ..Row::default()
    };

    what_the_cloud_does_not_return_is_no_drift: Row {
        desired: json!({ "node.a": { "size": 3, "secret": "s" } }),
        state: json!({ "node.a": node(json!({ "size": 3, "secret": "s" })) }),
        observed: json!({ "node.a": { "size": 3, "secret": "masked" } }),
        ..Row::default()
    };

    an_attribute_that_the_stack_no_longer_says: Row {
        desired: json!({ "node.a": {} }),
        state: json!({ "node.a": node(json!({ "inputs": ["x"], "secret": "s" })) }),
        ..Row::default()
    };

    gone_outside: Row {
        desired: json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } }),
        state: json!({
            "node.a": node(json!({})),
            "node.b": node_on(&["node.a"], json!({ "inputs": ["id-of-node.a"] })),
        }),
        observed: json!({ "node.a": null }),
        ..Row::default()
    };

    gone_outside_and_no_longer_wanted: Row {
        desired: json!({}),
        state: json!({ "node.a": node(json!({})) }),
        observed: json!({ "node.a": null }),
        ..Row::default()
    };

    an_unfinished_create_is_finished: Row {
        desired: json!({ "node.a": { "size": 2 }, "node.b": {} }),
        state: json!({
            "node.a": { "attributes": { "size": 1 }, "complete": false },
            "node.b": { "attributes": {}, "complete": false },
        }),
        ..Row::default()
    };

    what_an_interrupted_run_was_doing_is_nobody_elses: Row {
        desired: json!({
            "node.made": { "size": 2, "tags": { "Team": "a" } },
            "node.sent": { "size": 2, "inputs": ["x"] },
            "node.done": { "size": 2 },
            "node.both": { "size": 2, "inputs": ["x"] },
        }),
        state: json!({
            "node.made": { "attributes": { "size": 2, "tags": { "Team": "a" } }, "complete": false },
            "node.sent": { "attributes": { "size": 2, "inputs": ["x"] }, "changing": { "size": 1 } },
            "node.done": { "attributes": { "size": 2 }, "changing": { "size": 1 } },
            "node.both": { "attributes": { "size": 2, "inputs": ["x"] }, "changing": { "size": 1 } },
        }),
        observed: json!({
            "node.made": { "size": 0, "tags": {} },
            "node.sent": { "size": 1 },
            "node.both": { "size": 1, "inputs": ["y"] },
        }),
        ..Row::default()
    };

    what_is_protected_is_neither_deleted_nor_replaced: Row {
        desired: json!({ "node.kept": { "fixed": "new", "protect": true } }),
        state: json!({
            "node.kept": { "attributes": { "fixed": "old" }, "protect": true },
            "node.gone": { "attributes": {}, "protect": true },
        }),
        ..Row::default()
    };

    what_is_protected_may_change_and_protection_may_go: Row {
        desired: json!({ "node.a": { "size": 2, "protect": true }, "node.b": {} }),
        state: json!({
            "node.a": { "attributes": { "size": 1 }, "protect": true },
            "node.b": { "attributes": {}, "protect": true },
        }),
        ..Row::default()
    };

    targets_take_their_dependencies_along: Row {
        desired: json!({
            "node.a": { "size": 2 },
            "node.b": { "inputs": ["${node.a.id}"], "size": 2 },
            "node.c": { "inputs": ["${node.b.id}"], "size": 2 },
        }),
        state: json!({
            "node.a": node(json!({})),
            "node.b": node_on(&["node.a"], json!({ "inputs": ["id-of-node.a"] })),
            "node.d": node(json!({})),
            "deposed node.d": { "id": "old-d", "attributes": {} },
        }),
        ask: Ask { targets: &["node.b"], ..Ask::default() },
        ..Row::default()
    };

    a_destroyed_target_takes_its_dependents_along: Row {
        desired: json!({}),
        state: json!({
            "node.a": node(json!({})),
            "node.b": node_on(&["node.a"], json!({})),
            "node.c": node_on(&["node.b"], json!({})),
            "outputs": { "a": 1 },
        }),
        ask: Ask { mode: Mode::Destroy, targets: &["node.b"], ..Ask::default() },
        ..Row::default()
    };

    targets_within_a_construct: Row {
        desired: json!({ "network.main/node.a": {}, "network.main/node.b": {}, "node.a": {} }),
        ask: Ask { targets: &["network.main"], ..Ask::default() },
        ..Row::default()
    };

    unknown_targets: Row {
        desired: json!({ "node.alpha": {}, "node.beta": {} }),
        ask: Ask { targets: &["node.alhpa", "zzz"], replace: &["node.bet"], ..Ask::default() },
        ..Row::default()
    };

    lookups_and_existing_things: Row {
        desired: json!({
            "catalog.known": { "name": "known" },
            "catalog.later": { "name": "${node.a.id}" },
            "node.theirs": { "existing": "node-of-theirs" },
            "node.a": { "inputs": ["${catalog.known.value}", "${node.theirs.serial}"] },
            "node.b": { "inputs": ["${catalog.later.value}"] },
        }),
        state: json!({}),
        observed: json!({ "reads": {
            "catalog.known": { "id": "c-1", "attributes": { "name": "known" }, "outputs": { "value": "v" } },
            "node.theirs": { "id": "node-of-theirs", "attributes": { "size": 4 }, "outputs": { "serial": "3" } },
        } }),
        ..Row::default()
    };

    a_lookup_that_says_something_new: Row {
        desired: json!({
            "catalog.c": { "name": "c" },
            "catalog.d": { "name": "d" },
            "node.a": { "inputs": ["${catalog.c.value}", "${catalog.d.value}"] },
        }),
        state: json!({
            "catalog.c": { "id": "c", "attributes": { "name": "c" }, "outputs": { "id": "c", "value": "1" }, "read_only": true },
            "catalog.d": { "id": "d", "attributes": { "name": "d" }, "outputs": { "id": "d", "value": "1" }, "read_only": true },
            "node.a": node_on(&["catalog.c", "catalog.d"], json!({ "inputs": ["1", "1"] })),
        }),
        observed: json!({ "reads": {
            "catalog.c": { "id": "c", "attributes": { "name": "c" }, "outputs": { "value": "2" } },
            "catalog.d": { "id": "d", "attributes": { "name": "d" }, "outputs": { "value": "1" } },
        } }),
        ..Row::default()
    };

    what_a_replacement_left_behind_goes: Row {
        desired: json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } }),
        state: json!({
            "node.a": node(json!({})),
            "deposed node.a": { "id": "old-a", "attributes": {} },
            "node.b": node_on(&["node.a"], json!({ "inputs": ["old-a"] })),
        }),
        ..Row::default()
    };

    what_a_replacement_left_behind_is_gone_already: Row {
        desired: json!({ "node.a": {} }),
        state: json!({ "node.a": node(json!({})), "deposed node.a": { "id": "old-a", "attributes": {} } }),
        observed: json!({ "node.a old-a": null }),
        ..Row::default()
    };

    what_a_replacement_left_behind_is_taken_back_where_it_is_named_again: Row {
        desired: json!({
            "role.web": { "name": "a", "service": "ec2.amazonaws.com" },
            "node.user": { "inputs": ["${role.web.name}"] },
        }),
        state: json!({
            "role.web": { "id": "b", "attributes": { "name": "b", "service": "ec2.amazonaws.com" } },
            "deposed role.web": { "id": "a", "attributes": { "name": "a", "service": "ec2.amazonaws.com" } },
            "node.user": node_on(&["role.web"], json!({ "inputs": ["b"] })),
        }),
        ..Row::default()
    };

    what_is_named_again_and_gone_is_made_anew: Row {
        desired: json!({ "role.web": { "name": "a", "service": "ec2.amazonaws.com" } }),
        state: json!({
            "role.web": { "id": "b", "attributes": { "name": "b", "service": "ec2.amazonaws.com" } },
            "deposed role.web": { "id": "a", "attributes": { "name": "a", "service": "ec2.amazonaws.com" } },
        }),
        observed: json!({ "role.web a": null }),
        ..Row::default()
    };

    a_role_and_an_instance_profile_of_one_id_are_told_apart: Row {
        desired: json!({}),
        state: json!({
            "deposed role.web": { "id": "web", "attributes": { "name": "web", "service": "ec2.amazonaws.com" } },
            "deposed instance_profile.web": { "id": "web", "attributes": { "name": "web", "role": "web" } },
        }),
        observed: json!({ "role.web web": null }),
        ..Row::default()
    };

    what_the_tool_made_gives_way_to_what_exists: Row {
        desired: json!({
            "node.main": { "existing": "node-of-theirs" },
            "node.user": { "inputs": ["${node.main.id}"] },
        }),
        state: json!({
            "node.main": node(json!({ "size": 2 })),
            "node.user": node_on(&["node.main"], json!({ "inputs": ["id-of-node.main"] })),
        }),
        observed: json!({ "reads": {
            "node.main": { "id": "node-of-theirs", "attributes": { "size": 4 }, "outputs": { "serial": "3" } },
        } }),
        ..Row::default()
    };

    what_is_protected_gives_no_way_to_what_exists: Row {
        desired: json!({ "node.main": { "existing": "node-of-theirs" } }),
        state: json!({ "node.main": { "attributes": {}, "protect": true } }),
        observed: json!({ "reads": { "node.main": { "id": "node-of-theirs", "outputs": { "serial": "3" } } } }),
        ..Row::default()
    };

    what_the_tool_made_is_only_read_from_now_on: Row {
        desired: json!({
            "node.main": { "existing": "id-of-node.main" },
            "node.user": { "inputs": ["${node.main.id}"] },
        }),
        state: json!({
            "node.main": { "attributes": { "size": 2 }, "outputs": { "serial": "0" }, "protect": true },
            "deposed node.main": { "id": "old", "attributes": {} },
            "node.user": node_on(&["node.main"], json!({ "inputs": ["id-of-node.main"] })),
        }),
        observed: json!({ "reads": {
            "node.main": { "id": "id-of-node.main", "attributes": { "size": 2 }, "outputs": { "serial": "0" } },
        } }),
        ..Row::default()
    };

    what_is_looked_up_by_something_that_stays_is_known: Row {
        desired: json!({
            "node.a": {},
            "catalog.stays": { "name": "${node.a.id}" },
            "node.b": { "fixed": "${catalog.stays.value}" },
            "node.c": { "fixed": "new" },
            "catalog.moves": { "name": "${node.c.id}" },
            "node.d": { "inputs": ["${catalog.moves.value}"] },
        }),
        state: json!({
            "node.a": node(json!({})),
            "catalog.stays": { "id": "c", "attributes": { "name": "id-of-node.a" }, "outputs": { "id": "c", "value": "v" }, "read_only": true },
            "node.b": node_on(&["catalog.stays"], json!({ "fixed": "v" })),
            "node.c": node(json!({ "fixed": "old" })),
            "catalog.moves": { "id": "d", "attributes": { "name": "id-of-node.c" }, "outputs": { "id": "d", "value": "w" }, "read_only": true },
            "node.d": node_on(&["catalog.moves"], json!({ "inputs": ["w"] })),
        }),
        observed: json!({ "reads": {
            "catalog.stays": { "id": "c", "attributes": { "name": "id-of-node.a" }, "outputs": { "value": "v" } },
            "catalog.moves": { "id": "d", "attributes": { "name": "id-of-node.c" }, "outputs": { "value": "w" } },
        } }),
        ..Row::default()
    };

    without_a_refresh_a_lookup_by_another_name_is_not_believed: Row {
        desired: json!({ "catalog.c": { "name": "other" }, "node.a": { "inputs": ["${catalog.c.value}"] } }),
        state: json!({
            "catalog.c": { "id": "c", "attributes": { "name": "c" }, "outputs": { "value": "1" }, "read_only": true },
            "node.a": node_on(&["catalog.c"], json!({ "inputs": ["1"] })),
        }),
        unrefreshed: true,
        ..Row::default()
    };

    a_target_made_anew_keeps_its_old_one_for_the_others: Row {
        desired: json!({
            "role.web": { "name": "b", "service": "ec2.amazonaws.com" },
            "node.under": { "fixed": "new" },
            "node.user": { "inputs": ["${role.web.name}"] },
            "node.other": { "size": 2 },
        }),
        state: json!({
            "node.under": node(json!({ "fixed": "old" })),
            "role.web": { "attributes": { "name": "a", "service": "ec2.amazonaws.com" }, "depends_on": ["node.under"] },
            "deposed role.web": { "id": "older", "attributes": { "name": "o", "service": "ec2.amazonaws.com" } },
            "node.user": node_on(&["role.web"], json!({ "inputs": ["a"] })),
            "node.other": node(json!({})),
        }),
        ask: Ask { targets: &["role.web", "node.under"], ..Ask::default() },
        ..Row::default()
    };

    a_target_that_goes_first_needs_what_stands_on_it: Row {
        desired: json!({
            "site.web": { "name": "web", "fixed": "new" },
            "node.top": { "fixed": "${site.web.id}" },
            "node.soft": { "inputs": ["${site.web.id}"] },
        }),
        state: json!({
            "site.web": { "attributes": { "name": "web", "fixed": "old" } },
            "node.top": node_on(&["site.web"], json!({ "fixed": "id-of-site.web" })),
            "node.soft": node_on(&["site.web"], json!({ "inputs": ["id-of-site.web"] })),
        }),
        ask: Ask { targets: &["site.web"], ..Ask::default() },
        ..Row::default()
    };

    a_target_may_be_what_a_replacement_left_behind: Row {
        desired: json!({ "node.b": { "size": 2 } }),
        state: json!({ "deposed node.a": { "id": "old-a", "attributes": {} }, "node.b": node(json!({})) }),
        ask: Ask { targets: &["node.a"], ..Ask::default() },
        ..Row::default()
    };

    what_would_be_made_under_a_name_of_the_state_is_refused: Row {
        desired: json!({
            "site.new": { "name": "web" },
            "edge.b/site.main": { "name": "edge" },
            "edge.b/site.other": { "name": "other" },
            "site.second": { "name": "first" },
            "site.first": { "name": "second" },
            "site.again": { "name": "gone" },
            "dns_record.new": { "zone": "Z1", "name": "www.example.com", "type": "A", "values": ["10.0.0.1"] },
            "site.stays": { "name": "stays", "fixed": "new" },
        }),
        state: json!({
            "site.old": { "attributes": { "name": "web" } },
            "edge.a/site.main": { "attributes": { "name": "edge" } },
            "edge.a/site.other": { "attributes": { "name": "other" } },
            "site.first": { "attributes": { "name": "first" } },
            "site.second": { "attributes": { "name": "second" } },
            "site.gone": { "attributes": { "name": "gone" } },
            "dns_record.old": {
                "attributes": { "zone": "Z1", "name": "www.example.com", "type": "A", "values": ["10.0.0.1"] },
            },
            "site.stays": { "attributes": { "name": "stays", "fixed": "old" } },
        }),
        observed: json!({ "site.gone": null }),
        ..Row::default()
    };

    a_name_that_was_made_stays: Row {
        desired: json!({
            "site.moved": { "name": "demo-moved", "made_name": true },
            "site.given": { "name": "demo-given" },
            "node.user": { "inputs": ["${site.moved.name}"] },
            "security_group.same": { "name": "demo-same-1", "description": "a", "vpc": "vpc-1", "made_name": true },
            "security_group.other": { "name": "demo-other-2", "description": "b", "vpc": "vpc-1", "made_name": true },
        }),
        state: json!({
            "site.moved": { "attributes": { "name": "demo-old" } },
            "site.given": { "attributes": { "name": "demo-was" } },
            "node.user": node_on(&["site.moved"], json!({ "inputs": ["demo-old"] })),
            "security_group.same": { "attributes": { "name": "demo-former-1", "description": "a", "vpc": "vpc-1" } },
            "security_group.other": { "attributes": { "name": "demo-former-3", "description": "a", "vpc": "vpc-1" } },
        }),
        ..Row::default()
    };

    drift_of_what_is_no_longer_in_the_stack: Row {
        desired: json!({}),
        state: json!({ "node.a": node(json!({ "size": 1 })), "node.b": node(json!({})) }),
        observed: json!({ "node.a": { "size": 9 }, "node.b": null }),
        ..Row::default()
    };

    without_a_refresh_the_state_is_believed: Row {
        desired: json!({
            "catalog.c": { "name": "c" },
            "node.a": { "inputs": ["${catalog.c.value}"] },
            "node.b": { "size": 2 },
        }),
        state: json!({
            "catalog.c": { "id": "c", "attributes": { "name": "c" }, "outputs": { "value": "1" }, "read_only": true },
            "node.a": node_on(&["catalog.c"], json!({ "inputs": ["1"] })),
            "node.b": node(json!({})),
        }),
        unrefreshed: true,
        ..Row::default()
    };

    escapes_are_literal: Row {
        desired: json!({ "node.a": { "inputs": ["$${x}", "a $${y.z} ${aws:username}"] }, "node.b": { "inputs": ["$${x}"] } }),
        state: json!({
            "node.a": node(json!({ "inputs": ["${x}", "a ${y.z} ${aws:username}"] })),
            "node.b": node(json!({ "inputs": ["${w}"] })),
        }),
        observed: json!({ "node.b": { "inputs": ["${v}"] } }),
        ..Row::default()
    };

    what_is_held_is_left_as_it_is: Row {
        desired: web("nginx:1.27", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28"), "containers.gone.image": held("x") })),
        ..Row::default()
    };

    what_is_held_goes_with_other_changes: Row {
        desired: web("nginx:1.27", json!(3)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    what_is_held_is_taken_back: Row {
        desired: web("nginx:1.27", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ask: Ask { reset: true, ..Ask::default() },
        ..Row::default()
    };

    what_the_stack_says_is_held_no_longer: Row {
        desired: web("nginx:1.28", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    nothing_is_held_of_what_is_made_anew_or_goes: Row {
        desired: json!({}),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    a_count_that_is_scaled_is_nobody_elses: Row {
        desired: scaled(json!({ "count": 2 })),
        state: scaled_state(),
        observed: json!({ "ecs_service.web": { "count": 7 } }),
        ..Row::default()
    };

    a_count_that_is_scaled_and_that_the_stack_leaves_open: Row {
        desired: scaled(json!({})),
        state: scaled_state(),
        observed: json!({ "ecs_service.web": { "count": 7 } }),
        ..Row::default()
    };

    what_a_blue_green_deployment_switched_is_left: Row {
        desired: blue_green(),
        state: blue_green_state(),
        observed: json!({ "listener_rule.web": { "action": switched(0, 100) } }),
        ..Row::default()
    };

    nothing_is_told_of_a_rule_that_is_as_it_was_made: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        ..Row::default()
    };

    what_switched_last_is_left_of_groups_of_the_stack: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_that_is_to_be_switched_gets_both_groups: Row {
        desired: switching(80),
        state: as_made(&rolling(80)),
        ..Row::default()
    };

    a_rule_that_is_switched_gets_the_groups_that_are_made_anew: Row {
        desired: switching(81),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_whose_groups_somebody_changed_gets_the_stacks: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        observed: json!({ "listener_rule.web": { "action": switched(0, 100) } }),
        ..Row::default()
    };

    who_switches_no_more_leaves_the_rule_to_the_stack: Row {
        desired: rolling(80),
        state: as_made(&switching(80)),
        ..Row::default()
    };

    who_switches_no_more_does_not_leave_requests_without_an_answer: Row {
        desired: rolling(80),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_that_was_switched_goes_with_its_service: Row {
        desired: json!({}),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };
}

const SERVICE: &str = "arn:aws:ecs:eu-west-2:123456789012:service/main/web";

fn held(value: &str) -> Value {
    json!({ "value": value, "by": "deploy", "who": "me@here", "at": "2030-01-31T08:00:00Z" })
}

fn web(image: &str, count: Value) -> Value {
    json!({
        "task_definition.web": { "family": "web", "containers": { "app": { "image": image, "memory": 64 } } },
        "ecs_service.web": {
            "name": "web", "cluster": "main", "task_definition": "${task_definition.web.arn}", "count": count,
        },
    })
}

/// The same, as it was made with another image, which is held.
fn web_state(count: u32, held: Value) -> Value {
    let arn = "arn:aws:ecs:eu-west-2:123456789012:task-definition/web:4";
    let containers = json!({ "app": { "image": "nginx:1.28", "memory": 64 } });
    json!({
        "task_definition.web": {
            "id": "web", "attributes": { "family": "web", "containers": containers },
            "outputs": { "arn": arn, "revision": "4", "id": "web" },
        },
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE }, "depends_on": ["task_definition.web"],
            "attributes": { "name": "web", "cluster": "main", "task_definition": arn, "count": count },
        },
        "held": { "task_definition.web": held },
    })
}

/// A service that is scaled.
fn scaled(over: Value) -> Value {
    let mut service = json!({ "name": "web", "cluster": "main", "task_definition": "web:1" });
    service.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    json!({
        "ecs_service.web": service,
        "scaling_target.web": { "service": "${ecs_service.web.arn}", "min": 1, "max": 9 },
    })
}

/// The same, as it was made with two tasks.
fn scaled_state() -> Value {
    json!({
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE },
            "attributes": { "name": "web", "cluster": "main", "task_definition": "web:1", "count": 2 },
        },
        "scaling_target.web": {
            "id": "service/main/web", "outputs": { "id": "service/main/web" }, "depends_on": ["ecs_service.web"],
            "attributes": { "service": SERVICE, "min": 1, "max": 9 },
        },
    })
}

/// A service whose deployments switch a rule from one target group to the other.
fn blue_green() -> Value {
    json!({
        "listener_rule.web": { "listener": "arn:listener", "priority": 7, "paths": ["/*"], "action": switched(100, 0) },
        "ecs_service.web": {
            "name": "web", "cluster": "main", "task_definition": "web:1", "deployment": { "strategy": "blue-green" },
            "load_balancers": [{
                "target_group": "arn:blue", "container": "app", "port": 80,
                "alternate": { "target_group": "arn:green", "rule": "${listener_rule.web.arn}", "role": "arn:switch" },
            }],
        },
    })
}

fn switched(blue: u32, green: u32) -> Value {
    between(("arn:blue", blue), ("arn:green", green))
}

fn between(one: (&str, u32), other: (&str, u32)) -> Value {
    let share = |(group, weight): (&str, u32)| json!({ "target_group": group, "weight": weight });
    json!({ "forward": [share(one), share(other)] })
}

/// What the cloud says once requests were switched from the one group to the other.
fn to_the_other() -> Value {
    json!({ "listener_rule.web": { "action": between(("arn:main", 0), ("arn:other", 100)) } })
}

const MAIN: &str = "${target_group.main.arn}";
const OTHER: &str = "${target_group.other.arn}";

/// A blue/green service whose target groups are the stack's, too; their port is in their names.
fn switching(port: u16) -> Value {
    let mut stack = blue_green();
    for name in ["main", "other"] {
        stack[format!("target_group.{name}")] = json!({
            "name": format!("{name}-{port}"), "vpc": "vpc-1", "targets": "ip", "protocol": "http", "port": port,
            "algorithm": "round-robin", "slow_start_seconds": 0,
        });
    }
    stack["listener_rule.web"]["action"] = between((MAIN, 100), (OTHER, 0));
    let balanced = &mut stack["ecs_service.web"]["load_balancers"][0];
    balanced["target_group"] = json!(MAIN);
    balanced["alternate"]["target_group"] = json!(OTHER);
    stack
}

/// The same service with rolling deployments.
fn rolling(port: u16) -> Value {
    let mut stack = switching(port);
    stack.as_object_mut().unwrap().remove("target_group.other");
    stack["listener_rule.web"]["action"] = json!({ "forward": [{ "target_group": MAIN }] });
    let service = stack["ecs_service.web"].as_object_mut().unwrap();
    service.remove("deployment");
    service["load_balancers"][0].as_object_mut().unwrap().remove("alternate");
    stack
}

/// The state of either, as it was made.
fn as_made(stack: &Value) -> Value {
    let arns = [(MAIN, "arn:main"), (OTHER, "arn:other"), ("${listener_rule.web.arn}", "arn:rule")];
    let known = arns.iter().fold(stack.to_string(), |text, (reference, arn)| text.replace(reference, arn));
    let known: serde_json::Map<String, Value> = serde_json::from_str(&known).unwrap();
    let groups: Vec<&str> = known.keys().map(String::as_str).filter(|name| name.starts_with("target_group.")).collect();
    let used = [&groups[..], &["listener_rule.web"]].concat();
    let entry = |(name, attributes): (&String, &Value)| {
        let (arn, depends_on) = match name.as_str() {
            "ecs_service.web" => (SERVICE, json!(used)),
            "listener_rule.web" => ("arn:rule", json!(groups)),
            "target_group.main" => ("arn:main", json!([])),
            _ => ("arn:other", json!([])),
        };
        let outputs = json!({ "arn": arn, "id": arn });
        let entry = json!({ "id": arn, "attributes": attributes, "outputs": outputs, "depends_on": depends_on });
        (name.clone(), entry)
    };
    known.iter().map(entry).collect::<serde_json::Map<String, Value>>().into()
}

/// The same, as it was made.
fn blue_green_state() -> Value {
    let mut service = blue_green()["ecs_service.web"].clone();
    service["load_balancers"][0]["alternate"]["rule"] = json!("arn:rule");
    json!({
        "listener_rule.web": {
            "id": "arn:rule", "outputs": { "arn": "arn:rule", "id": "arn:rule" },
            "attributes": blue_green()["listener_rule.web"],
        },
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE }, "depends_on": ["listener_rule.web"],
            "attributes": service,
        },
    })
}
