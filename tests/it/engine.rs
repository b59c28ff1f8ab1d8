//! The engine under the simulated cloud, in virtual time: order, retry, stopping, crashing, and what is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofferdam::apply::{Event, Execution, Options, Report, StepName, Stop, execute, settle};
use cofferdam::cloud::{Cloud, CloudError, ErrorClass, Observed};
use cofferdam::graph::Graph;
use cofferdam::plan::{Mode, Plan, refresh};
use cofferdam::simulated::{Behaviour, Call, Fault, Held, Moment, Operation, Simulated, Timing};
use cofferdam::state::{Memory, State};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::stack::{Ask, graph, map, plan};

pub fn empty() -> State {
    State::empty("simulated", None, "local", "123456789012", "eu-west-2")
}

pub fn options() -> Options {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    Options { token: || format!("{:032x}", NUMBER.fetch_add(1, Ordering::Relaxed)), ..Options::default() }
}

/// What a run left and told.
pub struct Ran {
    pub state: State,
    pub report: Report,
    pub events: Vec<Event>,
    pub plan: Plan,
}

pub async fn planned(cloud: &dyn Cloud, graph: &Graph, state: &State, ask: Ask<'_>) -> Plan {
    let seen = refresh::refresh(cloud, graph, state).await.unwrap();
    plan(cloud, graph, Some(state), Some(&seen), ask).unwrap()
}

/// Settles, refreshes, plans and executes, as an apply does.
pub async fn run_with(cloud: &dyn Cloud, graph: &Graph, state: State, ask: Ask<'_>, options: Options) -> Ran {
    let mut ledger = Memory::new(state);
    settle(cloud, &mut ledger).await.unwrap();
    let plan = planned(cloud, graph, ledger.state(), ask).await;
    let (_sender, stop) = watch::channel(Stop::No);
    let mut events = Vec::new();
    let execution =
        Execution { plan: &plan, cloud, ledger: &mut ledger, options, stop, emit: &mut |event| events.push(event) };
    let report = execute(execution).await.unwrap();
    Ran { state: ledger.close(), report, events, plan }
}

pub async fn apply(cloud: &Simulated, stack: Value, state: State) -> Ran {
    let graph = graph(cloud, stack);
    run_with(cloud, &graph, state, Ask::default(), options()).await
}

pub fn complete(ran: Ran) -> State {
    assert!(ran.report.is_complete(), "{:?}", ran.report);
    ran.state
}

/// What the cloud holds, by the address it was made for, without what differs from run to run.
pub fn inventory(cloud: &Simulated) -> BTreeMap<String, Held> {
    let held = cloud.held();
    let count = held.len();
    let by_address: BTreeMap<String, Held> = held.into_values().map(|one| (one.address.to_string(), one)).collect();
    assert_eq!(by_address.len(), count, "no address has two resources: {by_address:?}");
    by_address
}

/// The state knows exactly what the cloud holds, and a second plan finds nothing to do.
pub async fn assert_settled(cloud: &Simulated, graph: &Graph, state: &State) {
    let held: BTreeSet<String> = cloud.held().into_keys().collect();
    let known: BTreeSet<String> =
        state.resources.values().filter(|entry| !entry.read_only).map(|entry| entry.id.clone()).collect();
    assert_eq!(held, known, "the cloud holds what the state knows: no orphan, nothing lost");
    assert!(state.deposed.is_empty() && state.unresolved.is_empty(), "nothing is left over: {state:?}");
    assert!(state.resources.values().all(|entry| entry.complete), "nothing is half made");
    assert!(cloud.held().values().all(|held| held.finished), "everything was finished");
    let second = planned(cloud, graph, state, Ask::default()).await;
    assert!(!second.has_changes(), "the second plan is empty: {:?}", second.changing().collect::<Vec<_>>());
    assert!(second.drift.is_empty(), "{:?}", second.drift);
}

