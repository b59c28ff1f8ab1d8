//! What is written reads back equal through the canonical form: generated task definitions and services.

use std::collections::BTreeMap;

use cofferdam::cloud::Cloud;
use cofferdam::kinds::AwsCloud;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::{Emulator, canonical, generated, make, map, reads_back, remove, unique};

/// Few: each is a call or more.
const CASES: u32 = 24;

/// A table of what is given.
fn table(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

fn some(condition: bool, value: Value) -> Option<Value> {
    condition.then_some(value)
}

/// Words with what tends to be lost on the way: spaces, quotes, dollars, other alphabets.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        Just("two words".to_owned()),
        Just("\"quoted\" \\ back".to_owned()),
        Just("zwölf €".to_owned())
    ]
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[A-Z][A-Z_]{0,5}", word(), 0..3)
}

fn image() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("nginx".to_owned()),
        Just("nginx:1.29".to_owned()),
        Just("123456789012.dkr.ecr.eu-west-2.amazonaws.com/web/app:v1".to_owned()),
        Just(format!("busybox@sha256:{}", "0a".repeat(32))),
    ]
}

fn health_check() -> impl Strategy<Value = Value> {
    let command = prop_oneof![
        Just(json!("curl -f localhost || exit 1")),
        Just(json!(["CMD-SHELL", "true"])),
        Just(json!(["CMD", "test", "-f", "/tmp/up"])),
    ];
    (command, option::of(5..300u32), option::of(2..60u32), option::of(1..10u32), option::of(0..300u32)).prop_map(
        |(command, interval, timeout, retries, start)| {
            table(vec![
                ("command", Some(command)),
                ("interval_seconds", interval.map(Value::from)),
                ("timeout_seconds", timeout.map(Value::from)),
                ("retries", retries.map(Value::from)),
                ("start_period_seconds", start.map(Value::from)),
            ])
        },
    )
}

/// A container that listens on ports from this one on, so that no two of a task take the same.
fn container(first_port: u16) -> impl Strategy<Value = Value> {
    let basics = (image(), option::of(6..128u32), words(), vec(word(), 0..3), vec(word(), 0..2));
    let ports = btree_set(0..5u16, 0..3);
    let more =
        (option::of(health_check()), option::of(1..120u32), any::<[bool; 5]>(), words(), option::of("[a-z]{1,6}"));
    (basics, ports, more).prop_map(
        move |((image, memory, environment, command, entry_point), ports, (health, stop, flags, labels, user))| {
            let [read_only, limited, logs, init, mounted] = flags;
            let ports: Vec<Value> = ports.iter().rev().map(|port| json!({ "container": first_port + port })).collect();
            table(vec![
                ("image", Some(json!(image))),
                ("memory", memory.map(Value::from)),
                ("environment", some(!environment.is_empty(), json!(environment))),
                ("command", some(!command.is_empty(), json!(command))),
                ("entry_point", some(!entry_point.is_empty(), json!(entry_point))),
                ("ports", some(!ports.is_empty(), json!(ports))),
                ("health_check", health),
                ("stop_timeout_seconds", stop.map(Value::from)),
                ("read_only", some(read_only, json!(true))),
                ("ulimits", some(limited, json!({ "nofile": { "soft": 1024, "hard": 4096 } }))),
                ("log", some(logs, json!({ "group": "/ecs/web", "options": { "mode": "non-blocking" } }))),
                ("linux", some(init, json!({ "init": true, "drop_capabilities": ["NET_RAW", "ALL"] }))),
                ("mounts", some(mounted, json!([{ "volume": "data", "path": "/data" }]))),
                ("labels", some(!labels.is_empty(), json!(labels))),
                ("user", user.map(Value::from)),
                ("secrets", some(limited, json!({ "A_KEY": "arn:aws:ssm:eu-west-2:123456789012:parameter/key" }))),
            ])
        },
    )
}

/// Some of these fields.
fn some_of(fields: Vec<(&'static str, Value)>) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let most = fields.len();
    prop::sample::subsequence(fields, 0..=most)
}

/// What a container can have wherever it runs.
fn anywhere() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    some_of(vec![
        ("working_directory", json!("/srv/app")),
        ("environment_files", json!(["arn:aws:s3:::settings/b.env", "arn:aws:s3:::settings/a.env"])),
        ("interactive", json!(true)),
        ("terminal", json!(true)),
        ("cpu", json!(16)),
        ("restart", json!({ "ignored_exit_codes": [0, 143], "attempt_period_seconds": 60 })),
        ("registry_credentials", json!("arn:aws:secretsmanager:eu-west-2:123456789012:secret:hub")),
        ("start_timeout_seconds", json!(60)),
    ])
}

