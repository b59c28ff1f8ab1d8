use serde_json::{Value, json};

use crate::constructs::testing::{addresses, attributes, expand, problems, text};

const BASE: &str = r#"
[cluster.main]

[network.main]
cidr = "10.0.0.0/16"
nat  = "single"
subnets = { private = ["a", "b"], public = ["a", "b"] }

[security_group.lb]
vpc = "main"

[load_balancer.main]
subnets = "${network.main.public_subnet_ids}"
security_groups = ["lb"]

[listener.http]
load_balancer = "main"
port = 80
action = { redirect = { protocol = "HTTPS", port = 443 } }

[listener.https]
load_balancer = "main"
port = 443
protocol = "https"
certificate = "main"
action = { respond = { status = 404 } }
"#;

const CAPACITY: &str = r#"
[capacity.main]
cluster = "main"
instance_type = "t3.small"
size = { min = 1, max = 3 }
"#;

fn service(attributes: &str) -> String {
    format!("{BASE}\n[service.web]\ncluster = \"main\"\nimage = \"nginx:1.29\"\n{attributes}")
}

/// Every statement of the policies of a role, in a line each.
fn allowed(expansion: &crate::constructs::Expansion, role: &str) -> String {
    let policies = attributes(expansion, role)["policies"].as_object().unwrap();
    let mut out = Vec::new();
    for document in policies.values() {
        let document: Value = match document {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            table => table.clone(),
        };
        for one in document["Statement"].as_array().unwrap() {
            let condition = one.get("Condition").map(|c| format!(" if {c}")).unwrap_or_default();
            out.push(format!("{} on {}{condition}", one["Action"], one["Resource"]));
        }
    }
    out.join("\n")
}

#[test]
fn as_little_as_needed() {
    insta::assert_snapshot!(text(&expand(&service(""), "service.web").unwrap()));
}

#[test]
fn behind_the_load_balancer_on_instances() {
    let stack = service(
        "capacity = \"main\"\nport = 80\nmemory = 256\nexpose = { path = \"/web/*\", health = { path = \"/up\" } }\n\
         scale = { min = 2, max = 6, cpu = 60, requests = 1000 }",
    );
    let stack = format!("{stack}\n{CAPACITY}");
    insta::assert_snapshot!(text(&expand(&stack, "service.web").unwrap()));
    let capacity = expand(&stack, "capacity.main").unwrap();
    assert_eq!(
        attributes(&capacity, "capacity.main/security_group.instances")["ingress"],
        json!([{ "protocol": "tcp", "ports": "32768-60999", "from": ["${security_group.lb.id}"] }]),
        "the load balancer reaches the ports that tasks have on the instances"
    );
}

#[test]
fn switched_between_two_target_groups() {
    let blue_green = "launch = \"fargate\"\nport = 80\nexpose = { path = \"/web/*\" }\n\
                      deployment = { strategy = \"blue-green\", bake_minutes = 5 }\n";
    let expansion = expand(&service(blue_green), "service.web").unwrap();
    let service = attributes(&expansion, "service.web/ecs_service.main");
    insta::assert_snapshot!(format!(
        "{:#}\n{:#}\n{:#}",
        service["load_balancers"],
        attributes(&expansion, "service.web/listener_rule.main")["action"],
        Value::Object(attributes(&expansion, "service.web/role.switch").clone()),
    ));
    let wrong = blue_green.replace("path = \"/web/*\"", "load_balancer = \"main\"")
        + "scale = { min = 1, max = 2, requests = 100 }";
    insta::assert_snapshot!(problems(expand(&self::service(&wrong), "service.web")).join("\n"));
}

