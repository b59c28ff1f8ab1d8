//! First applies of the shipped stacks in the simulated AWS, in virtual time: computed, and the same on every machine.

use std::path::PathBuf;
use std::time::Duration;

use cofferdam::cloud::Cloud;
use cofferdam::graph::{Graph, Scope};
use cofferdam::kinds::Registry;
use cofferdam::plan::{Given, Inputs, Mode, Plan};
use cofferdam::simulated::{Behaviour, Makespan, Simulated, makespan};
use cofferdam::stack;

use super::Fallible;

/// How often, besides, with durations that vary by half.
const SEEDS: u64 = 25;

/// Prints a line for each shipped stack.
pub fn table() -> Fallible<()> {
    println!(
        "\nFirst applies of the shipped stacks in the simulated AWS (its usual durations, its token buckets), computed:\n"
    );
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>7} {:>12} {:>10} {:>7}",
        "", "resources", "takes", "at least", "ratio", "worst of 25", "ten slots", "ratio"
    );
    let mut stacks: Vec<PathBuf> = std::fs::read_dir("stacks")?.map(|one| Ok(one?.path())).collect::<Fallible<_>>()?;
    stacks.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    stacks.sort();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    for path in stacks {
        let stack = stack::load(&path, &stack::Options::default(), &Registry::new())
            .map_err(|errors| format!("{}: {errors:?}", path.display()))?;
        let scope = Scope { account: Some("123456789012".into()), ..stack.scope() };
        let plan = plan(&stack.graph, &scope)?;
        let measured = |behaviour| runtime.block_on(measure(behaviour, &scope, &plan));
        let usual = measured(Behaviour { jitter: 0.0, ..Behaviour::aws(0) })?;
        let mut worst = 0.0_f64;
        for seed in 0..SEEDS {
            worst = worst.max(measured(Behaviour::aws(seed))?.of_bound());
        }
        println!(
            "{:<20} {:>9} {:>7.1} s {:>7.1} s {:>7.3} {worst:>12.3} {:>8.1} s {:>7.3}",
            path.file_stem().and_then(|name| name.to_str()).unwrap_or_default(),
            plan.summary.create,
            usual.took.as_secs_f64(),
            usual.bound.as_secs_f64(),
            usual.of_bound(),
            usual.ten_slots.as_secs_f64(),
            usual.of_ten_slots(),
        );
    }
    println!(
        "\nAt least: the longest path, without limits. Ten slots: a scheduler whose slots are held until something is ready."
    );
    Ok(())
}

fn plan(graph: &Graph, scope: &Scope) -> Fallible<Plan> {
    let cloud = Simulated::within(scope.clone(), Behaviour::default());
    let inputs = Inputs {
        graph,
        state: None,
        observed: None,
        specs: &|kind| cloud.spec(kind),
        scope,
        cloud: "simulated",
        inputs_digest: "",
        mode: Mode::Apply,
        targets: &[],
        replace: &[],
        given: Given::default(),
    };
    Ok(cofferdam::plan::plan(&inputs).map_err(|errors| format!("{errors:?}"))?)
}

async fn measure(behaviour: Behaviour, scope: &Scope, plan: &Plan) -> Fallible<Makespan> {
    let (measured, rehearsal) = makespan(behaviour, scope, plan).await?;
    if !rehearsal.report.is_complete() || measured.bound == Duration::ZERO {
        return Err(format!("{:?}", rehearsal.report).into());
    }
    Ok(measured)
}
