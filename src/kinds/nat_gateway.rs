//! `nat_gateway`: the way out for subnets that nobody shall come into.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    ConnectivityType, Filter, NatGateway as Ec2Gateway, NatGatewayAddress, NatGatewayState, ResourceType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actions, Kind, Tags, ec2, gone_is_fine, in_order, owned, spec, text, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, Identity, KindSpec, Problem};

/// The way out for subnets that nobody shall come into.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatGateway {
    /// The subnet that it stands in, for public connectivity one with a route to an internet gateway: its name in the
    /// stack, a reference or an id.
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnet: String,
    /// The address that it is seen under from outside; public connectivity needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "elastic_ip.id"))]
    pub elastic_ip: Option<String>,
    /// Where it leads.
    #[serde(default)]
    pub connectivity: Connectivity,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Where a NAT gateway leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connectivity {
    /// To the internet.
    #[default]
    Public,
    /// To other networks, through a transit gateway or a private virtual gateway.
    Private,
}

/// The kind `nat_gateway`.
pub struct NatGatewayKind;

#[async_trait]
impl Kind for NatGatewayKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["subnet", "elastic_ip", "connectivity"],
            outputs: &["public_ip", "private_ip"],
            identity: Identity::ClientToken,
            check,
            typical_seconds: 100,
            ..spec::<NatGateway>("nat_gateway", "NAT gateway")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeNatGateways", "ec2:DescribeTags"],
            create: &["ec2:CreateNatGateway", "ec2:CreateTags", "ec2:DescribeNatGateways"],
            update: &["ec2:CreateTags", "ec2:DeleteTags"],
            delete: &["ec2:DeleteNatGateway", "ec2:DescribeNatGateways"],
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("nat-gateway-id", wanted.iter().map(|known| known.id.as_str())) {
            // A deleted gateway is listed for about an hour; so is one that failed, which can never be used.
            let there = |one: &&Ec2Gateway| !is_gone(one) && one.state() != Some(&NatGatewayState::Failed);
            found.extend(describe(aws, filter).await?.iter().filter(there).map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "nat-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let token = &lost.request.token;
        let found = describe(aws, ec2::by_token(token)).await?;
        Ok(found.iter().find(|one| !is_gone(one) && ec2::has_token(one.tags(), token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let wanted: NatGateway = typed(&request.attributes)?;
        let connectivity = match wanted.connectivity {
            Connectivity::Public => ConnectivityType::Public,
            Connectivity::Private => ConnectivityType::Private,
        };
        let answer = aws
            .calls
            .write("ec2:CreateNatGateway", || {
                aws.ec2
                    .create_nat_gateway()
                    .subnet_id(&wanted.subnet)
                    .set_allocation_id(wanted.elastic_ip.clone())
                    .connectivity_type(connectivity.clone())
                    .client_token(&request.token)
                    .tag_specifications(ec2::tag_specification(ResourceType::Natgateway, request))
                    .send()
            })
            .await?;
        let made = answer.nat_gateway().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted = aws
            .calls
            .write("ec2:DeleteNatGateway", || aws.ec2.delete_nat_gateway().nat_gateway_id(&known.id).send())
            .await;
        gone_is_fine(deleted.map(|_| ()))
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase == Phase::Updated {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, ec2::filter("nat-gateway-id", &known.id)).await?;
        let gateway = ec2::of_id(found, &known.id, |one| one.nat_gateway_id());
        let state = gateway.as_ref().and_then(Ec2Gateway::state);
        if phase == Phase::Deleted {
            return Ok(match state {
                // A failed gateway holds nothing: its address and interface are given back at once ("Troubleshoot NAT
                // gateways").
                None | Some(NatGatewayState::Deleted | NatGatewayState::Failed) => Progress::Done(Attributes::new()),
                Some(state) => Progress::Pending(state.as_str().to_owned()),
            });
        }
        match (&gateway, state) {
            (Some(gateway), Some(NatGatewayState::Available)) => Ok(Progress::Done(observe(gateway).outputs)),
            (Some(gateway), Some(NatGatewayState::Failed)) => Err(CloudError::new(
                ErrorClass::Refused,
                "ec2:CreateNatGateway",
                gateway.failure_code().unwrap_or_default(),
                gateway.failure_message().unwrap_or("the NAT gateway failed"),
            )),
            (_, state) => Ok(ec2::when_available(state.map(|state| state.as_str()))),
        }
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let has_address = attributes.contains_key("elastic_ip");
    match (text(attributes, "connectivity"), has_address) {
        ("private", true) => vec![
            Problem::at("elastic_ip", "a private NAT gateway takes no elastic IP")
                .help("leave out `elastic_ip`, or set connectivity = \"public\""),
        ],
        ("public" | "", false) => vec![
            Problem::at("", "a public NAT gateway needs an elastic IP")
                .help("declare one, [elastic_ip.nat], and name it: elastic_ip = \"nat\""),
        ],
        _ => Vec::new(),
    }
}

fn is_gone(gateway: &Ec2Gateway) -> bool {
    matches!(gateway.state(), Some(NatGatewayState::Deleted | NatGatewayState::Deleting))
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Gateway>, CloudError> {
    let call = aws.ec2.describe_nat_gateways().filter(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeNatGateways", send, |page| (page.nat_gateways, page.next_token)).await
}

fn observe(gateway: &Ec2Gateway) -> Observed {
    let id = gateway.nat_gateway_id().unwrap_or_default().to_owned();
    let addresses = gateway.nat_gateway_addresses();
    let main = addresses.iter().find(|one| one.is_primary() == Some(true)).or(addresses.first());
    let mut attributes = Attributes::from_iter([
        ("subnet".into(), json!(gateway.subnet_id())),
        ("tags".into(), ec2::tags(gateway.tags())),
    ]);
    if let Some(connectivity) = gateway.connectivity_type() {
        attributes.insert("connectivity".into(), json!(connectivity.as_str()));
    }
    if let Some(address) = main.and_then(NatGatewayAddress::allocation_id) {
        attributes.insert("elastic_ip".into(), json!(address));
    }
    let outputs = Attributes::from_iter([
        ("id".into(), json!(id)),
        ("public_ip".into(), json!(main.and_then(NatGatewayAddress::public_ip))),
        ("private_ip".into(), json!(main.and_then(NatGatewayAddress::private_ip))),
    ]);
    Observed { id, attributes, outputs }
}
