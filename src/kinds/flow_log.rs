//! `flow_log`: a record of the traffic of a VPC or subnet.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    Filter, FlowLog as Ec2FlowLog, FlowLogsResourceType, LogDestinationType, ResourceType, TrafficType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, canonical, ec2, gone_is_fine, in_order, owned, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Problem, template};

/// The fields of a record where no format is given ("Flow log records", the default format, version 2).
const DEFAULT_FORMAT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
                              start end action log-status";

/// The spans that records can cover, in seconds ("CreateFlowLogs").
const INTERVALS: [u32; 2] = [60, 600];

/// A record of the traffic of a VPC or a subnet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowLog {
    /// The VPC whose traffic is recorded: its name in the stack, a reference or an id. Or `subnet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: Option<String>,
    /// The subnet whose traffic is recorded: its name in the stack, a reference or an id. Or `vpc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnet: Option<String>,
    /// Which traffic is recorded.
    #[serde(default)]
    pub traffic: Traffic,
    /// The log group that the records go to, with `role`: its name in the stack, a reference or an ARN. Or `bucket_arn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "log_group.arn"))]
    pub log_group: Option<String>,
    /// The ARN of the S3 bucket that the records go to, or of a folder in it: `"arn:aws:s3:::my-logs/vpc/"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_arn: Option<String>,
    /// The role that writes to the log group: its name in the stack, a reference or an ARN. The service
    /// `vpc-flow-logs.amazonaws.com` must be allowed to assume it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "role.arn"))]
    pub role: Option<String>,
    /// The fields of a record, in order: `"version vpc-id srcaddr dstaddr action"`. AWS's default ones, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The seconds that a record covers: 60 or 600.
    #[serde(default = "ten_minutes")]
    pub interval_seconds: u32,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Which traffic is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// All of it.
    #[default]
    All,
    /// What was let through.
    Accept,
    /// What was not.
    Reject,
}

fn ten_minutes() -> u32 {
    600
}

/// The fields of a format by their bare names: AWS's `${version} ${vpc-id}` would be references in a stack.
fn bare_format(format: &str) -> String {
    let bare = |field: &str| field.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}').to_owned();
    format.split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
}

/// A format in AWS's notation.
fn aws_format(format: &str) -> String {
    format.split_whitespace().map(|field| format!("${{{field}}}")).collect::<Vec<_>>().join(" ")
}

/// A log group's ARN without the `:*` for its streams, which some calls add.
fn group_arn(arn: &str) -> &str {
    arn.strip_suffix(":*").unwrap_or(arn)
}

/// The kind `flow_log`.
pub struct FlowLogKind;

