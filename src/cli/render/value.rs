//! Values as people read them.

use serde_json::Value;

use crate::graph::template;
use crate::plan::After;

use super::style;

/// A value on one line: TOML-like, strings quoted.
pub fn inline(value: &Value) -> String {
    match value {
        Value::Null => "(unset)".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// What a value will be, on one line. Of what is not known yet, the reference it comes from stands for it.
pub fn after(after: &After) -> String {
    match after {
        After::Known { value } => inline(value),
        After::Unknown { template, .. } => unknown(template),
    }
}

/// A template on one line, its references marked.
fn unknown(value: &Value) -> String {
    match value {
        Value::String(text) => match template::parts(text).as_slice() {
            [template::Part::Reference(inner, _)] => style::faint(&format!("‹{inner}›")),
            _ => style::faint(&inline(value)),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(unknown).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", unknown(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => inline(other),
    }
}
