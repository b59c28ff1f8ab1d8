//! What the EC2 kinds share: tags, filters, paging, finding by token, states, what blocks a delete, ARNs.

use std::future::Future;

use aws_sdk_ec2::types::{Filter, NetworkInterface, ResourceType, Tag, TagSpecification, UnsuccessfulItem};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{Tags, create_tags, tag_changes};
use crate::aws::{Aws, item_error};
use crate::cloud::{CloudError, CreateRequest, ErrorClass, Progress, TOKEN_TAG, UpdateRequest};
use crate::graph::Attributes;

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

/// Whether tags hold this token: emulated clouds ignore some of the filters.
pub fn has_token(tags: &[Tag], token: &str) -> bool {
    tags.iter().any(|tag| tag.key() == Some(TOKEN_TAG) && tag.value() == Some(token))
}

/// Filters that select ids, each as large as the API allows: reading by filter leaves out what is gone, where reading
/// by id fails as a whole.
pub fn id_filters<'a>(name: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<Filter> {
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    ids.chunks(FILTER_VALUES)
        .map(|chunk| Filter::builder().name(name).set_values(Some(chunk.to_vec())).build())
        .collect()
}

/// Everything that a paged call lists: `send` is given the token of the page, `unpack` takes a page apart into its items
/// and the token of the next one.
///
/// # Errors
/// Of the call.
pub async fn paged<P, T, E, Fut>(
    aws: &Aws,
    action: &'static str,
    send: impl Fn(Option<String>) -> Fut + Sync,
    unpack: impl Fn(P) -> (Option<Vec<T>>, Option<String>),
) -> Result<Vec<T>, CloudError>
where
    P: Send + 'static,
    Fut: Future<Output = Result<P, SdkError<E, HttpResponse>>> + Send,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let (items, token) = unpack(aws.calls.read(action, || send(next.clone())).await?);
        all.extend(items.unwrap_or_default());
        next = token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// The one of this id among what was listed.
pub fn of_id<T>(listed: Vec<T>, id: &str, id_of: impl Fn(&T) -> Option<&str>) -> Option<T> {
    listed.into_iter().find(|one| id_of(one) == Some(id))
}

/// What is known to exist but was not listed: EC2 shows new things only after a moment.
pub fn not_visible(action: &str, id: &str) -> CloudError {
    CloudError::new(ErrorClass::NotYet, action, "", format!("{id} is not visible yet"))
}

/// Whether a batch call did everything it was asked for: some answer with a list of what failed.
///
/// # Errors
/// That of the first item.
pub fn all_successful(action: &str, failed: &[UnsuccessfulItem]) -> Result<(), CloudError> {
    let Some(item) = failed.first() else { return Ok(()) };
    let (code, message) = item.error().map_or((None, None), |error| (error.code(), error.message()));
    Err(item_error(action, code.unwrap_or_default(), message.unwrap_or("no message")))
}

/// Done once the state is `available`.
pub fn when_available(state: Option<&str>) -> Progress {
    match state {
        Some("available") => Progress::Done(Attributes::new()),
        state => Progress::Pending(state.unwrap_or("visible").to_owned()),
    }
}

/// The result of a delete; where something still depends on what was to go, the help names the network interfaces that
/// `filters` (by `group-id`, `subnet-id`, `vpc-id`) find there, and whose they are.
///
/// # Errors
/// That of the delete; where the interfaces cannot be read it is left as it was. What is gone already is no error.
pub async fn name_blockers(aws: &Aws, deleted: Result<(), CloudError>, filters: Vec<Filter>) -> Result<(), CloudError> {
    let error = match super::gone_is_fine(deleted) {
        Err(error) if matches!(error.code.as_str(), "DependencyViolation" | "InvalidGroup.InUse") => error,
        other => return other,
    };
    let call = aws.ec2.describe_network_interfaces().set_filters(Some(filters));
    let interfaces = paged(
        aws,
        "ec2:DescribeNetworkInterfaces",
        |next| call.clone().set_next_token(next).send(),
        |page| (page.network_interfaces, page.next_token),
    )
    .await
    .unwrap_or_default();
    Err(match blockers(&interfaces) {
        Some(text) => error.help(format!("still used by {text}; delete that first, then run the same command again")),
        None => error,
    })
}

/// Names network interfaces in a sentence: the first few, each with what it belongs to.
fn blockers(interfaces: &[NetworkInterface]) -> Option<String> {
    const NAMED: usize = 3;
    let named: Vec<String> = interfaces
        .iter()
        .take(NAMED)
        .map(|one| {
            let attachment = one.attachment();
            let user = attachment
                .and_then(|a| a.instance_id())
                .map(|id| format!("instance {id}"))
                .or_else(|| one.description().filter(|text| !text.is_empty()).map(|text| format!("\"{text}\"")));
            let owner = one
                .requester_id()
                .or_else(|| attachment.and_then(|a| a.instance_owner_id()))
                .or_else(|| one.owner_id())
                .unwrap_or("unknown");
            let id = one.network_interface_id().unwrap_or_default();
            match user {
                Some(user) => format!("network interface {id} of {user} (owner {owner})"),
                None => format!("network interface {id} (owner {owner})"),
            }
        })
        .collect();
    let more = interfaces.len().saturating_sub(NAMED);
    match (named.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(named.join(", ")),
        (false, more) => Some(format!("{} and {more} more", named.join(", "))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::NetworkInterfaceAttachment;

    #[test]
    fn blockers_are_named_with_their_owner() {
        let of_instance = NetworkInterface::builder()
            .network_interface_id("eni-1")
            .owner_id("111122223333")
            .attachment(NetworkInterfaceAttachment::builder().instance_id("i-1").build())
            .build();
        let of_service = NetworkInterface::builder()
            .network_interface_id("eni-2")
            .description("ELB app/web/1")
            .requester_id("amazon-elb")
            .build();
        assert_eq!(
            blockers(&[of_instance, of_service]).as_deref(),
            Some(
                "network interface eni-1 of instance i-1 (owner 111122223333), \
                 network interface eni-2 of \"ELB app/web/1\" (owner amazon-elb)"
            )
        );
        let bare = NetworkInterface::builder().network_interface_id("eni-3").owner_id("1").build();
        assert!(blockers(&vec![bare; 5]).is_some_and(|text| text.ends_with("and 2 more")));
        assert_eq!(blockers(&[]), None);
    }
}
