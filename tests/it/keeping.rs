//! Nothing that was made leaves the state unnoticed: plans that are out of date, reads that lag behind, answers without an
//! id, names that come back.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam::apply::{Execution, Report, Stop, execute, settle};
use cofferdam::cloud::{
    Cloud, CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use cofferdam::graph::{Attributes, Graph, KindSpec, Scope};
use cofferdam::plan::{Plan, drift, refresh};
use cofferdam::simulated::{Behaviour, Call, Fault, Moment, Operation, Simulated, Timing};
use cofferdam::state::{Intent, Memory, Record, State};
use serde_json::json;
use tokio::sync::watch;

use crate::engine::{apply, assert_settled, complete, empty, inventory, options, planned, run_with};
use crate::stack::{Ask, graph, map};

/// A cloud that answers oddly now and then.
struct Odd<'a> {
    inner: &'a Simulated,
    /// By id, how many reads do not show it.
    hidden: Mutex<HashMap<String, u32>>,
    /// How many creates answer without an id.
    nameless: Mutex<u32>,
    /// Outputs that somebody changed outside of the tool.
    outputs: Mutex<Attributes>,
}

impl<'a> Odd<'a> {
    fn new(inner: &'a Simulated) -> Self {
        Self { inner, hidden: Mutex::default(), nameless: Mutex::default(), outputs: Mutex::default() }
    }

    fn hide(&self, id: &str, reads: u32) {
        self.hidden.lock().unwrap().insert(id.to_owned(), reads);
    }
}

#[async_trait]
impl Cloud for Odd<'_> {
    fn scope(&self) -> &Scope {
        self.inner.scope()
    }

    fn spec(&self, kind: &str) -> Option<&KindSpec> {
        self.inner.spec(kind)
    }

    fn kinds(&self) -> Vec<&str> {
        self.inner.kinds()
    }

    async fn owned(&self, kind: &str) -> Result<Vec<Owned>, CloudError> {
        self.inner.owned(kind).await
    }

    async fn read(&self, kind: &str, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut seen = self.inner.read(kind, wanted).await?;
        let mut hidden = self.hidden.lock().unwrap();
        for (known, seen) in wanted.iter().zip(&mut seen) {
            if let Some(times) = hidden.get_mut(&known.id).filter(|times| **times > 0) {
                *times -= 1;
                *seen = None;
            }
            if let Some(seen) = seen {
                seen.outputs.extend(self.outputs.lock().unwrap().clone());
            }
        }
        Ok(seen)
    }

    async fn look_up(&self, kind: &str, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError> {
        self.inner.look_up(kind, id, attributes).await
    }

    async fn find(&self, kind: &str, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        self.inner.find(kind, lost).await
    }

    async fn create(&self, kind: &str, request: &CreateRequest) -> Result<Created, CloudError> {
        let mut created = self.inner.create(kind, request).await?;
        let mut nameless = self.nameless.lock().unwrap();
        if *nameless > 0 {
            *nameless -= 1;
            created.id.clear();
        }
        Ok(created)
    }

    async fn finish(&self, kind: &str, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        self.inner.finish(kind, id, request).await
    }

    async fn update(&self, kind: &str, request: &UpdateRequest) -> Result<(), CloudError> {
        self.inner.update(kind, request).await
    }

    async fn delete(&self, kind: &str, known: &Known) -> Result<(), CloudError> {
        self.inner.delete(kind, known).await
    }

    async fn poll(&self, kind: &str, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        self.inner.poll(kind, known, phase).await
    }
}

/// Lets every call of this operation for this address be refused.
fn refuse(cloud: &Simulated, operation: Operation, address: &'static str) {
    cloud.set_faults(move |call: &Call<'_>, moment: Moment| {
        let hit = call.operation == operation && call.address.is_some_and(|one| one.as_str() == address);
        let error = || Fault::Error(CloudError::new(ErrorClass::Refused, "simulated:Any", "Injected", "injected"));
        (hit && moment == Moment::Before).then(error)
    });
}

async fn execute_in(cloud: &dyn Cloud, plan: &Plan, ledger: &mut Memory) -> Report {
    let (_sender, stop) = watch::channel(Stop::No);
    execute(Execution { plan, cloud, ledger, options: options(), stop, emit: &mut |_| {} }).await.unwrap()
}

