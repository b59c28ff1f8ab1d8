//! What the Cloud Map kinds share: tags and operations, which are carried out after the call.

use std::collections::HashMap;

use aws_sdk_servicediscovery::types::{OperationStatus, OperationTargetType, Tag};
use serde_json::{Value, json};

use super::{Tags, create_tags, tag_changes};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, ErrorClass, FIRST_PAUSE, UpdateRequest, longer};
use crate::graph::Attributes;

/// The tags of a create call.
///
/// # Errors
/// None in practice: every tag has a key and a value.
pub fn new_tags(request: &CreateRequest) -> Result<Vec<Tag>, CloudError> {
    map_tags(&create_tags(request))
}

fn map_tags(tags: &Tags) -> Result<Vec<Tag>, CloudError> {
    let one = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let built = tags.iter().map(one).collect::<Result<Vec<_>, _>>();
    built.map_err(|error| CloudError::unexpected("servicediscovery:TagResource", error.to_string()))
}

/// The tags of a resource, as an attribute.
///
/// # Errors
/// Of `ListTagsForResource`.
pub async fn tags(aws: &Aws, arn: &str) -> Result<Value, CloudError> {
    let call = || aws.discovery.list_tags_for_resource().resource_arn(arn).send();
    let found = match aws.calls.read("servicediscovery:ListTagsForResource", call).await {
        Err(error) if error.is(ErrorClass::NotFound) => Vec::new(),
        answer => answer?.tags.unwrap_or_default(),
    };
    let own = found.into_iter().filter(|tag| !tag.key().starts_with("aws:"));
    Ok(own.map(|tag| (tag.key().to_owned(), json!(tag.value()))).collect::<Attributes>().into())
}

/// Applies the tag part of an update.
///
/// # Errors
/// Of `TagResource` and `UntagResource`.
pub async fn update_tags(aws: &Aws, arn: &str, request: &UpdateRequest) -> Result<(), CloudError> {
    if !request.changed.contains("tags") {
        return Ok(());
    }
    let (set, removed) = tag_changes(request);
    if !set.is_empty() {
        let tags = map_tags(&set)?;
        let call = || aws.discovery.tag_resource().resource_arn(arn).set_tags(Some(tags.clone())).send();
        aws.calls.write("servicediscovery:TagResource", call).await?;
    }
    if !removed.is_empty() {
        let call = || aws.discovery.untag_resource().resource_arn(arn).set_tag_keys(Some(removed.clone())).send();
        aws.calls.write("servicediscovery:UntagResource", call).await?;
    }
    Ok(())
}

/// For how long an operation is waited for before it is looked up as one whose answer was lost.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);

/// What an operation made, once it is carried out: only then does it have an id.
///
/// # Errors
/// Where it failed; [`ErrorClass::Uncertain`] where it takes too long.
pub async fn made_by(
    aws: &Aws,
    action: &str,
    operation: &str,
) -> Result<HashMap<OperationTargetType, String>, CloudError> {
    let begun = tokio::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let call = || aws.discovery.get_operation().operation_id(operation).send();
        let found = aws.calls.read("servicediscovery:GetOperation", call).await?.operation;
        match found.as_ref().and_then(|found| found.status()) {
            Some(OperationStatus::Success) => {
                return Ok(found.and_then(|found| found.targets).unwrap_or_default());
            }
            Some(OperationStatus::Fail) => {
                let code = found.as_ref().and_then(|found| found.error_code()).unwrap_or_default();
                let why = found.as_ref().and_then(|found| found.error_message()).unwrap_or("AWS gives no reason");
                return Err(crate::aws::item_error(action, code, why));
            }
            _ if begun.elapsed() > PATIENCE => {
                let message = format!("the operation {operation} is still not carried out");
                return Err(CloudError::new(ErrorClass::Uncertain, action, "", message));
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}
