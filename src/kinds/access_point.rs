//! `access_point`: a folder of a file system, and as whom it is entered.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_efs::types::{AccessPointDescription, CreationInfo, LifeCycleState, PosixUser, RootDirectory};
use aws_smithy_types::error::operation::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, efs, gone_is_fine, in_order, owned, spec, tags_of, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, TOKEN_TAG,
    UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem, ReplaceOrder};

/// A folder of a file system, and as whom it is entered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessPoint {
    /// The file system.
    #[schemars(extend("x-reference" = "file_system.id"))]
    pub file_system: String,
    /// The folder that is the root.
    #[serde(default = "root")]
    pub path: String,
    /// As whom files are read and written, whoever asks. Without it: as whom asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Whose the folder is where it has to be made. Without it a folder that is missing cannot be mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// As whom files are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Numbers of further groups.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub more_gids: BTreeSet<u32>,
}

/// Whose a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// What may be done with it, in octal digits.
    #[serde(default = "usual_permissions")]
    pub permissions: String,
}

fn root() -> String {
    "/".to_owned()
}

fn usual_permissions() -> String {
    "0755".to_owned()
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(point) = serde_json::from_value::<AccessPoint>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if !point.path.starts_with('/') && !point.path.contains("${") {
        let help = format!("write path = \"/{}\"", point.path);
        problems.push(Problem::at("path", format!("`{}` is no path from the root", point.path)).help(help));
    }
    if let Some(owner) = &point.owner {
        let octal = owner.permissions.chars().all(|c| matches!(c, '0'..='7'));
        if !octal || !(3..=4).contains(&owner.permissions.len()) {
            let message = format!("`{}` are no permissions", owner.permissions);
            problems.push(Problem::at("owner.permissions", message).help("write \"0755\""));
        }
    }
    problems
}

/// The kind `access_point`.
pub struct AccessPointKind;

