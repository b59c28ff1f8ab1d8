//! State: what the tool made, where it is, and what it was about to do. A snapshot, a journal, a lock and a history in
//! one place for each stack, environment, cloud, account and region.

mod aside;
mod back;
mod deposed;
mod directory;
mod error;
mod held;
mod history;
mod journal;
mod lease;
mod lock;
mod memory;
mod objects;
mod place;
mod sealed;
mod snapshot;
mod store;

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use aside::Rebuild;
pub use back::Back;
pub use deposed::{Aside, Deposed};
pub use directory::{Directories, Directory};
pub use error::StateError;
pub use held::{HeldValue, Holds};
pub use history::{Change, End, Run, What, changes};
pub use lease::Pace;
pub use lock::Holder;
pub use memory::Memory;
pub use objects::{ObjectHome, Objects, Tag, When};
pub use place::{Contents, Held, Home, Occupied, Place, Taken};
pub use sealed::{Encrypt, Keys, Opener, SealedHome};
pub use snapshot::{Snapshot, hexadecimal, sha256};
pub use store::{Store, Unfinished, Writer};

use crate::graph::{Address, Attributes, Names, Reference};
use crate::secret::Seal;

/// The version of the snapshot's form.
pub const FORMAT_VERSION: u32 = 2;

/// The name of the snapshot in its place.
const SNAPSHOT: &str = "snapshot.json";

/// One resource that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id in the cloud.
    pub id: String,
    /// Its attributes as last applied (literal, canonical).
    pub attributes: Attributes,
    /// What the cloud gave: ids, ARNs, addresses.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub outputs: Attributes,
    /// What it depended on when it was applied: deleting goes the other way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Address>,
    /// Whether plans that delete or replace it are refused. Kept here so that removing its block does not remove it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub protect: bool,
    /// Whether creating it came to its end; if not, the next apply finishes it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub complete: bool,
    /// Whether it is only read: something that existed before, or a lookup.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// What an update changed that is not known to have come to its end, by attribute, as it was before it; null where it
    /// was not set. An update may take several calls, and not all that they do can be read back (instances that are
    /// replaced, protection that is set on each): so the next plan makes the same change again.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub changing: Attributes,
}

fn yes() -> bool {
    true
}

// serde's `skip_serializing_if` hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What a mutating call is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Bring a resource into being.
    Create,
    /// Change it in place.
    Update,
    /// Delete it.
    Delete,
}

/// A mutating call that is about to be sent: on disk before it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Its number in the run's order.
    pub number: u64,
    /// The resource.
    pub address: Address,
    /// What is about to be done.
    pub operation: Operation,
    /// The identity of a create: client token or tag.
    pub token: String,
    /// The attributes of a create, by which it is found again; of an update, what it changes, as it was before (see
    /// [`Entry::changing`]).
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// What a created resource depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Address>,
    /// The id of what is updated or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first line of a run: which snapshot the journal continues, and for whom. The journal of a run that died before
    /// it did anything is continued by the next.
    Begin {
        /// The run's own name, never the same twice.
        run: String,
        /// The snapshot's serial.
        serial: u64,
        /// The state's lineage.
        lineage: String,
        /// The verb that runs: `apply`, `destroy`.
        verb: String,
        /// Who runs it: user and host.
        who: String,
        /// When it began, RFC 3339.
        at: String,
    },
    /// A call is about to be sent.
    Intent(Intent),
    /// A call is known to have had its effect, or none: nothing is left to look up.
    Settled {
        /// The intent's number.
        number: u64,
    },
    /// An update did not come to its end: some of its calls may have had their effect, others not.
    HalfDone {
        /// The intent's number.
        number: u64,
    },
    /// A create call had its effect: what was intended exists. What stood at its address moves aside until it is deleted.
    Created {
        /// The intent's number; its attributes are the resource's.
        number: u64,
        /// The new id.
        id: String,
        /// Outputs known so far.
        outputs: Attributes,
        /// Whether it is protected from now on.
        #[serde(default, skip_serializing_if = "is_false")]
        protect: bool,
    },
    /// The resource at an address is ready for use.
    Ready {
        /// Its address.
        address: Address,
        /// Outputs that became known or changed.
        #[serde(default, skip_serializing_if = "Attributes::is_empty")]
        outputs: Attributes,
    },
    /// A resource is now so. Where another one of the tool's stood at its address, that one moves aside until it is deleted.
    Put {
        /// Its address.
        address: Address,
        /// What is known of it.
        entry: Entry,
    },
    /// The resource at an address with this id is gone, deposed or not.
    Remove {
        /// Its address.
        address: Address,
        /// Its id.
        id: String,
    },
    /// A resource is to be known under another address.
    Move {
        /// Its address so far.
        from: Address,
        /// Its address from now on.
        to: Address,
    },
    /// Names at an address, of a resource or of a construct, are made from this one from now on.
    Named {
        /// Where it stands.
        address: Address,
        /// Where it stood when they were made.
        origin: Address,
    },
    /// A value of a resource is held from now on, or no longer.
    Hold {
        /// The resource.
        address: Address,
        /// The way into its attributes: `containers.app.image`.
        path: String,
        /// What is held; nothing: it is what the stack says again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<HeldValue>,
    },
    /// The stack's outputs.
    Outputs {
        /// By name.
        outputs: BTreeMap<String, Value>,
        /// By name, what they are made from.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        of: BTreeMap<String, Vec<Address>>,
    },
    /// The run came to its end, and its snapshot is written next.
    End {
        /// When, RFC 3339.
        at: String,
        /// How.
        #[serde(flatten)]
        end: End,
    },
}

