//! What the IAM kinds share: the account's roles and policies read at once, documents, tags, names.

use std::collections::HashMap;

use aws_sdk_iam::types::{EntityType, ManagedPolicyDetail, Role, RoleDetail, Tag};
use serde_json::{Value, json};

use super::document::PolicyDocument;
use super::{Tags, text};
use crate::aws::Aws;
use crate::cloud::{CloudError, ErrorClass};
use crate::graph::{Attributes, Problem, Scope, template};

/// How many entries one page of a listing may hold ("MaxItems": 1000).
pub const PAGE: i32 = 1000;

/// Follows the pages of an IAM listing and collects what `$items` takes from each.
macro_rules! pages {
    ($aws:expr, $action:literal, $page:ident => $items:expr, $call:expr) => {{
        let mut all = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let $page = $aws.calls.read($action, || $call.set_marker(marker.clone()).send()).await?;
            marker = if $page.is_truncated { $page.marker.clone() } else { None };
            all.extend($items);
            if marker.is_none() {
                break all;
            }
        }
    }};
}
pub(super) use pages;

/// Every role of the account with its policies, by name; see [`roles`].
pub struct Roles {
    details: HashMap<String, RoleDetail>,
    listed: HashMap<String, Role>,
}

impl Roles {
    /// A role: its details, and its entry in the listing, which holds description and session length.
    pub fn get(&self, name: &str) -> Option<(&RoleDetail, Option<&Role>)> {
        self.details.get(name).map(|details| (details, self.listed.get(name)))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &RoleDetail> {
        self.details.values()
    }
}

/// Reads all roles of the account: one paged call for everything about them, and one for the two fields that it leaves
/// out ("GetAccountAuthorizationDetails", "ListRoles").
///
/// # Errors
/// Of either call.
pub async fn roles(aws: &Aws) -> Result<std::sync::Arc<Roles>, CloudError> {
    aws.once(|| async {
        let details = async {
            Ok(pages!(aws, "iam:GetAccountAuthorizationDetails", page => page.role_detail_list.unwrap_or_default(),
                aws.iam.get_account_authorization_details().filter(EntityType::Role).max_items(PAGE)))
        };
        let listed =
            async { Ok(pages!(aws, "iam:ListRoles", page => page.roles, aws.iam.list_roles().max_items(PAGE))) };
        let (details, listed) = tokio::try_join!(details, listed)?;
        Ok::<_, CloudError>(Roles {
            details: details.into_iter().filter_map(|r| Some((r.role_name()?.to_owned(), r))).collect(),
            listed: listed.into_iter().map(|r| (r.role_name.clone(), r)).collect(),
        })
    })
    .await
}

/// Every managed policy that the account itself made, by ARN.
pub struct Policies(HashMap<String, ManagedPolicyDetail>);

impl Policies {
    /// The ARNs of all of them.
    pub fn arns(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// A policy by its ARN.
    pub fn get(&self, arn: &str) -> Option<&ManagedPolicyDetail> {
        self.0.get(arn)
    }
}

/// Reads all managed policies of the account with their documents, in one paged call.
///
/// # Errors
/// Of the call.
pub async fn policies(aws: &Aws) -> Result<std::sync::Arc<Policies>, CloudError> {
    aws.once(|| async {
        let found = pages!(aws, "iam:GetAccountAuthorizationDetails", page => page.policies.unwrap_or_default(),
            aws.iam.get_account_authorization_details().filter(EntityType::LocalManagedPolicy).max_items(PAGE));
        Ok(Policies(found.into_iter().filter_map(|p| Some((p.arn()?.to_owned(), p))).collect()))
    })
    .await
}

/// A document as IAM returns it, URL-encoded (RFC 3986), in its canonical form.
pub fn document(encoded: &str) -> PolicyDocument {
    PolicyDocument::new(&percent_decoded(encoded))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Tags in IAM's own words.
pub fn iam_tags(tags: &Tags) -> Vec<Tag> {
    // Both parts are given, so the builder cannot fail.
    tags.iter().filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok()).collect()
}

/// IAM's tags by key.
pub fn tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter(|tag| !tag.key().starts_with("aws:"))
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect()
}

/// Applies the tag part of an update with one call of each service's kind of tagging: `tag_role`, `untag_role`.
macro_rules! update_tags {
    ($aws:expr, $request:expr, $tag_action:literal, $untag_action:literal, $tag:expr, $untag:expr) => {
        if $request.changed.contains("tags") {
            let (set, removed) = $crate::kinds::tag_changes($request);
            if !set.is_empty() {
                let tags = $crate::kinds::iam::iam_tags(&set);
                $aws.calls.write($tag_action, || $tag.set_tags(Some(tags.clone())).send()).await?;
            }
            if !removed.is_empty() {
                $aws.calls.write($untag_action, || $untag.set_tag_keys(Some(removed.clone())).send()).await?;
            }
        }
    };
}
pub(super) use update_tags;

/// `arn:aws:iam::123456789012:role/path/name`, where account, path and name are known.
pub fn predicted_arn(attributes: &Attributes, scope: &Scope, kind: &str) -> Attributes {
    let (path, name) = (attributes.get("path"), attributes.get("name"));
    let unknown = |value: Option<&Value>| value.is_some_and(template::is_unknown);
    let (Some(account), false) = (&scope.account, unknown(path) || unknown(name)) else { return Attributes::new() };
    let (name, path) = (text(attributes, "name"), path.and_then(Value::as_str).unwrap_or("/"));
    if name.is_empty() {
        return Attributes::new();
    }
    let arn = format!("arn:{}:iam::{account}:{kind}{path}{name}", scope.partition);
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

/// Checks name and path ("IAM and AWS STS quotas": characters and lengths).
pub fn check_name_and_path(attributes: &Attributes, longest: usize, problems: &mut Vec<Problem>) {
    let plain = |name: &str| attributes.get(name).filter(|value| !template::is_unknown(value)).and_then(Value::as_str);
    if let Some(name) = plain("name") {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
        if name.chars().count() > longest {
            problems.push(
                Problem::at(
                    "name",
                    format!("`{name}` has {} characters, and IAM takes {longest}", name.chars().count()),
                )
                .help("give it a shorter name"),
            );
        }
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            problems.push(
                Problem::at("name", format!("`{name}` holds `{bad}`"))
                    .help("IAM names have letters, digits and + = , . @ _ -"),
            );
        }
    }
    if let Some(path) = plain("path")
        && !(path.starts_with('/') && path.ends_with('/') && !path.contains("//") && path.len() <= 512)
    {
        problems.push(
            Problem::at("path", format!("`{path}` is no path")).help("it begins and ends with a slash: \"/ecs/\""),
        );
    }
}

/// The path of what has none.
pub fn root_path() -> String {
    "/".to_owned()
}

/// AWS's own policies that do not stand at the root of its account: they are named without the path nearly everywhere,
/// and attached only with it ("AWS managed policy reference").
const SERVICE_ROLE_POLICIES: &[&str] = &[
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaVPCAccessExecutionRole",
    "AmazonEC2ContainerServiceAutoscaleRole",
    "AmazonEC2ContainerServiceEventsRole",
    "AmazonEC2ContainerServiceRole",
    "AmazonEC2ContainerServiceforEC2Role",
    "AmazonECSInfrastructureRolePolicyForServiceConnectTransportLayerSecurity",
    "AmazonECSInfrastructureRolePolicyForVolumes",
    "AmazonECSTaskExecutionRolePolicy",
    "AutoScalingNotificationAccessRole",
];

/// The canonical way to write a managed policy: AWS's own by name, `AmazonSSMManagedInstanceCore` or
/// `service-role/AmazonECSTaskExecutionRolePolicy`, and everybody else's by ARN.
pub fn policy_name(policy: &str) -> String {
    let own = match policy.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "iam", "", "aws", resource] => resource.strip_prefix("policy/"),
        _ => None,
    };
    let name = own.unwrap_or(policy);
    if SERVICE_ROLE_POLICIES.contains(&name) { format!("service-role/{name}") } else { name.to_owned() }
}

