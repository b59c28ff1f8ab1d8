//! `vpc`: a virtual private cloud.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Tenancy as Ec2Tenancy, Vpc as Ec2Vpc, VpcAttributeName};
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, Kind, Tags, Taking, ec2, in_order, owned, spec, typed};
use crate::aws::Aws;
use crate::cloud::{
    CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, Phase, Progress, UpdateRequest,
};
use crate::graph::{Attributes, KindSpec, Problem};
use crate::net;

/// A virtual private cloud.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Its IPv4 range, /16 to /28: `"172.24.0.0/16"`.
    pub cidr: String,
    /// Further IPv4 ranges.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secondary_cidrs: BTreeSet<String>,
    /// Whether the resolver of the VPC answers its instances.
    #[serde(default = "yes")]
    pub dns_support: bool,
    /// Whether instances get DNS names; private zones and interface endpoints need it.
    #[serde(default = "yes")]
    pub dns_hostnames: bool,
    /// Whether instances share hardware with other accounts.
    #[serde(default)]
    pub tenancy: Tenancy,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Whether instances share hardware with other accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tenancy {
    /// Shared hardware, unless an instance asks for its own.
    #[default]
    Default,
    /// Hardware of its own for every instance.
    Dedicated,
}

fn yes() -> bool {
    true
}

/// The kind `vpc`.
pub struct VpcKind;

