use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};

use super::{Project, Step, go_on, many, one, tell, text};
use crate::support::{Emulator, make, unique};

async fn cluster(emulator: Emulator) {
    let stack = r#"
[cluster.main]
container_insights = "enabled"
# more

[cluster.other]
name = "{u}-other"

[log_group.sessions]
"#;
    let logged = "exec_logging = { log_group = \"sessions\", kms_key = \"alias/sessions\" }";
    let namespace = "service_connect_namespace = \"arn:aws:servicediscovery:eu-west-2:123456789012:namespace/ns-abc\"";
    let steps = vec![
        one("\"enabled\"", "\"enhanced\"", "update", "cluster.main.container_insights"),
        one("\"enhanced\"", "\"disabled\"", "update", "cluster.main.container_insights"),
        one("# more", logged, "update", "cluster.main.exec_logging"),
        Step::Drift("cluster.main", "exec_logging", json!({ "off": true })),
        one(logged, "exec_logging = { off = true }", "update", "cluster.main.exec_logging"),
        one("exec_logging = { off = true }", namespace, "update", "cluster.main.service_connect_namespace"),
        one(namespace, "tags = { Team = \"a\" }", "update", "cluster.main.service_connect_namespace"),
        one("Team = \"a\"", "Owner = \"b\"", "update", "cluster.main.tags"),
        Step::Drift("cluster.main", "container_insights", json!("enabled")),
        Step::Drift("cluster.main", "tags", json!({ "Owner": "somebody" })),
        Step::Gone(&["cluster.main", "cluster.other"]),
        one("{u}-other", "{u}-another", "replace", "cluster.other.name"),
    ];
    tell(emulator, stack, steps).await;
}

async fn launch_template(emulator: Emulator) {
    let stack = r##"
[vpc.main]
cidr = "10.0.0.0/16"

[security_group.a]
vpc = "main"

[role.instance]
service = "ec2.amazonaws.com"

[instance_profile.main]
role = "instance"

[key_pair.ops]
public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@home"

[launch_template.main]
name          = "{u}-main"
image         = "ami-12c6146b"
instance_type = "t3.small"
user_data     = """
#!/bin/sh
echo ECS_CLUSTER=main >> /etc/ecs/ecs.config
"""
# more
"##;
    let volumes = "volumes = [{ device = \"/dev/xvdb\", size_gib = 8, iops = 4000, throughput = 200 }, \
                   { device = \"/dev/xvda\", size_gib = 30, delete_on_termination = false, encrypted = false }]";
    let steps = vec![
        many(
            &[("ami-12c6146b", "ami-1e749f67"), ("t3.small", "t3.medium"), ("=main", "=other")],
            "update",
            &["launch_template.main.image", "launch_template.main.instance_type", "launch_template.main.user_data"],
        ),
        many(
            &[("# more", "imds = \"optional\"\nimds_hop_limit = 1\ndetailed_monitoring = true\n# more")],
            "update",
            &[
                "launch_template.main.imds",
                "launch_template.main.imds_hop_limit",
                "launch_template.main.detailed_monitoring",
            ],
        ),
        many(
            &[("# more", "instance_profile = \"main\"\nkey_pair = \"ops\"\nsecurity_groups = [\"a\"]\n# more")],
            "update",
            &[
                "launch_template.main.instance_profile",
                "launch_template.main.key_pair",
                "launch_template.main.security_groups",
            ],
        ),
        Step::Drift("launch_template.main", "security_groups", json!([])),
        Step::Drift("launch_template.main", "user_data", json!("#!/bin/sh\nreboot\n")),
        // What somebody takes away is drift like what somebody changes.
        Step::Drift("launch_template.main", "key_pair", Value::Null),
        Step::Drift("launch_template.main", "instance_profile", Value::Null),
        many(
            &[("instance_profile = \"main\"\nkey_pair = \"ops\"\nsecurity_groups = [\"a\"]\n", "")],
            "update",
            &[
                "launch_template.main.instance_profile",
                "launch_template.main.key_pair",
                "launch_template.main.security_groups",
            ],
        ),
        one("# more", volumes, "update", "launch_template.main.volumes"),
        Step::Drift("launch_template.main", "volumes", json!([])),
        many(
            &[
                (volumes, "public_ip = true\nebs_optimized = true\n# more"),
                ("# more", "instance_tags = { Role = \"ecs\" }\ncpu_credits = \"standard\"\ntags = { Team = \"a\" }"),
            ],
            "update",
            &[
                "launch_template.main.volumes",
                "launch_template.main.public_ip",
                "launch_template.main.ebs_optimized",
                "launch_template.main.instance_tags.Role",
                "launch_template.main.cpu_credits",
                "launch_template.main.tags.Team",
            ],
        ),
        many(
            &[
                ("public_ip = true\nebs_optimized = true\n", ""),
                ("cpu_credits = \"standard\"", ""),
                ("Role = \"ecs\"", ""),
            ],
            "update",
            &[
                "launch_template.main.public_ip",
                "launch_template.main.ebs_optimized",
                "launch_template.main.instance_tags",
                "launch_template.main.cpu_credits",
            ],
        ),
        Step::Drift("launch_template.main", "instance_type", json!("t3.large")),
        Step::Drift("launch_template.main", "tags", json!({ "Team": "somebody" })),
        Step::Gone(&["launch_template.main"]),
        one("{u}-main", "{u}-again", "replace", "launch_template.main.name"),
    ];
    tell(emulator, stack, steps).await;
}

