//! `route_table`: where traffic goes that leaves a subnet, and which subnets that holds for.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    Filter, ResourceType, Route as Ec2Route, RouteOrigin, RouteTable as Ec2Table, RouteTableAssociation,
    RouteTableAssociationStateCode as AssociationState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actions, During, Kind, Tags, Taking, canonical, ec2, gone_is_fine, in_order, owned, spec, typed, untyped};
use crate::aws::Aws;
use crate::cloud::{CloudError, CreateRequest, Created, ErrorClass, Known, Lost, Observed, Owned, UpdateRequest};
use crate::graph::{Attributes, KindSpec, Problem, template};
use crate::net;

/// Where traffic goes that leaves a subnet, and which subnets that holds for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// The VPC: its name in the stack, a reference or an id.
    #[schemars(extend("x-reference" = "vpc.id"))]
    pub vpc: String,
    /// The routes: `[{ to = "0.0.0.0/0", nat_gateway = "main" }]`. The routes within the VPC, those of gateway endpoints
    /// and those that a VPN gateway propagates are AWS's and not listed.
    #[serde(default)]
    pub routes: BTreeSet<Route>,
    /// The subnets that use the table: names in the stack, references or ids. Other subnets use the VPC's main table.
    #[serde(default)]
    #[schemars(extend("x-reference" = "subnet.id"))]
    pub subnets: BTreeSet<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Where the traffic to a range goes. It has exactly one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The destination: an IPv4 range (`"0.0.0.0/0"` is everything), an IPv6 range or a prefix list (`"pl-…"`).
    pub to: String,
    /// Target: an internet gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "internet_gateway.id"))]
    pub internet_gateway: Option<String>,
    /// Target: a NAT gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reference" = "nat_gateway.id"))]
    pub nat_gateway: Option<String>,
    /// Target: an endpoint of a Gateway Load Balancer, `"vpce-…"`. Those of the kind `vpc_endpoint` are none: gateway
    /// endpoints route by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_endpoint: Option<String>,
    /// Target: a VPC peering connection, `"pcx-…"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peering: Option<String>,
    /// Target: a transit gateway, `"tgw-…"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit_gateway: Option<String>,
    /// Target: a network interface, `"eni-…"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface: Option<String>,
    /// Target: an egress-only internet gateway, `"eigw-…"`; for IPv6 ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_only_gateway: Option<String>,
    /// Target: a virtual private gateway, `"vgw-…"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpn_gateway: Option<String>,
}

impl Route {
    fn targets(&self) -> [&Option<String>; 8] {
        [
            &self.internet_gateway,
            &self.nat_gateway,
            &self.vpc_endpoint,
            &self.peering,
            &self.transit_gateway,
            &self.network_interface,
            &self.egress_only_gateway,
            &self.vpn_gateway,
        ]
    }

    /// A route as the API returns it; `None` for those that AWS makes.
    fn observed(route: &Ec2Route) -> Option<Self> {
        // Others come with the table, from a VPN gateway or a route server.
        if route.origin().is_some_and(|origin| *origin != RouteOrigin::CreateRoute) {
            return None;
        }
        let gateway = route.gateway_id().unwrap_or_default();
        // A gateway endpoint adds a route from its prefix list to itself.
        if gateway == "local" || (gateway.starts_with("vpce-") && route.destination_prefix_list_id().is_some()) {
            return None;
        }
        let gateway_of = |prefix: &str| gateway.starts_with(prefix).then(|| gateway.to_owned());
        let own = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(str::to_owned);
        Some(Self {
            to: own(route.destination_cidr_block())
                .or_else(|| own(route.destination_ipv6_cidr_block()))
                .or_else(|| own(route.destination_prefix_list_id()))
                .map(|to| net::spelled(&to))?,
            internet_gateway: gateway_of("igw-"),
            nat_gateway: own(route.nat_gateway_id()),
            vpc_endpoint: gateway_of("vpce-"),
            peering: own(route.vpc_peering_connection_id()),
            transit_gateway: own(route.transit_gateway_id()),
            network_interface: own(route.network_interface_id()),
            egress_only_gateway: own(route.egress_only_internet_gateway_id()),
            vpn_gateway: gateway_of("vgw-"),
        })
    }

    /// The destination in the API's three parameters: IPv4 range, IPv6 range, prefix list.
    fn destination(&self) -> (Option<String>, Option<String>, Option<String>) {
        let to = Some(self.to.clone());
        match self.to.as_str() {
            text if text.starts_with("pl-") => (None, None, to),
            text if text.contains(':') => (None, to, None),
            _ => (to, None, None),
        }
    }
}