/// What it can have behind an instance's address.
fn on_a_bridge() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    some_of(vec![
        ("hostname", json!("web")),
        ("hosts", json!({ "legacy": "10.0.0.9", "older": "10.0.0.8" })),
        ("dns_servers", json!(["10.0.0.3", "10.0.0.2"])),
        ("dns_search", json!(["z.internal", "a.internal"])),
        ("privileged", json!(true)),
        ("gpus", json!(1)),
        ("sysctls", json!({ "net.core.somaxconn": 1024 })),
        (
            "linux",
            json!({
                "add_capabilities": ["SYS_PTRACE", "NET_ADMIN"], "shared_memory_mib": 64, "max_swap_mib": 128, "swappiness": 10,
                "devices": [{ "host": "/dev/fuse", "container": "/dev/own", "permissions": ["write", "read"] }],
                "tmpfs": [{ "path": "/run", "size_mib": 16, "options": ["noexec"] }],
            }),
        ),
    ])
}

/// A volume, and whether Fargate has such.
fn volume() -> impl Strategy<Value = (Value, bool)> {
    let efs = (any::<[bool; 4]>()).prop_map(|[rooted, pointed, iam, plain]| {
        let rooted = rooted && !pointed;
        table(vec![
            ("file_system", Some(json!("fs-0123456789abcdef0"))),
            ("root", some(rooted, json!("/exports"))),
            ("access_point", some(pointed, json!("fsap-0123456789abcdef0"))),
            ("iam", some(iam, json!(true))),
            // Who may do what is only asked of encrypted traffic.
            ("encrypted", some(plain && !pointed && !iam, json!(false))),
        ])
    });
    let docker = (any::<[bool; 3]>(), words()).prop_map(|([shared, made, driven], labels)| {
        table(vec![
            ("shared", some(shared, json!(true))),
            ("autoprovision", some(shared && made, json!(true))),
            ("driver", some(driven, json!("rexray/ebs"))),
            ("options", some(driven, json!({ "size": 20, "type": "gp3" }))),
            ("labels", some(!labels.is_empty(), json!(labels))),
        ])
    });
    prop_oneof![
        Just((json!({}), true)),
        efs.prop_map(|efs| (json!({ "efs": efs }), true)),
        Just((json!({ "host_path": "/var/lib/web" }), false)),
        docker.prop_map(|docker| (json!({ "docker": docker }), false)),
    ]
}

/// A task of one to three containers, of which the later ones wait for the first.
fn task() -> impl Strategy<Value = Value> {
    let containers = (container(1000), option::of(container(2000)), option::of(container(3000)));
    let sizes = prop::sample::select(vec![(256, 512), (512, 3072), (1024, 2048), (4096, 30_720)]);
    let volumes = (volume(), option::of(volume()));
    let more = (anywhere(), on_a_bridge());
    (any::<bool>(), sizes, containers, any::<[bool; 8]>(), volumes, more).prop_map(
        |(fargate, (cpu, memory), (first, second, third), flags, volumes, (anywhere, on_a_bridge))| {
            let [arm, awsvpc, placed, roles, roomy, shared, tagged, routed] = flags;
            let role = |name: &str| json!(format!("arn:aws:iam::123456789012:role/{name}"));
            let mut containers = Map::from_iter([("a".to_owned(), first)]);
            for (name, container) in [("b", second), ("c", third)] {
                let Some(mut container) = container else { continue };
                container["depends_on"] = json!({ "a": "start" });
                container["essential"] = json!(false);
                container["volumes_from"] = json!([{ "container": "a", "read_only": shared }]);
                containers.insert(name.to_owned(), container);
            }
            let bridge = on_a_bridge.into_iter().filter(|_| !fargate && !awsvpc);
            for (name, value) in anywhere.into_iter().chain(bridge) {
                containers["a"][name] = value;
            }
            if routed {
                let firelens = json!({ "options": { "enable-ecs-log-metadata": true } });
                let router = json!({ "image": "fluent-bit:3", "memory": 64, "firelens": firelens });
                containers.insert("router".to_owned(), router);
            }
            let of_task = |(volume, anywhere): (Value, bool)| if anywhere || !fargate { volume } else { json!({}) };
            let mut volumes_of_task = Map::from_iter([("data".to_owned(), of_task(volumes.0))]);
            volumes_of_task.extend(volumes.1.map(|more| ("more".to_owned(), of_task(more))));
            table(vec![
                ("runs_on", Some(if fargate { json!(["fargate"]) } else { json!(["ec2"]) })),
                ("cpu", some(fargate, json!(cpu))),
                ("memory", Some(json!(memory))),
                ("network", some(awsvpc, json!("awsvpc"))),
                ("architecture", some(arm, json!("arm64"))),
                ("ephemeral_storage_gib", some(fargate && roomy, json!(40))),
                ("pid_mode", some(shared, json!("task"))),
                ("ipc_mode", some(shared && !fargate, json!("task"))),
                ("execution_role", some(fargate || roles, role("execution"))),
                ("task_role", some(roles, role("task"))),
                ("placement", some(placed && !fargate, json!(["attribute:ecs.instance-type =~ t3.*"]))),
                ("containers", Some(containers.into())),
                ("volumes", Some(volumes_of_task.into())),
                ("tags", some(tagged, json!({ "Team": "platform" }))),
            ])
        },
    )
}

