//! A simulated cloud: in memory, deterministic, on tokio's clock, which may be virtual.
//!
//! It takes every kind that the tool knows and three small ones of its own (`node`, `site`, `catalog`), keeps what is
//! created, refuses what a cloud refuses, counts the calls, and lets things go wrong: by chance ([`Weather`]), or as
//! whoever runs it decides ([`Faults`]). [`Behaviour::aws`] is how AWS behaves. Its requests go through the same gate as
//! the real ones. The same seed and the same calls give the same answers.

mod aws;
mod behaviour;
mod buckets;
mod faults;
mod kinds;
mod makespan;
mod references;
mod rehearsal;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub use behaviour::{Behaviour, Limits, Timing, Weather};
use buckets::Buckets;
pub use buckets::{Size, Sizes};
pub use faults::{Call, Fault, Faults, Moment, Operation};
pub use makespan::{Makespan, makespan};
use references::KINDS;
pub use rehearsal::{Rehearsal, Rehearsed, rehearse, state_of};
pub use store::Held;
use store::{Holdings, Times};

use crate::apply::gate::{Again, Gate};
use crate::apply::limiter::Side;
use crate::cloud::{
    Cloud, CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Address, Attributes, KindSpec, Scope};
use crate::kinds::owned::claimed;
use crate::kinds::tags_of;
use crate::state::State;

