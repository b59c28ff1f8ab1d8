//! A run whose process may die at any moment, and what is left of it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use cofferdam::apply::{Execution, Ledger, Options, Settled, Stop, execute, settle};
use cofferdam::graph::Graph;
use cofferdam::simulated::{Call, Fault, Moment, Simulated};
use cofferdam::state::{Record, State, StateError};
use tokio::sync::{Notify, watch};

use crate::engine::{options, planned};
use crate::stack::Ask;

/// The moment at which a run dies: the nth of its kind, from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// While the journal is written: this many records reach the disk, and the one after them does not.
    Torn(u64),
    /// Right after the nth sync, before anything that it made safe is sent.
    AfterSync(u64),
    /// Before the nth request had an effect.
    BeforeRequest(u64),
    /// After the nth request had its effect, before its answer.
    BeforeReply(u64),
    /// At the nth point at which the run waits for anything.
    Waiting(u64),
}

/// The death at the nth moment of some kind.
type At = fn(u64) -> Death;

/// Every kind of death: what its moments are called, and the death at the nth of them.
pub const DEATHS: [(&str, At); 5] = [
    ("journal records", Death::Torn),
    ("syncs", Death::AfterSync),
    ("requests", Death::BeforeRequest),
    ("replies", Death::BeforeReply),
    ("waits", Death::Waiting),
];

/// How many moments a run had, in the order of [`DEATHS`].
pub type Moments = [u64; 5];

/// What a run that dies shares with the world that lets it die.
#[derive(Default)]
struct Fatal {
    is_dead: AtomicBool,
    told: Notify,
    requests: AtomicU64,
    replies: AtomicU64,
    waits: AtomicU64,
}

impl Fatal {
    fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }
}

/// A ledger on a disk that outlives the process; the process itself may be dead, and writes nothing then.
struct Mortal {
    state: State,
    noted: Vec<Record>,
    on_disk: Vec<Record>,
    syncs: u64,
    death: Option<Death>,
    fatal: Arc<Fatal>,
}

impl Mortal {
    fn dead(&self) -> Result<(), StateError> {
        self.fatal.die();
        Err(StateError::Damaged { path: "memory".into(), why: "the process died".into() })
    }
}

impl Ledger for Mortal {
    fn state(&self) -> &State {
        &self.state
    }

    fn note(&mut self, record: Record) {
        self.noted.push(record.clone());
        self.state.take(record);
    }

    fn sync(&mut self) -> Result<(), StateError> {
        if self.fatal.is_dead() {
            return self.dead();
        }
        if self.noted.is_empty() {
            return Ok(());
        }
        if let Some(Death::Torn(at)) = self.death
            && at < (self.on_disk.len() + self.noted.len()) as u64
        {
            self.noted.truncate((at as usize).saturating_sub(self.on_disk.len()));
            self.on_disk.append(&mut self.noted);
            return self.dead();
        }
        self.on_disk.append(&mut self.noted);
        self.syncs += 1;
        match self.death {
            Some(Death::AfterSync(number)) if number + 1 == self.syncs => self.dead(),
            _ => Ok(()),
        }
    }
}

/// Counts how often a run waits, and dies at one of these points.
struct Waits<F> {
    inner: F,
    dies_at: Option<u64>,
    fatal: Arc<Fatal>,
}

impl<F: Future + Unpin> Future for Waits<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.fatal.is_dead() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll(context);
        if polled.is_pending() {
            let waited = self.fatal.waits.fetch_add(1, Ordering::Relaxed);
            if self.dies_at == Some(waited) {
                self.fatal.die();
            }
        }
        polled
    }
}

/// What a run left that may have died.
pub struct Left {
    /// The state that the next run finds.
    pub state: State,
    /// Whether it died.
    pub died: bool,
    /// What it settled of an earlier run.
    pub settled: Vec<Settled>,
    /// What failed, where it came to its end.
    pub failed: Vec<String>,
    /// How many moments it had.
    pub moments: Moments,
}

