//! What the attributes of a kind name: read from the marks in its schema that say which attributes take whose id, name or
//! ARN, so that the simulated cloud knows of every kind what uses what.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::graph::Attributes;
use crate::kinds::Registry;

/// How deep schemas are followed; that of an attribute is a few levels at most.
const DEPTH: usize = 12;

/// Every kind of the tool; making them takes longer than a small simulated run.
pub(super) static KINDS: LazyLock<Registry> = LazyLock::new(Registry::new);

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::of(&KINDS));

/// One place that names something: the way to it, and of which kind which attribute stands there.
struct Rule {
    path: Vec<Step>,
    kind: String,
    attribute: String,
}

#[derive(Clone, PartialEq)]
enum Step {
    Key(String),
    /// Every item of a list, or every value of a table.
    Each,
}

struct Rules {
    /// By the kind that names.
    by_kind: HashMap<String, Vec<Rule>>,
    /// By the kind that is named: the attributes that it is named by, besides its id.
    named_by: HashMap<String, Vec<String>>,
}

impl Rules {
    fn of(registry: &Registry) -> Self {
        let mut rules = Self { by_kind: HashMap::new(), named_by: HashMap::new() };
        for spec in registry.specs() {
            let schema = (spec.schema)();
            let mut found = Vec::new();
            walk(&schema, &schema, &mut Vec::new(), &mut found);
            for rule in &found {
                let named = rules.named_by.entry(rule.kind.clone()).or_default();
                if rule.attribute != "id" && !named.contains(&rule.attribute) {
                    named.push(rule.attribute.clone());
                }
            }
            rules.by_kind.insert(spec.name.to_owned(), found);
        }
        rules
    }
}

fn walk(root: &Value, schema: &Value, path: &mut Vec<Step>, found: &mut Vec<Rule>) {
    if path.len() > DEPTH {
        return;
    }
    let marks = match schema.get("x-reference") {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        one => one.and_then(Value::as_str).into_iter().collect::<Vec<_>>(),
    };
    for mark in marks {
        let Some((kind, attribute)) = mark.split_once('.') else { continue };
        found.push(Rule { path: path.clone(), kind: kind.to_owned(), attribute: attribute.to_owned() });
    }
    let followed = schema.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.strip_prefix('#')?));
    if let Some(target) = followed {
        // A level of its own, so that a schema that holds itself comes to an end.
        path.push(Step::Each);
        let at = path.len();
        let first = found.len();
        walk(root, target, path, found);
        path.pop();
        found[first..].iter_mut().for_each(|rule| drop(rule.path.remove(at - 1)));
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.push(Step::Key(key.clone()));
        walk(root, property, path, found);
        path.pop();
    }
    for key in ["items", "additionalProperties"] {
        if let Some(each) = schema.get(key).filter(|each| each.is_object()) {
            path.push(Step::Each);
            walk(root, each, path, found);
            path.pop();
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        schema.get(key).and_then(Value::as_array).into_iter().flatten().for_each(|one| walk(root, one, path, found));
    }
}

/// Calls `found` with kind, attribute and value of everything that these attributes name.
pub(super) fn each(kind: &str, attributes: &Attributes, found: &mut dyn FnMut(&str, &str, &str)) {
    for rule in RULES.by_kind.get(kind).into_iter().flatten() {
        let Some((Step::Key(first), rest)) = rule.path.split_first() else { continue };
        let Some(value) = attributes.get(first) else { continue };
        texts(value, rest, &mut |text| found(&rule.kind, &rule.attribute, text));
    }
}

/// The attributes by which others name a resource of this kind, besides its id.
pub(super) fn named_by(kind: &str) -> &[String] {
    RULES.named_by.get(kind).map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, path: &[Step], found: &mut dyn FnMut(&str)) {
    match (path.split_first(), value) {
        (None, Value::String(text)) => found(text),
        // The mark may stand at a list and be meant of its items.
        (None, Value::Array(items)) => items.iter().for_each(|item| texts(item, path, found)),
        (Some((Step::Key(key), rest)), Value::Object(map)) => {
            if let Some(value) = map.get(key) {
                texts(value, rest, found);
            }
        }
        (Some((Step::Each, rest)), Value::Array(items)) => items.iter().for_each(|item| texts(item, rest, found)),
        (Some((Step::Each, rest)), Value::Object(map)) => map.values().for_each(|item| texts(item, rest, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kind_names_is_found_wherever_it_stands() {
        let attributes = serde_json::json!({
            "cluster": "main",
            "providers": ["spot", "FARGATE"],
            "default": [{ "provider": "spot", "weight": 1 }],
        });
        let Value::Object(attributes) = attributes else { unreachable!() };
        let mut named = Vec::new();
        each("cluster_capacity", &attributes, &mut |kind, attribute, value| {
            named.push(format!("{kind}.{attribute} {value}"));
        });
        named.sort();
        assert_eq!(
            named,
            [
                "capacity_provider.name FARGATE",
                "capacity_provider.name spot",
                "capacity_provider.name spot",
                "cluster.name main"
            ]
        );
        assert_eq!(named_by("capacity_provider"), ["name"]);
    }
}
