//! `network`: a VPC with its subnets, routes, NAT gateways, endpoints, flow log and private zone.

mod checks;
mod layout;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::layout::{Layout, Place, Subnet};
use super::below::{Below, MAIN, reference, references, typed};
use super::{Construct, Expansion, Input};
use crate::graph::{Address, Attributes, Problem};
use crate::kinds::Tags;

/// A network: a VPC, subnets by tier and availability zone, the way out, and what belongs to it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Network {
    /// The IPv4 range of the VPC, /16 to /28: `"172.24.0.0/16"`.
    cidr: Option<String>,
    /// Further IPv4 ranges of the VPC.
    #[serde(default)]
    secondary_cidrs: BTreeSet<String>,
    /// The id of a VPC that exists already: `"vpc-0a1b2c3d"`. Then the subnets are given by their ids, and nothing but
    /// the private zone is created.
    existing: Option<String>,
    /// Subnets: tier by tier, in each one a zone. `private = { a = "172.24.0.0/24", b = "172.24.1.0/24" }`, or
    /// `private = ["a", "b"]` to have the ranges chosen. The tier `public` is public, any other one is private.
    #[serde(default)]
    subnets: BTreeMap<String, Tier>,
    /// The name of a private hosted zone for the VPC, `"myorg.local"`, or the id of one that exists.
    zone: Option<String>,
    /// How private subnets reach the internet: not at all, through one NAT gateway, or through one in each zone.
    #[serde(default)]
    nat: Nat,
    /// The zone of the single NAT gateway; the first one with a public and a private subnet unless given.
    nat_zone: Option<String>,
    /// Whether the resolver of the VPC answers its instances.
    #[serde(default = "yes")]
    dns_support: bool,
    /// Whether instances get DNS names; private zones and interface endpoints need it.
    #[serde(default = "yes")]
    dns_hostnames: bool,
    /// AWS services reached without leaving the network: `["s3", "dynamodb", "ecr.api", "ecr.dkr", "logs"]`. `s3` and
    /// `dynamodb` are free; each of the others costs by the hour and zone. `["s3"]` unless given.
    endpoints: Option<Vec<String>>,
    /// Whether the network's traffic is recorded in a log group.
    #[serde(default)]
    flow_logs: FlowLogs,
    /// Tags for all that the network consists of.
    #[serde(default)]
    tags: Tags,
}

/// How private subnets reach the internet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Nat {
    /// Not at all.
    #[default]
    None,
    /// Through one NAT gateway: cheap, and gone with its zone.
    Single,
    /// Through one NAT gateway in each zone.
    PerAz,
}

/// The subnets of one tier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Tier {
    /// Zones, and what is particular about the tier.
    Table(TierTable),
    /// Just the zones.
    Zones(Zones),
}

impl Tier {
    /// Whether ranges are chosen for its zones.
    fn is_chosen(&self) -> bool {
        let (Self::Table(TierTable { zones, .. }) | Self::Zones(zones)) = self;
        matches!(zones, Zones::Chosen(_))
    }
}

/// The zones of a tier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Zones {
    /// Zones whose ranges are chosen: `["a", "b"]`.
    Chosen(Vec<String>),
    /// Zones with their ranges, or with the ids of subnets that exist: `{ a = "172.24.0.0/24" }`.
    Given(BTreeMap<String, String>),
}

/// A tier with settings of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TierTable {
    /// Zones as a list, `["a", "b"]`, or with their ranges, `{ a = "172.24.0.0/24" }`.
    zones: Zones,
    /// Whether the tier is routed to the internet gateway and its instances get public addresses. True for the tier
    /// named `public` unless given.
    public: Option<bool>,
    /// Whether a private tier is routed to the NAT gateway, where the network has one. True unless given.
    nat: Option<bool>,
    /// Which eighth of the VPC's range the tier takes where ranges are chosen, 0 to 7. `private` has 0, `public` 1,
    /// `data` 2; every other tier says.
    #[schemars(range(min = 0, max = 7))]
    slot: Option<u8>,
    /// Further routes of the tier's tables: `[{ to = "10.0.0.0/8", peering = "pcx-0a1b2c3d" }]`.
    #[serde(default)]
    routes: Vec<Attributes>,
    /// Tags for the tier's subnets.
    #[serde(default)]
    tags: Tags,
}

