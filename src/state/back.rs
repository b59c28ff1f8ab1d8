//! Going back to what an earlier run left. What was made since is in the cloud still, and stays known.

use std::collections::{BTreeMap, HashSet};

use super::{Deposed, Entry, State};
use crate::graph::Address;

/// The way back to an earlier state.
#[derive(Debug)]
pub struct Back<'s> {
    now: &'s State,
    wanted: State,
}

impl<'s> Back<'s> {
    /// From the present state to an earlier one of the same stack.
    pub fn new(now: &'s State, wanted: State) -> Self {
        Self { now, wanted }
    }

    /// What stood where another thing stands now that the earlier state does not know, and is known no more: whether it is
    /// there still, only the cloud can tell.
    pub fn doubtful(&self) -> Vec<(&Address, &Entry)> {
        let known = ids(self.now);
        let is_known = |address: &Address, entry: &Entry| known.contains(&(address.kind(), entry.id.as_str()));
        self.contested().filter(|(address, entry)| !entry.read_only && !is_known(address, entry)).collect()
    }

    /// What stood at addresses where the present state has something that the earlier one does not know.
    fn contested(&self) -> impl Iterator<Item = (&Address, &Entry)> {
        let known = ids(&self.wanted);
        self.wanted.resources.iter().filter(move |(address, entry)| {
            self.now.resources.get(*address).is_some_and(|now| {
                !now.read_only && now.id != entry.id && !known.contains(&(address.kind(), now.id.as_str()))
            })
        })
    }

    /// The state to go on with, and what of it was made since. `is_there` says it of what was doubtful.
    pub fn state(self, is_there: &dyn Fn(&Address, &Entry) -> bool) -> (State, Vec<Address>) {
        let contested: Vec<Address> = self.contested().map(|(address, _)| address.clone()).collect();
        let lost: HashSet<Address> = self.doubtful().into_iter().map(|(address, _)| address.clone()).collect();
        let now = self.now;
        let mut out = self.wanted;
        for address in contested {
            let Some(entry) = out.resources.get(&address) else { continue };
            // What is known under another address by now stays there; what is gone makes way, and so does what was only read.
            if !lost.contains(&address) || !is_there(&address, entry) {
                out.resources.remove(&address);
            }
        }
        // What it knows no more was made since, or stays at the address that it has by now.
        let standing: BTreeMap<&Address, &Entry> = {
            let left = ids(&out);
            let is_missing = |address: &Address, entry: &Entry| !left.contains(&(address.kind(), entry.id.as_str()));
            now.resources.iter().filter(|(address, entry)| !entry.read_only && is_missing(address, entry)).collect()
        };
        let mut made_since = Vec::new();
        for (address, entry) in standing {
            made_since.push(address.clone());
            if out.resources.contains_key(address) {
                out.deposed.push(Deposed { address: address.clone(), entry: entry.clone() });
                continue;
            }
            out.resources.insert(address.clone(), entry.clone());
            if let Some(held) = now.held.get(address).filter(|_| !out.held.contains_key(address)) {
                out.held.insert(address.clone(), held.clone());
            }
            let origin = now.names.origin(address).into_owned();
            out.names.set(address, &origin);
        }
        // What waits to be deleted goes on waiting, where it has no place in the state that is gone back to.
        let waiting: Vec<Deposed> = {
            let left = ids(&out);
            let is_missing = |old: &&Deposed| !left.contains(&(old.address.kind(), old.entry.id.as_str()));
            now.deposed.iter().filter(is_missing).cloned().collect()
        };
        waiting.into_iter().for_each(|old| out.deposed.push(old));
        (out, made_since)
    }
}

/// Everything that a state holds of the cloud, by kind and id.
fn ids(state: &State) -> HashSet<(&str, &str)> {
    let own = state.holds().filter(|(_, entry)| !entry.read_only);
    own.map(|(address, entry)| (address.kind(), entry.id.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Attributes;

    fn entry(id: &str, read_only: bool) -> Entry {
        Entry {
            id: id.into(),
            attributes: Attributes::new(),
            outputs: Attributes::new(),
            depends_on: Vec::new(),
            protect: false,
            complete: true,
            read_only,
            changing: Attributes::new(),
        }
    }

    fn state(entry: Entry) -> State {
        let mut state = State::empty("web", None, "local", "123456789012", "eu-west-2");
        state.resources.insert(vpc(), entry);
        state
    }

    fn vpc() -> Address {
        Address::new("vpc", "main")
    }

    fn deposed(state: &State) -> Vec<&str> {
        state.deposed.iter().map(|old| old.entry.id.as_str()).collect()
    }

    #[test]
    fn what_still_waits_to_be_deleted_stays_known() {
        let mut now = state(entry("new", false));
        now.deposed.push(Deposed { address: vpc(), entry: entry("old", false) });
        let (back, _) = Back::new(&now, state(entry("old", false))).state(&|_, _| true);
        assert_eq!((back.resources[&vpc()].id.as_str(), deposed(&back)), ("new", vec!["old"]));
    }

    #[test]
    fn what_was_only_read_makes_way_for_what_was_made() {
        let (now, wanted) = (state(entry("ours", false)), state(entry("theirs", true)));
        let (back, _) = Back::new(&now, wanted).state(&|_, _| true);
        assert_eq!((back.resources[&vpc()].id.as_str(), deposed(&back)), ("ours", vec![]));
    }
}
