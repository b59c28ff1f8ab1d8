//! `file_system`: files that tasks share and that outlive them, in EFS.

use async_trait::async_trait;
use aws_sdk_efs::types::{FileSystemDescription, LifeCycleState, PerformanceMode, Status, ThroughputMode};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, efs, gone_is_fine, in_order, owned, spec, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem};

/// Files that tasks share and that outlive them. It is reached in the subnets that have a mount target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSystem {
    /// Whether files are encrypted.
    #[serde(default = "yes")]
    pub encrypted: bool,
    /// The KMS key that encrypts them, by ARN. Without it: the account's own for EFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Whether thousands of clients at once matter more than quick answers.
    #[serde(default)]
    pub max_io: bool,
    /// How throughput is given.
    #[serde(default)]
    pub throughput: Throughput,
    /// MiB a second, for `"provisioned"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mib_per_second: Option<f64>,
    /// Whether AWS Backup keeps copies, day by day.
    #[serde(default = "yes")]
    pub backup: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// How throughput is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Throughput {
    /// As much as is used.
    #[default]
    Elastic,
    /// By how much is stored.
    Bursting,
    /// A fixed number of MiB a second.
    Provisioned,
}

impl Throughput {
    fn request(self) -> ThroughputMode {
        match self {
            Self::Elastic => ThroughputMode::Elastic,
            Self::Bursting => ThroughputMode::Bursting,
            Self::Provisioned => ThroughputMode::Provisioned,
        }
    }
}

fn yes() -> bool {
    true
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let Ok(system) = serde_json::from_value::<FileSystem>(Value::Object(attributes.clone())) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if (system.throughput == Throughput::Provisioned) != system.mib_per_second.is_some() {
        let message = "a provisioned throughput, and no other, is given in MiB a second";
        let help = "write throughput = \"provisioned\", mib_per_second = 10";
        problems.push(Problem::at("mib_per_second", message).help(help));
    }
    if system.max_io && system.throughput == Throughput::Elastic {
        let message = "elastic throughput is for quick answers";
        problems.push(Problem::at("max_io", message).help("take one of them out"));
    }
    if system.kms_key.is_some() && !system.encrypted {
        problems.push(Problem::at("kms_key", "nothing is encrypted with it").help("write encrypted = true"));
    }
    problems
}

/// The kind `file_system`.
pub struct FileSystemKind;

