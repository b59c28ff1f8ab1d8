//! Where the subnets of a network lie: ranges, zones, and what is wrong with them.
//!
//! Chosen ranges follow a fixed layout, so that adding a zone or a tier moves no other subnet. The VPC's range is cut
//! into eight equal parts, one a tier (`private` 0, `public` 1, `data` 2, any other tier by its `slot`); each part is
//! cut into eight again, one a zone (`a` 0 … `h` 7). In a /16 every subnet is thus a /22, in a /20 a /26:
//!
//! | 172.24.0.0/16 | a               | b               | c               |
//! |---------------|-----------------|-----------------|-----------------|
//! | private (0)   | 172.24.0.0/22   | 172.24.4.0/22   | 172.24.8.0/22   |
//! | public (1)    | 172.24.32.0/22  | 172.24.36.0/22  | 172.24.40.0/22  |
//! | data (2)      | 172.24.64.0/22  | 172.24.68.0/22  | 172.24.72.0/22  |
//!
//! Ranges that are written out always win.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::checks::{check_dns, is_id, nothing_to_create};
use super::{Nat, Network, Tier, TierTable, Zones};
use crate::aws::facts;
use crate::constructs::below::is_unknown;
use crate::graph::{Attributes, Problem, Scope};
use crate::kinds::{GATEWAY_SERVICES, Tags};
use crate::net::parse_cidr;

/// The tier that is public by its name.
pub const PUBLIC: &str = "public";

/// The tier that interface endpoints stand in, where there is one.
const PRIVATE: &str = "private";

/// Bits of the address that choose the tier's part, and again the zone's.
const SLOT_BITS: u8 = 3;

/// What is laid out.
#[derive(Debug, Default)]
pub struct Layout {
    /// The tiers by name.
    pub tiers: BTreeMap<String, Settings>,
    /// The subnets, by tier and zone.
    pub subnets: Vec<Subnet>,
    /// The zones that have a NAT gateway.
    pub nat_zones: Vec<String>,
    /// The services that get endpoints.
    pub endpoints: Vec<String>,
    /// The tier that interface endpoints stand in.
    pub endpoint_tier: Option<String>,
}

/// What holds for a tier.
#[derive(Debug)]
pub struct Settings {
    /// Whether it is routed to the internet gateway.
    pub public: bool,
    /// Whether it is routed to a NAT gateway, where there is one.
    pub nat: bool,
    /// Further routes.
    pub routes: Vec<Attributes>,
    /// Tags of its subnets.
    pub tags: Tags,
}

/// One subnet.
#[derive(Debug)]
pub struct Subnet {
    /// Its tier.
    pub tier: String,
    /// Its zone as its key: `a`.
    pub zone: String,
    /// Its zone's whole name: `eu-west-2a`.
    pub zone_name: String,
    /// Where it lies.
    pub place: Place,
    /// The way to it in the block, for problems.
    path: String,
}

/// Where a subnet lies.
#[derive(Debug)]
pub enum Place {
    /// A range, in text; a reference may stand in it.
    Range(String),
    /// The id of a subnet that exists.
    Existing(String),
}

