//! Values as people read them: TOML-like, on one line where they fit, and what is not known yet as the reference that it
//! comes from, in ‹ ›.

use serde_json::Value;

use super::style;
use crate::graph::template;
use crate::plan::After;
use crate::secret::Mark;

/// A value on one line.
pub fn inline(value: &Value) -> String {
    render(value, false)
}

/// What a value will be, on one line.
pub fn after(after: &After) -> String {
    match after {
        After::Known { value } => render(value, false),
        After::Unknown { template, .. } => render(template, true),
    }
}

/// The items of a list or a table, a line each; `None` of anything else.
pub fn items(after: &After) -> Option<Vec<String>> {
    let (value, is_template) = match after {
        After::Known { value } => (value, false),
        After::Unknown { template, .. } => (template, true),
    };
    match value {
        Value::Array(items) => Some(items.iter().map(|item| render(item, is_template)).collect()),
        Value::Object(map) => Some(map.iter().map(|(key, item)| field(key, item, is_template)).collect()),
        _ => None,
    }
}

/// The references of a line dimmed.
pub fn dimmed(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, reference, after)) = split(rest) {
        text.push_str(before);
        text.push_str(&style::faint(reference));
        rest = after;
    }
    text + rest
}

/// A line as what stands before its first reference, that reference, and what follows.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let from = line.find('‹')?;
    let to = from + line[from..].find('›')? + '›'.len_utf8();
    Some((&line[..from], &line[from..to], &line[to..]))
}

fn render(value: &Value, is_template: bool) -> String {
    match value {
        Value::Null => "(unset)".to_owned(),
        Value::String(text) if Mark::parse(text).is_some() => "(secret)".to_owned(),
        Value::String(text) if is_template => template_text(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| render(item, is_template)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => table(map.iter().map(|(key, item)| field(key, item, is_template))),
        other => other.to_string(),
    }
}

/// Fields as a table on one line.
pub fn table(fields: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

fn field(key: &str, value: &Value, is_template: bool) -> String {
    format!("{key} = {}", render(value, is_template))
}

fn template_text(text: &str) -> String {
    match template::parts(text).as_slice() {
        [template::Part::Reference(..)] => marked(text),
        _ => Value::String(marked(text)).to_string(),
    }
}

/// A template with its references in ‹ ›.
pub fn marked(text: &str) -> String {
    let parts = template::parts(text).into_iter().map(|part| match part {
        template::Part::Text(text) => text.to_owned(),
        template::Part::Reference(inner, _) => format!("‹{inner}›"),
        template::Part::Unclosed(at) => text[at..].to_owned(),
    });
    parts.collect()
}