/// By what tasks are placed, and on what.
fn placement() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let strategies = prop::sample::select(vec![
        json!([{ "type": "spread", "field": "attribute:ecs.availability-zone" }, { "type": "binpack", "field": "memory" }]),
        json!([{ "type": "binpack", "field": "cpu" }]),
        json!([{ "type": "spread", "field": "instanceId" }]),
        json!([{ "type": "random" }]),
    ]);
    let constraints = prop::sample::select(vec![
        json!(["distinct"]),
        json!(["attribute:ecs.instance-type =~ t3.*", "attribute:ecs.os-type == linux"]),
        json!(["distinct", "attribute:zone == a"]),
    ]);
    (option::of(strategies), option::of(constraints)).prop_map(|(strategies, constraints)| {
        let strategies = strategies.map(|value| ("placement", value));
        strategies.into_iter().chain(constraints.map(|value| ("constraints", value))).collect()
    })
}

/// What a service offers to others, and where.
fn connect() -> impl Strategy<Value = Value> {
    let offer = (option::of(1..60_000u16), any::<[bool; 2]>()).prop_map(|(port, [discovered, named])| {
        table(vec![
            ("discovery_name", some(discovered, json!("shop"))),
            ("port", port.map(Value::from)),
            ("dns_name", some(named && port.is_some(), json!("shop.internal"))),
        ])
    });
    let namespace = "arn:aws:servicediscovery:eu-west-2:123456789012:namespace/ns-1";
    (any::<bool>(), btree_map("(http|admin)", offer, 0..3)).prop_map(move |(given, offers)| {
        table(vec![("namespace", some(given, json!(namespace))), ("offers", some(!offers.is_empty(), json!(offers)))])
    })
}

/// A target group of a service; of blue/green deployments with its other one.
fn target(blue_green: bool, tested: bool) -> Value {
    let arn = |what: &str| json!(format!("arn:aws:elasticloadbalancing:eu-west-2:123456789012:{what}"));
    let mut target = json!({ "target_group": arn("targetgroup/blue/1"), "container": "web", "port": 80 });
    if blue_green {
        target["alternate"] = table(vec![
            ("target_group", Some(arn("targetgroup/green/2"))),
            ("rule", Some(arn("listener-rule/app/main/1/2/3"))),
            ("test_rule", some(tested, arn("listener-rule/app/main/1/2/4"))),
            ("role", Some(json!("arn:aws:iam::123456789012:role/switch"))),
        ]);
    }
    target
}

