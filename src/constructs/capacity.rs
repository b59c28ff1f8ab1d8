//! `capacity`: EC2 instances for a cluster, scaled by what its tasks need.

mod agent;
mod checks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::checks::Chosen;
use super::below::{Below, ec2_principal, list_or_reference, managed_policy, named, reference, typed};
use super::{Construct, Expansion, Input, providers, service};
use crate::graph::{Address, Attributes, Problem};
use crate::kinds::Tags;

/// The name of the resources below a capacity.
pub const OWN: &str = "instances";

/// Instances for a cluster: a launch template, an autoscaling group, and a capacity provider that scales the group by
/// what the cluster's tasks need.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Capacity {
    /// The cluster that the instances join: `"main"`.
    #[schemars(extend("x-reference" = "cluster.name"))]
    cluster: String,
    /// The network that they stand in; the only one of the stack unless given.
    network: Option<String>,
    /// The tier of the network's subnets that they stand in.
    #[serde(default = "private")]
    tier: String,
    /// The VPC, where it does not come from a `network`.
    #[schemars(extend("x-reference" = "vpc.id"))]
    vpc: Option<String>,
    /// The subnets, where they are not those of the tier.
    #[schemars(extend("x-reference" = "subnet.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    subnets: Option<Vec<String>>,
    /// The type of the instances: `"t3.small"`.
    instance_type: Option<String>,
    /// Several types to choose from, the preferred one first: `["m7g.large", "m6g.large"]`.
    #[serde(default)]
    instance_types: Vec<String>,
    /// The processor's architecture; it follows from the instance type unless given.
    architecture: Option<Architecture>,
    /// The image, to pin it: `"ami-0a1b2c3d"`. Otherwise it is Amazon's current ECS-optimized image.
    ami: Option<String>,
    /// The role of the instances. Unless given, one is made with what the ECS agent needs for this cluster.
    #[schemars(extend("x-reference" = "role.name"))]
    role: Option<String>,
    /// Managed policies for the role that is made: `["AmazonSSMManagedInstanceCore"]` opens Session Manager.
    #[serde(default)]
    managed_policies: Vec<String>,
    /// The image repositories that the role that is made may pull from; all of the account and region unless given.
    #[schemars(extend("x-reference" = "repository.arn"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    repositories: Option<Vec<String>>,
    /// The log groups that the role that is made may write to; those that the stack declares unless
    /// given.
    #[schemars(extend("x-reference" = "log_group.arn"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    log_groups: Option<Vec<String>>,
    /// How many instances: `{ min = 1, max = 3 }`.
    size: Size,
    /// Spot instances: all of them, or beside a base of on-demand ones.
    #[serde(default)]
    spot: Spot,
    /// The root volume of each instance.
    #[serde(default)]
    volume: Volume,
    /// Security groups beside the one that is made.
    #[schemars(extend("x-reference" = "security_group.id"))]
    #[serde(default, deserialize_with = "list_or_reference")]
    security_groups: Option<Vec<String>>,
    /// What may reach the instances, as rules of `security_group`; nothing unless given.
    #[serde(default)]
    ingress: Vec<Attributes>,
    /// A shell script that runs as root at the first boot, after the agent's settings are written; text or the name of
    /// a file. A shell's `${X}` is written `$${X}`.
    #[schemars(extend("x-file" = "text"))]
    user_data: Option<String>,
    /// Further settings of the ECS agent: `{ ECS_IMAGE_PULL_BEHAVIOR = "prefer-cached" }`.
    #[serde(default)]
    agent: BTreeMap<String, String>,
    /// A key pair for SSH.
    #[schemars(extend("x-reference" = "key_pair.name"))]
    key_pair: Option<String>,
    /// Network hops that the instance metadata service answers over; with 1, containers on a bridge do not reach it.
    #[schemars(range(min = 1, max = 64))]
    #[serde(default = "one")]
    imds_hop_limit: u32,
    /// How full the group shall be, in percent: below 100 leaves room for tasks to come.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "hundred")]
    target_percent: u32,
    /// Whether ECS scales the group.
    #[serde(default = "yes")]
    managed_scaling: bool,
    /// Whether ECS keeps instances with tasks from being scaled in.
    #[serde(default)]
    managed_termination_protection: bool,
    /// Whether ECS moves tasks away from an instance before it goes.
    #[serde(default = "yes")]
    managed_draining: bool,
    /// Whether metrics come every minute, at a price, instead of every five.
    #[serde(default)]
    detailed_monitoring: bool,
    /// Whether and how instances are replaced when the launch template changes.
    #[serde(default)]
    instance_refresh: Refresh,
    /// Seconds after which an instance is replaced, 86400 or more.
    max_instance_lifetime_seconds: Option<u32>,
    /// The share of tasks placed here, among the cluster's capacities, where a service names none; 0 for none. A cluster
    /// that exists already keeps its own default: there, services name the capacity.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default = "one")]
    weight: u32,
    /// Tasks placed here before shares count; one capacity of a cluster may have some.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(default)]
    base: u32,
    /// Tags for all that the capacity consists of; its instances and their volumes take them over, and the stack's.
    #[serde(default)]
    tags: Tags,
}