/// Puts a route into a `CreateRoute` or `ReplaceRoute` call, which have the same parameters.
macro_rules! with_route {
    ($call:expr, $table:expr, $route:expr) => {{
        let (v4, v6, prefix_list) = $route.destination();
        $call
            .route_table_id($table)
            .set_destination_cidr_block(v4)
            .set_destination_ipv6_cidr_block(v6)
            .set_destination_prefix_list_id(prefix_list)
            .set_gateway_id($route.internet_gateway.clone().or($route.vpn_gateway.clone()))
            .set_nat_gateway_id($route.nat_gateway.clone())
            .set_vpc_endpoint_id($route.vpc_endpoint.clone())
            .set_vpc_peering_connection_id($route.peering.clone())
            .set_transit_gateway_id($route.transit_gateway.clone())
            .set_network_interface_id($route.network_interface.clone())
            .set_egress_only_internet_gateway_id($route.egress_only_gateway.clone())
    }};
}

/// The kind `route_table`.
pub struct RouteTableKind;

#[async_trait]
impl Kind for RouteTableKind {
    fn spec(&self) -> KindSpec {
        KindSpec {
            replace_on: &["vpc"],
            canonical: |attributes| {
                let attributes = canonical::<RouteTable>(attributes)?;
                let Ok(mut table) = typed::<RouteTable>(&attributes) else { return Ok(attributes) };
                let spelled = |route: Route| Route { to: net::spelled(&route.to), ..route };
                table.routes = table.routes.into_iter().map(spelled).collect();
                Ok(untyped(&table))
            },
            check,
            ..spec::<RouteTable>("route_table", "route table")
        }
    }

    fn actions(&self) -> Actions {
        Actions {
            read: &["ec2:DescribeRouteTables", "ec2:DescribeTags"],
            create: &[
                "ec2:CreateRouteTable",
                "ec2:CreateTags",
                "ec2:DescribeRouteTables",
                "ec2:CreateRoute",
                "ec2:ReplaceRoute",
                "ec2:DeleteRoute",
                "ec2:AssociateRouteTable",
                "ec2:ReplaceRouteTableAssociation",
                "ec2:DisassociateRouteTable",
            ],
            update: &[
                "ec2:DescribeRouteTables",
                "ec2:CreateRoute",
                "ec2:ReplaceRoute",
                "ec2:DeleteRoute",
                "ec2:AssociateRouteTable",
                "ec2:ReplaceRouteTableAssociation",
                "ec2:DisassociateRouteTable",
                "ec2:CreateTags",
                "ec2:DeleteTags",
            ],
            delete: &["ec2:DescribeRouteTables", "ec2:DisassociateRouteTable", "ec2:DeleteRouteTable"],
        }
    }

    fn takes(&self, call: &str, taking: &Taking<'_>) -> bool {
        match call {
            "ec2:CreateRoute" => taking.adds("routes") && routes_differ(taking, |before, _| before.is_none()),
            "ec2:ReplaceRoute" => {
                taking.adds("routes") && routes_differ(taking, |before, after| before.is_some_and(|one| one != after))
            }
            "ec2:DeleteRoute" => {
                let kept = routes_of(taking.after);
                taking.removes("routes") && routes_of(taking.before).iter().any(|(to, _)| !kept.contains_key(to))
            }
            "ec2:AssociateRouteTable" => taking.adds("subnets"),
            // A subnet that exists may have another table.
            "ec2:ReplaceRouteTableAssociation" => {
                taking.adds("subnets") && has_literal(taking.after.get("subnets"), taking.before.get("subnets"))
            }
            "ec2:DisassociateRouteTable" => taking.removes("subnets"),
            "ec2:DescribeRouteTables" if taking.during == During::Update => taking.changes(&["routes", "subnets"]),
            "ec2:DescribeRouteTables" if taking.creates() => taking.has("routes") || taking.has("subnets"),
            _ => taking.takes(call),
        }
    }

