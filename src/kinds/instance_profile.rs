//! `instance_profile`: what hands a role to EC2 instances.

use async_trait::async_trait;
use aws_sdk_iam::types::InstanceProfile as IamProfile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, During, Kind, Tags, Taking, create_tags, gone_is_fine, iam, is_owned, owned, spec, taken, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec, Naming, ReplaceOrder};

/// An instance profile: hands a role to EC2 instances.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceProfile {
    /// Its name in the account. Left out: made of the names of stack and block.
    #[serde(default)]
    pub name: String,
    /// Its path: `"/ecs/"`.
    #[serde(default = "iam::root_path")]
    pub path: String,
    /// The role: its name in the stack, a reference or a role's name.
    #[schemars(extend("x-reference" = "role.name"))]
    pub role: String,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The kind `instance_profile`.
pub struct InstanceProfileKind;

#[async_trait]
impl Kind for InstanceProfileKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["name", "path"],
            outputs: &["arn"],
            identity: Identity::UniqueName,
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: 128 }),
            check: |attributes| {
                let mut problems = Vec::new();
                iam::check_name_and_path(attributes, 128, &mut problems);
                problems
            },
            predict: |attributes, scope| iam::predicted_arn(attributes, scope, "instance-profile"),
            typical_seconds: 1,
            account_wide: true,
            ..spec::<InstanceProfile>("instance_profile", "instance profile")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &[
                "iam:GetAccountAuthorizationDetails",
                "iam:ListRoles",
                "iam:GetInstanceProfile",
                "iam:ListInstanceProfiles",
            ],
            create: &[
                "iam:CreateInstanceProfile",
                "iam:TagInstanceProfile",
                "iam:GetInstanceProfile",
                "iam:AddRoleToInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:PassRole",
            ],
            update: &[
                "iam:GetInstanceProfile",
                "iam:AddRoleToInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:PassRole",
                "iam:TagInstanceProfile",
                "iam:UntagInstanceProfile",
            ],
            delete: &["iam:GetInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "iam:AddRoleToInstanceProfile" | "iam:PassRole" => taking.gains("role"),
            "iam:RemoveRoleFromInstanceProfile" => taking.loses("role"),
            "iam:GetInstanceProfile" if taking.during == During::Update => taking.changes(&["role"]),
            // The account's roles are of no interest here.
            "iam:GetAccountAuthorizationDetails" | "iam:ListRoles" => false,
            _ => taking.takes(call),
        }
    }

    /// No listing holds the tags of profiles: one read each.
    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let each = futures_util::future::try_join_all(wanted.iter().map(|known| get(aws, &known.id))).await?;
        Ok(each.into_iter().map(|found| found.as_ref().map(observe)).collect())
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let listed = iam::pages!(aws, "iam:ListInstanceProfiles", page => page.instance_profiles,
            aws.iam.list_instance_profiles().max_items(iam::PAGE));
        let names = listed.into_iter().map(|profile| profile.instance_profile_name).collect();
        owned::claimed_by_one(aws, names, |name| async move {
            Ok(get(aws, &name).await?.map(|profile| iam::tags(profile.tags())).unwrap_or_default())
        })
        .await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let profile: InstanceProfile = typed(&lost.request.attributes)?;
        let found = get(aws, &profile.name).await?;
        Ok(found.filter(|found| is_ours(found, &profile, &lost.request)).map(|found| observe(&found)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let profile: InstanceProfile = typed(&request.attributes)?;
        let tags = iam::iam_tags(&create_tags(request));
        let made = aws
            .calls
            .create("iam:CreateInstanceProfile", || {
                aws.iam
                    .create_instance_profile()
                    .instance_profile_name(&profile.name)
                    .path(&profile.path)
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        match made {
            Ok(answer) => {
                let outputs = answer.instance_profile().map(outputs).unwrap_or_default();
                Ok(Created { id: profile.name, outputs })
            }
            Err(error) if error.is(ErrorClass::Exists) => {
                let Some(found) = get(aws, &profile.name).await? else { return Err(error) };
                if !is_ours(&found, &profile, request) {
                    return Err(taken(error, request, &iam::tags(found.tags())));
                }
                Ok(Created { id: profile.name, outputs: outputs(&found) })
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let profile: InstanceProfile = typed(&request.attributes)?;
        set_role(aws, id, &profile.role).await.map_err(iam::soon)
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let id = request.id.as_str();
        let profile: InstanceProfile = typed(&request.after)?;
        if request.changed.contains("role") {
            set_role(aws, id, &profile.role).await.map_err(iam::soon)?;
        }
        iam::update_tags!(
            aws,
            request,
            "iam:TagInstanceProfile",
            "iam:UntagInstanceProfile",
            aws.iam.tag_instance_profile().instance_profile_name(id),
            aws.iam.untag_instance_profile().instance_profile_name(id)
        );
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let Some(profile) = get(aws, &known.id).await? else { return Ok(()) };
        for role in profile.roles() {
            remove_role(aws, &known.id, &role.role_name).await?;
        }
        let call = || aws.iam.delete_instance_profile().instance_profile_name(&known.id).send();
        gone_is_fine(aws.calls.write("iam:DeleteInstanceProfile", call).await.map(|_| ()))
    }
}

fn is_ours(found: &IamProfile, profile: &InstanceProfile, request: &CreateRequest) -> bool {
    is_owned(&request.attributes, &iam::tags(found.tags())) && found.path == profile.path
}

fn outputs(profile: &IamProfile) -> Attributes {
    Attributes::from_iter([("arn".to_owned(), json!(profile.arn))])
}

/// What a role's details say of a profile. Without a role the attribute reads null, which is drift.
fn observe(profile: &IamProfile) -> Observed {
    let attributes = Attributes::from_iter([
        ("name".to_owned(), json!(profile.instance_profile_name)),
        ("path".to_owned(), json!(profile.path)),
        ("role".to_owned(), json!(profile.roles().first().map(|role| role.role_name.as_str()))),
        ("tags".to_owned(), json!(iam::tags(profile.tags()))),
    ]);
    Observed { id: profile.instance_profile_name.clone(), attributes, outputs: outputs(profile) }
}

async fn get(aws: &Aws, name: &str) -> Result<Option<IamProfile>, CloudError> {
    let call = || aws.iam.get_instance_profile().instance_profile_name(name).send();
    match aws.calls.read("iam:GetInstanceProfile", call).await {
        Ok(answer) => Ok(answer.instance_profile),
        Err(error) if error.is(ErrorClass::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes this the profile's role; a profile has one at most ("AddRoleToInstanceProfile").
async fn set_role(aws: &Aws, profile: &str, role: &str) -> Result<(), CloudError> {
    let Some(found) = get(aws, profile).await? else {
        let message = format!("the instance profile {profile} is not there");
        return Err(CloudError::new(ErrorClass::NotFound, "iam:GetInstanceProfile", "NoSuchEntity", message));
    };
    for other in found.roles().iter().filter(|other| other.role_name != role) {
        remove_role(aws, profile, &other.role_name).await?;
    }
    if found.roles().iter().any(|one| one.role_name == role) {
        return Ok(());
    }
    aws.calls
        .write("iam:AddRoleToInstanceProfile", || {
            aws.iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(role).send()
        })
        .await?;
    Ok(())
}

async fn remove_role(aws: &Aws, profile: &str, role: &str) -> Result<(), CloudError> {
    let call = || aws.iam.remove_role_from_instance_profile().instance_profile_name(profile).role_name(role).send();
    gone_is_fine(aws.calls.write("iam:RemoveRoleFromInstanceProfile", call).await.map(|_| ()))
}
