//! How long a first apply takes in the simulated cloud, beside the least that it must take and what a scheduler with few
//! slots would need.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::rehearsal::{Rehearsal, rehearse};
use super::store::Held;
use super::{Behaviour, Simulated};
use crate::apply::Options;
use crate::cloud::Cloud;
use crate::graph::{Address, Need, Scope, template};
use crate::plan::{Action, Plan, Step, StepKind, Steps};
use crate::state::{State, StateError};

/// How long a first apply takes, from its first call until everything is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Makespan {
    /// What it took.
    pub took: Duration,
    /// What it must take: the longest path through the steps, were nothing limited, and were it known at once when
    /// something is ready.
    pub bound: Duration,
    /// What the same steps, each as long as it took, would take in ten slots: given in the order in which steps may start,
    /// held until a resource is ready, and none to a step before all that it depends on is ready.
    pub ten_slots: Duration,
}

impl Makespan {
    /// What it took, as a multiple of what it must take.
    pub fn of_bound(&self) -> f64 {
        self.took.as_secs_f64() / self.bound.as_secs_f64()
    }

    /// What ten slots would take, as a multiple of what it took.
    pub fn of_ten_slots(&self) -> f64 {
        self.ten_slots.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// Carries a plan for an empty cloud out in the cloud of that behaviour, and measures it. Time must be virtual, or it takes
/// its time.
///
/// # Errors
/// Never for anything in the cloud: see the report of the rehearsal for that.
pub async fn makespan(behaviour: Behaviour, scope: &Scope, plan: &Plan) -> Result<(Makespan, Rehearsal), StateError> {
    let cloud = Simulated::within(scope.clone(), behaviour);
    let account = scope.account.as_deref().unwrap_or_default();
    let nothing = State::empty(&scope.stack, scope.env.as_deref(), "simulated", account, &scope.region);
    let rehearsal = rehearse(&cloud, plan, nothing, Options::default().slots).await?;
    let work = Work::of(&cloud, plan, &rehearsal);
    let makespan = Makespan { took: rehearsal.report.elapsed, bound: work.bound(), ten_slots: work.in_slots(10) };
    Ok((makespan, rehearsal))
}

/// How long one step takes, at its fastest.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// A call.
    call: Duration,
    /// The calls after the first one.
    finishing: Duration,
    /// From the first call's effect until the step is over: it is ready, and that was asked once, after all other calls.
    over: Duration,
    /// From the first call's effect until others may name it.
    usable: Duration,
    /// What it took here, from its beginning to its end.
    took: Duration,
}

impl Times {
    fn of(cloud: &Simulated, action: &Action, kind: StepKind, state: &State) -> Self {
        let timing = cloud.behaviour.timing(&action.kind);
        let call = timing.call.mul_f64(1.0 - cloud.behaviour.jitter);
        match kind {
            StepKind::Create => {
                let id = state.resources.get(&action.address).map(|entry| entry.id.as_str()).unwrap_or_default();
                let held = cloud.inner().holdings.held.get(id).cloned();
                let since =
                    |at: fn(&Held) -> Instant| held.as_ref().map(|held| at(held) - held.made).unwrap_or_default();
                let finishing = call * timing.finishing.max(1);
                let ready = since(|held| held.ready).max(since(|held| held.visible));
                let (over, usable) = (ready.max(finishing + call), since(|held| held.usable));
                Self { call, finishing, over, usable, ..Self::default() }
            }
            StepKind::Read if action.outputs.is_empty() => Self { call, ..Self::default() },
            _ => Self::default(),
        }
    }
}

/// What waits for a step.
#[derive(Debug, Clone, Copy)]
struct Waits {
    step: usize,
    need: Need,
    /// Whether it names what the step makes.
    names: bool,
}

/// The steps of a plan with what each takes.
#[derive(Debug)]
struct Work {
    times: Vec<Times>,
    dependents: Vec<Vec<Waits>>,
    waits_for: Vec<usize>,
    in_order: Vec<usize>,
}

impl Work {
    fn of(cloud: &Simulated, plan: &Plan, rehearsal: &Rehearsal) -> Self {
        let steps = Steps::of(plan, &|kind| cloud.spec(kind));
        let actions: Vec<&Action> = steps.steps.iter().map(|step| &plan.actions[step.action]).collect();
        let took: HashMap<&Address, Duration> = rehearsal.steps.iter().map(|one| (&one.address, one.took)).collect();
        let times = |(step, action): (&Step, &&Action)| Times {
            took: took.get(&action.address).copied().unwrap_or_default(),
            ..Times::of(cloud, action, step.kind, &rehearsal.state)
        };
        let named: Vec<HashSet<Address>> = actions.iter().map(|action| named(action)).collect();
        let waits = |(first, dependents): (usize, &Vec<(usize, Need)>)| {
            let names = |then: usize| named[then].contains(&actions[first].address);
            dependents.iter().map(|&(step, need)| Waits { step, need, names: names(step) }).collect()
        };
        Self {
            times: steps.steps.iter().zip(&actions).map(times).collect(),
            dependents: steps.dependents.iter().enumerate().map(waits).collect(),
            in_order: steps.in_order(),
            waits_for: steps.waits_for,
        }
    }

