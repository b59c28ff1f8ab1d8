//! Where in the network what a construct makes stands.

use serde_json::Value;

use super::below::named;
use super::network::NetworkConstruct;
use super::{Construct, Expansion, Input};
use crate::graph::{Address, Problem};

/// What a block says of its place.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Who shall stand there: `instances`, `tasks`.
    pub who: &'static str,
    /// The construct that says so: `capacity`, `service`.
    pub block: &'static str,
    /// The network, by name.
    pub network: Option<&'a str>,
    /// The tier of the network's subnets.
    pub tier: &'a str,
    /// The VPC, where it does not come from a network.
    pub vpc: Option<&'a str>,
    /// The subnets, where they are not those of the tier.
    pub subnets: Option<&'a [String]>,
}

/// A place in the network.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The VPC's id, as a template.
    pub vpc: String,
    /// The subnets' ids, as templates.
    pub subnets: Vec<String>,
    /// What must be there so that AWS is reached from it: route tables and endpoints.
    pub ways: Vec<Address>,
}

/// The place that is meant: the only network of the stack, where nothing else is said.
pub fn place(wanted: &Wanted<'_>, input: &Input<'_>, problems: &mut Vec<Problem>) -> Place {
    let Wanted { who, block, .. } = *wanted;
    let own: Option<Vec<String>> =
        wanted.subnets.map(|ids| ids.iter().map(|id| named(input, "subnet", "id", id)).collect());
    if own.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("{who} need a subnet at least");
        problems.push(Problem::at("subnets", message).help("name one, or remove `subnets`"));
    }
    if let Some(vpc) = wanted.vpc {
        if wanted.network.is_some() {
            let message = format!("`network` and `vpc` both say where the {who} stand");
            problems.push(Problem::at("vpc", message).help("remove one of them"));
        }
        let Some(subnets) = own else {
            problems
                .push(Problem::at("vpc", "with `vpc`, the subnets must be given too").help("add `subnets = [\"…\"]`"));
            return Place::default();
        };
        return Place { vpc: named(input, "vpc", "id", vpc), subnets, ways: Vec::new() };
    }
    let networks: Vec<&Address> =
        input.declared.iter().filter(|one| one.kind() == "network" && one.construct().is_none()).collect();
    let names = networks.iter().map(|one| format!("\"{}\"", one.name())).collect::<Vec<_>>().join(", ");
    let network = match (wanted.network, networks.as_slice()) {
        (Some(name), all) => all.iter().find(|one| one.name() == name).copied().ok_or_else(|| {
            let help = if all.is_empty() { "declare [network.main]".to_owned() } else { format!("there is {names}") };
            Problem::at("network", format!("the stack has no network `{name}`")).help(help).maybe_follows()
        }),
        (None, [only]) => Ok(*only),
        (None, []) => Err(Problem::at("", format!("the {who} need a network to stand in"))
            .help("declare [network.main], or give `vpc` and `subnets`")
            .maybe_follows()),
        (None, _) => Err(Problem::at("", format!("the stack has several networks, and the {block} names none"))
            .help(format!("add `network`, one of {names}"))),
    };
    let network = match network {
        Ok(network) => network,
        Err(problem) => {
            problems.push(problem);
            return Place::default();
        }
    };
    let vpc = format!("${{{network}.vpc_id}}");
    let export = format!("{}_subnet_ids", wanted.tier);
    let mut ways = Vec::new();
    // A network that does not expand has told its own problems.
    if let Some(expansion) = expanded(network, input) {
        if own.is_none() && !expansion.exports.get(&export).is_some_and(has_some) {
            let tiers: Vec<String> = expansion
                .exports
                .iter()
                .filter(|(_, value)| has_some(value))
                .filter_map(|(name, _)| Some(format!("\"{}\"", name.strip_suffix("_subnet_ids")?)))
                .collect();
            let path = if input.attributes.contains_key("tier") { "tier" } else { "" };
            let help = if tiers.is_empty() {
                format!("add subnets to {network}")
            } else {
                format!("set `tier` to one of {}", tiers.join(", "))
            };
            let message = format!("{network} has no subnets in a tier `{}`", wanted.tier);
            problems.push(Problem::at(path, message).help(help).maybe_follows());
        }
        ways.extend(ways_out(&expansion, own.is_none().then_some(wanted.tier)));
    }
    Place { vpc, subnets: own.unwrap_or_else(|| vec![format!("${{{network}.{export}}}")]), ways }
}

fn has_some(value: &Value) -> bool {
    value.as_array().is_some_and(|ids| !ids.is_empty())
}

fn expanded(network: &Address, input: &Input<'_>) -> Option<Expansion> {
    let attributes = input.blocks.get(network)?;
    NetworkConstruct.expand(&Input { address: network, attributes, ..*input }).ok()
}

/// The route tables of a tier, or of all, and the endpoints of its network.
fn ways_out(network: &Expansion, tier: Option<&str>) -> Vec<Address> {
    let of_tier = |name: &str| {
        tier.is_none_or(|tier| name == tier || name.strip_prefix(tier).is_some_and(|rest| rest.starts_with('.')))
    };
    network
        .resources
        .iter()
        .map(|resource| &resource.address)
        .filter(|one| match one.kind() {
            "route_table" => of_tier(one.name()),
            kind => kind == "vpc_endpoint",
        })
        .cloned()
        .collect()
}