/// How many instances.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Size {
    /// The fewest instances.
    min: u32,
    /// The most instances.
    max: u32,
    /// The number right now, where ECS does not scale the group (`managed_scaling = false`). Where it does, the group
    /// starts with `min`, and how many there are later is ECS's to say.
    desired: Option<u32>,
}

/// The architecture of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Architecture {
    /// Intel and AMD.
    #[serde(rename = "x86_64")]
    X86_64,
    /// Graviton.
    Arm64,
}

/// Whether instances are spot instances.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Spot {
    /// All of them, or none.
    Switch(bool),
    /// As these settings say.
    Settings(SpotSettings),
}

impl Default for Spot {
    fn default() -> Self {
        Self::Switch(false)
    }
}

/// How spot and on-demand instances are mixed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SpotSettings {
    /// Instances that are on-demand in any case.
    #[serde(default)]
    on_demand_base: u32,
    /// The share of on-demand instances above that, in percent.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default)]
    on_demand_percent: u32,
    /// The most to pay for an hour, in US dollars: `"0.02"`; the on-demand price unless given.
    max_price: Option<String>,
}

/// The root volume.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Volume {
    /// Its size in GiB; the ECS-optimized image takes 30.
    #[serde(default = "thirty")]
    size_gib: u32,
    /// Its type.
    #[serde(default = "gp3", rename = "type")]
    kind: String,
    /// Whether it is encrypted.
    #[serde(default = "yes")]
    encrypted: bool,
    /// The KMS key that encrypts it; the account's own for EBS unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    /// Operations a second, beyond what the type has.
    #[serde(skip_serializing_if = "Option::is_none")]
    iops: Option<u32>,
    /// MiB a second, beyond what the type has.
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput: Option<u32>,
}

impl Default for Volume {
    fn default() -> Self {
        let (kms_key, iops, throughput) = (None, None, None);
        Self { size_gib: thirty(), kind: gp3(), encrypted: true, kms_key, iops, throughput }
    }
}

/// Whether instances are replaced when the launch template changes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Refresh {
    /// Replaced, new ones first; or left until they go by themselves.
    Switch(bool),
    /// As these settings say.
    Settings(RefreshSettings),
}

impl Default for Refresh {
    fn default() -> Self {
        Self::Switch(true)
    }
}

/// How instances are replaced.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RefreshSettings {
    /// The share of the group that stays in service, in percent.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default = "hundred")]
    min_healthy_percent: u32,
    /// The share that the group may grow to meanwhile, in percent: above 100, new instances come first.
    #[schemars(range(min = 100, max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_healthy_percent: Option<u32>,
    /// Seconds until a new instance counts as in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_seconds: Option<u32>,
}

fn private() -> String {
    "private".to_owned()
}

