//! The JSON Schema of the whole language, for editors.

use serde_json::{Map, Value, json};

use super::language::{Language, What, top_schema};

/// What a reference looks like; it may stand wherever a value may.
const REFERENCE: &str = "reference";
const REFERENCE_PATTERN: &str = r"\$\{[^}]+\}";

/// The JSON Schema of stack files (draft 7, which editors' TOML plug-ins read), with the descriptions of every kind and
/// attribute.
pub fn of(language: &Language<'_>) -> Value {
    let mut definitions = Map::new();
    definitions.insert(
        REFERENCE.to_owned(),
        json!({
            "type": "string",
            "pattern": REFERENCE_PATTERN,
            "description": "A reference: `${vpc.main.id}`, `${vars.x}`."
        }),
    );
    let top = top_schema();
    let mut properties = match top.get("properties") {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    let mut overlay = properties.clone();
    for key in ["name", "env", "moved", "state"] {
        overlay.remove(key);
    }
    overlay.insert(
        "remove".to_owned(),
        json!({
            "type": "array",
            "items": { "type": "string" },
            "description": "What the environment shall not have of the stack: `[\"nat_gateway.b\", \"tags.Team\"]`."
        }),
    );
    for (name, block) in language.blocks() {
        let optional: Vec<&str> = match block.what {
            What::Kind(spec) => spec.naming.iter().map(|naming| naming.attribute).collect(),
            What::Construct(_) => Vec::new(),
        };
        let mut own = block.schema.clone();
        let inner = own.as_object_mut().and_then(|map| map.remove("$defs"));
        for (key, value) in inner.iter().filter_map(Value::as_object).flatten() {
            let definition = open(converted(value, name));
            definitions.insert(format!("{name}.{key}.overlay"), partial(&definition));
            definitions.insert(format!("{name}.{key}"), definition);
        }
        let mut own = converted(&own, name);
        let summary = match block.what {
            What::Kind(_) => own.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            What::Construct(construct) => construct.summary().to_owned(),
        };
        for key in block.meta() {
            own["properties"][key] = meta(key);
        }
        own["additionalProperties"] = Value::Bool(false);
        if let Some(Value::Array(required)) = own.get_mut("required") {
            required.retain(|key| key.as_str().is_none_or(|key| !optional.contains(&key)));
        }
        let required = own.as_object_mut().and_then(|map| map.remove("required"));
        let takes_existing = block.meta().contains(&"existing");
        definitions.insert(format!("{name}.overlay"), partial(&own));
        match required {
            // A block that names what exists needs nothing else.
            Some(required) if takes_existing => {
                own["anyOf"] = json!([{ "required": required }, { "required": ["existing"] }]);
            }
            Some(required) => own["required"] = required,
            None => {}
        }
        definitions.insert(format!("{name}.block"), own);
        properties.insert(name.to_owned(), named(&format!("{name}.block"), &summary));
        overlay.insert(name.to_owned(), named(&format!("{name}.overlay"), &summary));
    }
    properties.insert(
        "env".to_owned(),
        json!({
            "type": "object",
            "description": top["properties"]["env"]["description"],
            "additionalProperties": { "type": "object", "properties": overlay, "additionalProperties": false }
        }),
    );
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Cofferdam stack",
        "description": "A stack of AWS resources.",
        "type": "object",
        "required": top["required"],
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions
    })
}

/// A schema for what is laid over something: nothing is required, except in lists, which are replaced as a whole.
fn partial(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("required", Value::Array(_)) => {}
                    // Attributes may be named like keywords.
                    ("properties", Value::Object(properties)) => {
                        let each = properties.iter().map(|(name, value)| (name.clone(), partial(value)));
                        out.insert(key.clone(), each.collect::<Map<_, _>>().into());
                    }
                    ("items" | "default" | "enum" | "const", _) => drop(out.insert(key.clone(), value.clone())),
                    ("$ref", Value::String(target)) if !target.ends_with(REFERENCE) => {
                        out.insert(key.clone(), format!("{target}.overlay").into());
                    }
                    // With less required, several alternatives may fit.
                    ("oneOf", _) => drop(out.insert("anyOf".to_owned(), partial(value))),
                    _ => drop(out.insert(key.clone(), partial(value))),
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(partial).collect(),
        other => other.clone(),
    }
}

