//! The executor: one dispatcher that owns state and journal, and many calls in flight.
//!
//! Steps whose dependencies are done wait in a heap, the one with the longest way still to go first. The dispatcher
//! starts as many as there are slots; a slot is held while a call is under way and not while something is waited for. All
//! intents that are ready together become safe in one sync, and so do all outcomes that arrived together.

mod begin;
mod outcome;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, select_biased};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::event::{Event, Report, StepName};
use super::ledger::Ledger;
use crate::cloud::{
    Cloud, CloudError, CreateRequest, Created, ErrorClass, FIRST_PAUSE, Known, Lost, Observed, Phase, Progress,
    UpdateRequest, longer,
};
use crate::graph::{Address, Attributes, Need, Reference, template};
use crate::plan::{Action, Hold, Mode, Plan, StepKind, Steps, Verb};
use crate::state::{Entry, Intent, Operation, Record, StateError};
use begin::dependencies;

/// How far the user wants to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Begin nothing new, and finish the calls that are under way.
    Gently,
    /// Save what is known and go.
    Now,
}

/// How a plan is executed.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many calls may be under way at once.
    pub slots: usize,
    /// Makes the identity of a create: 32 characters, never the same twice.
    pub token: fn() -> String,
    /// How long to go on with a call that is refused because something is not visible yet.
    pub patience: Duration,
    /// The same for deletions that something still stands in the way of.
    pub delete_patience: Duration,
    /// How long something may take to become ready, or to be gone.
    pub settle_patience: Duration,
    /// Whether to wait for what goes on by itself once it is asked for ([`crate::graph::KindSpec::goes_on_by_itself`]).
    pub wait: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 64,
            token: || uuid::Uuid::new_v4().simple().to_string(),
            patience: Duration::from_secs(3 * 60),
            delete_patience: Duration::from_secs(15 * 60),
            settle_patience: Duration::from_secs(45 * 60),
            wait: true,
        }
    }
}

/// Everything that one execution needs.
pub struct Execution<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Where to do it.
    pub cloud: &'a dyn Cloud,
    /// Where to write it down.
    pub ledger: &'a mut dyn Ledger,
    /// How.
    pub options: Options,
    /// Whether to stop.
    pub stop: watch::Receiver<Stop>,
    /// Who is told.
    pub emit: &'a mut dyn FnMut(Event),
}

/// How many times the slots are filled from one sync.
const LOOK_AHEAD: usize = 4;
/// How often a create is looked up and sent again when its answer was lost.
const LOST_ANSWERS: u32 = 4;

/// What a step does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Create,
    Find,
    /// Whether what stood there before is gone indeed.
    Confirm,
    Finish,
    Update,
    Delete,
    Read,
    Poll(Phase),
}

/// What a step has come to.
struct Progressing {
    stage: Stage,
    /// Since when it is under way.
    started: Option<Instant>,
    /// Since when the current stage is held up.
    held_up: Option<Instant>,
    pause: Duration,
    /// How many answers were lost, and when the last one was.
    lost: u32,
    lost_at: Option<Instant>,
    /// Whether a create call without an answer may have had its effect, whatever later ones were answered.
    doubtful: bool,
    intent: Option<u64>,
    request: Option<Arc<CreateRequest>>,
    update: Option<Arc<UpdateRequest>>,
    known: Option<Arc<Known>>,
    /// Of what was deleted outside: what is confirmed to be gone.
    former: Option<Known>,
    /// Whether what only needs its existence has been let go.
    exists: bool,
    /// Whether something that it depends on was made or changed in this run.
    on_new: bool,
    under_way: bool,
    done: bool,
}

impl Default for Progressing {
    fn default() -> Self {
        Self {
            stage: Stage::Begin,
            started: None,
            held_up: None,
            pause: FIRST_PAUSE,
            lost: 0,
            lost_at: None,
            doubtful: false,
            intent: None,
            request: None,
            update: None,
            known: None,
            former: None,
            exists: false,
            on_new: false,
            under_way: false,
            done: false,
        }
    }
}

/// What a future of the dispatcher came to.
enum Answer {
    Created(Result<Created, CloudError>),
    Found(Result<Option<Observed>, CloudError>),
    Confirmed(Result<Vec<Option<Observed>>, CloudError>),
    Finished(Result<(), CloudError>),
    Updated(Result<(), CloudError>),
    Deleted(Result<(), CloudError>),
    LookedUp(Result<Observed, CloudError>),
    Polled(Result<Progress, CloudError>),
    /// A pause is over.
    Awake,
}