/// Whether traffic is recorded.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum FlowLogs {
    /// All of it, for 30 days; or none.
    Switch(bool),
    /// As these settings say.
    Settings(FlowLogSettings),
}

impl Default for FlowLogs {
    fn default() -> Self {
        Self::Switch(false)
    }
}

/// What of the traffic is recorded.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlowLogSettings {
    /// Days that records are kept; 30 unless given.
    retention_days: Option<u32>,
    /// Which traffic: `"all"`, `"accept"` or `"reject"`.
    traffic: Option<Traffic>,
    /// Seconds that one record may sum up: 60 or 600.
    interval_seconds: Option<u32>,
}

/// Which traffic is recorded.
#[derive(Debug, Clone, Copy, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Traffic {
    /// All.
    All,
    /// What was let through.
    Accept,
    /// What was turned away.
    Reject,
}

fn yes() -> bool {
    true
}

/// The construct `network`.
pub struct NetworkConstruct;

impl Construct for NetworkConstruct {
    fn name(&self) -> &'static str {
        "network"
    }

    fn summary(&self) -> &'static str {
        "a VPC with subnets by tier and zone, routes, NAT gateways, endpoints and a private zone"
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Network).into()
    }

    fn judged_alone(&self) -> &'static [&'static str] {
        &["cidr", "secondary_cidrs", "subnets", "zone"]
    }

    fn expand(&self, input: &Input<'_>) -> Result<Expansion, Vec<Problem>> {
        let network: Network = typed(input)?;
        let layout = Layout::of(&network, input.scope)?;
        let mut parts = Parts {
            network: &network,
            layout: &layout,
            below: Below::new(input, &network.tags),
            exports: Attributes::new(),
            stands_for: BTreeMap::new(),
        };
        let vpc = parts.vpc();
        let subnets = parts.subnets(&vpc);
        parts.zone(&vpc);
        if network.existing.is_none() {
            let tables = parts.routes(&vpc, &subnets);
            parts.endpoints(&vpc, &subnets, &tables, &input.scope.region);
            parts.flow_logs(&vpc);
        }
        Ok(Expansion { resources: parts.below.resources, exports: parts.exports, stands_for: parts.stands_for })
    }
}

/// The subnets that were made, with what the layout says of each.
type Made<'a> = Vec<(&'a Subnet, Address)>;

/// The parts of a network, as they are put together.
struct Parts<'a> {
    network: &'a Network,
    layout: &'a Layout,
    below: Below<'a>,
    exports: Attributes,
    stands_for: BTreeMap<&'static str, Address>,
}

impl<'a> Parts<'a> {
    fn export(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.exports.insert(name.into(), value.into());
    }

    fn vpc(&mut self) -> Address {
        let network = self.network;
        let vpc = match &network.existing {
            Some(id) => self.below.add_existing("vpc", MAIN, id),
            None => {
                let more = (!network.secondary_cidrs.is_empty()).then_some(&network.secondary_cidrs);
                let attributes = json!({
                    "cidr": network.cidr,
                    "secondary_cidrs": more,
                    "dns_support": network.dns_support,
                    "dns_hostnames": network.dns_hostnames,
                });
                self.below.add("vpc", MAIN, attributes)
            }
        };
        self.export("vpc_id", reference(&vpc, "id"));
        self.export("vpc_arn", reference(&vpc, "arn"));
        self.export("cidr", network.cidr.clone().unwrap_or_else(|| reference(&vpc, "cidr")));
        self.stands_for.insert("vpc", vpc.clone());
        vpc
    }

