//! `log_group`: where containers, flow logs and functions write their logs.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::types::{LogGroup as Group, LogGroupClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Actions, During, Kind, Tags, Taking, create_tags, gone_is_fine, in_order, is_owned, owned, spec, tag_changes, text,
    typed,
};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope, template};

/// A log group of CloudWatch Logs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogGroup {
    /// Its name in account and region: `"/ecs/web"`. Left out: made of the names of stack and block.
    #[serde(default)]
    pub name: String,
    /// How many days events are kept: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and more years. Left
    /// out: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// The ARN of the KMS key that encrypts it, instead of a key of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// What can be done with its events, and at which price.
    #[serde(default)]
    pub class: Class,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What can be done with a log group's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Everything.
    #[default]
    Standard,
    /// Searching only, at half the price.
    InfrequentAccess,
}

/// The days that AWS takes ("PutRetentionPolicy").
const RETENTION_DAYS: &[i32] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(name) = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str) {
        let bad = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "_-/.#".contains(*c)));
        if let Some(bad) = bad {
            problems.push(
                Problem::at("name", format!("`{name}` holds `{bad}`"))
                    .help("names of log groups have letters, digits and _ - / . #"),
            );
        }
        if name.len() > 512 {
            problems.push(Problem::at("name", "it has more than 512 characters").help("give it a shorter name"));
        }
        if name.starts_with("aws/") {
            problems.push(Problem::at("name", "names that begin with `aws/` are AWS's").help("give it another name"));
        }
    }
    if let Some(days) = attributes.get("retention_days").and_then(Value::as_i64)
        && !RETENTION_DAYS.iter().any(|allowed| i64::from(*allowed) == days)
    {
        let below = RETENTION_DAYS.iter().rev().find(|allowed| i64::from(**allowed) < days);
        let above = RETENTION_DAYS.iter().find(|allowed| i64::from(**allowed) > days);
        let nearest = match (below, above) {
            (Some(below), Some(above)) => format!("the nearest that it takes are {below} and {above}"),
            (None, Some(least)) => format!("the least that it takes is {least}"),
            (_, None) => "the most that it takes is 3653".to_owned(),
        };
        problems.push(
            Problem::at("retention_days", format!("AWS does not take {days} days"))
                .help(format!("{nearest}; leave it out to keep events for ever")),
        );
    }
    if let Some(key) = attributes.get("kms_key").filter(|key| !template::is_unknown(key)).and_then(Value::as_str)
        && !(key.starts_with("arn:") && key.contains(":key/"))
    {
        problems.push(
            Problem::at("kms_key", format!("`{key}` is no ARN of a key"))
                .help("log groups take no alias: \"arn:aws:kms:eu-west-2:123456789012:key/…\""),
        );
    }
    problems
}

/// The kind `log_group`.
pub struct LogGroupKind;

