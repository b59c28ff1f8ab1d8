//! What the kinds of Elastic Load Balancing share: tags, attributes by key, names, reading many by ARN.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use aws_sdk_elasticloadbalancingv2::types::Tag;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{Tags, create_tags, names, owned, tag_changes};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, ErrorClass, Owned, UpdateRequest};
use crate::graph::{Attributes, Problem, template};

/// How many resources one call describes or tells the tags of ("DescribeTags").
pub const PER_CALL: usize = 20;

/// The longest name of a load balancer or target group ("CreateLoadBalancer", "CreateTargetGroup").
pub const LONGEST_NAME: usize = 32;

/// The tags of a create call.
pub fn new_tags(request: &CreateRequest) -> Vec<Tag> {
    elb_tags(&create_tags(request))
}

fn elb_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of many, by ARN.
///
/// # Errors
/// Of `DescribeTags`.
pub async fn tags(aws: &Aws, arns: &[String]) -> Result<HashMap<String, Value>, CloudError> {
    let mut found = HashMap::new();
    for some in arns.chunks(PER_CALL) {
        let answer = aws
            .calls
            .read("elasticloadbalancing:DescribeTags", || {
                aws.elb.describe_tags().set_resource_arns(Some(some.to_vec())).send()
            })
            .await;
        // What went between two calls is told by the next refresh.
        let answer = match answer {
            Err(error) if error.is(ErrorClass::NotFound) => continue,
            answer => answer?,
        };
        for one in answer.tag_descriptions.unwrap_or_default() {
            let own: Attributes = one
                .tags()
                .iter()
                .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
                .filter(|(key, _)| !key.starts_with("aws:"))
                .map(|(key, value)| (key.to_owned(), json!(value)))
                .collect();
            found.insert(one.resource_arn.unwrap_or_default(), own.into());
        }
    }
    Ok(found)
}

/// The tags of everything there is, by ARN.
struct AllTags(HashMap<String, Tags>);

/// What of one of its types of resource (`"listener"`, as ARNs name them) carries the tags of the stack that is worked on.
/// Everything there is comes at once, for all types: the listeners of each load balancer, the rules of each listener, the
/// tags of twenty a call.
///
/// # Errors
/// Of the calls.
pub async fn owned(aws: &Aws, of_type: &str) -> Result<Vec<Owned>, CloudError> {
    let all = aws
        .once(|| async {
            let mut arns = balancers(aws).await?;
            let listeners = try_join_all(arns.iter().map(|arn| listeners(aws, arn))).await?.concat();
            let rules = try_join_all(listeners.iter().map(|arn| rules(aws, arn))).await?.concat();
            arns.extend(listeners.into_iter().chain(rules).chain(groups(aws).await?));
            let told = by_arn(&arns, |some| async move {
                let call = || aws.elb.describe_tags().set_resource_arns(Some(some.clone())).send();
                let answer = aws.calls.read("elasticloadbalancing:DescribeTags", call).await?;
                Ok(answer.tag_descriptions.unwrap_or_default())
            });
            let tags = told.await?.into_iter().map(|one| {
                let tags = one.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
                let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                (one.resource_arn.unwrap_or_default(), tags)
            });
            Ok(AllTags(tags.collect()))
        })
        .await?;
    let is_of_type = |arn: &str| arn.split([':', '/']).nth(5) == Some(of_type);
    let some = all.0.iter().filter(|(arn, _)| is_of_type(arn));
    Ok(some.filter_map(|(arn, tags)| owned::claimed(&aws.scope, arn, tags)).collect())
}

