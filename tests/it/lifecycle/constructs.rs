//! The constructs as wholes: what a change of one line of them moves, and what it leaves where it is.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam::cloud::Cloud;
use serde_json::json;

use super::Project;
use crate::support::{Emulator, make, remove};

const NETWORK: &str = r#"
[network.main]
cidr = "10.0.0.0/16"
nat  = "none"
zone = "{u}.internal"

[network.main.subnets]
private = ["a", "b"]
public  = ["a", "b"]

[outputs]
vpc_id     = "${network.main.vpc_id}"
public_ips = "${network.main.nat_public_ips}"
"#;

/// Sees that everything that was there before is there still, as the same thing.
fn nothing_moved(before: &BTreeMap<String, String>, project: &Project) {
    let now = project.ids();
    for (address, id) in before {
        assert_eq!(now.get(address), Some(id), "{address} is still the same");
    }
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

async fn network(emulator: Emulator) {
    let mut stack = NETWORK.to_owned();
    let project = Project::new(emulator, &stack);
    let mut step = |from: &str, to: &str, planned: &[&str]| {
        assert!(stack.contains(from), "{from}");
        stack = stack.replace(from, to);
        project.write(&stack);
        let planned: BTreeSet<String> = planned.iter().map(|one| one.replace(' ', " network.main/")).collect();
        assert_eq!(project.planned(&[]), planned, "{from:?} → {to:?}");
        let before = project.ids();
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty(&format!("{from:?} → {to:?}"));
        before
    };
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");

    let before = step(
        "\"none\"",
        "\"single\"",
        &[
            "create elastic_ip.a",
            "create nat_gateway.a",
            "update route_table.private.a",
            "update route_table.private.b",
        ],
    );
    nothing_moved(&before, &project);
    let first = project.ids()["network.main/nat_gateway.a"].clone();

    let before = step(
        "\"single\"",
        "\"per-az\"",
        &["create elastic_ip.b", "create nat_gateway.b", "update route_table.private.b"],
    );
    nothing_moved(&before, &project);
    assert_eq!(project.ids()["network.main/nat_gateway.a"], first, "the first NAT gateway stays");
    let ips = project.succeeds(&["output", "public_ips"]);
    assert_eq!(serde_json::from_str::<Vec<String>>(&ips).expect("a list").len(), 2, "{ips}");

    let before = step(
        "private = [\"a\", \"b\"]\npublic  = [\"a\", \"b\"]",
        "private = [\"a\", \"b\", \"c\"]\npublic  = [\"a\", \"b\", \"c\"]",
        &[
            "create subnet.private.c",
            "create subnet.public.c",
            "create elastic_ip.c",
            "create nat_gateway.c",
            "create route_table.private.c",
            "update route_table.public",
            "update vpc_endpoint.s3",
        ],
    );
    nothing_moved(&before, &project);

    let before = step(
        "public  =",
        "data    = [\"a\", \"b\"]\npublic  =",
        &[
            "create subnet.data.a",
            "create subnet.data.b",
            "create route_table.data.a",
            "create route_table.data.b",
            "update vpc_endpoint.s3",
        ],
    );
    nothing_moved(&before, &project);

    let mut before = step(
        "\"per-az\"",
        "\"single\"",
        &[
            "delete elastic_ip.b",
            "delete elastic_ip.c",
            "delete nat_gateway.b",
            "delete nat_gateway.c",
            "update route_table.private.b",
            "update route_table.private.c",
            "update route_table.data.b",
        ],
    );
    for gone in ["nat_gateway.b", "nat_gateway.c", "elastic_ip.b", "elastic_ip.c"] {
        before.remove(&format!("network.main/{gone}"));
    }
    nothing_moved(&before, &project);
    assert_eq!(project.ids()["network.main/nat_gateway.a"], first, "the first NAT gateway stays");

    // A zone goes, with all that stood in it.
    let mut before = step(
        "[\"a\", \"b\", \"c\"]",
        "[\"a\", \"b\"]",
        &[
            "delete subnet.private.c",
            "delete subnet.public.c",
            "delete route_table.private.c",
            "update route_table.public",
            "update vpc_endpoint.s3",
        ],
    );
    before.retain(|address, _| !address.ends_with(".c"));
    nothing_moved(&before, &project);

    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty(), "the state is empty after destroy");
    project.nothing_is_left_of(&state).await;
}