#[async_trait]
impl Kind for LogGroupKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "class"],
            outputs: &["arn"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: 512 }),
            check,
            predict: |attributes, scope| match attributes.get("name") {
                Some(name) if !template::is_unknown(name) => outputs(scope, text(attributes, "name")),
                _ => Attributes::new(),
            },
            typical_seconds: 1,
            ..spec::<LogGroup>("log_group", "log group")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["logs:DescribeLogGroups", "logs:ListTagsForResource"],
            create: &[
                "logs:CreateLogGroup",
                "logs:TagResource",
                "logs:DescribeLogGroups",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:AssociateKmsKey",
                "logs:DisassociateKmsKey",
            ],
            update: &[
                "logs:PutRetentionPolicy",
                "logs:DeleteRetentionPolicy",
                "logs:AssociateKmsKey",
                "logs:DisassociateKmsKey",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            delete: &["logs:DeleteLogGroup"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "logs:PutRetentionPolicy" => taking.gains("retention_days"),
            "logs:DeleteRetentionPolicy" => taking.changes(&["retention_days"]) && !taking.has("retention_days"),
            "logs:AssociateKmsKey" => taking.changes(&["kms_key"]) && taking.has("kms_key"),
            "logs:DisassociateKmsKey" => taking.changes(&["kms_key"]) && !taking.has("kms_key"),
            "logs:DescribeLogGroups" | "logs:ListTagsForResource" => taking.during == During::Read,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let names: Vec<&str> = wanted.iter().map(|known| known.id.as_str()).collect();
        let last: HashMap<&str, &Attributes> =
            wanted.iter().map(|known| (known.id.as_str(), &known.attributes)).collect();
        let mut found = Vec::with_capacity(wanted.len());
        for prefix in prefixes(&names) {
            for group in describe(aws, &prefix).await? {
                if let Some(last) = group.log_group_name().and_then(|name| last.get(name)) {
                    found.push(observe(&aws.scope, &group, last));
                }
            }
        }
        // Tags have no batch form: one read each.
        let tags = found.iter().map(|group| tags(aws, text(&group.outputs, "arn")));
        let tags = futures_util::future::try_join_all(tags).await?;
        for (group, tags) in found.iter_mut().zip(tags) {
            group.attributes.extend(tags.map(|tags| ("tags".to_owned(), json!(tags))));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let names = describe(aws, "").await?.into_iter().filter_map(|group| group.log_group_name).collect();
        owned::claimed_by_one(aws, names, |name| async move {
            let outputs = outputs(&aws.scope, &name);
            Ok(tags(aws, text(&outputs, "arn")).await?.unwrap_or_default())
        })
        .await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let name = text(wanted, "name");
        let groups = describe(aws, name).await?;
        let Some(group) = groups.iter().find(|group| group.log_group_name() == Some(name)) else { return Ok(None) };
        let mut observed = observe(&aws.scope, group, wanted);
        let tags = tags(aws, text(&observed.outputs, "arn")).await?.unwrap_or_default();
        let class = observed.attributes.get("class");
        let ours = is_owned(wanted, &tags) && class.is_none_or(|class| wanted.get("class") == Some(class));
        observed.attributes.insert("tags".into(), json!(tags));
        Ok(ours.then_some(observed))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let group: LogGroup = typed(&request.attributes)?;
        let tags: HashMap<String, String> = create_tags(request).into_iter().collect();
        let made = aws
            .calls
            .create("logs:CreateLogGroup", || {
                aws.logs
                    .create_log_group()
                    .log_group_name(&group.name)
                    .set_kms_key_id(group.kms_key.clone())
                    .log_group_class(match group.class {
                        Class::Standard => LogGroupClass::Standard,
                        Class::InfrequentAccess => LogGroupClass::InfrequentAccess,
                    })
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        match made {
            Ok(_) => Ok(Created { outputs: outputs(&aws.scope, &group.name), id: group.name }),
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                let Some(found) = found else { return Err(error) };
                if found.attributes.get("kms_key").and_then(Value::as_str) != group.kms_key.as_deref() {
                    set_key(aws, &group).await?;
                }
                Ok(Created { id: found.id, outputs: found.outputs })
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, aws: &Aws, _id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let group: LogGroup = typed(&request.attributes)?;
        if group.retention_days.is_some() { set_retention(aws, &group).await } else { Ok(()) }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let group: LogGroup = typed(&request.after)?;
        if request.changed.contains("retention_days") {
            set_retention(aws, &group).await?;
        }
        if request.changed.contains("kms_key") {
            set_key(aws, &group).await?;
        }
        if request.changed.contains("tags") {
            let arn = text(&outputs(&aws.scope, &request.id), "arn").to_owned();
            let (set, removed) = tag_changes(request);
            if !set.is_empty() {
                let tags: HashMap<String, String> = set.into_iter().collect();
                let call = || aws.logs.tag_resource().resource_arn(&arn).set_tags(Some(tags.clone())).send();
                aws.calls.write("logs:TagResource", call).await?;
            }
            if !removed.is_empty() {
                let call = || aws.logs.untag_resource().resource_arn(&arn).set_tag_keys(Some(removed.clone())).send();
                aws.calls.write("logs:UntagResource", call).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.logs.delete_log_group().log_group_name(&known.id).send();
        gone_is_fine(aws.calls.write("logs:DeleteLogGroup", call).await.map(|_| ()))
    }
}

fn outputs(scope: &Scope, name: &str) -> Attributes {
    let Some(account) = &scope.account else { return Attributes::new() };
    let arn = format!("arn:{}:logs:{}:{account}:log-group:{name}", scope.partition, scope.region);
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

fn observe(scope: &Scope, group: &Group, last: &Attributes) -> Observed {
    let name = group.log_group_name().unwrap_or_default();
    let mut attributes = Attributes::from_iter([("name".to_owned(), json!(name))]);
    // What a group does not have is drift only where the stack gave it.
    if group.retention_in_days().is_some() || last.contains_key("retention_days") {
        attributes.insert("retention_days".into(), json!(group.retention_in_days()));
    }
    if group.kms_key_id().is_some() || last.contains_key("kms_key") {
        attributes.insert("kms_key".into(), json!(group.kms_key_id()));
    }
    match group.log_group_class() {
        Some(LogGroupClass::Standard) => drop(attributes.insert("class".into(), json!(Class::Standard))),
        Some(LogGroupClass::InfrequentAccess) => {
            attributes.insert("class".into(), json!(Class::InfrequentAccess));
        }
        _ => {}
    }
    Observed { id: name.to_owned(), attributes, outputs: outputs(scope, name) }
}

/// A group's tags; `None` where it went meanwhile.
async fn tags(aws: &Aws, arn: &str) -> Result<Option<Tags>, CloudError> {
    let call = || aws.logs.list_tags_for_resource().resource_arn(arn).send();
    match aws.calls.read("logs:ListTagsForResource", call).await {
        Ok(answer) => Ok(Some(answer.tags.unwrap_or_default().into_iter().collect())),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The groups whose names begin with this; nothing stands for all.
async fn describe(aws: &Aws, prefix: &str) -> Result<Vec<Group>, CloudError> {
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("logs:DescribeLogGroups", || {
                // 50 is the most that a page holds.
                let prefix = (!prefix.is_empty()).then(|| prefix.to_owned());
                let call = aws.logs.describe_log_groups().set_log_group_name_prefix(prefix).limit(50);
                call.set_next_token(next.clone()).send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        groups.extend(page.log_groups.unwrap_or_default());
        if next.is_none() {
            return Ok(groups);
        }
    }
}

/// Few prefixes that cover these names. Groups are listed by prefix only, and those of a stack mostly share one; names
/// with nothing but a few letters in common are listed apart, so as not to list the whole account.
fn prefixes(names: &[&str]) -> Vec<String> {
    const SHORTEST: usize = 4;
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<String> = Vec::new();
    for name in sorted {
        if let Some(prefix) = out.last_mut() {
            let common = prefix.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
            if common >= SHORTEST.min(prefix.len()) && prefix.is_char_boundary(common) {
                prefix.truncate(common);
                continue;
            }
        }
        out.push(name.to_owned());
    }
    out
}

async fn set_retention(aws: &Aws, group: &LogGroup) -> Result<(), CloudError> {
    let name = &group.name;
    match group.retention_days {
        Some(days) => {
            let call = || aws.logs.put_retention_policy().log_group_name(name).retention_in_days(days).send();
            aws.calls.write("logs:PutRetentionPolicy", call).await?;
        }
        None => {
            let call = || aws.logs.delete_retention_policy().log_group_name(name).send();
            aws.calls.write("logs:DeleteRetentionPolicy", call).await?;
        }
    }
    Ok(())
}

async fn set_key(aws: &Aws, group: &LogGroup) -> Result<(), CloudError> {
    let name = &group.name;
    match &group.kms_key {
        Some(key) => {
            let call = || aws.logs.associate_kms_key().log_group_name(name).kms_key_id(key).send();
            aws.calls.write("logs:AssociateKmsKey", call).await?;
        }
        None => {
            let call = || aws.logs.disassociate_kms_key().log_group_name(name).send();
            aws.calls.write("logs:DisassociateKmsKey", call).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_one_stack_are_listed_together() {
        assert_eq!(prefixes(&["web-app", "web-proxy", "/aws/vpc/a", "web-flow"]), ["/aws/vpc/a", "web-"]);
        assert_eq!(prefixes(&["a", "b", "ab"]), ["a", "b"]);
        assert!(prefixes(&[]).is_empty());
    }

    #[test]
    fn retention_is_one_that_aws_takes() {
        let attributes = |days: i32| json!({ "name": "web", "retention_days": days }).as_object().cloned().unwrap();
        assert!(check(&attributes(30)).is_empty());
        assert!(check(&attributes(31))[0].help.as_deref().unwrap().contains("60"));
    }
}
