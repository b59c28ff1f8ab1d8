//! Constructs: blocks that expand into resources below their own address.

mod below;
mod capacity;
mod network;
mod place;
mod providers;
mod service;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::graph::{Address, Attributes, Names, Problem, Resource, Scope};

/// What a construct is expanded from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its own address, `network.main`.
    pub address: &'a Address,
    /// Its attributes, checked against its schema; references may stand in them.
    pub attributes: &'a Attributes,
    /// Stack, environment, region; the account may be unknown.
    pub scope: &'a Scope,
    /// Every block that the stack declares, kinds and constructs alike.
    pub declared: &'a BTreeSet<Address>,
    /// The attributes of every declared block, in the form of `attributes`: for what depends on siblings, such as the
    /// one list of capacity providers that a cluster has. What exists already has its id in `existing` besides.
    pub blocks: &'a BTreeMap<Address, Attributes>,
    /// The tags that every resource of the stack carries: for what is tagged by another attribute than `tags`.
    pub tags: &'a BTreeMap<String, String>,
    /// What keeps the names of an address that it no longer has.
    pub names: &'a Names,
}

impl Input<'_> {
    /// What names are made from: the construct's own name, or, where it was moved, the one that it had first.
    pub fn own_name(&self) -> String {
        self.names.origin(self.address).name().to_owned()
    }
}

/// What a construct expands to. Tags and names are filled in by the stack language, as for resources written by hand.
#[derive(Debug, Default)]
pub struct Expansion {
    /// Resources below the construct's address. What several constructs share stands below the thing they share it
    /// for (`cluster.main/cluster_capacity.main`), and the first of them in address order gives it.
    pub resources: Vec<Resource>,
    /// Attributes of the construct that references may name, in the desired space: `vpc_id` →
    /// `"${network.main/vpc.main.id}"`, `private_subnet_ids` → a list of such.
    pub exports: Attributes,
    /// For which of its resources the construct stands where a bare name is given: with `vpc` →
    /// `network.main/vpc.main`, `vpc = "main"` means that VPC.
    pub stands_for: BTreeMap<&'static str, Address>,
}

/// A kind of block that expands into resources.
pub trait Construct: Send + Sync {
    /// Its name in stack files: `network`.
    fn name(&self) -> &'static str;

    /// What it is for, in a line.
    fn summary(&self) -> &'static str;

    /// The JSON Schema of its attributes.
    fn schema(&self) -> Value;

    /// The names that references to it may end in, for these attributes, and the resources below it.
    ///
    /// # Errors
    /// Everything that is wrong with the attributes, as paths into them.
    fn expand(&self, input: &Input<'_>) -> Result<Expansion, Vec<Problem>>;

    /// The attributes that can be judged where something is wrong with others: what [`Self::expand`] finds to be wrong with
    /// these stays wrong, whatever is meant by the others.
    fn judged_alone(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Every construct. One line each.
pub fn all() -> Vec<Box<dyn Construct>> {
    vec![
        Box::new(capacity::CapacityConstruct), //
        Box::new(network::NetworkConstruct),
        Box::new(service::ServiceConstruct),
    ]
}
