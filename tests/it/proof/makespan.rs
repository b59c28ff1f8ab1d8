//! The schedule is the critical path: first applies of the shipped stacks in the simulated AWS, in virtual time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cofferdam::graph::Scope;
use cofferdam::kinds::Registry;
use cofferdam::plan::Plan;
use cofferdam::simulated::{Behaviour, Makespan, makespan};
use cofferdam::stack;

use super::stacks::cloud;
use crate::engine::{empty, planned};
use crate::stack::Ask;

/// The most that an apply may take, as a multiple of what it must take.
const AIM: f64 = 1.05;
/// The same for each of many days on which every duration varies by up to half.
const ON_ANY_DAY: f64 = 1.05;
const DAYS: u64 = 25;

fn shipped() -> Vec<PathBuf> {
    let mut stacks: Vec<PathBuf> =
        std::fs::read_dir("stacks").expect("stacks").map(|one| one.expect("a file").path()).collect();
    stacks.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    stacks.sort();
    stacks
}

async fn first_plan(path: &Path) -> (Plan, Scope) {
    let stack = stack::load(path, &stack::Options::default(), &Registry::new()).expect("a shipped stack is right");
    let scope = Scope { account: Some("123456789012".into()), ..stack.scope() };
    let cloud = cloud(&scope, Behaviour::default());
    (planned(&cloud, &stack.graph, &empty(), Ask::default()).await, scope)
}

async fn measured(behaviour: Behaviour, scope: &Scope, plan: &Plan) -> Makespan {
    let (measured, rehearsal) = makespan(behaviour, scope, plan).await.expect("nothing is written to disk");
    assert!(rehearsal.report.is_complete(), "{:?}", rehearsal.report);
    measured
}

#[tokio::test(start_paused = true)]
async fn first_applies_take_what_their_longest_path_takes() {
    let (mut told, mut slow) = (String::new(), Vec::new());
    for path in shipped() {
        let (plan, scope) = first_plan(&path).await;
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let usual = measured(Behaviour { jitter: 0.0, ..Behaviour::aws(0) }, &scope, &plan).await;
        let mut worst = 0.0_f64;
        for seed in 0..DAYS {
            worst = worst.max(measured(Behaviour::aws(seed), &scope, &plan).await.of_bound());
        }
        let [took, bound, ten] = [usual.took, usual.bound, usual.ten_slots].map(|time| time.as_secs_f64());
        let _ = writeln!(
            told,
            "{name}: {} resources in {took:.1} s, {:.3} of the {bound:.1} s that it must take (on the worst of {DAYS} days \
             {worst:.2}); ten slots that are held would take {ten:.1} s, {:.2} of it",
            plan.summary.create,
            usual.of_bound(),
            usual.of_ten_slots(),
        );
        assert!(usual.of_bound() >= 1.0, "{name} is faster than it can be: {usual:?}");
        slow.extend(Some(name.to_owned()).filter(|_| usual.of_bound() > AIM || worst > ON_ANY_DAY));
    }
    assert!(slow.is_empty(), "{slow:?} take too long:\n{told}");
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("makespans", told);
    });
}
