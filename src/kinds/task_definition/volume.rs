//! A volume of a task, typed, and in ECS's words.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{
    DockerVolumeConfiguration, EfsAuthorizationConfig, EfsAuthorizationConfigIam, EfsTransitEncryption,
    EfsVolumeConfiguration, HostVolumeProperties, Scope, Volume as EcsVolume,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::Word;
use crate::cloud::CloudError;

/// A volume. Without anything said of it: a folder that lives as long as the task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// The folder of the instance that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// The EFS file system that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efs: Option<Efs>,
    /// The volume of Docker's that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<Docker>,
}

/// A file system of EFS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Efs {
    /// The file system.
    #[schemars(extend("x-reference" = "file_system.id"))]
    pub file_system: String,
    /// The folder in it that is the root. With an access point: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The access point through which it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "access_point.id"))]
    pub access_point: Option<String>,
    /// Whether the task role decides who may do what.
    #[serde(default)]
    pub iam: bool,
    /// Whether the traffic is encrypted.
    #[serde(default = "yes")]
    pub encrypted: bool,
}

/// A volume of Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// Whether it outlives the task.
    pub shared: bool,
    /// Whether a shared one is made where it is missing.
    pub autoprovision: bool,
    /// Its driver. Without it: `"local"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Word>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Word>,
}

fn yes() -> bool {
    true
}

impl Volume {
    /// In ECS's words.
    pub fn request(&self, name: &str) -> Result<EcsVolume, CloudError> {
        let mut volume = EcsVolume::builder().name(name);
        if let Some(path) = &self.host_path {
            volume = volume.host(HostVolumeProperties::builder().source_path(path).build());
        }
        if let Some(docker) = &self.docker {
            let scope = if docker.shared { Scope::Shared } else { Scope::Task };
            volume = volume.docker_volume_configuration(
                DockerVolumeConfiguration::builder()
                    .scope(scope)
                    .set_autoprovision(docker.shared.then_some(docker.autoprovision))
                    .set_driver(docker.driver.clone())
                    .set_driver_opts(words(&docker.options))
                    .set_labels(words(&docker.labels))
                    .build(),
            );
        }
        if let Some(efs) = &self.efs {
            let authorization = (efs.iam || efs.access_point.is_some()).then(|| {
                EfsAuthorizationConfig::builder()
                    .set_access_point_id(efs.access_point.clone())
                    .iam(if efs.iam { EfsAuthorizationConfigIam::Enabled } else { EfsAuthorizationConfigIam::Disabled })
                    .build()
            });
            let encryption = if efs.encrypted { EfsTransitEncryption::Enabled } else { EfsTransitEncryption::Disabled };
            volume = volume.efs_volume_configuration(
                EfsVolumeConfiguration::builder()
                    .file_system_id(&efs.file_system)
                    .set_root_directory(efs.root.clone())
                    .transit_encryption(encryption)
                    .set_authorization_config(authorization)
                    .build()
                    .map_err(|error| CloudError::unexpected("ecs:RegisterTaskDefinition", error.to_string()))?,
            );
        }
        Ok(volume.build())
    }

    /// From ECS's words.
    pub fn observed(volume: &EcsVolume) -> Self {
        let efs = volume.efs_volume_configuration().map(|efs| {
            let authorization = efs.authorization_config();
            Efs {
                file_system: efs.file_system_id().to_owned(),
                // The root of the file system is what is meant where nothing is said.
                root: efs.root_directory().filter(|root| !matches!(*root, "" | "/")).map(str::to_owned),
                access_point: authorization.and_then(|one| one.access_point_id()).map(str::to_owned),
                iam: authorization.and_then(|one| one.iam()) == Some(&EfsAuthorizationConfigIam::Enabled),
                encrypted: efs.transit_encryption() == Some(&EfsTransitEncryption::Enabled),
            }
        });
        let docker = volume.docker_volume_configuration().map(|docker| Docker {
            shared: docker.scope() == Some(&Scope::Shared),
            autoprovision: docker.autoprovision().unwrap_or_default(),
            driver: docker.driver().filter(|driver| *driver != "local").map(str::to_owned),
            options: observed_words(docker.driver_opts()),
            labels: observed_words(docker.labels()),
        });
        Self { host_path: volume.host().and_then(|host| host.source_path()).map(str::to_owned), efs, docker }
    }
}

/// Texts by name, in the SDK's form; nothing where there are none.
pub fn words(map: &BTreeMap<String, Word>) -> Option<std::collections::HashMap<String, String>> {
    (!map.is_empty()).then(|| map.iter().map(|(key, Word(value))| (key.clone(), value.clone())).collect())
}

/// Texts by name, from the SDK's form.
pub fn observed_words(map: Option<&std::collections::HashMap<String, String>>) -> BTreeMap<String, Word> {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), Word(value.clone()))).collect()
}
