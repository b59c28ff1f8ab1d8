//! Resource kinds of AWS: one file a kind, one line of registration each.

mod access_point;
mod alarm;
mod ami;
mod autoscaling_group;
mod capacity_provider;
mod certificate;
mod cluster;
mod cluster_capacity;
pub mod container_logs;
mod dashboard;
mod discovery;
mod discovery_service;
mod dns_record;
mod dns_values;
pub mod document;
pub mod ec2;
mod ecs;
pub(crate) mod ecs_service;
mod efs;
mod elastic_ip;
mod elbv2;
mod file_system;
mod flow_log;
mod hosted_zone;
pub mod iam;
mod instance_profile;
pub mod instance_type;
mod internet_gateway;
mod key_pair;
mod launch_template;
mod listener;
pub mod listener_rule;
mod load_balancer;
mod log_group;
mod mount_target;
mod names;
mod namespace;
mod nat_gateway;
pub mod owned;
mod parameter;
pub mod permissions;
mod policy;
mod repository;
mod role;
pub mod route53;
mod route_table;
mod routing;
mod rules;
mod scaling_policy;
pub(crate) mod scaling_target;
mod schedule;
mod secret;
mod security_group;
mod subnet;
mod taking;
pub(crate) mod target_group;
pub(crate) mod task_definition;
mod topic;
pub(crate) mod trust;
mod vpc;
mod vpc_endpoint;
mod zones;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::aws::Aws;
use crate::cloud::{
    ADDRESS_TAG, Cloud, CloudError, CreateRequest, Created, ENV_TAG, Known, Lost, Observed, Owned, Phase, Progress,
    REGION_TAG, STACK_TAG, TOKEN_TAG, UpdateRequest, VISIBILITY,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, ReplaceOrder, Scope};

pub use ecs_service::{Deployments, Target, targets};
pub use taking::{During, Taking};
pub use task_definition::revisions;
pub use vpc_endpoint::GATEWAY_SERVICES;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// One kind of resource: how it is read, made, changed, deleted and found again.
///
/// The calls go through [`Aws::calls`]; what they are given is literal and canonical.
#[async_trait]
pub trait Kind: Send + Sync {
    /// What the engine knows of it.
    fn spec(&self) -> KindSpec;

    /// The IAM actions that each step may need.
    fn actions(&self) -> Actions;

    /// Whether a step with these attributes needs a declared action. Not those that only go on where an earlier run was
    /// interrupted, or find again what it made.
    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        taking.takes(call)
    }

    /// Reads many of the kind. See [`Cloud::read`].
    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError>;

    /// See [`Cloud::look_up`]; by id alone this is [`Kind::read`].
    async fn look_up(&self, aws: &Aws, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError> {
        let name = self.spec().name;
        let Some(id) = id.map(|id| self.own_id(id)) else {
            return Err(CloudError::unexpected(name, format!("a {name} is not looked up by its attributes")));
        };
        let address = crate::graph::Address::new(name, "existing");
        let known = Known { address, id: id.to_owned(), attributes: attributes.clone(), outputs: Attributes::new() };
        let mut found = self.read(aws, &[known]).await?;
        found.pop().flatten().ok_or_else(|| {
            CloudError::new(
                crate::cloud::ErrorClass::NotFound,
                self.actions().read.first().copied().unwrap_or(name),
                "",
                format!("there is no {} `{id}` in {}", self.spec().title, aws.scope.region),
            )
            .help("check the id, the region and the account")
        })
    }

    /// The id by which the kind knows a resource that a user may also name in another way, such as by its ARN.
    fn own_id<'a>(&self, given: &'a str) -> &'a str {
        given
    }
    /// See [`Cloud::owned`]. What lists with tags is asked for all at once; [`owned`] has what kinds share. A kind without
    /// tags has nothing to list: `recover` finds its resources by their attributes, through [`Kind::find`].
    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError>;

    /// See [`Cloud::find`].
    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError>;

    /// See [`Cloud::create`].
    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError>;

    /// See [`Cloud::finish`].
    async fn finish(&self, _aws: &Aws, _id: &str, _request: &CreateRequest) -> Result<(), CloudError> {
        Ok(())
    }

    /// See [`Cloud::update`].
    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError>;

    /// See [`Cloud::delete`].
    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError>;

    /// See [`Cloud::poll`].
    async fn poll(&self, _aws: &Aws, _known: &Known, _phase: Phase) -> Result<Progress, CloudError> {
        Ok(Progress::Done(Attributes::new()))
    }
}

