//! Runs that die or are stopped: whatever the moment, the next run ends where an undisturbed one would have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cofferdam::apply::{Execution, Ledger, Options, Report, Stop, execute, settle};
use cofferdam::cloud::Cloud;
use cofferdam::plan::Mode;
use cofferdam::simulated::{Behaviour, Call, Fault, Moment, Simulated, Timing};
use cofferdam::state::{Memory, Record, State, StateError};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::{assert_settled, complete, empty, options, planned, run_with, slow};
use crate::stack::{Ask, graph};

/// The moment at which a run dies, and of how many of its kind.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// Before the nth sync reached the disk.
    BeforeSync,
    /// Right after it.
    AfterSync,
    /// Before the nth call had an effect.
    BeforeCall,
    /// After its effect, before its answer.
    AfterCall,
}

/// A ledger whose process may be dead: nothing reaches the disk then.
struct Mortal {
    memory: Memory,
    dead: Arc<AtomicBool>,
    death: Option<(Death, u64)>,
    syncs: u64,
}

impl Mortal {
    fn die(&self) -> Result<(), StateError> {
        self.dead.store(true, Ordering::Relaxed);
        Err(StateError::Damaged { path: "memory".into(), why: "the process died".into() })
    }
}

impl Ledger for Mortal {
    fn state(&self) -> &State {
        self.memory.state()
    }

    fn note(&mut self, record: Record) {
        self.memory.note(record);
    }

    fn sync(&mut self) -> Result<(), StateError> {
        if self.dead.load(Ordering::Relaxed) {
            return self.die();
        }
        if matches!(self.death, Some((Death::BeforeSync, number)) if number == self.syncs) {
            return self.die();
        }
        let before = self.memory.syncs();
        self.memory.sync();
        let did = self.memory.syncs() > before;
        self.syncs += u64::from(did);
        if did && matches!(self.death, Some((Death::AfterSync, number)) if number + 1 == self.syncs) {
            return self.die();
        }
        Ok(())
    }
}

/// One run that dies as told. Gives the state that the next run finds, and whether it did die.
async fn dying(cloud: &Simulated, stack: &Value, state: State, ask: Ask<'_>, death: (Death, u64)) -> (State, bool) {
    let dead = Arc::new(AtomicBool::new(false));
    let calls = AtomicU64::new(0);
    let flag = dead.clone();
    cloud.set_faults(move |_: &Call<'_>, moment: Moment| {
        if flag.load(Ordering::Relaxed) {
            return Some(Fault::Silence);
        }
        let mine = match death.0 {
            Death::BeforeCall => Moment::Before,
            Death::AfterCall => Moment::After,
            Death::BeforeSync | Death::AfterSync => return None,
        };
        let dies = moment == mine && calls.fetch_add(1, Ordering::Relaxed) == death.1;
        flag.fetch_or(dies, Ordering::Relaxed);
        dies.then_some(Fault::Silence)
    });
    let mut ledger = Mortal { memory: Memory::new(state.clone()), dead: dead.clone(), death: Some(death), syncs: 0 };
    let whole_run = async {
        if settle(cloud, &mut ledger).await.is_err() {
            return;
        }
        let plan = planned(cloud, &graph(cloud, stack.clone()), ledger.memory.state(), ask).await;
        let (_sender, stop) = watch::channel(Stop::No);
        // Few slots, so that intents are noted of what is not sent yet.
        let options = Options { slots: 2, ..options() };
        let execution = Execution { plan: &plan, cloud, ledger: &mut ledger, options, stop, emit: &mut |_| {} };
        if let Ok(report) = execute(execution).await {
            assert!(report.is_complete(), "{report:?}");
        }
    };
    // A call that is never answered keeps the run waiting; dropping it is what the death of its process does.
    let _ = tokio::time::timeout(Duration::from_secs(36_000), whole_run).await;
    cloud.clear_faults();
    let died = dead.load(Ordering::Relaxed);
    (if died { ledger.memory.after_crash(state) } else { ledger.memory.close() }, died)
}

/// What the cloud holds, by address, with addresses in place of ids.
fn contents(cloud: &Simulated) -> BTreeMap<String, String> {
    let held = cloud.held();
    let mut texts = BTreeMap::new();
    for one in held.values() {
        let mut text = Value::Object(one.attributes.clone()).to_string();
        for (id, other) in &held {
            text = text.replace(id.as_str(), other.address.as_str());
        }
        assert!(texts.insert(one.address.to_string(), text).is_none(), "{} is there once", one.address);
    }
    texts
}

fn before() -> Value {
    json!({
        "node.base": { "fixed": "1" },
        "node.kept": { "size": 1 },
        "site.web": { "name": "web", "fixed": "1" },
        "node.on_base": { "inputs": ["${node.base.id}"] },
        "node.on_site": { "fixed": "${site.web.id}" },
        "node.goes": { "inputs": ["${node.base.id}"] },
        "node.beside": { "beside": ["${node.kept.id}"] },
    })
}

fn after() -> Value {
    json!({
        "node.base": { "fixed": "2" },
        "node.kept": { "size": 2 },
        "site.web": { "name": "web", "fixed": "2" },
        "node.on_base": { "inputs": ["${node.base.id}", "${node.new.id}"] },
        "node.on_site": { "fixed": "${site.web.id}" },
        "node.beside": { "beside": ["${node.kept.id}", "${node.new.id}"] },
        "node.new": { "inputs": ["${node.kept.serial}"] },
        "outputs": { "base": "${node.base.id}" },
    })
}

