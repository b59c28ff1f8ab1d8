//! `alarm`: a metric that is watched, and who is told when it leaves its bounds.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, MetricAlarm, StandardUnit, Statistic, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Actions, Kind, Tags, create_tags, gone_is_fine, in_order, is_own, names, owned, spec, tag_changes, taken, text,
    typed, untyped,
};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope};

/// A metric that is watched, and who is told when it leaves its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Its name, unique in account and region. Without one it is named after the stack and its place in it.
    #[serde(default)]
    pub name: String,
    /// What it means, and what to do then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is watched.
    pub metric: Metric,
    /// How what was measured compares to the threshold when something is wrong.
    pub when: Comparison,
    /// The value it is compared to.
    pub threshold: f64,
    /// Seconds that one value is measured over: 10, 20, 30, or a multiple of 60.
    #[serde(default = "minute")]
    pub period_seconds: i32,
    /// How many of the last periods are looked at.
    #[serde(default = "one")]
    pub periods: i32,
    /// In how many of these periods something must be wrong. Without it: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datapoints: Option<i32>,
    /// What a period means in which nothing was measured.
    #[serde(default)]
    pub missing: MissingData,
    /// Who is told when something is wrong, and what is done: topics, step scaling policies, by ARN.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "topic.arn"))]
    pub notify: BTreeSet<String>,
    /// Who is told when all is well again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "topic.arn"))]
    pub notify_ok: BTreeSet<String>,
    /// Who is told when too little is measured to say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "topic.arn"))]
    pub notify_unknown: BTreeSet<String>,
    /// Whether anybody is told.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Whose metric it is: `"AWS/ECS"`.
    pub namespace: String,
    /// Its name: `"CPUUtilization"`.
    pub name: String,
    /// Of what: `{ ClusterName = "main", ServiceName = "web" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// What is made of the values of a period: `"average"`, `"maximum"`, `"minimum"`, `"sum"`, `"sample-count"`, or a
    /// percentile such as `"p99"`.
    #[serde(default = "average")]
    pub statistic: String,
    /// The unit it is measured in, where it is measured in several: `"Percent"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// How a value compares to the threshold when something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// It is larger.
    Above,
    /// It is as large or larger.
    AtLeast,
    /// It is smaller.
    Below,
    /// It is as small or smaller.
    AtMost,
}

impl Comparison {
    fn operator(self) -> ComparisonOperator {
        match self {
            Self::Above => ComparisonOperator::GreaterThanThreshold,
            Self::AtLeast => ComparisonOperator::GreaterThanOrEqualToThreshold,
            Self::Below => ComparisonOperator::LessThanThreshold,
            Self::AtMost => ComparisonOperator::LessThanOrEqualToThreshold,
        }
    }

    fn of(operator: &ComparisonOperator) -> Option<Self> {
        [Self::Above, Self::AtLeast, Self::Below, Self::AtMost].into_iter().find(|one| one.operator() == *operator)
    }
}

/// What a period means in which nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MissingData {
    /// Nothing: the periods before it are looked at.
    #[default]
    Missing,
    /// What the alarm said so far goes on.
    Ignore,
    /// Something is wrong.
    Breaching,
    /// All is well.
    NotBreaching,
}

impl MissingData {
    const ALL: [Self; 4] = [Self::Missing, Self::Ignore, Self::Breaching, Self::NotBreaching];

    fn as_aws(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ignore => "ignore",
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
        }
    }
}

const STATISTICS: [(&str, Statistic); 5] = [
    ("average", Statistic::Average),
    ("maximum", Statistic::Maximum),
    ("minimum", Statistic::Minimum),
    ("sample-count", Statistic::SampleCount),
    ("sum", Statistic::Sum),
];

fn minute() -> i32 {
    60
}

fn one() -> i32 {
    1
}

fn yes() -> bool {
    true
}

fn average() -> String {
    "average".to_owned()
}

/// Alarms a call of "DescribeAlarms".
const PER_CALL: usize = 100;

/// The longest time that alarms look back over, in seconds: a week ("PutMetricAlarm").
const LONGEST: i64 = 7 * 24 * 3600;