#[async_trait]
impl Kind for VpcKind {
    fn spec(&self) -> KindSpec {
        KindSpec { replace_on: &["cidr", "tenancy"], outputs: &["arn"], check, ..spec::<Vpc>("vpc", "VPC") }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", "ec2:DescribeTags"],
            create: &[
                "ec2:CreateVpc",
                "ec2:CreateTags",
                "ec2:ModifyVpcAttribute",
                "ec2:AssociateVpcCidrBlock",
                "ec2:DescribeVpcs",
            ],
            update: &[
                "ec2:ModifyVpcAttribute",
                "ec2:AssociateVpcCidrBlock",
                "ec2:DisassociateVpcCidrBlock",
                "ec2:DescribeVpcs",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &["ec2:DeleteVpc", "ec2:DescribeNetworkInterfaces"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:AssociateVpcCidrBlock" => taking.adds("secondary_cidrs"),
            "ec2:DisassociateVpcCidrBlock" => taking.removes("secondary_cidrs"),
            "ec2:ModifyVpcAttribute" => taking.creates() || taking.changes(&["dns_support", "dns_hostnames"]),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("vpc-id", wanted.iter().map(|known| known.id.as_str())) {
            for vpc in describe(aws, filter).await? {
                found.push(observe(aws, &vpc).await?);
            }
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "vpc-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        match describe(aws, ec2::by_token(&lost.request.token)).await?.first() {
            Some(vpc) => Ok(Some(observe(aws, vpc).await?)),
            None => Ok(None),
        }
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let vpc: Vpc = typed(&request.attributes)?;
        let tenancy = match vpc.tenancy {
            Tenancy::Default => Ec2Tenancy::Default,
            Tenancy::Dedicated => Ec2Tenancy::Dedicated,
        };
        let answer = aws
            .calls
            .create("ec2:CreateVpc", || {
                aws.ec2
                    .create_vpc()
                    .cidr_block(&vpc.cidr)
                    .instance_tenancy(tenancy.clone())
                    .tag_specifications(ec2::tag_specification(ResourceType::Vpc, request))
                    .send()
            })
            .await?;
        let id = answer.vpc().and_then(Ec2Vpc::vpc_id).unwrap_or_default().to_owned();
        Ok(Created { outputs: outputs(aws, &id), id })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let vpc: Vpc = typed(&request.attributes)?;
        // A new VPC has DNS support on and DNS hostnames off ("CreateVpc").
        set_dns(aws, id, VpcAttributeName::EnableDnsHostnames, vpc.dns_hostnames).await?;
        if !vpc.dns_support {
            set_dns(aws, id, VpcAttributeName::EnableDnsSupport, false).await?;
        }
        set_secondary_cidrs(aws, id, &vpc).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let vpc: Vpc = typed(&request.after)?;
        let support = (VpcAttributeName::EnableDnsSupport, "dns_support", vpc.dns_support);
        let hostnames = (VpcAttributeName::EnableDnsHostnames, "dns_hostnames", vpc.dns_hostnames);
        // Hostnames need support: they come after it and go before it.
        let order = if vpc.dns_support { [support, hostnames] } else { [hostnames, support] };
        for (name, attribute, on) in order {
            if request.changed.contains(attribute) {
                set_dns(aws, &request.id, name, on).await?;
            }
        }
        if request.changed.contains("secondary_cidrs") {
            set_secondary_cidrs(aws, &request.id, &vpc).await?;
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted =
            aws.calls.write("ec2:DeleteVpc", || aws.ec2.delete_vpc().vpc_id(&known.id).send()).await.map(|_| ());
        ec2::name_blockers(aws, deleted, vec![ec2::filter("vpc-id", &known.id)]).await
    }

    async fn poll(&self, aws: &Aws, known: &Known, phase: Phase) -> Result<Progress, CloudError> {
        if phase == Phase::Deleted {
            return Ok(Progress::Done(Attributes::new()));
        }
        let found = describe(aws, ec2::filter("vpc-id", &known.id)).await?;
        match found.first() {
            Some(vpc) => ranges_settled(vpc, &known.attributes)
                .map(|settled| settled.unwrap_or_else(|| ec2::when_available(vpc.state().map(|state| state.as_str())))),
            None => Ok(ec2::when_available(None)),
        }
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let main = attributes.get("cidr").map(|value| ("cidr".to_owned(), value));
    let others = attributes.get("secondary_cidrs").and_then(Value::as_array).into_iter().flatten().enumerate();
    let mut taken: Vec<Ipv4Net> = Vec::new();
    for (path, value) in main.into_iter().chain(others.map(|(n, value)| (format!("secondary_cidrs.{n}"), value))) {
        let Some(range) = net::check_cidr_value(value, &path, 16..=28, &mut problems) else { continue };
        if let Some(other) = taken.iter().find(|other| net::overlap(**other, range)) {
            problems.push(
                Problem::at(&path, format!("`{range}` overlaps `{other}`")).help("choose a range that is still free"),
            );
        }
        let first = range.addr();
        if first.is_loopback() || first.is_link_local() || first.is_multicast() || first.octets()[0] == 0 {
            problems.push(
                Problem::at(&path, format!("`{range}` has a use of its own, and AWS takes it for no VPC"))
                    .help("take a private range: within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"),
            );
        }
        taken.push(range);
    }
    let is_on = |name: &str| attributes.get(name).is_none_or(|value| value != &json!(false));
    if is_on("dns_hostnames") && !is_on("dns_support") {
        problems.push(
            Problem::at("dns_support", "DNS hostnames need DNS support")
                .help("set dns_hostnames = false too, or leave dns_support on"),
        );
    }
    problems
}

fn outputs(aws: &Aws, id: &str) -> Attributes {
    Attributes::from_iter([("id".into(), json!(id)), ("arn".into(), ec2::arn(aws, "vpc", id))])
}

async fn describe(aws: &Aws, filter: aws_sdk_ec2::types::Filter) -> Result<Vec<Ec2Vpc>, CloudError> {
    let call = aws.ec2.describe_vpcs().filters(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeVpcs", send, |page| (page.vpcs, page.next_token)).await
}

/// The DNS settings have no batch form: one read each per VPC.
async fn dns(aws: &Aws, id: &str, name: VpcAttributeName) -> Result<Option<bool>, CloudError> {
    let answer = aws
        .calls
        .read("ec2:DescribeVpcAttribute", || aws.ec2.describe_vpc_attribute().vpc_id(id).attribute(name.clone()).send())
        .await?;
    let value = match name {
        VpcAttributeName::EnableDnsSupport => answer.enable_dns_support(),
        _ => answer.enable_dns_hostnames(),
    };
    Ok(value.and_then(AttributeBooleanValue::value))
}

async fn observe(aws: &Aws, vpc: &Ec2Vpc) -> Result<Observed, CloudError> {
    let id = vpc.vpc_id().unwrap_or_default();
    let (support, hostnames) = tokio::try_join!(
        dns(aws, id, VpcAttributeName::EnableDnsSupport),
        dns(aws, id, VpcAttributeName::EnableDnsHostnames)
    )?;
    let main = vpc.cidr_block().unwrap_or_default();
    let mut attributes = Attributes::new();
    attributes.insert("cidr".into(), json!(main));
    attributes
        .insert("secondary_cidrs".into(), json!(associated(vpc).keys().filter(|c| *c != main).collect::<Vec<_>>()));
    attributes.insert("tags".into(), ec2::tags(vpc.tags()));
    if let Some(tenancy) = vpc.instance_tenancy() {
        attributes.insert("tenancy".into(), json!(tenancy.as_str()));
    }
    for (name, value) in [("dns_support", support), ("dns_hostnames", hostnames)] {
        if let Some(value) = value {
            attributes.insert(name.into(), json!(value));
        }
    }
    Ok(Observed { id: id.to_owned(), attributes, outputs: outputs(aws, id) })
}

/// What a VPC's ranges wait for: joining and leaving take a moment ("AssociateVpcCidrBlock").
///
/// # Errors
/// Where one that is wanted cannot join.
fn ranges_settled(vpc: &Ec2Vpc, wanted: &Attributes) -> Result<Option<Progress>, CloudError> {
    use aws_sdk_ec2::types::VpcCidrBlockStateCode::{Associating, Disassociating, Failed, Failing};
    let listed = wanted.get("secondary_cidrs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for one in vpc.cidr_block_association_set() {
        let range = one.cidr_block().unwrap_or_default();
        match one.cidr_block_state().and_then(|state| state.state()) {
            Some(Associating) => return Ok(Some(Progress::Pending(format!("{range} to join")))),
            Some(Disassociating) => return Ok(Some(Progress::Pending(format!("{range} to leave")))),
            // One that failed once stays listed for a while.
            Some(state @ (Failing | Failed)) if listed.iter().any(|one| one == range) => {
                let why =
                    one.cidr_block_state().and_then(|state| state.status_message()).unwrap_or("AWS gives no reason");
                let message = format!("the range {range} cannot join: {why}");
                return Err(CloudError::new(ErrorClass::Refused, "ec2:AssociateVpcCidrBlock", state.as_str(), message));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The IPv4 ranges that a VPC has, with the ids of their associations.
fn associated(vpc: &Ec2Vpc) -> std::collections::BTreeMap<String, String> {
    use aws_sdk_ec2::types::VpcCidrBlockStateCode::{Disassociated, Disassociating, Failed};
    vpc.cidr_block_association_set()
        .iter()
        .filter(|one| {
            let state = one.cidr_block_state().and_then(|s| s.state());
            !matches!(state, Some(Disassociated | Disassociating | Failed))
        })
        .filter_map(|one| Some((one.cidr_block()?.to_owned(), one.association_id()?.to_owned())))
        .collect()
}

async fn set_dns(aws: &Aws, id: &str, name: VpcAttributeName, on: bool) -> Result<(), CloudError> {
    let value = AttributeBooleanValue::builder().value(on).build();
    aws.calls
        .write("ec2:ModifyVpcAttribute", || {
            let call = aws.ec2.modify_vpc_attribute().vpc_id(id);
            match name {
                VpcAttributeName::EnableDnsSupport => call.enable_dns_support(value.clone()).send(),
                _ => call.enable_dns_hostnames(value.clone()).send(),
            }
        })
        .await?;
    Ok(())
}

/// Makes the secondary ranges what they shall be, from what they are: safe to repeat.
async fn set_secondary_cidrs(aws: &Aws, id: &str, vpc: &Vpc) -> Result<(), CloudError> {
    let found = ec2::of_id(describe(aws, ec2::filter("vpc-id", id)).await?, id, Ec2Vpc::vpc_id);
    let current_cidrs = associated(&found.ok_or_else(|| ec2::not_visible("ec2:DescribeVpcs", id))?);
    for cidr in vpc.secondary_cidrs.iter().filter(|cidr| !current_cidrs.contains_key(*cidr)) {
        aws.calls
            .create("ec2:AssociateVpcCidrBlock", || {
                aws.ec2.associate_vpc_cidr_block().vpc_id(id).cidr_block(cidr).send()
            })
            .await?;
    }
    for (cidr, association) in &current_cidrs {
        if *cidr != vpc.cidr && !vpc.secondary_cidrs.contains(cidr) {
            aws.calls
                .write("ec2:DisassociateVpcCidrBlock", || {
                    aws.ec2.disassociate_vpc_cidr_block().association_id(association).send()
                })
                .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_waited_for() {
        use aws_sdk_ec2::types::{VpcCidrBlockAssociation, VpcCidrBlockState, VpcCidrBlockStateCode};
        let settled = |code: VpcCidrBlockStateCode| {
            let state = VpcCidrBlockState::builder().state(code).status_message("it overlaps a route").build();
            let range = VpcCidrBlockAssociation::builder().cidr_block("10.1.0.0/16").cidr_block_state(state).build();
            let wanted = Attributes::from_iter([("secondary_cidrs".to_owned(), json!(["10.1.0.0/16"]))]);
            ranges_settled(&Ec2Vpc::builder().cidr_block_association_set(range).build(), &wanted)
        };
        assert_eq!(settled(VpcCidrBlockStateCode::Associated), Ok(None));
        assert_eq!(
            settled(VpcCidrBlockStateCode::Associating),
            Ok(Some(Progress::Pending("10.1.0.0/16 to join".into())))
        );
        assert_eq!(
            settled(VpcCidrBlockStateCode::Disassociating),
            Ok(Some(Progress::Pending("10.1.0.0/16 to leave".into())))
        );
        let failed = settled(VpcCidrBlockStateCode::Failed).map_err(|error| error.message);
        assert_eq!(failed, Err("the range 10.1.0.0/16 cannot join: it overlaps a route".into()));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |value: Value| {
            let Value::Object(map) = value else { return Vec::new() };
            check(&map).into_iter().map(|problem| (problem.path.join("."), problem.message)).collect::<Vec<_>>()
        };
        let one = |path: &str, message: &str| vec![(path.to_owned(), message.to_owned())];
        assert_eq!(told(json!({ "cidr": "10.0.0.0/16", "secondary_cidrs": ["10.1.0.0/16", "${vars.more}"] })), []);
        assert_eq!(
            told(json!({ "cidr": "10.0.0.0/16", "secondary_cidrs": ["10.1.0.0/16", "10.0.8.0/24"] })),
            one("secondary_cidrs.1", "`10.0.8.0/24` overlaps `10.0.0.0/16`")
        );
        assert_eq!(
            told(json!({ "cidr": "169.254.0.0/24" })),
            one("cidr", "`169.254.0.0/24` has a use of its own, and AWS takes it for no VPC")
        );
        assert_eq!(
            told(json!({ "cidr": "10.0.0.0/16", "dns_support": false })),
            one("dns_support", "DNS hostnames need DNS support")
        );
    }
}
