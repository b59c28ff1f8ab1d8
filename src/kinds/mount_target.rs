//! `mount_target`: where in a network a file system is reached.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_efs::types::{LifeCycleState, MountTargetDescription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, gone_is_fine, in_order, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec};

/// Where in a network a file system is reached: one a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountTarget {
    /// The file system.
    #[schemars(extend("x-reference" = "file_system.id"))]
    pub file_system: String,
    /// The subnet.
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnet: String,
    /// The security groups; they must let port 2049 in. Without any: the VPC's default group.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub security_groups: BTreeSet<String>,
}

/// The kind `mount_target`.
pub struct MountTargetKind;

#[async_trait]
impl Kind for MountTargetKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["file_system", "subnet"],
            outputs: &["ip"],
            // A second one in the zone of the first is refused: it is a fact about file system and subnet.
            identity: Identity::UniqueName,
            unique_by: &["file_system", "subnet"],
            taggable: false,
            typical_seconds: 75,
            ..spec::<MountTarget>("mount_target", "mount target")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["elasticfilesystem:DescribeMountTargets", "elasticfilesystem:DescribeMountTargetSecurityGroups"],
            // Its network interface is made with the rights of who asks ("CreateMountTarget").
            create: &[
                "elasticfilesystem:CreateMountTarget",
                "ec2:DescribeSubnets",
                "ec2:DescribeNetworkInterfaces",
                "ec2:CreateNetworkInterface",
                "elasticfilesystem:DescribeMountTargets",
            ],
            update: &["elasticfilesystem:ModifyMountTargetSecurityGroups", "elasticfilesystem:DescribeMountTargets"],
            delete: &[
                "elasticfilesystem:DeleteMountTarget",
                "ec2:DeleteNetworkInterface",
                "elasticfilesystem:DescribeMountTargets",
            ],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let systems: BTreeSet<&str> = wanted.iter().map(|known| text(&known.attributes, "file_system")).collect();
        let mut found = Vec::new();
        for system in systems {
            for one in of_system(aws, system).await?.iter().filter(|one| !is_going(one)) {
                let mut observed = observe(one);
                // Its groups are told for one a call.
                if wanted.iter().any(|known| known.id == observed.id) {
                    let call = || {
                        aws.efs.describe_mount_target_security_groups().mount_target_id(one.mount_target_id()).send()
                    };
                    let answer = aws.calls.read("elasticfilesystem:DescribeMountTargetSecurityGroups", call).await?;
                    let groups: BTreeSet<String> = answer.security_groups.into_iter().collect();
                    observed.attributes.insert("security_groups".into(), json!(groups));
                }
                found.push(observed);
            }
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let wanted = &lost.request.attributes;
        let found = of_system(aws, text(wanted, "file_system")).await?;
        Ok(found.iter().find(|one| one.subnet_id() == text(wanted, "subnet") && !is_going(one)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let target: MountTarget = typed(&request.attributes)?;
        let groups: Vec<String> = target.security_groups.iter().cloned().collect();
        let made = aws
            .calls
            .create("elasticfilesystem:CreateMountTarget", || {
                aws.efs
                    .create_mount_target()
                    .file_system_id(&target.file_system)
                    .subnet_id(&target.subnet)
                    .set_security_groups((!groups.is_empty()).then(|| groups.clone()))
                    .send()
            })
            .await?;
        let outputs = Attributes::from_iter([("ip".to_owned(), json!(made.ip_address))]);
        Ok(Created { id: made.mount_target_id, outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let target: MountTarget = typed(&request.after)?;
        if request.changed.contains("security_groups") {
            let groups: Vec<String> = target.security_groups.iter().cloned().collect();
            let call = || {
                let call = aws.efs.modify_mount_target_security_groups().mount_target_id(&request.id);
                call.set_security_groups(Some(groups.clone())).send()
            };
            aws.calls.write("elasticfilesystem:ModifyMountTargetSecurityGroups", call).await?;
        }
        Ok(())
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let call = || aws.efs.delete_mount_target().mount_target_id(&known.id).send();
        gone_is_fine(aws.calls.write("elasticfilesystem:DeleteMountTarget", call).await.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        let found = of_system(aws, text(&known.attributes, "file_system")).await?;
        let found = found.into_iter().find(|one| one.mount_target_id() == known.id);
        let state = found.as_ref().map(|one| &one.life_cycle_state);
        Ok(match (phase, state) {
            (Phase::Deleted, None | Some(LifeCycleState::Deleted)) => Progress::Done(Attributes::new()),
            (Phase::Created | Phase::Updated, Some(LifeCycleState::Available)) => {
                Progress::Done(found.as_ref().map(|one| observe(one).outputs).unwrap_or_default())
            }
            (_, state) => Progress::Pending(state.map_or("visible", |state| state.as_str()).to_owned()),
        })
    }
}

async fn of_system(aws: &Aws, system: &str) -> Result<Vec<MountTargetDescription>, CloudError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let call = || aws.efs.describe_mount_targets().file_system_id(system).set_marker(next.clone()).send();
        let page = match aws.calls.read("elasticfilesystem:DescribeMountTargets", call).await {
            // With its file system a mount target is gone, too.
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(found),
            page => page?,
        };
        next = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        found.extend(page.mount_targets.unwrap_or_default());
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn is_going(one: &MountTargetDescription) -> bool {
    matches!(one.life_cycle_state, LifeCycleState::Deleting | LifeCycleState::Deleted)
}

fn observe(one: &MountTargetDescription) -> Observed {
    let id = one.mount_target_id().to_owned();
    let attributes = Attributes::from_iter([
        ("file_system".to_owned(), json!(one.file_system_id())),
        ("subnet".to_owned(), json!(one.subnet_id())),
    ]);
    let outputs = [("id".to_owned(), json!(id)), ("ip".to_owned(), json!(one.ip_address()))];
    Observed { outputs: Attributes::from_iter(outputs), id, attributes }
}