/// Whether this is a percentile: `p50` to `p99.99`.
fn is_percentile(statistic: &str) -> bool {
    let number = statistic.strip_prefix('p').and_then(|rest| rest.parse::<f64>().ok());
    number.is_some_and(|number| (0.0..=100.0).contains(&number))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(alarm) = serde_json::from_value::<Alarm>(Value::Object(attributes.clone())) else { return Vec::new() };
    let mut problems = Vec::new();
    let Alarm { metric, period_seconds, periods, datapoints, .. } = &alarm;
    if !matches!(period_seconds, 10 | 20 | 30) && (*period_seconds < 60 || period_seconds % 60 != 0) {
        let message = format!("{period_seconds} seconds are no period of CloudWatch");
        problems.push(Problem::at("period_seconds", message).help("10, 20, 30, or a multiple of 60"));
    }
    if *periods < 1 {
        problems.push(Problem::at("periods", "at least one period is looked at").help("write periods = 1"));
    } else if i64::from(*period_seconds) * i64::from(*periods) > LONGEST {
        let message = format!("{periods} periods of {period_seconds} seconds are more than a week");
        problems.push(Problem::at("periods", message).help("look back over a week at most"));
    }
    if let Some(datapoints) = datapoints.filter(|number| *number < 1 || number > periods) {
        let message = format!("{datapoints} of {periods} periods");
        problems.push(Problem::at("datapoints", message).help("1 to `periods`"));
    }
    let statistic = metric.statistic.as_str();
    let is_known = STATISTICS.iter().any(|(name, _)| *name == statistic) || is_percentile(statistic);
    if !is_known && !statistic.contains("${") {
        let names = STATISTICS.map(|(name, _)| name).join(", ");
        let message = format!("CloudWatch has no statistic `{statistic}`");
        problems.push(Problem::at("metric.statistic", message).help(format!("{names}, or a percentile such as p99")));
    }
    if let Some(unit) = metric.unit.as_deref().filter(|unit| !unit.contains("${"))
        && !StandardUnit::values().contains(&unit)
    {
        let message = format!("CloudWatch has no unit `{unit}`");
        problems.push(Problem::at("metric.unit", message).help("such as Percent, Count, Seconds, Bytes"));
    }
    problems
}

/// The kind `alarm`.
pub struct AlarmKind;