fn gp3() -> String {
    "gp3".to_owned()
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn thirty() -> u32 {
    30
}

fn hundred() -> u32 {
    100
}

/// The construct `capacity`.
pub struct CapacityConstruct;

impl Construct for CapacityConstruct {
    fn name(&self) -> &'static str {
        "capacity"
    }

    fn summary(&self) -> &'static str {
        "EC2 instances for a cluster: launch template, autoscaling group, capacity provider and role"
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Capacity).into()
    }

    fn expand(&self, input: &Input<'_>) -> Result<Expansion, Vec<Problem>> {
        let capacity: Capacity = typed(input)?;
        let chosen = Chosen::of(&capacity, input)?;
        let parts = Parts {
            input,
            capacity: &capacity,
            cluster: named(input, "cluster", "name", &capacity.cluster),
            chosen,
            below: Below::new(input, &capacity.tags),
            exports: Attributes::new(),
            stands_for: BTreeMap::new(),
        };
        Ok(parts.put_together())
    }
}

/// The parts of a capacity, as they are put together.
struct Parts<'a> {
    input: &'a Input<'a>,
    capacity: &'a Capacity,
    /// The cluster's name, as a template.
    cluster: String,
    chosen: Chosen,
    below: Below<'a>,
    exports: Attributes,
    stands_for: BTreeMap<&'static str, Address>,
}