fn fits(plan: &Plan, state: &State) -> Result<(), String> {
    plan.fits(state, "local", Some("123456789012"), "eu-west-2").map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_saved_plan_no_longer_fits_once_a_run_of_it_has_died() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } });
    let graph = graph(&cloud, stack.clone());
    let mut first = crate::stack::plan(&cloud, &graph, None, None, Ask::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    first.save(&folder.path().join("plan"), None, None).unwrap();
    let first = Plan::load(&folder.path().join("plan"), &Default::default()).unwrap();
    assert_eq!(fits(&first, &empty()), Ok(()), "a plan made before there was a state");
    refuse(&cloud, Operation::Create, "node.b");
    let snapshot = empty();
    let mut ledger = Memory::new(snapshot.clone());
    execute_in(&cloud, &first, &mut ledger).await;
    cloud.clear_faults();
    let died = ledger.after_crash(snapshot);
    assert_eq!((died.serial, died.resources.len()), (0, 1), "the run died and left its journal");
    insta::assert_snapshot!(fits(&first, &died).unwrap_err(), @"the plan does not fit: a run that did not come to its end has changed the state since the plan was made");
    // Whoever executes it anyhow makes nothing twice.
    let mut ledger = Memory::new(died);
    let report = execute_in(&cloud, &first, &mut ledger).await;
    insta::assert_snapshot!(report.failed[0].2.to_string(), @"node.a: node-00000000000000001 stands there by now, which the plan did not know");
    assert_eq!(inventory(&cloud).len(), 1);
    let state = complete(apply(&cloud, stack, ledger.close()).await);
    assert_settled(&cloud, &graph, &state).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_read_does_not_show_for_a_moment_is_not_gone() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    let odd = Odd::new(&cloud);
    odd.hide(&state.resources["node.a"].id, 2);
    let plan = planned(&odd, &graph(&cloud, stack), &state, Ask::default()).await;
    assert!(!plan.has_changes() && plan.drift.is_empty(), "{:?}", plan.actions);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_for_gone_and_is_there_stays_known() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {}, "node.b": { "inputs": ["${node.a.id}"] } });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    let id = state.resources["node.a"].id.clone();
    let graph = graph(&cloud, stack);
    // Every read of the plan misses it.
    let odd = Odd::new(&cloud);
    odd.hide(&id, 1000);
    let plan = planned(&odd, &graph, &state, Ask::default()).await;
    assert_eq!((plan.summary.create, plan.summary.drift), (1, 1));
    let mut ledger = Memory::new(state);
    let report = execute_in(&cloud, &plan, &mut ledger).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(ledger.state().deposed.iter().map(|old| old.entry.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let state = complete(run_with(&cloud, &graph, ledger.close(), Ask::default(), options()).await);
    inventory(&cloud);
    assert_settled(&cloud, &graph, &state).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_indeed_is_made_again_and_forgotten_in_one_run() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {} });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    cloud.vanish(&state.resources["node.a"].id);
    let state = complete(apply(&cloud, stack.clone(), state).await);
    assert_settled(&cloud, &graph(&cloud, stack), &state).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_comes_back_takes_back_what_it_named() {
    let cloud = Simulated::default();
    let stack = |name: &str, text: &str| {
        json!({
            "role.web": { "name": name, "service": "ec2.amazonaws.com", "description": text },
            "node.user": { "inputs": ["${role.web.name}"] },
        })
    };
    let state = complete(apply(&cloud, stack("a", "x"), empty()).await);
    let first = state.resources["role.web"].id.clone();
    refuse(&cloud, Operation::Delete, "role.web");
    let ran = apply(&cloud, stack("b", "x"), state).await;
    assert_eq!(ran.state.deposed.len(), 1, "the renaming was interrupted: {:?}", ran.report);
    cloud.clear_faults();
    let ran = apply(&cloud, stack("a", "y"), ran.state).await;
    assert_eq!((ran.report.updated, ran.report.deleted, ran.report.created), (2, 1, 0));
    let state = complete(ran);
    assert_eq!(state.resources["role.web"].id, first, "it is the one that was there before");
    inventory(&cloud);
    assert_settled(&cloud, &graph(&cloud, stack("a", "y")), &state).await;
}