/// A service of some task on a cluster.
fn service() -> impl Strategy<Value = Value> {
    let numbers = (option::of(0..4i32), option::of(0..300i32), option::of(0..100i32), option::of(0..60i32));
    let breaker = prop::sample::select(vec!["rollback", "stop", "off"]);
    let tags = prop::sample::select(vec!["service", "task-definition", "none"]);
    let ids = |what: &'static str| {
        btree_set(0..9u8, 1..3).prop_map(move |ids| ids.iter().map(|id| format!("{what}-{id}")).collect::<Vec<_>>())
    };
    let network =
        option::of((ids("subnet"), option::of(ids("sg")), any::<bool>()).prop_map(|(subnets, groups, public)| {
            table(vec![
                ("subnets", Some(json!(subnets))),
                ("security_groups", groups.map(Value::from)),
                ("public_ip", some(public, json!(true))),
            ])
        }));
    let more =
        (placement(), option::of(connect()), option::of(any::<bool>()), option::of(btree_set("[a-z]{3,5}", 1..3)));
    (numbers, network, breaker, tags, any::<[bool; 9]>(), more).prop_map(
        |(
            (count, grace, least, bake),
            network,
            breaker,
            propagate,
            flags,
            (placement, connect, rebalanced, alarms),
        )| {
            let [exec, daemon, managed, fargate, found, spot, balanced, blue_green, tested] = flags;
            let awsvpc = network.is_some() && !daemon;
            let (fargate, spot) = (fargate && awsvpc, spot && !fargate && awsvpc);
            // Both sorts of deployments end; one that goes back by itself has no circuit breaker.
            let blue_green = blue_green && !daemon;
            let breaker = if blue_green { "rollback" } else { breaker };
            let mut deployment = table(vec![
                ("circuit_breaker", Some(json!(breaker))),
                ("alarms", alarms.map(|alarms| json!(alarms))),
                ("strategy", some(blue_green, json!("blue-green"))),
                ("bake_minutes", bake.filter(|_| blue_green).map(Value::from)),
            ]);
            if !daemon {
                // A deployment that may not double its tasks stops half-way on the emulator.
                deployment["min_percent"] = json!(least.unwrap_or(50));
                deployment["max_percent"] = json!(200);
            }
            let registry = "arn:aws:servicediscovery:eu-west-2:123456789012:service/srv-1";
            let shares =
                json!([{ "provider": "FARGATE_SPOT", "weight": 3 }, { "provider": "FARGATE", "base": 1, "weight": 1 }]);
            let mut service = table(vec![
                ("count", count.filter(|_| !daemon).map(Value::from)),
                ("scheduling", some(daemon, json!("daemon"))),
                ("launch_type", some(fargate, json!("fargate"))),
                ("capacity", some(spot, shares)),
                ("platform_version", some(fargate && exec, json!("1.4.0"))),
                ("network", network),
                ("load_balancers", some(balanced, json!([target(blue_green, tested)]))),
                ("registries", some(found, json!([{ "service": registry, "container": "web", "port": 80 }]))),
                ("health_check_grace_seconds", grace.map(Value::from)),
                ("deployment", Some(deployment)),
                ("exec", some(exec, json!(true))),
                ("zone_rebalancing", rebalanced.map(Value::from)),
                ("service_connect", connect),
                ("propagate_tags", Some(json!(propagate))),
                ("managed_tags", Some(json!(managed))),
                ("tags", some(exec, json!({ "Team": "platform" }))),
            ]);
            // Fargate has no instances to choose from, and a daemon is on each of them.
            for (name, value) in placement.into_iter().filter(|_| !fargate && !spot && !daemon) {
                service[name] = value;
            }
            service
        },
    )
}

/// Nothing is told of what is generated: it is what a user may write.
fn is_fine(cloud: &AwsCloud, kind: &str, attributes: &Value) {
    let spec = cloud.spec(kind).expect("the kind is registered");
    let whole = canonical(cloud, kind, map(attributes.clone()));
    let told: Vec<_> = (spec.check)(&whole).into_iter().map(|problem| problem.message).collect();
    assert!(told.is_empty(), "{attributes:#}\n{told:?}");
    assert_eq!(canonical(cloud, kind, whole.clone()), whole, "what is canonical stays as it is");
}

fn on_emulator<S: Strategy>(strategy: &S, case: impl Fn(&tokio::runtime::Runtime, &AwsCloud, S::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cloud = runtime.block_on(Emulator::Together.cloud());
    let outcome = TestRunner::new(Config { max_shrink_iters: 64, ..generated(CASES) }).run(strategy, |value| {
        case(&runtime, &cloud, value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn task_definitions() {
    on_emulator(&task(), |runtime, cloud, mut task| {
        task["family"] = unique("task").into();
        is_fine(cloud, "task_definition", &task);
        runtime.block_on(async {
            let known = make(cloud, "task_definition", task).await;
            reads_back(cloud, "task_definition", &known).await;
            remove(cloud, "task_definition", &known).await;
        });
    });
}

#[test]
fn services() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (cluster, task) = runtime.block_on(async {
        let cloud = Emulator::Together.cloud().await;
        let cluster = make(&cloud, "cluster", json!({ "name": unique("cluster") })).await;
        let task = json!({ "family": unique("task"), "containers": { "web": { "image": "nginx", "memory": 64 } } });
        (cluster, make(&cloud, "task_definition", task).await)
    });
    on_emulator(&service(), |runtime, cloud, mut service| {
        service["name"] = unique("web").into();
        service["cluster"] = cluster.id.clone().into();
        service["task_definition"] = task.outputs["arn"].clone();
        is_fine(cloud, "ecs_service", &service);
        runtime.block_on(async {
            let known = make(cloud, "ecs_service", service).await;
            reads_back(cloud, "ecs_service", &known).await;
            remove(cloud, "ecs_service", &known).await;
        });
    });
}
