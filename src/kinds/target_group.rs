//! `target_group`: where a load balancer sends what it takes in, and how it finds out who is healthy.

mod attributes;
mod check;

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup as Group, TargetGroupAttribute, TargetTypeEnum,
};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::elbv2::{self, Settings, changed_settings};
use super::{Actions, Kind, Taking, gone_is_fine, in_order, is_own, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};

use attributes::usual_settings;
pub use attributes::{Algorithm, HealthCheck, Protocol, Stickiness, TargetGroup, Targets, Version};
use check::check;

fn canonical(attributes: Attributes) -> Result<Attributes, Problem> {
    let mut group: TargetGroup =
        serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem::at("", error.to_string()))?;
    group.normalize();
    Ok(super::untyped(&group))
}

/// Whether a step sets settings: where they are not those that AWS gives a new one, or change.
fn sets(taking: &Taking<'_>) -> bool {
    let Ok(after) = typed::<TargetGroup>(taking.after) else { return true };
    match typed::<TargetGroup>(taking.before) {
        Ok(before) if !taking.creates() => !changed_settings(&before.settings(), &after.settings()).is_empty(),
        _ => !changed_settings(&usual_settings(&after), &after.settings()).is_empty(),
    }
}

/// The kind `target_group`.
pub struct TargetGroupKind;

#[async_trait]
impl Kind for TargetGroupKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "vpc", "targets", "protocol", "port", "version"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn", "arn_suffix"],
            needs_only_existence: &["vpc"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: elbv2::LONGEST_NAME }),
            name_digests: &["vpc", "targets", "protocol", "port", "version"],
            canonical,
            check,
            typical_seconds: 1,
            ..spec::<TargetGroup>("target_group", "target group")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
            ],
            create: &[
                "elasticloadbalancing:CreateTargetGroup",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
            ],
            update: &[
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
            ],
            delete: &["elasticloadbalancing:DeleteTargetGroup"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "elasticloadbalancing:ModifyTargetGroup" => taking.changes(&["health_check"]),
            "elasticloadbalancing:ModifyTargetGroupAttributes" => sets(taking),
            // All there are, to see whose they are.
            "elasticloadbalancing:DescribeLoadBalancers"
            | "elasticloadbalancing:DescribeListeners"
            | "elasticloadbalancing:DescribeRules" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let arns: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = elbv2::by_arn(&arns, |some| describe(aws, By::Arns(some))).await?;
        Ok(in_order(wanted, observe(aws, &found).await?))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        elbv2::owned(aws, "targetgroup").await
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
        let group: TargetGroup = typed(&request.attributes)?;
        let check = &group.health_check;
        let answer = aws
            .calls
            .create("elasticloadbalancing:CreateTargetGroup", || {
                aws.elb
                    .create_target_group()
                    .name(&group.name)
                    .vpc_id(&group.vpc)
                    .target_type(match group.targets {
                        Targets::Ip => TargetTypeEnum::Ip,
                        Targets::Instance => TargetTypeEnum::Instance,
                    })
                    .protocol(ProtocolEnum::from(group.protocol.as_str()))
                    .port(i32::from(group.port))
                    .set_protocol_version(group.version.map(|version| version.as_str().to_owned()))
                    .set_health_check_protocol(check.protocol.map(|one| ProtocolEnum::from(one.as_str())))
                    .health_check_port(port_of(check))
                    .set_health_check_path(check.path.clone())
                    .set_health_check_interval_seconds(check.interval_seconds.map(number))
                    .set_health_check_timeout_seconds(check.timeout_seconds.map(number))
                    .set_healthy_threshold_count(check.healthy.map(number))
                    .set_unhealthy_threshold_count(check.unhealthy.map(number))
                    .set_matcher(matcher(&group))
                    .set_tags(Some(elbv2::new_tags(request)))
                    .send()
            })
            .await?;
        let made = answer.target_groups().first().map(outputs).unwrap_or_default();
        Ok(Created { id: text(&made, "arn").to_owned(), outputs: made })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let group: TargetGroup = typed(&request.attributes)?;
        set(aws, id, &changed_settings(&usual_settings(&group), &group.settings())).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let (before, after): (TargetGroup, TargetGroup) = (typed(&request.before)?, typed(&elbv2::wanted(request))?);
        if request.changed.contains("health_check") {
            let check = &after.health_check;
            aws.calls
                .write("elasticloadbalancing:ModifyTargetGroup", || {
                    aws.elb
                        .modify_target_group()
                        .target_group_arn(&request.id)
                        .set_health_check_protocol(check.protocol.map(|one| ProtocolEnum::from(one.as_str())))
                        .health_check_port(port_of(check))
                        .set_health_check_path(check.path.clone())
                        .set_health_check_interval_seconds(check.interval_seconds.map(number))
                        .set_health_check_timeout_seconds(check.timeout_seconds.map(number))
                        .set_healthy_threshold_count(check.healthy.map(number))
                        .set_unhealthy_threshold_count(check.unhealthy.map(number))
                        .set_matcher(matcher(&after))
                        .send()
                })
                .await?;
        }
        set(aws, &request.id, &changed_settings(&before.settings(), &after.settings())).await?;
        elbv2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while a listener or rule sends there, which passes.
        let call = || aws.elb.delete_target_group().target_group_arn(&known.id).send();
        gone_is_fine(aws.calls.write("elasticloadbalancing:DeleteTargetGroup", call).await.map(|_| ()))
    }
}

