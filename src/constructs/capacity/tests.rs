use serde_json::{Value, json};

use crate::constructs::testing::{addresses, attributes, expand, problems, text};

const BASE: &str = r#"
[cluster.main]

[network.main]
cidr = "10.0.0.0/16"
nat  = "single"
subnets = { private = ["a", "b"], public = ["a", "b"] }
"#;

fn capacity(attributes: &str) -> String {
    format!("{BASE}\n[capacity.main]\ncluster = \"main\"\nsize = {{ min = 1, max = 3 }}\n{attributes}")
}

#[test]
fn as_little_as_needed() {
    let expansion = expand(&capacity("instance_type = \"t3.small\""), "capacity.main").unwrap();
    insta::assert_snapshot!(text(&expansion));
}

#[test]
fn all_that_can_be_said() {
    let stack = capacity(
        r#"
        instance_types = ["m7g.large", "m6g.large"]
        ami = "ami-0a1b2c3d"
        spot = { on_demand_base = 1, on_demand_percent = 20, max_price = "0.05" }
        volume = { size_gib = 50, iops = 4000 }
        user_data = "echo $${HOSTNAME}"
        agent = { ECS_IMAGE_PULL_BEHAVIOR = "prefer-cached" }
        repositories = ["app"]
        log_groups = ["app"]
        managed_policies = ["AmazonSSMManagedInstanceCore"]
        security_groups = ["extra"]
        ingress = [{ protocol = "tcp", ports = "80", from = ["extra"] }]
        key_pair = "ops"
        managed_termination_protection = true
        instance_refresh = { min_healthy_percent = 50 }
        target_percent = 80
        tags = { Team = "web" }
        [repository.app]
        [log_group.app]
        [security_group.extra]
        [key_pair.ops]
        "#,
    );
    insta::assert_snapshot!(text(&expand(&stack, "capacity.main").unwrap()));
}

#[test]
fn a_role_that_is_given_is_only_put_into_a_profile() {
    let stack = capacity("instance_type = \"t4g.small\"\nrole = \"instance\"\n[role.instance]\n");
    let expansion = expand(&stack, "capacity.main").unwrap();
    assert!(!addresses(&expansion).iter().any(|address| address.contains("/role.")));
    let profile = attributes(&expansion, "capacity.main/instance_profile.instances");
    assert_eq!(profile["role"], json!("${role.instance.name}"));
    let image = attributes(&expansion, "capacity.main/ami.instances");
    let parameter = "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id";
    assert_eq!(image["parameter"], json!(parameter), "the image is for the architecture of the type");
}

#[test]
fn the_count_is_ours_only_where_ecs_does_not_scale() {
    for (more, expected) in [("", None), ("managed_scaling = false", Some(&json!(1)))] {
        let stack =
            capacity(&format!("instance_type = \"t3.small\"\n{more}")).replace("max = 3", "max = 3, desired = 1");
        let expansion = expand(&stack, "capacity.main").unwrap();
        assert_eq!(attributes(&expansion, "capacity.main/autoscaling_group.instances").get("desired"), expected);
    }
}

#[test]
fn a_cluster_of_somebody_else_keeps_its_default_strategy() {
    let base = BASE.replace("[cluster.main]", "[cluster.main]\nexisting = \"prod\"");
    for cluster in ["main", "prod"] {
        let block = |more: &str| {
            format!(
                "{base}\n[capacity.main]\ncluster = \"{cluster}\"\nsize = {{ min = 1, max = 3 }}\n\
                 instance_type = \"t3.small\"\n{more}"
            )
        };
        let expansion = expand(&block(""), "capacity.main").unwrap();
        let list = addresses(&expansion).into_iter().find(|one| one.contains("/cluster_capacity.")).unwrap();
        let list = attributes(&expansion, list);
        assert_eq!(list["providers"], json!(["${capacity.main/capacity_provider.instances.name}"]));
        assert_eq!(list["default"], json!([]), "a default would replace the owner's");
        assert_eq!(
            problems(expand(&block("weight = 2"), "capacity.main")),
            [format!(
                "weight: the cluster `{cluster}` is not made by this stack, and keeps its default strategy (remove \
                 `weight`, and name the capacity provider in the services that use it)"
            )]
        );
    }
}