/// Capacity on a cluster that somebody else made: what the cluster had is there afterwards, and after the destroy.
async fn capacity_of_another(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let name = crate::support::unique("prod");
    let prod = make(&cloud, "cluster", json!({ "name": name })).await;
    let theirs = json!({ "cluster": name, "providers": ["FARGATE", "FARGATE_SPOT"], "default": [
        { "provider": "FARGATE", "base": 1 }, { "provider": "FARGATE_SPOT", "weight": 3 },
    ] });
    let theirs = make(&cloud, "cluster_capacity", theirs).await;
    let has = async || {
        let found = cloud.aws().ecs.describe_clusters().clusters(&name).send().await.expect("the cluster is read");
        let cluster = found.clusters().first().cloned().expect("it is there");
        let shares = cluster.default_capacity_provider_strategy().iter();
        let shares: BTreeSet<_> =
            shares.map(|s| format!("{} {}+{}", s.capacity_provider(), s.base(), s.weight())).collect();
        (cluster.capacity_providers().iter().cloned().collect::<BTreeSet<_>>(), shares)
    };
    let before = has().await;
    for declared in [format!("[cluster.main]\nexisting = \"{name}\""), String::new()] {
        let cluster = if declared.is_empty() { name.as_str() } else { "main" };
        let stack = CAPACITY
            .replace("[cluster.main]", &declared)
            .replace("cluster       = \"main\"", &format!("cluster = \"{cluster}\""));
        let project = Project::new(emulator, &stack);
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty("the first apply");
        let after = has().await;
        let own = project.ids()["capacity.main/capacity_provider.instances"].clone();
        assert_eq!(after.0, before.0.iter().cloned().chain([own]).collect(), "theirs and ours");
        assert_eq!(after.1, before.1, "the default strategy is theirs");
        project.succeeds(&["destroy", "--yes"]);
        assert_eq!(has().await, before, "the cluster is as it was");
    }
    // AWS's own providers may be listed too, and stay with a cluster that is not the stack's.
    let stack = format!("[cluster_capacity.main]\ncluster = \"{name}\"\nproviders = [\"FARGATE\"]\n");
    let project = Project::new(emulator, &stack);
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["destroy", "--yes"]);
    assert_eq!(has().await, before, "the cluster is as it was");
    remove(&cloud, "cluster_capacity", &theirs).await;
    remove(&cloud, "cluster", &prod).await;
}

const CAPACITY: &str = r#"
[network.main]
cidr = "10.0.0.0/16"

[network.main.subnets]
private = ["a", "b"]
public  = ["a"]

[cluster.main]

[capacity.main]
cluster       = "main"
instance_type = "t3.small"
size          = { min = 1, max = 2 }
# more

[outputs]
provider = "${capacity.main.capacity_provider_name}"
"#;

