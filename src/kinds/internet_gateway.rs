//! `internet_gateway`: the way between a VPC and the internet.

use async_trait::async_trait;
use aws_sdk_ec2::types::{AttachmentStatus, Filter, InternetGateway as Ec2Gateway, ResourceType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, During, Kind, Tags, Taking, ec2, gone_is_fine, in_order, owned, spec, typed};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, KindSpec};

/// The way between a VPC and the internet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InternetGateway {
    /// The VPC that it is attached to: its name in the stack, a reference or an id. Without one it is attached to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The kind `internet_gateway`.
pub struct InternetGatewayKind;

#[async_trait]
impl Kind for InternetGatewayKind {
    fn spec(&self) -> KindSpec {
        spec::<InternetGateway>("internet_gateway", "internet gateway")
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeInternetGateways", "ec2:DescribeTags"],
            create: &[
                "ec2:CreateInternetGateway",
                "ec2:CreateTags",
                "ec2:DescribeInternetGateways",
                "ec2:AttachInternetGateway",
                "ec2:DetachInternetGateway",
            ],
            update: &[
                "ec2:DescribeInternetGateways",
                "ec2:AttachInternetGateway",
                "ec2:DetachInternetGateway",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &[
                "ec2:DescribeInternetGateways",
                "ec2:DetachInternetGateway",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DeleteInternetGateway",
            ],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:AttachInternetGateway" => taking.gains("vpc"),
            "ec2:DetachInternetGateway" => taking.loses("vpc"),
            "ec2:DescribeInternetGateways" if taking.during == During::Update => taking.changes(&["vpc"]),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("internet-gateway-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "igw-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        Ok(found.iter().find(|one| ec2::has_token(one.tags(), &lost.request.token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let answer = aws
            .calls
            .create("ec2:CreateInternetGateway", || {
                aws.ec2
                    .create_internet_gateway()
                    .tag_specifications(ec2::tag_specification(ResourceType::InternetGateway, request))
                    .send()
            })
            .await?;
        let made = answer.internet_gateway().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let gateway: InternetGateway = typed(&request.attributes)?;
        attach(aws, id, gateway.vpc.as_deref()).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        if request.changed.contains("vpc") {
            let gateway: InternetGateway = typed(&request.after)?;
            attach(aws, &request.id, gateway.vpc.as_deref()).await?;
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        if let Some(gateway) = by_id(aws, &known.id).await? {
            detach(aws, &known.id, attached_to(&gateway)).await?;
        }
        let deleted = aws
            .calls
            .write("ec2:DeleteInternetGateway", || {
                aws.ec2.delete_internet_gateway().internet_gateway_id(&known.id).send()
            })
            .await;
        gone_is_fine(deleted.map(|_| ()))
    }
}

async fn by_id(aws: &Aws, id: &str) -> Result<Option<Ec2Gateway>, CloudError> {
    let found = describe(aws, ec2::filter("internet-gateway-id", id)).await?;
    Ok(ec2::of_id(found, id, |one| one.internet_gateway_id()))
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Gateway>, CloudError> {
    let call = aws.ec2.describe_internet_gateways().filters(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeInternetGateways", send, |page| (page.internet_gateways, page.next_token)).await
}

/// The VPC that a gateway is attached to. EC2 calls an attached internet gateway's attachment `available`.
fn attached_to(gateway: &Ec2Gateway) -> Option<&str> {
    gateway
        .attachments()
        .iter()
        .find(|one| !matches!(one.state(), Some(AttachmentStatus::Detached | AttachmentStatus::Detaching)))
        .and_then(|one| one.vpc_id())
}

fn observe(gateway: &Ec2Gateway) -> Observed {
    let id = gateway.internet_gateway_id().unwrap_or_default().to_owned();
    // Attached to nothing is an answer too, so that a gateway detached by hand is seen.
    let attributes = Attributes::from_iter([
        ("vpc".into(), json!(attached_to(gateway))),
        ("tags".into(), ec2::tags(gateway.tags())),
    ]);
    Observed { outputs: Attributes::from_iter([("id".into(), json!(id))]), id, attributes }
}

/// Attaches a gateway to this VPC alone, from wherever it is now.
async fn attach(aws: &Aws, id: &str, vpc: Option<&str>) -> Result<(), CloudError> {
    let gateway = by_id(aws, id).await?.ok_or_else(|| ec2::not_visible("ec2:DescribeInternetGateways", id))?;
    let current = attached_to(&gateway);
    if current == vpc {
        return Ok(());
    }
    detach(aws, id, current).await?;
    let Some(vpc) = vpc else { return Ok(()) };
    let attached = aws
        .calls
        .write("ec2:AttachInternetGateway", || {
            aws.ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send()
        })
        .await;
    match attached {
        // An attempt whose answer was lost may have done it.
        Err(error) if error.is(ErrorClass::Exists) => match by_id(aws, id).await?.as_ref().and_then(attached_to) {
            Some(now) if now == vpc => Ok(()),
            _ => Err(error.help(format!("{vpc} has another internet gateway: a VPC takes one"))),
        },
        other => other.map(|_| ()),
    }
}

async fn detach(aws: &Aws, id: &str, vpc: Option<&str>) -> Result<(), CloudError> {
    let Some(vpc) = vpc else { return Ok(()) };
    let detached = aws
        .calls
        .write("ec2:DetachInternetGateway", || {
            aws.ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send()
        })
        .await;
    match detached {
        Err(error) if error.code == "Gateway.NotAttached" => Ok(()),
        // "Network vpc-… has some mapped public address(es)": those of instances, NAT gateways and load balancers.
        Err(error) if error.code == "DependencyViolation" => {
            let public = vec![ec2::filter("vpc-id", vpc), ec2::filter("association.public-ip", "*")];
            ec2::name_blockers(aws, Err(error), public).await
        }
        other => gone_is_fine(other.map(|_| ())),
    }
}