/// The IAM actions that the steps of a kind need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Actions {
    /// For reading and finding again.
    pub read: &'static [&'static str],
    /// For creating and finishing, until it is ready.
    pub create: &'static [&'static str],
    /// For updating, until that took hold.
    pub update: &'static [&'static str],
    /// For deleting, until it is gone.
    pub delete: &'static [&'static str],
}

/// Every kind. One line each.
#[rustfmt::skip]
fn all() -> Vec<Box<dyn Kind>> {
    vec![
        Box::new(access_point::AccessPointKind),
        Box::new(alarm::AlarmKind),
        Box::new(ami::AmiKind),
        Box::new(autoscaling_group::AutoscalingGroupKind::default()),
        Box::new(capacity_provider::CapacityProviderKind),
        Box::new(certificate::CertificateKind),
        Box::new(cluster::ClusterKind),
        Box::new(cluster_capacity::ClusterCapacityKind),
        Box::new(dashboard::DashboardKind),
        Box::new(discovery_service::DiscoveryServiceKind),
        Box::new(dns_record::DnsRecordKind::default()),
        Box::new(ecs_service::EcsServiceKind::default()),
        Box::new(elastic_ip::ElasticIpKind),
        Box::new(file_system::FileSystemKind),
        Box::new(flow_log::FlowLogKind),
        Box::new(hosted_zone::HostedZoneKind::default()),
        Box::new(instance_profile::InstanceProfileKind),
        Box::new(internet_gateway::InternetGatewayKind),
        Box::new(key_pair::KeyPairKind),
        Box::new(launch_template::LaunchTemplateKind),
        Box::new(listener::ListenerKind),
        Box::new(listener_rule::ListenerRuleKind),
        Box::new(load_balancer::LoadBalancerKind),
        Box::new(log_group::LogGroupKind),
        Box::new(mount_target::MountTargetKind),
        Box::new(namespace::NamespaceKind),
        Box::new(nat_gateway::NatGatewayKind),
        Box::new(parameter::ParameterKind),
        Box::new(policy::PolicyKind),
        Box::new(repository::RepositoryKind),
        Box::new(role::RoleKind),
        Box::new(route_table::RouteTableKind),
        Box::new(scaling_policy::ScalingPolicyKind),
        Box::new(scaling_target::ScalingTargetKind),
        Box::new(schedule::ScheduleKind),
        Box::new(secret::SecretKind),
        Box::new(security_group::SecurityGroupKind),
        Box::new(subnet::SubnetKind),
        Box::new(target_group::TargetGroupKind),
        Box::new(task_definition::TaskDefinitionKind),
        Box::new(topic::TopicKind),
        Box::new(vpc::VpcKind),
        Box::new(vpc_endpoint::VpcEndpointKind),
        Box::new(zones::ZonesKind),
    ]
}

/// The kinds and what is known of each, by name.
pub struct Registry {
    kinds: HashMap<&'static str, (Box<dyn Kind>, KindSpec)>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// All kinds.
    pub fn new() -> Self {
        let kinds = all()
            .into_iter()
            .map(|kind| {
                let spec = kind.spec();
                (spec.name, (kind, spec))
            })
            .collect();
        Self { kinds }
    }

    /// What is known of a kind.
    pub fn spec(&self, name: &str) -> Option<&KindSpec> {
        self.kinds.get(name).map(|(_, spec)| spec)
    }

    /// The kind itself.
    pub fn kind(&self, name: &str) -> Option<&dyn Kind> {
        self.kinds.get(name).map(|(kind, _)| kind.as_ref())
    }

    /// Every kind's specification, by name.
    pub fn specs(&self) -> Vec<&KindSpec> {
        let mut specs: Vec<_> = self.kinds.values().map(|(_, spec)| spec).collect();
        specs.sort_by_key(|spec| spec.name);
        specs
    }
}

/// AWS, as the engine sees it.
pub struct AwsCloud {
    aws: Aws,
    registry: Registry,
}

impl AwsCloud {
    /// A cloud of these clients.
    pub fn new(aws: Aws) -> Self {
        Self { aws, registry: Registry::new() }
    }

    /// Takes the stack's secrets, for the calls that send their values.
    pub fn keep(&mut self, secrets: std::sync::Arc<crate::secret::Secrets>) {
        self.aws = self.aws.clone().with_secrets(secrets);
    }

    /// The clients.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    fn kind(&self, name: &str) -> Result<&dyn Kind, CloudError> {
        self.registry.kind(name).ok_or_else(|| {
            CloudError::unexpected(name, format!("this version knows no kind `{name}`"))
                .help("use the version of cofferdam that wrote the state, or a newer one")
        })
    }
}