impl Layout {
    /// The layout of a network.
    ///
    /// # Errors
    /// Everything that cannot be laid out.
    pub fn of(network: &Network, scope: &Scope) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let ranges = vpc_ranges(network, &mut problems);
        let mut layout = Self::default();
        for (name, tier) in &network.subnets {
            layout.tier(network, name, tier, ranges.as_ref().and_then(|r| r.first()), scope, &mut problems);
        }
        if network.existing.is_some() {
            nothing_to_create(network, &mut problems);
        } else {
            layout.check_ranges(ranges.as_deref(), &mut problems);
            // Subnets that are not there because something is wrong with them are not missed as well.
            if problems.is_empty() {
                layout.choose_nat(network, scope, &mut problems);
                layout.choose_endpoints(network, scope, &mut problems);
            }
        }
        check_dns(network, &layout, scope, &mut problems);
        if problems.is_empty() { Ok(layout) } else { Err(problems) }
    }

    fn tier(
        &mut self,
        network: &Network,
        name: &str,
        tier: &Tier,
        range: Option<&Ipv4Net>,
        scope: &Scope,
        problems: &mut Vec<Problem>,
    ) {
        let path = format!("subnets.{name}");
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            problems
                .push(Problem::at(&path, format!("`{name}` cannot name a tier")).help("use letters, digits and `-`"));
            return;
        }
        let plain;
        let (table, path) = match tier {
            Tier::Table(table) => (table, format!("{path}.zones")),
            Tier::Zones(zones) => {
                plain = TierTable {
                    zones: zones.clone(),
                    public: None,
                    nat: None,
                    slot: None,
                    routes: Vec::new(),
                    tags: Tags::new(),
                };
                (&plain, path)
            }
        };
        let public = table.public.unwrap_or(name == PUBLIC);
        if let (true, Some(true)) = (public, table.nat) {
            problems.push(
                Problem::at(&format!("subnets.{name}.nat"), "a public tier goes out through the internet gateway")
                    .help("remove `nat`, or set `public = false`"),
            );
        }
        let settings = Settings {
            public,
            nat: !public && table.nat.unwrap_or(true),
            routes: table.routes.clone(),
            tags: table.tags.clone(),
        };
        self.tiers.insert(name.to_owned(), settings);

        let zones: Vec<(String, &str, Option<&String>)> = match &table.zones {
            Zones::Given(zones) => {
                zones.iter().map(|(zone, place)| (format!("{path}.{zone}"), zone.as_str(), Some(place))).collect()
            }
            Zones::Chosen(zones) => {
                zones.iter().enumerate().map(|(at, zone)| (format!("{path}.{at}"), zone.as_str(), None)).collect()
            }
        };
        let slot = match (table.slot, name) {
            (Some(slot), _) => Some(slot),
            (None, PRIVATE) => Some(0),
            (None, PUBLIC) => Some(1),
            (None, "data") => Some(2),
            (None, _) => None,
        };
        if slot.is_none() && matches!(table.zones, Zones::Chosen(_)) && network.existing.is_none() {
            let help = format!("{name} = {{ zones = [\"a\", \"b\"], slot = 3 }}");
            problems.push(
                Problem::at(
                    &format!("subnets.{name}"),
                    format!("ranges cannot be chosen for the tier `{name}`: it has no slot"),
                )
                .help(format!("give it one that no other tier has: `{help}`, or write the ranges out")),
            );
            return;
        }
        let mut seen = BTreeSet::new();
        for (path, key, place) in zones {
            if !facts::zone_may_exist(&scope.region, key) {
                let region = &scope.region;
                let letters: Vec<String> =
                    facts::zone_letters(region).into_iter().flatten().map(String::from).collect();
                problems.push(
                    Problem::at(&path, format!("`{key}` is no availability zone of {region}"))
                        .help(format!("its zones are {}", letters.join(", "))),
                );
                continue;
            }
            let zone = zone_key(key, &scope.region);
            if !seen.insert(zone.to_owned()) {
                problems.push(Problem::at(&path, format!("the zone `{zone}` stands twice in the tier `{name}`")));
                continue;
            }
            let place = match (place, network.existing.is_some()) {
                (Some(id), true) if is_id(id, "subnet") => Ok(Place::Existing(id.clone())),
                (Some(other), true) => Err(Problem::at(&path, format!("`{other}` is not the id of a subnet"))
                    .help("in a VPC that exists, subnets are given by their ids: \"subnet-0a1b2c3d\"")),
                (None, true) => Err(Problem::at(&path, format!("the subnet of the zone `{zone}` is not given"))
                    .help(format!("give the ids of subnets that exist: {name} = {{ {zone} = \"subnet-0a1b2c3d\" }}"))),
                (Some(id), false) if id.starts_with("subnet-") => {
                    Err(Problem::at(&path, format!("`{id}` exists, while the network is to be created"))
                        .help("give the VPC of the subnet too: existing = \"vpc-0a1b2c3d\"")
                        .maybe_follows())
                }
                (Some(cidr), false) => Ok(Place::Range(cidr.clone())),
                (None, false) => match range {
                    Some(range) => chosen(range, slot.unwrap_or_default(), zone)
                        .map(|net| Place::Range(net.to_string()))
                        .map_err(|(message, help)| Problem::at(&path, message).help(help)),
                    // What is wrong with the VPC's ranges is told of these.
                    None => continue,
                },
            };
            match place {
                Ok(place) => self.subnets.push(Subnet {
                    tier: name.to_owned(),
                    zone: zone.to_owned(),
                    zone_name: facts::zone_name(&scope.region, zone),
                    place,
                    path,
                }),
                Err(problem) => problems.push(problem),
            }
        }
    }

    /// Ranges must be ranges, lie in the VPC's, and not overlap.
    fn check_ranges(&self, vpc: Option<&[Ipv4Net]>, problems: &mut Vec<Problem>) {
        let mut nets: Vec<(Ipv4Net, &Subnet)> = Vec::new();
        for subnet in &self.subnets {
            let Place::Range(text) = &subnet.place else { continue };
            if is_unknown(text) {
                continue;
            }
            let net = match parse_cidr(text) {
                Ok(net) => net,
                Err(problem) => {
                    problems.push(Problem { path: Problem::at(&subnet.path, "").path, ..problem });
                    continue;
                }
            };
            if !(16..=28).contains(&net.prefix_len()) {
                let message = format!("`{net}` is a /{}, and AWS takes /16 to /28", net.prefix_len());
                problems.push(Problem::at(&subnet.path, message).help("choose another length"));
                continue;
            }
            if let Some(vpc) = vpc
                && !vpc.iter().any(|range| range.contains(&net))
            {
                let ranges: Vec<String> = vpc.iter().map(ToString::to_string).collect();
                let ranges = ranges.join(", ");
                problems.push(
                    Problem::at(&subnet.path, format!("`{net}` lies outside the network's range {ranges}"))
                        .help("choose a range inside it, or widen the network"),
                );
                continue;
            }
            nets.push((net, subnet));
        }
        // In the order of their first addresses, a range overlaps an earlier one where it begins before that one ends.
        nets.sort_by_key(|(net, subnet)| (net.network(), net.prefix_len(), &subnet.path));
        let mut widest: Option<(Ipv4Net, &Subnet)> = None;
        for (net, subnet) in nets {
            if let Some((before, other)) = widest
                && net.network() <= before.broadcast()
            {
                problems.push(
                    Problem::at(&subnet.path, format!("`{net}` overlaps `{before}` of `{}`", other.path))
                        .help("give each subnet a range of its own"),
                );
            }
            if widest.is_none_or(|(before, _)| net.broadcast() > before.broadcast()) {
                widest = Some((net, subnet));
            }
        }
    }

    fn zones_where(&self, pick: impl Fn(&Settings) -> bool) -> BTreeSet<&str> {
        self.subnets.iter().filter(|s| pick(&self.tiers[&s.tier])).map(|s| s.zone.as_str()).collect()
    }

    /// Which zones get a NAT gateway. The single one stands where "one in each zone" would put its first.
    fn choose_nat(&mut self, network: &Network, scope: &Scope, problems: &mut Vec<Problem>) {
        let public = self.zones_where(|tier| tier.public);
        let private = self.zones_where(|tier| tier.nat);
        let asked = network.nat_zone.as_deref().map(|zone| zone_key(zone, &scope.region));
        if asked.is_some() && network.nat != Nat::Single {
            problems.push(
                Problem::at("nat_zone", "only a single NAT gateway has a zone to choose")
                    .help("set `nat = \"single\"`"),
            );
            return;
        }
        if network.nat == Nat::None {
            return;
        }
        if public.is_empty() {
            problems.push(
                Problem::at("nat", "a NAT gateway stands in a public subnet, and the network has none")
                    .help("add the tier `public` to the subnets, or set `nat = \"none\"`"),
            );
            return;
        }
        if private.is_empty() {
            problems.push(
                Problem::at("nat", "no private subnet would use the NAT gateway")
                    .help("add a private tier to the subnets, or set `nat = \"none\"`"),
            );
            return;
        }
        let zones: Vec<String> = if network.nat == Nat::PerAz {
            for zone in private.difference(&public) {
                problems.push(
                    Problem::at(
                        "nat",
                        format!("the zone `{zone}` has private subnets and no public one for its NAT gateway"),
                    )
                    .help(format!("add `{zone}` to the tier `public`, or set `nat = \"single\"`")),
                );
            }
            private.intersection(&public).map(|zone| (*zone).to_owned()).collect()
        } else {
            let first = private.intersection(&public).next().or(public.first());
            match asked {
                Some(zone) if !public.contains(zone) => {
                    problems.push(
                        Problem::at("nat_zone", format!("the zone `{zone}` has no public subnet for the NAT gateway"))
                            .help(format!(
                                "zones that have one: {}",
                                public.into_iter().collect::<Vec<_>>().join(", ")
                            )),
                    );
                    return;
                }
                Some(zone) => vec![zone.to_owned()],
                None => first.map(|zone| (*zone).to_owned()).into_iter().collect(),
            }
        };
        self.nat_zones = zones;
    }

    fn choose_endpoints(&mut self, network: &Network, scope: &Scope, problems: &mut Vec<Problem>) {
        let inside = self
            .tiers
            .iter()
            .filter(|(name, tier)| !tier.public && self.subnets.iter().any(|subnet| subnet.tier == **name));
        self.endpoint_tier = inside.map(|(name, _)| name).min_by_key(|name| (*name != PRIVATE, *name)).cloned();
        let Some(asked) = &network.endpoints else {
            if !self.subnets.is_empty() {
                self.endpoints.push("s3".to_owned());
            }
            return;
        };
        let full = format!("com.amazonaws.{}.", scope.region);
        let mut seen = BTreeSet::new();
        for (at, service) in asked.iter().enumerate() {
            let path = format!("endpoints.{at}");
            let name = service.strip_prefix(&full).unwrap_or(service);
            let well_formed = name.split('.').all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            });
            if !well_formed {
                problems.push(
                    Problem::at(&path, format!("`{service}` is no name of a service"))
                        .help("write \"s3\", \"ecr.api\", or the whole name as AWS lists it"),
                );
            } else if !seen.insert(name) {
                problems.push(Problem::at(&path, format!("`{service}` stands twice")));
            } else if GATEWAY_SERVICES.contains(&name) && self.subnets.is_empty() {
                problems.push(
                    Problem::at(&path, format!("the endpoint of `{service}` serves subnets, and the network has none"))
                        .help("add subnets"),
                );
            } else if !GATEWAY_SERVICES.contains(&name) && self.endpoint_tier.is_none() {
                problems.push(
                    Problem::at(
                        &path,
                        format!("the endpoint of `{service}` stands in private subnets, and the network has none"),
                    )
                    .help("add the tier `private` to the subnets"),
                );
            }
        }
        self.endpoints.clone_from(asked);
    }
}