#[async_trait]
impl Kind for AlarmKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 255 }),
            check,
            predict: |attributes, scope| names::predicted_arn(attributes, |name| arn_of(scope, name)),
            typical_seconds: 1,
            ..spec::<Alarm>("alarm", "alarm")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"],
            create: &["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:DescribeAlarms"],
            update: &["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"],
            delete: &["cloudwatch:DeleteAlarms"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<String> = wanted.iter().map(|known| known.id.clone()).collect();
        let found = with_tags(aws, described(aws, Some(&names)).await?).await?;
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let all = described(aws, None).await?;
        let arns: BTreeMap<String, String> =
            all.into_iter().filter_map(|one| Some((one.alarm_name?, one.alarm_arn?))).collect();
        let names = arns.keys().cloned().collect();
        let arns = &arns;
        owned::claimed_by_one(aws, names, |name| async move {
            tags(aws, arns.get(&name).map(String::as_str).unwrap_or_default()).await
        })
        .await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = named(aws, text(&lost.request.attributes, "name")).await?;
        Ok(found.filter(|found| is_own(found, &lost.request)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let alarm: Alarm = typed(&request.attributes)?;
        // "PutMetricAlarm" changes the alarm that has the name already, whoever made it.
        if let Some(other) = named(aws, &alarm.name).await?.filter(|found| !is_own(found, request)) {
            let message = format!("an alarm `{}` exists already", alarm.name);
            let error = CloudError::new(ErrorClass::Exists, "cloudwatch:PutMetricAlarm", "", message);
            return Err(taken(error, request, &super::tags_of(&other.attributes)));
        }
        put(aws, &alarm, Some(&create_tags(request))).await?;
        Ok(Created { outputs: outputs(&aws.scope, &alarm.name), id: alarm.name })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let alarm: Alarm = typed(&request.after)?;
        if request.changed.iter().any(|name| name != "tags") {
            put(aws, &alarm, None).await?;
        }
        let (set, removed) = tag_changes(request);
        let arn = arn_of(&aws.scope, &alarm.name).unwrap_or_default();
        if !set.is_empty() {
            let set = cloudwatch_tags(&set);
            let call = || aws.cloudwatch.tag_resource().resource_arn(&arn).set_tags(Some(set.clone())).send();
            aws.calls.write("cloudwatch:TagResource", call).await?;
        }
        if !removed.is_empty() {
            let call = || aws.cloudwatch.untag_resource().resource_arn(&arn).set_tag_keys(Some(removed.clone())).send();
            aws.calls.write("cloudwatch:UntagResource", call).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.cloudwatch.delete_alarms().alarm_names(&known.id).send();
        gone_is_fine(aws.calls.write("cloudwatch:DeleteAlarms", call).await.map(|_| ()))
    }
}

fn arn_of(scope: &Scope, name: &str) -> Option<String> {
    let account = scope.account.as_ref()?;
    Some(format!("arn:{}:cloudwatch:{}:{account}:alarm:{name}", scope.partition, scope.region))
}

fn outputs(scope: &Scope, name: &str) -> Attributes {
    let arn = arn_of(scope, name).unwrap_or_default();
    Attributes::from_iter([("id".to_owned(), json!(name)), ("arn".to_owned(), json!(arn))])
}

fn cloudwatch_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Makes the alarm, or makes it so: one call for both, which leaves tags alone where there is one already.
async fn put(aws: &Aws, alarm: &Alarm, tags: Option<&Tags>) -> Result<(), CloudError> {
    let Alarm { metric, .. } = alarm;
    let statistic = STATISTICS.iter().find(|(name, _)| *name == metric.statistic).map(|(_, one)| one.clone());
    let percentile = statistic.is_none().then(|| metric.statistic.clone());
    let dimension = |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
    let many = |some: &BTreeSet<String>| Some(some.iter().cloned().collect::<Vec<_>>());
    let call = aws
        .cloudwatch
        .put_metric_alarm()
        .alarm_name(&alarm.name)
        .set_alarm_description(alarm.description.clone())
        .namespace(&metric.namespace)
        .metric_name(&metric.name)
        .set_dimensions(Some(metric.dimensions.iter().map(dimension).collect()))
        .set_statistic(statistic)
        .set_extended_statistic(percentile)
        .set_unit(metric.unit.as_deref().map(StandardUnit::from))
        .comparison_operator(alarm.when.operator())
        .threshold(alarm.threshold)
        .period(alarm.period_seconds)
        .evaluation_periods(alarm.periods)
        .set_datapoints_to_alarm(alarm.datapoints)
        .treat_missing_data(alarm.missing.as_aws())
        .set_alarm_actions(many(&alarm.notify))
        .set_ok_actions(many(&alarm.notify_ok))
        .set_insufficient_data_actions(many(&alarm.notify_unknown))
        .actions_enabled(alarm.enabled)
        .set_tags(tags.map(cloudwatch_tags));
    aws.calls.write("cloudwatch:PutMetricAlarm", || call.clone().send()).await.map(|_| ())
}

/// These alarms, a hundred a call, or all.
async fn described(aws: &Aws, names: Option<&[String]>) -> Result<Vec<MetricAlarm>, CloudError> {
    let mut found = Vec::new();
    let chunks: Vec<Option<Vec<String>>> = match names {
        Some(names) => names.chunks(PER_CALL).map(|chunk| Some(chunk.to_vec())).collect(),
        None => vec![None],
    };
    for chunk in chunks {
        let mut next: Option<String> = None;
        loop {
            let call = aws.cloudwatch.describe_alarms().set_alarm_names(chunk.clone()).max_records(PER_CALL as i32);
            let send = || call.clone().set_next_token(next.clone()).send();
            let page = aws.calls.read("cloudwatch:DescribeAlarms", send).await?;
            found.extend(page.metric_alarms.unwrap_or_default());
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

async fn named(aws: &Aws, name: &str) -> Result<Option<Observed>, CloudError> {
    let mut found = described(aws, Some(&[name.to_owned()])).await?;
    found.retain(|one| one.alarm_name() == Some(name));
    Ok(with_tags(aws, found).await?.pop())
}

async fn with_tags(aws: &Aws, found: Vec<MetricAlarm>) -> Result<Vec<Observed>, CloudError> {
    let each = found.into_iter().map(|one| async move {
        let tags = tags(aws, one.alarm_arn().unwrap_or_default()).await?;
        Ok::<_, CloudError>(observe(&aws.scope, &one, tags))
    });
    futures_util::future::try_join_all(each).await
}

/// The tags of an alarm; of one that went meanwhile, none.
async fn tags(aws: &Aws, arn: &str) -> Result<Tags, CloudError> {
    let call = || aws.cloudwatch.list_tags_for_resource().resource_arn(arn).send();
    let found = match aws.calls.read("cloudwatch:ListTagsForResource", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => return Ok(Tags::new()),
        answer => answer?.tags.unwrap_or_default(),
    };
    Ok(found.into_iter().filter_map(|tag| Some((tag.key?, tag.value?))).collect())
}

fn observe(scope: &Scope, one: &MetricAlarm, tags: Tags) -> Observed {
    let statistic = match one.statistic() {
        Some(found) => STATISTICS.iter().find(|(_, one)| one == found).map(|(name, _)| (*name).to_owned()),
        None => one.extended_statistic().map(str::to_owned),
    };
    let dimensions = one.dimensions().iter().filter_map(|one| Some((one.name()?.to_owned(), one.value()?.to_owned())));
    let set = |some: &[String]| some.iter().cloned().collect::<BTreeSet<_>>();
    let name = one.alarm_name().unwrap_or_default();
    let missing = one.treat_missing_data().and_then(|found| MissingData::ALL.into_iter().find(|m| m.as_aws() == found));
    let alarm = Alarm {
        name: name.to_owned(),
        description: one.alarm_description().filter(|text| !text.is_empty()).map(str::to_owned),
        metric: Metric {
            namespace: one.namespace().unwrap_or_default().to_owned(),
            name: one.metric_name().unwrap_or_default().to_owned(),
            dimensions: dimensions.collect(),
            statistic: statistic.unwrap_or_default(),
            unit: one.unit().map(|unit| unit.as_str().to_owned()),
        },
        when: one.comparison_operator().and_then(Comparison::of).unwrap_or(Comparison::Above),
        threshold: one.threshold().unwrap_or_default(),
        period_seconds: one.period().unwrap_or_default(),
        periods: one.evaluation_periods().unwrap_or_default(),
        datapoints: one.datapoints_to_alarm(),
        missing: missing.unwrap_or_default(),
        notify: set(one.alarm_actions()),
        notify_ok: set(one.ok_actions()),
        notify_unknown: set(one.insufficient_data_actions()),
        enabled: one.actions_enabled().unwrap_or(true),
        tags,
    };
    Observed { id: name.to_owned(), attributes: untyped(&alarm), outputs: outputs(scope, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(attributes: Value) -> Vec<String> {
        let Value::Object(attributes) = attributes else { return Vec::new() };
        check(&attributes).into_iter().map(|one| format!("{}: {}", one.path.join("."), one.message)).collect()
    }

    #[test]
    fn what_cloudwatch_refuses_is_told_before() {
        let metric = json!({ "namespace": "AWS/ECS", "name": "CPUUtilization", "statistic": "mean", "unit": "Parsec" });
        let bad = json!({
            "metric": metric, "when": "above", "threshold": 1.0, "period_seconds": 45, "periods": 0, "datapoints": 2,
        });
        assert_eq!(
            problems(bad),
            [
                "period_seconds: 45 seconds are no period of CloudWatch",
                "periods: at least one period is looked at",
                "datapoints: 2 of 0 periods",
                "metric.statistic: CloudWatch has no statistic `mean`",
                "metric.unit: CloudWatch has no unit `Parsec`",
            ]
        );
        let metric = json!({ "namespace": "AWS/ECS", "name": "CPUUtilization", "statistic": "p99.9" });
        let good = json!({ "metric": metric, "when": "at-least", "threshold": 90.0, "periods": 3, "datapoints": 2 });
        assert_eq!(problems(good), Vec::<String>::new());
    }
}
