//! A simulated cloud: in memory, deterministic, on tokio's clock, which may be virtual.
//!
//! It takes every kind that the tool knows and three small ones of its own (`node`, `site`, `catalog`), keeps what is
//! created, refuses what a cloud refuses, counts the calls, and lets whoever runs it decide what goes wrong
//! ([`Faults`]). The same seed and the same calls give the same answers.

mod faults;
mod kinds;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub use faults::{Call, Fault, Faults, Moment, Operation};
pub use store::Held;
use store::Holdings;

use crate::cloud::{
    Cloud, CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Address, Attributes, KindSpec, Scope};
use crate::kinds::owned::claimed;
use crate::kinds::{Registry, tags_of};

/// How long things of a kind take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until any call is answered.
    pub call: Duration,
    /// From the create or update call until the resource is ready.
    pub ready: Duration,
    /// From the delete call until the resource is gone.
    pub gone: Duration,
    /// From the create call until reading and finding show the resource.
    pub visible: Duration,
}

/// How a simulated cloud behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// How long things take, by kind.
    pub timings: HashMap<String, Timing>,
    /// The same for every other kind.
    pub timing: Timing,
    /// Every duration varies by up to this share of itself, up or down.
    pub jitter: f64,
    /// What the variation is drawn from.
    pub seed: u64,
}

/// How often each operation was called, by kind.
pub type Calls = BTreeMap<(&'static str, Operation), u64>;

/// A simulated cloud. See the module's documentation.
pub struct Simulated {
    scope: Scope,
    registry: Registry,
    own: HashMap<&'static str, KindSpec>,
    behaviour: Behaviour,
    inner: Mutex<Inner>,
}

struct Inner {
    holdings: Holdings,
    calls: Calls,
    number: u64,
    faults: Option<Box<dyn Faults>>,
    random: u64,
    under_way: usize,
    most_under_way: usize,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulated({} resources)", self.inner().holdings.held.len())
    }
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new(Behaviour::default())
    }
}

/// Counts a call as under way until it is answered or dropped.
struct UnderWay<'a>(&'a Simulated);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.inner().under_way -= 1;
    }
}

impl Simulated {
    /// An empty cloud that behaves like this.
    pub fn new(behaviour: Behaviour) -> Self {
        let inner = Inner {
            holdings: Holdings::default(),
            calls: Calls::new(),
            number: 0,
            faults: None,
            random: behaviour.seed,
            under_way: 0,
            most_under_way: 0,
        };
        Self {
            scope: Scope {
                stack: "simulated".into(),
                env: None,
                account: Some("123456789012".into()),
                region: "eu-west-2".into(),
                partition: "aws".into(),
            },
            registry: Registry::new(),
            own: kinds::specs().into_iter().map(|spec| (spec.name, spec)).collect(),
            behaviour,
            inner: Mutex::new(inner),
        }
    }

    /// Lets these faults happen from now on, instead of those before.
    pub fn set_faults(&self, faults: impl Faults + 'static) {
        self.inner().faults = Some(Box::new(faults));
    }

    /// Lets nothing go wrong from now on.
    pub fn clear_faults(&self) {
        self.inner().faults = None;
    }

    /// How often each operation was called, by kind.
    pub fn calls(&self) -> Calls {
        self.inner().calls.clone()
    }

    /// Counts the calls from zero again.
    pub fn forget_calls(&self) {
        let mut inner = self.inner();
        inner.calls.clear();
        inner.most_under_way = 0;
    }

    /// The most calls that were under way at once.
    pub fn most_under_way(&self) -> usize {
        self.inner().most_under_way
    }

    /// Everything there is, by id.
    pub fn held(&self) -> BTreeMap<String, Held> {
        let now = Instant::now();
        let mut inner = self.inner();
        let ids: Vec<String> = inner.holdings.held.keys().cloned().collect();
        for id in &ids {
            inner.holdings.sweep(id, now);
        }
        inner.holdings.held.clone()
    }

    /// Changes a resource behind everybody's back. Gives `false` where there is no such id.
    pub fn meddle(&self, id: &str, change: impl FnOnce(&mut Attributes)) -> bool {
        self.inner().holdings.held.get_mut(id).map(|held| change(&mut held.attributes)).is_some()
    }