#[async_trait]
impl Cloud for AwsCloud {
    fn scope(&self) -> &Scope {
        &self.aws.scope
    }

    fn spec(&self, kind: &str) -> Option<&KindSpec> {
        self.registry.spec(kind)
    }

    fn forget(&self) {
        self.aws.forget();
    }

    fn visibility(&self) -> Duration {
        if self.aws.emulated { Duration::ZERO } else { VISIBILITY }
    }

    fn kinds(&self) -> Vec<&str> {
        self.registry.specs().into_iter().map(|spec| spec.name).collect()
    }

    async fn owned(&self, kind: &str) -> Result<Vec<Owned>, CloudError> {
        let mut owned = self.kind(kind)?.owned(&self.aws).await?;
        for one in &mut owned {
            one.address = one.address.take().filter(|address| address.kind() == kind);
        }
        owned.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(owned)
    }

    async fn read(&self, kind: &str, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        self.kind(kind)?.read(&self.aws, wanted).await
    }

    async fn look_up(&self, kind: &str, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError> {
        self.kind(kind)?.look_up(&self.aws, id, attributes).await
    }

    async fn find(&self, kind: &str, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        self.kind(kind)?.find(&self.aws, lost).await
    }

    async fn create(&self, kind: &str, request: &CreateRequest) -> Result<Created, CloudError> {
        self.kind(kind)?.create(&self.aws, request).await
    }

    async fn finish(&self, kind: &str, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        self.kind(kind)?.finish(&self.aws, id, request).await
    }

    async fn update(&self, kind: &str, request: &UpdateRequest) -> Result<(), CloudError> {
        self.kind(kind)?.update(&self.aws, request).await
    }

    async fn delete(&self, kind: &str, known: &Known) -> Result<(), CloudError> {
        self.kind(kind)?.delete(&self.aws, known).await
    }

    async fn poll(&self, kind: &str, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        self.kind(kind)?.poll(&self.aws, known, phase).await
    }
}

/// A specification with everything usual filled in, for the attributes `A`; a kind overrides the rest:
/// `KindSpec { replace_on: &["cidr"], ..spec::<Subnet>("subnet", "subnet") }`.
pub fn spec<A: Serialize + DeserializeOwned + JsonSchema>(name: &'static str, title: &'static str) -> KindSpec {
    KindSpec {
        name,
        title,
        schema: schema_of::<A>,
        replace_on: &[],
        replace_order: ReplaceOrder::DeleteFirst,
        rebuilt_around: &[],
        outputs: &[],
        outputs_changed_by_update: &[],
        needs_only_existence: &[],
        after_users: &[],
        takes_over: &[],
        holdable: &[],
        write_only: &[],
        secrets: &[],
        documents: &[],
        identity: Identity::TagOnCreate,
        naming: None,
        name_within: &[],
        unique_by: &[],
        name_digests: &[],
        account_wide: false,
        taggable: true,
        // AWS takes 50 ("Tag naming limits"); one more is set while it is created.
        most_tags: 49,
        canonical: canonical::<A>,
        check: |_| Vec::new(),
        predict: |_, _| Attributes::new(),
        goes_on_by_itself: false,
        typical_seconds: 2,
    }
}

fn schema_of<A: JsonSchema>() -> Value {
    schemars::schema_for!(A).into()
}

/// Attributes through their type and back: defaults filled in, sets sorted, what is unset left out.
pub fn canonical<A: Serialize + DeserializeOwned>(attributes: Attributes) -> Result<Attributes, Problem> {
    let typed: A = serde_json::from_value(Value::Object(attributes)).map_err(|e| Problem::at("", e.to_string()))?;
    Ok(untyped(&typed))
}

/// Typed attributes as a map, without what is unset.
pub fn untyped<A: Serialize>(typed: &A) -> Attributes {
    match serde_json::to_value(typed) {
        Ok(Value::Object(map)) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Attributes::new(),
    }
}

/// The attributes of a request, typed.
///
/// # Errors
/// Where a state was written by a version whose attributes differ.
pub fn typed<A: DeserializeOwned>(attributes: &Attributes) -> Result<A, CloudError> {
    A::deserialize(Value::Object(attributes.clone()))
        .map_err(|e| CloudError::unexpected("state", format!("attributes cannot be read: {e}")))
}

/// The tags of a create call: the resource's own and the token it is found by.
pub fn create_tags(request: &CreateRequest) -> Tags {
    let mut tags = tags_of(&request.attributes);
    tags.insert(TOKEN_TAG.to_owned(), request.token.clone());
    tags
}

/// The attribute `tags`.
pub fn tags_of(attributes: &Attributes) -> Tags {
    let Some(Value::Object(tags)) = attributes.get("tags") else { return Tags::new() };
    tags.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Which tags an update sets and which it removes. Tags that the stack never had are somebody else's and stay.
pub fn tag_changes(request: &UpdateRequest) -> (Tags, Vec<String>) {
    let before = tags_of(&request.before);
    let after = tags_of(&request.after);
    let set = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let removed = before.into_keys().filter(|key| !after.contains_key(key)).collect();
    (set, removed)
}

/// Whether something of the wanted name was made for this address of this stack: its ownership tags say so.
pub fn is_own(observed: &Observed, request: &CreateRequest) -> bool {
    let have = tags_of(&observed.attributes);
    let want = tags_of(&request.attributes);
    [STACK_TAG, ENV_TAG, REGION_TAG, ADDRESS_TAG].iter().all(|key| have.get(*key) == want.get(*key))
}

/// A string attribute.
pub fn text<'a>(attributes: &'a Attributes, name: &str) -> &'a str {
    attributes.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether something of a fixed name that was found carries the ownership tags of these attributes: the same stack,
/// environment and address, and region where the account has it once. What does not is somebody else's.
pub fn is_owned(attributes: &Attributes, found: &Tags) -> bool {
    is_of_stack(attributes, found) && tags_of(attributes).get(ADDRESS_TAG) == found.get(ADDRESS_TAG)
}

/// Whether something that was found carries the tags of the stack and environment of these attributes.
pub fn is_of_stack(attributes: &Attributes, found: &Tags) -> bool {
    let wanted = tags_of(attributes);
    let keys = [STACK_TAG, ENV_TAG, REGION_TAG];
    wanted.contains_key(STACK_TAG) && keys.iter().all(|key| wanted.get(*key) == found.get(*key))
}

/// The error of a name that is taken, with what is known of who has it: the same stack in another region may.
pub fn taken(error: CloudError, request: &CreateRequest, found: &Tags) -> CloudError {
    let wanted = tags_of(&request.attributes);
    let is_same = |key: &&str| wanted.get(*key) == found.get(*key);
    match found.get(REGION_TAG).filter(|region| wanted.get(REGION_TAG) != Some(*region)) {
        Some(region) if wanted.contains_key(STACK_TAG) && [STACK_TAG, ENV_TAG].iter().all(is_same) => error.help(format!(
            "this stack has it in {region}, and the account has it once for all regions: set a `name` of its own on {} \
             here, or plan this region as an environment (--env)",
            request.address
        )),
        _ => error,
    }
}

/// Whether these tags are those of the stack and environment that is worked on.
pub fn is_of_scope(scope: &Scope, tags: &Value) -> bool {
    let tag = |key: &str| tags.get(key).and_then(Value::as_str);
    tag(STACK_TAG) == Some(scope.stack.as_str()) && tag(ENV_TAG) == scope.env.as_deref()
}

/// Of an answer that is whole, what is missing is not set: each of these attributes that the stack set and the answer
/// does not hold gets the value that stands for that, and so is drift.
pub fn what_is_missing_is_unset(observed: &mut Attributes, wanted: &Attributes, unset: &[(&str, Value)]) {
    for (name, value) in unset.iter().filter(|(name, _)| wanted.contains_key(*name)) {
        observed.entry(*name).or_insert_with(|| value.clone());
    }
}

/// Puts what was found into the order of what was wanted, by id.
pub fn in_order(wanted: &[Known], found: Vec<Observed>) -> Vec<Option<Observed>> {
    let by_id: HashMap<String, Observed> = found.into_iter().map(|one| (one.id.clone(), one)).collect();
    wanted.iter().map(|known| by_id.get(&known.id).cloned()).collect()
}

/// What a kind answers that is only looked up, when it is asked to make or change something.
pub fn only_looked_up(kind: &str) -> CloudError {
    CloudError::unexpected(kind, format!("`{kind}` is looked up, and never made, changed or deleted"))
}

/// Deleting what is gone already is a success.
///
/// # Errors
/// Every other error, unchanged.
pub fn gone_is_fine(deleted: Result<(), CloudError>) -> Result<(), CloudError> {
    match deleted {
        Err(error) if error.is(crate::cloud::ErrorClass::NotFound) => Ok(()),
        other => other,
    }
}
