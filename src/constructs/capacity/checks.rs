//! What of a capacity follows from its attributes and its surroundings, and what is wrong with them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Architecture, Capacity, Refresh, Spot, SpotSettings};
use crate::constructs::Input;
use crate::constructs::below::{is_unknown, named};
use crate::constructs::place::{Place, Wanted, place};
use crate::constructs::providers::own_cluster;
use crate::graph::{Address, Attributes, Problem};
use crate::kinds::instance_type;

/// The smallest root volume that Amazon's ECS-optimized images of Amazon Linux 2023 start from, in GiB.
const IMAGE_GIB: u32 = 30;

/// What was chosen for a capacity.
#[derive(Debug)]
pub struct Chosen {
    /// The VPC's id, as a template.
    pub vpc: String,
    /// The subnets' ids, as templates.
    pub subnets: Vec<String>,
    /// What must be there so that instances reach AWS: route tables and endpoints.
    pub ways: Vec<Address>,
    /// The instance types, the preferred one first.
    pub instance_types: Vec<String>,
    /// Their architecture.
    pub architecture: Architecture,
    /// How spot instances are mixed in, where some are.
    pub spot: Option<SpotSettings>,
}

impl Chosen {
    /// What follows from these attributes.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn of(capacity: &Capacity, input: &Input<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let wanted = Wanted {
            who: "instances",
            block: "capacity",
            network: capacity.network.as_deref(),
            tier: &capacity.tier,
            vpc: capacity.vpc.as_deref(),
            subnets: capacity.subnets.as_deref(),
        };
        let Place { vpc, subnets, ways } = place(&wanted, input, &mut problems);
        let instance_types = instance_types(capacity, &mut problems);
        let architecture = architecture(capacity, &instance_types, &mut problems);
        let spot = match &capacity.spot {
            Spot::Switch(false) => None,
            Spot::Switch(true) => Some(SpotSettings::default()),
            Spot::Settings(settings) => Some(settings.clone()),
        };
        check_numbers(capacity, spot.as_ref(), &mut problems);
        check_role(capacity, &mut problems);
        check_agent(&capacity.agent, &mut problems);
        check_bases(capacity, input, &mut problems);
        check_shares(capacity, input, &mut problems);
        if problems.is_empty() {
            Ok(Self { vpc, subnets, ways, instance_types, architecture, spot })
        } else {
            Err(problems)
        }
    }
}

fn instance_types(capacity: &Capacity, problems: &mut Vec<Problem>) -> Vec<String> {
    let all = match (&capacity.instance_type, capacity.instance_types.as_slice()) {
        (Some(one), []) => vec![one.clone()],
        (None, []) => {
            problems.push(
                Problem::at("", "the capacity needs an instance type").help("add `instance_type = \"t3.small\"`"),
            );
            return Vec::new();
        }
        (None, several) => several.to_vec(),
        (Some(_), _) => {
            problems.push(
                Problem::at("instance_type", "`instance_type` and `instance_types` both name the types")
                    .help("put all of them into `instance_types`"),
            );
            return Vec::new();
        }
    };
    for (at, one) in all.iter().enumerate() {
        let path = match capacity.instance_type {
            Some(_) => "instance_type".to_owned(),
            None => format!("instance_types.{at}"),
        };
        problems.extend(instance_type::problem(&path, one));
    }
    all
}

/// The architecture of an instance type, by its family: Graviton families have a `g` behind their generation (`t4g`,
/// `c7gn`, `im4gn`), and `a1` is Graviton too
/// (<https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>).
fn of_type(instance_type: &str) -> Architecture {
    let family = instance_type.split('.').next().unwrap_or_default();
    let behind =
        family.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches(|c: char| c.is_ascii_digit());
    let options = behind.split('-').next().unwrap_or_default();
    if family == "a1" || options.contains('g') { Architecture::Arm64 } else { Architecture::X86_64 }
}

fn architecture(capacity: &Capacity, types: &[String], problems: &mut Vec<Problem>) -> Architecture {
    let known: Vec<&String> = types.iter().filter(|one| !is_unknown(one)).collect();
    let path = if capacity.instance_type.is_some() { "instance_type" } else { "instance_types" };
    let wanted =
        capacity.architecture.or_else(|| known.first().map(|one| of_type(one))).unwrap_or(Architecture::X86_64);
    if let Some(other) = known.iter().find(|one| of_type(one) != wanted) {
        let (message, help) = match capacity.architecture {
            Some(_) => {
                (format!("`{other}` is not of the given architecture"), "remove `architecture`, or choose another type")
            }
            None => (
                format!(
                    "`{other}` is of another architecture than `{}`, and both would start from one image",
                    known[0]
                ),
                "give each architecture a capacity of its own",
            ),
        };
        problems.push(Problem::at(path, message).help(help));
    }
    wanted
}

