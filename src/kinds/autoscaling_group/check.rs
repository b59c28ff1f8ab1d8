//! What can be told offline about an autoscaling group.

use serde_json::Value;

use crate::graph::{Attributes, Problem, template};
use crate::kinds::instance_type;

/// A day and a year, in seconds ("CreateAutoScalingGroup", MaxInstanceLifetime).
const LIFETIMES: std::ops::RangeInclusive<i64> = 86_400..=31_536_000;

/// The termination policies that AWS has; a Lambda function's ARN is one too.
const POLICIES: &[&str] = &[
    "Default",
    "AllocationStrategy",
    "ClosestToNextInstanceHour",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchConfiguration",
    "OldestLaunchTemplate",
];

/// Everything that is wrong with the attributes.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_name(attributes, &mut problems);
    check_sizes(attributes, &mut problems);
    let refresh = attributes.get("instance_refresh");
    let mixed = attributes.get("mixed_instances");
    let number = |value: Option<&Value>, name: &str| value.and_then(|value| value.get(name)).and_then(Value::as_i64);
    for (block, value, name, range) in [
        ("instance_refresh", refresh, "min_healthy_percent", 0..=100),
        ("instance_refresh", refresh, "max_healthy_percent", 100..=200),
        ("mixed_instances", mixed, "on_demand_percent", 0..=100),
        ("mixed_instances", mixed, "on_demand_base", 0..=i64::from(i32::MAX)),
    ] {
        if let Some(found) = number(value, name)
            && !range.contains(&found)
        {
            let message = format!("{found} is out of range: AWS takes {} to {}", range.start(), range.end());
            problems.push(Problem::at(&format!("{block}.{name}"), message));
        }
    }
    let healthy = (number(refresh, "min_healthy_percent").unwrap_or(90), number(refresh, "max_healthy_percent"));
    if let (min, Some(max)) = healthy
        && max - min > 100
    {
        let message = format!("{min} to {max} percent are more than 100 apart, which AWS does not take");
        problems.push(Problem::at("instance_refresh", message).help("raise the lower or lower the upper one"));
    }
    let none = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    if mixed.and_then(|mixed| mixed.get("instance_types")).is_some_and(none) {
        problems.push(Problem::at("mixed_instances.instance_types", "a mix of no instance types").help("name some"));
    }
    let types = mixed.and_then(|mixed| mixed.get("instance_types")).and_then(Value::as_array).into_iter().flatten();
    for (index, name) in types.enumerate() {
        let path = format!("mixed_instances.instance_types.{index}");
        problems.extend(name.as_str().and_then(|name| instance_type::problem(&path, name)));
    }
    if attributes.get("subnets").is_some_and(none) {
        problems.push(Problem::at("subnets", "no subnet to start instances in").help("name at least one"));
    }
    if let Some(seconds) = attributes.get("max_instance_lifetime_seconds").and_then(Value::as_i64)
        && !LIFETIMES.contains(&seconds)
    {
        let message = format!("{seconds} seconds, and AWS takes a day (86400) to a year (31536000)");
        problems.push(Problem::at("max_instance_lifetime_seconds", message));
    }
    let policies = attributes.get("termination_policies").and_then(Value::as_array).into_iter().flatten();
    for (index, policy) in policies.enumerate().filter(|(_, policy)| !template::is_unknown(policy)) {
        let name = policy.as_str().unwrap_or_default();
        if !POLICIES.contains(&name) && !name.starts_with("arn:") {
            problems.push(
                Problem::at(&format!("termination_policies.{index}"), format!("`{name}` is no termination policy"))
                    .help(format!("one of {}, or the ARN of a Lambda function", POLICIES.join(", "))),
            );
        }
    }
    if let Some(value) = attributes.get("launch_template").filter(|value| !template::is_unknown(value))
        && let Some(id) = value.as_str()
        && !id.starts_with("lt-")
    {
        let message = format!("`{id}` is no launch template");
        problems.push(
            Problem::at("launch_template", message)
                .help("name a `launch_template` of the stack, or give an id: \"lt-0123456789abcdef0\""),
        );
    }
    problems
}

fn check_name(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let Some(value) = attributes.get("name").filter(|value| !template::is_unknown(value)) else { return };
    let name = value.as_str().unwrap_or_default();
    if name.len() > 255 {
        let message = format!("the name has {} characters, and AWS takes 255", name.len());
        problems.push(Problem::at("name", message).help("shorten it"));
    }
    if let Some(bad) = name.chars().find(|c| matches!(c, '|' | ':' | '/') || !c.is_ascii() || c.is_ascii_control()) {
        let message = format!("`{bad}` in `{name}`: AWS takes printable ASCII without `|`, `:` and `/`");
        problems.push(Problem::at("name", message).help("choose another name"));
    }
}

fn check_sizes(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let number = |name: &str| attributes.get(name).and_then(Value::as_i64);
    let (min, max, desired) = (number("min"), number("max"), number("desired"));
    for (name, value) in [("min", min), ("max", max), ("desired", desired)] {
        if let Some(value) = value.filter(|value| *value < 0) {
            problems.push(Problem::at(name, format!("{value} instances")).help("0 is the fewest"));
        }
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        problems.push(Problem::at("min", format!("at least {min} instances, but at most {max}")));
        return;
    }
    let (Some(desired), least, most) = (desired, min.unwrap_or(0), max.unwrap_or(i64::MAX)) else { return };
    if desired < least || desired > most {
        let message = format!("{desired} instances are not within min = {least} and max = {most}");
        problems.push(Problem::at("desired", message).help("change one of the three"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_percentages_that_contradict_each_other_are_found_offline() {
        let problems = |attributes: Value| match attributes {
            Value::Object(attributes) => check(&attributes).into_iter().map(|p| p.path.join(".")).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert!(problems(json!({ "launch_template": "${launch_template.web.id}", "min": 1, "max": 3 })).is_empty());
        assert_eq!(problems(json!({ "min": 4, "max": 3, "desired": 9 })), ["min"]);
        assert_eq!(problems(json!({ "min": 1, "max": 3, "desired": 9 })), ["desired"]);
        assert_eq!(problems(json!({ "launch_template": "web", "subnets": [] })), ["subnets", "launch_template"]);
        let refresh = json!({ "min_healthy_percent": 50, "max_healthy_percent": 200 });
        assert_eq!(problems(json!({ "instance_refresh": refresh })), ["instance_refresh"]);
        let mixed = json!({ "instance_types": [], "on_demand_percent": 120 });
        assert_eq!(
            problems(json!({ "mixed_instances": mixed })),
            ["mixed_instances.on_demand_percent", "mixed_instances.instance_types"]
        );
        assert_eq!(problems(json!({ "termination_policies": ["Oldest"] })), ["termination_policies.0"]);
    }
}
