//! What the ECS kinds share: tags, ARNs, name rules, clusters read in hundreds.

use aws_sdk_ecs::types::{Cluster, ClusterField, Tag};
use serde_json::{Value, json};

use super::{Tags, create_tags, names, tag_changes};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, UpdateRequest};
use crate::graph::{Attributes, Problem, Scope, template};

/// How many clusters or capacity providers one describe call takes ("DescribeClusters", "DescribeCapacityProviders").
pub const PER_CALL: usize = 100;

/// The longest name of a cluster or capacity provider ("CreateCluster", "CreateCapacityProvider").
pub const LONGEST_NAME: usize = 255;

/// The tags of a create call, in ECS's words.
pub fn new_tags(request: &CreateRequest) -> Vec<Tag> {
    ecs_tags(&create_tags(request))
}

/// Tags in ECS's words.
pub fn ecs_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// ECS's tags as an attribute; AWS's own (`aws:…`) are left out.
pub fn tags(tags: &[Tag]) -> Value {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .filter(|(key, _)| !key.starts_with("aws:"))
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect::<Attributes>()
        .into()
}

/// Applies the tag part of an update; the resource's ARN is its output `arn`.
///
/// # Errors
/// Of `TagResource` and `UntagResource`.
pub async fn update_tags(aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
    if !request.changed.contains("tags") {
        return Ok(());
    }
    let arn = super::text(&request.outputs, "arn");
    let (set, removed) = tag_changes(request);
    if !set.is_empty() {
        aws.calls
            .write("ecs:TagResource", || aws.ecs.tag_resource().resource_arn(arn).set_tags(Some(ecs_tags(&set))).send())
            .await?;
    }
    if !removed.is_empty() {
        aws.calls
            .write("ecs:UntagResource", || {
                aws.ecs.untag_resource().resource_arn(arn).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
    }
    Ok(())
}

/// The name of what is named so or by its ARN, `arn:aws:ecs:eu-west-2:123456789012:cluster/NAME`.
pub fn name_in(given: &str) -> &str {
    if given.starts_with("arn:") { given.rsplit('/').next().unwrap_or(given) } else { given }
}

/// The ARN that a resource will have, where account and name are known.
pub fn predict_arn(kind: &str, attributes: &Attributes, scope: &Scope) -> Attributes {
    let (Some(account), Some(name)) = (&scope.account, attributes.get("name")) else { return Attributes::new() };
    let (Some(name), false) = (name.as_str(), template::is_unknown(name)) else { return Attributes::new() };
    let arn = format!("arn:{}:ecs:{}:{account}:{kind}/{name}", scope.partition, scope.region);
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

/// Checks a name: letters, digits, hyphens and underscores, up to 255 ("CreateCluster").
pub fn check_name(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let Some(value) = attributes.get("name") else { return };
    let Some(name) = value.as_str() else { return };
    if name.is_empty() || template::is_unknown(value) {
        return;
    }
    if name.len() > LONGEST_NAME {
        let message = format!("the name has {} characters, and ECS takes {LONGEST_NAME}", name.len());
        problems.push(Problem::at("name", message).help("shorten it"));
    }
    problems.extend(names::letters("name", name, "ECS", "-_"));
}

/// Clusters by name, as many a call as the API takes. What is gone or inactive (a deleted cluster stays visible as that
/// for a while: "DescribeClusters") is left out.
///
/// # Errors
/// Of `DescribeClusters`.
pub async fn clusters(aws: &Aws, names: &[String], include: &[ClusterField]) -> Result<Vec<Cluster>, CloudError> {
    let mut found = Vec::new();
    for chunk in names.chunks(PER_CALL) {
        let answer = aws
            .calls
            .read("ecs:DescribeClusters", || {
                aws.ecs
                    .describe_clusters()
                    .set_clusters(Some(chunk.to_vec()))
                    .set_include(Some(include.to_vec()))
                    .send()
            })
            .await?;
        found.extend(answer.clusters.unwrap_or_default());
    }
    found.retain(|cluster| cluster.status() != Some("INACTIVE"));
    Ok(found)
}

/// The names of all clusters.
///
/// # Errors
/// Of `ListClusters`.
pub async fn cluster_names(aws: &Aws) -> Result<Vec<String>, CloudError> {
    let mut names = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let call = || aws.ecs.list_clusters().set_next_token(next.clone()).send();
        let page = aws.calls.read("ecs:ListClusters", call).await?;
        // The last part of the ARN.
        names.extend(page.cluster_arns().iter().filter_map(|arn| arn.rsplit('/').next()).map(str::to_owned));
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(names);
        }
    }
}
