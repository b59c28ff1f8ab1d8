//! The capacity providers of a cluster, which all that use some of them share.

use serde_json::{Value, json};

use super::Input;
use super::below::{given, named, reference};
use super::capacity::OWN;
use crate::graph::{Address, Attributes, Reference, Resource, template};

/// AWS's own providers.
const FARGATE: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// The cluster's own address, where the stack makes it; none where it exists already, or is named by what it is called.
pub fn own_cluster(input: &Input<'_>, cluster: &str) -> Option<Address> {
    let address = template::references(cluster).first().and_then(Reference::address)?;
    let exists = input.blocks.get(&address).is_some_and(|block| block.contains_key("existing"));
    (!exists && address.construct().is_none()).then_some(address)
}

/// The blocks of a kind that are of this cluster, by address.
pub fn of_cluster<'i>(input: &Input<'i>, cluster: &str, kind: &str) -> Vec<(&'i Address, &'i Attributes)> {
    let is_of = |attributes: &Attributes| {
        attributes.get("cluster").and_then(Value::as_str).is_some_and(|c| named(input, "cluster", "name", c) == cluster)
    };
    input.blocks.iter().filter(|(address, block)| address.kind() == kind && is_of(block)).collect()
}

/// The blocks that need the cluster to have its list: its capacities, and services on Fargate's spare capacity, which
/// is a provider, too.
fn users<'i>(input: &Input<'i>, cluster: &str) -> (Vec<(&'i Address, &'i Attributes)>, Vec<&'i Address>) {
    let on_spot = |block: &Attributes| block.get("launch").and_then(Value::as_str) == Some("fargate-spot");
    let spot = of_cluster(input, cluster, "service").into_iter().filter(|(_, block)| on_spot(block));
    (of_cluster(input, cluster, "capacity"), spot.map(|(address, _)| address).collect())
}

/// Where the list of a cluster's providers stands, if the stack makes it: what names a provider waits for it.
pub fn list_of(input: &Input<'_>, cluster: &str) -> Option<Address> {
    if let Some((by_hand, _)) = of_cluster(input, cluster, "cluster_capacity").first() {
        return Some((*by_hand).clone());
    }
    let (capacities, spot) = users(input, cluster);
    (!capacities.is_empty() || !spot.is_empty()).then(|| owner(cluster).child("cluster_capacity", "main"))
}

/// What the list stands below: the cluster, declared or not.
fn owner(cluster: &str) -> Address {
    match template::references(cluster).first().and_then(Reference::address) {
        Some(address) if address.construct().is_none() => address,
        _ => {
            let name: String = cluster.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            Address::new("cluster", name.trim_matches('-'))
        }
    }
}

/// The one list of capacity providers of a cluster. The first block that needs it, by address, gives it for all of
/// them; it stands below the cluster, so that it stays where it is when they come and go. None where the stack declares a
/// `cluster_capacity` for the cluster.
pub fn cluster_capacity(input: &Input<'_>, cluster: &str) -> Option<Resource> {
    if !of_cluster(input, cluster, "cluster_capacity").is_empty() {
        return None;
    }
    let (capacities, spot) = users(input, cluster);
    let first = capacities.iter().map(|(address, _)| *address).chain(spot.iter().copied()).next();
    if first.is_some_and(|first| first != input.address) {
        return None;
    }
    let number = |block: &Attributes, name: &str, default| block.get(name).and_then(Value::as_u64).unwrap_or(default);
    let is_own = own_cluster(input, cluster).is_some();
    let mut providers = Vec::new();
    let mut default = Vec::new();
    for (address, block) in capacities {
        let provider = reference(&address.child("capacity_provider", OWN), "name");
        let (weight, base) = (number(block, "weight", 1), number(block, "base", 0));
        // Which providers a cluster uses by default is for whoever owns it to say.
        if is_own && (weight > 0 || base > 0) {
            default.push(json!({ "provider": provider, "weight": weight, "base": base }));
        }
        providers.push(provider);
    }
    if !spot.is_empty() {
        providers.extend(FARGATE.map(str::to_owned));
    }
    let attributes = json!({ "cluster": cluster, "providers": providers, "default": default });
    Some(Resource::new(owner(cluster).child("cluster_capacity", "main"), given(attributes)))
}