    async fn read(&self, aws: &Aws, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError> {
        let mut found = Vec::new();
        for filter in ec2::id_filters("route-table-id", wanted.iter().map(|known| known.id.as_str())) {
            found.extend(describe(aws, filter).await?.iter().map(observe));
        }
        Ok(in_order(wanted, found))
    }

    async fn owned(&self, aws: &Aws) -> Result<Vec<Owned>, CloudError> {
        owned::of_ec2(aws, "rtb-").await
    }

    async fn find(&self, aws: &Aws, lost: &Lost) -> Result<Option<Observed>, CloudError> {
        let found = describe(aws, ec2::by_token(&lost.request.token)).await?;
        Ok(found.iter().find(|one| ec2::has_token(one.tags(), &lost.request.token)).map(observe))
    }

    async fn create(&self, aws: &Aws, request: &CreateRequest) -> Result<Created, CloudError> {
        let table: RouteTable = typed(&request.attributes)?;
        let answer = aws
            .calls
            .create("ec2:CreateRouteTable", || {
                aws.ec2
                    .create_route_table()
                    .vpc_id(&table.vpc)
                    .client_token(&request.token)
                    .tag_specifications(ec2::tag_specification(ResourceType::RouteTable, request))
                    .send()
            })
            .await?;
        let made = answer.route_table().map(observe).unwrap_or_default();
        Ok(Created { id: made.id, outputs: made.outputs })
    }

    async fn finish(&self, aws: &Aws, id: &str, request: &CreateRequest) -> Result<(), CloudError> {
        let table: RouteTable = typed(&request.attributes)?;
        if table.routes.is_empty() && table.subnets.is_empty() {
            return Ok(());
        }
        let current = existing(aws, id).await?;
        set_routes(aws, &current, id, &table.routes).await?;
        set_subnets(aws, &current, id, &table.subnets).await
    }

    async fn update(&self, aws: &Aws, request: &UpdateRequest) -> Result<(), CloudError> {
        let table: RouteTable = typed(&request.after)?;
        let (routes, subnets) = (request.changed.contains("routes"), request.changed.contains("subnets"));
        if routes || subnets {
            let current = existing(aws, &request.id).await?;
            // Routes first, so that a subnet that joins finds them.
            if routes {
                set_routes(aws, &current, &request.id, &table.routes).await?;
            }
            if subnets {
                set_subnets(aws, &current, &request.id, &table.subnets).await?;
            }
        }
        ec2::update_tags(aws, request).await
    }

    async fn delete(&self, aws: &Aws, known: &Known) -> Result<(), CloudError> {
        if let Some(table) = by_id(aws, &known.id).await? {
            for association in associations(&table) {
                disassociate(aws, association.route_table_association_id()).await?;
            }
        }
        let deleted = aws
            .calls
            .write("ec2:DeleteRouteTable", || aws.ec2.delete_route_table().route_table_id(&known.id).send())
            .await;
        gone_is_fine(deleted.map(|_| ()))
    }
}

fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let routes = attributes.get("routes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (position, value) in routes.iter().enumerate() {
        // What is no route is told by the schema.
        let Ok(route) = serde_json::from_value::<Route>(value.clone()) else { continue };
        let path = format!("routes.{position}");
        let count = route.targets().iter().filter(|target| target.is_some()).count();
        if count != 1 {
            let how_many = if count == 0 { "no target".to_owned() } else { format!("{count} targets") };
            problems.push(Problem::at(&path, format!("the route to `{}` has {how_many}", route.to)).help(
                "give it exactly one of internet_gateway, nat_gateway, vpc_endpoint, peering, transit_gateway, \
                 network_interface, egress_only_gateway, vpn_gateway",
            ));
        }
        if let Some(endpoint) = route.vpc_endpoint.as_deref().filter(|id| !id.starts_with("vpce-")) {
            let own = template::references(endpoint).into_iter().filter_map(|reference| reference.address());
            if own.map(|address| address.kind() == "vpc_endpoint").next().unwrap_or(true) {
                problems.push(
                    Problem::at(
                        &format!("{path}.vpc_endpoint"),
                        format!("`{endpoint}` is no endpoint of a Gateway Load Balancer"),
                    )
                    .help(
                        "give the id of one, \"vpce-0123456789abcdef0\"; the endpoints of a stack need no route of their own",
                    ),
                );
            }
        }
        if template::is_unknown(&json!(route.to)) {
            continue;
        }
        if !route.to.starts_with("pl-") {
            problems.extend(net::range_problem(&format!("{path}.to"), &route.to));
        }
        if let Some(first) = seen.insert(net::spelled(&route.to), position) {
            problems.push(
                Problem::at(&format!("{path}.to"), format!("a second route to `{}`", route.to))
                    .help(format!("one destination takes one route; the first is routes[{first}]")),
            );
        }
    }
    problems
}