/// Waits of a second to be ready and half a one to be gone, and a tenth for each call.
pub fn slow() -> Behaviour {
    let ms = Duration::from_millis;
    Behaviour {
        timing: Timing { call: ms(100), ready: ms(1000), gone: ms(500), ..Timing::default() },
        ..Behaviour::default()
    }
}

/// Every call and when it was made, in order: `create node.a`.
type Seen = Arc<Mutex<Vec<(String, Instant)>>>;

fn watch_calls(cloud: &Simulated) -> Seen {
    let seen = Seen::default();
    let into = seen.clone();
    cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
        if moment == Moment::Before
            && let Some(address) = call.address
        {
            into.lock().unwrap().push((format!("{} {address}", call.operation.name()), Instant::now()));
        }
        None
    });
    seen
}

fn first(seen: &Seen, what: &str) -> usize {
    seen.lock().unwrap().iter().position(|(call, _)| call == what).unwrap_or_else(|| panic!("{what} was called"))
}

fn at(seen: &Seen, what: &str) -> Instant {
    let index = first(seen, what);
    seen.lock().unwrap()[index].1
}

fn error(class: ErrorClass) -> Option<Fault> {
    Some(Fault::Error(CloudError::new(class, "simulated:Any", "Injected", "injected")))
}

fn chain() -> Value {
    json!({
        "node.a": {},
        "node.b": { "inputs": ["${node.a.id}"] },
        "node.c": { "inputs": ["${node.b.id}"] },
        "outputs": { "last": "${node.c.id}" },
    })
}

#[tokio::test(start_paused = true)]
async fn a_stack_comes_and_goes() {
    let cloud = Simulated::new(slow());
    let stack = chain();
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    assert_settled(&cloud, &graph(&cloud, stack.clone()), &state).await;
    assert_eq!(state.outputs["last"], json!(state.resources["node.c"].id), "outputs are kept");
    let seen = watch_calls(&cloud);
    let ask = Ask { mode: Mode::Destroy, ..Ask::default() };
    let ran = run_with(&cloud, &graph(&cloud, stack), state, ask, options()).await;
    assert_eq!(ran.report.deleted, 3);
    let state = complete(ran);
    assert!(cloud.held().is_empty() && state.is_empty() && state.outputs.is_empty(), "destroy leaves nothing");
    assert!(first(&seen, "delete node.c") < first(&seen, "delete node.b"));
    assert!(first(&seen, "delete node.b") < first(&seen, "delete node.a"));
}