#[tokio::test(start_paused = true)]
async fn what_stands_at_an_address_is_never_deleted_as_its_predecessor() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {} });
    let mut state = complete(apply(&cloud, stack.clone(), empty()).await);
    let entry = state.resources["node.a"].clone();
    let address = crate::stack::address("node.a");
    state.deposed.push(cofferdam::state::Deposed { address: address.clone(), entry });
    let plan = planned(&cloud, &graph(&cloud, stack), &state, Ask::default()).await;
    assert_eq!(plan.summary.delete, 1);
    let mut ledger = Memory::new(state);
    let report = execute_in(&cloud, &plan, &mut ledger).await;
    assert_eq!((report.deleted, report.is_complete()), (0, true));
    assert_eq!(cloud.held().len(), 1);
    assert!(ledger.state().resources.contains_key(&address));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_answered_without_an_id_is_looked_up() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {}, "site.s": { "name": "s" } });
    let odd = Odd::new(&cloud);
    *odd.nameless.lock().unwrap() = 2;
    let graph = graph(&cloud, stack);
    let state = complete(run_with(&odd, &graph, empty(), Ask::default(), options()).await);
    inventory(&cloud);
    assert_settled(&cloud, &graph, &state).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_skipped_while_it_waited_for_a_slot_does_not_run() {
    let call = Duration::from_millis(100);
    let timing = Timing { call, ..Timing::default() };
    let cloud = Simulated::new(Behaviour { timing, ..Behaviour::default() });
    refuse(&cloud, Operation::Poll, "node.a");
    // It comes first, for most hangs on it; what stands beside it comes last.
    let mut stack = json!({ "node.a": {}, "node.beside": { "beside": ["${node.a.id}"] }, "node.x0": { "inputs": ["${node.a.id}"] } });
    for n in 1..8 {
        stack[format!("node.x{n}")] = json!({ "inputs": [format!("${{node.x{}.id}}", n - 1)] });
    }
    // Other ways keep the one slot busy.
    for lane in 0..4 {
        stack[format!("node.l{lane}n0")] = json!({});
        for n in 1..6 {
            stack[format!("node.l{lane}n{n}")] = json!({ "inputs": [format!("${{node.l{lane}n{}.id}}", n - 1)] });
        }
    }
    let graph = graph(&cloud, stack);
    let one = cofferdam::apply::Options { slots: 1, ..options() };
    let ran = run_with(&cloud, &graph, empty(), Ask::default(), one).await;
    assert!(ran.report.skipped.contains(&crate::stack::address("node.beside")), "{:?}", ran.report);
    assert!(!inventory(&cloud).contains_key("node.beside"), "what was told to be skipped is not made");
    assert!(ran.state.unresolved.is_empty() && !ran.state.resources.contains_key("node.beside"));
}