async fn describe(aws: &Aws, filter: Filter) -> Result<Vec<Ec2Table>, CloudError> {
    let call = aws.ec2.describe_route_tables().filters(filter);
    let send = |next| call.clone().set_next_token(next).send();
    ec2::paged(aws, "ec2:DescribeRouteTables", send, |page| (page.route_tables, page.next_token)).await
}

async fn by_id(aws: &Aws, id: &str) -> Result<Option<Ec2Table>, CloudError> {
    let found = describe(aws, ec2::filter("route-table-id", id)).await?;
    Ok(ec2::of_id(found, id, |one| one.route_table_id()))
}

async fn existing(aws: &Aws, id: &str) -> Result<Ec2Table, CloudError> {
    by_id(aws, id).await?.ok_or_else(|| ec2::not_visible("ec2:DescribeRouteTables", id))
}

fn observe(table: &Ec2Table) -> Observed {
    let id = table.route_table_id().unwrap_or_default().to_owned();
    let subnets: BTreeSet<&str> = associations(table).filter_map(|one| one.subnet_id()).collect();
    let attributes = Attributes::from_iter([
        ("vpc".into(), json!(table.vpc_id())),
        ("routes".into(), json!(routes(table))),
        ("subnets".into(), json!(subnets)),
        ("tags".into(), ec2::tags(table.tags())),
    ]);
    Observed { outputs: Attributes::from_iter([("id".into(), json!(id))]), id, attributes }
}

fn routes(table: &Ec2Table) -> BTreeSet<Route> {
    table.routes().iter().filter_map(Route::observed).collect()
}

/// The explicit associations that a table has; that of the main table is none.
fn associations(table: &Ec2Table) -> impl Iterator<Item = &RouteTableAssociation> {
    table.associations().iter().filter(|one| {
        let state = one.association_state().and_then(|state| state.state());
        let going = matches!(
            state,
            Some(AssociationState::Disassociating | AssociationState::Disassociated | AssociationState::Failed)
        );
        one.main() != Some(true) && !going
    })
}

/// The routes of these attributes, by what they lead to.
fn routes_of(attributes: &Attributes) -> BTreeMap<&str, &Value> {
    let routes = attributes.get("routes").and_then(Value::as_array).into_iter().flatten();
    routes.filter_map(|route| Some((route.get("to")?.as_str()?, route))).collect()
}

/// Whether this is so of a route: given what it was, and what it shall be.
fn routes_differ(taking: &Taking<'_>, so: impl Fn(Option<&Value>, &Value) -> bool) -> bool {
    let before = routes_of(taking.before);
    routes_of(taking.after).into_iter().any(|(to, after)| so(before.get(to).copied(), after))
}

/// Whether there is more in a list than there was that exists by now.
fn has_literal(after: Option<&Value>, before: Option<&Value>) -> bool {
    let items = |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
    let before = items(before);
    items(after).iter().any(|item| !before.contains(item) && !template::is_unknown(item))
}

/// Makes the routes what they shall be, from what they are.
async fn set_routes(aws: &Aws, table: &Ec2Table, id: &str, wanted: &BTreeSet<Route>) -> Result<(), CloudError> {
    let current = routes(table);
    let taken: BTreeSet<&str> = current.iter().map(|route| route.to.as_str()).collect();
    for route in wanted.difference(&current) {
        if !taken.contains(route.to.as_str()) {
            let made =
                aws.calls.write("ec2:CreateRoute", || with_route!(aws.ec2.create_route(), id, route).send()).await;
            match made {
                // An attempt whose answer was lost may have made it, and so may have somebody else.
                Err(error) if error.is(ErrorClass::Exists) => {}
                Err(error) => return Err(error),
                Ok(_) => continue,
            }
        }
        aws.calls.write("ec2:ReplaceRoute", || with_route!(aws.ec2.replace_route(), id, route).send()).await?;
    }
    let kept: BTreeSet<&str> = wanted.iter().map(|route| route.to.as_str()).collect();
    for route in current.iter().filter(|route| !kept.contains(route.to.as_str())) {
        let (v4, v6, prefix_list) = route.destination();
        let deleted = aws
            .calls
            .write("ec2:DeleteRoute", || {
                aws.ec2
                    .delete_route()
                    .route_table_id(id)
                    .set_destination_cidr_block(v4.clone())
                    .set_destination_ipv6_cidr_block(v6.clone())
                    .set_destination_prefix_list_id(prefix_list.clone())
                    .send()
            })
            .await;
        gone_is_fine(deleted.map(|_| ()))?;
    }
    Ok(())
}