    fn subnets(&mut self, vpc: &Address) -> Made<'a> {
        let layout = self.layout;
        let mut made = Vec::new();
        let mut by_tier: BTreeMap<&str, Vec<String>> = layout.tiers.keys().map(|t| (t.as_str(), vec![])).collect();
        for subnet in &layout.subnets {
            let name = format!("{}.{}", subnet.tier, subnet.zone);
            let tier = &layout.tiers[&subnet.tier];
            let address = match &subnet.place {
                Place::Existing(id) => self.below.add_existing("subnet", &name, id),
                Place::Range(cidr) => {
                    let attributes = json!({
                        "vpc": reference(vpc, "id"),
                        "cidr": cidr,
                        "zone": subnet.zone_name,
                        "public_ip": tier.public,
                        "tags": (!tier.tags.is_empty()).then_some(&tier.tags),
                    });
                    self.below.add("subnet", &name, attributes)
                }
            };
            by_tier.entry(&subnet.tier).or_default().push(reference(&address, "id"));
            made.push((subnet, address));
        }
        self.export("subnet_ids", references(made.iter().map(|(_, address)| address), "id"));
        for (tier, ids) in by_tier {
            self.export(format!("{tier}_subnet_ids"), ids);
        }
        let zones: BTreeSet<&str> = layout.subnets.iter().map(|subnet| subnet.zone_name.as_str()).collect();
        self.export("zone_names", zones.into_iter().collect::<Vec<_>>());
        made
    }

    fn zone(&mut self, vpc: &Address) {
        let Some(zone) = &self.network.zone else { return };
        let (address, name) = if checks::is_zone_id(zone) {
            let address = self.below.add_existing("hosted_zone", MAIN, zone);
            let name = reference(&address, "name");
            (address, name)
        } else {
            let attributes = json!({ "name": zone, "vpcs": [reference(vpc, "id")] });
            (self.below.add("hosted_zone", MAIN, attributes), zone.clone())
        };
        self.export("zone_id", reference(&address, "id"));
        self.export("zone_name", name);
        self.stands_for.insert("hosted_zone", address);
    }

    /// The ways out: gateways and route tables. A public tier has one table; a private tier has one in each zone, with
    /// or without NAT, so that going from one NAT gateway to one in each zone only changes a route.
    fn routes(&mut self, vpc: &Address, subnets: &Made<'a>) -> Vec<Address> {
        let layout = self.layout;
        let gateway = layout
            .tiers
            .values()
            .any(|tier| tier.public)
            .then(|| self.below.add("internet_gateway", MAIN, json!({ "vpc": reference(vpc, "id") })));
        let nats = self.nats(gateway.as_ref(), subnets);

        let mut tables = Vec::new();
        for (name, tier) in &layout.tiers {
            let zones = subnets.iter().filter(|(subnet, _)| subnet.tier == *name);
            let mut own = Vec::new();
            let mut table = |below: &mut Below<'_>, name: &str, default: Option<Value>, ids: Vec<String>| {
                let mut routes: Vec<Value> = default.into_iter().collect();
                routes.extend(tier.routes.iter().cloned().map(Value::Object));
                let attributes = json!({ "vpc": reference(vpc, "id"), "routes": routes, "subnets": ids });
                own.push(below.add("route_table", name, attributes));
            };
            if tier.public {
                let way = gateway
                    .as_ref()
                    .map(|gateway| json!({ "to": "0.0.0.0/0", "internet_gateway": reference(gateway, "id") }));
                table(&mut self.below, name, way, references(zones.map(|(_, address)| address), "id"));
            } else {
                for (subnet, address) in zones {
                    let nat = match self.network.nat {
                        _ if !tier.nat => None,
                        Nat::PerAz => nats.get(subnet.zone.as_str()),
                        Nat::Single | Nat::None => nats.values().next(),
                    };
                    let way = nat.map(|nat| json!({ "to": "0.0.0.0/0", "nat_gateway": reference(nat, "id") }));
                    let name = format!("{name}.{}", subnet.zone);
                    table(&mut self.below, &name, way, vec![reference(address, "id")]);
                }
            }
            self.exports.insert(format!("{name}_route_table_ids"), json!(references(&own, "id")));
            tables.extend(own);
        }
        tables
    }

    /// The NAT gateways, by zone.
    fn nats(&mut self, gateway: Option<&Address>, subnets: &Made<'a>) -> BTreeMap<&'a str, Address> {
        let mut nats = BTreeMap::new();
        let mut ips = Vec::new();
        for zone in &self.layout.nat_zones {
            let Some((_, subnet)) = subnets
                .iter()
                .filter(|(subnet, _)| subnet.zone == *zone && self.layout.tiers[&subnet.tier].public)
                // The tier named `public` first, so that a further public tier moves no gateway.
                .min_by_key(|(subnet, _)| (subnet.tier != layout::PUBLIC, &subnet.tier))
            else {
                continue;
            };
            // AWS gives an address its way, and a gateway its state, only once the VPC has its internet gateway.
            let after: Vec<Address> = gateway.cloned().into_iter().collect();
            let ip = self.below.add_after("elastic_ip", zone, json!({}), after.clone());
            let attributes = json!({ "subnet": reference(subnet, "id"), "elastic_ip": reference(&ip, "id") });
            let nat = self.below.add_after("nat_gateway", zone, attributes, after);
            ips.push(reference(&ip, "public_ip"));
            nats.insert(zone.as_str(), nat);
        }
        self.export("nat_public_ips", ips);
        nats
    }

    fn endpoints(&mut self, vpc: &Address, subnets: &Made<'_>, tables: &[Address], region: &str) {
        let mut group = None;
        for service in &self.layout.endpoints {
            let full = format!("com.amazonaws.{region}.");
            let name = service.strip_prefix(&full).unwrap_or(service);
            if crate::kinds::GATEWAY_SERVICES.contains(&name) {
                let attributes = json!({
                    "vpc": reference(vpc, "id"),
                    "service": service,
                    "type": "gateway",
                    "route_tables": references(tables, "id"),
                });
                self.below.add("vpc_endpoint", name, attributes);
                continue;
            }
            let group = match &group {
                Some(group) => group,
                None => group.insert(self.endpoint_group(vpc)),
            };
            let inside = subnets
                .iter()
                .filter(|(subnet, _)| Some(&subnet.tier) == self.layout.endpoint_tier.as_ref())
                .map(|(_, address)| address);
            let attributes = json!({
                "vpc": reference(vpc, "id"),
                "service": service,
                "type": "interface",
                "subnets": references(inside, "id"),
                "security_groups": [reference(group, "id")],
                "private_dns": true,
            });
            self.below.add("vpc_endpoint", name, attributes);
        }
    }

    /// The group of the interface endpoints: HTTPS from the network, nothing else, and nothing out.
    fn endpoint_group(&mut self, vpc: &Address) -> Address {
        let network = self.network;
        let from: Vec<&String> = network.cidr.iter().chain(&network.secondary_cidrs).collect();
        let attributes = json!({
            "vpc": reference(vpc, "id"),
            "description": "HTTPS from the network to its interface endpoints",
            "ingress": [{ "protocol": "tcp", "ports": "443", "from": from, "description": "HTTPS from the network" }],
            "egress": [],
        });
        self.below.add("security_group", "endpoints", attributes)
    }

    fn flow_logs(&mut self, vpc: &Address) {
        let settings = match &self.network.flow_logs {
            FlowLogs::Switch(false) => return,
            FlowLogs::Switch(true) => FlowLogSettings::default(),
            FlowLogs::Settings(settings) => settings.clone(),
        };
        let retention = json!({ "retention_days": settings.retention_days.unwrap_or(30) });
        let group = self.below.add("log_group", "flow-logs", retention);
        let arn = reference(&group, "arn");
        // https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html, without CreateLogGroup, as the
        // group exists. Listing groups is the only action that takes no single group.
        let document = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "WriteRecords",
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                    "Resource": [arn, format!("{arn}:*")],
                },
                { "Sid": "FindTheGroup", "Effect": "Allow", "Action": "logs:DescribeLogGroups", "Resource": "*" },
            ],
        });
        let attributes = json!({
            "service": "vpc-flow-logs.amazonaws.com",
            "description": "Lets flow logs write to their log group",
            "policies": { "write-flow-logs": document.to_string() },
        });
        let role = self.below.add("role", "flow-logs", attributes);
        let attributes = json!({
            "vpc": reference(vpc, "id"),
            "traffic": settings.traffic.unwrap_or(Traffic::All),
            "log_group": arn,
            "role": reference(&role, "arn"),
            "interval_seconds": settings.interval_seconds,
        });
        self.below.add("flow_log", MAIN, attributes);
        self.export("flow_log_group_arn", reference(&group, "arn"));
    }
}
