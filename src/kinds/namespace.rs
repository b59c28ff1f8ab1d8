//! `namespace`: names under which services find each other, in Cloud Map.

use async_trait::async_trait;
use aws_sdk_servicediscovery::types::{NamespaceSummary, NamespaceType, OperationTargetType};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, discovery, gone_is_fine, in_order, is_own, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem};

/// Names under which services find each other. In DNS they are names of a zone that AWS makes for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its name; in DNS that of its zone: `"web.internal"`.
    pub name: String,
    /// How names are looked up.
    #[serde(default)]
    pub r#type: Type,
    /// The VPC in which they are known; for `"private-dns"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// How names are looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// By DNS in a VPC, and by API.
    #[default]
    PrivateDns,
    /// By DNS everywhere, and by API.
    PublicDns,
    /// By API alone, which is enough for Service Connect.
    Http,
}

impl Type {
    fn request(self) -> NamespaceType {
        match self {
            Self::PrivateDns => NamespaceType::DnsPrivate,
            Self::PublicDns => NamespaceType::DnsPublic,
            Self::Http => NamespaceType::Http,
        }
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(namespace) = serde_json::from_value::<Namespace>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    match (namespace.r#type, &namespace.vpc) {
        (Type::PrivateDns, None) => {
            let message = "private names are known in a VPC";
            problems.push(Problem::at("vpc", message).help("name it, or write type = \"http\""));
        }
        (Type::PublicDns | Type::Http, Some(_)) => {
            problems.push(Problem::at("vpc", "it is for private names").help("take it out"));
        }
        _ => {}
    }
    let bad = namespace.name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c));
    if let Some(bad) = bad.filter(|_| !namespace.name.contains("${") && namespace.r#type != Type::Http) {
        let message = format!("`{bad}` in `{}`, which is no name of a zone", namespace.name);
        problems.push(Problem::at("name", message));
    }
    problems
}

/// The kind `namespace`.
pub struct NamespaceKind;

#[async_trait]
impl Kind for NamespaceKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "type", "vpc"],
            outputs: &["arn", "zone_id"],
            identity: Identity::UniqueName,
            check,
            // AWS makes a zone and joins it to the VPC.
            typical_seconds: 45,
            ..spec::<Namespace>("namespace", "namespace")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "servicediscovery:ListNamespaces",
                "servicediscovery:ListTagsForResource",
                "servicediscovery:GetOperation",
            ],
            // The zone is made with the rights of who asks ("AWS Cloud Map identity-based policy examples").
            create: &[
                "servicediscovery:CreatePrivateDnsNamespace",
                "servicediscovery:CreatePublicDnsNamespace",
                "servicediscovery:CreateHttpNamespace",
                "servicediscovery:TagResource",
                "route53:CreateHostedZone",
                "route53:GetHostedZone",
                "route53:ListHostedZonesByName",
                "ec2:DescribeVpcs",
                "ec2:DescribeRegions",
                "servicediscovery:GetOperation",
                "servicediscovery:ListNamespaces",
            ],
            update: &[
                "servicediscovery:TagResource",
                "servicediscovery:UntagResource",
                "servicediscovery:ListNamespaces",
            ],
            delete: &[
                "servicediscovery:DeleteNamespace",
                "route53:DeleteHostedZone",
                "servicediscovery:ListNamespaces",
            ],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut all = listed(aws).await?;
        all.retain(|one| wanted.iter().any(|known| Some(known.id.as_str()) == one.id()));
        let found = try_join_all(all.iter().map(|one| observe(aws, one))).await?;
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let all = listed(aws).await?;
        let found = try_join_all(all.iter().map(|one| observe(aws, one))).await?;
        Ok(owned::of_observed(&aws.scope, found.into_iter()))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let name = text(&lost.request.attributes, "name");
        for one in listed(aws).await?.iter().filter(|one| one.name() == Some(name)) {
            let observed = observe(aws, one).await?;
            if is_own(&observed, &lost.request) {
                return Ok(Some(observed));
            }
        }
        Ok(None)
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let namespace: Namespace = typed(&request.attributes)?;
        let tags = discovery::new_tags(request)?;
        macro_rules! create {
            ($action:literal, $call:ident, |$builder:ident| $more:expr) => {{
                let $builder = aws
                    .discovery
                    .$call()
                    .name(&namespace.name)
                    .creator_request_id(&request.token)
                    .set_tags(Some(tags.clone()));
                let call = $more;
                ($action, aws.calls.create($action, || call.clone().send()).await?.operation_id)
            }};
        }
        let (action, operation) = match namespace.r#type {
            Type::PrivateDns => {
                create!("servicediscovery:CreatePrivateDnsNamespace", create_private_dns_namespace, |call| call
                    .vpc(namespace.vpc.clone().unwrap_or_default()))
            }
            Type::PublicDns => {
                create!("servicediscovery:CreatePublicDnsNamespace", create_public_dns_namespace, |call| call)
            }
            Type::Http => create!("servicediscovery:CreateHttpNamespace", create_http_namespace, |call| call),
        };
        let made = discovery::made_by(aws, action, &operation.unwrap_or_default()).await?;
        let id = made.get(&OperationTargetType::Namespace).cloned().unwrap_or_default();
        let found = listed(aws).await?.into_iter().find(|one| one.id() == Some(&id));
        Ok(Created { outputs: found.as_ref().map(outputs).unwrap_or_default(), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        discovery::update_tags(aws, text(&request.outputs, "arn"), request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while a service is in it, which passes.
        let call = || aws.discovery.delete_namespace().id(&known.id).send();
        gone_is_fine(aws.calls.write("servicediscovery:DeleteNamespace", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = listed(aws).await?.into_iter().find(|one| one.id() == Some(known.id.as_str()));
        Ok(match (phase, found) {
            (Phase::Deleted, None) => Progress::Done(Attributes::new()),
            (Phase::Deleted, Some(_)) => Progress::Pending("deletion".into()),
            (_, Some(found)) => Progress::Done(outputs(&found)),
            (_, None) => Progress::Pending("the namespace to be visible".into()),
        })
    }
}

/// Every namespace of account and region; there are few.
async fn listed(aws: &Aws) -> Result<Vec<NamespaceSummary>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.discovery.list_namespaces().set_next_token(next.clone()).send();
        let page = match aws.calls.read("servicediscovery:ListNamespaces", call).await {
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
            page => page?,
        };
        found.extend(page.namespaces.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn outputs(namespace: &NamespaceSummary) -> Attributes {
    let dns = namespace.properties().and_then(|properties| properties.dns_properties());
    Attributes::from_iter([
        ("id".to_owned(), json!(namespace.id())),
        ("arn".to_owned(), json!(namespace.arn())),
        ("zone_id".to_owned(), json!(dns.and_then(|dns| dns.hosted_zone_id()).unwrap_or_default())),
    ])
}

async fn observe(aws: &Aws, namespace: &NamespaceSummary) -> Result<Observed, CloudError> {
    let kinds = [Type::PrivateDns, Type::PublicDns, Type::Http];
    let kind = kinds.into_iter().find(|one| namespace.r#type() == Some(&one.request()));
    let mut attributes = Attributes::from_iter([("name".to_owned(), json!(namespace.name()))]);
    if let Some(kind) = kind {
        attributes.insert("type".into(), json!(kind));
    }
    attributes.insert("tags".into(), discovery::tags(aws, namespace.arn().unwrap_or_default()).await?);
    Ok(Observed { id: namespace.id().unwrap_or_default().to_owned(), attributes, outputs: outputs(namespace) })
}
