//! Attributes that the stories of the other modules leave alone: each is set, changed or taken away once, and must read back.
//! With `COFFERDAM_CHANGED=FILE` the driver writes down what it changed, from which the gaps follow.

use serde_json::json;

use super::{Project, Step, go_on, many, one, tell};
use crate::support::Emulator;

/// A line is put before the mark `# more` and changes this attribute; then it is taken away again and changes it back.
fn on_and_off(line: &'static str, attribute: &'static str) -> [Step; 2] {
    // Steps hold texts that live as long as the tests do.
    let with: &'static str = Box::leak(format!("{line}\n# more").into_boxed_str());
    [one("# more", with, "update", attribute), one(with, "# more", "update", attribute)]
}

fn all(pairs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<Step> {
    pairs.into_iter().flat_map(|(line, attribute)| on_and_off(line, attribute)).collect()
}

async fn alarm(emulator: Emulator) {
    let stack = r#"
[topic.people]

[alarm.busy]
metric      = { namespace = "AWS/ECS", name = "CPUUtilization", dimensions = { ClusterName = "main" } }
when        = "above"
threshold   = 80
periods     = 3
# more
"#;
    let mut steps = all([
        ("datapoints = 2", "alarm.busy.datapoints"),
        ("description = \"The cluster is busy\"", "alarm.busy.description"),
        ("missing = \"ignore\"", "alarm.busy.missing"),
        ("notify = [\"people\"]", "alarm.busy.notify"),
        ("notify_unknown = [\"people\"]", "alarm.busy.notify_unknown"),
    ]);
    steps.push(one("\"main\" }", "\"main\" }, statistic = \"maximum\"", "update", "alarm.busy.metric"));
    tell(emulator, stack, steps).await;
}

const BALANCED: &str = r#"
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

[security_group.one]
vpc = "main"

[security_group.two]
vpc = "main"
"#;

async fn application_load_balancer(emulator: Emulator) {
    let stack = BALANCED.to_owned()
        + r#"
[load_balancer.main]
subnets = ["a", "b"]
security_groups = ["one"]
# more
"#;
    let mut steps = all([
        ("deletion_protection = true", "load_balancer.main.deletion_protection"),
        ("drop_invalid_headers = true", "load_balancer.main.drop_invalid_headers"),
        ("http2 = false", "load_balancer.main.http2"),
        ("addresses = \"dualstack\"", "load_balancer.main.addresses"),
        ("tags = { Team = \"a\" }", "load_balancer.main.tags.Team"),
        ("access_logs = { bucket = \"logs\", prefix = \"web\" }", "load_balancer.main.access_logs"),
    ]);
    steps.push(one("[\"one\"]", "[\"one\", \"two\"]", "update", "load_balancer.main.security_groups"));
    // What the stack leaves out is AWS's default.
    steps.push(Step::Drift("load_balancer.main", "idle_timeout_seconds", json!(30)));
    steps.push(Step::Drift("load_balancer.main", "http2", json!(false)));
    steps.push(Step::Drift("load_balancer.main", "drop_invalid_headers", json!(true)));
    tell(emulator, &stack, steps).await;
}

async fn network_load_balancer(emulator: Emulator) {
    let stack = BALANCED.to_owned()
        + r#"
[load_balancer.main]
type = "network"
subnets = ["a"]
# more

[target_group.tcp]
vpc = "main"
protocol = "tcp"
# group
"#;
    let mut steps = all([("cross_zone = true", "load_balancer.main.cross_zone")]);
    steps.push(one("# group", "preserve_client_ip = true\n# group", "update", "target_group.tcp.preserve_client_ip"));
    steps.push(one("preserve_client_ip = true\n", "", "update", "target_group.tcp.preserve_client_ip"));
    steps.push(one("# group", "stickiness = {}\n# group", "update", "target_group.tcp.stickiness"));
    steps.push(one("stickiness = {}\n", "", "update", "target_group.tcp.stickiness"));
    steps.push(Step::Drift("load_balancer.main", "cross_zone", json!(true)));
    steps.push(Step::Drift("target_group.tcp", "preserve_client_ip", json!(true)));
    tell(emulator, &stack, steps).await;
}

async fn target_group(emulator: Emulator) {
    let stack = BALANCED.to_owned() + "\n[target_group.web]\nvpc = \"main\"\n# more\n";
    let mut steps = all([
        ("algorithm = \"least-outstanding-requests\"", "target_group.web.algorithm"),
        ("slow_start_seconds = 60", "target_group.web.slow_start_seconds"),
        ("stickiness = { cookie = \"SESSION\" }", "target_group.web.stickiness"),
        ("tags = { Team = \"a\" }", "target_group.web.tags.Team"),
        ("health_check = { protocol = \"https\" }", "target_group.web.health_check.protocol"),
        ("health_check = { port = 8080 }", "target_group.web.health_check.port"),
        (
            "health_check = { interval_seconds = 20, timeout_seconds = 4 }",
            "target_group.web.health_check.interval_seconds",
        ),
        ("health_check = { healthy = 3, unhealthy = 4 }", "target_group.web.health_check.unhealthy"),
        ("health_check = { success = \"200-299\" }", "target_group.web.health_check.success"),
    ]);
    steps.push(Step::Drift("target_group.web", "algorithm", json!("weighted-random")));
    steps.push(Step::Drift("target_group.web", "slow_start_seconds", json!(90)));
    tell(emulator, &stack, steps).await;
}

async fn listener(emulator: Emulator) {
    let stack = BALANCED.to_owned()
        + r#"
[hosted_zone.main]
name = "{u}.example.com"

[certificate.one]
domain = "one.{u}.example.com"
zone = "main"

[certificate.two]
domain = "two.{u}.example.com"
zone = "main"

[load_balancer.main]
subnets = ["a", "b"]
security_groups = ["one"]

[listener.main]
load_balancer = "main"
port = 443
action = { respond = { status = 404 } }
# more

[listener_rule.api]
listener = "main"
priority = 10
hosts = ["api.example.com"]
action = { respond = { status = 403 } }
# rule
"#;
    let mut steps = vec![many(
        &[("# more", "protocol = \"https\"\ncertificate = \"one\"\n# more")],
        "update",
        &["listener.main.protocol", "listener.main.certificate"],
    )];
    steps.extend(all([("ssl_policy = \"ELBSecurityPolicy-TLS13-1-3-2021-06\"", "listener.main.ssl_policy")]));
    if emulator == Emulator::Moto {
        // ministack knows one certificate a listener, and keeps no conditions on queries.
        steps.extend(all([("more_certificates = [\"two\"]", "listener.main.more_certificates")]));
        steps.extend([
            one("# rule", "query = { v = \"2\" }\n# rule", "update", "listener_rule.api.query"),
            one("query = { v = \"2\" }\n", "", "update", "listener_rule.api.query"),
        ]);
    }
    steps.extend([
        one("# rule", "methods = [\"GET\"]\n# rule", "update", "listener_rule.api.methods"),
        one("methods = [\"GET\"]\n", "", "update", "listener_rule.api.methods"),
        one("# rule", "source_ips = [\"10.0.0.0/8\"]\n# rule", "update", "listener_rule.api.source_ips"),
        one("source_ips = [\"10.0.0.0/8\"]\n", "", "update", "listener_rule.api.source_ips"),
        one("# rule", "headers = { X-Team = [\"a\", \"b\"] }\n# rule", "update", "listener_rule.api.headers"),
    ]);
    tell(emulator, &stack, steps).await;
}

async fn file_system(emulator: Emulator) {
    let stack = r#"
[file_system.data]
# more

[access_point.web]
file_system = "data"
path = "/web"
# point
"#;
    let mut steps = vec![
        one("# point", "user = { uid = 1000, gid = 1000 }\n# point", "replace", "access_point.web.user"),
        one(
            "# point",
            "owner = { uid = 1000, gid = 1000, permissions = \"750\" }",
            "replace",
            "access_point.web.owner",
        ),
    ];
    if emulator == Emulator::Ministack {
        // moto knows no UpdateFileSystem.
        steps.extend([
            many(
                &[("# more", "throughput = \"provisioned\"\nmib_per_second = 64\n# more")],
                "update",
                &["file_system.data.throughput", "file_system.data.mib_per_second"],
            ),
            one("mib_per_second = 64", "mib_per_second = 128", "update", "file_system.data.mib_per_second"),
        ]);
    }
    tell(emulator, stack, steps).await;
}

async fn parameter(emulator: Emulator) {
    let stack = r#"
[parameter.level]
value = "info"
# more
"#;
    let mut steps = vec![one("\"info\"", "\"debug\"", "update", "parameter.level.value")];
    steps.extend([
        one("# more", "description = \"How much is said\"\n# more", "update", "parameter.level.description"),
        one("# more", "tier = \"advanced\"\n# more", "update", "parameter.level.tier"),
        one("# more", "name = \"/{u}/level\"", "replace", "parameter.level.name"),
    ]);
    tell(emulator, stack, steps).await;
}

async fn repository(emulator: Emulator) {
    let steps = all([("keep_images = 5", "repository.web.lifecycle")]);
    tell(emulator, "[repository.web]\n# more\n", steps).await;
}

/// Neither emulator knows AssociateKmsKey: the key is one from the beginning on.
async fn log_group(emulator: Emulator) {
    let stack = "[log_group.web]\n\
                 kms_key = \"arn:aws:kms:eu-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\"\n# more\n";
    let steps = vec![one("# more", "retention_days = 7", "update", "log_group.web.retention_days")];
    tell(emulator, stack, steps).await;
}

async fn topic(emulator: Emulator) {
    let policy = "policy = { Version = \"2012-10-17\", Statement = [{ Effect = \"Allow\", \
                  Principal = { Service = \"cloudwatch.amazonaws.com\" }, Action = \"sns:Publish\", \
                  Resource = \"arn:aws:sns:eu-west-2:123456789012:{u}-alarms\" }] }\n# more";
    let steps = vec![
        one("# more", "kms_key = \"alias/aws/sns\"\n# more", "update", "topic.alarms.kms_key"),
        one("kms_key = \"alias/aws/sns\"\n", "", "update", "topic.alarms.kms_key"),
        one("# more", policy, "update", "topic.alarms.policy"),
    ];
    tell(emulator, "[topic.alarms]\nname = \"{u}-alarms\"\n# more\n", steps).await;
}

async fn task_definition(emulator: Emulator) {
    let stack = r#"
[role.task]
service = "ecs-tasks.amazonaws.com"

[task_definition.job]
memory = 256
containers = { job = { image = "busybox" } }
# more
"#;
    let mut steps = all([
        ("task_role = \"task\"", "task_definition.job.task_role"),
        ("execution_role = \"task\"", "task_definition.job.execution_role"),
        ("ipc_mode = \"task\"", "task_definition.job.ipc_mode"),
        ("pid_mode = \"task\"", "task_definition.job.pid_mode"),
        ("placement = [\"attribute:ecs.instance-type =~ t3.*\"]", "task_definition.job.placement"),
        ("volumes = { data = { host_path = \"/srv\" } }", "task_definition.job.volumes"),
    ]);
    steps.extend([
        many(
            &[("memory = 256", "memory = 512\ncpu = 256"), ("# more", "runs_on = [\"fargate\"]\n# more")],
            "update",
            &["task_definition.job.runs_on", "task_definition.job.memory"],
        ),
        one("# more", "os = \"linux\"\n# more", "update", "task_definition.job.os"),
        one("# more", "ephemeral_storage_gib = 50\n# more", "update", "task_definition.job.ephemeral_storage_gib"),
    ]);
    tell(emulator, stack, steps).await;
}

async fn schedule(emulator: Emulator) {
    let stack = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[cluster.one]

[cluster.two]

[task_definition.job]
runs_on = ["fargate"]
cpu = 256
memory = 512
containers = { job = { image = "busybox" } }

[role.one]
service = "scheduler.amazonaws.com"

[role.two]
service = "scheduler.amazonaws.com"

[schedule.nightly]
at = "cron(0 3 * * ? *)"
cluster = "one"
task_definition = "job"
role = "one"
network = { subnets = ["a"] }
# more
"#;
    let mut steps = all([
        ("flexible_minutes = 15", "schedule.nightly.flexible_minutes"),
        ("retries = 3", "schedule.nightly.retries"),
        ("timezone = \"Europe/London\"", "schedule.nightly.timezone"),
        ("launch_type = \"fargate\"", "schedule.nightly.launch_type"),
        ("capacity = [{ provider = \"FARGATE_SPOT\" }]", "schedule.nightly.capacity"),
        ("dead_letters = \"arn:aws:sqs:eu-west-2:123456789012:dead\"", "schedule.nightly.dead_letters"),
        ("count = 2", "schedule.nightly.count"),
    ]);
    steps.extend([
        one("cluster = \"one\"", "cluster = \"two\"", "update", "schedule.nightly.cluster"),
        one("role = \"one\"", "role = \"two\"", "update", "schedule.nightly.role"),
        one("[\"a\"] }", "[\"a\"], public_ip = true }", "update", "schedule.nightly.network"),
        many(
            &[("# more", "launch_type = \"fargate\"\nplatform_version = \"1.4.0\"\n# more")],
            "update",
            &["schedule.nightly.platform_version"],
        ),
    ]);
    tell(emulator, stack, steps).await;
}

/// ministack has no Application Auto Scaling, and moto alone no service that runs.
#[tokio::test]
async fn scaling() {
    let stack = r#"
[cluster.main]

[task_definition.web]
memory = 64
containers = { app = { image = "nginx" } }

[ecs_service.web]
cluster = "main"
task_definition = "web"

[scaling_target.web]
service = "web"
min = 1
max = 4
# more

[scaling_policy.out]
target = "web"
steps = { steps = [{ size = 1 }] }
"#;
    let mut steps = all([("suspended = true", "scaling_target.web.suspended")]);
    steps.push(one(
        "[{ size = 1 }]",
        "[{ to = 10, size = 1 }, { from = 10, size = 2 }], cooldown_seconds = 60",
        "update",
        "scaling_policy.out.steps",
    ));
    tell(Emulator::Together, stack, steps).await;
}

const FARGATE: &str = r#"
[vpc.main]
cidr = "10.0.0.0/16"

[subnet.a]
vpc = "main"
cidr = "10.0.0.0/24"
zone = "a"

[security_group.web]
vpc = "main"

[cluster.main]

[cluster_capacity.main]
cluster   = "main"
providers = ["FARGATE", "FARGATE_SPOT"]

[namespace.main]
name = "{u}.internal"
vpc = "main"

[discovery_service.web]
namespace = "main"
records = [{ ttl = 60 }]

[task_definition.web]
runs_on = ["fargate"]
cpu = 256
memory = 512
containers = { app = { image = "nginx:1.27", ports = [{ container = 80, name = "http" }] } }

[ecs_service.web]
cluster = "main"
task_definition = "web"
count = 1
capacity = [{ provider = "FARGATE" }]
network = { subnets = ["a"], security_groups = ["web"] }
depends_on = ["cluster_capacity.main"]
# more
"#;

fn capacity() -> Step {
    one(
        "[{ provider = \"FARGATE\" }]",
        "[{ provider = \"FARGATE\", base = 1 }, { provider = \"FARGATE_SPOT\", weight = 3 }]",
        "update",
        "ecs_service.web.capacity",
    )
}

/// ministack's UpdateService leaves out tags, placement and what names a service has.
#[tokio::test]
async fn service_on_fargate() {
    let mut steps = all([("platform_version = \"1.4.0\"", "ecs_service.web.platform_version")]);
    steps.push(capacity());
    tell(Emulator::Together, FARGATE, steps).await;
}

async fn on_moto(stack: &str, steps: Vec<Step>) {
    let mut project = Project::new(Emulator::Moto, stack);
    project.no_wait = true;
    project.applies();
    project.plan_is_empty("the first apply");
    go_on(project, stack, steps).await;
}

/// moto keeps no managed tags when it creates a service, and shares of providers only of the cluster.
#[tokio::test]
async fn service_on_fargate_moto() {
    let stack = FARGATE
        .replace("# more", "managed_tags = false\n# more")
        .replace("capacity = [{ provider = \"FARGATE\" }]", "launch_type = \"fargate\"")
        .replace("image = \"nginx:1.27\",", "image = \"nginx:1.27\", memory = 512,");
    let mut steps = all([
        ("platform_version = \"1.4.0\"", "ecs_service.web.platform_version"),
        ("propagate_tags = \"task-definition\"", "ecs_service.web.propagate_tags"),
        ("registries = [{ service = \"web\" }]", "ecs_service.web.registries"),
        (
            "service_connect = { namespace = \"main\", offers = { http = { port = 80 } } }",
            "ecs_service.web.service_connect",
        ),
    ]);
    steps.push(one("# more", "zone_rebalancing = true\n# more", "update", "ecs_service.web.zone_rebalancing"));
    steps.push(one("managed_tags = false\n", "", "update", "ecs_service.web.managed_tags"));
    on_moto(&stack, steps).await;
}

#[tokio::test]
async fn service_on_instances_moto() {
    let stack = r#"
[cluster.main]

[task_definition.web]
memory = 64
containers = { app = { image = "nginx" } }

[ecs_service.web]
cluster = "main"
task_definition = "web"
count = 1
managed_tags = false
# more
"#;
    let steps = all([
        (
            "placement = [{ type = \"spread\", field = \"attribute:ecs.availability-zone\" }, { type = \"binpack\", field = \"memory\" }]",
            "ecs_service.web.placement",
        ),
        ("constraints = [\"distinct\"]", "ecs_service.web.constraints"),
    ]);
    on_moto(stack, steps).await;
}

/// A group whose instances are registered with a load balancer. ministack knows no call for it.
#[tokio::test]
async fn target_groups_of_a_group() {
    let stack = BALANCED.to_owned()
        + r#"
[launch_template.main]
image         = "ami-12c6146b"
instance_type = "t3.small"

[target_group.web]
vpc = "main"
targets = "instance"

[autoscaling_group.main]
launch_template = "main"
subnets = ["a"]
min = 0
max = 1
# more
"#;
    let steps = all([("target_groups = [\"${target_group.web.arn}\"]", "autoscaling_group.main.target_groups")]);
    tell(Emulator::Moto, &stack, steps).await;
}

crate::on_each_emulator!(
    alarm,
    application_load_balancer,
    file_system,
    listener,
    log_group,
    network_load_balancer,
    parameter,
    repository,
    schedule,
    target_group,
    task_definition,
    topic,
);
