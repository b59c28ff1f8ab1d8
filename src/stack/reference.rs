//! The reference of the language as Markdown, from the same types that check it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::language::{BlockKind, Language, What, top_schema};
use crate::graph::{Identity, KindSpec};

/// Every kind and construct with its fields, their types, defaults and meanings, and what references to it may name.
pub fn of(language: &Language<'_>) -> String {
    let mut text = HEAD.to_owned();
    top(&mut text);
    for constructs in [true, false] {
        let _ = writeln!(text, "\n## {}", if constructs { "Constructs" } else { "Kinds" });
        for (name, block) in language.blocks() {
            if matches!(block.what, What::Construct(_)) == constructs {
                one(name, block, &mut text);
            }
        }
    }
    found_again(language, &mut text);
    text
}

/// What stands in a stack file beside its blocks.
fn top(text: &mut String) {
    let schema = top_schema();
    text.push_str("\n## A stack\n\n| field | type | default | |\n|---|---|---|---|\n");
    let mut rows = |prefix: &str, of: &Value| {
        let required = of.get("required").and_then(Value::as_array);
        for (name, field) in of.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let default = match field.get("default") {
                Some(default) => format!("`{default}`"),
                None if required.is_some_and(|all| all.iter().any(|one| one == name)) => String::new(),
                None => "*optional*".to_owned(),
            };
            let (of, meaning) = (type_of(field, &schema), cell(&paragraph(field)));
            let _ = writeln!(text, "| `{prefix}{name}` | {of} | {default} | {meaning} |");
        }
    };
    rows("", &schema);
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        rows(&format!("{name}."), field.get("items").unwrap_or(field));
    }
}

/// How the resources of each kind are found when what was known of them is lost.
fn found_again(language: &Language<'_>, text: &mut String) {
    text.push_str(FOUND_AGAIN);
    for (name, block) in language.blocks() {
        let What::Kind(spec) = block.what else { continue };
        let answer = match spec.identity {
            Identity::ClientToken => "asked again with its client token",
            Identity::TagOnCreate => "the tag `cofferdam:token`, which its create call sets",
            Identity::UniqueName if spec.taggable => "its name, with the stack's tags",
            Identity::UniqueName if !spec.unique_by.is_empty() => "what it is for: there is one",
            Identity::UniqueName => "its name",
            Identity::Natural => "asked again: it is a fact about others",
            Identity::Lookup => "nothing is made",
        };
        let state = match (spec.identity, spec.taggable) {
            (Identity::Lookup, _) => "looked up",
            (Identity::UniqueName, true) => "the stack's tags, else its name",
            (_, true) => "the stack's tags",
            (Identity::UniqueName, false) if spec.unique_by.is_empty() => "its name in the stack",
            (_, false) => "its attributes in the stack",
        };
        let _ = writeln!(text, "| `{name}` | {answer} | {state} |");
    }
}

const FOUND_AGAIN: &str = "
## Found again

What tells a resource from others when its create call got no answer, and when its stack's state is lost (`cofferdam recover`).
The stack's tags are `cofferdam:stack`, `cofferdam:env` and `cofferdam:address`.

| kind | the answer is lost | the state is lost |
|---|---|---|
";

const HEAD: &str = "\
# Reference

Every block of the language, made from the types that check it (`cofferdam schema --markdown`). Fields without a default are
required, but for those marked *optional*. A field marked ⟳ cannot be changed in place: changing it makes the resource anew.
Any block also takes `depends_on` (a list of addresses) and `protect` (true or false), and any kind `existing` (the id of
something that exists: it is read, and never changed).
";

fn one(name: &str, block: &BlockKind<'_>, text: &mut String) {
    let schema = &block.schema;
    let summary = match block.what {
        What::Construct(construct) => construct.summary().to_owned(),
        What::Kind(_) => paragraph(schema),
    };
    let _ = writeln!(text, "\n### `{name}`\n\n{}", sentence(&summary));
    let spec = match block.what {
        What::Kind(spec) => Some(spec),
        What::Construct(_) => None,
    };
    fields(schema, schema, spec, text);
    if let Some(spec) = spec {
        let outputs: Vec<String> =
            ["id"].iter().chain(spec.outputs.iter().filter(|o| **o != "id")).map(|o| format!("`{o}`")).collect();
        let _ = writeln!(text, "\nReferences may also name: {}.", outputs.join(", "));
    }
    let definitions = schema.get("$defs").and_then(Value::as_object).into_iter().flatten();
    for (name, definition) in definitions.filter(|(_, definition)| definition.get("properties").is_some()) {
        let _ = writeln!(text, "\n**{name}**: {}", paragraph(definition));
        fields(definition, schema, None, text);
    }
}

fn fields(schema: &Value, root: &Value, spec: Option<&KindSpec>, text: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|p| !p.is_empty()) else {
        return;
    };
    let required = |name: &str| {
        schema.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == name))
    };
    text.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
    for (name, field) in properties {
        let default = match field.get("default") {
            Some(Value::Null) | None if required(name) => String::new(),
            Some(Value::Null) | None => "*optional*".to_owned(),
            // The kinds' names: filled in from the address.
            Some(Value::String(empty)) if empty.is_empty() => "*optional*".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let secret = if spec.is_some_and(|spec| spec.secrets.contains(&name.as_str())) { " (a secret)" } else { "" };
        let anew = if spec.is_some_and(|spec| spec.replace_on.contains(&name.as_str())) { " ⟳" } else { "" };
        let _ = writeln!(
            text,
            "| `{name}`{anew} | {}{secret} | {default} | {} |",
            type_of(field, root),
            cell(&paragraph(field))
        );
    }
}

/// A description as one paragraph.
fn paragraph(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A summary as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

/// Text that fits into a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A type in a word or two: `text`, `list of text`, `"a" or "b"`, a definition's name.
fn type_of(schema: &Value, root: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return definition(reference, root);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return alternatives(values.iter().map(|value| format!("`{value}`")));
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(key).and_then(Value::as_array) {
            let options = options.iter().filter(|option| option.get("type") != Some(&Value::from("null")));
            return alternatives(options.map(|option| type_of(option, root)));
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) => named(name, schema, root),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            alternatives(names.map(|name| named(name, schema, root)))
        }
        _ => "any value".to_owned(),
    }
}

fn named(name: &str, schema: &Value, root: &Value) -> String {
    match name {
        "string" => "text".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", type_of(items, root)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties") {
            Some(Value::Object(values)) => format!("table of {}", type_of(&Value::Object(Map::clone(values)), root)),
            _ => "table".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// Definitions that are tables are told below; others where they are used.
fn definition(reference: &str, root: &Value) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match root.get("$defs").and_then(|all| all.get(name)) {
        Some(found) if found.get("properties").is_none() => type_of(found, root),
        _ => format!("**{name}**"),
    }
}

fn alternatives(options: impl Iterator<Item = String>) -> String {
    let mut told: Vec<String> = Vec::new();
    for option in options {
        if !told.contains(&option) {
            told.push(option);
        }
    }
    told.join(" or ")
}