/// A template is adopted by its id, whatever it is called; then the plan says what its name means.
async fn a_template_of_another_name(emulator: Emulator) {
    let cloud = emulator.cloud().await;
    let theirs = json!({ "name": unique("theirs"), "image": "ami-12c6146b", "instance_type": "t3.small" });
    let theirs = make(&cloud, "launch_template", theirs).await;
    let stack = "[launch_template.main]\nname = \"{u}-main\"\nimage = \"ami-12c6146b\"\ninstance_type = \"t3.small\"\n";
    let project = Project::new(emulator, stack);
    let import = ["import", "stack.toml", "launch_template.main", &theirs.id, "--cloud", "aws"];
    let output = project.command().args(import).output().expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(project.ids()["launch_template.main"], theirs.id);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("adopting");
    go_on(project, stack, Vec::new()).await;
}

/// What an autoscaling group and what is above it stand on.
pub const GROUND: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc  = "main"
cidr = "10.0.1.0/24"
zone = "a"

[subnet.b]
vpc  = "main"
cidr = "10.0.2.0/24"
zone = "b"

[launch_template.main]
image         = "ami-12c6146b"
instance_type = "t3.small"

"#;

async fn autoscaling_group(emulator: Emulator) {
    let stack = GROUND.to_owned()
        + r#"
[autoscaling_group.main]
name                    = "{u}-main"
launch_template         = "main"
launch_template_version = "${launch_template.main.default_version}"
subnets                 = ["a"]
min                     = 1
max                     = 3
# more
"#;
    let mut steps = vec![
        many(
            &[("min                     = 1", "min = 0"), ("max                     = 3", "max = 4")],
            "update",
            &["autoscaling_group.main.min", "autoscaling_group.main.max"],
        ),
        one("# more", "desired = 2\n# more", "update", "autoscaling_group.main.desired"),
        Step::Drift("autoscaling_group.main", "desired", json!(1)),
        one("desired = 2", "desired = 1", "update", "autoscaling_group.main.desired"),
        one("[\"a\"]", "[\"a\", \"b\"]", "update", "autoscaling_group.main.subnets"),
        many(
            &[("# more", "health_check = \"elb\"\nhealth_check_grace_seconds = 60\ntags = { Team = \"a\" }\n# more")],
            "update",
            &[
                "autoscaling_group.main.health_check",
                "autoscaling_group.main.health_check_grace_seconds",
                "autoscaling_group.main.tags.Team",
            ],
        ),
        one("# more", "propagate_tags = false\n# more", "update", "autoscaling_group.main.propagate_tags"),
        Step::Drift("autoscaling_group.main", "max", json!(9)),
        Step::Drift("autoscaling_group.main", "subnets", json!(["@subnet.b"])),
        Step::Drift("autoscaling_group.main", "health_check", json!("ec2")),
        Step::Drift("autoscaling_group.main", "tags", json!({ "Team": "somebody" })),
        Step::Gone(&["autoscaling_group.main"]),
    ];
    match emulator {
        // moto's UpdateAutoScalingGroup leaves out cooldown, warm-up, termination policies, lifetime and rebalancing, and
        // it knows no instance refresh and no DisableMetricsCollection.
        Emulator::Moto | Emulator::Together => steps.extend([
            one("t3.small", "t3.medium", "update", "autoscaling_group.main.launch_template_version"),
            one(
                "# more",
                "protect_from_scale_in = true\n# more",
                "update",
                "autoscaling_group.main.protect_from_scale_in",
            ),
            one(
                "# more",
                "enabled_metrics = [\"GroupDesiredCapacity\", \"GroupInServiceInstances\"]\n# more",
                "update",
                "autoscaling_group.main.enabled_metrics",
            ),
            Step::Drift("autoscaling_group.main", "protect_from_scale_in", json!(false)),
            one(
                "# more",
                "[autoscaling_group.main.mixed_instances]\ninstance_types = [\"t3.small\", \"t3a.small\"]\n\
                 on_demand_base = 1\non_demand_percent = 50\nmax_spot_price = \"0.05\"\n",
                "update",
                "autoscaling_group.main.mixed_instances",
            ),
            one(
                "max_spot_price = \"0.05\"",
                "spot_strategy = \"capacity-optimized\"",
                "update",
                "autoscaling_group.main.mixed_instances",
            ),
        ]),
        // ministack's leaves out those, the launch template, a mix and protection, and it knows no calls for metrics and
        // target groups.
        Emulator::Ministack => steps.extend([
            one("# more", "default_cooldown = 60\n# more", "update", "autoscaling_group.main.default_cooldown"),
            one(
                "# more",
                "instance_refresh = { min_healthy_percent = 50 }",
                "update",
                "autoscaling_group.main.instance_refresh",
            ),
        ]),
    }
    steps.push(one("{u}-main", "{u}-again", "replace", "autoscaling_group.main.name"));
    // A template of another name: the group moves over in place.
    if emulator == Emulator::Moto {
        steps.push(Step::Change(
            vec![("[launch_template.main]", "[launch_template.main]\nname = \"{u}-template\"")],
            vec![("replace", "launch_template.main.name"), ("update", "autoscaling_group.main.launch_template")],
        ));
    }
    tell(emulator, &stack, steps).await;
}