/// What exists of one stack in one cloud, account and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which history this state belongs to: made once, with the first snapshot.
    pub lineage: String,
    /// Counts snapshots.
    pub serial: u64,
    /// The stack's name.
    pub stack: String,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// `aws` or `local`.
    pub cloud: String,
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
    /// For an emulated cloud: which run of it. Another run has forgotten everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The stack's file, as the project's folder has it: by it a stack is known whose name changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The key of the digests that stand for secret values, where the stack has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// What exists.
    pub resources: BTreeMap<Address, Entry>,
    /// What was replaced and is to be deleted.
    #[serde(default, skip_serializing_if = "Aside::is_empty")]
    pub deposed: Aside,
    /// The stack's outputs when it was last applied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// What the outputs are made from: they go with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs_of: BTreeMap<String, Vec<Address>>,
    /// What is held against what the stack says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: Holds,
    /// What keeps the names of an address that it no longer has.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub names: Names,
    /// Calls that were about to be sent and of whose end nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<Intent>,
}

impl State {
    /// The state of a stack that was never applied.
    pub fn empty(stack: &str, env: Option<&str>, cloud: &str, account: &str, region: &str) -> Self {
        Self {
            lineage: uuid::Uuid::new_v4().to_string(),
            serial: 0,
            stack: stack.to_owned(),
            env: env.map(str::to_owned),
            cloud: cloud.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
            instance: None,
            file: None,
            seal: None,
            resources: BTreeMap::new(),
            deposed: Aside::default(),
            outputs: BTreeMap::new(),
            outputs_of: BTreeMap::new(),
            held: Holds::new(),
            names: Names::default(),
            unresolved: Vec::new(),
        }
    }

    /// Whether nothing exists and nothing is uncertain.
    pub fn is_empty(&self) -> bool {
        self.resources.values().all(|entry| entry.read_only) && self.deposed.is_empty() && self.unresolved.is_empty()
    }

    /// A digest of what exists, of what is held, of the names that are kept and of the outputs: states with the same digest give the same plan. Calls of whose end
    /// nothing is known are settled before a plan is made and do not count.
    pub fn digest(&self) -> String {
        let all = (&self.resources, &self.deposed, &self.outputs, &self.held, &self.names);
        sha256(&serde_json::to_vec(&all).unwrap_or_default())
    }

    /// Puts a resource in its place. What the tool made and what stood there so far stays known: it moves aside until it
    /// is deleted. What takes its place back is aside no longer.
    fn place(&mut self, address: Address, entry: Entry) {
        self.deposed.remove(&address, &entry.id);
        match self.resources.entry(address) {
            btree_map::Entry::Occupied(mut place) => {
                let address = place.key().clone();
                let old = place.insert(entry);
                if !old.read_only && old.id != place.get().id {
                    self.deposed.push(Deposed { address, entry: old });
                }
            }
            btree_map::Entry::Vacant(place) => drop(place.insert(entry)),
        }
    }

