//! `load_balancer`: an application or network load balancer.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    IpAddressType as ElbAddressType, LoadBalancer as Elb, LoadBalancerAttribute, LoadBalancerSchemeEnum,
    LoadBalancerStateEnum, LoadBalancerTypeEnum,
};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::elbv2::{self, Settings, changed_settings};
use super::{Actions, Kind, Tags, Taking, gone_is_fine, in_order, is_own, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};

/// A load balancer: one address for many services, each behind rules of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// Its name, unique in the account and region, up to 32 characters. Without one it is named after the stack and its
    /// place in it.
    #[serde(default)]
    pub name: String,
    /// What it understands.
    #[serde(default)]
    pub r#type: Type,
    /// Whether it is reached from inside of the VPC alone.
    #[serde(default)]
    pub internal: bool,
    /// The subnets it is in, one a zone; an application load balancer needs two zones.
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnets: BTreeSet<String>,
    /// Its security groups. A network load balancer made without any never gets one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub security_groups: BTreeSet<String>,
    /// The addresses it has.
    #[serde(default)]
    pub addresses: Addresses,
    /// Seconds after which a quiet connection is closed, 1 to 4000; of application load balancers. Without it: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u32>,
    /// Whether AWS refuses to delete it.
    #[serde(default)]
    pub deletion_protection: bool,
    /// Whether each of its addresses sends to targets in all zones. Without it: application load balancers do, network
    /// load balancers do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_zone: Option<bool>,
    /// Whether it speaks HTTP/2 with clients; of application load balancers. Without it: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<bool>,
    /// Whether headers that are not valid are dropped; of application load balancers. Without it: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_invalid_headers: Option<bool>,
    /// The bucket that requests are logged to. Its policy must let Elastic Load Balancing write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_logs: Option<AccessLogs>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What a load balancer understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// HTTP and HTTPS.
    #[default]
    Application,
    /// TCP, UDP and TLS.
    Network,
}

/// The addresses of a load balancer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Addresses {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv4 and IPv6.
    Dualstack,
}

/// Where requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLogs {
    /// The bucket.
    pub bucket: String,
    /// What the names of its objects begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

impl LoadBalancer {
    /// AWS's defaults filled in ("LoadBalancerAttribute"), so that what somebody changes is seen where nothing is said, too.
    fn normalize(&mut self) {
        match self.r#type {
            Type::Application => {
                self.idle_timeout_seconds.get_or_insert(60);
                self.http2.get_or_insert(true);
                self.drop_invalid_headers.get_or_insert(false);
            }
            Type::Network => {
                self.cross_zone.get_or_insert(false);
            }
        }
    }

    /// Its settings by AWS's keys ("LoadBalancerAttribute"); with AWS's defaults for what is not said, so that what was
    /// said before is taken back.
    fn settings(&self) -> Settings {
        let application = self.r#type == Type::Application;
        let yes = |on: bool| on.to_string();
        let mut out = Settings::from([("deletion_protection.enabled", yes(self.deletion_protection))]);
        if application {
            out.insert("idle_timeout.timeout_seconds", self.idle_timeout_seconds.unwrap_or(60).to_string());
            out.insert("routing.http2.enabled", yes(self.http2.unwrap_or(true)));
            out.insert(
                "routing.http.drop_invalid_header_fields.enabled",
                yes(self.drop_invalid_headers.unwrap_or(false)),
            );
        } else {
            out.insert("load_balancing.cross_zone.enabled", yes(self.cross_zone.unwrap_or(false)));
        }
        out.insert("access_logs.s3.enabled", yes(self.access_logs.is_some()));
        if let Some(logs) = &self.access_logs {
            out.insert("access_logs.s3.bucket", logs.bucket.clone());
            out.insert("access_logs.s3.prefix", logs.prefix.clone().unwrap_or_default());
        }
        out
    }
}