async fn capacity(emulator: Emulator) {
    let mut stack = CAPACITY.to_owned();
    let project = Project::new(emulator, &stack);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    let version = |project: &Project| {
        let state = project.state();
        state.resources["capacity.main/launch_template.instances"].outputs["latest_version"].clone()
    };
    let one = version(&project);
    let before = project.ids();

    let mut step = |from: &str, to: &str, planned: &[&str]| {
        assert!(stack.contains(from), "{from}");
        stack = stack.replace(from, to);
        project.write(&stack);
        let planned: BTreeSet<String> = planned.iter().map(|one| one.replace(' ', " capacity.main/")).collect();
        assert_eq!(project.planned(&[]), planned, "{from:?} → {to:?}");
        project.succeeds(&["apply", "--yes"]);
        project.plan_is_empty(&format!("{from:?} → {to:?}"));
        nothing_moved(&before, &project);
    };
    step("t3.small", "t3.medium", &["update launch_template.instances", "update autoscaling_group.instances"]);
    let two = version(&project);
    assert_ne!(one, two, "another instance type makes a new version of the launch template");
    step("max = 2", "max = 4", &["update autoscaling_group.instances"]);
    step(
        "# more",
        "volume = { size_gib = 50 }",
        &["update launch_template.instances", "update autoscaling_group.instances"],
    );
    step(
        "size_gib = 50 }",
        "size_gib = 50 }\nspot = true",
        &["update launch_template.instances", "update autoscaling_group.instances"],
    );
    step(
        "spot = true",
        "spot = { on_demand_base = 1, on_demand_percent = 20 }",
        &["update autoscaling_group.instances"],
    );
    step(
        "{ on_demand_base = 1, on_demand_percent = 20 }\n",
        "false\n",
        &["update launch_template.instances", "update autoscaling_group.instances"],
    );
    step("max = 4 }", "max = 4 }\ntarget_percent = 80", &["update capacity_provider.instances"]);

    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty(), "the state is empty after destroy");
    project.nothing_is_left_of(&state).await;
}

/// A network and a zone that somebody else made are used by their ids, and stay when the stack goes.
async fn existing(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let vpc = make(&cloud, "vpc", json!({ "cidr": "10.0.0.0/16" })).await;
    let subnet = make(&cloud, "subnet", json!({ "vpc": vpc.id, "cidr": "10.0.1.0/24", "zone": "eu-west-2a" })).await;
    let name = format!("{}.local", crate::support::unique("zone"));
    let zone = make(&cloud, "hosted_zone", json!({ "name": name, "vpcs": [vpc.id] })).await;
    let stack = format!(
        r#"
[network.main]
existing = "{vpc}"
zone     = "{zone}"
subnets  = {{ private = {{ a = "{subnet}" }} }}

[vpc.same]
existing = "{vpc}"

[security_group.web]
vpc = "same"

[dns_record.www]
zone   = "${{network.main.zone_id}}"
name   = "www"
type   = "A"
values = ["10.0.1.4"]

[outputs]
subnets   = "${{network.main.private_subnet_ids}}"
vpc_cidr  = "${{vpc.same.cidr}}"
zone_name = "${{network.main.zone_name}}"
"#,
        vpc = vpc.id,
        zone = zone.id,
        subnet = subnet.id
    );
    let project = Project::new(emulator, &stack);
    assert_eq!(project.planned(&[]), set(&["create dns_record.www", "create security_group.web"]));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    let outputs: serde_json::Value = serde_json::from_str(&project.succeeds(&["output", "--json"])).expect("JSON");
    assert_eq!(
        outputs,
        json!({ "subnets": [subnet.id], "vpc_cidr": "10.0.0.0/16", "zone_name": name }),
        "what was only read is known"
    );

    let state = project.state();
    project.succeeds(&["destroy", "--yes"]);
    assert!(project.state().is_empty(), "the state is empty after destroy");
    project.nothing_is_left_of(&state).await;
    cloud.forget();
    for (kind, known) in [("subnet", &subnet), ("vpc", &vpc), ("hosted_zone", &zone)] {
        let seen = cloud.read(kind, std::slice::from_ref(known)).await.expect("it is read");
        assert!(seen[0].is_some(), "{kind} {} is still there", known.id);
    }
    for (kind, known) in [("hosted_zone", &zone), ("subnet", &subnet), ("vpc", &vpc)] {
        remove(&cloud, kind, known).await;
    }
}

/// A test for each way in which a whole stack can be served.
macro_rules! as_a_whole {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn moto() {
                super::$name($crate::support::Emulator::Moto).await;
            }

            #[tokio::test]
            async fn together() {
                super::$name($crate::support::Emulator::Together).await;
            }
        }
    )+};
}

as_a_whole!(network, capacity, capacity_of_another, existing);
