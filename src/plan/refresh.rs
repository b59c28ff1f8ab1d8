//! Refresh: what the cloud says about everything in the state, read by kind.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::try_join_all;

use crate::cloud::{Cloud, CloudError, Known, Observed};
use crate::graph::{Address, Graph, KindSpec, template};
use crate::state::State;

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
    /// By id, what was replaced and is still to be deleted.
    pub deposed: HashMap<String, Seen>,
    /// By address, what is only read: lookups, and things that existed before.
    pub reads: HashMap<Address, Observed>,
}

/// Reads everything that the state knows, one batch a kind, all kinds at once; and what the stack looks up.
///
/// # Errors
/// The first error of the cloud.
pub async fn refresh(cloud: &dyn Cloud, graph: &Graph, state: &State) -> Result<Observations, CloudError> {
    cloud.forget();
    let mut by_kind: BTreeMap<&str, Vec<(Known, bool)>> = BTreeMap::new();
    for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
        by_kind.entry(address.kind()).or_default().push((known(address, entry), false));
    }
    for old in &state.deposed {
        by_kind.entry(old.address.kind()).or_default().push((known(&old.address, &old.entry), true));
    }
    let managed = try_join_all(by_kind.into_iter().map(|(kind, wanted)| async move {
        let (known, deposed): (Vec<Known>, Vec<bool>) = wanted.into_iter().unzip();
        let seen = cloud.read(kind, &known).await?;
        Ok::<_, CloudError>(known.into_iter().zip(deposed).zip(seen).collect::<Vec<_>>())
    }));
    let read_only = graph.resources().iter().filter(|resource| is_read_only(resource, |kind| cloud.spec(kind)));
    let reads = try_join_all(read_only.filter_map(|resource| {
        // What it is looked up by may hang on something that is not there yet; then it is read during the apply.
        let attributes = template::literal(&resource.attributes.clone().into())?;
        let attributes = attributes.as_object()?.clone();
        Some(async move {
            let id = resource.existing.as_deref();
            let observed = cloud.look_up(resource.address.kind(), id, &attributes).await;
            observed.map(|observed| (resource.address.clone(), observed)).map_err(|mut error| {
                error.message = format!("{}: {}", resource.address, error.message);
                error
            })
        })
    }));
    let (managed, reads) = futures_util::future::try_join(managed, reads).await?;
    let mut out = Observations { reads: reads.into_iter().collect(), ..Observations::default() };
    for ((known, deposed), seen) in managed.into_iter().flatten() {
        let seen = seen.map_or(Seen::Gone, Seen::Present);
        if deposed {
            out.deposed.insert(known.id, seen);
        } else {
            out.resources.insert(known.address, seen);
        }
    }
    Ok(out)
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
pub fn is_read_only<'a>(resource: &crate::graph::Resource, spec: impl Fn(&str) -> Option<&'a KindSpec>) -> bool {
    resource.existing.is_some() || spec(resource.address.kind()).is_some_and(KindSpec::is_lookup)
}