impl Parts<'_> {
    fn put_together(mut self) -> Expansion {
        let image = self.image();
        let profile = self.profile();
        let group = self.security_group();
        let template = self.launch_template(&image, &profile, &group);
        let scaling = self.autoscaling_group(&template);
        self.capacity_provider(&scaling);
        let mut resources = self.below.resources;
        resources.extend(providers::cluster_capacity(self.input, &self.cluster));
        Expansion { resources, exports: self.exports, stands_for: self.stands_for }
    }

    /// Exports an attribute of a part, and has the capacity stand for the part.
    fn announce(&mut self, address: &Address, kind: &'static str, attributes: &[&str]) {
        for attribute in attributes {
            self.exports.insert(format!("{kind}_{attribute}"), reference(address, attribute).into());
        }
        self.stands_for.insert(kind, address.clone());
    }

    /// The image: the pinned one, or what Amazon's public parameter names
    /// (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html).
    fn image(&mut self) -> String {
        let image = match &self.capacity.ami {
            Some(ami) => ami.clone(),
            None => {
                let variant = match self.chosen.architecture {
                    Architecture::X86_64 => "",
                    Architecture::Arm64 => "arm64/",
                };
                let parameter =
                    format!("/aws/service/ecs/optimized-ami/amazon-linux-2023/{variant}recommended/image_id");
                reference(&self.below.add("ami", OWN, json!({ "parameter": parameter })), "id")
            }
        };
        self.exports.insert("ami_id".to_owned(), image.clone().into());
        image
    }

    fn profile(&mut self) -> Address {
        let capacity = self.capacity;
        let role = match &capacity.role {
            Some(role) => named(self.input, "role", "name", role),
            None => {
                let managed: Vec<String> =
                    capacity.managed_policies.iter().map(|name| managed_policy(self.input, name)).collect();
                let attributes = json!({
                    "service": ec2_principal(&self.input.scope.partition),
                    "description": "Lets instances join their cluster, pull images and write logs",
                    "policies": { "ecs-agent": agent::policy(capacity, &self.cluster, self.input) },
                    "managed_policies": (!managed.is_empty()).then_some(managed),
                });
                let role = self.below.add("role", OWN, attributes);
                self.announce(&role, "role", &["arn"]);
                reference(&role, "name")
            }
        };
        self.exports.insert("role_name".to_owned(), role.clone().into());
        let profile = self.below.add("instance_profile", OWN, json!({ "role": role }));
        self.stands_for.insert("instance_profile", profile.clone());
        profile
    }

    /// The group of the instances: what is asked for may come in, and what the services on them need; everything may go
    /// out.
    fn security_group(&mut self) -> Address {
        let mut ingress = self.capacity.ingress.clone();
        ingress.extend(service::ways_to_instances(self.input, &self.capacity.cluster));
        let attributes = json!({
            "vpc": self.chosen.vpc,
            "ingress": ingress,
        });
        let group = self.below.add("security_group", OWN, attributes);
        self.announce(&group, "security_group", &["id"]);
        group
    }

    fn launch_template(&mut self, image: &str, profile: &Address, group: &Address) -> Address {
        let capacity = self.capacity;
        let mut volume = json!({ "device": "/dev/xvda" });
        if let (Value::Object(volume), Ok(Value::Object(settings))) =
            (&mut volume, serde_json::to_value(&capacity.volume))
        {
            volume.extend(settings);
        }
        let mut groups = vec![reference(group, "id")];
        groups.extend(
            capacity.security_groups.iter().flatten().map(|name| named(self.input, "security_group", "id", name)),
        );
        // A group passes its tags on to its instances and not to their volumes.
        let mut tags = self.input.tags.clone();
        tags.extend(capacity.tags.clone());
        let attributes = json!({
            "image": image,
            "instance_type": self.chosen.instance_types.first(),
            "instance_profile": reference(profile, "arn"),
            "security_groups": groups,
            "key_pair": capacity.key_pair.as_ref().map(|name| named(self.input, "key_pair", "name", name)),
            "user_data": agent::user_data(capacity, &self.cluster, self.chosen.spot.is_some()),
            "volumes": [volume],
            "imds": "required",
            "imds_hop_limit": capacity.imds_hop_limit,
            "detailed_monitoring": capacity.detailed_monitoring,
            "instance_tags": (!tags.is_empty()).then_some(tags),
        });
        let template = self.below.add("launch_template", OWN, attributes);
        self.announce(&template, "launch_template", &["id"]);
        template
    }

    fn autoscaling_group(&mut self, template: &Address) -> Address {
        let (capacity, chosen) = (self.capacity, &self.chosen);
        let mixed = (chosen.spot.is_some() || chosen.instance_types.len() > 1).then(|| {
            let (base, percent, price) = match &chosen.spot {
                Some(spot) => (spot.on_demand_base, spot.on_demand_percent, spot.max_price.as_ref()),
                None => (0, 100, None),
            };
            let mut mixed = json!({
                "instance_types": chosen.instance_types,
                "on_demand_base": base,
                "on_demand_percent": percent,
            });
            if let Some(price) = price {
                mixed["max_spot_price"] = json!(price);
            }
            mixed
        });
        let refresh = match &capacity.instance_refresh {
            Refresh::Switch(false) => Value::Null,
            // "Launch before terminating" of the AWS console.
            Refresh::Switch(true) => json!({ "min_healthy_percent": 100, "max_healthy_percent": 110 }),
            Refresh::Settings(settings) => json!(settings),
        };
        let attributes = json!({
            "launch_template": reference(template, "id"),
            "launch_template_version": reference(template, "latest_version"),
            "subnets": chosen.subnets,
            "min": capacity.size.min,
            "max": capacity.size.max,
            // The count that ECS scales is ECS's own: given here, each apply would take it back.
            "desired": capacity.size.desired.filter(|_| !capacity.managed_scaling),
            "protect_from_scale_in": capacity.managed_termination_protection.then_some(true),
            "instance_refresh": refresh,
            "mixed_instances": mixed,
            "capacity_rebalance": chosen.spot.is_some().then_some(true),
            "max_instance_lifetime_seconds": capacity.max_instance_lifetime_seconds,
        });
        // Instances need their way to ECS when they boot, and still while they drain on the way out.
        let group = self.below.add_after("autoscaling_group", OWN, attributes, chosen.ways.clone());
        self.announce(&group, "autoscaling_group", &["name", "arn"]);
        group
    }

    fn capacity_provider(&mut self, group: &Address) {
        let capacity = self.capacity;
        let scope = self.input.scope;
        let attributes = json!({
            // ECS refuses names that begin with `aws`, `ecs` or `fargate`, as names that begin with a stack's may.
            "name": format!("capacity-{}-{}", scope.prefix(), self.input.own_name().replace('.', "-")),
            "autoscaling_group": reference(group, "arn"),
            "managed_scaling": { "enabled": capacity.managed_scaling, "target_percent": capacity.target_percent },
            "managed_termination_protection": capacity.managed_termination_protection,
            "managed_draining": capacity.managed_draining,
        });
        let provider = self.below.add_named("capacity_provider", OWN, attributes);
        self.announce(&provider, "capacity_provider", &["name", "arn"]);
    }
}
