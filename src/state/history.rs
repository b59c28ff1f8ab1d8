//! The history of a state: every run that changed it, with who, when, what, and how it ended.
//!
//! A run is numbered by the serial of the snapshot that it left. The snapshot holds the run beside the state, so that
//! both are kept, moved and checked together.

use serde::{Deserialize, Serialize};

use super::{Entry, State};
use crate::graph::Address;

/// One run that left a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was run: `apply`, `state mv`.
    pub verb: String,
    /// Who ran it: user and host.
    pub who: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// When it ended; nothing where it died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How it ended.
    pub end: End,
    /// What is different in the state since then, by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// All that it was to do was done.
    Done,
    /// Some of it was not.
    Incomplete {
        /// How many steps failed.
        failed: usize,
        /// How many were not begun or not waited for.
        left: usize,
    },
    /// It died; the next run found what it had written down.
    Died,
}

/// What became of one resource of the state during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its address.
    pub address: Address,
    /// What became of it.
    pub what: What,
    /// Its id: the new one, where it has one still.
    pub id: String,
    /// The address that it had before, where it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The state did not hold it before.
    Added,
    /// Its attributes are others.
    Changed,
    /// Another thing stands at its address.
    Replaced,
    /// The state has it under another address.
    Moved,
    /// The state no longer holds it.
    Removed,
}

/// What is different between two states, by address. What is only read does not count.
pub fn changes(before: &State, after: &State) -> Vec<Change> {
    let own = |entry: &&Entry| !entry.read_only;
    let mut out = Vec::new();
    for (address, entry) in after.resources.iter().filter(|(_, entry)| own(entry)) {
        let change = |what, from| Change { address: address.clone(), what, id: entry.id.clone(), from };
        match before.resources.get(address).filter(own) {
            Some(old) if old.id != entry.id => out.push(change(What::Replaced, None)),
            Some(old) if differs(old, entry) => out.push(change(What::Changed, None)),
            Some(_) => {}
            None => {
                let moved = |(other, old): &(&Address, &Entry)| {
                    old.id == entry.id
                        && other.kind() == address.kind()
                        && after.resources.get(*other).is_none_or(|now| now.id != old.id)
                };
                match before.resources.iter().find(moved) {
                    Some((from, _)) => out.push(change(What::Moved, Some(from.clone()))),
                    None => out.push(change(What::Added, None)),
                }
            }
        }
    }
    let moved: Vec<Address> = out.iter().filter_map(|change| change.from.clone()).collect();
    for (address, entry) in before.resources.iter().filter(|(_, entry)| own(entry)) {
        if !after.resources.contains_key(address) && !moved.contains(address) {
            out.push(Change { address: address.clone(), what: What::Removed, id: entry.id.clone(), from: None });
        }
    }
    out.sort_by(|one, other| one.address.cmp(&other.address));
    out
}

/// What a resource is, apart from what the cloud tells of it and what the tool notes for itself.
fn differs(one: &Entry, other: &Entry) -> bool {
    (&one.attributes, one.protect, one.complete) != (&other.attributes, other.protect, other.complete)
}