/// The ranges of the VPC; `None` where one cannot be judged.
fn vpc_ranges(network: &Network, problems: &mut Vec<Problem>) -> Option<Vec<Ipv4Net>> {
    if let Some(id) = &network.existing {
        if !is_id(id, "vpc") {
            problems.push(
                Problem::at("existing", format!("`{id}` is not the id of a VPC")).help("write it as \"vpc-0a1b2c3d\""),
            );
        }
        return None;
    }
    let Some(cidr) = &network.cidr else {
        problems.push(
            Problem::at("", "a network needs its range")
                .help("add `cidr = \"10.0.0.0/16\"`, or `existing = \"vpc-0a1b2c3d\"` for a VPC that exists"),
        );
        return None;
    };
    let mut ranges = Some(Vec::new());
    let all = std::iter::once(("cidr", cidr)).chain(network.secondary_cidrs.iter().map(|c| ("secondary_cidrs", c)));
    for (path, text) in all {
        if is_unknown(text) {
            ranges = None;
            if network.subnets.values().any(Tier::is_chosen) {
                let message = format!("the ranges of subnets are chosen from it, and {text} is only known later");
                let help = "write the range itself, or those of all subnets: { a = \"10.0.0.0/24\" }";
                problems.push(Problem::at(path, message).help(help).maybe_follows());
            }
            continue;
        }
        match parse_cidr(text) {
            Ok(net) if (16..=28).contains(&net.prefix_len()) => ranges.iter_mut().for_each(|all| all.push(net)),
            Ok(net) => {
                let message = format!("`{text}` is a /{}, and AWS takes /16 to /28", net.prefix_len());
                problems.push(Problem::at(path, message).help("choose another length"));
                ranges = None;
            }
            Err(problem) => {
                problems.push(Problem { path: vec![path.to_owned()], ..problem });
                ranges = None;
            }
        }
    }
    ranges
}