#[tokio::test(start_paused = true)]
async fn a_dependent_starts_when_what_it_needs_is_there() {
    let cloud = Simulated::new(slow());
    let seen = watch_calls(&cloud);
    let stack = json!({
        "node.a": {},
        "node.ready": { "inputs": ["${node.a.id}"] },
        "node.beside": { "beside": ["${node.a.id}"] },
        "node.both": { "beside": ["${node.a.id}"], "inputs": ["${node.a.id}"] },
        "node.after": { "depends_on": ["node.a"] },
    });
    let start = Instant::now();
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    let a = at(&seen, "create node.a") - start;
    let after = |what: &str| at(&seen, what) - start - a;
    assert!(after("create node.beside") < Duration::from_secs(1), "existence is enough for `beside`");
    for ready in ["create node.ready", "create node.both", "create node.after"] {
        assert!(after(ready) >= Duration::from_secs(1), "{ready} waits for readiness");
    }
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

#[tokio::test(start_paused = true)]
async fn independent_work_goes_at_once_and_waiting_holds_no_slot() {
    let stack: serde_json::Map<String, Value> = (0..40).map(|n| (format!("node.n{n}"), json!({}))).collect();
    for (slots, limit) in [(8, Duration::from_millis(2600)), (64, Duration::from_millis(2000))] {
        let cloud = Simulated::new(slow());
        let graph = graph(&cloud, stack.clone().into());
        let options = Options { slots, ..options() };
        let ran = run_with(&cloud, &graph, empty(), Ask::default(), options).await;
        assert!(ran.report.elapsed < limit, "{slots} slots took {:?}", ran.report.elapsed);
        let changing = cloud.most_under_way();
        assert!(changing >= slots.min(40), "{changing} calls were under way at once with {slots} slots");
        complete(ran);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_stops_only_what_depends_on_it() {
    let cloud = Simulated::default();
    cloud.set_faults(|call: &Call<'_>, moment: Moment| {
        let hit = call.operation == Operation::Create && call.address.is_some_and(|a| a.as_str() == "node.b");
        (hit && moment == Moment::Before).then(|| error(ErrorClass::Refused)).flatten()
    });
    let mut stack = chain();
    stack["node.x"] = json!({});
    stack["node.y"] = json!({ "inputs": ["${node.x.id}"] });
    let ran = apply(&cloud, stack.clone(), empty()).await;
    let failed: Vec<_> = ran.report.failed.iter().map(|(a, _, error)| (a.as_str(), error.code.as_str())).collect();
    assert_eq!(failed, [("node.b", "Injected")]);
    assert_eq!(ran.report.skipped.iter().map(|a| a.as_str()).collect::<Vec<_>>(), ["node.c"]);
    assert!(ran.report.left.is_empty());
    assert_eq!(inventory(&cloud).into_keys().collect::<Vec<_>>(), ["node.a", "node.x", "node.y"]);
    assert!(ran.state.unresolved.is_empty(), "a refusal leaves nothing to look up");
    let skipped = ran.events.iter().any(|event| match event {
        Event::Skipped { address, step, because } => {
            (address.as_str(), *step, because.as_str()) == ("node.c", StepName::Create, "node.b")
        }
        _ => false,
    });
    assert!(skipped, "the user is told what was skipped and why");
    cloud.clear_faults();
    let state = complete(apply(&cloud, stack.clone(), ran.state).await);
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

#[tokio::test(start_paused = true)]
async fn passing_errors_are_sat_out() {
    for class in [ErrorClass::Throttled, ErrorClass::NotYet, ErrorClass::Uncertain] {
        let cloud = Simulated::default();
        // Every mutating call of every resource, and every poll, fails twice before it comes through.
        let mut tries: BTreeMap<(String, Operation), u32> = BTreeMap::new();
        let flaky = move |call: &Call<'_>, moment: Moment| {
            let address = call.address?;
            let count = tries.entry((address.to_string(), call.operation)).or_default();
            let fails = moment == Moment::Before && *count < 2;
            *count += u32::from(moment == Moment::Before);
            fails.then(|| error(class)).flatten()
        };
        cloud.set_faults(flaky);
        let state = complete(apply(&cloud, chain(), empty()).await);
        let mut stack = chain();
        stack["node.a"]["size"] = json!(7);
        stack["node.b"]["fixed"] = json!("x");
        let state = complete(apply(&cloud, stack.clone(), state).await);
        cloud.clear_faults();
        assert_settled(&cloud, &graph(&cloud, stack), &state).await;
        inventory(&cloud);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_looked_up() {
    for operation in [Operation::Create, Operation::Finish, Operation::Update, Operation::Delete] {
        let cloud = Simulated::default();
        let mut stack = chain();
        let state = complete(apply(&cloud, stack.clone(), empty()).await);
        let mut lost = BTreeSet::new();
        cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
            let hit = moment == Moment::After && call.operation == operation && lost.insert(call.address?.clone());
            hit.then(|| error(ErrorClass::Uncertain)).flatten()
        });
        stack["node.a"]["fixed"] = json!("x");
        stack["node.b"]["size"] = json!(3);
        stack["node.new"] = json!({});
        let state = complete(apply(&cloud, stack.clone(), state).await);
        inventory(&cloud);
        assert_settled(&cloud, &graph(&cloud, stack), &state).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_not_created_twice_though_it_is_invisible_for_a_while() {
    for visible in [1, 5, 9] {
        let timing = Timing { visible: Duration::from_secs(visible), ..Timing::default() };
        let cloud = Simulated::new(Behaviour { timing, ..Behaviour::default() });
        let mut lost = BTreeSet::new();
        cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
            let hit =
                moment == Moment::After && call.operation == Operation::Create && lost.insert(call.address?.clone());
            hit.then(|| error(ErrorClass::Uncertain)).flatten()
        });
        let stack = json!({ "node.a": {}, "site.s": { "name": "s" }, "node.b": { "inputs": ["${site.s.id}"] } });
        let state = complete(apply(&cloud, stack.clone(), empty()).await);
        inventory(&cloud);
        assert_settled(&cloud, &graph(&cloud, stack), &state).await;
    }
}

/// The call is sent again with its token; that this one is refused does not mean that nothing is there.
#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_answer_is_not_believed() {
    for visible in [0, 5] {
        let timing = Timing { visible: Duration::from_secs(visible), ..Timing::default() };
        let cloud = Simulated::new(Behaviour { timing, ..Behaviour::default() });
        let mut sent = 0;
        cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
            if call.operation != Operation::Create {
                return None;
            }
            sent += u32::from(moment == Moment::Before);
            match (sent, moment) {
                (1, Moment::After) => error(ErrorClass::Uncertain),
                (2.., Moment::Before) => error(ErrorClass::Quota),
                _ => None,
            }
        });
        let stack = json!({ "hosted_zone.main": { "name": "example.com" } });
        let state = complete(apply(&cloud, stack.clone(), empty()).await);
        inventory(&cloud);
        assert_settled(&cloud, &graph(&cloud, stack), &state).await;
    }
}