    /// Takes a resource away behind everybody's back, whatever refers to it.
    pub fn vanish(&self, id: &str) {
        self.inner().holdings.remove(id);
    }

    /// Puts something there to be looked up, by its name or id.
    pub fn offer(&self, kind: &str, name_or_id: &str, observed: Observed) {
        self.inner().holdings.catalog.insert((kind.to_owned(), name_or_id.to_owned()), observed);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_spec(&self, kind: &str) -> Result<&KindSpec, CloudError> {
        self.spec(kind).ok_or_else(|| CloudError::unexpected(kind, format!("there is no kind `{kind}`")))
    }

    fn timing(&self, kind: &str) -> Timing {
        self.behaviour.timings.get(kind).copied().unwrap_or(self.behaviour.timing)
    }

    /// One call: counted, delayed, and with whatever goes wrong before and after its effect.
    async fn call<T>(
        &self,
        kind: &str,
        operation: Operation,
        address: Option<&Address>,
        effect: impl FnOnce(&mut Inner, &KindSpec, Instant) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let spec = self.known_spec(kind)?;
        let (number, delay) = {
            let mut inner = self.inner();
            let number = inner.number;
            inner.number += 1;
            *inner.calls.entry((spec.name, operation)).or_default() += 1;
            inner.under_way += 1;
            inner.most_under_way = inner.most_under_way.max(inner.under_way);
            (number, inner.vary(self.timing(kind).call, self.behaviour.jitter))
        };
        let _under_way = UnderWay(self);
        let call = Call { number, kind, operation, address };
        self.fault(&call, Moment::Before).await?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = effect(&mut self.inner(), spec, Instant::now())?;
        self.fault(&call, Moment::After).await?;
        Ok(answer)
    }

    async fn fault(&self, call: &Call<'_>, moment: Moment) -> Result<(), CloudError> {
        // Taken out while it decides, so that it may ask the cloud itself.
        let Some(mut faults) = self.inner().faults.take() else { return Ok(()) };
        let fault = faults.fault(call, moment);
        self.inner().faults.get_or_insert(faults);
        match fault {
            None => Ok(()),
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Silence) => std::future::pending().await,
        }
    }
}

impl Inner {
    /// A duration, varied by up to a share of itself.
    fn vary(&mut self, duration: Duration, share: f64) -> Duration {
        if duration.is_zero() || share == 0.0 {
            return duration;
        }
        // splitmix64: one multiplication chain over a counter.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        #[allow(clippy::cast_precision_loss)]
        let unit = (z >> 11) as f64 / (1_u64 << 53) as f64;
        duration.mul_f64((1.0 + share * (2.0 * unit - 1.0)).max(0.0))
    }
}

#[async_trait]
impl Cloud for Simulated {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn spec(&self, kind: &str) -> Option<&KindSpec> {
        self.own.get(kind).or_else(|| self.registry.spec(kind))
    }

    fn kinds(&self) -> Vec<&str> {
        let own = self.own.keys().copied();
        let mut kinds: Vec<&str> = self.registry.specs().into_iter().map(|spec| spec.name).chain(own).collect();
        kinds.sort_unstable();
        kinds
    }

    async fn owned(&self, kind: &str) -> Result<Vec<Owned>, CloudError> {
        self.call(kind, Operation::Find, None, |inner, spec, now| {
            let held = inner.holdings.held.iter();
            let shown = held.filter(|(_, held)| held.kind == spec.name && held.visible <= now && held.gone.is_none());
            let tagged = shown.map(|(id, held)| (id, tags_of(&held.attributes)));
            Ok(tagged.filter_map(|(id, tags)| claimed(&self.scope, id, &tags)).collect())
        })
        .await
    }

    async fn read(&self, kind: &str, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        self.call(kind, Operation::Read, None, |inner, spec, now| {
            let seen = wanted.iter().map(|known| {
                inner.holdings.sweep(&known.id, now);
                inner.holdings.observe(spec, &known.id, &self.scope, now)
            });
            Ok(seen.collect())
        })
        .await
    }

