//! What belongs to others: images to deployments, counts to scaling, the weights of a rule to who switches it.

use serde_json::{Value, json};

use super::{Row, golden, rows};
use crate::stack::Ask;

rows! {
    what_is_held_is_left_as_it_is: Row {
        desired: web("nginx:1.27", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28"), "containers.gone.image": held("x") })),
        ..Row::default()
    };

    what_is_held_goes_with_other_changes: Row {
        desired: web("nginx:1.27", json!(3)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    what_is_held_is_taken_back: Row {
        desired: web("nginx:1.27", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ask: Ask { reset: true, ..Ask::default() },
        ..Row::default()
    };

    what_the_stack_says_is_held_no_longer: Row {
        desired: web("nginx:1.28", json!(2)),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    nothing_is_held_of_what_is_made_anew_or_goes: Row {
        desired: json!({}),
        state: web_state(2, json!({ "containers.app.image": held("nginx:1.28") })),
        ..Row::default()
    };

    a_count_that_is_scaled_is_nobody_elses: Row {
        desired: scaled(json!({ "count": 2 })),
        state: scaled_state(),
        observed: json!({ "ecs_service.web": { "count": 7 } }),
        ..Row::default()
    };

    a_count_that_is_scaled_and_that_the_stack_leaves_open: Row {
        desired: scaled(json!({})),
        state: scaled_state(),
        observed: json!({ "ecs_service.web": { "count": 7 } }),
        ..Row::default()
    };

    what_a_blue_green_deployment_switched_is_left: Row {
        desired: blue_green(),
        state: blue_green_state(),
        observed: json!({ "listener_rule.web": { "action": switched(0, 100) } }),
        ..Row::default()
    };

    nothing_is_told_of_a_rule_that_is_as_it_was_made: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        ..Row::default()
    };

    what_switched_last_is_left_of_groups_of_the_stack: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_that_is_to_be_switched_gets_both_groups: Row {
        desired: switching(80),
        state: as_made(&rolling(80)),
        ..Row::default()
    };

    a_rule_that_is_switched_gets_the_groups_that_are_made_anew: Row {
        desired: switching(81),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_whose_groups_somebody_changed_gets_the_stacks: Row {
        desired: switching(80),
        state: as_made(&switching(80)),
        observed: json!({ "listener_rule.web": { "action": switched(0, 100) } }),
        ..Row::default()
    };

    who_switches_no_more_leaves_the_rule_to_the_stack: Row {
        desired: rolling(80),
        state: as_made(&switching(80)),
        ..Row::default()
    };

    who_switches_no_more_does_not_leave_requests_without_an_answer: Row {
        desired: rolling(80),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };

    a_rule_that_was_switched_goes_with_its_service: Row {
        desired: json!({}),
        state: as_made(&switching(80)),
        observed: to_the_other(),
        ..Row::default()
    };
}

const SERVICE: &str = "arn:aws:ecs:eu-west-2:123456789012:service/main/web";

fn held(value: &str) -> Value {
    json!({ "value": value, "by": "deploy", "who": "me@here", "at": "2030-01-31T08:00:00Z" })
}

fn web(image: &str, count: Value) -> Value {
    json!({
        "task_definition.web": { "family": "web", "containers": { "app": { "image": image, "memory": 64 } } },
        "ecs_service.web": {
            "name": "web", "cluster": "main", "task_definition": "${task_definition.web.arn}", "count": count,
        },
    })
}

/// The same, as it was made with another image, which is held.
fn web_state(count: u32, held: Value) -> Value {
    let arn = "arn:aws:ecs:eu-west-2:123456789012:task-definition/web:4";
    let containers = json!({ "app": { "image": "nginx:1.28", "memory": 64 } });
    json!({
        "task_definition.web": {
            "id": "web", "attributes": { "family": "web", "containers": containers },
            "outputs": { "arn": arn, "revision": "4", "id": "web" },
        },
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE }, "depends_on": ["task_definition.web"],
            "attributes": { "name": "web", "cluster": "main", "task_definition": arn, "count": count },
        },
        "held": { "task_definition.web": held },
    })
}

/// A service that is scaled.
fn scaled(over: Value) -> Value {
    let mut service = json!({ "name": "web", "cluster": "main", "task_definition": "web:1" });
    service.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    json!({
        "ecs_service.web": service,
        "scaling_target.web": { "service": "${ecs_service.web.arn}", "min": 1, "max": 9 },
    })
}

/// The same, as it was made with two tasks.
fn scaled_state() -> Value {
    json!({
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE },
            "attributes": { "name": "web", "cluster": "main", "task_definition": "web:1", "count": 2 },
        },
        "scaling_target.web": {
            "id": "service/main/web", "outputs": { "id": "service/main/web" }, "depends_on": ["ecs_service.web"],
            "attributes": { "service": SERVICE, "min": 1, "max": 9 },
        },
    })
}

/// A service whose deployments switch a rule from one target group to the other.
fn blue_green() -> Value {
    json!({
        "listener_rule.web": { "listener": "arn:listener", "priority": 7, "paths": ["/*"], "action": switched(100, 0) },
        "ecs_service.web": {
            "name": "web", "cluster": "main", "task_definition": "web:1", "deployment": { "strategy": "blue-green" },
            "load_balancers": [{
                "target_group": "arn:blue", "container": "app", "port": 80,
                "alternate": { "target_group": "arn:green", "rule": "${listener_rule.web.arn}", "role": "arn:switch" },
            }],
        },
    })
}

fn switched(blue: u32, green: u32) -> Value {
    between(("arn:blue", blue), ("arn:green", green))
}

fn between(one: (&str, u32), other: (&str, u32)) -> Value {
    let share = |(group, weight): (&str, u32)| json!({ "target_group": group, "weight": weight });
    json!({ "forward": [share(one), share(other)] })
}

/// What the cloud says once requests were switched from the one group to the other.
fn to_the_other() -> Value {
    json!({ "listener_rule.web": { "action": between(("arn:main", 0), ("arn:other", 100)) } })
}

const MAIN: &str = "${target_group.main.arn}";
const OTHER: &str = "${target_group.other.arn}";

/// A blue/green service whose target groups are the stack's, too; their port is in their names.
fn switching(port: u16) -> Value {
    let mut stack = blue_green();
    for name in ["main", "other"] {
        stack[format!("target_group.{name}")] = json!({
            "name": format!("{name}-{port}"), "vpc": "vpc-1", "targets": "ip", "protocol": "http", "port": port,
            "algorithm": "round-robin", "slow_start_seconds": 0,
        });
    }
    stack["listener_rule.web"]["action"] = between((MAIN, 100), (OTHER, 0));
    let balanced = &mut stack["ecs_service.web"]["load_balancers"][0];
    balanced["target_group"] = json!(MAIN);
    balanced["alternate"]["target_group"] = json!(OTHER);
    stack
}

/// The same service with rolling deployments.
fn rolling(port: u16) -> Value {
    let mut stack = switching(port);
    stack.as_object_mut().unwrap().remove("target_group.other");
    stack["listener_rule.web"]["action"] = json!({ "forward": [{ "target_group": MAIN }] });
    let service = stack["ecs_service.web"].as_object_mut().unwrap();
    service.remove("deployment");
    service["load_balancers"][0].as_object_mut().unwrap().remove("alternate");
    stack
}

/// The state of either, as it was made.
fn as_made(stack: &Value) -> Value {
    let arns = [(MAIN, "arn:main"), (OTHER, "arn:other"), ("${listener_rule.web.arn}", "arn:rule")];
    let known = arns.iter().fold(stack.to_string(), |text, (reference, arn)| text.replace(reference, arn));
    let known: serde_json::Map<String, Value> = serde_json::from_str(&known).unwrap();
    let groups: Vec<&str> = known.keys().map(String::as_str).filter(|name| name.starts_with("target_group.")).collect();
    let used = [&groups[..], &["listener_rule.web"]].concat();
    let entry = |(name, attributes): (&String, &Value)| {
        let (arn, depends_on) = match name.as_str() {
            "ecs_service.web" => (SERVICE, json!(used)),
            "listener_rule.web" => ("arn:rule", json!(groups)),
            "target_group.main" => ("arn:main", json!([])),
            _ => ("arn:other", json!([])),
        };
        let outputs = json!({ "arn": arn, "id": arn });
        let entry = json!({ "id": arn, "attributes": attributes, "outputs": outputs, "depends_on": depends_on });
        (name.clone(), entry)
    };
    known.iter().map(entry).collect::<serde_json::Map<String, Value>>().into()
}

/// The same, as it was made.
fn blue_green_state() -> Value {
    let mut service = blue_green()["ecs_service.web"].clone();
    service["load_balancers"][0]["alternate"]["rule"] = json!("arn:rule");
    json!({
        "listener_rule.web": {
            "id": "arn:rule", "outputs": { "arn": "arn:rule", "id": "arn:rule" },
            "attributes": blue_green()["listener_rule.web"],
        },
        "ecs_service.web": {
            "id": SERVICE, "outputs": { "arn": SERVICE, "id": SERVICE }, "depends_on": ["listener_rule.web"],
            "attributes": service,
        },
    })
}
