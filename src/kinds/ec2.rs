//! What the EC2 kinds share: tags, filters, finding by token, ARNs.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use super::{Tags, create_tags, tag_changes};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, TOKEN_TAG, UpdateRequest};

/// How many values one filter takes ("Filter your resources": 200).
const FILTER_VALUES: usize = 200;

/// The tags of a create call, in its own words.
pub fn tag_specification(kind: ResourceType, request: &CreateRequest) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(ec2_tags(&create_tags(request)))).build()
}

fn ec2_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// EC2's tags as an attribute; AWS's own (`aws:…`) are left out.
pub fn tags(tags: &[Tag]) -> serde_json::Value {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .filter(|(key, _)| !key.starts_with("aws:"))
        .map(|(key, value)| (key.to_owned(), serde_json::Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A filter of one value.
pub fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// A filter by the token of a create call whose answer was lost.
pub fn by_token(token: &str) -> Filter {
    filter(&format!("tag:{TOKEN_TAG}"), token)
}

/// Filters that select ids, each as large as the API allows: reading by filter leaves out what is gone, where reading
/// by id fails as a whole.
pub fn id_filters<'a>(name: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<Filter> {
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    ids.chunks(FILTER_VALUES)
        .map(|chunk| Filter::builder().name(name).set_values(Some(chunk.to_vec())).build())
        .collect()
}

/// Applies the tag part of an update to an EC2 resource.
///
/// # Errors
/// Of `CreateTags` and `DeleteTags`.
pub async fn update_tags(aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
    if !request.changed.contains("tags") {
        return Ok(());
    }
    let (set, removed) = tag_changes(request);
    if !set.is_empty() {
        aws.calls
            .write("ec2:CreateTags", || {
                aws.ec2.create_tags().resources(&request.id).set_tags(Some(ec2_tags(&set))).send()
            })
            .await?;
    }
    if !removed.is_empty() {
        let tags: Vec<Tag> = removed.iter().map(|key| Tag::builder().key(key).build()).collect();
        aws.calls
            .write("ec2:DeleteTags", || {
                aws.ec2.delete_tags().resources(&request.id).set_tags(Some(tags.clone())).send()
            })
            .await?;
    }
    Ok(())
}

/// The ARN of an EC2 resource; without an account (offline) a pattern.
pub fn arn(aws: &Aws, kind: &str, id: &str) -> serde_json::Value {
    let scope = &aws.scope;
    let account = scope.account.as_deref().unwrap_or_default();
    format!("arn:{}:ec2:{}:{account}:{kind}/{id}", scope.partition, scope.region).into()
}