/// Nothing was done before the refusal: it is believed once that has been looked up.
#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_request_fails_in_the_end() {
    let cloud = Simulated::default();
    let mut sent = 0;
    cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
        let hit = call.operation == Operation::Create && moment == Moment::Before;
        sent += u32::from(hit);
        hit.then(|| error(if sent == 1 { ErrorClass::Uncertain } else { ErrorClass::Quota })).flatten()
    });
    let ran = apply(&cloud, json!({ "hosted_zone.main": { "name": "example.com" } }), empty()).await;
    assert_eq!(ran.report.failed.len(), 1);
    assert!(ran.state.unresolved.is_empty(), "that nothing was done is certain");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_in_the_end_is_settled_by_the_next_run() {
    let cloud = Simulated::default();
    cloud.set_faults(|call: &Call<'_>, moment: Moment| {
        let hit = matches!(call.operation, Operation::Create) && moment == Moment::After
            || call.operation == Operation::Find && moment == Moment::Before;
        hit.then(|| error(ErrorClass::Uncertain)).flatten()
    });
    let ran = apply(&cloud, json!({ "node.a": {} }), empty()).await;
    assert_eq!(ran.report.failed.len(), 1);
    assert_eq!(ran.state.unresolved.len(), 1, "what may have been done stays noted");
    cloud.clear_faults();
    let stack = json!({ "node.a": {} });
    let state = complete(apply(&cloud, stack.clone(), ran.state).await);
    inventory(&cloud);
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

