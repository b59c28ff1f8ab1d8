use serde_json::json;

use crate::constructs::testing::{addresses, attributes, expand, problems, text};

#[test]
fn a_single_nat_network() {
    let expansion = expand(
        r#"
        [network.main]
        cidr = "172.24.0.0/16"
        zone = "myorg.local"
        nat  = "single"
        tags = { Team = "web" }
        [network.main.subnets]
        private = { a = "172.24.0.0/24", b = "172.24.1.0/24" }
        public  = { a = "172.24.2.0/24", b = "172.24.3.0/24" }
        "#,
        "network.main",
    );
    insta::assert_snapshot!(text(&expansion.unwrap()));
}

#[test]
fn everything_in_three_zones() {
    let expansion = expand(
        r#"
        [network.main]
        cidr = "10.20.0.0/16"
        secondary_cidrs = ["100.64.0.0/16"]
        nat  = "per-az"
        endpoints = ["s3", "dynamodb", "ecr.api", "com.amazonaws.eu-west-2.logs"]
        flow_logs = { retention_days = 90, traffic = "reject" }
        [network.main.subnets]
        private = ["a", "b", "c"]
        public  = ["a", "b", "c"]
        data    = { zones = ["a", "eu-west-2b", "c"], nat = false, tags = { Tier = "data" } }
        [network.main.subnets.edge]
        zones   = { a = "100.64.0.0/24" }
        public  = true
        routes  = [{ to = "10.0.0.0/8", peering = "pcx-1" }]
        "#,
        "network.main",
    );
    insta::assert_snapshot!(text(&expansion.unwrap()));
}

#[test]
fn a_network_that_exists() {
    let expansion = expand(
        r#"
        [network.shared]
        existing = "vpc-0a1b"
        zone = "Z0123456789ABC"
        subnets = { private = { a = "subnet-1", b = "subnet-2" } }
        "#,
        "network.shared",
    );
    insta::assert_snapshot!(text(&expansion.unwrap()));
}