/// A table of blocks by name.
fn named(definition: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "patternProperties": { "^[A-Za-z0-9_-]+$": { "$ref": format!("#/definitions/{definition}") } },
        "additionalProperties": false
    })
}

fn meta(key: &str) -> Value {
    match key {
        "depends_on" => json!({
            "type": "array",
            "items": { "type": "string" },
            "description": "Blocks to wait for although nothing of them is referenced: `[\"nat_gateway.main\"]`."
        }),
        "protect" => json!({
            "type": "boolean",
            "description": "Whether plans that delete or replace it are refused."
        }),
        _ => json!({
            "type": "string",
            "description": "The id of one that exists: it is read and referenced, never changed or deleted."
        }),
    }
}

/// A schema of a kind as part of the language's: in draft 7, references allowed, null left out.
fn converted(schema: &Value, kind: &str) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let document = map.get("x-file").and_then(Value::as_str) == Some("json");
    let documents = map.contains_key("x-files");
    let mut out = Map::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            ("$schema" | "title" | "format", _) => {}
            ("default", Value::Null) => {}
            (key, _) if key.starts_with("x-") => {}
            ("$ref", Value::String(target)) => {
                let target = target.replace("#/$defs/", &format!("#/definitions/{kind}."));
                out.insert("$ref".to_owned(), target.into());
            }
            ("type", Value::Array(types)) => {
                let types: Vec<&Value> = types.iter().filter(|t| t.as_str() != Some("null")).collect();
                let types = if let [one] = types.as_slice() { (*one).clone() } else { json!(types) };
                out.insert("type".to_owned(), types);
            }
            ("properties", Value::Object(properties)) => {
                let each = properties.iter().map(|(name, value)| (name.clone(), open(converted(value, kind))));
                out.insert("properties".to_owned(), each.collect::<Map<_, _>>().into());
            }
            ("items" | "additionalProperties", Value::Object(_)) => {
                out.insert(key.clone(), open(converted(value, kind)));
            }
            ("anyOf" | "oneOf", Value::Array(all)) => {
                let all = all.iter().filter(|one| one.get("type").and_then(Value::as_str) != Some("null"));
                out.insert(key.clone(), all.map(|one| converted(one, kind)).collect());
            }
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    let mut out = Value::Object(out);
    if document || documents {
        let more = if documents { json!([{ "type": "array", "items": { "type": "string" } }]) } else { json!([{}]) };
        out = alternatives(out, more);
    }
    out
}

/// A schema that also takes a reference. Where it can, it does so without alternatives, for of those an editor only
/// says that none fits.
fn open(mut schema: Value) -> Value {
    let Some(map) = schema.as_object_mut() else { return schema };
    let chosen = ["enum", "const", "oneOf", "anyOf"].iter().any(|key| map.contains_key(*key));
    match (map.get("type").and_then(Value::as_str), chosen) {
        (Some("string"), false) => schema,
        (Some(other), false) => {
            // A pattern holds for texts alone.
            map.insert("type".to_owned(), json!([other, "string"]));
            map.insert("pattern".to_owned(), REFERENCE_PATTERN.into());
            schema
        }
        // What `$ref` names takes references by itself; what stands beside it is not read.
        (None, false) => match (map.remove("$ref"), map.is_empty()) {
            (None, _) => schema,
            (Some(target), true) => json!({ "$ref": target }),
            (Some(target), false) => {
                map.insert("allOf".to_owned(), json!([{ "$ref": target }]));
                schema
            }
        },
        (_, true) => alternatives(schema, json!([{ "$ref": format!("#/definitions/{REFERENCE}") }])),
    }
}

/// A schema beside others, its description and default outside, where editors look.
fn alternatives(mut schema: Value, more: Value) -> Value {
    let mut out = Map::new();
    if let Value::Object(map) = &mut schema {
        for key in ["description", "default"] {
            if let Some(value) = map.remove(key) {
                out.insert(key.to_owned(), value);
            }
        }
    }
    let mut all = vec![schema];
    if let Value::Array(more) = more {
        all.extend(more);
    }
    out.insert("anyOf".to_owned(), all.into());
    out.into()
}