/// How a run goes on after the moment of its death: not at all, but what was sent by then may still arrive.
const LATE: Duration = Duration::from_millis(400);

/// One run: settles, refreshes, plans and executes, and dies as told. `late`: what was under way by then still arrives.
pub async fn dying(
    cloud: &Simulated,
    graph: &Graph,
    state: State,
    ask: Ask<'_>,
    death: Option<Death>,
    (slots, late): (usize, bool),
) -> Left {
    let fatal = Arc::new(Fatal::default());
    let flag = fatal.clone();
    cloud.set_faults(move |_: &Call<'_>, moment: Moment| {
        if flag.is_dead() {
            return Some(Fault::Silence);
        }
        let (count, fatal_at) = match (moment, death) {
            (Moment::Before, Some(Death::BeforeRequest(at))) => (&flag.requests, Some(at)),
            (Moment::After, Some(Death::BeforeReply(at))) => (&flag.replies, Some(at)),
            (Moment::Before, _) => (&flag.requests, None),
            (Moment::After, _) => (&flag.replies, None),
        };
        if Some(count.fetch_add(1, Ordering::Relaxed)) != fatal_at {
            return None;
        }
        flag.die();
        Some(Fault::Silence)
    });
    let mut ledger =
        Mortal { state: state.clone(), noted: Vec::new(), on_disk: Vec::new(), syncs: 0, death, fatal: fatal.clone() };
    let (mut settled, mut failed) = (Vec::new(), Vec::new());
    {
        let whole = Box::pin(async {
            let unresolved: Vec<String> = state.unresolved.iter().map(|one| one.address.to_string()).collect();
            match settle(cloud, &mut ledger).await {
                Ok(told) => settled = told,
                Err(error) => return failed.push(format!("settling: {error}")),
            }
            let told: Vec<String> = settled.iter().map(|one| one.address.to_string()).collect();
            assert_eq!(told, unresolved, "every intent is settled and told");
            for (one, address) in settled.iter().map(Settled::sentence).zip(&unresolved) {
                assert!(one.starts_with(address.as_str()) && !one.contains('\n'), "in one line: {one}");
            }
            let plan = planned(cloud, graph, &ledger.state, ask).await;
            let (_sender, stop) = watch::channel(Stop::No);
            let options = Options { slots, ..options() };
            let execution = Execution { plan: &plan, cloud, ledger: &mut ledger, options, stop, emit: &mut |_| {} };
            if let Ok(report) = execute(execution).await {
                let told = report.failed.iter().map(|(address, step, error)| format!("{address} {step:?}: {error}"));
                failed.extend(told);
                assert!(report.left.is_empty(), "nobody stopped it: {:?}", report.left);
            }
        });
        let dies_at = if let Some(Death::Waiting(number)) = death { Some(number) } else { None };
        let mut run = pin!(Waits { inner: whole, dies_at, fatal: fatal.clone() });
        tokio::select! {
            biased;
            () = fatal.told.notified() => {
                if late && !matches!(death, Some(Death::Waiting(_))) {
                    // Its code runs no more, which the ledger and the silence see to; its requests are on their way.
                    let _ = tokio::time::timeout(LATE, &mut run).await;
                }
            }
            () = &mut run => {}
        }
    }
    cloud.clear_faults();
    let died = fatal.is_dead();
    let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let moments = [
        ledger.on_disk.len() as u64,
        ledger.syncs,
        counted(&fatal.requests),
        counted(&fatal.replies),
        counted(&fatal.waits),
    ];
    let state = if died {
        ledger.on_disk.into_iter().fold(state, |mut state, record| {
            state.take(record);
            state
        })
    } else {
        State { serial: ledger.state.serial + 1, ..ledger.state }
    };
    Left { state, died, settled, failed, moments }
}