/// The ARN of a managed policy as [`policy_name`] writes it.
pub fn policy_arn(scope: &Scope, policy: &str) -> String {
    if policy.starts_with("arn:") {
        policy.to_owned()
    } else {
        format!("arn:{}:iam::aws:policy/{policy}", scope.partition)
    }
}

/// What IAM does not find although it was made seconds ago: the same call succeeds soon ("IAM is eventually
/// consistent": "Changes that I make are not always immediately visible").
pub fn soon(error: CloudError) -> CloudError {
    if error.is(ErrorClass::NotFound) { CloudError { class: ErrorClass::NotYet, ..error } } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_decoded() {
        assert_eq!(percent_decoded("%7B%22a%22%3A%20%22%C3%A9+%25%22%7D"), r#"{"a": "é+%"}"#);
        assert_eq!(percent_decoded("100% é %zz %"), "100% é %zz %");
    }

    #[test]
    fn policies_of_aws_have_one_name() {
        for policy in [
            "AmazonECSTaskExecutionRolePolicy",
            "service-role/AmazonECSTaskExecutionRolePolicy",
            "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
        ] {
            assert_eq!(policy_name(policy), "service-role/AmazonECSTaskExecutionRolePolicy");
        }
        assert_eq!(policy_name("arn:aws:iam::123456789012:policy/own"), "arn:aws:iam::123456789012:policy/own");
    }
}