#[async_trait]
impl Kind for FlowLogKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            // Only tags can be changed ("Work with flow logs").
            replace_on: &["vpc", "subnet", "traffic", "log_group", "bucket_arn", "role", "format", "interval_seconds"],
            identity: Identity::ClientToken,
            canonical: |attributes| {
                let attributes = canonical::<FlowLog>(attributes)?;
                let Ok(mut log) = typed::<FlowLog>(&attributes) else { return Ok(attributes) };
                log.format = log.format.map(|format| bare_format(&format)).filter(|format| format != DEFAULT_FORMAT);
                log.log_group = log.log_group.map(|arn| group_arn(&arn).to_owned());
                Ok(untyped(&log))
            },
            check,
            ..spec::<FlowLog>("flow_log", "flow log")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeFlowLogs", "ec2:DescribeTags"],
            // For a bucket the log delivery is made on the caller's behalf ("Publish flow logs to Amazon S3").
            create: &["ec2:CreateFlowLogs", "ec2:CreateTags", "iam:PassRole", "logs:CreateLogDelivery"],
            update: &["ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:DeleteFlowLogs", "logs:DeleteLogDelivery"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("flow-log-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(|log| observe(aws, log)));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "fl-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        let is_it = |one: &&Ec2FlowLog| ec2::has_token(one.tags(), &lost.request.token);
        Ok(found.iter().find(is_it).map(|log| observe(aws, log)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        const ACTION: &str = "ec2:CreateFlowLogs";
        let wanted: FlowLog = typed(&request.attributes)?;
        let (resource_type, resource) = match (&wanted.vpc, &wanted.subnet) {
            (Some(vpc), _) => (FlowLogsResourceType::Vpc, vpc),
            (None, Some(subnet)) => (FlowLogsResourceType::Subnet, subnet),
            (None, None) => return Err(CloudError::unexpected(ACTION, "neither a VPC nor a subnet is given")),
        };
        let (destination_type, destination) = match &wanted.log_group {
            Some(group) => (LogDestinationType::CloudWatchLogs, Some(group.clone())),
            None => (LogDestinationType::S3, wanted.bucket_arn.clone()),
        };
        let call = aws
            .ec2
            .create_flow_logs()
            .resource_type(resource_type)
            .resource_ids(resource)
            .traffic_type(match wanted.traffic {
                Traffic::All => TrafficType::All,
                Traffic::Accept => TrafficType::Accept,
                Traffic::Reject => TrafficType::Reject,
            })
            .log_destination_type(destination_type)
            .set_log_destination(destination)
            .set_deliver_logs_permission_arn(wanted.role)
            .set_log_format(wanted.format.as_deref().map(aws_format))
            .max_aggregation_interval(i32::try_from(wanted.interval_seconds).unwrap_or(i32::MAX))
            .client_token(&request.token)
            .tag_specifications(ec2::tag_specification(ResourceType::VpcFlowLog, request));
        let answer = aws.calls.write(ACTION, || call.clone().send()).await?;
        ec2::all_successful(ACTION, answer.unsuccessful())?;
        let id = answer.flow_log_ids().first().cloned().unwrap_or_default();
        Ok(Created { outputs: Attributes::from_iter([("id".into(), json!(id))]), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        const ACTION: &str = "ec2:DeleteFlowLogs";
        let deleted = aws
            .calls
            .write(ACTION, || aws.ec2.delete_flow_logs().flow_log_ids(&known.id).send())
            .await
            .and_then(|answer| ec2::all_successful(ACTION, answer.unsuccessful()));
        gone_is_fine(deleted)
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let given = |attribute: &str| attributes.contains_key(attribute);
    let mut one_of = |first: &str, second: &str, what: &str| match (given(first), given(second)) {
        (true, true) => problems.push(
            Problem::at(second, format!("`{first}` and `{second}` exclude each other")).help("leave one of them out"),
        ),
        (false, false) => problems.push(Problem::at("", what).help(format!("give `{first}` or `{second}`"))),
        _ => {}
    };
    one_of("vpc", "subnet", "it is not said whose traffic is recorded");
    one_of("log_group", "bucket_arn", "it is not said where the records go");
    if given("log_group") && !given("role") {
        problems.push(
            Problem::at("log_group", "records go to a log group through a role, and none is given")
                .help("declare one that vpc-flow-logs.amazonaws.com may assume, and name it: role = \"flow-logs\""),
        );
    }
    if given("bucket_arn") && given("role") {
        problems.push(Problem::at("role", "a bucket takes the records without a role").help("leave `role` out"));
    }
    let arns = [("log_group", ":logs:", "arn:aws:logs:eu-west-2:111122223333:log-group:flows")];
    for (attribute, service, example) in arns.into_iter().chain([("bucket_arn", ":s3:", "arn:aws:s3:::my-logs")]) {
        let value = text(attributes, attribute);
        let is_arn = value.starts_with("arn:") && value.contains(service);
        if !value.is_empty() && !is_arn && !template::is_unknown(&json!(value)) {
            problems.push(
                Problem::at(attribute, format!("`{value}` is no ARN of this sort"))
                    .help(format!("it looks like \"{example}\"")),
            );
        }
    }
    if let Some(seconds) = attributes.get("interval_seconds").and_then(Value::as_u64)
        && !INTERVALS.iter().any(|one| u64::from(*one) == seconds)
    {
        problems.push(
            Problem::at("interval_seconds", format!("a record cannot cover {seconds} seconds")).help("it is 60 or 600"),
        );
    }
    problems
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2FlowLog>, CloudError> {
    let call = aws.ec2.describe_flow_logs().filter(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeFlowLogs", send, |page| (page.flow_logs, page.next_token)).await
}

fn observe(aws: &Aws, log: &Ec2FlowLog) -> Observed {
    let id = log.flow_log_id().unwrap_or_default().to_owned();
    let mut attributes = Attributes::from_iter([("tags".into(), ec2::tags(log.tags()))]);
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    };
    let resource = log.resource_id().unwrap_or_default();
    let of = if resource.starts_with("subnet-") { "subnet" } else { "vpc" };
    put(of, Some(json!(resource)));
    put("traffic", log.traffic_type().map(|traffic| json!(traffic.as_str().to_ascii_lowercase())));
    let destination = log.log_destination().filter(|arn| !arn.is_empty());
    match log.log_destination_type() {
        Some(LogDestinationType::S3) => put("bucket_arn", destination.map(|arn| json!(arn))),
        _ => {
            let arn = destination.map(|arn| group_arn(arn).to_owned()).or_else(|| {
                let (scope, name) = (&aws.scope, log.log_group_name()?);
                let account = scope.account.as_deref()?;
                Some(format!("arn:{}:logs:{}:{account}:log-group:{name}", scope.partition, scope.region))
            });
            put("log_group", arn.map(|arn| json!(arn)));
        }
    }
    put("role", log.deliver_logs_permission_arn().map(|arn| json!(arn)));
    let format = log.log_format().map(bare_format);
    put("format", format.filter(|format| format != DEFAULT_FORMAT).map(|format| json!(format)));
    put("interval_seconds", log.max_aggregation_interval().map(|seconds| json!(seconds)));
    Observed { outputs: Attributes::from_iter([("id".into(), json!(id))]), id, attributes }
}
