use serde_json::json;

use super::{Step, many, one, tell};
use crate::support::Emulator;

const NETWORK: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[internet_gateway.main]
vpc = "main"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[subnet.b]
vpc = "main"
cidr = "10.0.1.0/24"
zone = "b"

[subnet.c]
vpc = "main"
cidr = "10.0.2.0/24"
zone = "c"

[security_group.lb]
vpc = "main"
ingress = [{ ports = 80, from = ["0.0.0.0/0"] }]

[load_balancer.main]
subnets = ["a", "b"]
security_groups = ["lb"]
# balancer

[target_group.web]
vpc = "main"
# group

[listener.http]
load_balancer = "main"
port = 80
action = { forward = [{ target_group = "web" }] }
# listener
"#;

const RULE: &str = r#"
[target_group.api]
vpc = "main"
port = 8080
health_check = { path = "/up" }

[listener_rule.api]
listener = "http"
priority = 10
paths = ["/api/*"]
action = { forward = [{ target_group = "api" }] }
# rule
"#;

async fn load_balancer(emulator: Emulator) {
    let steps = vec![
        one(
            "# balancer",
            "idle_timeout_seconds = 120\n# balancer",
            "update",
            "load_balancer.main.idle_timeout_seconds",
        ),
        one("[\"a\", \"b\"]", "[\"a\", \"b\", \"c\"]", "update", "load_balancer.main.subnets"),
        one(
            "# balancer",
            "access_logs = { bucket = \"logs\" }\n# balancer",
            "update",
            "load_balancer.main.access_logs",
        ),
        one("access_logs = { bucket = \"logs\" }\n", "", "update", "load_balancer.main.access_logs"),
        Step::Drift("load_balancer.main", "idle_timeout_seconds", json!(30)),
        Step::Drift("load_balancer.main", "tags", json!({ "Name": "somebody" })),
        // What cannot be changed in place gets a name of its own; the listener goes over.
        one("# balancer", "internal = true\n# balancer", "replace", "load_balancer.main.internal"),
        Step::Gone(&["listener.http", "load_balancer.main"]),
    ];
    tell(emulator, NETWORK, steps).await;
}

async fn target_group(emulator: Emulator) {
    let steps = vec![
        one("# group", "health_check = { path = \"/up\" }\n# group", "update", "target_group.web.health_check"),
        one(
            "# group",
            "deregistration_delay_seconds = 10\n# group",
            "update",
            "target_group.web.deregistration_delay_seconds",
        ),
        one("# group", "stickiness = { duration_seconds = 60 }\n# group", "update", "target_group.web.stickiness"),
        one("stickiness = { duration_seconds = 60 }\n", "", "update", "target_group.web.stickiness"),
        Step::Drift("target_group.web", "deregistration_delay_seconds", json!(60)),
        Step::Drift("target_group.web", "health_check", json!({ "path": "/down" })),
        // The new one stands beside the old until the listener has gone over.
        one("# group", "port = 8080\n# group", "replace", "target_group.web.port"),
        one("port = 8080", "port = 8081", "replace", "target_group.web.port"),
    ];
    tell(emulator, NETWORK, steps).await;
}

async fn listener_and_rule(emulator: Emulator) {
    let stack = NETWORK.to_owned() + RULE;
    let answer = "action = { respond = { status = 404, body = \"no\" } }";
    let steps = vec![
        one("action = { forward = [{ target_group = \"web\" }] }", answer, "update", "listener.http.action"),
        one("port = 80\n", "port = 8000\n", "update", "listener.http.port"),
        one("priority = 10", "priority = 20", "update", "listener_rule.api.priority"),
        many(
            &[("[\"/api/*\"]", "[\"/v2/*\"]"), ("# rule", "hosts = [\"api.example.com\"]\n# rule")],
            "update",
            &["listener_rule.api.paths", "listener_rule.api.hosts"],
        ),
        one("hosts = [\"api.example.com\"]\n", "", "update", "listener_rule.api.hosts"),
        one("# rule", "tags = { Team = \"a\" }\n# rule", "update", "listener_rule.api.tags.Team"),
        Step::Drift("listener_rule.api", "paths", json!(["/*"])),
        Step::Drift("listener_rule.api", "priority", json!(1)),
        Step::Drift("listener.http", "action", json!({ "respond": { "status": 503, "content_type": "text/plain" } })),
        Step::Gone(&["listener_rule.api"]),
        Step::Gone(&["listener_rule.api", "listener.http"]),
    ];
    tell(emulator, &stack, steps).await;
}

async fn certificate(emulator: Emulator) {
    let stack = NETWORK.to_owned()
        + r#"
[hosted_zone.main]
name = "{u}.example.com"

[certificate.main]
domain = "{u}.example.com"
zone = "main"
# certificate

[listener.https]
load_balancer = "main"
port = 443
protocol = "https"
certificate = "main"
action = { forward = [{ target_group = "web" }] }
"#;
    let steps = vec![
        one("# certificate", "tags = { Team = \"a\" }\n# certificate", "update", "certificate.main.tags.Team"),
        one(
            "# certificate",
            "more_domains = [\"*.{u}.example.com\"]\n# certificate",
            "replace",
            "certificate.main.more_domains",
        ),
        Step::Drift("certificate.main", "tags", json!({ "Team": "somebody" })),
    ];
    tell(emulator, &stack, steps).await;
}

crate::on_each_emulator!(certificate, listener_and_rule, load_balancer, target_group);