/// Makes the associations with subnets what they shall be. A subnet that another table has is taken over in one call, so
/// that it is never without routes.
async fn set_subnets(aws: &Aws, table: &Ec2Table, id: &str, wanted: &BTreeSet<String>) -> Result<(), CloudError> {
    let current: BTreeMap<&str, &RouteTableAssociation> =
        associations(table).filter_map(|one| Some((one.subnet_id()?, one))).collect();
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|subnet| !current.contains_key(subnet)).collect();
    let mut elsewhere: BTreeMap<String, String> = BTreeMap::new();
    for filter in ec2::id_filters("association.subnet-id", missing.iter().copied()) {
        for other in describe(aws, filter).await? {
            elsewhere.extend(
                associations(&other).filter_map(|one| {
                    Some((one.subnet_id()?.to_owned(), one.route_table_association_id()?.to_owned()))
                }),
            );
        }
    }
    for subnet in missing {
        match elsewhere.get(subnet) {
            Some(association) => {
                let replaced = aws
                    .calls
                    .write("ec2:ReplaceRouteTableAssociation", || {
                        aws.ec2.replace_route_table_association().association_id(association).route_table_id(id).send()
                    })
                    .await;
                // The id changes with every replacement: an attempt whose answer was lost may have done it. Reading
                // again tells.
                replaced.map_err(|error| match error.class {
                    ErrorClass::NotFound => CloudError { class: ErrorClass::NotYet, ..error },
                    _ => error,
                })?;
            }
            None => {
                aws.calls
                    .write("ec2:AssociateRouteTable", || {
                        aws.ec2.associate_route_table().route_table_id(id).subnet_id(subnet).send()
                    })
                    .await?;
            }
        }
    }
    for (_, association) in current.iter().filter(|(subnet, _)| !wanted.contains(**subnet)) {
        disassociate(aws, association.route_table_association_id()).await?;
    }
    Ok(())
}

async fn disassociate(aws: &Aws, association: Option<&str>) -> Result<(), CloudError> {
    let Some(association) = association else { return Ok(()) };
    let done = aws
        .calls
        .write("ec2:DisassociateRouteTable", || aws.ec2.disassociate_route_table().association_id(association).send())
        .await;
    gone_is_fine(done.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Routes of AWS's own are nobody's to keep or remove.
    #[test]
    fn routes_of_aws_are_left_out() {
        let route = || Ec2Route::builder().destination_cidr_block("10.0.0.0/16");
        let observed = |route: aws_sdk_ec2::types::builders::RouteBuilder| Route::observed(&route.build());
        assert_eq!(observed(route().gateway_id("local").origin(RouteOrigin::CreateRouteTable)), None);
        assert_eq!(observed(route().gateway_id("vgw-1").origin(RouteOrigin::EnableVgwRoutePropagation)), None);
        let of_endpoint = Ec2Route::builder().destination_prefix_list_id("pl-1").gateway_id("vpce-1");
        assert_eq!(observed(of_endpoint.origin(RouteOrigin::CreateRoute)), None);
        let kept = observed(route().gateway_id("vpce-2").origin(RouteOrigin::CreateRoute));
        assert_eq!(kept.and_then(|route| route.vpc_endpoint).as_deref(), Some("vpce-2"));
        let kept = observed(route().gateway_id("vgw-1").origin(RouteOrigin::CreateRoute));
        assert_eq!(kept.and_then(|route| route.vpn_gateway).as_deref(), Some("vgw-1"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |routes: Value| {
            let attributes = Attributes::from_iter([("routes".to_owned(), routes)]);
            check(&attributes).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(told(json!([{ "to": "0.0.0.0/0" }])), ["the route to `0.0.0.0/0` has no target"]);
        assert_eq!(
            told(json!([{ "to": "0.0.0.0/0", "peering": "pcx-1", "nat_gateway": "nat-1" }])),
            ["the route to `0.0.0.0/0` has 2 targets"]
        );
        assert_eq!(told(json!([{ "to": "10.0.0.1/8", "peering": "pcx-1" }])), ["`10.0.0.1/8` has host bits set"]);
        let twice = json!([{ "to": "::/0", "peering": "pcx-1" }, { "to": "0::/0", "peering": "pcx-2" }]);
        assert_eq!(told(twice), ["a second route to `0::/0`"]);
        let fine = json!([{ "to": "pl-1", "peering": "pcx-1" }, { "to": "${network.b.cidr}", "peering": "pcx-1" }]);
        assert_eq!(told(fine), Vec::<String>::new());
    }
}
