//! The planner, row by row: desired, state and observed give a plan, shown as golden text.

use std::fmt::Write;

use cofferdam::plan::{After, Change, Mode, Plan, Verb};
use cofferdam::simulated::Simulated;
use serde_json::{Value, json};

use crate::stack::{Ask, graph, observations, plan, state};

mod held;
mod leftovers;

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
use rows;

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
}
