//! Orphans: what carries a stack's tags and is in no state.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::future::try_join_all;

use super::recover::{as_known, hang, undeclared};
use crate::cloud::{Cloud, CloudError, Observed};
use crate::graph::{Address, Attributes};
use crate::state::{Entry, State};

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Orphan {
    /// Its kind.
    pub kind: String,
    /// The address it was made for, where its tags say one.
    pub address: Option<Address>,
    /// What it is like.
    pub observed: Observed,
}

/// Everything that carries the stack's tags and that the state does not know, by kind and id.
///
/// # Errors
/// Where the cloud does not answer.
pub async fn orphans(cloud: &dyn Cloud, state: &State) -> Result<Vec<Orphan>, CloudError> {
    cloud.forget();
    let deposed = state.deposed.iter().map(|old| (old.address.kind(), old.entry.id.as_str()));
    let standing = state.resources.iter().map(|(address, entry)| (address.kind(), entry.id.as_str()));
    let known: HashSet<(&str, &str)> = standing.chain(deposed).collect();
    let kinds = cloud.kinds();
    let known = &known;
    let found = try_join_all(kinds.into_iter().map(|kind| async move {
        let mut owned = cloud.owned(kind).await?;
        owned.retain(|one| !known.contains(&(kind, one.id.as_str())));
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        // A tag can outlive its resource for a while.
        let unnamed = || Address::new(kind, "orphan");
        let wanted: Vec<_> = owned
            .iter()
            .map(|one| as_known(&one.address.clone().unwrap_or_else(unnamed), one.id.clone(), Attributes::new()))
            .collect();
        let read = cloud.read(kind, &wanted).await?;
        let living = owned.into_iter().zip(read).filter_map(|(one, observed)| {
            Some(Orphan { kind: kind.to_owned(), address: one.address, observed: observed? })
        });
        Ok::<_, CloudError>(living.collect::<Vec<_>>())
    }))
    .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Orphans as entries of a state, so that they can be deleted in order: each under its own address where that is free, and
/// under one made of its id where it is not.
pub fn entries(orphans: &[Orphan], state: &State) -> BTreeMap<Address, Entry> {
    let mut out: BTreeMap<Address, Entry> = BTreeMap::new();
    for orphan in orphans {
        let own = orphan.address.clone().filter(|own| !state.resources.contains_key(own) && !out.contains_key(own));
        let id: String = orphan.observed.id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let address = own.unwrap_or_else(|| Address::new(&orphan.kind, &format!("orphan-{id}")));
        out.insert(address, undeclared(orphan.observed.clone()));
    }
    let all: BTreeSet<Address> = out.keys().cloned().collect();
    hang(&mut out, &all);
    out
}