#[tokio::test(start_paused = true)]
async fn what_exists_is_read_by_its_id_whatever_else_is_said_of_it() {
    let cloud = Simulated::default();
    let theirs =
        complete(apply(&cloud, json!({ "node.theirs": {} }), empty()).await).resources["node.theirs"].id.clone();
    let stack = json!({
        "node.a": {},
        "node.theirs": { "existing": theirs, "inputs": ["${node.a.id}"] },
        "site.s": { "name": "s" },
        "catalog.c": { "name": "${site.s.name}" },
        "node.b": { "fixed": "${node.theirs.serial} ${catalog.c.value}" },
    });
    let observed =
        Observed { id: "c-1".into(), attributes: map(json!({ "name": "s" })), outputs: map(json!({ "value": "v" })) };
    cloud.offer("catalog", "s", observed);
    let graph = graph(&cloud, stack.clone());
    let state = complete(apply(&cloud, stack, empty()).await);
    let second = planned(&cloud, &graph, &state, Ask::default()).await;
    assert!(!second.has_changes(), "{:?}", second.changing().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_the_tool_made_goes_once_the_stack_reads_something_else_there() {
    let cloud = Simulated::default();
    let theirs =
        complete(apply(&cloud, json!({ "node.theirs": {} }), empty()).await).resources["node.theirs"].id.clone();
    let user = json!({ "inputs": ["${node.main.id}"] });
    let state = complete(apply(&cloud, json!({ "node.main": {}, "node.user": user }), empty()).await);
    let made = state.resources["node.main"].id.clone();
    let ran = apply(&cloud, json!({ "node.main": { "existing": theirs }, "node.user": user }), state).await;
    assert_eq!((ran.report.updated, ran.report.deleted), (1, 1));
    let state = complete(ran);
    assert!(!cloud.held().contains_key(&made) && cloud.held().contains_key(&theirs) && state.deposed.is_empty());
    // And back: what exists is left alone.
    let state = complete(apply(&cloud, json!({ "node.main": {}, "node.user": user }), state).await);
    assert!(cloud.held().contains_key(&theirs) && cloud.held().len() == 3);
    // Handed over altogether: it stays, and is no longer the tool's.
    let made = state.resources["node.main"].id.clone();
    let stack = json!({ "node.main": { "existing": made }, "node.user": user });
    let graph = graph(&cloud, stack.clone());
    let plan = planned(&cloud, &graph, &state, Ask::default()).await;
    assert_eq!((plan.summary.forget, plan.summary.update), (1, 0));
    let state = complete(apply(&cloud, stack, state).await);
    assert!(state.resources["node.main"].read_only && cloud.held().contains_key(&made));
    assert!(!planned(&cloud, &graph, &state, Ask::default()).await.has_changes());
}

#[tokio::test(start_paused = true)]
async fn a_target_made_anew_leaves_the_others_what_they_use() {
    let cloud = Simulated::default();
    let stack = |name: &str| {
        json!({
            "role.web": { "name": name, "service": "ec2.amazonaws.com" },
            "node.user": { "inputs": ["${role.web.id}"] },
        })
    };
    let state = complete(apply(&cloud, stack("a"), empty()).await);
    let graph = graph(&cloud, stack("b"));
    let ask = Ask { targets: &["role.web"], ..Ask::default() };
    let state = complete(run_with(&cloud, &graph, state, ask, options()).await);
    assert_eq!((state.deposed.len(), cloud.held().len()), (1, 3), "the old role stays while it is used");
    let again = planned(&cloud, &graph, &state, ask).await;
    assert!(!again.has_changes(), "{:?}", again.changing().collect::<Vec<_>>());
    let state = complete(run_with(&cloud, &graph, state, Ask::default(), options()).await);
    assert_settled(&cloud, &graph, &state).await;
}

#[tokio::test(start_paused = true)]
async fn outputs_that_changed_outside_are_kept() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {} });
    let state = complete(apply(&cloud, stack.clone(), empty()).await);
    let odd = Odd::new(&cloud);
    *odd.outputs.lock().unwrap() = map(json!({ "serial": "moved" }));
    let ran = run_with(&odd, &graph(&cloud, stack), state, Ask::default(), options()).await;
    assert!(!ran.plan.has_changes());
    assert_eq!(ran.state.resources["node.a"].outputs["serial"], "moved");
}

#[tokio::test(start_paused = true)]
async fn drift_is_told_even_where_no_plan_is_allowed() {
    let cloud = Simulated::default();
    let stack = json!({ "node.kept": { "protect": true, "size": 1 }, "node.gone": {} });
    let state = complete(apply(&cloud, stack, empty()).await);
    cloud.meddle(&state.resources["node.kept"].id, |attributes| drop(attributes.insert("size".into(), json!(9))));
    cloud.vanish(&state.resources["node.gone"].id);
    let observed = refresh::refresh(&cloud, &Graph::default(), &state).await.unwrap();
    let nothing = graph(&cloud, json!({}));
    crate::stack::plan(&cloud, &nothing, Some(&state), Some(&observed), Ask::default()).unwrap_err();
    let drift = drift(&state, &observed, &|kind| cloud.spec(kind));
    let told: Vec<_> = drift.iter().map(|one| (one.address.as_str(), one.gone, one.changes.len())).collect();
    assert_eq!(told, [("node.gone", true, 0), ("node.kept", false, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_never_went_out_is_not_taken_for_done_by_one_lagging_read() {
    let cloud = Simulated::default();
    let stack = json!({ "node.a": {} });
    let state = complete(apply(&cloud, stack, empty()).await);
    let id = state.resources["node.a"].id.clone();
    let address = crate::stack::address("node.a");
    let intent = Intent {
        number: 0,
        address: address.clone(),
        operation: cofferdam::state::Operation::Delete,
        token: String::new(),
        attributes: Attributes::new(),
        depends_on: Vec::new(),
        id: Some(id.clone()),
    };
    let mut ledger = Memory::new(state);
    ledger.note(Record::Intent(intent));
    let odd = Odd::new(&cloud);
    odd.hide(&id, 1);
    settle(&odd, &mut ledger).await.unwrap();
    assert!(ledger.state().resources.contains_key(&address), "it is there, and known");
}