#[async_trait]
impl Kind for FileSystemKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["encrypted", "kms_key", "max_io"],
            outputs: &["arn", "dns_name"],
            identity: Identity::ClientToken,
            check,
            typical_seconds: 10,
            ..spec::<FileSystem>("file_system", "file system")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["elasticfilesystem:DescribeFileSystems", "elasticfilesystem:DescribeBackupPolicy"],
            create: &[
                "elasticfilesystem:CreateFileSystem",
                "elasticfilesystem:TagResource",
                "elasticfilesystem:PutBackupPolicy",
                "iam:CreateServiceLinkedRole",
                "elasticfilesystem:DescribeFileSystems",
                "elasticfilesystem:DescribeBackupPolicy",
            ],
            update: &[
                "elasticfilesystem:UpdateFileSystem",
                "elasticfilesystem:PutBackupPolicy",
                "elasticfilesystem:TagResource",
                "elasticfilesystem:UntagResource",
                "elasticfilesystem:DescribeFileSystems",
            ],
            delete: &["elasticfilesystem:DeleteFileSystem", "elasticfilesystem:DescribeFileSystems"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = all(aws).await?;
        found.retain(|one| wanted.iter().any(|known| known.id == one.file_system_id()) && !is_going(one));
        let each = found.iter().map(|one| async move {
            let mut observed = observe(aws, one);
            if let Some(on) = backup(aws, one.file_system_id()).await? {
                observed.attributes.insert("backup".into(), json!(on));
            }
            Ok::<_, CloudError>(observed)
        });
        Ok(in_order(wanted, try_join_all(each).await?))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        let found = all(aws).await?;
        let there = found.iter().filter(|one| !is_going(one)).map(|one| observe(aws, one));
        Ok(owned::of_observed(&aws.scope, there))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let token = lost.request.token.as_str();
        let call = || aws.efs.describe_file_systems().creation_token(token).send();
        let found = aws.calls.read("elasticfilesystem:DescribeFileSystems", call).await?;
        Ok(found.file_systems().first().map(|one| observe(aws, one)))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let system: FileSystem = typed(&request.attributes)?;
        let tags = efs::new_tags(request)?;
        let made = aws
            .calls
            .write("elasticfilesystem:CreateFileSystem", || {
                aws.efs
                    .create_file_system()
                    .creation_token(&request.token)
                    .encrypted(system.encrypted)
                    .set_kms_key_id(system.kms_key.clone())
                    .performance_mode(if system.max_io {
                        PerformanceMode::MaxIo
                    } else {
                        PerformanceMode::GeneralPurpose
                    })
                    .throughput_mode(system.throughput.request())
                    .set_provisioned_throughput_in_mibps(system.mib_per_second)
                    .backup(system.backup)
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await;
        let id = match made {
            Ok(made) => made.file_system_id,
            // A second call with the token is told that the first one had its effect ("CreateFileSystem").
            Err(error) if error.is(ErrorClass::Exists) => {
                let found = self.find(aws, &Lost { request: request.clone() }).await?;
                found.ok_or(error)?.id
            }
            Err(error) => return Err(error),
        };
        Ok(Created { outputs: outputs(aws, &id), id })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let system: FileSystem = typed(&request.attributes)?;
        // The create call asked for it already.
        if backup(aws, id).await?.is_none_or(|on| on == system.backup) {
            return Ok(());
        }
        set_backup(aws, id, system.backup).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let system: FileSystem = typed(&request.after)?;
        if ["throughput", "mib_per_second"].iter().any(|name| request.changed.contains(*name)) {
            aws.calls
                .write("elasticfilesystem:UpdateFileSystem", || {
                    aws.efs
                        .update_file_system()
                        .file_system_id(&request.id)
                        .throughput_mode(system.throughput.request())
                        .set_provisioned_throughput_in_mibps(system.mib_per_second)
                        .send()
                })
                .await?;
        }
        if request.changed.contains("backup") {
            set_backup(aws, &request.id, system.backup).await?;
        }
        efs::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        // Refused while a mount target is there, which passes.
        let call = || aws.efs.delete_file_system().file_system_id(&known.id).send();
        gone_is_fine(aws.calls.write("elasticfilesystem:DeleteFileSystem", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = all(aws).await?.into_iter().find(|one| one.file_system_id() == known.id);
        let state = found.map(|one| one.life_cycle_state);
        match (phase, state) {
            (Phase::Deleted, None | Some(LifeCycleState::Deleted)) => Ok(Progress::Done(Attributes::new())),
            (Phase::Created | Phase::Updated, Some(LifeCycleState::Available)) => {
                Ok(Progress::Done(outputs(aws, &known.id)))
            }
            (_, Some(LifeCycleState::Error)) => {
                let message = format!("file system `{}` is in the state error", known.id);
                Err(CloudError::unexpected("elasticfilesystem:DescribeFileSystems", message))
            }
            (_, state) => {
                let state = state.map_or("visible".to_owned(), |state| state.as_str().to_owned());
                Ok(Progress::Pending(state))
            }
        }
    }
}

/// Every file system of account and region: asking for one that is gone is an error, and there is no asking for several.
async fn all(aws: &Aws) -> Result<Vec<FileSystemDescription>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.efs.describe_file_systems().set_marker(next.clone()).send();
        let page = aws.calls.read("elasticfilesystem:DescribeFileSystems", call).await?;
        next = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        found.extend(page.file_systems.unwrap_or_default());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn is_going(one: &FileSystemDescription) -> bool {
    matches!(one.life_cycle_state, LifeCycleState::Deleting | LifeCycleState::Deleted)
}

async fn backup(aws: &Aws, id: &str) -> Result<Option<bool>, CloudError> {
    let call = || aws.efs.describe_backup_policy().file_system_id(id).send();
    match aws.calls.read("elasticfilesystem:DescribeBackupPolicy", call).await {
        // One that never had a policy has none to be told.
        Err(error) if error.is(ErrorClass::NotFound) => Ok(Some(false)),
        found => {
            let status = found?.backup_policy.map(|policy| policy.status);
            Ok(status.map(|status| matches!(status, Status::Enabled | Status::Enabling)))
        }
    }
}

async fn set_backup(aws: &Aws, id: &str, on: bool) -> Result<(), CloudError> {
    let status = if on { Status::Enabled } else { Status::Disabled };
    let policy = aws_sdk_efs::types::BackupPolicy::builder().status(status).build();
    let policy = policy.map_err(|e| CloudError::unexpected("elasticfilesystem:PutBackupPolicy", e.to_string()))?;
    let call = || aws.efs.put_backup_policy().file_system_id(id).backup_policy(policy.clone()).send();
    aws.calls.write("elasticfilesystem:PutBackupPolicy", call).await?;
    Ok(())
}

fn outputs(aws: &Aws, id: &str) -> Attributes {
    let scope = &aws.scope;
    let account = scope.account.as_deref().unwrap_or_default();
    let arn = format!("arn:{}:elasticfilesystem:{}:{account}:file-system/{id}", scope.partition, scope.region);
    Attributes::from_iter([
        ("id".to_owned(), json!(id)),
        ("arn".to_owned(), json!(arn)),
        ("dns_name".to_owned(), json!(format!("{id}.efs.{}.amazonaws.com", scope.region))),
    ])
}

fn observe(aws: &Aws, one: &FileSystemDescription) -> Observed {
    let id = one.file_system_id().to_owned();
    let modes = [Throughput::Elastic, Throughput::Bursting, Throughput::Provisioned];
    let mode = modes.into_iter().find(|mode| one.throughput_mode() == Some(&mode.request()));
    let mut attributes = Attributes::from_iter([
        ("encrypted".to_owned(), json!(one.encrypted().unwrap_or_default())),
        ("max_io".to_owned(), json!(one.performance_mode == PerformanceMode::MaxIo)),
        ("mib_per_second".to_owned(), json!(one.provisioned_throughput_in_mibps())),
        ("tags".to_owned(), efs::tags(one.tags())),
    ]);
    if let Some(mode) = mode {
        attributes.insert("throughput".into(), json!(mode));
    }
    if let Some(key) = one.kms_key_id() {
        attributes.insert("kms_key".into(), json!(key));
    }
    Observed { outputs: outputs(aws, &id), id, attributes }
}
