//! What was replaced and still has to be deleted, by address.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::graph::Address;

/// A resource that was replaced and still has to be deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deposed {
    /// The address that its successor has now.
    pub address: Address,
    /// What it was.
    pub entry: Entry,
}

/// Everything that was replaced and still has to be deleted, in the order of the addresses; of one address, the oldest
/// first. In files it is a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Deposed>", into = "Vec<Deposed>")]
pub struct Aside {
    by_address: BTreeMap<Address, Vec<Deposed>>,
}

impl Aside {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_address.values().map(Vec::len).sum()
    }

    /// All of it.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.into_iter()
    }

    /// What was replaced at an address, the oldest first.
    pub fn at(&self, address: &Address) -> &[Deposed] {
        self.by_address.get(address).map_or(&[], Vec::as_slice)
    }

    /// Takes one in.
    pub fn push(&mut self, old: Deposed) {
        self.by_address.entry(old.address.clone()).or_default().push(old);
    }

    /// Takes out what has this id at an address.
    pub fn remove(&mut self, address: &Address, id: &str) {
        if let btree_map::Entry::Occupied(mut here) = self.by_address.entry(address.clone()) {
            here.get_mut().retain(|old| old.entry.id != id);
            if here.get().is_empty() {
                here.remove();
            }
        }
    }

    /// Gives all that is at an address another one.
    pub(super) fn rename(&mut self, from: &Address, to: &Address) {
        for old in self.by_address.remove(from).into_iter().flatten() {
            self.push(Deposed { address: to.clone(), ..old });
        }
    }

    /// All entries, to be changed.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.by_address.values_mut().flatten().map(|old| &mut old.entry)
    }
}

impl<'a> IntoIterator for &'a Aside {
    type Item = &'a Deposed;
    type IntoIter = std::iter::Flatten<btree_map::Values<'a, Address, Vec<Deposed>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_address.values().flatten()
    }
}

impl From<Vec<Deposed>> for Aside {
    fn from(list: Vec<Deposed>) -> Self {
        let mut aside = Self::default();
        list.into_iter().for_each(|old| aside.push(old));
        aside
    }
}

impl From<Aside> for Vec<Deposed> {
    fn from(aside: Aside) -> Self {
        aside.by_address.into_values().flatten().collect()
    }
}