type Flight<'a> = BoxFuture<'a, (usize, Answer)>;

struct Run<'a> {
    plan: &'a Plan,
    cloud: &'a dyn Cloud,
    ledger: &'a mut dyn Ledger,
    options: Options,
    emit: &'a mut dyn FnMut(Event),
    steps: Steps,
    steps_state: Vec<Progressing>,
    /// Steps that may start: the longest remaining way first, then the earliest in the plan.
    ready: BinaryHeap<(u64, std::cmp::Reverse<usize>)>,
    flights: FuturesUnordered<Flight<'a>>,
    /// Calls under way that hold a slot.
    in_call: usize,
    /// Whether an intent was noted that is not safe yet.
    must_sync: bool,
    /// Questions under way whether something is settled; they hold none.
    in_poll: usize,
    next_intent: u64,
    report: Report,
    /// Replacements, by their action, of which the old one is deleted and the new one is not made yet.
    half_replaced: HashSet<usize>,
    stop: Stop,
    skipped: HashSet<usize>,
}

/// Executes a plan.
///
/// # Errors
/// Where state cannot be made safe any more; what was under way then is settled by the next run. Failures of the cloud are
/// in the report.
pub async fn execute(execution: Execution<'_>) -> Result<Report, StateError> {
    let Execution { plan, cloud, ledger, options, mut stop, emit } = execution;
    let began = Instant::now();
    let steps = Steps::of(plan, &|kind| cloud.spec(kind));
    let next_intent = ledger.state().unresolved.iter().map(|intent| intent.number + 1).max().unwrap_or(0);
    let mut run = Run {
        plan,
        cloud,
        ledger,
        options,
        emit,
        steps_state: (0..steps.steps.len()).map(|_| Progressing::default()).collect(),
        ready: BinaryHeap::with_capacity(steps.steps.len()),
        steps,
        flights: FuturesUnordered::new(),
        in_call: 0,
        must_sync: false,
        in_poll: 0,
        next_intent,
        report: Report::default(),
        half_replaced: HashSet::new(),
        stop: *stop.borrow_and_update(),
        skipped: HashSet::new(),
    };
    for Hold { address, path, held } in &plan.holds {
        run.ledger.note(Record::Hold { address: address.clone(), path: path.clone(), held: held.clone() });
    }
    for step in 0..run.steps.steps.len() {
        if run.steps.waits_for[step] == 0 {
            run.push(step);
        }
    }
    loop {
        let launched = run.launch();
        if std::mem::take(&mut run.must_sync) {
            run.ledger.sync()?;
        } else if !launched.is_empty() {
            run.ledger.check()?;
        }
        run.flights.extend(launched);
        // Once the user stops, pauses are not sat out.
        let only_pauses = run.in_call == 0 && run.in_poll == 0;
        let nothing_under_way = run.flights.is_empty() || (run.stop == Stop::Gently && only_pauses);
        if nothing_under_way || run.stop == Stop::Now {
            break;
        }
        let mut answer = run.flights.next().now_or_never().flatten();
        if answer.is_none() {
            // Nothing is there to be done at once: what is known becomes safe before anything is waited for.
            run.ledger.sync()?;
            let next = run.flights.next().fuse();
            let stopped = stop.changed().fuse();
            futures_util::pin_mut!(next, stopped);
            answer = select_biased! {
                answer = next => answer,
                changed = stopped => {
                    // A sender that is gone can no longer ask for anything; wait for the calls alone.
                    if changed.is_err() { run.flights.next().await } else { None }
                }
            };
        }
        let asked = *stop.borrow_and_update();
        if asked > run.stop {
            if run.stop == Stop::No {
                (run.emit)(Event::Stopping { in_flight: run.in_call + run.in_poll });
            }
            run.stop = asked;
        }
        while let Some((step, what)) = answer {
            run.answered(step, what);
            answer = run.flights.next().now_or_never().flatten();
        }
    }
    let mut report = run.finish()?;
    report.elapsed = began.elapsed();
    Ok(report)
}

