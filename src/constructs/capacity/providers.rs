//! The capacity providers of a cluster, which all of its capacities share.

use serde_json::{Value, json};

use super::OWN;
use crate::constructs::Input;
use crate::constructs::below::{given, named, reference};
use crate::graph::{Address, Attributes, Reference, Resource, template};

/// The cluster's own address, where the stack makes it; none where it exists already, or is named by what it is called.
pub fn own_cluster(input: &Input<'_>, cluster: &str) -> Option<Address> {
    let address = template::references(cluster).first().and_then(Reference::address)?;
    let exists = input.blocks.get(&address).is_some_and(|block| block.contains_key("existing"));
    (!exists && address.construct().is_none()).then_some(address)
}

/// The one list of capacity providers of a cluster. The first capacity of the cluster, by address, gives it for all of
/// them; it stands below the cluster, so that it stays where it is when capacities come and go. None where the stack
/// declares a `cluster_capacity` for the cluster.
pub fn cluster_capacity(input: &Input<'_>, cluster: &str) -> Option<Resource> {
    let of_cluster = |attributes: &Attributes| {
        attributes.get("cluster").and_then(Value::as_str).is_some_and(|c| named(input, "cluster", "name", c) == cluster)
    };
    let blocks = |kind: &'static str| {
        input.blocks.iter().filter(move |(address, block)| address.kind() == kind && of_cluster(block))
    };
    if blocks("cluster_capacity").next().is_some() {
        return None;
    }
    let siblings: Vec<_> = blocks("capacity").collect();
    if siblings.first().is_some_and(|(first, _)| *first != input.address) {
        return None;
    }
    let number = |block: &Attributes, name: &str, default| block.get(name).and_then(Value::as_u64).unwrap_or(default);
    let is_own = own_cluster(input, cluster).is_some();
    let mut providers = Vec::new();
    let mut default = Vec::new();
    for (address, block) in siblings {
        let provider = reference(&address.child("capacity_provider", OWN), "name");
        let (weight, base) = (number(block, "weight", 1), number(block, "base", 0));
        // Which providers a cluster uses by default is for whoever owns it to say.
        if is_own && (weight > 0 || base > 0) {
            default.push(json!({ "provider": provider, "weight": weight, "base": base }));
        }
        providers.push(provider);
    }
    let owner = match template::references(cluster).first().and_then(Reference::address) {
        Some(address) if address.construct().is_none() => address,
        _ => {
            let name: String = cluster.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            Address::new("cluster", name.trim_matches('-'))
        }
    };
    let attributes = json!({ "cluster": cluster, "providers": providers, "default": default });
    Some(Resource::new(owner.child("cluster_capacity", "main"), given(attributes)))
}
