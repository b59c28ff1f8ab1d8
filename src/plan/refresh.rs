//! Refresh: what the cloud says about everything in the state, read by kind.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::cloud::{Cloud, CloudError, ErrorClass, FIRST_PAUSE, Known, Observed, longer};
use crate::graph::{Address, Attributes, Graph, KindSpec, Resource, template};
use crate::state::{Deposed, State};

/// What was seen of one resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It is there, and like this.
    Present(Observed),
    /// It is gone.
    Gone,
}

/// What was seen of a stack.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// By address, what the state says exists there.
    pub resources: HashMap<Address, Seen>,
    /// By address and id, what was replaced and is still to be deleted: a role and its instance profile may have one id.
    pub deposed: HashMap<(Address, String), Seen>,
    /// By address, what is only read: lookups, and things that existed before.
    pub reads: HashMap<Address, LookedUp>,
}

/// What looking something up gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LookedUp {
    /// The attributes that it was looked up by, as the state knows what they reference. Should that change, it is looked
    /// up again during the apply.
    pub by: Attributes,
    /// What was found.
    pub observed: Observed,
}

/// Reads everything that the state knows, one batch a kind, all kinds at once; and what the stack looks up.
///
/// # Errors
/// The first error of the cloud.
pub async fn refresh(cloud: &dyn Cloud, graph: &Graph, state: &State) -> Result<Observations, CloudError> {
    cloud.forget();
    let mut by_kind: BTreeMap<&str, Vec<Wanted>> = BTreeMap::new();
    for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
        let wanted = Wanted { known: known(address, entry), deposed: false, complete: entry.complete };
        by_kind.entry(address.kind()).or_default().push(wanted);
    }
    for Deposed { address, entry } in state.deposed.iter() {
        let wanted = Wanted { known: known(address, entry), deposed: true, complete: entry.complete };
        by_kind.entry(address.kind()).or_default().push(wanted);
    }
    let managed = try_join_all(by_kind.into_iter().map(|(kind, wanted)| async move {
        let known: Vec<(&Known, bool)> = wanted.iter().map(|one| (&one.known, one.complete)).collect();
        let seen = read(cloud, kind, &known).await?;
        Ok::<_, CloudError>(wanted.into_iter().zip(seen).collect::<Vec<_>>())
    }));
    let read_only = graph.resources().iter().filter(|resource| is_read_only(resource, |kind| cloud.spec(kind)));
    let reads = try_join_all(read_only.filter_map(|resource| {
        // What it is looked up by may hang on something that is not there yet; then it is read during the apply. What
        // exists is known by its id, whatever else is said of it.
        let by = known_by(resource, cloud.spec(resource.address.kind())?, state);
        let by = by.or_else(|| resource.existing.as_ref().map(|_| literal_part(resource, state)))?;
        Some(look_up(cloud, resource, by))
    }));
    let (managed, reads) = futures_util::future::try_join(managed, reads).await?;
    let mut out = Observations { reads: reads.into_iter().flatten().collect(), ..Observations::default() };
    for (Wanted { known, deposed, .. }, seen) in managed.into_iter().flatten() {
        let seen = seen.map_or(Seen::Gone, Seen::Present);
        if deposed {
            out.deposed.insert((known.address, known.id), seen);
        } else {
            out.resources.insert(known.address, seen);
        }
    }
    Ok(out)
}

/// The attributes that something is looked up by, where the state knows everything that they reference.
fn known_by(resource: &Resource, spec: &KindSpec, state: &State) -> Option<Attributes> {
    let by = template::resolve_all(&resource.attributes, &mut |reference| state.answer(reference));
    let by = if resource.existing.is_some() { by } else { (spec.canonical)(by).ok()? };
    match template::literal(&by.into())? {
        Value::Object(by) => Some(by),
        _ => None,
    }
}

/// Those attributes of which the state knows what they reference.
fn literal_part(resource: &Resource, state: &State) -> Attributes {
    let attributes = template::resolve_all(&resource.attributes, &mut |reference| state.answer(reference));
    attributes.iter().filter_map(|(name, value)| Some((name.clone(), template::literal(value)?))).collect()
}

/// Looks up one resource. What is looked up by something that the apply may change need not be there yet.
async fn look_up(
    cloud: &dyn Cloud,
    resource: &Resource,
    by: Attributes,
) -> Result<Option<(Address, LookedUp)>, CloudError> {
    let id = resource.existing.as_deref();
    match cloud.look_up(resource.address.kind(), id, &by).await {
        Ok(observed) => Ok(Some((resource.address.clone(), LookedUp { by, observed }))),
        Err(error)
            if id.is_none()
                && error.is(ErrorClass::NotFound)
                && resource.attributes.values().any(template::is_unknown) =>
        {
            Ok(None)
        }
        Err(mut error) => {
            error.message = format!("{}: {}", resource.address, error.message);
            Err(error)
        }
    }
}

/// One resource to be read.
struct Wanted {
    known: Known,
    deposed: bool,
    complete: bool,
}

/// For how long something has to stay away that was complete, until it counts as gone: a read may come from a replica
/// that lags behind.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// Reads resources of one kind, each with whether it was complete. What is not shown only counts as gone once it stays
/// away, and longer where an earlier run had just created it when it died.
///
/// # Errors
/// Of the cloud.
pub async fn read(
    cloud: &dyn Cloud,
    kind: &str,
    wanted: &[(&Known, bool)],
) -> Result<Vec<Option<Observed>>, CloudError> {
    let known: Vec<Known> = wanted.iter().map(|(known, _)| (*known).clone()).collect();
    let mut seen = cloud.read(kind, &known).await?;
    seen.resize(known.len(), None);
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let lasts = |complete: bool| if complete { SECOND_LOOK.min(cloud.visibility()) } else { cloud.visibility() };
        let is_missing = |at: &usize| seen[*at].is_none() && began.elapsed() < lasts(wanted[*at].1);
        let missing: Vec<usize> = (0..known.len()).filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(seen);
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
        let again: Vec<Known> = missing.iter().map(|&at| known[at].clone()).collect();
        cloud.forget();
        for (at, found) in missing.into_iter().zip(cloud.read(kind, &again).await?) {
            seen[at] = found;
        }
    }
}

fn known(address: &Address, entry: &crate::state::Entry) -> Known {
    Known {
        address: address.clone(),
        id: entry.id.clone(),
        attributes: entry.attributes.clone(),
        outputs: entry.outputs.clone(),
    }
}

/// Whether a resource of the stack is only read.
pub fn is_read_only<'a>(resource: &Resource, spec: impl Fn(&str) -> Option<&'a KindSpec>) -> bool {
    resource.existing.is_some() || spec(resource.address.kind()).is_some_and(KindSpec::is_lookup)
}