/// How often each operation was called, by kind.
pub type Calls = BTreeMap<(&'static str, Operation), u64>;

/// A simulated cloud. See the module's documentation.
pub struct Simulated {
    scope: Scope,
    own: HashMap<&'static str, KindSpec>,
    behaviour: Behaviour,
    gate: Gate,
    inner: Mutex<Inner>,
}

struct Inner {
    holdings: Holdings,
    buckets: Buckets,
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

/// What becomes of a request by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Throttled,
    /// An internal error; the call may have had its effect.
    Failed {
        done: bool,
    },
    RequestLost,
    AnswerLost,
    InUse,
    Quota,
}

impl Simulated {
    /// An empty cloud that behaves like this.
    pub fn new(behaviour: Behaviour) -> Self {
        let scope = Scope {
            stack: "simulated".into(),
            env: None,
            account: Some("123456789012".into()),
            region: "eu-west-2".into(),
            partition: "aws".into(),
        };
        Self::within(scope, behaviour)
    }

    /// The same for this stack, environment, account and region.
    pub fn within(scope: Scope, behaviour: Behaviour) -> Self {
        let inner = Inner {
            holdings: Holdings::default(),
            buckets: Buckets::default(),
            calls: Calls::new(),
            number: 0,
            faults: None,
            random: behaviour.seed,
            under_way: 0,
            most_under_way: 0,
        };
        Self {
            scope,
            own: kinds::specs().into_iter().map(|spec| (spec.name, spec)).collect(),
            behaviour,
            gate: Gate::default(),
            inner: Mutex::new(inner),
        }
    }

    /// Puts there what a state says is there.
    pub fn plant(&self, state: &State) {
        let deposed = state.deposed.iter().map(|old| (&old.address, &old.entry));
        let now = Instant::now();
        let mut inner = self.inner();
        for (address, entry) in state.resources.iter().chain(deposed).filter(|(_, entry)| !entry.read_only) {
            let Some(spec) = self.spec(address.kind()) else { continue };
            inner.holdings.plant(spec, address, entry, now);
        }
        // Once all are there: what names what.
        inner.holdings.refer_all();
    }

    /// A copy that goes its own way from now on, and in which nothing goes wrong by decision.
    pub fn fork(&self) -> Self {
        let inner = self.inner();
        Self {
            scope: self.scope.clone(),
            own: kinds::specs().into_iter().map(|spec| (spec.name, spec)).collect(),
            behaviour: self.behaviour.clone(),
            gate: Gate::default(),
            inner: Mutex::new(Inner {
                holdings: inner.holdings.clone(),
                buckets: inner.buckets.clone(),
                calls: inner.calls.clone(),
                number: inner.number,
                faults: None,
                random: inner.random,
                under_way: 0,
                most_under_way: 0,
            }),
        }
    }

    /// Another process begins to call: what the gate had learnt of how often it may is forgotten with the old one.
    pub fn new_process(&mut self) {
        self.gate = Gate::default();
    }

    /// Changes the weather from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.behaviour.weather = weather;
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

    /// The service that a kind's calls go to.
    fn service(kind: &str) -> &'static str {
        let Some(kind) = KINDS.kind(kind) else { return "simulated" };
        let actions = kind.actions();
        aws::service_of(if actions.create.is_empty() { actions.read } else { actions.create })
    }

    /// One call, through the gate: sent again as often as its errors allow.
    async fn call<T>(
        &self,
        kind: &str,
        operation: Operation,
        address: Option<&Address>,
        effect: impl Fn(&mut Inner, &KindSpec, Instant) -> Result<T, CloudError> + Sync,
    ) -> Result<T, CloudError> {
        let spec = self.known_spec(kind)?;
        let side = if operation.changes_cloud() { Side::Write } else { Side::Read };
        let is_safe = operation != Operation::Create || spec.identity.is_idempotent();
        let again = if is_safe { Again::Safe } else { Again::OnlyIfRefused };
        let service = Self::service(kind);
        let action = format!("{service}:{} {kind}", operation.name());
        let request = Request { spec, service, side, operation, address, action: &action };
        self.gate.send(&action, side, again, || self.request(&request, &effect)).await
    }

    /// One request: counted, delayed, and with whatever goes wrong before and after its effect.
    async fn request<T>(
        &self,
        request: &Request<'_>,
        effect: &(impl Fn(&mut Inner, &KindSpec, Instant) -> Result<T, CloudError> + Sync),
    ) -> Result<T, CloudError> {
        let Request { spec, service, side, operation, address, action } = *request;
        let (number, delay, fate) = {
            let mut inner = self.inner();
            let number = inner.number;
            inner.number += 1;
            *inner.calls.entry((spec.name, operation)).or_default() += 1;
            inner.under_way += 1;
            inner.most_under_way = inner.most_under_way.max(inner.under_way);
            let delay = inner.vary(self.behaviour.timing(spec.name).call, self.behaviour.jitter);
            (number, delay, inner.fate(&self.behaviour.weather, operation))
        };
        let _under_way = UnderWay(self);
        let call = Call { number, kind: spec.name, operation, address };
        self.fault(&call, Moment::Before).await?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let error = |class, code, message: &str| Err(CloudError::new(class, action, code, message));
        let unanswered = || error(ErrorClass::Uncertain, "", "no answer: the connection was lost");
        let internal = || error(ErrorClass::Uncertain, "InternalError", "an internal error has occurred");
        let has_token = match &self.behaviour.limits {
            Some(limits) => self.inner().buckets.take(limits, service, side, Instant::now()),
            None => true,
        };
        match fate {
            _ if !has_token => return error(ErrorClass::Throttled, "Throttling", "rate exceeded"),
            Fate::Throttled => return error(ErrorClass::Throttled, "Throttling", "rate exceeded"),
            Fate::Failed { done: false } => return internal(),
            Fate::RequestLost => {
                tokio::time::sleep(self.behaviour.timeout).await;
                return unanswered();
            }
            Fate::InUse => return error(ErrorClass::NotYet, "DependencyViolation", "something still uses it"),
            Fate::Quota => return error(ErrorClass::Quota, "LimitExceeded", "the quota of the account is used up"),
            Fate::Fine | Fate::Failed { done: true } | Fate::AnswerLost => {}
        }
        let answer = effect(&mut self.inner(), spec, Instant::now())?;
        self.fault(&call, Moment::After).await?;
        match fate {
            Fate::Failed { .. } => internal(),
            Fate::AnswerLost => {
                tokio::time::sleep(self.behaviour.timeout).await;
                unanswered()
            }
            _ => Ok(answer),
        }
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

/// What is the same of all requests of one call.
struct Request<'a> {
    spec: &'a KindSpec,
    service: &'a str,
    side: Side,
    operation: Operation,
    address: Option<&'a Address>,
    action: &'a str,
}

impl Inner {
    /// A duration, varied by up to a share of itself.
    fn vary(&mut self, duration: Duration, share: f64) -> Duration {
        if duration.is_zero() || share == 0.0 {
            return duration;
        }
        duration.mul_f64((1.0 + share * (2.0 * self.unit() - 1.0)).max(0.0))
    }

    /// What the weather does to a request.
    fn fate(&mut self, weather: &Weather, operation: Operation) -> Fate {
        if *weather == Weather::default() {
            return Fate::Fine;
        }
        let (mut drawn, other) = (self.unit(), self.unit());
        let share_of = |operations: &[Operation], share: f64| if operations.contains(&operation) { share } else { 0.0 };
        for (share, fate) in [
            (weather.throttled, Fate::Throttled),
            (weather.failed, Fate::Failed { done: other < 0.5 }),
            (weather.request_lost, Fate::RequestLost),
            (weather.answer_lost, Fate::AnswerLost),
            (share_of(&[Operation::Delete], weather.in_use), Fate::InUse),
            (share_of(&[Operation::Create], weather.quota), Fate::Quota),
        ] {
            if drawn < share {
                return fate;
            }
            drawn -= share;
        }
        Fate::Fine
    }

    /// A number from 0 to 1, the next of the seed's.
    fn unit(&mut self) -> f64 {
        // splitmix64: one multiplication chain over a counter.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        #[allow(clippy::cast_precision_loss)]
        let unit = (z >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }
}

#[async_trait]
impl Cloud for Simulated {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn spec(&self, kind: &str) -> Option<&KindSpec> {
        self.own.get(kind).or_else(|| KINDS.spec(kind))
    }

    fn kinds(&self) -> Vec<&str> {
        let own = self.own.keys().copied();
        let mut kinds: Vec<&str> = KINDS.specs().into_iter().map(|spec| spec.name).chain(own).collect();
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
            if let Some(found) = offered.or_else(|| inner.holdings.observe(spec, id?, &self.scope, now)) {
                return Ok(found);
            }
            // Nothing is known of what stands outside the stack: it is taken to be there.
            if self.own.contains_key(kind) {
                return Err(store::not_found("LookUp", name));
            }
            let id = id.map_or_else(|| format!("{kind}-of-this-region"), str::to_owned);
            let outputs = kinds::outputs(spec, &id, attributes, 0, &self.scope);
            Ok(Observed { id, attributes: attributes.clone(), outputs })
        })
        .await
    }

    async fn find(&self, kind: &str, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let request = &lost.request;
        self.call(kind, Operation::Find, Some(&request.address), |inner, spec, now| {
            Ok(inner.holdings.find(spec, request, &self.scope, now))
        })
        .await
    }

    async fn create(&self, kind: &str, request: &CreateRequest) -> Result<Created, CloudError> {
        self.call(kind, Operation::Create, Some(&request.address), |inner, spec, now| {
            let timing = self.behaviour.timing(kind);
            let mut varied = |duration| now + inner.vary(duration, self.behaviour.jitter);
            let (ready, visible, usable) = (varied(timing.ready), varied(timing.visible), varied(timing.usable));
            let breaks = self.behaviour.breakable.contains(&kind) && inner.unit() < self.behaviour.weather.broken;
            let times = Times { now, ready, visible, usable, breaks };
            let id = inner.holdings.create(spec, request, times, &self.scope)?;
            let outputs = kinds::outputs(spec, &id, &request.attributes, 0, &self.scope);
            Ok(Created { id, outputs })
        })
        .await
    }

    async fn finish(&self, kind: &str, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let calls = self.behaviour.timing(kind).finishing.max(1);
        for number in 0..calls {
            self.call(kind, Operation::Finish, Some(&request.address), |inner, _, _| {
                match inner.holdings.held.get_mut(id).filter(|held| held.gone.is_none()) {
                    Some(held) => {
                        held.finishing |= 1 << number.min(31);
                        held.finished = held.finishing.count_ones() >= calls.min(32);
                        Ok(())
                    }
                    None => Err(store::not_found("Finish", id)),
                }
            })
            .await?;
        }
        Ok(())
    }

    async fn update(&self, kind: &str, request: &UpdateRequest) -> Result<(), CloudError> {
        self.call(kind, Operation::Update, Some(&request.address), |inner, spec, now| {
            let ready = now + inner.vary(self.behaviour.timing(kind).ready, self.behaviour.jitter);
            let mut after = request.after.clone();
            if let Some(held) = inner.holdings.held.get(&request.id) {
                keep_foreign_tags(spec, &held.attributes, request, &mut after);
            }
            let changed = |name: &str| request.changed.contains(name);
            inner.holdings.update(spec, &request.id, after, &changed, (now, ready))
        })
        .await
    }

    async fn delete(&self, kind: &str, known: &Known) -> Result<(), CloudError> {
        self.call(kind, Operation::Delete, Some(&known.address), |inner, spec, now| {
            let gone = now + inner.vary(self.behaviour.timing(kind).gone, self.behaviour.jitter);
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
            let gone = inner.holdings.sweep(&known.id, now);
            if phase == Phase::Deleted {
                return Ok(if gone { Progress::Done(Attributes::new()) } else { Progress::Pending("deleting".into()) });
            }
            if inner.holdings.failed.contains_key(&known.id) {
                let message = format!("{} failed: the cloud could not make it ready", known.id);
                return Err(CloudError::new(ErrorClass::Refused, "simulated:Describe", "Failed", message));
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