/// The range of a zone in a tier of the fixed layout.
fn chosen(vpc: &Ipv4Net, slot: u8, zone: &str) -> Result<Ipv4Net, (String, &'static str)> {
    let written_out = "write the range out: { a = \"10.0.0.0/24\" }";
    let Some(index) = zone_index(zone) else {
        return Err((format!("no range can be chosen for the zone `{zone}`: only `a` to `h` have one"), written_out));
    };
    if slot >= 1 << SLOT_BITS {
        return Err((format!("there is no slot {slot}"), "slots are 0 to 7"));
    }
    let length = vpc.prefix_len() + 2 * SLOT_BITS;
    if length > 28 {
        let message = format!("`{vpc}` is too small to be cut into 64 subnets: they would be smaller than AWS's /28");
        return Err((message, "take a /22 or larger for the VPC, or write the ranges out"));
    }
    let position = u32::from(slot) << SLOT_BITS | index;
    let address = u32::from(vpc.network()) + (position << (32 - length));
    Ipv4Net::new(Ipv4Addr::from(address), length).map_err(|e| (e.to_string(), written_out))
}

fn zone_index(zone: &str) -> Option<u32> {
    match zone.as_bytes() {
        [letter @ b'a'..=b'h'] => Some(u32::from(letter - b'a')),
        _ => None,
    }
}

/// The key of a zone: the letter alone in the region's own zones, so that both ways to write one mean one address; the
/// whole name in local zones (`us-west-2-lax-1a`).
fn zone_key<'a>(text: &'a str, region: &str) -> &'a str {
    match text.strip_prefix(region) {
        Some(letter) if letter.len() == 1 => letter,
        _ => text,
    }
}
