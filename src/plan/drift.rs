//! Drift: what the cloud says differently from the state, whatever the stack says.

use super::{Drift, Observations, Seen, diff, held};
use crate::graph::{Attributes, KindSpec};
use crate::state::State;

/// What differs between the state and what was observed, in the order of the addresses. What is only read, what was left
/// half made and what is about to be deleted cannot drift.
pub fn drift<'a>(state: &State, observed: &Observations, specs: &dyn Fn(&str) -> Option<&'a KindSpec>) -> Vec<Drift> {
    let mut out = Vec::new();
    let taken_over = held::taken_over(state, specs);
    for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
        let Some(spec) = specs(address.kind()) else { continue };
        match observed.resources.get(address) {
            Some(Seen::Gone) => out.push(Drift { address: address.clone(), gone: true, changes: Vec::new() }),
            Some(Seen::Present(seen)) if entry.complete => {
                if seen.attributes.iter().all(|(name, value)| diff::is_as_known(spec, entry, name, value)) {
                    continue;
                }
                let current = diff::current(spec, &entry.attributes, Some(&seen.attributes), &Attributes::new());
                let mut changes = diff::drift(spec, &entry.attributes, &current);
                // What an update was about is not what it was, and that is nobody else's doing.
                changes.retain(|change| !entry.changing.contains_key(change.attribute()));
                changes.retain(|change| !taken_over.contains(&(address, change.attribute())));
                if !changes.is_empty() {
                    out.push(Drift { address: address.clone(), gone: false, changes });
                }
            }
            _ => {}
        }
    }
    out
}