/// Everything that a paged call lists, by ARN; of what went meanwhile, nothing.
macro_rules! arns {
    ($aws:expr, $action:literal, $field:ident, $arn:ident, $call:expr) => {{
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = match $aws.calls.read($action, || $call.set_marker(next.clone()).send()).await {
                Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
                page => page?,
            };
            found.extend(page.$field.unwrap_or_default().into_iter().filter_map(|one| one.$arn));
            next = page.next_marker.filter(|marker| !marker.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
    }};
}

async fn balancers(aws: &Aws) -> Result<Vec<String>, CloudError> {
    let call = || aws.elb.describe_load_balancers();
    arns!(aws, "elasticloadbalancing:DescribeLoadBalancers", load_balancers, load_balancer_arn, call())
}

async fn groups(aws: &Aws) -> Result<Vec<String>, CloudError> {
    let call = || aws.elb.describe_target_groups();
    arns!(aws, "elasticloadbalancing:DescribeTargetGroups", target_groups, target_group_arn, call())
}

async fn listeners(aws: &Aws, balancer: &str) -> Result<Vec<String>, CloudError> {
    let call = || aws.elb.describe_listeners().load_balancer_arn(balancer);
    arns!(aws, "elasticloadbalancing:DescribeListeners", listeners, listener_arn, call())
}

async fn rules(aws: &Aws, listener: &str) -> Result<Vec<String>, CloudError> {
    let call = || aws.elb.describe_rules().listener_arn(listener);
    arns!(aws, "elasticloadbalancing:DescribeRules", rules, rule_arn, call())
}

/// Applies the tag part of an update; the id is the ARN.
///
/// # Errors
/// Of `AddTags` and `RemoveTags`.
pub async fn update_tags(aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
    if !request.changed.contains("tags") {
        return Ok(());
    }
    let arn = &request.id;
    let (set, removed) = tag_changes(request);
    if !set.is_empty() {
        let call = || aws.elb.add_tags().resource_arns(arn).set_tags(Some(elb_tags(&set))).send();
        aws.calls.write("elasticloadbalancing:AddTags", call).await?;
    }
    if !removed.is_empty() {
        let call = || aws.elb.remove_tags().resource_arns(arn).set_tag_keys(Some(removed.clone())).send();
        aws.calls.write("elasticloadbalancing:RemoveTags", call).await?;
    }
    Ok(())
}

/// Describes many by ARN. Asking for several fails as a whole where one of them is gone: then they are asked for one by
/// one.
///
/// # Errors
/// Every one but that something is gone.
pub async fn by_arn<T, F, Fut>(arns: &[String], describe: F) -> Result<Vec<T>, CloudError>
where
    F: Fn(Vec<String>) -> Fut,
    Fut: Future<Output = Result<Vec<T>, CloudError>>,
{
    let mut found = Vec::with_capacity(arns.len());
    for some in arns.chunks(PER_CALL) {
        match describe(some.to_vec()).await {
            Err(error) if error.is(ErrorClass::NotFound) && some.len() > 1 => {
                let each = some.iter().map(|arn| describe(vec![arn.clone()])).map(gone_is_none);
                found.extend(try_join_all(each).await?.into_iter().flatten());
            }
            Err(error) if error.is(ErrorClass::NotFound) => {}
            other => found.extend(other?),
        }
    }
    Ok(found)
}

async fn gone_is_none<T>(described: impl Future<Output = Result<Vec<T>, CloudError>>) -> Result<Vec<T>, CloudError> {
    match described.await {
        Err(error) if error.is(ErrorClass::NotFound) => Ok(Vec::new()),
        other => other,
    }
}

/// What AWS calls attributes: settings by key, `idle_timeout.timeout_seconds`. They are read for one resource a call.
pub type Settings = BTreeMap<&'static str, String>;

/// The settings that differ from what they were.
pub fn changed_settings(before: &Settings, after: &Settings) -> Settings {
    after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(k, v)| (*k, v.clone())).collect()
}

/// What an update wants, with everything else as it was: only what changed is sent.
pub fn wanted(request: &UpdateRequest) -> Attributes {
    let mut out = request.after.clone();
    for (name, value) in request.before.iter().filter(|(name, _)| !request.changed.contains(*name)) {
        out.insert(name.clone(), value.clone());
    }
    out
}

/// Checks a name: letters, digits and hyphens, up to 32 ("CreateLoadBalancer", "CreateTargetGroup").
pub fn check_name(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let Some(value) = attributes.get("name").filter(|name| !template::is_unknown(name)) else { return };
    let name = value.as_str().unwrap_or_default();
    if name.len() > LONGEST_NAME {
        let message = format!("the name has {} characters, and AWS takes {LONGEST_NAME}", name.len());
        problems.push(Problem::at("name", message).help("shorten it"));
    }
    problems.extend(names::letters("name", name, "AWS", "-"));
    if name.starts_with('-') || name.ends_with('-') || name.starts_with("internal-") {
        let message = format!("`{name}` begins or ends with a hyphen, or begins with `internal-`");
        problems.push(Problem::at("name", message).help("choose another name"));
    }
}

/// The part of an ARN by which CloudWatch and scaling policies name it: `app/main/0123456789abcdef`,
/// `targetgroup/web/0123456789abcdef`.
pub fn suffix(arn: &str) -> &str {
    let tail = arn.rsplit(':').next().unwrap_or_default();
    tail.strip_prefix("loadbalancer/").unwrap_or(tail)
}
