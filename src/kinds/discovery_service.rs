//! `discovery_service`: a name in a namespace, and what it stands for.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_servicediscovery::types::{
    DnsConfig, DnsConfigChange, DnsRecord, HealthCheckCustomConfig, RecordType as MapType, RoutingPolicy,
    ServiceChange, ServiceFilter, ServiceFilterName, ServiceSummary,
};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, discovery, gone_is_fine, in_order, is_own, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem};

/// A name in a namespace. Tasks of a service that registers there are what it stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoveryService {
    /// Its name; in DNS the part before the namespace's. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// The namespace.
    #[schemars(extend("x-reference" = "namespace.id"))]
    pub namespace: String,
    /// Its records in DNS. None: it is looked up by API alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub records: BTreeSet<Record>,
    /// Which tasks DNS answers with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// Whether ECS says which tasks are healthy.
    #[serde(default = "yes")]
    pub health: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// A record in DNS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its type: A for tasks with an address of their own, SRV for others.
    #[serde(default)]
    pub r#type: RecordType,
    /// Seconds that answers may be kept.
    #[serde(default = "ten")]
    pub ttl: i64,
}

/// The type of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RecordType {
    /// An IPv4 address.
    #[default]
    A,
    /// An IPv6 address.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// Host and port.
    #[serde(rename = "SRV")]
    Srv,
}

impl RecordType {
    fn request(self) -> MapType {
        match self {
            Self::A => MapType::A,
            Self::Aaaa => MapType::Aaaa,
            Self::Srv => MapType::Srv,
        }
    }
}

/// Which tasks DNS answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// Up to eight.
    Multivalue,
    /// One, by chance.
    Weighted,
}

impl Routing {
    fn request(self) -> RoutingPolicy {
        match self {
            Self::Multivalue => RoutingPolicy::Multivalue,
            Self::Weighted => RoutingPolicy::Weighted,
        }
    }
}

fn yes() -> bool {
    true
}

