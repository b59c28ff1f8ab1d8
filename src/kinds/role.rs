//! `role`: an IAM role with its trust, inline and managed policies.
//!
//! ECS, Auto Scaling and Elastic Load Balancing use service-linked roles besides these
//! (`AWSServiceRoleForECS` …). The services make them themselves at the first call that needs one, provided the caller
//! may `iam:CreateServiceLinkedRole`; the kinds of those services name that action.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_iam::types::{AttachedPermissionsBoundary, Role as IamRole, RoleDetail};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::document::{PolicyDocument, PolicyUse, check_policy, size};
use super::{Actions, Kind, Tags, Taking, create_tags, gone_is_fine, iam, is_owned, owned, spec, taken, trust, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, template};

/// An IAM role: what a service or an application may do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name in the account. Left out: made of the names of stack and block.
    #[serde(default)]
    pub name: String,
    /// Its path: `"/ecs/"`.
    #[serde(default = "iam::root_path")]
    pub path: String,
    /// The service that may assume it, or several: `"ec2.amazonaws.com"`, `"ecs-tasks.amazonaws.com"`. Instead of
    /// `trust`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "trust::one_or_many")]
    #[schemars(schema_with = "trust::one_or_many_schema")]
    pub service: BTreeSet<String>,
    /// The trust document: who may assume it, and when. Instead of `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    pub trust: Option<PolicyDocument>,
    /// Inline policies by name. A list of files, `["policies/ecs-instance.json"]`, names each after its file. What is
    /// added to the role elsewhere is removed.
    #[serde(default)]
    #[schemars(extend("x-files" = "json"))]
    pub policies: BTreeMap<String, PolicyDocument>,
    /// Managed policies: of this stack, AWS's own by name (`"AmazonSSMManagedInstanceCore"`), or by ARN. What is
    /// attached to the role elsewhere is detached.
    #[serde(default, deserialize_with = "policy_names")]
    #[schemars(extend("x-reference" = "policy.arn"))]
    pub managed_policies: BTreeSet<String>,
    /// What it is for, up to 1000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How long a session may last, 3600 to 43200 seconds.
    #[serde(default = "an_hour")]
    pub max_session_seconds: i32,
    /// The policy that bounds what the role can be allowed at most: a managed policy.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "boundary_name")]
    #[schemars(extend("x-reference" = "policy.arn"))]
    pub boundary: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

fn an_hour() -> i32 {
    3600
}

fn policy_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    Ok(BTreeSet::<String>::deserialize(deserializer)?.iter().map(|name| iam::policy_name(name)).collect())
}

fn boundary_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(|name| iam::policy_name(&name)))
}

impl Role {
    /// The trust document, given or made for the services.
    fn trust_document(&self) -> PolicyDocument {
        self.trust.clone().unwrap_or_else(|| trust::of_services(&self.service))
    }
}

/// The characters that all inline policies of a role may have together.
const INLINE_LIMIT: usize = 10_240;
fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    iam::check_name_and_path(attributes, 64, &mut problems);
    trust::check(attributes, &mut problems);
    if let Some(Value::Object(policies)) = attributes.get("policies") {
        let mut total = 0;
        let mut known = true;
        for (name, document) in policies {
            check_policy(document, &["policies", name], PolicyUse::Identity, INLINE_LIMIT, &mut problems);
            known &= !template::is_unknown(document);
            total += document.as_str().map_or_else(|| size(&document.to_string()), size);
        }
        if known && policies.len() > 1 && total > INLINE_LIMIT {
            problems.push(
                Problem::at("policies", format!("they have {total} characters together, and AWS takes {INLINE_LIMIT}"))
                    .help("move some into a `policy` of its own and attach it with `managed_policies`"),
            );
        }
    }
    if let Some(seconds) = attributes.get("max_session_seconds").and_then(Value::as_i64)
        && !(3600..=43_200).contains(&seconds)
    {
        problems.push(
            Problem::at("max_session_seconds", format!("{seconds} seconds are out of range"))
                .help("AWS takes 3600 (one hour) to 43200 (twelve hours)"),
        );
    }
    if let Some(text) = attributes.get("description").and_then(Value::as_str)
        && text.chars().count() > 1000
    {
        problems.push(Problem::at("description", "it has more than 1000 characters").help("shorten it"));
    }
    problems
}