async fn capacity(emulator: Emulator) {
    let stack = GROUND.to_owned()
        + r#"
[autoscaling_group.main]
launch_template       = "main"
subnets               = ["a"]
min                   = 0
max                   = 3
protect_from_scale_in = true

[autoscaling_group.other]
launch_template       = "main"
subnets               = ["b"]
min                   = 0
max                   = 3
protect_from_scale_in = true

[cluster.main]

[cluster.other]

[capacity_provider.main]
name              = "{u}-capacity"
autoscaling_group = "main" # of the provider
# more

[cluster_capacity.main]
cluster   = "main" # of the capacity
providers = ["main"]
# default
"#;
    let scaling = "managed_scaling = { target_percent = 80, min_step = 2, max_step = 10, warmup_seconds = 60 }";
    let protected = "managed_termination_protection = true";
    let spread = "default = [{ provider = \"main\", base = 1 }, { provider = \"FARGATE\" }]";
    let mut steps = vec![
        one(
            "# more",
            format!("{scaling}\n{protected}\n# more").leak(),
            "update",
            "capacity_provider.main.managed_scaling",
        ),
        Step::Drift("capacity_provider.main", "managed_termination_protection", json!(false)),
        one(protected, "", "update", "capacity_provider.main.managed_termination_protection"),
        one(scaling, "managed_scaling = { enabled = false }", "update", "capacity_provider.main.managed_scaling"),
        one("# more", "tags = { Team = \"a\" }\n# more", "update", "capacity_provider.main.tags.Team"),
        Step::Drift("capacity_provider.main", "tags", json!({})),
        one("# default", "default = [{ provider = \"main\", base = 1 }]", "update", "cluster_capacity.main.default"),
        many(
            &[
                ("default = [{ provider = \"main\", base = 1 }]", spread),
                ("providers = [\"main\"]", "providers = [\"main\", \"FARGATE\"]"),
            ],
            "update",
            &["cluster_capacity.main.default", "cluster_capacity.main.providers"],
        ),
        Step::Drift("cluster_capacity.main", "default", json!([])),
        Step::Gone(&["cluster_capacity.main", "capacity_provider.main", "autoscaling_group.main"]),
        one("\"main\" # of the capacity", "\"other\" # of the capacity", "replace", "cluster_capacity.main.cluster"),
        Step::Gone(&["cluster_capacity.main", "cluster.other"]),
        // A provider cannot go while a cluster has it: that is made anew around it.
        Step::Change(
            vec![("\"main\" # of the provider", "\"other\"")],
            vec![("replace", "capacity_provider.main.autoscaling_group"), ("replace", "cluster_capacity.main")],
        ),
        one("{u}-capacity", "{u}-again", "replace", "capacity_provider.main.name"),
        many(
            &[(spread, ""), ("providers = [\"main\", \"FARGATE\"]", "providers = [\"FARGATE\"]")],
            "update",
            &["cluster_capacity.main.providers"],
        ),
    ];
    if emulator == Emulator::Ministack {
        // moto's UpdateCapacityProvider leaves out draining.
        steps.insert(5, one("# more", "managed_draining = false", "update", "capacity_provider.main.managed_draining"));
    }
    tell(emulator, &stack, steps).await;
}