fn ten() -> i64 {
    10
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut service: DiscoveryService =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    if !service.records.is_empty() {
        service.routing.get_or_insert(Routing::Multivalue);
    }
    Ok(super::untyped(&service))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(service) = serde_json::from_value::<DiscoveryService>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let types: BTreeSet<RecordType> = service.records.iter().map(|record| record.r#type).collect();
    if types.len() < service.records.len() {
        problems.push(Problem::at("records", "two records of one type").help("leave one of them"));
    }
    if service.records.iter().any(|record| !(0..=2_147_483_647).contains(&record.ttl)) {
        problems.push(Problem::at("records", "a time to live that is none"));
    }
    if service.records.is_empty() && service.routing.is_some() {
        problems.push(Problem::at("routing", "it is of records, and there are none").help("give it `records`"));
    }
    problems
}

/// The kind `discovery_service`.
pub struct DiscoveryServiceKind;

#[async_trait]
impl Kind for DiscoveryServiceKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "namespace", "routing", "health"],
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 63 }),
            name_within: &["namespace"],
            canonical,
            check,
            typical_seconds: 2,
            ..spec::<DiscoveryService>("discovery_service", "discovery service")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["servicediscovery:ListServices", "servicediscovery:ListTagsForResource"],
            create: &[
                "servicediscovery:CreateService",
                "servicediscovery:TagResource",
                "servicediscovery:ListServices",
            ],
            update: &[
                "servicediscovery:UpdateService",
                "servicediscovery:GetOperation",
                "servicediscovery:TagResource",
                "servicediscovery:UntagResource",
                "servicediscovery:ListServices",
            ],
            delete: &["servicediscovery:DeleteService", "servicediscovery:ListServices"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let namespaces: BTreeSet<&str> = wanted.iter().map(|known| text(&known.attributes, "namespace")).collect();
        let mut found = Vec::new();
        for namespace in namespaces {
            let mut all = listed(aws, Some(namespace)).await?;
            all.retain(|one| wanted.iter().any(|known| Some(known.id.as_str()) == one.id()));
            found.extend(try_join_all(all.iter().map(|one| observe(aws, one, namespace))).await?);
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let all = listed(aws, None).await?;
        let found = try_join_all(all.iter().map(|one| observe(aws, one, ""))).await?;
        Ok(owned::of_observed(&aws.scope, found.into_iter()))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let (namespace, name) = (text(wanted, "namespace"), text(wanted, "name"));
        for one in listed(aws, Some(namespace)).await?.iter().filter(|one| one.name() == Some(name)) {
            let observed = observe(aws, one, namespace).await?;
            if is_own(&observed, &lost.request) {
                return Ok(Some(observed));
            }
        }
        Ok(None)
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let service: DiscoveryService = typed(&request.attributes)?;
        let tags = discovery::new_tags(request)?;
        let dns = (!service.records.is_empty())
            .then(|| {
                DnsConfig::builder()
                    .set_routing_policy(service.routing.map(Routing::request))
                    .set_dns_records(Some(records(&service)?))
                    .build()
                    .map_err(|error| unbuilt(&error))
            })
            .transpose()?;
        // ECS reports health by itself; the threshold is fixed ("HealthCheckCustomConfig").
        let health = service.health.then(|| HealthCheckCustomConfig::builder().build());
        let answer = aws
            .calls
            .create("servicediscovery:CreateService", || {
                aws.discovery
                    .create_service()
                    .name(&service.name)
                    .namespace_id(&service.namespace)
                    .creator_request_id(&request.token)
                    .set_dns_config(dns.clone())
                    .set_health_check_custom_config(health.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        let made = answer.service;
        let id = made.as_ref().and_then(|made| made.id()).unwrap_or_default().to_owned();
        Ok(Created { outputs: outputs(&id, made.as_ref().and_then(|made| made.arn())), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let service: DiscoveryService = typed(&request.after)?;
        if request.changed.contains("records") {
            let dns = DnsConfigChange::builder().set_dns_records(Some(records(&service)?)).build();
            let change = ServiceChange::builder().dns_config(dns.map_err(|error| unbuilt(&error))?).build();
            let action = "servicediscovery:UpdateService";
            let call = || aws.discovery.update_service().id(&request.id).service(change.clone()).send();
            let operation = aws.calls.write(action, call).await?.operation_id.unwrap_or_default();
            if !operation.is_empty() {
                discovery::made_by(aws, action, &operation).await?;
            }
        }
        discovery::update_tags(aws, text(&request.outputs, "arn"), request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while a task is registered, which passes.
        let call = || aws.discovery.delete_service().id(&known.id).send();
        gone_is_fine(aws.calls.write("servicediscovery:DeleteService", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = listed(aws, Some(text(&known.attributes, "namespace"))).await?;
        let there = found.iter().any(|one| one.id() == Some(known.id.as_str()));
        Ok(match (phase, there) {
            (Phase::Deleted, true) => Progress::Pending("deletion".into()),
            (Phase::Deleted, false) | (_, true) => Progress::Done(Attributes::new()),
            (_, false) => Progress::Pending("the discovery service to be visible".into()),
        })
    }
}

/// The services of a namespace, or of all.
async fn listed(aws: &Aws, namespace: Option<&str>) -> Result<Vec<ServiceSummary>, CloudError> {
    let of = |namespace| ServiceFilter::builder().name(ServiceFilterName::NamespaceId).values(namespace).build();
    let filter = namespace
        .map(of)
        .transpose()
        .map_err(|error| CloudError::unexpected("servicediscovery:ListServices", error.to_string()))?;
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || {
            aws.discovery
                .list_services()
                .set_filters(filter.clone().map(|one| vec![one]))
                .set_next_token(next.clone())
                .send()
        };
        let page = match aws.calls.read("servicediscovery:ListServices", call).await {
            // With its namespace a service is gone, too.
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
            page => page?,
        };
        found.extend(page.services.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn unbuilt(error: &dyn std::error::Error) -> CloudError {
    CloudError::unexpected("servicediscovery:CreateService", error.to_string())
}

fn records(service: &DiscoveryService) -> Result<Vec<DnsRecord>, CloudError> {
    let one = |record: &Record| DnsRecord::builder().r#type(record.r#type.request()).ttl(record.ttl).build();
    service.records.iter().map(one).collect::<Result<_, _>>().map_err(|error| unbuilt(&error))
}

fn outputs(id: &str, arn: Option<&str>) -> Attributes {
    Attributes::from_iter([("id".to_owned(), json!(id)), ("arn".to_owned(), json!(arn))])
}

async fn observe(aws: &Aws, service: &ServiceSummary, namespace: &str) -> Result<Observed, CloudError> {
    let types = [RecordType::A, RecordType::Aaaa, RecordType::Srv];
    let dns = service.dns_config();
    let records: BTreeSet<Record> = dns
        .map(|dns| dns.dns_records())
        .unwrap_or_default()
        .iter()
        .filter_map(|record| {
            let found = types.into_iter().find(|one| one.request() == *record.r#type())?;
            Some(Record { r#type: found, ttl: record.ttl() })
        })
        .collect();
    let routing = [Routing::Multivalue, Routing::Weighted];
    let routing = routing.into_iter().find(|one| dns.and_then(|dns| dns.routing_policy()) == Some(&one.request()));
    let mut attributes = Attributes::from_iter([
        ("name".to_owned(), json!(service.name())),
        ("namespace".to_owned(), json!(namespace)),
        ("records".to_owned(), json!(records)),
        ("health".to_owned(), json!(service.health_check_custom_config().is_some())),
    ]);
    if let Some(routing) = routing {
        attributes.insert("routing".into(), json!(routing));
    }
    attributes.insert("tags".into(), discovery::tags(aws, service.arn().unwrap_or_default()).await?);
    let id = service.id().unwrap_or_default().to_owned();
    Ok(Observed { outputs: outputs(&id, service.arn()), id, attributes })
}
