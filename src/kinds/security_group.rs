//! `security_group`: who may talk to whom.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, IpPermission, ResourceType, SecurityGroup as Ec2Group};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rules::{self, Direction, Flows, Rule};
use super::{Actions, During, Kind, Tags, Taking, canonical, ec2, in_order, owned, spec, text, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, KindSpec, Naming, Problem, ReplaceOrder};

/// The longest name and description ("CreateSecurityGroup").
const LONGEST: usize = 255;

/// Who may talk to whom. Its rules are one set: those that others add are removed again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroup {
    /// The VPC: its name in the stack, a reference or an id.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: String,
    /// Its name, unique in the VPC; made from the stack's and its own if there is none.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default = "managed")]
    pub description: String,
    /// What may come in: `[{ ports = 443, from = ["0.0.0.0/0"] }]`. Nothing else may.
    #[serde(default)]
    pub ingress: BTreeSet<Ingress>,
    /// What may go out. Everything, if it is not given; nothing, if it is `[]`.
    #[serde(default = "everything")]
    pub egress: BTreeSet<Egress>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

fn managed() -> String {
    "Managed by Cofferdam".to_owned()
}

/// What AWS allows out of a new group ("Default security group rules").
fn everything() -> BTreeSet<Egress> {
    BTreeSet::from([Egress {
        protocol: rules::ALL.to_owned(),
        ports: None,
        to: BTreeSet::from(["0.0.0.0/0".to_owned()]),
        description: None,
    }])
}

/// What may come in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    /// The protocol: `"tcp"`, `"udp"`, `"icmp"`, `"icmpv6"`, `"all"`, or the number of another one.
    #[serde(default = "rules::tcp")]
    pub protocol: String,
    /// The ports: `443` or `"8000-8010"`; all of them, if not given. For ICMP the type, `8`, or type and code, `"3/4"`.
    #[serde(default, deserialize_with = "rules::ports", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::ports_schema")]
    pub ports: Option<String>,
    /// Where from: address ranges, security groups (names in the stack, references, ids, `"ACCOUNT/sg-…"` of another
    /// account), prefix lists (`"pl-…"`), or `"self"` for the group itself.
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub from: BTreeSet<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What may go out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// The protocol: `"tcp"`, `"udp"`, `"icmp"`, `"icmpv6"`, `"all"`, or the number of another one.
    #[serde(default = "rules::tcp")]
    pub protocol: String,
    /// The ports: `443` or `"8000-8010"`; all of them, if not given. For ICMP the type, `8`, or type and code, `"3/4"`.
    #[serde(default, deserialize_with = "rules::ports", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::ports_schema")]
    pub ports: Option<String>,
    /// Where to: address ranges, security groups (names in the stack, references, ids, `"ACCOUNT/sg-…"` of another
    /// account), prefix lists (`"pl-…"`), or `"self"` for the group itself.
    #[schemars(extend("x-reference" = "security_group.id"))]
    pub to: BTreeSet<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl From<Ingress> for Rule {
    fn from(rule: Ingress) -> Self {
        let Ingress { protocol, ports, from, description } = rule;
        Self { protocol, ports, peers: from, description }
    }
}

impl From<Rule> for Ingress {
    fn from(rule: Rule) -> Self {
        let Rule { protocol, ports, peers, description } = rule;
        Self { protocol, ports, from: peers, description }
    }
}

impl From<Egress> for Rule {
    fn from(rule: Egress) -> Self {
        let Egress { protocol, ports, to, description } = rule;
        Self { protocol, ports, peers: to, description }
    }
}

impl From<Rule> for Egress {
    fn from(rule: Rule) -> Self {
        let Rule { protocol, ports, peers, description } = rule;
        Self { protocol, ports, to: peers, description }
    }
}

/// Rules in their canonical form, of either direction.
fn merged<R: Into<Rule> + From<Rule> + Ord>(rules: BTreeSet<R>) -> BTreeSet<R> {
    rules::merged(rules.into_iter().map(Into::into)).into_iter().map(R::from).collect()
}

/// The kind `security_group`.
pub struct SecurityGroupKind;