/// What is only looked up: it is no change by itself, and what hangs on it follows when it moves.
async fn lookups(emulator: Emulator) {
    let parameter = unique("/images/ecs");
    let put = async |image: &str| {
        let cloud = emulator.cloud().await;
        let call = cloud.aws().ssm.put_parameter().name(&parameter).value(image).overwrite(true);
        call.r#type(ParameterType::String).send().await.expect("the parameter is put");
    };
    put("ami-12c6146b").await;
    let stack = r#"
[ami.ecs]
parameter = "PARAMETER"

[zones.all]

[launch_template.main]
image         = "ecs"
instance_type = "t3.small"

[outputs]
image = "${ami.ecs.id}"
zones = "${zones.all.names}"
"#
    .replace("PARAMETER", &parameter);
    let project = Project::new(emulator, &stack);
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("the first apply");
    let told: Value = serde_json::from_str(&project.succeeds(&["output", "--json"])).expect("outputs are JSON");
    assert_eq!(told["image"], "ami-12c6146b", "{told}");
    assert_eq!(told["zones"], json!(["eu-west-2a", "eu-west-2b", "eu-west-2c"]), "{told}");

    put("ami-1e749f67").await;
    let plan = project.plan();
    let template = super::action_of(&plan, "launch_template.main").expect("the template is in the plan");
    assert_eq!((&template["action"], &template["changes"][0]["path"]), (&json!("update"), &json!("image")), "{plan:#}");
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("another image");
    go_on(project, &stack, Vec::new()).await;
}

crate::on_each_emulator!(autoscaling_group, capacity, cluster, launch_template, a_template_of_another_name, lookups);
