//! The trust of a role: who may assume it, as a document or as the services that it names.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::document::{POLICY_VERSION, PolicyDocument, PolicyUse, check_policy};
use crate::graph::{Attributes, Problem, template};

/// A service, or a list of them.
///
/// # Errors
/// Where the value is neither.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(BTreeSet<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => BTreeSet::from([one]),
        OneOrMany::Many(many) => many,
    })
}

/// The schema of what [`one_or_many`] takes.
pub fn one_or_many_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "uniqueItems": true }]
    })
}

/// The trust of a role that these services may assume, and that says nothing else.
pub fn of_services(services: &BTreeSet<String>) -> PolicyDocument {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": services },
        "Action": "sts:AssumeRole",
    });
    PolicyDocument::new(&json!({ "Version": POLICY_VERSION, "Statement": [statement] }).to_string())
}

/// The services of a trust document that says nothing but that they may assume the role.
pub fn services_of(trust: &PolicyDocument) -> Option<BTreeSet<String>> {
    let document: Value = serde_json::from_str(trust.as_str()).ok()?;
    let services = match document.pointer("/Statement/0/Principal/Service")? {
        Value::String(one) => BTreeSet::from([one.clone()]),
        Value::Array(many) => many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => return None,
    };
    (of_services(&services) == *trust).then_some(services)
}

/// The characters that a trust document may have; 2048 unless the quota is raised.
const TRUST_LIMIT: usize = 4096;

/// What is wrong with `service` and `trust` of a role.
pub fn check(attributes: &Attributes, problems: &mut Vec<Problem>) {
    let service = attributes.get("service").filter(|s| !matches!(s, Value::Array(a) if a.is_empty()));
    match (service, attributes.get("trust")) {
        (None, None) => problems.push(
            Problem::at("", "nobody may assume this role")
                .help("give `service` (\"ec2.amazonaws.com\") or a `trust` document"),
        ),
        (Some(_), Some(_)) => {
            problems.push(Problem::at("trust", "both `service` and `trust` say who may assume it").help("keep one"));
        }
        (None, Some(trust)) => check_policy(trust, &["trust"], PolicyUse::Trust, TRUST_LIMIT, problems),
        (Some(service), None) => check_services(service, problems),
    }
}

fn check_services(service: &Value, problems: &mut Vec<Problem>) {
    let services: Vec<&Value> = match service {
        Value::Array(many) => many.iter().collect(),
        one => vec![one],
    };
    for service in services.into_iter().filter(|service| !template::is_unknown(service)) {
        let Some(name) = service.as_str() else { continue };
        if name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn") {
            continue;
        }
        let problem = Problem::at("service", format!("`{name}` is no service principal"));
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        problems.push(if plain {
            problem.help(format!("did you mean \"{name}.amazonaws.com\"?"))
        } else {
            problem.help("it looks like \"ecs-tasks.amazonaws.com\"")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_from_a_plain_trust_only() {
        let services = BTreeSet::from(["ec2.amazonaws.com".to_owned(), "ecs-tasks.amazonaws.com".to_owned()]);
        assert_eq!(services_of(&of_services(&services)), Some(services.clone()));
        let bounded = of_services(&services).as_str().replace("\"Effect\"", "\"Condition\": {}, \"Effect\"");
        assert_eq!(services_of(&PolicyDocument::new(&bounded)), None);
    }
}