#[async_trait]
impl Kind for AccessPointKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["file_system", "path", "user", "owner"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["arn"],
            identity: Identity::ClientToken,
            check,
            typical_seconds: 5,
            ..spec::<AccessPoint>("access_point", "access point")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["elasticfilesystem:DescribeAccessPoints"],
            create: &[
                "elasticfilesystem:CreateAccessPoint",
                "elasticfilesystem:TagResource",
                "elasticfilesystem:DescribeAccessPoints",
            ],
            update: &[
                "elasticfilesystem:TagResource",
                "elasticfilesystem:UntagResource",
                "elasticfilesystem:DescribeAccessPoints",
            ],
            delete: &["elasticfilesystem:DeleteAccessPoint", "elasticfilesystem:DescribeAccessPoints"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        Ok(in_order(wanted, of_systems(aws, wanted).await?.iter().map(observe).collect()))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(owned::of_observed(&aws.scope, of_system(aws, None).await?.iter().map(observe)))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = of_system(aws, Some(text(&lost.request.attributes, "file_system"))).await?;
        let token = |one: &Observed| tags_of(&one.attributes).get(TOKEN_TAG) == Some(&lost.request.token);
        Ok(found.iter().map(observe).find(token))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let point: AccessPoint = typed(&request.attributes)?;
        let unbuilt =
            |error: BuildError| CloudError::unexpected("elasticfilesystem:CreateAccessPoint", error.to_string());
        let (tags, folder) = (efs::new_tags(request)?, folder(&point).map_err(unbuilt)?);
        let user = point.user.as_ref().map(user).transpose().map_err(unbuilt)?;
        let answer = aws
            .calls
            .write("elasticfilesystem:CreateAccessPoint", || {
                aws.efs
                    .create_access_point()
                    .client_token(&request.token)
                    .file_system_id(&point.file_system)
                    .root_directory(folder.clone())
                    .set_posix_user(user.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        let id = answer.access_point_id.unwrap_or_default();
        let arn = answer.access_point_arn;
        Ok(Created { outputs: Attributes::from_iter([("arn".to_owned(), json!(arn))]), id })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        efs::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.efs.delete_access_point().access_point_id(&known.id).send();
        gone_is_fine(aws.calls.write("elasticfilesystem:DeleteAccessPoint", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = of_system(aws, Some(text(&known.attributes, "file_system"))).await?;
        let found = found.into_iter().find(|one| one.access_point_id() == Some(&known.id));
        let state = found.as_ref().and_then(|one| one.life_cycle_state());
        Ok(match (phase, state) {
            (Phase::Deleted, None | Some(LifeCycleState::Deleted))
            | (Phase::Created | Phase::Updated, Some(LifeCycleState::Available)) => Progress::Done(Attributes::new()),
            (_, state) => Progress::Pending(state.map_or("visible", |state| state.as_str()).to_owned()),
        })
    }
}

/// The access points of the file systems that these are in.
async fn of_systems(aws: &Aws, wanted: &[Known]) -> Result<Vec<AccessPointDescription>, CloudError> {
    let systems: BTreeSet<&str> = wanted.iter().map(|known| text(&known.attributes, "file_system")).collect();
    let mut found = Vec::new();
    for system in systems {
        found.extend(of_system(aws, Some(system)).await?);
    }
    found.retain(|one| !matches!(one.life_cycle_state(), Some(LifeCycleState::Deleting | LifeCycleState::Deleted)));
    Ok(found)
}

/// The access points of a file system, or of all.
async fn of_system(aws: &Aws, system: Option<&str>) -> Result<Vec<AccessPointDescription>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || {
            aws.efs
                .describe_access_points()
                .set_file_system_id(system.map(str::to_owned))
                .set_next_token(next.clone())
                .send()
        };
        let page = match aws.calls.read("elasticfilesystem:DescribeAccessPoints", call).await {
            // With its file system an access point is gone, too.
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
            page => page?,
        };
        found.extend(page.access_points.unwrap_or_default());
        next = page.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn folder(point: &AccessPoint) -> Result<RootDirectory, BuildError> {
    let owner = point.owner.as_ref().map(|owner| {
        CreationInfo::builder()
            .owner_uid(owner.uid.into())
            .owner_gid(owner.gid.into())
            .permissions(&owner.permissions)
            .build()
    });
    Ok(RootDirectory::builder().path(&point.path).set_creation_info(owner.transpose()?).build())
}

fn user(user: &User) -> Result<PosixUser, BuildError> {
    let more: Vec<i64> = user.more_gids.iter().map(|gid| i64::from(*gid)).collect();
    PosixUser::builder()
        .uid(user.uid.into())
        .gid(user.gid.into())
        .set_secondary_gids((!more.is_empty()).then_some(more))
        .build()
}

fn observe(one: &AccessPointDescription) -> Observed {
    let number = |number: i64| u32::try_from(number).unwrap_or_default();
    let id = one.access_point_id().unwrap_or_default().to_owned();
    let user = one.posix_user().map(|user| User {
        uid: number(user.uid()),
        gid: number(user.gid()),
        more_gids: user.secondary_gids().iter().map(|gid| number(*gid)).collect(),
    });
    let folder = one.root_directory();
    let owner = folder.and_then(|folder| folder.creation_info()).map(|info| Owner {
        uid: number(info.owner_uid()),
        gid: number(info.owner_gid()),
        permissions: info.permissions().to_owned(),
    });
    let attributes = Attributes::from_iter([
        ("file_system".to_owned(), json!(one.file_system_id())),
        ("path".to_owned(), json!(folder.and_then(|folder| folder.path()).map_or_else(root, str::to_owned))),
        ("user".to_owned(), json!(user)),
        ("owner".to_owned(), json!(owner)),
        ("tags".to_owned(), efs::tags(one.tags())),
    ]);
    let outputs = [("id".to_owned(), json!(id)), ("arn".to_owned(), json!(one.access_point_arn()))];
    Observed { outputs: Attributes::from_iter(outputs), id, attributes }
}