fn behaviours() -> [Behaviour; 3] {
    let ms = Duration::from_millis;
    let invisible = Timing { call: ms(80), ready: ms(700), gone: ms(300), visible: ms(4000) };
    [
        Behaviour::default(),
        Behaviour { jitter: 0.8, seed: 7, ..slow() },
        Behaviour { timing: invisible, jitter: 0.5, seed: 3, ..Behaviour::default() },
    ]
}

/// Dies at every moment there is, and a second time soon after where `twice` says so.
async fn everywhere(first: Option<Value>, then: Value, mode: Mode, twice: bool) {
    let ask = Ask { mode, ..Ask::default() };
    for behaviour in behaviours() {
        let start = async || {
            let cloud = Simulated::new(behaviour.clone());
            let state = match &first {
                Some(stack) => {
                    let graph = graph(&cloud, stack.clone());
                    complete(run_with(&cloud, &graph, empty(), Ask::default(), options()).await)
                }
                None => empty(),
            };
            (cloud, state)
        };
        let (cloud, state) = start().await;
        complete(run_with(&cloud, &graph(&cloud, then.clone()), state, ask, options()).await);
        let wanted = contents(&cloud);
        for death in [Death::BeforeSync, Death::AfterSync, Death::BeforeCall, Death::AfterCall] {
            for number in 0.. {
                let (cloud, state) = start().await;
                let (mut state, died) = dying(&cloud, &then, state, ask, (death, number)).await;
                if twice {
                    state = dying(&cloud, &then, state, ask, (death, number % 5)).await.0;
                }
                let graph = graph(&cloud, then.clone());
                let ran = run_with(&cloud, &graph, state, ask, options()).await;
                assert!(ran.report.is_complete(), "{death:?} {number}: {:?}", ran.report);
                assert_eq!(contents(&cloud), wanted, "{death:?} {number}");
                if mode == Mode::Destroy {
                    assert!(ran.state.is_empty(), "{death:?} {number}: {:?}", ran.state);
                } else {
                    assert_settled(&cloud, &graph, &ran.state).await;
                }
                if !died {
                    assert!(number > 2, "it died at {number} moments");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_apply_may_die_anywhere() {
    everywhere(None, before(), Mode::Apply, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_may_die_anywhere() {
    everywhere(Some(before()), after(), Mode::Apply, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_may_die_twice() {
    everywhere(Some(before()), after(), Mode::Apply, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_destroy_may_die_anywhere() {
    everywhere(Some(before()), before(), Mode::Destroy, false).await;
}

/// A run that is stopped after a while; what it left and told.
async fn stopped(
    cloud: &Simulated,
    stack: &Value,
    state: State,
    (after, how): (Duration, Stop),
    slots: usize,
) -> (State, Report) {
    let mut ledger = Memory::new(state);
    let plan = planned(cloud, &graph(cloud, stack.clone()), ledger.state(), Ask::default()).await;
    let (sender, stop) = watch::channel(Stop::No);
    let options = Options { slots, ..options() };
    let execution = Execution { plan: &plan, cloud, ledger: &mut ledger, options, stop, emit: &mut |_| {} };
    let asking = async {
        tokio::time::sleep(after).await;
        let _ = sender.send(how);
        std::future::pending::<()>().await
    };
    let report = tokio::select! {
        report = execute(execution) => report.unwrap(),
        () = asking => unreachable!("it never ends"),
    };
    (ledger.close(), report)
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_is_continued_by_the_next() {
    for behaviour in &behaviours()[1..] {
        for how in [Stop::Gently, Stop::Now] {
            let mut moments = 0;
            for tick in 0.. {
                let cloud = Simulated::new(behaviour.clone());
                let first = graph(&cloud, before());
                let state = complete(run_with(&cloud, &first, empty(), Ask::default(), options()).await);
                let (state, report) =
                    stopped(&cloud, &after(), state, (Duration::from_millis(40 * tick), how), 3).await;
                assert!(report.failed.is_empty() && report.skipped.is_empty(), "{report:?}");
                if how == Stop::Gently {
                    let creating = state.unresolved.iter().any(|i| i.operation == cofferdam::state::Operation::Create);
                    assert!(!creating, "what was under way was waited for: {:?}", state.unresolved);
                }
                let whole = report.is_complete();
                let graph = graph(&cloud, after());
                let state = complete(run_with(&cloud, &graph, state, Ask::default(), options()).await);
                contents(&cloud);
                assert_settled(&cloud, &graph, &state).await;
                if whole {
                    break;
                }
                moments += 1;
            }
            assert!(moments > 10, "{how:?} at {moments} moments");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_gently_begins_nothing_and_ends_soon() {
    let cloud = Simulated::new(slow());
    let stack: serde_json::Map<String, Value> = (0..20)
        .map(|n| {
            (
                format!("node.n{n}"),
                if n < 10 { json!({}) } else { json!({ "inputs": [format!("${{node.n{}.id}}", n - 10)] }) },
            )
        })
        .collect();
    let (state, report) = stopped(&cloud, &stack.into(), empty(), (Duration::from_millis(50), Stop::Gently), 6).await;
    assert!(report.elapsed < Duration::from_millis(500), "waits are not sat out: {:?}", report.elapsed);
    assert_eq!((state.resources.len(), state.unresolved.len()), (6, 0), "what was sent is known");
    assert_eq!(report.left.len(), 20, "what is not ready and what was not begun is told: {:?}", report.left);
    assert_eq!(cloud.scope().region, "eu-west-2");
}
