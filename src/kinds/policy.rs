//! `policy`: a managed policy of the account, to be attached to several roles.

use async_trait::async_trait;
use aws_sdk_iam::types::{ManagedPolicyDetail, Policy as IamPolicy, PolicyVersion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::{PolicyDocument, PolicyUse, check_policy};
use super::{
    Actions, During, Kind, Tags, Taking, create_tags, gone_is_fine, iam, is_of_stack, is_owned, owned, spec, taken,
    text, typed,
};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, TOKEN_TAG, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder};

/// A managed policy: what is allowed, attached to several roles.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name in the account. Left out: made of the names of stack and block.
    #[serde(default)]
    pub name: String,
    /// Its path: `"/ecs/"`.
    #[serde(default = "iam::root_path")]
    pub path: String,
    /// What it allows: `"policies/pull.json"`, or the document itself. A change makes a new default version.
    #[schemars(extend("x-file" = "json"))]
    pub document: PolicyDocument,
    /// What it is for, up to 1000 characters. IAM cannot change it: a change makes the policy anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The characters that a managed policy may have ("IAM and AWS STS quotas").
const LIMIT: usize = 6144;
/// The versions that a managed policy may have ("Versioning IAM policies").
const VERSIONS: usize = 5;

/// The kind `policy`.
pub struct PolicyKind;

