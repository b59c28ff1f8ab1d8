//! Rehearsals: a plan carried out in the simulated cloud, in virtual time, to see in which order things would happen, what
//! the whole waits for, and how long it would take.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Simulated;
use crate::apply::{Event, Execution, Options, Report, StepName, Stop, execute};
use crate::cloud::Cloud;
use crate::graph::{Address, Need};
use crate::plan::{Plan, Steps, Verb};
use crate::state::{Deposed, Entry, Memory, State, StateError};

/// One step of a rehearsed plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The resource.
    pub address: Address,
    /// What was done.
    pub step: StepName,
    /// When it began, from the beginning of the whole.
    pub start: Duration,
    /// How long it took, until it was ready or gone.
    pub took: Duration,
}

/// A plan that was rehearsed.
#[derive(Debug)]
pub struct Rehearsal {
    /// The steps, in the order in which they began.
    pub steps: Vec<Rehearsed>,
    /// The steps that the whole waited for, one after the other, as positions in `steps`.
    pub critical: Vec<usize>,
    /// How it ended.
    pub report: Report,
    /// How many requests it took.
    pub requests: u64,
    /// The state afterwards.
    pub state: State,
}

/// The state that a plan was made for, as far as the plan shows it.
pub fn state_of(plan: &Plan) -> State {
    let scope = &plan.scope;
    let account = scope.account.as_deref().unwrap_or_default();
    let mut state = State::empty(&scope.stack, scope.env.as_deref(), &plan.cloud, account, &scope.region);
    for action in &plan.actions {
        let Some(id) = action.id.clone().filter(|_| action.action != Verb::Read) else { continue };
        let mut outputs = action.outputs.clone();
        outputs.insert("id".into(), id.clone().into());
        let entry = Entry {
            id,
            attributes: action.current.clone(),
            outputs,
            depends_on: action.depended_on.clone(),
            protect: action.protect,
            complete: !action.unfinished,
            read_only: false,
            changing: crate::graph::Attributes::new(),
        };
        if action.deposed {
            state.deposed.push(Deposed { address: action.address.clone(), entry });
        } else {
            state.resources.insert(action.address.clone(), entry);
        }
    }
    state
}

/// Carries a plan out in a simulated cloud that holds what `state` says. Time must be virtual, or it takes its time.
///
/// # Errors
/// Never for anything in the cloud; see the report for that.
pub async fn rehearse(cloud: &Simulated, plan: &Plan, state: State, slots: usize) -> Result<Rehearsal, StateError> {
    let began = Instant::now();
    let before: u64 = cloud.calls().values().sum();
    let mut ledger = Memory::new(state);
    let mut steps: Vec<Rehearsed> = Vec::new();
    let (_sender, stop) = watch::channel(Stop::No);
    let mut emit = |event: Event| match event {
        Event::Started { address, step } => {
            steps.push(Rehearsed { address, step, start: began.elapsed(), took: Duration::ZERO });
        }
        Event::Done { address, step, elapsed, .. } => {
            let same = |one: &&mut Rehearsed| one.address == address && one.step == step;
            if let Some(one) = steps.iter_mut().rev().find(same) {
                one.took = elapsed;
            }
        }
        _ => {}
    };
    let options = Options { slots, ..Options::default() };
    let report = execute(Execution { plan, cloud, ledger: &mut ledger, options, stop, emit: &mut emit }).await?;
    let critical = critical(cloud, plan, &steps);
    let requests = cloud.calls().values().sum::<u64>() - before;
    Ok(Rehearsal { steps, critical, report, requests, state: ledger.close() })
}

/// From the step that ended last, back along what each began after.
fn critical(cloud: &Simulated, plan: &Plan, done: &[Rehearsed]) -> Vec<usize> {
    let order = Steps::of(plan, &|kind| cloud.spec(kind));
    let at: HashMap<(&Address, StepName), usize> =
        done.iter().enumerate().map(|(index, one)| ((&one.address, one.step), index)).collect();
    let mut place = vec![None; order.steps.len()];
    for (step, place) in order.steps.iter().zip(&mut place) {
        let Some(action) = plan.actions.get(step.action) else { continue };
        *place = at.get(&(&action.address, StepName::of(step.kind, action.action))).copied();
    }
    // What each step waits for; what is done without a call passes on what it waited for itself.
    let mut waits: Vec<Vec<(usize, Need)>> = vec![Vec::new(); done.len()];
    let mut reached: Vec<Vec<(usize, Need)>> = vec![Vec::new(); order.steps.len()];
    for step in order.in_order() {
        if let Some(here) = place[step] {
            waits[here].append(&mut reached[step]);
            reached[step].push((here, Need::Readiness));
        }
        for (dependent, need) in &order.dependents[step] {
            let passed =
                reached[step].iter().map(|(here, own)| (*here, if place[step].is_some() { *need } else { *own }));
            let passed: Vec<(usize, Need)> = passed.collect();
            reached[*dependent].extend(passed);
        }
    }
    let end = |index: usize| done[index].start + done[index].took;
    let Some(mut here) = (0..done.len()).max_by_key(|index| (end(*index), std::cmp::Reverse(*index))) else {
        return Vec::new();
    };
    let mut path = vec![here];
    loop {
        // What only had to exist let go some time after it began.
        let let_go = |(index, need): &(usize, Need)| match need {
            Need::Existence if end(*index) > done[here].start => done[*index].start,
            _ => end(*index),
        };
        let before = waits[here].iter().filter(|(index, _)| !path.contains(index)).max_by_key(|one| let_go(one));
        let Some((next, _)) = before else { break };
        here = *next;
        path.push(here);
    }
    path.reverse();
    path
}
