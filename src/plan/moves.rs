//! Moves: what the state holds under one address is put under another, and nothing is changed in the cloud. It keeps the
//! names that were made for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Address, Graph, Names};
use crate::state::{Record, State};

/// Why something cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The state has nothing there.
    #[error("`{0}` is not in the state")]
    Missing(Address),
    /// Something is there already.
    #[error("`{0}` is in the state already")]
    Occupied(Address),
    /// A resource stays of its kind, and a construct of its.
    #[error("a {from} cannot become a {to}")]
    Kind {
        /// The kind it is of.
        from: String,
        /// The kind it should become.
        to: String,
    },
    /// Constructs do not nest.
    #[error("`{0}` is part of a construct, and a whole construct cannot move there")]
    Nested(Address),
}

impl MoveError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing(_) => "list what is with the verb `state list`",
            Self::Occupied(_) => "choose another address",
            Self::Kind { .. } => "only the name and the construct of an address may change",
            Self::Nested(_) => "give the construct an address of its own: kind.name",
        }
    }
}

/// The moves that the stack asks for and the state has not made yet, in the order they stand in; one whose target is
/// still taken waits for that to be moved away.
pub fn moves(state: &State, moved: &[(&Address, &Address)]) -> Vec<Record> {
    let mut held: BTreeSet<Address> = held(state);
    let mut names = state.names.clone();
    let mut records = Vec::new();
    let mut waiting: Vec<(&Address, &Address)> = Vec::new();
    let mut make = |held: &mut BTreeSet<Address>, from: &Address, to: &Address| match pairs(held, from, to) {
        Ok(pairs) => {
            for (from, to) in pairs {
                held.remove(&from);
                held.insert(to.clone());
                records.push(Record::Move { from, to });
            }
            names.rename(from, to);
            true
        }
        Err(error) => !matches!(error, MoveError::Occupied(_)),
    };
    for (from, to) in moved {
        if !make(&mut held, from, to) {
            waiting.push((from, to));
        }
        waiting.retain(|(from, to)| !make(&mut held, from, to));
    }
    records.extend(named(&names, state));
    records
}

/// What is to be noted so that a state has these names.
fn named<'n>(names: &'n Names, state: &State) -> impl Iterator<Item = Record> + use<'n> {
    names.since(&state.names).into_iter().map(|(address, origin)| Record::Named { address, origin })
}

/// What becomes of kept names besides: where nothing is left they are let go, and what the stack puts at an address whose
/// names have moved on gets names of its own.
pub fn settled_names(state: &State, graph: &Graph) -> Vec<Record> {
    if state.names.is_empty() {
        return Vec::new();
    }
    let is_held = |address: &Address| state.holds().any(|(held, _)| held.is_within(address.as_str()));
    let mut names = Names::default();
    state.names.iter().filter(|(address, _)| is_held(address)).for_each(|(address, origin)| names.set(address, origin));
    let constructs = graph.resources().iter().filter_map(|one| Address::parse(one.address.construct()?).ok());
    let declared: BTreeSet<Address> =
        constructs.chain(graph.resources().iter().map(|one| one.address.clone())).collect();
    // How many have the names of each address.
    let mut having: BTreeMap<Address, usize> = BTreeMap::new();
    let everything: BTreeSet<&Address> = declared
        .iter()
        .chain(state.holds().map(|(held, _)| held))
        .chain(names.iter().map(|(address, _)| address))
        .collect();
    for address in everything {
        *having.entry(names.origin(address).into_owned()).or_default() += 1;
    }
    for address in declared.iter().filter(|address| !is_held(address)) {
        let own = names.origin(address).into_owned();
        if having.get(&own).is_some_and(|count| *count > 1) {
            let free = Names::free(&own, &|one| having.contains_key(one));
            names.set(address, &free);
            having.insert(free, 1);
        }
    }
    named(&names, state).collect()
}

/// The records of one move that a user asks for: of a resource, or of all that a construct holds.
///
/// # Errors
/// Where it cannot be made.
pub fn one_move(state: &State, from: &Address, to: &Address) -> Result<Vec<Record>, MoveError> {
    let pairs = pairs(&held(state), from, to)?;
    let mut names = state.names.clone();
    names.rename(from, to);
    let moves = pairs.into_iter().map(|(from, to)| Record::Move { from, to });
    Ok(moves.chain(named(&names, state)).collect())
}

/// Every address that the state holds something under.
fn held(state: &State) -> BTreeSet<Address> {
    state.holds().map(|(address, _)| address.clone()).collect()
}

fn pairs(held: &BTreeSet<Address>, from: &Address, to: &Address) -> Result<Vec<(Address, Address)>, MoveError> {
    if from.kind() != to.kind() {
        return Err(MoveError::Kind { from: from.kind().to_owned(), to: to.kind().to_owned() });
    }
    let mut found: Vec<(Address, Address)> = Vec::new();
    if held.contains(from) {
        found.push((from.clone(), to.clone()));
    }
    // What stands below a construct goes with it, and below a resource (a cluster's list of providers) as well.
    let below: Vec<&Address> = held.iter().filter(|address| address.construct() == Some(from.as_str())).collect();
    if !below.is_empty() && to.construct().is_some() {
        return Err(MoveError::Nested(to.clone()));
    }
    found.extend(below.into_iter().map(|address| (address.clone(), to.child(address.kind(), address.name()))));
    if found.is_empty() {
        return Err(MoveError::Missing(from.clone()));
    }
    match found.iter().find(|(_, to)| held.contains(to)) {
        Some((_, to)) => Err(MoveError::Occupied(to.clone())),
        None => Ok(found),
    }
}
