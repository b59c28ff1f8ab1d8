//! The engine's inner loops, over trees of 1,000 and 10,000 resources.

mod tree;

use cofferdam::apply::{Execution, Options, Stop, execute};
use cofferdam::cloud::Cloud;
use cofferdam::graph::Graph;
use cofferdam::plan::{Mode, Plan, Steps};
use cofferdam::simulated::Simulated;
use cofferdam::state::{Memory, State};
use divan::Bencher;
use divan::counter::ItemsCount;

const SIZES: [usize; 2] = [1_000, 10_000];

fn main() {
    divan::main();
}

fn run(cloud: &Simulated, graph: &Graph, state: State) -> State {
    let plan = tree::plan(cloud, graph, &state, None);
    execute_plan(cloud, &plan, state)
}

/// The plan that deletes these addresses and what stands on them; none: everything.
fn plan_destroy(cloud: &Simulated, state: &State, targets: &[String]) -> Plan {
    tree::planned(cloud, &Graph::default(), state, None, Mode::Destroy, targets)
}

fn execute_plan(cloud: &Simulated, plan: &Plan, state: State) -> State {
    let mut ledger = Memory::new(state);
    let (_sender, stop) = tokio::sync::watch::channel(Stop::No);
    let execution =
        Execution { plan, cloud, ledger: &mut ledger, options: Options::default(), stop, emit: &mut |_| {} };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(execute(execution)).expect("nothing is written to disk");
    assert!(report.is_complete(), "{report:?}");
    ledger.close()
}

/// What was applied, ready to be planned again.
fn applied(count: usize) -> (Simulated, Graph, State) {
    let (cloud, graph) = (Simulated::default(), tree::graph(count));
    let state = run(&cloud, &graph, tree::empty());
    (cloud, graph, state)
}

#[divan::bench(args = SIZES)]
fn build_graph(bencher: Bencher, count: usize) {
    bencher.counter(ItemsCount::new(count)).bench(|| tree::graph(count));
}

#[divan::bench(args = SIZES)]
fn plan_creates(bencher: Bencher, count: usize) {
    let (cloud, graph, state) = (Simulated::default(), tree::graph(count), tree::empty());
    bencher.counter(ItemsCount::new(count)).bench(|| tree::plan(&cloud, &graph, &state, None));
}

#[divan::bench(args = SIZES)]
fn plan_no_change(bencher: Bencher, count: usize) {
    let (cloud, graph, state) = applied(count);
    bencher.counter(ItemsCount::new(count)).bench(|| tree::plan(&cloud, &graph, &state, None));
}

#[divan::bench(args = SIZES)]
fn order_steps(bencher: Bencher, count: usize) {
    let (cloud, graph, state) = (Simulated::default(), tree::graph(count), tree::empty());
    let plan = tree::plan(&cloud, &graph, &state, None);
    bencher.counter(ItemsCount::new(count)).bench(|| Steps::of(&plan, &|kind| cloud.spec(kind)));
}

#[divan::bench(args = SIZES)]
fn execute_creates(bencher: Bencher, count: usize) {
    let graph = tree::graph(count);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(Simulated::default)
        .bench_values(|cloud| run(&cloud, &graph, tree::empty()));
}

/// Every resource is made anew, the new one first.
#[divan::bench(args = SIZES)]
fn execute_replaces(bencher: Bencher, count: usize) {
    let (before, after) = (tree::graph(count), tree::graph_of(count, Some("anew")));
    let applied = || {
        let cloud = Simulated::default();
        let state = run(&cloud, &before, tree::empty());
        (cloud, state)
    };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(applied)
        .bench_values(|(cloud, state)| run(&cloud, &after, state));
}

/// The plan that deletes one resource and all that stands on it, which is everything.
#[divan::bench(args = SIZES)]
fn plan_targeted_destroy(bencher: Bencher, count: usize) {
    let (cloud, _, state) = applied(count);
    let root = ["node.n0".to_owned()];
    bencher.counter(ItemsCount::new(count)).bench(|| plan_destroy(&cloud, &state, &root));
}

#[divan::bench(args = SIZES)]
fn execute_destroys(bencher: Bencher, count: usize) {
    let applied = || {
        let (cloud, _, state) = applied(count);
        let plan = plan_destroy(&cloud, &state, &[]);
        (cloud, plan, state)
    };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(applied)
        .bench_values(|(cloud, plan, state)| execute_plan(&cloud, &plan, state));
}

#[divan::bench(args = SIZES)]
fn read_state_from_json(bencher: Bencher, count: usize) {
    let (_, _, state) = applied(count);
    let bytes = serde_json::to_vec(&state).expect("a state is JSON");
    bencher
        .counter(ItemsCount::new(count))
        .bench(|| serde_json::from_slice::<State>(&bytes).expect("it was written so"));
}