enum By {
    Arns(Vec<String>),
    Name(String),
}

async fn describe(aws: &Aws, by: By) -> Result<Vec<Group>, CloudError> {
    let call = match by {
        By::Arns(arns) => aws.elb.describe_target_groups().set_target_group_arns(Some(arns)),
        By::Name(name) => aws.elb.describe_target_groups().names(name),
    };
    let answer = aws.calls.read("elasticloadbalancing:DescribeTargetGroups", || call.clone().send()).await?;
    Ok(answer.target_groups.unwrap_or_default())
}

async fn settings_of(aws: &Aws, arn: &str) -> Result<HashMap<String, String>, CloudError> {
    let call = || aws.elb.describe_target_group_attributes().target_group_arn(arn).send();
    let answer = aws.calls.read("elasticloadbalancing:DescribeTargetGroupAttributes", call).await;
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
    let all: Vec<TargetGroupAttribute> =
        settings.iter().map(|(key, value)| TargetGroupAttribute::builder().key(*key).value(value).build()).collect();
    let call =
        || aws.elb.modify_target_group_attributes().target_group_arn(arn).set_attributes(Some(all.clone())).send();
    aws.calls.write("elasticloadbalancing:ModifyTargetGroupAttributes", call).await?;
    Ok(())
}

/// The port of a health check as AWS takes it ("CreateTargetGroup": `HealthCheckPort`).
fn port_of(check: &HealthCheck) -> String {
    check.port.map_or_else(|| TRAFFIC_PORT.to_owned(), |port| port.to_string())
}

const TRAFFIC_PORT: &str = "traffic-port";