/// Where subnets lie when ranges are chosen.
fn ranges(subnets: &str) -> Vec<(String, String)> {
    let expansion =
        expand(&format!("[network.n]\ncidr = \"10.0.0.0/16\"\nsubnets = {{ {subnets} }}"), "network.n").unwrap();
    let subnets = expansion.resources.iter().filter(|resource| resource.address.kind() == "subnet");
    subnets.map(|s| (s.address.name().to_owned(), s.attributes["cidr"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn adding_a_zone_or_a_tier_moves_no_chosen_range() {
    let before = ranges(r#"private = ["b", "c"]"#);
    let after =
        ranges(r#"cache = { zones = ["b"], slot = 7 }, data = ["a"], private = ["a", "b", "c"], public = ["a", "b"]"#);
    assert_eq!(before, [("private.b".into(), "10.0.4.0/22".into()), ("private.c".into(), "10.0.8.0/22".into())]);
    assert!(before.iter().all(|subnet| after.contains(subnet)), "{before:?} stays within {after:?}");
    assert!(after.contains(&("cache.b".into(), "10.0.228.0/22".into())));
}

#[test]
fn going_from_one_nat_to_one_in_each_zone_keeps_the_first() {
    let network = |nat: &str| {
        let text = format!(
            "[network.n]\ncidr = \"10.0.0.0/16\"\nnat = \"{nat}\"\n[network.n.subnets]\n\
             private = [\"b\", \"c\"]\npublic = [\"a\", \"b\", \"c\"]"
        );
        expand(&text, "network.n").unwrap()
    };
    let (single, each) = (network("single"), network("per-az"));
    assert_eq!(
        addresses(&each).into_iter().filter(|one| !addresses(&single).contains(one)).collect::<Vec<_>>(),
        ["network.n/elastic_ip.c", "network.n/nat_gateway.c"]
    );
    let changed: Vec<_> = addresses(&single)
        .into_iter()
        .filter(|address| attributes(&single, address) != attributes(&each, address))
        .collect();
    assert_eq!(changed, ["network.n/route_table.private.c"], "only the route of the other zone changes");

    let none = network("none");
    assert_eq!(attributes(&none, "network.n/route_table.private.b")["routes"], json!([]));
}

#[test]
fn the_single_nat_stands_where_it_is_asked_to() {
    let text = "[network.n]\ncidr = \"10.0.0.0/16\"\nnat = \"single\"\nnat_zone = \"b\"\n\
                subnets = { private = [\"a\", \"b\"], public = [\"a\", \"b\"] }";
    let expansion = expand(text, "network.n").unwrap();
    assert!(addresses(&expansion).contains(&"network.n/nat_gateway.b"));
    assert!(!addresses(&expansion).contains(&"network.n/nat_gateway.a"));
}

#[test]
fn what_is_wrong_with_a_network() {
    let found = |attributes: &str| problems(expand(&format!("[network.n]\n{attributes}"), "network.n"));
    let ten = "cidr = \"10.0.0.0/16\"\n";
    let mut all = Vec::new();
    for attributes in [
        "".to_owned(),
        "cidr = \"10.0.0.0/8\"".to_owned(),
        "cidr = \"10.0.0.1/16\"".to_owned(),
        format!("{ten}subnets = {{ private = {{ a = \"10.1.0.0/24\", b = \"10.0.0\", c = \"10.0.0.0/30\" }} }}"),
        format!(
            "{ten}subnets = {{ private = {{ a = \"10.0.0.0/20\" }}, \
             public = {{ a = \"10.0.8.0/24\", b = \"10.0.9.0/24\" }} }}"
        ),
        format!("{ten}subnets = {{ private = [\"a\", \"a\", \"eu-west-2a\", \
             \"us-east-1a\", \"z\", \"eu-west-2-lon-1a\"] }}"
),
        format!("{ten}subnets = {{ web = [\"a\"] }}"),
        format!("{ten}subnets = {{ web = {{ zones = [\"a\"], slot = 0 }}, private = [\"a\"] }}"),
        format!("{ten}subnets = {{ public = {{ zones = [\"a\"], nat = true }} }}"),
        format!("{ten}nat = \"single\"\nsubnets = {{ private = [\"a\"] }}"),
        format!("{ten}nat = \"single\"\nsubnets = {{ public = [\"a\"] }}"),
        format!("{ten}nat = \"per-az\"\nsubnets = {{ public = [\"a\"], private = [\"a\", \"b\"] }}"),
        format!("{ten}nat = \"single\"\nnat_zone = \"b\"\nsubnets = {{ public = [\"a\"], private = [\"a\", \"b\"] }}"),
        format!("{ten}nat_zone = \"b\""),
        format!("{ten}endpoints = [\"s3\", \"ecr.api\", \"ecr..dkr\"]\nsubnets = {{ public = [\"a\"] }}"),
        format!("{ten}endpoints = [\"s3\", \"com.amazonaws.eu-west-2.s3\"]\nsubnets = {{ public = [\"a\"] }}"),
        format!("{ten}zone = \"local\"\ndns_support = false"),
        "cidr = \"10.0.0.0/23\"\nsubnets = { private = [\"a\"] }".to_owned(),
        "cidr = \"${stack.base.cidr}\"\nsubnets = { private = [\"a\"] }".to_owned(),
        format!("{ten}subnets = {{ private = {{ a = \"subnet-1\" }} }}"),
        "existing = \"main\"\ncidr = \"10.0.0.0/16\"\nnat = \"single\"\nsubnets = { private = { a = \"10.0.0.0/24\" } }"
            .to_owned(),
    ] {
        all.push(format!("{}\n    {}", attributes.replace('\n', "; "), found(&attributes).join("\n    ")));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_range_of_another_stack_is_taken_as_it_comes() {
    let text = "[network.n]\ncidr = \"${stack.base.cidr}\"\nsubnets = { private = { a = \"${stack.base.a}\" } }";
    let expansion = expand(text, "network.n").unwrap();
    assert_eq!(attributes(&expansion, "network.n/subnet.private.a")["cidr"], json!("${stack.base.a}"));
}