/// The kind `role`.
pub struct RoleKind;

#[async_trait]
impl Kind for RoleKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "path"],
            outputs: &["arn", "unique_id"],
            documents: &["trust", "policies"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: 64 }),
            check,
            predict: |attributes, scope| iam::predicted_arn(attributes, scope, "role"),
            typical_seconds: 1,
            account_wide: true,
            ..spec::<Role>("role", "IAM role")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["iam:GetAccountAuthorizationDetails", "iam:ListRoles", "iam:GetRole"],
            create: &[
                "iam:CreateRole",
                "iam:TagRole",
                "iam:GetRole",
                "iam:UpdateRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:PutRolePermissionsBoundary",
                "iam:PutRolePolicy",
                "iam:AttachRolePolicy",
            ],
            update: &[
                "iam:UpdateRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:PutRolePermissionsBoundary",
                "iam:DeleteRolePermissionsBoundary",
                "iam:PutRolePolicy",
                "iam:DeleteRolePolicy",
                "iam:AttachRolePolicy",
                "iam:DetachRolePolicy",
                "iam:TagRole",
                "iam:UntagRole",
            ],
            delete: &[
                "iam:ListRolePolicies",
                "iam:DeleteRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:DetachRolePolicy",
                "iam:ListInstanceProfilesForRole",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:DeleteRole",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "iam:PutRolePolicy" => taking.adds("policies"),
            "iam:DeleteRolePolicy" => taking.removes("policies"),
            "iam:AttachRolePolicy" => taking.adds("managed_policies"),
            "iam:DetachRolePolicy" => taking.removes("managed_policies"),
            "iam:UpdateRole" => taking.changes(&["description", "max_session_seconds"]),
            "iam:UpdateAssumeRolePolicy" => taking.changes(&["service", "trust"]),
            "iam:PutRolePermissionsBoundary" => taking.changes(&["boundary"]) && taking.has("boundary"),
            "iam:DeleteRolePermissionsBoundary" => taking.changes(&["boundary"]) && !taking.has("boundary"),
            // Of a role that is there already.
            "iam:GetRole" => false,
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let roles = iam::roles(aws).await?;
        Ok(wanted
            .iter()
            .map(|known| roles.get(&known.id).map(|(details, listed)| observe(details, listed, &known.attributes)))
            .collect())
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let roles = iam::roles(aws).await?;
        let tagged = roles.all().map(|role| (role.role_name().unwrap_or_default(), iam::tags(role.tags())));
        Ok(tagged.filter_map(|(name, tags)| owned::claimed(&aws.scope, name, &tags)).collect())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let role: Role = typed(&lost.request.attributes)?;
        let found = get(aws, &role.name).await?;
        Ok(found
            .filter(|found| is_ours(found, &role, &lost.request))
            .map(|found| observe_alone(&found, &lost.request.attributes)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let role: Role = typed(&request.attributes)?;
        let trust = role.trust_document();
        let tags = iam::iam_tags(&create_tags(request));
        let boundary = role.boundary.as_ref().map(|boundary| iam::policy_arn(&aws.scope, boundary));
        let made = aws
            .calls
            .create("iam:CreateRole", || {
                aws.iam
                    .create_role()
                    .role_name(&role.name)
                    .path(&role.path)
                    .assume_role_policy_document(trust.as_str())
                    .set_description(role.description.clone())
                    .max_session_duration(role.max_session_seconds)
                    .set_permissions_boundary(boundary.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        match made {
            Ok(answer) => {
                let outputs = answer.role().map(|role| outputs(&role.arn, &role.role_id)).unwrap_or_default();
                Ok(Created { id: role.name, outputs })
            }
            Err(error) if error.is(ErrorClass::Exists) => {
                // Ours already, from a run whose state was lost: it is taken over as it shall be.
                let Some(found) = get(aws, &role.name).await? else { return Err(error) };
                if !is_ours(&found, &role, request) {
                    return Err(taken(error, request, &iam::tags(found.tags())));
                }
                set_trust(aws, &role).await?;
                set_settings(aws, &role).await?;
                if let Some(boundary) = &boundary {
                    put_boundary(aws, &role.name, boundary).await?;
                }
                aws.calls
                    .write("iam:TagRole", || {
                        aws.iam.tag_role().role_name(&role.name).set_tags(Some(tags.clone())).send()
                    })
                    .await?;
                Ok(Created { id: role.name, outputs: outputs(&found.arn, &found.role_id) })
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let role: Role = typed(&request.attributes)?;
        for (name, document) in &role.policies {
            put_policy(aws, id, name, document).await.map_err(iam::soon)?;
        }
        for policy in &role.managed_policies {
            attach(aws, id, policy).await?;
        }
        Ok(())
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let id = request.id.as_str();
        let role: Role = typed(&request.after)?;
        let changed = |names: &[&str]| names.iter().any(|name| request.changed.contains(*name));
        if changed(&["service", "trust"]) {
            set_trust(aws, &role).await?;
        }
        if changed(&["description", "max_session_seconds"]) {
            set_settings(aws, &role).await?;
        }
        if changed(&["boundary"]) {
            match &role.boundary {
                Some(boundary) => put_boundary(aws, id, &iam::policy_arn(&aws.scope, boundary)).await?,
                None => {
                    let call = || aws.iam.delete_role_permissions_boundary().role_name(id).send();
                    gone_is_fine(aws.calls.write("iam:DeleteRolePermissionsBoundary", call).await.map(|_| ()))?;
                }
            }
        }
        if changed(&["policies"]) {
            let before: BTreeMap<String, PolicyDocument> = part(&request.before, "policies");
            for (name, document) in role.policies.iter().filter(|(name, document)| before.get(*name) != Some(document))
            {
                put_policy(aws, id, name, document).await?;
            }
            for name in before.keys().filter(|name| !role.policies.contains_key(*name)) {
                delete_policy(aws, id, name).await?;
            }
        }
        if changed(&["managed_policies"]) {
            let before: BTreeSet<String> = part(&request.before, "managed_policies");
            for policy in role.managed_policies.difference(&before) {
                attach(aws, id, policy).await?;
            }
            for policy in before.difference(&role.managed_policies) {
                detach(aws, id, &iam::policy_arn(&aws.scope, policy)).await?;
            }
        }
        iam::update_tags!(
            aws,
            request,
            "iam:TagRole",
            "iam:UntagRole",
            aws.iam.tag_role().role_name(id),
            aws.iam.untag_role().role_name(id)
        );
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        gone_is_fine(delete_whole(aws, &known.id).await)
    }
}

/// A part of the attributes, or its default where it is not there.
fn part<T: serde::de::DeserializeOwned + Default>(attributes: &Attributes, name: &str) -> T {
    attributes.get(name).and_then(|value| T::deserialize(value.clone()).ok()).unwrap_or_default()
}

async fn get(aws: &Aws, name: &str) -> Result<Option<IamRole>, CloudError> {
    match aws.calls.read("iam:GetRole", || aws.iam.get_role().role_name(name).send()).await {
        Ok(answer) => Ok(answer.role),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_ours(found: &IamRole, role: &Role, request: &CreateRequest) -> bool {
    is_owned(&request.attributes, &iam::tags(found.tags())) && found.path == role.path
}

fn outputs(arn: &str, unique_id: &str) -> Attributes {
    Attributes::from_iter([("arn".to_owned(), json!(arn)), ("unique_id".to_owned(), json!(unique_id))])
}

/// What both answers of IAM hold of a role.
struct Common<'a> {
    name: &'a str,
    path: &'a str,
    trust: Option<&'a str>,
    boundary: Option<&'a AttachedPermissionsBoundary>,
    tags: Tags,
}

fn common(role: &Common<'_>, last: &Attributes) -> Attributes {
    let mut out = Attributes::new();
    out.insert("name".into(), json!(role.name));
    out.insert("path".into(), json!(role.path));
    if let Some(trust) = role.trust.map(iam::document) {
        // Shown in the words in which it was given; a trust that `service` cannot say is shown whole.
        match trust::services_of(&trust) {
            Some(services) if !last.contains_key("trust") => drop(out.insert("service".into(), json!(services))),
            services => {
                if services.is_none() && last.contains_key("service") {
                    out.insert("service".into(), json!([]));
                }
                out.insert("trust".into(), json!(trust));
            }
        }
    }
    let boundary = role.boundary.and_then(AttachedPermissionsBoundary::permissions_boundary_arn).map(iam::policy_name);
    if boundary.is_some() || last.contains_key("boundary") {
        out.insert("boundary".into(), json!(boundary));
    }
    out.insert("tags".into(), json!(role.tags));
    out
}

fn listed_fields(role: &IamRole, last: &Attributes, out: &mut Attributes) {
    let description = role.description().unwrap_or_default();
    if !description.is_empty() || last.contains_key("description") {
        out.insert("description".into(), json!(description));
    }
    if let Some(seconds) = role.max_session_duration() {
        out.insert("max_session_seconds".into(), json!(seconds));
    }
}

fn observe(role: &RoleDetail, listed: Option<&IamRole>, last: &Attributes) -> Observed {
    let name = role.role_name().unwrap_or_default();
    let mut attributes = common(
        &Common {
            name,
            path: role.path().unwrap_or("/"),
            trust: role.assume_role_policy_document(),
            boundary: role.permissions_boundary(),
            tags: iam::tags(role.tags()),
        },
        last,
    );
    if let Some(listed) = listed {
        listed_fields(listed, last, &mut attributes);
    }
    let policies: BTreeMap<&str, PolicyDocument> = role
        .role_policy_list()
        .iter()
        .filter_map(|policy| Some((policy.policy_name()?, iam::document(policy.policy_document()?))))
        .collect();
    attributes.insert("policies".into(), json!(policies));
    let managed: BTreeSet<String> =
        role.attached_managed_policies().iter().filter_map(|p| p.policy_arn().map(iam::policy_name)).collect();
    attributes.insert("managed_policies".into(), json!(managed));
    let outputs = outputs(role.arn().unwrap_or_default(), role.role_id().unwrap_or_default());
    Observed { id: name.to_owned(), attributes, outputs }
}

/// What `GetRole` says: everything but the policies.
fn observe_alone(role: &IamRole, last: &Attributes) -> Observed {
    let mut attributes = common(
        &Common {
            name: &role.role_name,
            path: &role.path,
            trust: role.assume_role_policy_document(),
            boundary: role.permissions_boundary(),
            tags: iam::tags(role.tags()),
        },
        last,
    );
    listed_fields(role, last, &mut attributes);
    Observed { id: role.role_name.clone(), attributes, outputs: outputs(&role.arn, &role.role_id) }
}

async fn set_trust(aws: &Aws, role: &Role) -> Result<(), CloudError> {
    let trust = role.trust_document();
    aws.calls
        .write("iam:UpdateAssumeRolePolicy", || {
            aws.iam.update_assume_role_policy().role_name(&role.name).policy_document(trust.as_str()).send()
        })
        .await?;
    Ok(())
}

async fn set_settings(aws: &Aws, role: &Role) -> Result<(), CloudError> {
    aws.calls
        .write("iam:UpdateRole", || {
            aws.iam
                .update_role()
                .role_name(&role.name)
                .description(role.description.as_deref().unwrap_or_default())
                .max_session_duration(role.max_session_seconds)
                .send()
        })
        .await?;
    Ok(())
}

async fn put_boundary(aws: &Aws, role: &str, boundary: &str) -> Result<(), CloudError> {
    aws.calls
        .write("iam:PutRolePermissionsBoundary", || {
            aws.iam.put_role_permissions_boundary().role_name(role).permissions_boundary(boundary).send()
        })
        .await?;
    Ok(())
}

async fn put_policy(aws: &Aws, role: &str, name: &str, document: &PolicyDocument) -> Result<(), CloudError> {
    aws.calls
        .write("iam:PutRolePolicy", || {
            aws.iam.put_role_policy().role_name(role).policy_name(name).policy_document(document.as_str()).send()
        })
        .await?;
    Ok(())
}

async fn delete_policy(aws: &Aws, role: &str, name: &str) -> Result<(), CloudError> {
    let call = || aws.iam.delete_role_policy().role_name(role).policy_name(name).send();
    gone_is_fine(aws.calls.write("iam:DeleteRolePolicy", call).await.map(|_| ()))
}

async fn attach(aws: &Aws, role: &str, policy: &str) -> Result<(), CloudError> {
    let arn = iam::policy_arn(&aws.scope, policy);
    let call = || aws.iam.attach_role_policy().role_name(role).policy_arn(&arn).send();
    let attached = aws.calls.write("iam:AttachRolePolicy", call).await;
    attached.map(|_| ()).map_err(|error| {
        // AWS's own policies are always there; what the account made a moment ago is visible soon.
        if policy != arn && error.message.contains("olicy") {
            error.help(format!(
                "AWS has no policy `{policy}`: see the AWS managed policy reference for its path and name"
            ))
        } else {
            iam::soon(error)
        }
    })
}

async fn detach(aws: &Aws, role: &str, arn: &str) -> Result<(), CloudError> {
    let call = || aws.iam.detach_role_policy().role_name(role).policy_arn(arn).send();
    gone_is_fine(aws.calls.write("iam:DetachRolePolicy", call).await.map(|_| ()))
}

/// Empties the role, as IAM wants it, and deletes it ("DeleteRole").
async fn delete_whole(aws: &Aws, name: &str) -> Result<(), CloudError> {
    let inline = iam::pages!(aws, "iam:ListRolePolicies", page => page.policy_names,
        aws.iam.list_role_policies().role_name(name));
    for policy in &inline {
        delete_policy(aws, name, policy).await?;
    }
    let attached = iam::pages!(aws, "iam:ListAttachedRolePolicies", page => page.attached_policies.unwrap_or_default(),
        aws.iam.list_attached_role_policies().role_name(name));
    for arn in attached.iter().filter_map(|policy| policy.policy_arn()) {
        detach(aws, name, arn).await?;
    }
    let profiles = iam::pages!(aws, "iam:ListInstanceProfilesForRole", page => page.instance_profiles,
        aws.iam.list_instance_profiles_for_role().role_name(name));
    for profile in &profiles {
        let profile = &profile.instance_profile_name;
        let call = || aws.iam.remove_role_from_instance_profile().instance_profile_name(profile).role_name(name).send();
        gone_is_fine(aws.calls.write("iam:RemoveRoleFromInstanceProfile", call).await.map(|_| ()))?;
    }
    aws.calls.write("iam:DeleteRole", || aws.iam.delete_role().role_name(name).send()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_role_is_said() {
        let attributes = |value: Value| value.as_object().cloned().unwrap();
        let messages = |value: Value| {
            check(&attributes(value))
                .into_iter()
                .map(|p| format!("{} | {}", p.message, p.help.unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert!(messages(json!({})).contains("nobody may assume"));
        assert!(messages(json!({"service": "ec2"})).contains("did you mean \"ec2.amazonaws.com\"?"));
        assert!(messages(json!({"service": ["ec2.amazonaws.com"], "trust": "{}"})).contains("keep one"));
        assert!(messages(json!({"service": "ec2.amazonaws.com", "max_session_seconds": 60})).contains("out of range"));
        assert_eq!(messages(json!({"service": "${vars.service}", "name": "a", "path": "/"})), "");
    }
}