    async fn look_up(&self, kind: &str, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError> {
        self.call(kind, Operation::LookUp, None, |inner, spec, now| {
            let name = id.unwrap_or_else(|| crate::kinds::text(attributes, "name"));
            let offered = inner.holdings.catalog.get(&(kind.to_owned(), name.to_owned())).cloned();
            offered
                .or_else(|| inner.holdings.observe(spec, id?, &self.scope, now))
                .ok_or_else(|| store::not_found("LookUp", name))
        })
        .await
    }

    async fn find(&self, kind: &str, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let request = &lost.request;
        self.call(kind, Operation::Find, Some(&request.address), |inner, spec, now| {
            let found = inner.holdings.find(spec, &request.token, &request.attributes, now);
            Ok(found.and_then(|id| inner.holdings.observe(spec, &id, &self.scope, now)))
        })
        .await
    }

    async fn create(&self, kind: &str, request: &CreateRequest) -> Result<Created, CloudError> {
        self.call(kind, Operation::Create, Some(&request.address), |inner, spec, now| {
            let timing = self.timing(kind);
            let times = [timing.ready, timing.visible].map(|t| now + inner.vary(t, self.behaviour.jitter));
            let id = inner.holdings.create(spec, &request.address, &request.attributes, &request.token, times)?;
            let outputs = kinds::outputs(spec, &id, &request.attributes, 0, &self.scope);
            Ok(Created { id, outputs })
        })
        .await
    }

    async fn finish(&self, kind: &str, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        self.call(kind, Operation::Finish, Some(&request.address), |inner, _, _| {
            match inner.holdings.held.get_mut(id).filter(|held| held.gone.is_none()) {
                Some(held) => {
                    held.finished = true;
                    Ok(())
                }
                None => Err(store::not_found("Finish", id)),
            }
        })
        .await
    }

    async fn update(&self, kind: &str, request: &UpdateRequest) -> Result<(), CloudError> {
        self.call(kind, Operation::Update, Some(&request.address), |inner, spec, now| {
            let ready = now + inner.vary(self.timing(kind).ready, self.behaviour.jitter);
            let mut after = request.after.clone();
            if let Some(held) = inner.holdings.held.get(&request.id) {
                keep_foreign_tags(spec, &held.attributes, request, &mut after);
            }
            let changed = |name: &str| request.changed.contains(name);
            inner.holdings.update(spec, &request.id, after, &changed, ready)
        })
        .await
    }

    async fn delete(&self, kind: &str, known: &Known) -> Result<(), CloudError> {
        self.call(kind, Operation::Delete, Some(&known.address), |inner, spec, now| {
            let gone = now + inner.vary(self.timing(kind).gone, self.behaviour.jitter);
            // Some clouds need more than an id to delete something (a zone, a group): nobody may forget the outputs.
            if let Some(output) = spec.outputs.iter().find(|output| !known.outputs.contains_key(**output)) {
                return Err(CloudError::unexpected(
                    "simulated:Delete",
                    format!("{output} of {} is not given", known.id),
                ));
            }
            inner.holdings.delete(&known.id, gone, now)
        })
        .await
    }

    async fn poll(&self, kind: &str, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        self.call(kind, Operation::Poll, Some(&known.address), |inner, spec, now| {
            if phase == Phase::Deleted {
                let gone = inner.holdings.sweep(&known.id, now);
                return Ok(if gone { Progress::Done(Attributes::new()) } else { Progress::Pending("deleting".into()) });
            }
            let Some(held) = inner.holdings.held.get(&known.id) else {
                return Err(store::not_found("Describe", &known.id));
            };
            if held.visible > now {
                let message = format!("{} is not visible yet", known.id);
                return Err(CloudError::new(ErrorClass::NotYet, "simulated:Describe", "NotFound", message));
            }
            if held.ready > now {
                return Ok(Progress::Pending("pending".into()));
            }
            Ok(Progress::Done(kinds::outputs(spec, &known.id, &held.attributes, held.revision, &self.scope)))
        })
        .await
    }
}

/// An update leaves the tags alone that the stack never had.
fn keep_foreign_tags(spec: &KindSpec, held: &Attributes, request: &UpdateRequest, after: &mut Attributes) {
    if !spec.taggable {
        return;
    }
    let (before, mut tags) = (crate::kinds::tags_of(&request.before), crate::kinds::tags_of(after));
    for (key, value) in crate::kinds::tags_of(held) {
        if !before.contains_key(&key) {
            tags.entry(key).or_insert(value);
        }
    }
    after.insert("tags".into(), tags.into_iter().map(|(k, v)| (k, v.into())).collect::<Attributes>().into());
}
