//! The history of a state: every run that changed it, with who, when, what, and how it ended.
//!
//! A run is numbered by the serial of the snapshot that it left. The snapshot holds the run beside the state, so that
//! both are kept, moved and checked together.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Deposed, Entry, Intent, Operation, Record, State};
use crate::graph::{Address, Attributes};

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
    /// What had been changed outside of the tool and was undone: the attributes as the cloud had them, `null` where it had
    /// none; of tables only the keys that were others.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub undone: Attributes,
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

/// What a run did and the states before and after it do not tell: what was changed outside of the tool is made again as it
/// was.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Creates under way, by the intent's number, where something stands already.
    creating: BTreeMap<u64, Address>,
    /// Updates under way: what they change, as it was before.
    updating: BTreeMap<Address, Attributes>,
    /// What was made again under the id that it had.
    made_again: BTreeSet<Address>,
    /// What was updated, as it was before.
    updated: BTreeMap<Address, Attributes>,
}

impl Traces {
    /// Takes in a record of a run that began with this state.
    pub fn note(&mut self, record: &Record, before: &State) {
        match record {
            Record::Intent(Intent { number, address, operation, attributes, .. }) => match operation {
                Operation::Create if before.resources.contains_key(address) => {
                    self.creating.insert(*number, address.clone());
                }
                Operation::Update => drop(self.updating.insert(address.clone(), attributes.clone())),
                Operation::Create | Operation::Delete => {}
            },
            Record::Created { number, id, .. } => {
                let there = |address: &Address| before.resources.get(address).is_some_and(|entry| entry.id == *id);
                self.made_again.extend(self.creating.remove(number).filter(there));
            }
            // Only once an update had its effect the resource is noted anew.
            Record::Put { address, .. } => self.updated.extend(self.updating.remove_entry(address)),
            _ => {}
        }
    }

    /// Of what was undone at an address, how it was: what the state knew and has again. What it never said is nobody's drift,
    /// and what it says otherwise now was meant to change.
    fn undone(&self, address: &Address, old: &Entry, new: &Entry) -> Attributes {
        let seen = self.updated.get(address).into_iter().flatten();
        let undone = |(name, seen): (&String, &Value)| {
            let known = old.attributes.get(name)?;
            let again = new.attributes.get(name) == Some(known);
            Some((name.clone(), drifted(known, seen).filter(|_| again)?))
        };
        seen.filter_map(undone).collect()
    }
}

/// How an attribute was in the cloud, where the state knew it otherwise. Keys that the state does not know are others'.
fn drifted(known: &Value, seen: &Value) -> Option<Value> {
    match (known, seen) {
        (Value::Object(known), Value::Object(seen)) => {
            let of = |key: &String| seen.get(key).cloned().unwrap_or_default();
            let differ = known.iter().filter(|(key, value)| of(key) != **value);
            let differ: Map<String, Value> = differ.map(|(key, _)| (key.clone(), of(key))).collect();
            (!differ.is_empty()).then_some(Value::Object(differ))
        }
        (known, seen) => (known != seen).then(|| seen.clone()),
    }
}

/// What is different between two states, by address. What is only read does not count.
pub fn changes(before: &State, after: &State) -> Vec<Change> {
    changes_of(before, after, &Traces::default())
}

/// What a run changed, by address. What is only read does not count.
pub(super) fn changes_of(before: &State, after: &State, traces: &Traces) -> Vec<Change> {
    let own = |entry: &&Entry| !entry.read_only;
    let mut out = Vec::new();
    for (address, entry) in after.resources.iter().filter(|(_, entry)| own(entry)) {
        let change = |what, from| Change {
            address: address.clone(),
            what,
            id: entry.id.clone(),
            from,
            undone: Attributes::new(),
        };
        match before.resources.get(address).filter(own) {
            Some(old) if old.id != entry.id || traces.made_again.contains(address) => {
                out.push(change(What::Replaced, None));
            }
            Some(old) => {
                let undone = traces.undone(address, old, entry);
                if differs(old, entry) || !undone.is_empty() {
                    out.push(Change { undone, ..change(What::Changed, None) });
                }
            }
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
            out.push(removed(address, entry));
        }
    }
    if !before.deposed.is_empty() {
        let left: HashSet<(&str, &str)> =
            after.holds().map(|(address, entry)| (address.kind(), entry.id.as_str())).collect();
        let is_gone = |old: &&Deposed| !left.contains(&(old.address.kind(), old.entry.id.as_str()));
        out.extend(before.deposed.iter().filter(is_gone).map(|old| removed(&old.address, &old.entry)));
    }
    out.sort_by(|one, other| one.address.cmp(&other.address));
    out
}

fn removed(address: &Address, entry: &Entry) -> Change {
    let (address, id) = (address.clone(), entry.id.clone());
    Change { address, what: What::Removed, id, from: None, undone: Attributes::new() }
}

/// What a resource is, apart from what the cloud tells of it and what the tool notes for itself.
fn differs(one: &Entry, other: &Entry) -> bool {
    (&one.attributes, one.protect, one.complete) != (&other.attributes, other.protect, other.complete)
}
