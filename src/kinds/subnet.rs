//! `subnet`: a range of a VPC in one availability zone.

use async_trait::async_trait;
use aws_sdk_ec2::types::{AttributeBooleanValue, Filter, ResourceType, Subnet as Ec2Subnet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, Tags, Taking, ec2, in_order, owned, spec, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest};
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
            read: &["ec2:DescribeSubnets", "ec2:DescribeTags"],
            create: &["ec2:CreateSubnet", "ec2:CreateTags", "ec2:ModifySubnetAttribute", "ec2:DescribeSubnets"],
            update: &["ec2:ModifySubnetAttribute", "ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:DeleteSubnet", "ec2:DescribeNetworkInterfaces"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:ModifySubnetAttribute" => match taking.creates() {
                true => taking.after.get("public_ip") != Some(&json!(false)),
                false => taking.changes(&["public_ip"]),
            },
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("subnet-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "subnet-").await
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
        ec2::name_blockers(aws, deleted.map(|_| ()), vec![ec2::filter("subnet-id", &known.id)]).await
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase != Phase::Created {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, ec2::filter("subnet-id", &known.id)).await?;
        Ok(ec2::when_available(found.first().and_then(Ec2Subnet::state).map(|state| state.as_str())))
    }
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Subnet>, CloudError> {
    let call = aws.ec2.describe_subnets().filters(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeSubnets", send, |page| (page.subnets, page.next_token)).await
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
