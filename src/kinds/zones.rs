//! `zones`: the availability zones of the region.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, ec2, only_looked_up, spec};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, Identity, KindSpec};

/// The availability zones that the account can use in the region: `${zones.NAME.names}` is the list of their names, in
/// order, and `${zones.NAME.ids}` that of their ids, which are the same in every account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zones {}

/// The kind `zones`.
pub struct ZonesKind;

#[async_trait]
impl Kind for ZonesKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            outputs: &["names", "ids"],
            identity: Identity::Lookup,
            taggable: false,
            typical_seconds: 1,
            ..spec::<Zones>("zones", "availability zones")
        }
    }

    fn actions(&self) -> Actions {
        Actions { read: &["ec2:DescribeAvailabilityZones"], ..Actions::default() }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let zones = zones(aws).await?;
        Ok(wanted.iter().map(|_| Some(zones.clone())).collect())
    }

    async fn look_up(&self, aws: &Aws, _id: Option<&str>, _attributes: &Attributes) -> Result<Observed, CloudError> {
        zones(aws).await
    }

    async fn owned(&self, _aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        // Looked up, and nobody's.
        Ok(Vec::new())
    }

    async fn find(&self, _aws: &Aws, _lost: &Lost) -> Result<Option<Observed>, CloudError> {
        Ok(None)
    }

    async fn create(&self, _aws: &Aws, _request: &CreateRequest) -> Result<Created, CloudError> {
        Err(only_looked_up("zones"))
    }

    async fn update(&self, _aws: &Aws, _request: &UpdateRequest) -> Result<(), CloudError> {
        Err(only_looked_up("zones"))
    }

    async fn delete(&self, _aws: &Aws, _known: &Known) -> Result<(), CloudError> {
        Err(only_looked_up("zones"))
    }
}

/// Local and wavelength zones are left out, and so are zones that the account has not opted into (which a call without
/// `AllAvailabilityZones` does not list).
async fn zones(aws: &Aws) -> Result<Observed, CloudError> {
    let answer = aws
        .calls
        .read("ec2:DescribeAvailabilityZones", || {
            aws.ec2.describe_availability_zones().filters(ec2::filter("zone-type", "availability-zone")).send()
        })
        .await?;
    let mut zones: Vec<(&str, &str)> = answer
        .availability_zones()
        .iter()
        .filter_map(|zone| Some((zone.zone_name()?, zone.zone_id().unwrap_or_default())))
        .collect();
    zones.sort_unstable();
    let names: Vec<&str> = zones.iter().map(|(name, _)| *name).collect();
    let ids: Vec<&str> = zones.iter().map(|(_, id)| *id).collect();
    let region = &aws.scope.region;
    let outputs =
        [("id".to_owned(), json!(region)), ("names".to_owned(), json!(names)), ("ids".to_owned(), json!(ids))];
    Ok(Observed { id: region.clone(), attributes: Attributes::new(), outputs: Attributes::from_iter(outputs) })
}