    /// The longest path through the steps.
    fn bound(&self) -> Duration {
        let mut start = vec![Duration::ZERO; self.times.len()];
        // When the first call can have its effect at the earliest.
        let mut effect = start.clone();
        let mut end = Duration::ZERO;
        for &step in &self.in_order {
            let own = self.times[step];
            let at = effect[step].max(start[step] + own.call);
            end = end.max(at + own.over);
            for waits in &self.dependents[step] {
                let is_let_go = match waits.need {
                    Need::Existence => at + own.finishing,
                    Need::Readiness => at + own.over,
                };
                start[waits.step] = start[waits.step].max(is_let_go);
                if waits.names {
                    effect[waits.step] = effect[waits.step].max(at + own.usable);
                }
            }
        }
        end
    }

    /// The end of the last step where each holds one of so many slots for as long as it took here.
    fn in_slots(&self, slots: usize) -> Duration {
        let mut waits_for = self.waits_for.clone();
        let mut running = BinaryHeap::new();
        // What could start first goes first.
        let at_once = (0..self.times.len()).filter(|step| waits_for[*step] == 0);
        let mut ready: BTreeSet<(Duration, usize)> = at_once.map(|step| (Duration::ZERO, step)).collect();
        let mut now = Duration::ZERO;
        loop {
            while running.len() < slots {
                let Some((_, step)) = ready.pop_first() else { break };
                running.push(Reverse((now + self.times[step].took, step)));
            }
            let Some(Reverse((at, step))) = running.pop() else { return now };
            now = at;
            for waits in &self.dependents[step] {
                waits_for[waits.step] -= 1;
                if waits_for[waits.step] == 0 {
                    ready.insert((now, waits.step));
                }
            }
        }
    }
}

/// What an action's attributes name.
fn named(action: &Action) -> HashSet<Address> {
    let mut named = HashSet::new();
    for value in action.attributes.values() {
        template::each_reference(value, &mut |reference| named.extend(reference.address()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Steps of which each takes five seconds and exists after one, and what waits for what.
    fn work(count: usize, waits: &[(usize, usize, Need)]) -> Work {
        let (finishing, over, usable) = (seconds(1), seconds(5), seconds(8));
        let times = Times { call: Duration::ZERO, finishing, over, usable, took: over };
        let mut work = Work {
            times: vec![times; count],
            dependents: vec![Vec::new(); count],
            waits_for: vec![0; count],
            in_order: (0..count).collect(),
        };
        for &(first, step, need) in waits {
            work.dependents[first].push(Waits { step, need, names: false });
            work.waits_for[step] += 1;
        }
        work
    }

    #[test]
    fn the_bound_is_the_longest_path() {
        assert_eq!(work(9, &[]).bound(), seconds(5));
        assert_eq!(work(9, &[(0, 1, Need::Readiness), (1, 2, Need::Readiness)]).bound(), seconds(15));
        assert_eq!(work(9, &[(0, 1, Need::Existence), (1, 2, Need::Readiness)]).bound(), seconds(11));
        let mut named = work(2, &[(0, 1, Need::Readiness)]);
        named.dependents[0][0].names = true;
        assert_eq!(named.bound(), seconds(13), "what is named is known eight seconds after it was made");
    }

    #[test]
    fn who_holds_a_slot_makes_others_wait() {
        assert_eq!(work(10, &[]).in_slots(10), seconds(5));
        assert_eq!(work(11, &[]).in_slots(10), seconds(10));
        let chain = work(9, &[(0, 1, Need::Existence), (1, 2, Need::Readiness)]);
        assert_eq!(chain.in_slots(10), seconds(15), "what exists is not ready");
    }
}