/// Whether a step sets settings: where they are not those that AWS gives a new one, or change.
fn sets(taking: &Taking<'_>) -> bool {
    let Ok(after) = typed::<LoadBalancer>(taking.after) else { return true };
    match typed::<LoadBalancer>(taking.before) {
        Ok(before) if !taking.creates() => !changed_settings(&before.settings(), &after.settings()).is_empty(),
        _ => !changed_settings(&usual_settings(after.r#type), &after.settings()).is_empty(),
    }
}

fn usual_settings(of: Type) -> Settings {
    let plain = LoadBalancer {
        name: String::new(),
        r#type: of,
        internal: false,
        subnets: BTreeSet::new(),
        security_groups: BTreeSet::new(),
        addresses: Addresses::Ipv4,
        idle_timeout_seconds: None,
        deletion_protection: false,
        cross_zone: None,
        http2: None,
        drop_invalid_headers: None,
        access_logs: None,
        tags: Tags::new(),
    };
    plain.settings()
}

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut balancer: LoadBalancer =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    balancer.normalize();
    Ok(super::untyped(&balancer))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(balancer) = serde_json::from_value::<LoadBalancer>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    elbv2::check_name(attributes, &mut problems);
    let application = balancer.r#type == Type::Application;
    let references = balancer.subnets.iter().any(|subnet| subnet.contains("${"));
    if application && balancer.subnets.len() < 2 && !references {
        let message = "an application load balancer needs subnets in two zones";
        problems.push(Problem::at("subnets", message).help("name one more, in another zone"));
    }
    if balancer.idle_timeout_seconds.is_some_and(|seconds| !(1..=4000).contains(&seconds)) {
        problems.push(Problem::at("idle_timeout_seconds", "AWS takes 1 to 4000 seconds"));
    }
    let mut only = |field: &str, given: bool, of: &str| {
        if given {
            let message = format!("it is a setting of {of} load balancers");
            problems.push(Problem::at(field, message).help("take it out"));
        }
    };
    if application {
        only("cross_zone", balancer.cross_zone == Some(false), "network");
    } else {
        only("idle_timeout_seconds", balancer.idle_timeout_seconds.is_some(), "application");
        only("http2", balancer.http2.is_some(), "application");
        only("drop_invalid_headers", balancer.drop_invalid_headers.is_some(), "application");
    }
    problems
}

/// The kind `load_balancer`.
pub struct LoadBalancerKind;

#[async_trait]
impl Kind for LoadBalancerKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "type", "internal"],
            rebuilt_around: &["subnet"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn", "dns_name", "zone_id", "arn_suffix"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: elbv2::LONGEST_NAME }),
            name_digests: &["type", "internal"],
            canonical,
            check,
            // An application load balancer is ready in two to three minutes.
            typical_seconds: 150,
            ..spec::<LoadBalancer>("load_balancer", "load balancer")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeLoadBalancerAttributes",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            create: &[
                "elasticloadbalancing:CreateLoadBalancer",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "iam:CreateServiceLinkedRole",
                "elasticloadbalancing:DescribeLoadBalancers",
            ],
            update: &[
                "elasticloadbalancing:SetSubnets",
                "elasticloadbalancing:SetSecurityGroups",
                "elasticloadbalancing:SetIpAddressType",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:DescribeLoadBalancers",
            ],
            delete: &["elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DescribeLoadBalancers"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "elasticloadbalancing:ModifyLoadBalancerAttributes" => sets(taking),
            "elasticloadbalancing:SetSubnets" => taking.changes(&["subnets"]),
            "elasticloadbalancing:SetSecurityGroups" => taking.changes(&["security_groups"]),
            "elasticloadbalancing:SetIpAddressType" => taking.changes(&["addresses"]),
            // All there are, to see whose they are.
            "elasticloadbalancing:DescribeListeners"
            | "elasticloadbalancing:DescribeRules"
            | "elasticloadbalancing:DescribeTargetGroups" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = elbv2::by_arn(&arns, |some| describe(aws, By::Arns(some))).await?;
        Ok(in_order(wanted, observe(aws, &found).await?))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        elbv2::owned(aws, "loadbalancer").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let name = text(&lost.request.attributes, "name").to_owned();
        let found = match describe(aws, By::Name(name)).await {
            Err(error) if error.is(ErrorClass::NotFound) => Vec::new(),
            other => other?,
        };
        Ok(observe(aws, &found).await?.into_iter().find(|one| is_own(one, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let balancer: LoadBalancer = typed(&request.attributes)?;
        let scheme =
            if balancer.internal { LoadBalancerSchemeEnum::Internal } else { LoadBalancerSchemeEnum::InternetFacing };
        let of = match balancer.r#type {
            Type::Application => LoadBalancerTypeEnum::Application,
            Type::Network => LoadBalancerTypeEnum::Network,
        };
        let groups: Vec<String> = balancer.security_groups.iter().cloned().collect();
        let answer = aws
            .calls
            .create("elasticloadbalancing:CreateLoadBalancer", || {
                aws.elb
                    .create_load_balancer()
                    .name(&balancer.name)
                    .r#type(of.clone())
                    .scheme(scheme.clone())
                    .set_subnets(Some(balancer.subnets.iter().cloned().collect()))
                    .set_security_groups((!groups.is_empty()).then(|| groups.clone()))
                    .ip_address_type(address_type(balancer.addresses))
                    .set_tags(Some(elbv2::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.load_balancers().first().map(outputs).unwrap_or_default();
        Ok(Created { id: text(&made, "arn").to_owned(), outputs: made })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let balancer: LoadBalancer = typed(&request.attributes)?;
        set(aws, id, &changed_settings(&usual_settings(balancer.r#type), &balancer.settings())).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let (before, after): (LoadBalancer, LoadBalancer) = (typed(&request.before)?, typed(&elbv2::wanted(request))?);
        let arn = &request.id;
        if request.changed.contains("addresses") && after.addresses == Addresses::Ipv4 {
            set_addresses(aws, arn, after.addresses).await?;
        }
        if request.changed.contains("subnets") {
            let subnets: Vec<String> = after.subnets.iter().cloned().collect();
            let call = || aws.elb.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets.clone())).send();
            aws.calls.write("elasticloadbalancing:SetSubnets", call).await?;
        }
        // Only now do all of its subnets have both sorts of addresses.
        if request.changed.contains("addresses") && after.addresses == Addresses::Dualstack {
            set_addresses(aws, arn, after.addresses).await?;
        }
        if request.changed.contains("security_groups") {
            let groups: Vec<String> = after.security_groups.iter().cloned().collect();
            let call = || {
                aws.elb.set_security_groups().load_balancer_arn(arn).set_security_groups(Some(groups.clone())).send()
            };
            aws.calls.write("elasticloadbalancing:SetSecurityGroups", call).await?;
        }
        set(aws, arn, &changed_settings(&before.settings(), &after.settings())).await?;
        elbv2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        if known.attributes.get("deletion_protection") == Some(&json!(true)) {
            let message = format!("load balancer `{}` is protected from deletion", text(&known.attributes, "name"));
            let call = "elasticloadbalancing:DeleteLoadBalancer";
            return Err(CloudError::new(ErrorClass::Refused, call, "OperationNotPermitted", message)
                .help("write deletion_protection = false and apply that first"));
        }
        let call = || aws.elb.delete_load_balancer().load_balancer_arn(&known.id).send();
        gone_is_fine(aws.calls.write("elasticloadbalancing:DeleteLoadBalancer", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = match describe(aws, By::Arns(vec![known.id.clone()])).await {
            Err(error) if error.is(ErrorClass::NotFound) => None,
            other => other?.pop(),
        };
        let state = found.as_ref().and_then(Elb::state);
        match (phase, state.and_then(|state| state.code())) {
            (Phase::Deleted, None) => Ok(Progress::Done(Attributes::new())),
            (Phase::Deleted, Some(_)) => Ok(Progress::Pending("deletion".into())),
            (_, Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired)) => {
                Ok(Progress::Done(found.as_ref().map(outputs).unwrap_or_default()))
            }
            (_, Some(LoadBalancerStateEnum::Failed)) => {
                let reason = state.and_then(|state| state.reason()).unwrap_or("AWS gives no reason");
                let message = format!("the load balancer could not be set up: {reason}");
                Err(CloudError::unexpected("elasticloadbalancing:DescribeLoadBalancers", message))
            }
            (_, Some(code)) => Ok(Progress::Pending(code.as_str().to_owned())),
            (_, None) => Ok(Progress::Pending("the load balancer to be visible".into())),
        }
    }
}

enum By {
    Arns(Vec<String>),
    Name(String),
}

async fn describe(aws: &Aws, by: By) -> Result<Vec<Elb>, CloudError> {
    let call = match by {
        By::Arns(arns) => aws.elb.describe_load_balancers().set_load_balancer_arns(Some(arns)),
        By::Name(name) => aws.elb.describe_load_balancers().names(name),
    };
    let answer = aws.calls.read("elasticloadbalancing:DescribeLoadBalancers", || call.clone().send()).await?;
    Ok(answer.load_balancers.unwrap_or_default())
}

async fn settings_of(aws: &Aws, arn: &str) -> Result<HashMap<String, String>, CloudError> {
    let call = || aws.elb.describe_load_balancer_attributes().load_balancer_arn(arn).send();
    let answer = aws.calls.read("elasticloadbalancing:DescribeLoadBalancerAttributes", call).await;
    match answer {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(HashMap::new()),
        answer => Ok(answer?
            .attributes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|one| Some((one.key?, one.value.unwrap_or_default())))
            .collect()),
    }
}

async fn set(aws: &Aws, arn: &str, settings: &Settings) -> Result<(), CloudError> {
    if settings.is_empty() {
        return Ok(());
    }
    let all: Vec<LoadBalancerAttribute> =
        settings.iter().map(|(key, value)| LoadBalancerAttribute::builder().key(*key).value(value).build()).collect();
    let call =
        || aws.elb.modify_load_balancer_attributes().load_balancer_arn(arn).set_attributes(Some(all.clone())).send();
    aws.calls.write("elasticloadbalancing:ModifyLoadBalancerAttributes", call).await?;
    Ok(())
}

async fn set_addresses(aws: &Aws, arn: &str, addresses: Addresses) -> Result<(), CloudError> {
    let call = || aws.elb.set_ip_address_type().load_balancer_arn(arn).ip_address_type(address_type(addresses)).send();
    aws.calls.write("elasticloadbalancing:SetIpAddressType", call).await?;
    Ok(())
}

fn address_type(addresses: Addresses) -> ElbAddressType {
    match addresses {
        Addresses::Ipv4 => ElbAddressType::Ipv4,
        Addresses::Dualstack => ElbAddressType::Dualstack,
    }
}

fn outputs(balancer: &Elb) -> Attributes {
    let arn = balancer.load_balancer_arn().unwrap_or_default();
    Attributes::from_iter([
        ("id".to_owned(), json!(arn)),
        ("arn".to_owned(), json!(arn)),
        ("dns_name".to_owned(), json!(balancer.dns_name())),
        ("zone_id".to_owned(), json!(balancer.canonical_hosted_zone_id())),
        ("arn_suffix".to_owned(), json!(elbv2::suffix(arn))),
    ])
}

async fn observe(aws: &Aws, found: &[Elb]) -> Result<Vec<Observed>, CloudError> {
    let arns: Vec<String> = found.iter().filter_map(Elb::load_balancer_arn).map(str::to_owned).collect();
    let mut tags = elbv2::tags(aws, &arns).await?;
    let settings = try_join_all(arns.iter().map(|arn| settings_of(aws, arn))).await?;
    let one = |(balancer, settings): (&Elb, &HashMap<String, String>)| {
        let id = balancer.load_balancer_arn().unwrap_or_default().to_owned();
        let mut attributes = observed(balancer, settings);
        if let Some(tags) = tags.remove(&id) {
            attributes.insert("tags".into(), tags);
        }
        Observed { id, attributes, outputs: outputs(balancer) }
    };
    Ok(found.iter().zip(&settings).map(one).collect())
}

fn observed(balancer: &Elb, settings: &HashMap<String, String>) -> Attributes {
    let application = balancer.r#type() != Some(&LoadBalancerTypeEnum::Network);
    let subnets: BTreeSet<&str> = balancer.availability_zones().iter().filter_map(|zone| zone.subnet_id()).collect();
    let groups: BTreeSet<&String> = balancer.security_groups().iter().collect();
    let internal = balancer.scheme() == Some(&LoadBalancerSchemeEnum::Internal);
    let dual = balancer.ip_address_type() == Some(&ElbAddressType::Dualstack);
    let mut out = Attributes::from_iter([
        ("name".to_owned(), json!(balancer.load_balancer_name())),
        ("type".to_owned(), json!(if application { Type::Application } else { Type::Network })),
        ("internal".to_owned(), json!(internal)),
        ("subnets".to_owned(), json!(subnets)),
        ("security_groups".to_owned(), json!(groups)),
        ("addresses".to_owned(), json!(if dual { Addresses::Dualstack } else { Addresses::Ipv4 })),
    ]);
    let on = |key: &str| settings.get(key).map(|value| json!(value == "true"));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("deletion_protection", on("deletion_protection.enabled"));
    if application {
        let timeout = settings.get("idle_timeout.timeout_seconds").and_then(|seconds| seconds.parse::<u32>().ok());
        put("idle_timeout_seconds", timeout.map(Value::from));
        put("http2", on("routing.http2.enabled"));
        put("drop_invalid_headers", on("routing.http.drop_invalid_header_fields.enabled"));
    } else {
        put("cross_zone", on("load_balancing.cross_zone.enabled"));
    }
    let text = |key: &str| settings.get(key).filter(|text| !text.is_empty()).cloned();
    match on("access_logs.s3.enabled") {
        Some(Value::Bool(true)) => {
            let bucket = text("access_logs.s3.bucket").unwrap_or_default();
            put("access_logs", Some(json!(AccessLogs { bucket, prefix: text("access_logs.s3.prefix") })));
        }
        Some(_) => put("access_logs", Some(Value::Null)),
        None => {}
    }
    out
}