    /// What is known of the resource with this id, whether it stands at its address or was replaced there.
    pub fn entry(&self, address: &Address, id: &str) -> Option<&Entry> {
        let replaced = self.deposed.at(address).iter().map(|old| &old.entry);
        self.resources.get(address).into_iter().chain(replaced).find(|entry| entry.id == id)
    }

    /// Everything that the state holds of the cloud, at its address or replaced there.
    pub fn holds(&self) -> impl Iterator<Item = (&Address, &Entry)> {
        self.resources.iter().chain(self.deposed.iter().map(|old| (&old.address, &old.entry)))
    }

    /// What a reference stands for, as far as the state knows.
    pub fn answer(&self, reference: &Reference) -> Option<Value> {
        let entry = self.resources.get(reference.target.as_str())?;
        entry.attributes.get(&reference.attribute).or_else(|| entry.outputs.get(&reference.attribute)).cloned()
    }

    /// Takes in one record of the journal.
    pub fn take(&mut self, record: Record) {
        match record {
            Record::Begin { .. } | Record::End { .. } => {}
            Record::Intent(intent) => self.unresolved.push(intent),
            Record::Settled { number } => drop(self.resolve(number)),
            Record::HalfDone { number } => {
                if let Some(Intent { address, attributes, id, .. }) = self.resolve(number)
                    && let Some(entry) = self.resources.get_mut(&address).filter(|entry| Some(&entry.id) == id.as_ref())
                {
                    // Of several tries it counts how it was before the first.
                    for (name, before) in attributes {
                        entry.changing.entry(name).or_insert(before);
                    }
                }
            }
            Record::Created { number, id, outputs, protect } => {
                if let Some(Intent { address, attributes, depends_on, .. }) = self.resolve(number) {
                    let entry = Entry {
                        id,
                        attributes,
                        outputs,
                        depends_on,
                        protect,
                        complete: false,
                        read_only: false,
                        changing: Attributes::new(),
                    };
                    self.place(address, entry);
                }
            }
            Record::Ready { address, outputs } => {
                if let Some(entry) = self.resources.get_mut(&address) {
                    entry.complete = true;
                    entry.changing.clear();
                    entry.outputs.extend(outputs);
                }
            }
            Record::Put { address, entry } => self.place(address, entry),
            Record::Remove { address, id } => {
                if self.resources.get(&address).is_some_and(|entry| entry.id == id) {
                    self.resources.remove(&address);
                    let of = &self.outputs_of;
                    self.outputs.retain(|name, _| !of.get(name).is_some_and(|of| of.contains(&address)));
                }
                self.deposed.remove(&address, &id);
            }
            Record::Move { from, to } => {
                if let Some(entry) = self.resources.remove(&from) {
                    self.place(to.clone(), entry);
                }
                self.deposed.rename(&from, &to);
                if let Some(held) = self.held.remove(&from) {
                    self.held.insert(to.clone(), held);
                }
                let entries = self.resources.values_mut().chain(self.deposed.entries_mut());
                entries.flat_map(|e| &mut e.depends_on).filter(|a| **a == from).for_each(|a| *a = to.clone());
                self.outputs_of.values_mut().flatten().filter(|a| **a == from).for_each(|a| *a = to.clone());
            }
            Record::Named { address, origin } => self.names.set(&address, &origin),
            Record::Outputs { outputs, of } => (self.outputs, self.outputs_of) = (outputs, of),
            Record::Hold { address, path, held } => {
                let of_resource = self.held.entry(address.clone()).or_default();
                match held {
                    Some(held) => drop(of_resource.insert(path, held)),
                    None => drop(of_resource.remove(&path)),
                }
                if of_resource.is_empty() {
                    self.held.remove(&address);
                }
            }
        }
    }

    /// Takes out an intent of whose end something is known now.
    fn resolve(&mut self, number: u64) -> Option<Intent> {
        let at = self.unresolved.iter().position(|intent| intent.number == number)?;
        Some(self.unresolved.remove(at))
    }
}