impl<'a> Run<'a> {
    fn action(&self, step: usize) -> &'a Action {
        let plan: &'a Plan = self.plan;
        &plan.actions[self.steps.steps[step].action]
    }

    fn name(&self, step: usize) -> StepName {
        StepName::of(self.steps.steps[step].kind, self.action(step).action)
    }

    fn push(&mut self, step: usize) {
        self.ready.push((self.steps.steps[step].remaining, std::cmp::Reverse(step)));
    }

    /// Starts what is ready, as far as there are slots. What is done without a call is done here.
    fn launch(&mut self) -> Vec<Flight<'a>> {
        let mut launched = Vec::new();
        let mut kept = Vec::new();
        while self.stop != Stop::Now && self.in_call < self.options.slots {
            let Some((weight, std::cmp::Reverse(step))) = self.ready.pop() else { break };
            if self.skipped.contains(&step) {
                continue;
            }
            // Once the user stops, only what has begun to be made is brought to its end, as far as nothing is waited for.
            let progressing = &self.steps_state[step];
            let is_begun = progressing.started.is_some()
                && matches!(progressing.stage, Stage::Confirm | Stage::Finish | Stage::Poll(_));
            if self.stop != Stop::No && !is_begun {
                kept.push((weight, std::cmp::Reverse(step)));
                continue;
            }
            if self.steps_state[step].stage == Stage::Begin && !self.begins(step) {
                continue;
            }
            if self.steps_state[step].started.is_none() {
                self.steps_state[step].started = Some(Instant::now());
                let (address, name) = (self.action(step).address.clone(), self.name(step));
                (self.emit)(Event::Started { address, step: name });
            }
            if let Some(flight) = self.send(step) {
                self.steps_state[step].under_way = true;
                match self.steps_state[step].stage {
                    Stage::Poll(_) => self.in_poll += 1,
                    _ => self.in_call += 1,
                }
                launched.push(flight);
            }
        }
        self.ready.extend(kept);
        if self.must_sync && self.stop == Stop::No {
            self.look_ahead();
        }
        launched
    }

    /// Notes the intents of what will be sent next along with those that have to be safe now: a sync costs the same for
    /// many. What is not sent in the end is cleared when the run ends, or looked up in vain if it dies.
    fn look_ahead(&mut self) {
        let mut prepared = Vec::new();
        while prepared.len() < LOOK_AHEAD * self.options.slots {
            let Some((weight, std::cmp::Reverse(step))) = self.ready.pop() else { break };
            if self.skipped.contains(&step) {
                continue;
            }
            if self.steps_state[step].stage != Stage::Begin || self.begins(step) {
                prepared.push((weight, std::cmp::Reverse(step)));
            }
        }
        self.ready.extend(prepared);
    }

    /// Sends the call of a step's stage.
    fn send(&mut self, step: usize) -> Option<Flight<'a>> {
        let cloud = self.cloud;
        let action = self.action(step);
        let kind = action.kind.as_str();
        let progressing = &mut self.steps_state[step];
        match progressing.stage {
            Stage::Begin => None,
            Stage::Create => {
                let request = progressing.request.clone()?;
                Some(async move { (step, Answer::Created(cloud.create(kind, &request).await)) }.boxed())
            }
            Stage::Find => {
                let lost = Lost { request: progressing.request.as_deref()?.clone() };
                Some(async move { (step, Answer::Found(cloud.find(kind, &lost).await)) }.boxed())
            }
            Stage::Confirm => {
                let former = progressing.former.clone()?;
                cloud.forget();
                Some(async move { (step, Answer::Confirmed(cloud.read(kind, &[former]).await)) }.boxed())
            }
            Stage::Finish => {
                let (id, request) = (progressing.known.as_ref()?.id.clone(), progressing.request.clone()?);
                Some(async move { (step, Answer::Finished(cloud.finish(kind, &id, &request).await)) }.boxed())
            }
            Stage::Update => {
                let request = progressing.update.clone()?;
                Some(async move { (step, Answer::Updated(cloud.update(kind, &request).await)) }.boxed())
            }
            Stage::Delete => {
                let known = progressing.known.clone()?;
                Some(async move { (step, Answer::Deleted(cloud.delete(kind, &known).await)) }.boxed())
            }
            Stage::Read => {
                let attributes = match self.literal(action) {
                    Ok(attributes) => attributes,
                    Err(error) => {
                        self.failed(step, error);
                        return None;
                    }
                };
                let id = action.id.as_deref();
                Some(async move { (step, Answer::LookedUp(cloud.look_up(kind, id, &attributes).await)) }.boxed())
            }
            Stage::Poll(phase) => {
                let known = progressing.known.clone()?;
                Some(async move { (step, Answer::Polled(cloud.poll(kind, &known, phase).await)) }.boxed())
            }
        }
    }
}
