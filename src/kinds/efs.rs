//! What the EFS kinds share: tags, and reading many.

use aws_sdk_efs::types::Tag;
use serde_json::{Value, json};

use super::{Tags, create_tags, tag_changes};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, UpdateRequest};
use crate::graph::Attributes;

/// The tags of a create call.
///
/// # Errors
/// None in practice: every tag has a key and a value.
pub fn new_tags(request: &CreateRequest) -> Result<Vec<Tag>, CloudError> {
    efs_tags(&create_tags(request))
}

fn efs_tags(tags: &Tags) -> Result<Vec<Tag>, CloudError> {
    let one = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let built = tags.iter().map(one).collect::<Result<Vec<_>, _>>();
    built.map_err(|error| CloudError::unexpected("elasticfilesystem:TagResource", error.to_string()))
}

/// EFS's tags as an attribute.
pub fn tags(tags: &[Tag]) -> Value {
    let own = tags.iter().filter(|tag| !tag.key().starts_with("aws:"));
    own.map(|tag| (tag.key().to_owned(), json!(tag.value()))).collect::<Attributes>().into()
}

/// Applies the tag part of an update.
///
/// # Errors
/// Of `TagResource` and `UntagResource`.
pub async fn update_tags(aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
    if !request.changed.contains("tags") {
        return Ok(());
    }
    let (set, removed) = tag_changes(request);
    if !set.is_empty() {
        let tags = efs_tags(&set)?;
        let call = || aws.efs.tag_resource().resource_id(&request.id).set_tags(Some(tags.clone())).send();
        aws.calls.write("elasticfilesystem:TagResource", call).await?;
    }
    if !removed.is_empty() {
        let call = || aws.efs.untag_resource().resource_id(&request.id).set_tag_keys(Some(removed.clone())).send();
        aws.calls.write("elasticfilesystem:UntagResource", call).await?;
    }
    Ok(())
}
