//! `subnet`: a range of a VPC in one availability zone.

use async_trait::async_trait;
use aws_sdk_ec2::types::{AttributeBooleanValue, Filter, ResourceType, Subnet as Ec2Subnet, SubnetState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, Tags, ec2, gone_is_fine, in_order, spec, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Phase, Progress, UpdateRequest};
use crate::graph::{Attributes, KindSpec};
use crate::net;

/// A range of a VPC in one availability zone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// The VPC: its name in the stack, a reference or an id.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: String,
    /// Its IPv4 range, within the VPC's, /16 to /28.
    pub cidr: String,
    /// The availability zone: its letter (`"a"`) or full name (`"eu-west-2a"`).
    #[schemars(extend("x-zone" = true))]
    pub zone: String,
    /// Whether instances started here get a public address.
    #[serde(default)]
    pub public_ip: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The kind `subnet`.
pub struct SubnetKind;

#[async_trait]
impl Kind for SubnetKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["vpc", "cidr", "zone"],
            outputs: &["arn"],
            needs_only_existence: &[],
            check: |attributes| {
                let mut problems = Vec::new();
                net::check_cidr(attributes, "cidr", 16..=28, &mut problems);
                problems
            },
            ..spec::<Subnet>("subnet", "subnet")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeSubnets"],
            create: &["ec2:CreateSubnet", "ec2:CreateTags", "ec2:ModifySubnetAttribute"],
            update: &["ec2:ModifySubnetAttribute", "ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:DeleteSubnet"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("subnet-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        Ok(describe(aws, ec2::by_token(&lost.request.token)).await?.first().map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let subnet: Subnet = typed(&request.attributes)?;
        let answer = aws
            .calls
            .create("ec2:CreateSubnet", || {
                aws.ec2
                    .create_subnet()
                    .vpc_id(&subnet.vpc)
                    .cidr_block(&subnet.cidr)
                    .availability_zone(&subnet.zone)
                    .tag_specifications(ec2::tag_specification(ResourceType::Subnet, request))
                    .send()
            })
            .await?;
        let made = answer.subnet().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let subnet: Subnet = typed(&request.attributes)?;
        if subnet.public_ip { set_public_ip(aws, id, true).await } else { Ok(()) }
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let subnet: Subnet = typed(&request.after)?;
        if request.changed.contains("public_ip") {
            set_public_ip(aws, &request.id, subnet.public_ip).await?;
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted = aws.calls.write("ec2:DeleteSubnet", || aws.ec2.delete_subnet().subnet_id(&known.id).send()).await;
        gone_is_fine(deleted.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase != Phase::Created {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, ec2::filter("subnet-id", &known.id)).await?;
        Ok(match found.first().and_then(Ec2Subnet::state) {
            Some(SubnetState::Available) => Progress::Done(Attributes::new()),
            state => Progress::Pending(state.map_or("visible", |s| s.as_str()).to_owned()),
        })
    }
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Subnet>, CloudError> {
    let mut subnets = Vec::new();
    let mut next = None;
    loop {
        let page = aws
            .calls
            .read("ec2:DescribeSubnets", || {
                aws.ec2.describe_subnets().filters(filter.clone()).set_next_token(next.clone()).send()
            })
            .await?;
        next = page.next_token().map(str::to_owned);
        subnets.extend(page.subnets.unwrap_or_default());
        if next.is_none() {
            return Ok(subnets);
        }
    }
}

fn observe(subnet: &Ec2Subnet) -> Observed {
    let id = subnet.subnet_id().unwrap_or_default().to_owned();
    let mut attributes = Attributes::new();
    attributes.insert("vpc".into(), json!(subnet.vpc_id()));
    attributes.insert("cidr".into(), json!(subnet.cidr_block()));
    attributes.insert("zone".into(), json!(subnet.availability_zone()));
    if let Some(public) = subnet.map_public_ip_on_launch() {
        attributes.insert("public_ip".into(), json!(public));
    }
    attributes.insert("tags".into(), ec2::tags(subnet.tags()));
    let outputs = Attributes::from_iter([("id".into(), json!(id)), ("arn".into(), json!(subnet.subnet_arn()))]);
    Observed { id, attributes, outputs }
}

async fn set_public_ip(aws: &Aws, id: &str, on: bool) -> Result<(), CloudError> {
    let value = AttributeBooleanValue::builder().value(on).build();
    aws.calls
        .write("ec2:ModifySubnetAttribute", || {
            aws.ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(value.clone()).send()
        })
        .await?;
    Ok(())
}