#[async_trait]
impl Kind for SecurityGroupKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["vpc", "name", "description"],
            // What uses a group must move over before it can go.
            replace_order: ReplaceOrder::CreateFirst,
            naming: Some(Naming { attribute: "name", longest: LONGEST }),
            name_within: &["vpc"],
            name_digests: &["description"],
            canonical: |attributes| {
                let attributes = canonical::<SecurityGroup>(attributes)?;
                let Ok(mut group) = typed::<SecurityGroup>(&attributes) else { return Ok(attributes) };
                group.ingress = merged(group.ingress);
                group.egress = merged(group.egress);
                Ok(untyped(&group))
            },
            check,
            ..spec::<SecurityGroup>("security_group", "security group")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeSecurityGroups", "ec2:DescribeTags"],
            create: &[
                "ec2:CreateSecurityGroup",
                "ec2:CreateTags",
                "ec2:DescribeSecurityGroups",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
                "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
            ],
            update: &[
                "ec2:DescribeSecurityGroups",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
                "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &["ec2:DeleteSecurityGroup", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:DescribeSecurityGroups" if taking.during == During::Update => taking.changes(&["ingress", "egress"]),
            _ if call.contains("Ingress") => differs(taking, call, Direction::In),
            _ if call.contains("Egress") => differs(taking, call, Direction::Out),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("group-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "sg-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        Ok(found.iter().find(|one| ec2::has_token(one.tags(), &lost.request.token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let group: SecurityGroup = typed(&request.attributes)?;
        let made = aws
            .calls
            .create("ec2:CreateSecurityGroup", || {
                aws.ec2
                    .create_security_group()
                    .vpc_id(&group.vpc)
                    .group_name(&group.name)
                    .description(&group.description)
                    .tag_specifications(ec2::tag_specification(ResourceType::SecurityGroup, request))
                    .send()
            })
            .await
            .map_err(|error| match error.class {
                ErrorClass::Exists => error.help(
                    "a VPC takes one security group of a name: where the stack made it itself, `cofferdam orphans STACK --adopt` \
                     takes it into the state; else import it (cofferdam import), or set another `name` (a replacement needs \
                     one of its own)",
                ),
                _ => error,
            })?;
        let id = made.group_id().unwrap_or_default().to_owned();
        Ok(Created { outputs: Attributes::from_iter([("id".into(), json!(id))]), id })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let group: SecurityGroup = typed(&request.attributes)?;
        set_rules(aws, id, &wanted(&group, Direction::In), Direction::In).await?;
        set_rules(aws, id, &wanted(&group, Direction::Out), Direction::Out).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let group: SecurityGroup = typed(&request.after)?;
        for (attribute, direction) in [("ingress", Direction::In), ("egress", Direction::Out)] {
            if request.changed.contains(attribute) {
                set_rules(aws, &request.id, &wanted(&group, direction), direction).await?;
            }
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        let deleted =
            aws.calls.write("ec2:DeleteSecurityGroup", || aws.ec2.delete_security_group().group_id(&known.id).send());
        let deleted = deleted.await.map(|_| ());
        match ec2::name_blockers(aws, deleted, vec![ec2::filter("group-id", &known.id)]).await {
            Err(error) if error.is(ErrorClass::NotYet) && error.help.is_none() => {
                Err(match referencing(aws, &known.id).await {
                    Some(groups) => error.help(format!("rules of {groups} name this group; remove those rules first")),
                    None => error,
                })
            }
            other => other,
        }
    }
}

/// The other groups whose rules name this one, in words; `None` where none is found or may be read.
async fn referencing(aws: &Aws, id: &str) -> Option<String> {
    let mut groups = BTreeSet::new();
    for direction in ["ip-permission.group-id", "egress.ip-permission.group-id"] {
        let found = describe(aws, ec2::filter(direction, id)).await.ok()?;
        groups.extend(found.into_iter().filter_map(|group| group.group_id).filter(|other| other != id));
    }
    (!groups.is_empty()).then(|| groups.into_iter().collect::<Vec<_>>().join(", "))
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = text(attributes, "name");
    if name.starts_with("sg-") {
        problems.push(Problem::at("name", "a security group's name cannot begin with `sg-`").help("that is for ids"));
    }
    for attribute in ["name", "description"] {
        problems.extend(rules::text_problem(attribute, text(attributes, attribute)));
    }
    for (attribute, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = attributes.get(attribute).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut given = Vec::new();
        for (position, value) in list.iter().enumerate() {
            // What is no rule is told by the schema.
            let rule = match attribute {
                "ingress" => serde_json::from_value::<Ingress>(value.clone()).ok().map(Rule::from),
                _ => serde_json::from_value::<Egress>(value.clone()).ok().map(Rule::from),
            };
            let Some(rule) = rule else { continue };
            let path = format!("{attribute}.{position}");
            problems.extend(rule.problems(&path, peers));
            given.push((path, rule));
        }
        problems.extend(rules::twice(&given, peers));
    }
    problems
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Group>, CloudError> {
    let call = aws.ec2.describe_security_groups().filters(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeSecurityGroups", send, |page| (page.security_groups, page.next_token)).await
}

fn wanted(group: &SecurityGroup, direction: Direction) -> Flows {
    match direction {
        Direction::In => rules::flows(group.ingress.iter().cloned().map(Rule::from)),
        Direction::Out => rules::flows(group.egress.iter().cloned().map(Rule::from)),
    }
}

fn permissions(group: &Ec2Group, direction: Direction) -> &[IpPermission] {
    match direction {
        Direction::In => group.ip_permissions(),
        Direction::Out => group.ip_permissions_egress(),
    }
}

fn current(group: &Ec2Group, direction: Direction) -> Flows {
    let (id, owner) = (group.group_id().unwrap_or_default(), group.owner_id().unwrap_or_default());
    rules::observed(permissions(group, direction), id, owner)
}

fn observe(group: &Ec2Group) -> Observed {
    let id = group.group_id().unwrap_or_default().to_owned();
    let of = |direction| rules::of_flows(current(group, direction));
    let ingress: BTreeSet<Ingress> = of(Direction::In).into_iter().map(Ingress::from).collect();
    let egress: BTreeSet<Egress> = of(Direction::Out).into_iter().map(Egress::from).collect();
    let attributes = Attributes::from_iter([
        ("vpc".into(), json!(group.vpc_id())),
        ("name".into(), json!(group.group_name())),
        ("description".into(), json!(group.description())),
        ("ingress".into(), json!(ingress)),
        ("egress".into(), json!(egress)),
        ("tags".into(), ec2::tags(group.tags())),
    ]);
    Observed { outputs: Attributes::from_iter([("id".into(), json!(id))]), id, attributes }
}

/// Whether rules of a direction are to be authorised, described otherwise, or revoked, as this call does.
fn differs(taking: &Taking<'_>, call: &str, direction: Direction) -> bool {
    let attribute = if direction == Direction::In { "ingress" } else { "egress" };
    if !taking.creates() && !taking.changes(&[attribute]) {
        return false;
    }
    let typed = |attributes: &Attributes| typed::<SecurityGroup>(attributes).ok();
    let before = match (taking.creates(), direction) {
        // A new group lets everything out, and nothing in.
        (true, Direction::In) => Some(Flows::default()),
        (true, Direction::Out) => Some(rules::flows(everything().into_iter().map(Rule::from))),
        _ => typed(taking.before).map(|group| wanted(&group, direction)),
    };
    let (Some(before), Some(after)) = (before, typed(taking.after)) else { return true };
    let difference = rules::difference(&before, &wanted(&after, direction), "");
    match call {
        _ if call.contains("Authorize") => difference.missing.is_some(),
        _ if call.contains("Revoke") => difference.surplus.is_some(),
        _ => difference.described_otherwise.is_some(),
    }
}

/// Makes the rules of one direction what they shall be, from what they are. Missing rules come before surplus ones go,
/// so that what is allowed before and after is allowed all the time.
async fn set_rules(aws: &Aws, id: &str, wanted: &Flows, direction: Direction) -> Result<(), CloudError> {
    let mut again = true;
    loop {
        let found = ec2::of_id(describe(aws, ec2::filter("group-id", id)).await?, id, |one| one.group_id());
        let group = found.ok_or_else(|| ec2::not_visible("ec2:DescribeSecurityGroups", id))?;
        match change_rules(aws, id, &current(&group, direction), wanted, direction).await {
            // An attempt whose answer was lost may have made or removed them: what is left to do is found by reading.
            Err(error) if again && matches!(error.class, ErrorClass::Exists | ErrorClass::NotFound) => again = false,
            other => return other,
        }
    }
}

async fn change_rules(
    aws: &Aws,
    id: &str,
    current: &Flows,
    wanted: &Flows,
    direction: Direction,
) -> Result<(), CloudError> {
    let difference = rules::difference(current, wanted, id);
    macro_rules! change {
        ($permissions:ident, $action:literal, $call:ident) => {
            if let Some(permissions) = &difference.$permissions {
                let call = aws.ec2.$call().group_id(id).set_ip_permissions(Some(permissions.clone()));
                aws.calls.write($action, || call.clone().send()).await?;
            }
        };
    }
    match direction {
        Direction::In => {
            change!(missing, "ec2:AuthorizeSecurityGroupIngress", authorize_security_group_ingress);
            change!(
                described_otherwise,
                "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
                update_security_group_rule_descriptions_ingress
            );
            change!(surplus, "ec2:RevokeSecurityGroupIngress", revoke_security_group_ingress);
        }
        Direction::Out => {
            change!(missing, "ec2:AuthorizeSecurityGroupEgress", authorize_security_group_egress);
            change!(
                described_otherwise,
                "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
                update_security_group_rule_descriptions_egress
            );
            change!(surplus, "ec2:RevokeSecurityGroupEgress", revoke_security_group_egress);
        }
    }
    Ok(())
}