#[async_trait]
impl Kind for PolicyKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "path", "description"],
            outputs: &["arn"],
            documents: &["document"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: 128 }),
            check: |attributes| {
                let mut problems = Vec::new();
                iam::check_name_and_path(attributes, 128, &mut problems);
                if let Some(document) = attributes.get("document") {
                    check_policy(document, &["document"], PolicyUse::Identity, LIMIT, &mut problems);
                }
                if text(attributes, "description").chars().count() > 1000 {
                    let problem = Problem::at("description", "it has more than 1000 characters");
                    problems.push(problem.help("shorten it"));
                }
                problems
            },
            predict: |attributes, scope| iam::predicted_arn(attributes, scope, "policy"),
            typical_seconds: 1,
            account_wide: true,
            ..spec::<Policy>("policy", "IAM policy")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["iam:GetAccountAuthorizationDetails", "iam:GetPolicy"],
            create: &[
                "iam:CreatePolicy",
                "iam:TagPolicy",
                "iam:GetPolicy",
                "iam:ListPolicyVersions",
                "iam:GetPolicyVersion",
                "iam:CreatePolicyVersion",
                "iam:DeletePolicyVersion",
            ],
            update: &[
                "iam:ListPolicyVersions",
                "iam:GetPolicyVersion",
                "iam:CreatePolicyVersion",
                "iam:DeletePolicyVersion",
                "iam:TagPolicy",
                "iam:UntagPolicy",
            ],
            delete: &[
                "iam:ListPolicyVersions",
                "iam:DeletePolicyVersion",
                "iam:DeletePolicy",
                "iam:ListEntitiesForPolicy",
                "iam:GetRole",
                "iam:DetachRolePolicy",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            _ if taking.creates() => matches!(call, "iam:CreatePolicy" | "iam:TagPolicy"),
            "iam:ListPolicyVersions"
            | "iam:GetPolicyVersion"
            | "iam:CreatePolicyVersion"
            | "iam:DeletePolicyVersion"
                if taking.during == During::Update =>
            {
                taking.changes(&["document"])
            }
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        // The account's details hold no tags of policies: one read each.
        let each = futures_util::future::try_join_all(wanted.iter().map(|known| get(aws, &known.id)));
        let (policies, each) = tokio::try_join!(iam::policies(aws), each)?;
        let seen = wanted.iter().zip(each).map(|(known, alone)| {
            let mut observed = observe(policies.get(&known.id)?, &known.attributes);
            let tags = alone.map(|policy| ("tags".to_owned(), json!(iam::tags(policy.tags()))));
            observed.attributes.extend(tags);
            Some(observed)
        });
        Ok(seen.collect())
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let arns = iam::policies(aws).await?.arns();
        owned::claimed_by_one(aws, arns, |arn| async move {
            Ok(get(aws, &arn).await?.map(|policy| iam::tags(policy.tags())).unwrap_or_default())
        })
        .await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let policy: Policy = typed(&lost.request.attributes)?;
        let arn = arn_of(aws, &policy)?;
        Ok(get(aws, &arn).await?.and_then(|found| {
            is_owned(&lost.request.attributes, &iam::tags(found.tags())).then(|| {
                let attributes = Attributes::from_iter([
                    ("name".to_owned(), json!(policy.name)),
                    ("path".to_owned(), json!(policy.path)),
                    ("tags".to_owned(), json!(iam::tags(found.tags()))),
                ]);
                Observed { id: arn.clone(), attributes, outputs: outputs(&arn) }
            })
        }))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let policy: Policy = typed(&request.attributes)?;
        let tags = iam::iam_tags(&create_tags(request));
        let made = aws
            .calls
            .create("iam:CreatePolicy", || {
                aws.iam
                    .create_policy()
                    .policy_name(&policy.name)
                    .path(&policy.path)
                    .policy_document(policy.document.as_str())
                    .set_description(policy.description.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        match made {
            Ok(answer) => {
                let arn = answer.policy().and_then(IamPolicy::arn).unwrap_or_default();
                Ok(Created { id: arn.to_owned(), outputs: outputs(arn) })
            }
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                let Some(found) = found else {
                    let other = get(aws, &arn_of(aws, &policy)?).await?;
                    return Err(match other {
                        Some(other) => taken(error, request, &iam::tags(other.tags())),
                        None => error,
                    });
                };
                set_document(aws, &found.id, &policy.document).await?;
                let tags = iam::iam_tags(&Tags::from([(TOKEN_TAG.to_owned(), request.token.clone())]));
                aws.calls
                    .write("iam:TagPolicy", || {
                        aws.iam.tag_policy().policy_arn(&found.id).set_tags(Some(tags.clone())).send()
                    })
                    .await?;
                Ok(Created { id: found.id, outputs: found.outputs })
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let id = request.id.as_str();
        let policy: Policy = typed(&request.after)?;
        if request.changed.contains("document") {
            set_document(aws, id, &policy.document).await?;
        }
        iam::update_tags!(
            aws,
            request,
            "iam:TagPolicy",
            "iam:UntagPolicy",
            aws.iam.tag_policy().policy_arn(id),
            aws.iam.untag_policy().policy_arn(id)
        );
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let holders = match detach_own(aws, known).await {
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(()),
            holders => holders?,
        };
        match delete_whole(aws, &known.id).await {
            Err(error) if error.is(ErrorClass::NotFound) => Ok(()),
            // It is not detached from others, and waiting does not detach it either.
            Err(error) if error.code == "DeleteConflict" && !holders.is_empty() => {
                let error = CloudError { class: ErrorClass::Refused, ..error };
                Err(error.help(format!("detach it from {} first, then run the same command again", holders.join(", "))))
            }
            other => other,
        }
    }
}

fn outputs(arn: &str) -> Attributes {
    Attributes::from_iter([("arn".to_owned(), json!(arn))])
}

fn observe(policy: &ManagedPolicyDetail, last: &Attributes) -> Observed {
    let arn = policy.arn().unwrap_or_default();
    let mut attributes = Attributes::new();
    // The ARN says both; an emulator leaves the name out of the account's details.
    if let Some((_, resource)) = arn.split_once(":policy")
        && let Some((path, name)) = resource.rsplit_once('/')
    {
        attributes.insert("name".into(), json!(name));
        attributes.insert("path".into(), json!(format!("{path}/")));
    }
    let default = policy.policy_version_list().iter().find(|version| version.is_default_version);
    if let Some(document) = default.and_then(PolicyVersion::document) {
        attributes.insert("document".into(), json!(iam::document(document)));
    }
    // The account's details may leave the description out; it cannot change, so that is nothing lost.
    if let Some(description) = policy.description().filter(|text| !text.is_empty() || last.contains_key("description"))
    {
        attributes.insert("description".into(), json!(description));
    }
    Observed { id: arn.to_owned(), attributes, outputs: outputs(arn) }
}

/// The ARN of a policy of this name, which is its id.
fn arn_of(aws: &Aws, policy: &Policy) -> Result<String, CloudError> {
    let Some(account) = &aws.scope.account else {
        return Err(CloudError::unexpected("iam:GetPolicy", "the account is not known"));
    };
    Ok(format!("arn:{}:iam::{account}:policy{}{}", aws.scope.partition, policy.path, policy.name))
}

async fn get(aws: &Aws, arn: &str) -> Result<Option<IamPolicy>, CloudError> {
    match aws.calls.read("iam:GetPolicy", || aws.iam.get_policy().policy_arn(arn).send()).await {
        Ok(answer) => Ok(answer.policy),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn versions(aws: &Aws, arn: &str) -> Result<Vec<PolicyVersion>, CloudError> {
    Ok(iam::pages!(aws, "iam:ListPolicyVersions", page => page.versions.unwrap_or_default(),
        aws.iam.list_policy_versions().policy_arn(arn)))
}

async fn delete_version(aws: &Aws, arn: &str, version: &PolicyVersion) -> Result<(), CloudError> {
    let id = version.version_id().unwrap_or_default();
    let call = || aws.iam.delete_policy_version().policy_arn(arn).version_id(id).send();
    gone_is_fine(aws.calls.write("iam:DeletePolicyVersion", call).await.map(|_| ()))
}

/// Makes this the default version's document, unless it is already; the oldest other version makes room.
async fn set_document(aws: &Aws, arn: &str, document: &PolicyDocument) -> Result<(), CloudError> {
    let mut versions = versions(aws, arn).await?;
    if let Some(default) = versions.iter().find(|version| version.is_default_version) {
        let id = default.version_id().unwrap_or_default();
        let call = || aws.iam.get_policy_version().policy_arn(arn).version_id(id).send();
        let answer = aws.calls.read("iam:GetPolicyVersion", call).await?;
        let current = answer.policy_version().and_then(PolicyVersion::document).map(iam::document);
        if current.as_ref() == Some(document) {
            return Ok(());
        }
    }
    let total = versions.len();
    versions.retain(|version| !version.is_default_version);
    versions.sort_by_key(number);
    for version in versions.iter().take((total + 1).saturating_sub(VERSIONS)) {
        delete_version(aws, arn, version).await?;
    }
    aws.calls
        .create("iam:CreatePolicyVersion", || {
            aws.iam
                .create_policy_version()
                .policy_arn(arn)
                .policy_document(document.as_str())
                .set_as_default(true)
                .send()
        })
        .await?;
    Ok(())
}

/// The number of a version, `12` of `v12`: later ones are higher.
fn number(version: &PolicyVersion) -> u64 {
    version.version_id().and_then(|id| id.strip_prefix('v')?.parse().ok()).unwrap_or_default()
}

async fn delete_whole(aws: &Aws, arn: &str) -> Result<(), CloudError> {
    for version in versions(aws, arn).await?.iter().filter(|version| !version.is_default_version) {
        delete_version(aws, arn, version).await?;
    }
    aws.calls.write("iam:DeletePolicy", || aws.iam.delete_policy().policy_arn(arn).send()).await?;
    Ok(())
}

/// Detaches the policy from the roles of its own stack: they still hold it where it goes before its successor of the same
/// name comes. Gives who else holds it: roles of others, users and groups.
async fn detach_own(aws: &Aws, known: &Known) -> Result<Vec<String>, CloudError> {
    let arn = known.id.as_str();
    let call = || aws.iam.list_entities_for_policy().policy_arn(arn).send();
    let entities = aws.calls.read("iam:ListEntitiesForPolicy", call).await?;
    let users = entities.policy_users().iter().filter_map(|user| Some(format!("user {}", user.user_name()?)));
    let groups = entities.policy_groups().iter().filter_map(|group| Some(format!("group {}", group.group_name()?)));
    let mut holders: Vec<String> = users.chain(groups).collect();
    for name in entities.policy_roles().iter().filter_map(|role| role.role_name()) {
        let found = match aws.calls.read("iam:GetRole", || aws.iam.get_role().role_name(name).send()).await {
            Err(error) if error.is(ErrorClass::NotFound) => continue,
            found => found?,
        };
        if found.role().is_some_and(|role| is_of_stack(&known.attributes, &iam::tags(role.tags()))) {
            let call = || aws.iam.detach_role_policy().role_name(name).policy_arn(arn).send();
            gone_is_fine(aws.calls.write("iam:DetachRolePolicy", call).await.map(|_| ()))?;
        } else {
            holders.push(format!("role {name}"));
        }
    }
    Ok(holders)
}