#[test]
fn all_that_can_be_said() {
    let stack = service(
        r#"
        launch = "fargate"
        cpu = 512
        architecture = "arm64"
        ephemeral_storage_gib = 40
        port = 8080
        entry_point = ["/bin/app"]
        command = ["serve"]
        environment = { LEVEL = "info", WORKERS = 4 }
        secrets = { PASSWORD = "parameter.password", LOGIN = "secret.login:user", PATHED = "/shop/key" }
        user = "1000"
        read_only = true
        health_check = { command = "curl -f localhost:8080/up", start_period_seconds = 10 }
        starts_after = { migrate = "success" }
        stop_timeout_seconds = 60
        ulimits = { nofile = { soft = 65536, hard = 65536 } }
        linux = { init = true }
        volumes = { scratch = {} }
        mounts = [{ volume = "scratch", path = "/tmp" }]
        count = 3
        tier = "private"
        security_groups = ["extra"]
        from = ["lb", "10.0.0.0/16"]
        egress = [{ ports = 443, to = ["0.0.0.0/0"] }]
        discover = { ttl = 5 }
        logs = { retention_days = 7 }
        exec = true
        managed_policies = ["AmazonSSMReadOnlyAccess"]
        deployment = { min_percent = 100, max_percent = 150, circuit_breaker = "stop" }
        health_check_grace_seconds = 60
        tags = { Team = "web" }

        [service.web.sidecars.migrate]
        image = "123456789012.dkr.ecr.eu-west-2.amazonaws.com/tools/migrate:v3"
        essential = false
        secrets = { PASSWORD = "parameter.password" }

        [service.web.expose]
        listener = "https"
        host = ["www.example.com", "example.com"]
        path = "/shop/*"
        health = { path = "/up", interval_seconds = 10 }
        deregistration_delay_seconds = 10
        stickiness = {}

        [service.web.policies.bucket]
        Version = "2012-10-17"
        Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::shop/*" }]

        [parameter.password]
        secret = "(secret password)"
        kms_key = "alias/shop"
        [secret.login]
        [security_group.extra]
        [namespace.main]
        "#,
    );
    insta::assert_snapshot!(text(&expand(&stack, "service.web").unwrap()));
}

#[test]
fn by_the_clock() {
    let stack = service(
        "launch = \"fargate-spot\"\nschedule = { at = \"cron(0 3 * * ? *)\", timezone = \"Europe/London\", retries = 2 }\n\
         count = 2\nlogs = false\nsecrets = { KEY = \"arn:aws:secretsmanager:eu-west-2:123456789012:secret:key-AbCdEf:id::\" }",
    );
    insta::assert_snapshot!(text(&expand(&stack, "service.web").unwrap()));
}

/// What each way of using something adds to what ECS may do; nothing is allowed that is not used.
#[test]
fn rights_follow_from_what_is_used() {
    let mut out = Vec::new();
    for more in [
        "",
        "image = \"${repository.app.url}:v1\"\n[repository.app]",
        "image = \"123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b:v1\"",
        "logs = { group = \"/shared\" }",
        "secrets = { A = \"parameter.a\", B = \"secret.b:key\" }\n[parameter.a]\nkms_key = \"1234\"\n[secret.b]",
        "secrets = { A = \"${stack.data.password}\" }",
        "secrets = { A = \"arn:aws:ssm:eu-west-2:123456789012:parameter/a\" }",
    ] {
        let stack = service(more);
        let stack = if more.starts_with("image") { stack.replacen("image = \"nginx:1.29\"\n", "", 1) } else { stack };
        let expansion = expand(&stack, "service.web").unwrap();
        out.push(format!("{}\n{}", more.replace('\n', "; "), allowed(&expansion, "service.web/role.execution")));
    }
    let expansion = expand(&service("exec = true"), "service.web").unwrap();
    out.push(format!("the task role with exec\n{}", allowed(&expansion, "service.web/role.task")));
    let expansion = expand(&service("schedule = \"rate(1 hour)\"\ncommand = [\"x\"]"), "service.web").unwrap();
    out.push(format!("the role of the schedule\n{}", allowed(&expansion, "service.web/role.schedule")));
    insta::assert_snapshot!(out.join("\n\n"));
}

#[test]
fn what_needs_no_role_has_none() {
    let bare = expand(&service("logs = false"), "service.web").unwrap();
    assert_eq!(
        addresses(&bare),
        ["service.web/ecs_service.main", "service.web/security_group.tasks", "service.web/task_definition.main"]
    );
    let own = "task_role = \"own\"\nexecution_role = \"own\"\n[role.own]";
    let given = expand(&service(own), "service.web").unwrap();
    assert!(!addresses(&given).iter().any(|address| address.contains("/role.")));
    let task = attributes(&given, "service.web/task_definition.main");
    assert_eq!([&task["task_role"], &task["execution_role"]], ["${role.own.arn}"; 2]);
}

#[test]
fn a_network_load_balancer_gets_a_port() {
    let stack = service(
        "port = 5432\nexpose = { load_balancer = \"tcp\" }\n[load_balancer.tcp]\ntype = \"network\"\nsecurity_groups = [\"lb\"]",
    );
    let expansion = expand(&stack, "service.web").unwrap();
    let listener = attributes(&expansion, "service.web/listener.main");
    assert_eq!([&listener["port"], &listener["protocol"]], [&json!(5432), &json!("tcp")]);
    assert_eq!(attributes(&expansion, "service.web/target_group.main")["protocol"], "tcp");
}

#[test]
fn on_bridge_a_name_stands_for_address_and_port() {
    let stack = service("port = 80\ndiscover = \"main\"\n[namespace.main]");
    let expansion = expand(&format!("{stack}\n{CAPACITY}"), "service.web").unwrap();
    let record = &attributes(&expansion, "service.web/discovery_service.main")["records"];
    assert_eq!(record, &json!([{ "type": "SRV", "ttl": 10 }]));
    let service = attributes(&expansion, "service.web/ecs_service.main");
    assert_eq!(service["registries"][0]["container"], "web");
}

/// Rules follow each other from the particular to the general, whatever the services are called.
#[test]
fn rules_are_in_the_order_of_what_they_ask_for() {
    let mut found: Vec<(i64, &str)> = [
        "host = \"a.example.com\", path = \"/\"",
        "host = \"a.example.com\"",
        "host = \"*.example.com\"",
        "path = \"/api/v2/*\"",
        "path = \"/api/*\"",
        "path = \"/*\"",
        "",
    ]
    .into_iter()
    .map(|asked| {
        let stack = service(&format!("port = 80\nexpose = {{ {asked} }}"));
        let expansion = expand(&stack, "service.web").unwrap();
        (attributes(&expansion, "service.web/listener_rule.main")["priority"].as_i64().unwrap(), asked)
    })
    .collect();
    let given = found.clone();
    found.sort_by_key(|(priority, _)| *priority);
    assert_eq!(found, given);
    assert!(found.iter().all(|(priority, _)| (1..=50_000).contains(priority)), "{found:?}");
}

#[test]
fn spare_capacity_is_among_the_providers_of_the_cluster() {
    let stack = service("launch = \"fargate-spot\"");
    let list = |stack: &str, address: &str| {
        let expansion = expand(stack, address).unwrap();
        attributes(&expansion, "cluster.main/cluster_capacity.main")["providers"].clone()
    };
    assert_eq!(list(&stack, "service.web"), json!(["FARGATE", "FARGATE_SPOT"]));
    let both = format!("{stack}\n{CAPACITY}");
    let own = "${capacity.main/capacity_provider.instances.name}";
    assert_eq!(list(&both, "capacity.main"), json!([own, "FARGATE", "FARGATE_SPOT"]));
    let second = expand(&both, "service.web").unwrap();
    assert!(!addresses(&second).iter().any(|one| one.contains("cluster_capacity")), "the list is there once");
}

#[test]
fn what_is_wrong_with_a_service() {
    let mut all = Vec::new();
    for attributes in [
        "launch = \"fargate\"\ncapacity = \"main\"",
        "capacity = \"FARGATE\"",
        "launch = \"fargate\"\nmode = \"bridge\"",
        "launch = \"fargate\"\nmode = \"host\"",
        "cpu = 300",
        "cpu = 1024\nmemory = 512",
        "capacity = \"main\"\npublic_ip = true\negress = []\nephemeral_storage_gib = 30",
        "from = [\"lb\"]\nexpose = {}",
        "count = 2\nscale = { min = 4, max = 2 }",
        "scale = { min = 1, max = 2, cpu = 140, requests = 10 }",
        "schedule = \"every day\"\nscale = { min = 1, max = 2, cpu = 50 }\nexec = true",
        "port = 80\nexpose = { listener = \"https\", load_balancer = \"main\" }",
        "port = 80\nexpose = { listener = \"https\", certificate = \"main\", port = 443 }",
        "port = 80\nexpose = { load_balancer = \"main\", path = \"/x\" }",
        "port = 80\nexpose = { listener = \"arn:aws:elasticloadbalancing:eu-west-2:123456789012:listener/app/x/1/2\" }",
        "port = 80\nexpose = { listener = \"tcp\" }\n[listener.tcp]\nload_balancer = \"tcp\"\n[load_balancer.tcp]\ntype = \"network\"",
        "port = 80\nexpose = {}\n[listener.other]\nload_balancer = \"main\"",
        "port = 80\nprotocol = \"udp\"\nexpose = {}",
        "port = 80\nexpose = { priority = 7 }\n[listener_rule.x]\nlistener = \"https\"\npriority = 7",
        "port = 80\nexpose = { priority = 7 }\n[service.x]\ncluster = \"main\"\nexpose = { priority = 7 }",
        "discover = true",
        "secrets = { A = \"hunter2\", B = \"parameter.none\", C = \"secret.none:key\" }",
        "task_role = \"x\"\npolicies = { a = {} }",
        "exec = true\npolicies = { ecs-exec = {} }",
        "logs = { group = \"x\", retention_days = 7 }",
        "port = 80\nsidecars = { b = { image = \"x\", ports = [{ container = 80 }] } }",
        "health_check = { command = \"true\", interval_seconds = 1 }\nstarts_after = { migrate = \"success\" }",
        "starts_after = { migrat = \"success\" }\nsidecars = { migrate = { image = \"x\", essential = false } }",
        "network = \"other\"",
        "tier = \"data\"",
    ] {
        let found = problems(expand(&service(attributes), "service.web"));
        all.push(format!("{}\n    {}", attributes.replace('\n', "; "), found.join("\n    ")));
    }
    let stack = service("").replace("nginx:1.29", "https://Nginx");
    all.push(format!("image\n    {}", problems(expand(&stack, "service.web")).join("\n    ")));
    insta::assert_snapshot!(all.join("\n"));
}
