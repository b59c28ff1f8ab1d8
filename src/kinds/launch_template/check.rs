//! What can be told offline about a launch template.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::graph::{Attributes, Problem, template};
use crate::kinds::{instance_type, names};

/// The longest user data, in bytes before encoding ("Work with instance user data").
const LONGEST_USER_DATA: usize = 16 * 1024;

/// Everything that is wrong with the attributes.
pub fn check(attributes: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    let plain = |name: &str| {
        attributes.get(name).filter(|value| !template::is_unknown(value)).and_then(Value::as_str).unwrap_or_default()
    };
    let name = plain("name");
    if !name.is_empty() && !(3..=128).contains(&name.len()) {
        problems.push(Problem::at("name", format!("`{name}` has {} characters, and EC2 takes 3 to 128", name.len())));
    }
    problems.extend(names::letters("name", name, "EC2", "()./_-"));
    let kind = plain("instance_type");
    if !kind.is_empty() {
        problems.extend(instance_type::problem("instance_type", kind));
    }
    let image = plain("image");
    if !image.is_empty() && !image.starts_with("ami-") && !image.starts_with("resolve:ssm:") {
        problems.push(
            Problem::at("image", format!("`{image}` is no machine image"))
                .help("name an `ami` of the stack, or give an id: \"ami-0123456789abcdef0\""),
        );
    }
    if plain("user_data").len() > LONGEST_USER_DATA {
        let message = format!("user data of {} bytes, and EC2 takes {LONGEST_USER_DATA}", plain("user_data").len());
        problems.push(Problem::at("user_data", message).help("fetch the larger part from a bucket"));
    }
    if let Some(limit) = attributes.get("imds_hop_limit").and_then(Value::as_i64)
        && !(1..=64).contains(&limit)
    {
        problems.push(Problem::at("imds_hop_limit", format!("{limit} hops, and EC2 takes 1 to 64")));
    }
    let volumes = attributes.get("volumes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut devices = HashSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        check_volume(&format!("volumes.{index}"), volume, &mut problems);
        if let Some(device) = volume.get("device").and_then(Value::as_str)
            && !devices.insert(device)
        {
            problems.push(Problem::at(&format!("volumes.{index}.device"), format!("`{device}` is given twice")));
        }
    }
    problems
}

fn check_volume(path: &str, volume: &Value, problems: &mut Vec<Problem>) {
    let kind = volume.get("type").and_then(Value::as_str).unwrap_or("gp3");
    if volume.get("iops").is_some() && !matches!(kind, "gp3" | "io1" | "io2") {
        problems.push(Problem::at(&format!("{path}.iops"), format!("a {kind} volume has no choice of iops")));
    }
    if volume.get("iops").is_none() && matches!(kind, "io1" | "io2") {
        problems.push(Problem::at(path, format!("a {kind} volume needs `iops`")).help("say how many: iops = 3000"));
    }
    if volume.get("throughput").is_some() && kind != "gp3" {
        let message = format!("a {kind} volume has no choice of throughput");
        problems.push(Problem::at(&format!("{path}.throughput"), message).help("use type = \"gp3\""));
    }
    if volume.get("kms_key").is_some() && volume.get("encrypted") == Some(&json!(false)) {
        problems.push(Problem::at(&format!("{path}.kms_key"), "a key for a volume that is not encrypted"));
    }
    if let Some(size) = volume.get("size_gib").and_then(Value::as_i64)
        && !(1..=65_536).contains(&size)
    {
        problems.push(Problem::at(&format!("{path}.size_gib"), format!("{size} GiB, and EBS takes 1 to 65536")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_instance_can_be_started_from_is_found_offline() {
        let problems = |attributes: Value| match attributes {
            Value::Object(attributes) => check(&attributes).into_iter().map(|p| p.path.join(".")).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert!(problems(json!({ "image": "${ami.ecs.id}", "name": "web" })).is_empty());
        assert_eq!(
            problems(json!({ "image": "ubuntu", "name": "w b", "imds_hop_limit": 0 })),
            ["name", "image", "imds_hop_limit"]
        );
        let volumes = json!([
            { "device": "/dev/xvda", "type": "gp2", "throughput": 200 },
            { "device": "/dev/xvda", "type": "io2" },
        ]);
        assert_eq!(
            problems(json!({ "image": "ami-1", "volumes": volumes })),
            ["volumes.0.throughput", "volumes.1", "volumes.1.device"]
        );
    }
}
