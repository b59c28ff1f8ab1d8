//! `vpc_endpoint`: a way from a VPC to a service of AWS that does not cross the internet.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::operation::describe_vpc_endpoints::builders::DescribeVpcEndpointsFluentBuilder;
use aws_sdk_ec2::types::{ResourceType, VpcEndpoint as Ec2Endpoint, VpcEndpointType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::{PolicyDocument, PolicyUse, check_policy};
use super::{Actions, Kind, Tags, Taking, canonical, ec2, gone_is_fine, in_order, owned, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// The longest policy of an endpoint ("Control access to VPC endpoints using endpoint policies").
const LONGEST_POLICY: usize = 20_480;

/// What can be changed of an endpoint besides its tags.
const SETTINGS: [&str; 5] = ["route_tables", "subnets", "security_groups", "private_dns", "policy"];

/// The services that have gateway endpoints ("Gateway endpoints").
pub const GATEWAY_SERVICES: &[&str] = &["s3", "dynamodb", "s3express"];

/// The policy of an endpoint that is given none: everything is allowed.
const NO_POLICY: &str =
    r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#;

/// A way from a VPC to a service that does not cross the internet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VpcEndpoint {
    /// The VPC: its name in the stack, a reference or an id.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: String,
    /// The service: `"s3"`, `"ecr.api"`; or the full name of one of somebody else's, `"com.amazonaws.vpce.…"`.
    pub service: String,
    /// How it is reached: routes to a gateway (S3 and DynamoDB, free of charge) or interfaces in subnets (the others).
    #[serde(default, rename = "type")]
    pub kind: EndpointType,
    /// The route tables that get a route to a gateway endpoint.
    #[serde(default)]
    #[schemars(extend("x-reference" = "route_table.id"))]
    pub route_tables: BTreeSet<String>,
    /// The subnets that get an interface, one a zone at most.
    #[serde(default)]
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnets: BTreeSet<String>,
    /// The security groups of the interfaces; they must let HTTPS in. The VPC's default one, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub security_groups: Option<BTreeSet<String>>,
    /// Whether the service's usual name leads to the interfaces. It does, unless this is `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_dns: Option<bool>,
    /// What may be done through it: a policy document. Everything, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    pub policy: Option<PolicyDocument>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointType {
    /// Routes in route tables.
    #[default]
    Gateway,
    /// Interfaces in subnets.
    Interface,
}

impl VpcEndpoint {
    fn canonical(mut self) -> Self {
        self.service = short_name(&self.service).to_owned();
        if self.kind == EndpointType::Interface {
            self.private_dns.get_or_insert(true);
        }
        self.policy = self.policy.filter(|policy| *policy != PolicyDocument::new(NO_POLICY));
        self
    }
}

/// A service's name without AWS's prefix: `s3` of `com.amazonaws.eu-west-2.s3`. Names of other shapes stay whole.
fn short_name(service: &str) -> &str {
    let Some((region, name)) = service.strip_prefix("com.amazonaws.").and_then(|rest| rest.split_once('.')) else {
        return service;
    };
    let is_region = region.matches('-').count() >= 2 && region.ends_with(|c: char| c.is_ascii_digit());
    if is_region { name } else { service }
}

fn full_name(service: &str, region: &str) -> String {
    let whole = service.contains("com.amazonaws.") || service.starts_with("aws.");
    if whole { service.to_owned() } else { format!("com.amazonaws.{region}.{service}") }
}

/// The kind `vpc_endpoint`.
pub struct VpcEndpointKind;

#[async_trait]
impl Kind for VpcEndpointKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["vpc", "service", "type"],
            outputs: &["dns_name"],
            documents: &["policy"],
            identity: Identity::ClientToken,
            canonical: |attributes| {
                let attributes = canonical::<VpcEndpoint>(attributes)?;
                let Ok(endpoint) = typed::<VpcEndpoint>(&attributes) else { return Ok(attributes) };
                Ok(untyped(&endpoint.canonical()))
            },
            check,
            typical_seconds: 60,
            ..spec::<VpcEndpoint>("vpc_endpoint", "VPC endpoint")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeVpcEndpoints", "ec2:DescribeTags"],
            create: &["ec2:CreateVpcEndpoint", "ec2:CreateTags", "ec2:DescribeVpcEndpoints"],
            update: &[
                "ec2:DescribeVpcEndpoints",
                "ec2:ModifyVpcEndpoint",
                "ec2:DescribeSecurityGroups",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &["ec2:DeleteVpcEndpoints", "ec2:DescribeVpcEndpoints"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:ModifyVpcEndpoint" => taking.changes(&SETTINGS),
            "ec2:DescribeSecurityGroups" => taking.changes(&["security_groups"]) && !taking.has("security_groups"),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let ids = wanted.iter().map(|known| known.id.clone()).collect();
        let found = by_ids(aws, ids).await?;
        Ok(in_order(wanted, found.iter().filter(|one| !is_gone(one)).map(observe).collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "vpce-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let token = &lost.request.token;
        let found = describe(aws, aws.ec2.describe_vpc_endpoints().filters(ec2::by_token(token))).await?;
        Ok(found.iter().find(|one| !is_gone(one) && ec2::has_token(one.tags(), token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let wanted: VpcEndpoint = typed(&request.attributes)?;
        let list = |ids: &BTreeSet<String>| (!ids.is_empty()).then(|| ids.iter().cloned().collect::<Vec<_>>());
        let call = aws
            .ec2
            .create_vpc_endpoint()
            .vpc_id(&wanted.vpc)
            .service_name(full_name(&wanted.service, &aws.scope.region))
            .vpc_endpoint_type(match wanted.kind {
                EndpointType::Gateway => VpcEndpointType::Gateway,
                EndpointType::Interface => VpcEndpointType::Interface,
            })
            .set_route_table_ids(list(&wanted.route_tables))
            .set_subnet_ids(list(&wanted.subnets))
            .set_security_group_ids(wanted.security_groups.as_ref().and_then(list))
            .set_private_dns_enabled(wanted.private_dns)
            .set_policy_document(wanted.policy.as_ref().map(|policy| policy.as_str().to_owned()))
            .client_token(&request.token)
            .tag_specifications(ec2::tag_specification(ResourceType::VpcEndpoint, request));
        let answer = aws.calls.write("ec2:CreateVpcEndpoint", || call.clone().send()).await?;
        let made = answer.vpc_endpoint().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let wanted: VpcEndpoint = typed(&request.after)?;
        let changed = |attribute: &str| request.changed.contains(attribute);
        if SETTINGS.into_iter().any(changed) {
            let current = by_id(aws, &request.id)
                .await?
                .ok_or_else(|| ec2::not_visible("ec2:DescribeVpcEndpoints", &request.id))?;
            let mut call = aws.ec2.modify_vpc_endpoint().vpc_endpoint_id(&request.id);
            let mut anything = false;
            if changed("route_tables") {
                let (add, remove) = difference(current.route_table_ids(), &wanted.route_tables);
                anything |= add.is_some() || remove.is_some();
                call = call.set_add_route_table_ids(add).set_remove_route_table_ids(remove);
            }
            if changed("subnets") {
                let (add, remove) = difference(current.subnet_ids(), &wanted.subnets);
                anything |= add.is_some() || remove.is_some();
                call = call.set_add_subnet_ids(add).set_remove_subnet_ids(remove);
            }
            if changed("security_groups") {
                let wanted = match wanted.security_groups {
                    Some(groups) => groups,
                    None => BTreeSet::from([default_group(aws, &wanted.vpc).await?]),
                };
                let (add, remove) = difference(&groups(&current), &wanted);
                anything |= add.is_some() || remove.is_some();
                call = call.set_add_security_group_ids(add).set_remove_security_group_ids(remove);
            }
            if changed("private_dns") {
                anything = true;
                call = call.set_private_dns_enabled(wanted.private_dns);
            }
            if changed("policy") {
                anything = true;
                call = match &wanted.policy {
                    Some(policy) => call.policy_document(policy.as_str()),
                    None => call.reset_policy(true),
                };
            }
            // What an attempt whose answer was lost has done already is not asked for again.
            if anything {
                aws.calls.write("ec2:ModifyVpcEndpoint", || call.clone().send()).await?;
            }
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        match delete(aws, &known.id).await {
            Err(error) if error.is(ErrorClass::NotFound) => {
                // An emulator says so of the route of a table that was added later, and keeps the endpoint.
                let Some(left) = by_id(aws, &known.id).await?.filter(|left| !is_gone(left)) else { return Ok(()) };
                let tables = left.route_table_ids().to_vec();
                let call = aws.ec2.modify_vpc_endpoint().vpc_endpoint_id(&known.id);
                let call = call.set_remove_route_table_ids(Some(tables));
                aws.calls.write("ec2:ModifyVpcEndpoint", || call.clone().send()).await?;
                gone_is_fine(delete(aws, &known.id).await)
            }
            other => other,
        }
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let endpoint = by_id(aws, &known.id).await?;
        let state = endpoint.as_ref().map(state);
        if phase == Phase::Deleted {
            return Ok(match state.as_deref() {
                None | Some("deleted") => Progress::Done(Attributes::new()),
                Some(state) => Progress::Pending(state.to_owned()),
            });
        }
        match (endpoint, state.as_deref()) {
            // The owner of the service accepts it when they please: nothing is left to do here.
            (Some(endpoint), Some("available" | "pendingacceptance")) => Ok(Progress::Done(observe(&endpoint).outputs)),
            (Some(endpoint), Some(state @ ("failed" | "rejected" | "expired"))) => {
                let last = endpoint.last_error();
                let code = last.and_then(|error| error.code()).unwrap_or_default();
                let reason = last.and_then(|error| error.message()).or(endpoint.failure_reason());
                let message = match reason {
                    Some(reason) => format!("the endpoint is {state}: {reason}"),
                    None => format!("the endpoint is {state}"),
                };
                Err(CloudError::new(ErrorClass::Refused, "ec2:CreateVpcEndpoint", code, message))
            }
            (_, state) => Ok(ec2::when_available(state)),
        }
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let service = text(attributes, "service");
    let interface = text(attributes, "type") == "interface";
    let known = !template::is_unknown(&json!(service)) && !service.is_empty();
    if known && !interface && !GATEWAY_SERVICES.contains(&short_name(service)) {
        problems.push(
            Problem::at("type", format!("`{service}` has no gateway endpoint"))
                .help("set type = \"interface\"; gateways lead to s3, dynamodb and s3express"),
        );
        return problems;
    }
    let given = |attribute: &&&str| {
        attributes.get(**attribute).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    };
    let (title, foreign, own): (_, &[&str], _) = if interface {
        ("an interface endpoint", &["route_tables"], "subnets")
    } else {
        ("a gateway endpoint", &["subnets", "security_groups", "private_dns"], "route_tables")
    };
    for attribute in foreign.iter().filter(given) {
        problems.push(
            Problem::at(attribute, format!("{title} has no `{attribute}`"))
                .help(format!("leave it out and give `{own}`, or change `type`")),
        );
    }
    if let Some(policy) = attributes.get("policy") {
        check_policy(policy, &["policy"], PolicyUse::Resource, LONGEST_POLICY, &mut problems);
    }
    problems
}

async fn describe(aws: &Aws, call: DescribeVpcEndpointsFluentBuilder) -> Result<Vec<Ec2Endpoint>, CloudError> {
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeVpcEndpoints", send, |page| (page.vpc_endpoints, page.next_token)).await
}

/// The endpoints of these ids that there are. An id that is gone fails the whole call, and emulated clouds lack the
/// filter by ids; so where one of several is gone all endpoints are listed, of which a region has few.
async fn by_ids(aws: &Aws, ids: Vec<String>) -> Result<Vec<Ec2Endpoint>, CloudError> {
    let alone = ids.len() == 1;
    match describe(aws, aws.ec2.describe_vpc_endpoints().set_vpc_endpoint_ids(Some(ids))).await {
        Err(error) if error.is(ErrorClass::NotFound) && alone => Ok(Vec::new()),
        Err(error) if error.is(ErrorClass::NotFound) => describe(aws, aws.ec2.describe_vpc_endpoints()).await,
        other => other,
    }
}

async fn delete(aws: &Aws, id: &str) -> Result<(), CloudError> {
    const ACTION: &str = "ec2:DeleteVpcEndpoints";
    let call = || aws.ec2.delete_vpc_endpoints().vpc_endpoint_ids(id).send();
    aws.calls.write(ACTION, call).await.and_then(|answer| ec2::all_successful(ACTION, answer.unsuccessful()))
}

async fn by_id(aws: &Aws, id: &str) -> Result<Option<Ec2Endpoint>, CloudError> {
    Ok(ec2::of_id(by_ids(aws, vec![id.to_owned()]).await?, id, |one| one.vpc_endpoint_id()))
}

fn is_gone(endpoint: &Ec2Endpoint) -> bool {
    matches!(state(endpoint).as_str(), "deleted" | "deleting")
}

/// The state in lower case: the API reference writes `PendingAcceptance`, the API `pendingAcceptance`.
fn state(endpoint: &Ec2Endpoint) -> String {
    endpoint.state().map(|state| state.as_str().to_ascii_lowercase()).unwrap_or_default()
}

fn groups(endpoint: &Ec2Endpoint) -> Vec<String> {
    endpoint.groups().iter().filter_map(|group| group.group_id()).map(str::to_owned).collect()
}

fn observe(endpoint: &Ec2Endpoint) -> Observed {
    let id = endpoint.vpc_endpoint_id().unwrap_or_default().to_owned();
    let kind = endpoint.vpc_endpoint_type().map(|kind| kind.as_str().to_ascii_lowercase());
    let set = |ids: &[String]| json!(ids.iter().collect::<BTreeSet<_>>());
    let mut attributes = Attributes::from_iter([
        ("vpc".into(), json!(endpoint.vpc_id())),
        ("service".into(), json!(endpoint.service_name().map(short_name))),
        ("type".into(), json!(kind)),
        ("route_tables".into(), set(endpoint.route_table_ids())),
        ("subnets".into(), set(endpoint.subnet_ids())),
        ("tags".into(), ec2::tags(endpoint.tags())),
    ]);
    if kind.as_deref() == Some("interface") {
        if let Some(on) = endpoint.private_dns_enabled() {
            attributes.insert("private_dns".into(), json!(on));
        }
        if endpoint.groups.is_some() {
            attributes.insert("security_groups".into(), set(&groups(endpoint)));
        }
    }
    if let Some(policy) = endpoint.policy_document().map(PolicyDocument::new) {
        // That everything is allowed is the answer where no policy was given.
        let policy = (policy != PolicyDocument::new(NO_POLICY)).then_some(policy);
        attributes.insert("policy".into(), json!(policy));
    }
    let dns_name = endpoint.dns_entries().first().and_then(|entry| entry.dns_name());
    let outputs = Attributes::from_iter([("id".into(), json!(id)), ("dns_name".into(), json!(dns_name))]);
    Observed { id, attributes, outputs }
}

/// What to add to a list and what to remove from it, for a call that takes both.
fn difference(current: &[String], wanted: &BTreeSet<String>) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
    let add = wanted.iter().filter(|id| !current.contains(id)).cloned().collect();
    let remove = current.iter().filter(|id| !wanted.contains(*id)).cloned().collect();
    (some(add), some(remove))
}

/// The security group that a VPC has of itself.
async fn default_group(aws: &Aws, vpc: &str) -> Result<String, CloudError> {
    const ACTION: &str = "ec2:DescribeSecurityGroups";
    let call = aws.ec2.describe_security_groups().filters(ec2::filter("vpc-id", vpc));
    let call = call.filters(ec2::filter("group-name", "default"));
    let answer = aws.calls.read(ACTION, || call.clone().send()).await?;
    let id = answer.security_groups().first().and_then(|group| group.group_id());
    id.map(str::to_owned).ok_or_else(|| CloudError::unexpected(ACTION, format!("{vpc} has no default security group")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_short_names() {
        for (full, short) in [
            ("com.amazonaws.eu-west-2.s3", "s3"),
            ("com.amazonaws.us-gov-west-1.ecr.api", "ecr.api"),
            ("com.amazonaws.vpce.eu-west-2.vpce-svc-1", "com.amazonaws.vpce.eu-west-2.vpce-svc-1"),
            ("com.amazonaws.s3-global.accesspoint", "com.amazonaws.s3-global.accesspoint"),
            ("aws.sagemaker.eu-west-2.notebook", "aws.sagemaker.eu-west-2.notebook"),
            ("cn.com.amazonaws.cn-north-1.ec2", "cn.com.amazonaws.cn-north-1.ec2"),
        ] {
            assert_eq!(short_name(full), short);
        }
        assert_eq!(full_name("ecr.api", "eu-west-2"), "com.amazonaws.eu-west-2.ecr.api");
        let theirs = "com.amazonaws.vpce.eu-west-2.vpce-svc-1";
        assert_eq!(full_name(theirs, "eu-west-1"), theirs);
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let problems = |value: serde_json::Value| {
            let serde_json::Value::Object(map) = value else { return Vec::new() };
            check(&map).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(problems(json!({ "service": "ecr.api" })), ["`ecr.api` has no gateway endpoint"]);
        assert_eq!(
            problems(json!({ "service": "s3", "subnets": ["subnet-1"], "security_groups": [] })),
            ["a gateway endpoint has no `subnets`"]
        );
        assert_eq!(
            problems(json!({ "service": "s3", "type": "interface", "route_tables": ["rtb-1"] })),
            ["an interface endpoint has no `route_tables`"]
        );
        assert!(problems(json!({ "service": "${vars.service}", "route_tables": ["rtb-1"] })).is_empty());
    }
}
