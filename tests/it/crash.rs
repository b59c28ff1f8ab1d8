//! Runs that die or are stopped: whatever the moment, the next run ends where an undisturbed one would have.

use std::time::Duration;

use cofferdam::apply::{Execution, Options, Report, Stop, execute};
use cofferdam::cloud::Cloud;
use cofferdam::plan::Mode;
use cofferdam::simulated::{Behaviour, Simulated, Timing};
use cofferdam::state::{Memory, State};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::{assert_settled, complete, empty, options, planned, run_with, slow};
use crate::proof::{DEATHS, contents, dying};
use crate::stack::{Ask, graph};

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
    let invisible =
        Timing { call: ms(80), ready: ms(700), gone: ms(300), visible: ms(4000), usable: ms(2000), finishing: 3 };
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
        for (name, death) in DEATHS {
            for number in 0.. {
                let (cloud, state) = start().await;
                let graph = graph(&cloud, then.clone());
                // Few slots, so that intents are noted of what is not sent yet.
                let first = dying(&cloud, &graph, state, ask, Some(death(number)), (2, number % 2 == 0)).await;
                let mut state = first.state;
                if twice {
                    state = dying(&cloud, &graph, state, ask, Some(death(number % 5)), (2, true)).await.state;
                }
                let ran = run_with(&cloud, &graph, state, ask, options()).await;
                assert!(ran.report.is_complete(), "{name} {number}: {:?}", ran.report);
                assert_eq!(contents(&cloud), wanted, "{name} {number}");
                if mode == Mode::Destroy {
                    assert!(ran.state.is_empty(), "{name} {number}: {:?}", ran.state);
                } else {
                    assert_settled(&cloud, &graph, &ran.state).await;
                }
                if !first.died {
                    // A cloud that answers at once lets nobody wait.
                    assert!(number > 2 || name == "waits", "it died at {number} {name}");
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