#[test]
fn subnets_may_be_a_list_or_a_reference_to_one() {
    for (given, expected) in [
        (r#""${network.main.public_subnet_ids}""#, json!(["${network.main.public_subnet_ids}"])),
        (r#"["x", "subnet-1"]"#, json!(["${subnet.x.id}", "subnet-1"])),
    ] {
        let stack = capacity(&format!("instance_type = \"t3.small\"\nsubnets = {given}\n[subnet.x]\n"));
        let expansion = expand(&stack, "capacity.main").unwrap();
        assert_eq!(attributes(&expansion, "capacity.main/autoscaling_group.instances")["subnets"], expected);
    }
}

#[test]
fn the_capacities_of_a_cluster_share_one_list_of_providers() {
    let block = |name: &str, more: &str| {
        format!(
            "[capacity.{name}]\ncluster = \"main\"\ninstance_type = \"t3.small\"\n\
             size = {{ min = 0, max = 3 }}\n{more}\n"
        )
    };
    let stack = format!("{BASE}{}{}", block("spot", "spot = true\nweight = 3"), block("fixed", "base = 2"));
    let first = expand(&stack, "capacity.fixed").unwrap();
    let list = attributes(&first, "cluster.main/cluster_capacity.main");
    let provider = |name: &str| format!("${{capacity.{name}/capacity_provider.instances.name}}");
    assert_eq!(list["cluster"], json!("${cluster.main.name}"));
    assert_eq!(list["providers"], json!([provider("fixed"), provider("spot")]));
    assert_eq!(
        list["default"],
        json!([
            { "provider": provider("fixed"), "weight": 1, "base": 2 },
            { "provider": provider("spot"), "weight": 3, "base": 0 },
        ])
    );
    let second = expand(&stack, "capacity.spot").unwrap();
    assert!(!addresses(&second).iter().any(|address| address.contains("cluster_capacity")), "the list is there once");

    let own = format!("{stack}[cluster_capacity.all]\ncluster = \"main\"\nproviders = [\"FARGATE\", \"fixed\"]\n");
    let first = expand(&own, "capacity.fixed").unwrap();
    assert!(!addresses(&first).iter().any(|address| address.contains("cluster_capacity")), "a list by hand wins");
}

#[test]
fn no_mutating_action_is_allowed_on_everything() {
    let expansion = expand(&capacity("instance_type = \"t3.small\""), "capacity.main").unwrap();
    let document = attributes(&expansion, "capacity.main/role.instances")["policies"]["ecs-agent"].as_str().unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let open: Vec<&Value> = document["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|statement| statement["Resource"] == json!("*"))
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .collect();
    assert_eq!(open, ["ec2:DescribeTags", "ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"]);
}

#[test]
fn architectures_of_instance_types() {
    for (instance_type, arm) in [
        ("t4g.small", true),
        ("c7gn.large", true),
        ("im4gn.large", true),
        ("is4gen.medium", true),
        ("a1.large", true),
        ("g5g.xlarge", true),
        ("hpc7g.4xlarge", true),
        ("t3.small", false),
        ("g4dn.xlarge", false),
        ("m7i-flex.large", false),
        ("u-6tb1.metal", false),
        ("p4de.24xlarge", false),
        ("x2iedn.xlarge", false),
    ] {
        let expansion = expand(&capacity(&format!("instance_type = \"{instance_type}\"")), "capacity.main").unwrap();
        let parameter = attributes(&expansion, "capacity.main/ami.instances")["parameter"].as_str().unwrap();
        assert_eq!(parameter.contains("/arm64/"), arm, "{instance_type}");
    }
}

#[test]
fn what_is_wrong_with_a_capacity() {
    let small = "instance_type = \"t3.small\"\n";
    let mut all = Vec::new();
    for attributes in [
        "".to_owned(),
        "instance_type = \"large\"".to_owned(),
        "instance_types = [\"m7g.large\", \"m7i.large\"]".to_owned(),
        format!("{small}architecture = \"arm64\""),
        format!("{small}instance_types = [\"t3a.small\"]"),
        format!("{small}network = \"other\""),
        format!("{small}tier = \"data\""),
        format!("{small}vpc = \"vpc-1\""),
        format!("{small}subnets = []"),
        format!("{small}volume = {{ size_gib = 8 }}"),
        format!("{small}role = \"instance\"\nrepositories = [\"app\"]"),
        format!("{small}agent = {{ ECS_CLUSTER = \"x\", pull = \"y\" }}"),
        format!("{small}spot = {{ on_demand_percent = 120 }}"),
        format!("{small}managed_termination_protection = true\nmanaged_scaling = false"),
        format!("{small}instance_refresh = {{ min_healthy_percent = 50, max_healthy_percent = 160 }}"),
        format!("{small}base = 1\n[capacity.other]\ncluster = \"main\"\nbase = 2"),
        format!("{small}[network.second]\ncidr = \"10.1.0.0/16\""),
    ] {
        let found = problems(expand(&capacity(&attributes), "capacity.main"));
        all.push(format!("{}\n    {}", attributes.trim_end().replace('\n', "; "), found.join("\n    ")));
    }
    for size in ["min = 3, max = 1", "min = 1, max = 3, desired = 5", "min = 1, max = 3, desired = 2"] {
        let stack = format!("{BASE}[capacity.main]\ncluster = \"main\"\n{small}size = {{ {size} }}");
        all.push(format!("{size}\n    {}", problems(expand(&stack, "capacity.main")).join("\n    ")));
    }
    let stack = format!("[capacity.main]\ncluster = \"main\"\n{small}size = {{ min = 1, max = 1 }}");
    all.push(format!("no network\n    {}", problems(expand(&stack, "capacity.main")).join("\n    ")));
    insta::assert_snapshot!(all.join("\n"));
}