#[tokio::test(start_paused = true)]
async fn a_replacement_comes_before_the_old_one_goes() {
    let cloud = Simulated::new(slow());
    let stack = |fixed: &str| {
        json!({
            "node.base": { "fixed": fixed },
            "node.top": { "inputs": ["${node.base.id}"] },
        })
    };
    let state = complete(apply(&cloud, stack("old"), empty()).await);
    let seen = watch_calls(&cloud);
    let ran = apply(&cloud, stack("new"), state).await;
    assert_eq!((ran.report.replaced, ran.report.updated, ran.report.deleted), (1, 1, 0));
    assert!(first(&seen, "create node.base") < first(&seen, "update node.top"));
    assert!(first(&seen, "update node.top") < first(&seen, "delete node.base"));
    let state = complete(ran);
    inventory(&cloud);
    assert_settled(&cloud, &graph(&cloud, stack("new")), &state).await;
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_cannot_stand_beside_the_old_one() {
    let cloud = Simulated::new(slow());
    let stack = |fixed: &str| {
        json!({
            "site.web": { "name": "web", "fixed": fixed },
            "node.top": { "fixed": "${site.web.id}" },
        })
    };
    let state = complete(apply(&cloud, stack("old"), empty()).await);
    let seen = watch_calls(&cloud);
    let state = complete(apply(&cloud, stack("new"), state).await);
    assert!(first(&seen, "delete node.top") < first(&seen, "delete site.web"));
    assert!(first(&seen, "delete site.web") < first(&seen, "create site.web"));
    assert!(first(&seen, "create site.web") < first(&seen, "create node.top"));
    inventory(&cloud);
    assert_settled(&cloud, &graph(&cloud, stack("new")), &state).await;
}

#[tokio::test(start_paused = true)]
async fn what_went_counts_though_nothing_has_come_in_its_place() {
    let cloud = Simulated::new(slow());
    let stack = |fixed: &str| {
        json!({
            "site.web": { "name": "web", "fixed": fixed },
            "node.top": { "fixed": "${site.web.id}" },
        })
    };
    let state = complete(apply(&cloud, stack("old"), empty()).await);
    cloud.set_faults(|call: &Call<'_>, moment: Moment| {
        (call.operation == Operation::Create && moment == Moment::Before).then(|| error(ErrorClass::Refused)).flatten()
    });
    let report = apply(&cloud, stack("new"), state.clone()).await.report;
    let counts = |report: &Report| (report.created, report.replaced, report.deleted, report.failed.len());
    assert_eq!(counts(&report), (0, 0, 2, 1), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_leaves_the_stack_goes_after_what_used_it_moved_away() {
    let cloud = Simulated::new(slow());
    let before = json!({ "node.old": {}, "node.user": { "inputs": ["${node.old.id}"] } });
    let after = json!({ "node.new": {}, "node.user": { "inputs": ["${node.new.id}"] } });
    let state = complete(apply(&cloud, before, empty()).await);
    let seen = watch_calls(&cloud);
    let state = complete(apply(&cloud, after.clone(), state).await);
    assert!(first(&seen, "create node.new") < first(&seen, "update node.user"));
    assert!(first(&seen, "update node.user") < first(&seen, "delete node.old"));
    assert_settled(&cloud, &graph(&cloud, after), &state).await;
}

#[tokio::test(start_paused = true)]
async fn drift_is_found_and_repaired() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": { "size": 2 }, "node.b": {}, "node.c": { "inputs": ["${node.b.id}"] } });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    cloud.meddle(&state.resources["node.a"].id, |attributes| drop(attributes.insert("size".into(), json!(9))));
    cloud.vanish(&state.resources["node.b"].id);
    let ran = apply(&cloud, stack.clone(), state).await;
    assert_eq!(ran.plan.drift.len(), 2);
    assert_eq!((ran.report.created, ran.report.updated), (1, 2));
    let state = complete(ran);
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

#[tokio::test(start_paused = true)]
async fn lookups_are_read_and_forgotten() {
    let cloud = Simulated::default();
    let observed = |value: &str| Observed {
        id: "c-1".into(),
        attributes: map(json!({ "name": "c" })),
        outputs: map(json!({ "value": value })),
    };
    cloud.offer("catalog", "c", observed("one"));
    let stack = json!({ "catalog.c": { "name": "c" }, "node.a": { "inputs": ["${catalog.c.value}"] } });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    assert_settled(&cloud, &graph(&cloud, stack.clone()), &state).await;
    cloud.offer("catalog", "c", observed("two"));
    let state = complete(apply(&cloud, stack.clone(), state).await);
    assert_eq!(state.resources["node.a"].attributes["inputs"], json!(["two"]));
    assert_settled(&cloud, &graph(&cloud, stack.clone()), &state).await;
    let ask = Ask { mode: Mode::Destroy, ..Ask::default() };
    let state = complete(run_with(&cloud, &graph(&cloud, stack), state, ask, options()).await);
    assert!(state.resources.is_empty() && cloud.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_what_is_kept_even_where_nothing_else_changes() {
    let cloud = Simulated::default();
    let stack = |on: &[&str]| json!({ "node.a": {}, "node.b": {}, "node.c": { "size": 3, "depends_on": on } });
    let state = complete(apply(&cloud, stack(&["node.a"]), empty()).await);
    let ran = apply(&cloud, stack(&["node.b"]), state).await;
    assert!(!ran.plan.has_changes());
    let entry = &ran.state.resources["node.c"];
    assert_eq!(entry.depends_on, [crate::stack::address("node.b")]);
    assert_eq!(entry.attributes["size"], 3, "what it is stays known");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_create_that_changed_since_ends_as_the_stack_says() {
    let cloud = Simulated::default();
    cloud.set_faults(|call: &Call<'_>, moment: Moment| {
        let hit = call.operation == Operation::Finish && moment == Moment::Before;
        hit.then(|| error(ErrorClass::Refused)).flatten()
    });
    let ran = apply(&cloud, json!({ "node.a": {}, "node.b": { "size": 1 } }), empty()).await;
    assert_eq!((ran.report.failed.len(), ran.state.resources.len()), (2, 2));
    cloud.clear_faults();
    let stack = json!({ "node.a": { "protect": true }, "node.b": { "size": 2, "depends_on": ["node.a"] } });
    let state = complete(apply(&cloud, stack.clone(), ran.state).await);
    assert!(state.resources["node.a"].protect);
    assert_eq!(state.resources["node.b"].attributes["size"], 2);
    assert_eq!(state.resources["node.b"].depends_on.len(), 1);
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

/// An error of this class for calls like these, as often as told, before they have an effect.
fn times(cloud: &Simulated, count: u32, class: ErrorClass, is_hit: impl Fn(&Call<'_>) -> bool + Send + 'static) {
    let mut left = count;
    cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
        let hit = moment == Moment::Before && left > 0 && is_hit(call);
        left -= u32::from(hit);
        hit.then(|| error(class)).flatten()
    });
}

#[tokio::test(start_paused = true)]
async fn what_was_made_in_this_run_may_not_be_found_yet() {
    for (operation, address) in [
        (Operation::Finish, "node.a"),
        (Operation::Poll, "node.a"),
        (Operation::Create, "node.b"),
        (Operation::Finish, "node.b"),
        (Operation::Update, "node.c"),
    ] {
        let hit = move |call: &Call<'_>| {
            call.operation == operation && call.address.is_some_and(|one| one.as_str() == address)
        };
        let cloud = Simulated::default();
        let state = complete(apply(&cloud, json!({ "node.c": {} }), empty()).await);
        times(&cloud, 4, ErrorClass::NotFound, hit);
        let mut stack = chain();
        stack["node.c"] = json!({ "beside": ["${node.b.id}"] });
        let state = complete(apply(&cloud, stack.clone(), state).await);
        assert_settled(&cloud, &graph(&cloud, stack.clone()), &state).await;

        // It is found soon, or never.
        let cloud = Simulated::default();
        let state = complete(apply(&cloud, json!({ "node.c": {} }), empty()).await);
        times(&cloud, 1000, ErrorClass::NotFound, hit);
        let ran = apply(&cloud, stack, state).await;
        assert_eq!(ran.report.failed.len(), 1, "{operation:?} of {address}");
        assert!(ran.report.elapsed < Duration::from_secs(30), "{operation:?}: {:?}", ran.report.elapsed);
    }
    // What stood there before is gone, and does not come back.
    let cloud = Simulated::default();
    let state = complete(apply(&cloud, json!({ "node.a": {}, "node.b": {} }), empty()).await);
    times(&cloud, 1, ErrorClass::NotFound, |call| call.operation == Operation::Update);
    let ran = apply(&cloud, json!({ "node.a": {}, "node.b": { "beside": ["${node.a.id}"] } }), state).await;
    assert_eq!(ran.report.failed.len(), 1);
    assert!(ran.report.elapsed < Duration::from_secs(1), "{:?}", ran.report.elapsed);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_did_not_come_to_its_end_is_made_again() {
    let stack = |size: u64| json!({ "node.a": { "size": size, "secret": "s" }, "node.b": {} });
    let is_update = |call: &Call<'_>| call.operation == Operation::Update;
    let is_poll = |call: &Call<'_>| call.operation == Operation::Poll;
    // The first call of the update had its effect, a later one was refused; or what it began ended badly.
    for (moment, hit) in [
        (Moment::After, is_update as fn(&Call<'_>) -> bool), //
        (Moment::Before, is_update),
        (Moment::Before, is_poll),
    ] {
        for drifted in [false, true] {
            let cloud = Simulated::default();
            let state = complete(apply(&cloud, stack(if drifted { 2 } else { 1 }), empty()).await);
            let id = state.resources["node.a"].id.clone();
            if drifted {
                cloud.meddle(&id, |attributes| drop(attributes.insert("size".into(), json!(1))));
            }
            cloud.set_faults(move |call: &Call<'_>, at: Moment| {
                (at == moment && hit(call)).then(|| error(ErrorClass::Denied)).flatten()
            });
            let ran = apply(&cloud, stack(2), state).await;
            assert_eq!((ran.report.failed.len(), ran.report.updated), (1, 0));
            let state = ran.state;
            cloud.clear_faults();
            // It is told and done again, although the cloud shows what is wanted.
            cloud.meddle(&id, |attributes| drop(attributes.insert("size".into(), json!(2))));
            let plan = planned(&cloud, &graph(&cloud, stack(2)), &state, Ask::default()).await;
            let changes: Vec<_> = plan.changing().map(|a| (a.address.as_str(), a.reason.as_str())).collect();
            assert_eq!(changes, [("node.a", "changing it did not come to its end")]);
            let paths: Vec<_> = plan.changing().flat_map(|a| &a.changes).map(|c| (&*c.path, &c.before)).collect();
            assert_eq!(paths, [("size", &json!(1))]);
            assert!(plan.drift.is_empty(), "{:?}", plan.drift);
            // Who takes the change back is done with it.
            let back = apply(&cloud, stack(1), state.clone()).await;
            assert_settled(&cloud, &graph(&cloud, stack(1)), &complete(back)).await;
            cloud.meddle(&id, |attributes| drop(attributes.insert("size".into(), json!(2))));
            cloud.forget_calls();
            let state = complete(apply(&cloud, stack(2), state).await);
            assert_eq!(cloud.calls()[&("node", Operation::Update)], 1);
            assert_settled(&cloud, &graph(&cloud, stack(2)), &state).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_was_cut_off_is_made_again() {
    for how in [Stop::Gently, Stop::Now] {
        let cloud = Simulated::new(slow());
        let state = complete(apply(&cloud, json!({ "node.a": { "size": 1 } }), empty()).await);
        let mut ledger = Memory::new(state);
        let wanted = graph(&cloud, json!({ "node.a": { "size": 2 } }));
        let plan = planned(&cloud, &wanted, ledger.state(), Ask::default()).await;
        let (sender, stop) = watch::channel(Stop::No);
        let execution =
            Execution { plan: &plan, cloud: &cloud, ledger: &mut ledger, options: options(), stop, emit: &mut |_| {} };
        let asking = async {
            // The call is through, and what it began is not.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = sender.send(how);
            std::future::pending::<()>().await
        };
        let report = tokio::select! {
            report = execute(execution) => report.unwrap(),
            () = asking => unreachable!("it never ends"),
        };
        assert!(!report.is_complete());
        let again = run_with(&cloud, &wanted, ledger.close(), Ask::default(), options()).await;
        assert_eq!(again.report.updated, 1, "{how:?}");
        assert_settled(&cloud, &wanted, &complete(again)).await;
    }
}