fn check_numbers(capacity: &Capacity, spot: Option<&SpotSettings>, problems: &mut Vec<Problem>) {
    let size = &capacity.size;
    if size.min > size.max {
        problems.push(
            Problem::at(
                "size.min",
                format!("at least {} and at most {} instances leave no choice", size.min, size.max),
            )
            .help("`min` must not exceed `max`"),
        );
    } else if let Some(desired) = size.desired
        && !(size.min..=size.max).contains(&desired)
    {
        problems.push(
            Problem::at("size.desired", format!("{desired} is not between {} and {}", size.min, size.max))
                .help("choose a number between `min` and `max`"),
        );
    } else if let Some(desired) = size.desired
        && capacity.managed_scaling
        && desired != size.min
    {
        problems.push(
            Problem::at("size.desired", format!("ECS decides how many instances there are, from {} on", size.min))
                .help(format!("set `min = {desired}`, or `managed_scaling = false` to decide it here")),
        );
    }
    let mut within = |path: &str, value: u32, from: u32, to: u32| {
        if !(from..=to).contains(&value) {
            problems.push(Problem::at(path, format!("{value} is not between {from} and {to}")));
        }
    };
    within("imds_hop_limit", capacity.imds_hop_limit, 1, 64);
    within("target_percent", capacity.target_percent, 1, 100);
    within("weight", capacity.weight, 0, 1000);
    within("base", capacity.base, 0, 100_000);
    if let Some(spot) = spot {
        within("spot.on_demand_percent", spot.on_demand_percent, 0, 100);
    }
    if let Some(seconds) = capacity.max_instance_lifetime_seconds {
        within("max_instance_lifetime_seconds", seconds, 86_400, 31_536_000);
    }
    if let Refresh::Settings(refresh) = &capacity.instance_refresh {
        within("instance_refresh.min_healthy_percent", refresh.min_healthy_percent, 0, 100);
        if let Some(most) = refresh.max_healthy_percent {
            // AWS lets the two be 100 apart at most.
            within("instance_refresh.max_healthy_percent", most, 100, refresh.min_healthy_percent.min(100) + 100);
        }
    }
    if capacity.ami.is_none() && capacity.volume.size_gib < IMAGE_GIB {
        problems.push(
            Problem::at(
                "volume.size_gib",
                format!(
                    "the ECS-optimized image needs {IMAGE_GIB} GiB, and the volume has {}",
                    capacity.volume.size_gib
                ),
            )
            .help("make it larger, or pin a smaller image with `ami`"),
        );
    }
    if capacity.managed_termination_protection && !capacity.managed_scaling {
        problems.push(
            Problem::at("managed_termination_protection", "ECS only protects instances of a group that it scales")
                .help("remove `managed_scaling = false`"),
        );
    }
}

/// A role that is given has the permissions it has.
fn check_role(capacity: &Capacity, problems: &mut Vec<Problem>) {
    if capacity.role.is_none() {
        return;
    }
    let given = [
        ("managed_policies", !capacity.managed_policies.is_empty()),
        ("repositories", capacity.repositories.is_some()),
        ("log_groups", capacity.log_groups.is_some()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.push(
            Problem::at(name, format!("`{name}` is for the role that is made, and a role is given"))
                .help("say it in the role, or remove `role`"),
        );
    }
}

fn check_agent(agent: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (key, value) in agent {
        let path = format!("agent.{key}");
        if key == "ECS_CLUSTER" {
            problems.push(Problem::at(&path, "the cluster follows from `cluster`").help("remove the line"));
        } else if !key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            problems.push(
                Problem::at(&path, format!("`{key}` is no setting of the ECS agent"))
                    .help("settings are written in capitals: ECS_IMAGE_PULL_BEHAVIOR"),
            );
        } else if value.contains('\n') {
            problems.push(Problem::at(&path, "a setting is one line"));
        }
    }
}

/// A cluster that the stack does not make keeps its default strategy.
fn check_shares(capacity: &Capacity, input: &Input<'_>, problems: &mut Vec<Problem>) {
    let cluster = named(input, "cluster", "name", &capacity.cluster);
    if own_cluster(input, &cluster).is_some() {
        return;
    }
    let given = |name: &str| input.attributes.get(name).and_then(Value::as_u64).is_some_and(|number| number > 0);
    for name in ["weight", "base"].into_iter().filter(|name| given(name)) {
        let message =
            format!("the cluster `{}` is not made by this stack, and keeps its default strategy", capacity.cluster);
        let help = format!("remove `{name}`, and name the capacity provider in the services that use it");
        problems.push(Problem::at(name, message).help(help).maybe_follows());
    }
}

/// ECS takes a base for one provider of a cluster only.
fn check_bases(capacity: &Capacity, input: &Input<'_>, problems: &mut Vec<Problem>) {
    if capacity.base == 0 {
        return;
    }
    let cluster = named(input, "cluster", "name", &capacity.cluster);
    let has_base = |block: &Attributes| {
        let same =
            block.get("cluster").and_then(Value::as_str).is_some_and(|c| named(input, "cluster", "name", c) == cluster);
        same && block.get("base").and_then(Value::as_u64).is_some_and(|base| base > 0)
    };
    let other = input
        .blocks
        .iter()
        .find(|(address, block)| address.kind() == "capacity" && *address != input.address && has_base(block));
    if let Some((other, _)) = other {
        problems.push(
            Problem::at("base", format!("{other} has a base too, and ECS takes it for one capacity of a cluster"))
                .help("keep one of them"),
        );
    }
}
