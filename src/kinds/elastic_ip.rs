//! `elastic_ip`: a public IPv4 address that stays.

use async_trait::async_trait;
use aws_sdk_ec2::types::{Address, DomainType, Filter, ResourceType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, Tags, ec2, gone_is_fine, in_order, owned, spec, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, KindSpec};

/// What the API calls the pool of AWS's own addresses ("Address").
const AMAZON_POOL: &str = "amazon";

/// A public IPv4 address that stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticIp {
    /// The pool of addresses of your own that it is taken from: `"ipv4pool-ec2-012345"`. AWS's, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The kind `elastic_ip`.
pub struct ElasticIpKind;

#[async_trait]
impl Kind for ElasticIpKind {
    fn spec(&self) -> KindSpec {
        KindSpec { replace_on: &["pool"], outputs: &["public_ip"], ..spec::<ElasticIp>("elastic_ip", "elastic IP") }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeAddresses", "ec2:DescribeTags"],
            create: &["ec2:AllocateAddress", "ec2:CreateTags"],
            update: &["ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:ReleaseAddress"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("allocation-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "eipalloc-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        Ok(found.iter().find(|one| ec2::has_token(one.tags(), &lost.request.token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let wanted: ElasticIp = typed(&request.attributes)?;
        let answer = aws
            .calls
            .create("ec2:AllocateAddress", || {
                aws.ec2
                    .allocate_address()
                    .domain(DomainType::Vpc)
                    .set_public_ipv4_pool(wanted.pool.clone())
                    .tag_specifications(ec2::tag_specification(ResourceType::ElasticIp, request))
                    .send()
            })
            .await?;
        let id = answer.allocation_id().unwrap_or_default();
        Ok(Created { id: id.to_owned(), outputs: outputs(id, answer.public_ip()) })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let released =
            aws.calls.write("ec2:ReleaseAddress", || aws.ec2.release_address().allocation_id(&known.id).send()).await;
        gone_is_fine(released.map(|_| ()))
    }
}

/// `DescribeAddresses` has no pages.
async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Address>, CloudError> {
    let answer =
        aws.calls.read("ec2:DescribeAddresses", || aws.ec2.describe_addresses().filters(filter.clone()).send()).await?;
    Ok(answer.addresses.unwrap_or_default())
}

fn outputs(id: &str, public_ip: Option<&str>) -> Attributes {
    Attributes::from_iter([("id".into(), json!(id)), ("public_ip".into(), json!(public_ip))])
}

fn observe(address: &Address) -> Observed {
    let id = address.allocation_id().unwrap_or_default();
    let mut attributes = Attributes::from_iter([("tags".into(), ec2::tags(address.tags()))]);
    if let Some(pool) = address.public_ipv4_pool().filter(|pool| *pool != AMAZON_POOL) {
        attributes.insert("pool".into(), json!(pool));
    }
    Observed { id: id.to_owned(), attributes, outputs: outputs(id, address.public_ip()) }
}