fn matcher(group: &TargetGroup) -> Option<Matcher> {
    let codes = group.health_check.success.as_ref()?;
    Some(match group.version {
        Some(Version::Grpc) => Matcher::builder().grpc_code(codes).build(),
        _ => Matcher::builder().http_code(codes).build(),
    })
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn outputs(group: &Group) -> Attributes {
    let arn = group.target_group_arn().unwrap_or_default();
    Attributes::from_iter([
        ("id".to_owned(), json!(arn)),
        ("arn".to_owned(), json!(arn)),
        ("arn_suffix".to_owned(), json!(elbv2::suffix(arn))),
    ])
}

async fn observe(aws: &Aws, found: &[Group]) -> Result<Vec<Observed>, CloudError> {
    let arns: Vec<String> = found.iter().filter_map(Group::target_group_arn).map(str::to_owned).collect();
    let mut tags = elbv2::tags(aws, &arns).await?;
    let settings = try_join_all(arns.iter().map(|arn| settings_of(aws, arn))).await?;
    let one = |(group, settings): (&Group, &HashMap<String, String>)| {
        let id = group.target_group_arn().unwrap_or_default().to_owned();
        let mut attributes = observed(group, settings);
        if let Some(tags) = tags.remove(&id) {
            attributes.insert("tags".into(), tags);
        }
        Observed { id, attributes, outputs: outputs(group) }
    };
    Ok(found.iter().zip(&settings).map(one).collect())
}

fn observed(group: &Group, settings: &HashMap<String, String>) -> Attributes {
    let positive = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let protocol = group.protocol().and_then(|one| Protocol::parse(one.as_str()));
    let http = protocol.is_some_and(Protocol::is_http);
    let how = group.health_check_protocol().and_then(|one| Protocol::parse(one.as_str()));
    let over_http = how.is_some_and(Protocol::is_http);
    let matcher = group.matcher().and_then(|one| one.http_code().or(one.grpc_code()));
    let check = HealthCheck {
        protocol: how,
        path: group.health_check_path().filter(|path| over_http && !path.is_empty()).map(str::to_owned),
        port: group.health_check_port().and_then(|port| port.parse().ok()),
        interval_seconds: positive(group.health_check_interval_seconds()),
        timeout_seconds: positive(group.health_check_timeout_seconds()),
        healthy: positive(group.healthy_threshold_count()),
        unhealthy: positive(group.unhealthy_threshold_count()),
        success: matcher.filter(|codes| over_http && !codes.is_empty()).map(str::to_owned),
    };
    let instance = group.target_type() == Some(&TargetTypeEnum::Instance);
    let mut out = Attributes::from_iter([
        ("name".to_owned(), json!(group.target_group_name())),
        ("vpc".to_owned(), json!(group.vpc_id())),
        ("targets".to_owned(), json!(if instance { Targets::Instance } else { Targets::Ip })),
        ("protocol".to_owned(), json!(protocol)),
        ("port".to_owned(), json!(group.port())),
        ("health_check".to_owned(), json!(check)),
    ]);
    let version = [Version::Http1, Version::Http2, Version::Grpc];
    let version = group.protocol_version().and_then(|found| version.into_iter().find(|one| one.as_str() == found));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("version", version.map(|version| json!(version)));
    let number = |key: &str| settings.get(key).and_then(|text| text.parse::<u32>().ok());
    let delay = number("deregistration_delay.timeout_seconds");
    put("deregistration_delay_seconds", delay.map(Value::from));
    let stickiness = |kind: &str| match kind {
        "app_cookie" => Stickiness {
            by: Some(attributes::By::Cookie),
            cookie: settings.get("stickiness.app_cookie.cookie_name").cloned(),
            duration_seconds: number("stickiness.app_cookie.duration_seconds"),
        },
        "lb_cookie" => Stickiness {
            by: Some(attributes::By::Cookie),
            cookie: None,
            duration_seconds: number("stickiness.lb_cookie.duration_seconds"),
        },
        _ => Stickiness { by: Some(attributes::By::Address), cookie: None, duration_seconds: None },
    };
    match settings.get("stickiness.enabled").map(String::as_str) {
        Some("true") => {
            let kind = settings.get("stickiness.type").map(String::as_str).unwrap_or_default();
            put("stickiness", Some(json!(stickiness(kind))));
        }
        Some(_) => put("stickiness", Some(Value::Null)),
        None => {}
    }
    if http {
        let slow = number("slow_start.duration_seconds");
        put("slow_start_seconds", slow.map(Value::from));
        let algorithm = settings.get("load_balancing.algorithm.type");
        let algorithm = algorithm.and_then(|found| Algorithm::ALL.into_iter().find(|one| one.as_str() == found));
        put("algorithm", algorithm.map(|algorithm| json!(algorithm)));
    } else {
        let preserve = settings.get("preserve_client_ip.enabled");
        put("preserve_client_ip", preserve.map(|value| json!(value == "true")));
    }
    out
}
