//! Every plan has an order, whatever depended on what before and depends on what now.

use cofferdam::graph::Need;
use cofferdam::plan::{Action, Mode, Plan, Steps, Verb};
use cofferdam::simulated::Simulated;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::stack::{Ask, address, graph, plan, state};
use crate::support::generated;

fn verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(vec![
        Verb::NoChange,
        Verb::Create,
        Verb::Update,
        Verb::Replace,
        Verb::Replace,
        Verb::Delete,
        Verb::Forget,
        Verb::Read,
    ])
}

/// What is chosen for one resource: its verb, create-first, a leftover, and on which earlier ones it depends now; and its
/// place in the order of before with the ones it depended on.
type Choice = (Verb, bool, bool, Vec<prop::sample::Index>, Vec<prop::sample::Index>);

fn choices() -> impl Strategy<Value = (Vec<Choice>, Vec<usize>)> {
    (2..9_usize).prop_flat_map(|n| {
        let indices = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
        let one = (verb(), any::<bool>(), prop::bool::weighted(0.2), indices(), indices());
        (prop::collection::vec(one, n), Just((0..n).collect::<Vec<_>>()).prop_shuffle())
    })
}

fn actions(choices: &[Choice], before: &[usize]) -> Vec<Action> {
    let mut template = some_action();
    let mut actions = Vec::new();
    for (number, (verb, create_first, leftover, now, then)) in choices.iter().enumerate() {
        let place = before.iter().position(|other| *other == number).unwrap();
        template.address = address(&format!("node.n{number}"));
        template.action = *verb;
        template.create_first = *create_first;
        template.deposed = false;
        template.depends_on = now
            .iter()
            .filter(|_| number > 0 && !matches!(verb, Verb::Delete | Verb::Forget))
            .map(|index| (address(&format!("node.n{}", index.index(number))), Need::Readiness))
            .collect();
        template.depended_on = then
            .iter()
            .filter(|_| place > 0 && *verb != Verb::Create)
            .map(|index| address(&format!("node.n{}", before[index.index(place)])))
            .collect();
        actions.push(template.clone());
        if *leftover {
            template.action = Verb::Delete;
            template.deposed = true;
            template.depends_on.clear();
            actions.push(template.clone());
        }
    }
    actions
}

fn some_plan() -> Plan {
    let cloud = Simulated::default();
    plan(&cloud, &graph(&cloud, json!({ "node.a": {} })), None, None, Ask::default()).unwrap()
}

fn some_action() -> Action {
    some_plan().actions.remove(0)
}

proptest! {
    #![proptest_config(generated(256))]

    #[test]
    fn every_plan_has_an_order((choices, before) in choices()) {
        let mut plan = some_plan();
        plan.actions = actions(&choices, &before);
        let cloud = Simulated::default();
        let steps = Steps::of(&plan, &|kind| cofferdam::cloud::Cloud::spec(&cloud, kind));
        prop_assert_eq!(steps.in_order().len(), steps.steps.len(), "no step waits for itself");
    }
}

#[test]
fn a_knot_unties_no_more_than_itself() {
    let cloud = Simulated::default();
    let entry = |on: &[&str]| -> Value { json!({ "attributes": {}, "depends_on": on }) };
    let state = state(
        &cloud,
        json!({
            "node.a": entry(&["node.b"]), "node.b": entry(&["node.a", "node.c"]),
            "node.c": entry(&["node.d"]), "node.d": entry(&[]),
        }),
    );
    let ask = Ask { mode: Mode::Destroy, ..Ask::default() };
    let plan = plan(&cloud, &graph(&cloud, json!({})), Some(&state), None, ask).unwrap();
    let steps = Steps::of(&plan, &|kind| cofferdam::cloud::Cloud::spec(&cloud, kind));
    let of = |name: &str| steps.steps.iter().position(|s| plan.actions[s.action].address.as_str() == name).unwrap();
    let waits = |first: &str, then: &str| steps.dependents[of(first)].iter().any(|(step, _)| *step == of(then));
    assert_eq!(steps.in_order().len(), 4);
    assert!(waits("node.b", "node.c") && waits("node.c", "node.d"), "what stands behind the knot keeps its order");
    assert!(!(waits("node.a", "node.b") && waits("node.b", "node.a")), "the knot itself is untied");
}

#[test]
fn what_depends_on_each_other_in_the_state_can_be_destroyed() {
    let cloud = Simulated::default();
    let entry = |on: &str| -> Value { json!({ "attributes": {}, "depends_on": [on] }) };
    let state = state(&cloud, json!({ "node.a": entry("node.b"), "node.b": entry("node.a") }));
    let graph = graph(&cloud, json!({}));
    let ask = Ask { mode: Mode::Destroy, ..Ask::default() };
    let plan = plan(&cloud, &graph, Some(&state), None, ask).unwrap();
    let steps = Steps::of(&plan, &|kind| cofferdam::cloud::Cloud::spec(&cloud, kind));
    assert_eq!(steps.in_order().len(), 2);
}
