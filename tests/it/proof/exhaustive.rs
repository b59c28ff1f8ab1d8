//! `stacks/ecs-poc.toml`, created, updated, replaced and destroyed, by runs that die at every moment there is.
//!
//! `COFFERDAM_EVERY=1` (`make prove`) says that it is every moment; without it, it is every eighth, to save minutes.

use std::collections::BTreeMap;

use cofferdam::graph::Graph;
use cofferdam::plan::Mode;
use cofferdam::simulated::{Behaviour, Simulated};
use cofferdam::state::State;

use super::mortal::{DEATHS, Death, dying};
use super::seeds::number;
use super::stacks::{REPLACED, cloud, contents, ecs_poc, ecs_poc_replaced, ecs_poc_updated, read};
use crate::engine::{assert_settled, complete, empty, options, run_with};
use crate::stack::Ask;

/// What a run is about to do.
struct Scene {
    before: Option<String>,
    then: String,
    mode: Mode,
    /// What is to be made anew although nothing asks for it.
    replace: &'static [&'static str],
    /// Few slots, so that intents are noted of what is not sent yet.
    slots: usize,
}

/// Dies at every moment, and gives how many of each there were.
async fn everywhere(scene: Scene) -> String {
    let ask = Ask { mode: scene.mode, replace: scene.replace, ..Ask::default() };
    let (then, scope) = read(&scene.then);
    let start = cloud(&scope, Behaviour::aws(1));
    let state = match &scene.before {
        Some(text) => complete(run_with(&start, &read(text).0, empty(), Ask::default(), options()).await),
        None => empty(),
    };
    let undisturbed = start.fork();
    complete(run_with(&undisturbed, &then, state.clone(), ask, options()).await);
    let wanted = contents(&undisturbed);
    let step = step();
    let mut moments = Vec::new();
    for (name, death) in DEATHS {
        let mut died = 0;
        while one(&start, &then, state.clone(), ask, death(died * step), scene.slots, &wanted).await {
            died += 1;
        }
        moments.push(format!("{died} {name}"));
    }
    let resources = wanted.len().max(state.resources.len());
    format!("{resources} resources, one of {step} moments: {}", moments.join(", "))
}

/// One of how many moments is tried.
fn step() -> u64 {
    number("COFFERDAM_EVERY").unwrap_or(8).max(1)
}

/// Dies once and runs again; `false` where it did not die.
async fn one(
    start: &Simulated,
    graph: &Graph,
    state: State,
    ask: Ask<'_>,
    death: Death,
    slots: usize,
    wanted: &BTreeMap<String, String>,
) -> bool {
    let cloud = start.fork();
    // Of every other moment, what was on its way at the time of death still arrives.
    let late =
        matches!(death, Death::BeforeReply(n) | Death::AfterSync(n) | Death::Torn(n) if (n / step()).is_multiple_of(2));
    let left = dying(&cloud, graph, state, ask, Some(death), (slots, late)).await;
    assert_eq!(left.failed, Vec::<String>::new(), "{death:?}");
    // Another process, which knows nothing of the first but what is on disk.
    let cloud = cloud.fork();
    let left_over = left.state.unresolved.len();
    let again = dying(&cloud, graph, left.state, ask, None, (64, false)).await;
    assert_eq!(again.failed, Vec::<String>::new(), "{death:?}");
    assert_eq!(again.settled.len(), left_over, "{death:?}");
    assert_eq!(&contents(&cloud), wanted, "{death:?}");
    if ask.mode == Mode::Destroy {
        assert!(again.state.is_empty(), "{death:?}: {:?}", again.state);
    } else {
        assert_settled(&cloud, graph, &again.state).await;
    }
    left.died
}

#[tokio::test(start_paused = true)]
async fn creating_ecs_poc_may_die_anywhere() {
    let scene = Scene { before: None, then: ecs_poc(), mode: Mode::Apply, replace: &[], slots: 4 };
    println!("create: {}", everywhere(scene).await);
}

#[tokio::test(start_paused = true)]
async fn updating_ecs_poc_may_die_anywhere() {
    let scene = Scene { before: Some(ecs_poc()), then: ecs_poc_updated(), mode: Mode::Apply, replace: &[], slots: 4 };
    println!("update: {}", everywhere(scene).await);
}

#[tokio::test(start_paused = true)]
async fn replacing_ecs_poc_may_die_anywhere() {
    let scene =
        Scene { before: Some(ecs_poc()), then: ecs_poc_replaced(), mode: Mode::Apply, replace: &REPLACED, slots: 4 };
    println!("replace: {}", everywhere(scene).await);
}

#[tokio::test(start_paused = true)]
async fn destroying_ecs_poc_may_die_anywhere() {
    let scene = Scene { before: Some(ecs_poc()), then: ecs_poc(), mode: Mode::Destroy, replace: &[], slots: 4 };
    println!("destroy: {}", everywhere(scene).await);
}
