//! The attributes of one resource, as a plan shows them: short ones in columns, long ones line by line.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{style, value};
use crate::cloud::ADDRESS_TAG;
use crate::graph::template::{self, is_unknown};
use crate::plan::{After, Change, Verb};
use crate::secret::Mark;

/// Lines do not grow longer than this where they can be broken.
const WIDTH: usize = 110;
/// Texts longer than this, or of several lines, are shown as line diffs.
const LONG: usize = 100;
/// Names longer than this do not widen the column of names.
const NAME: usize = 40;
/// Old values longer than this do not widen their column.
const BEFORE: usize = 30;
/// Lines of context in line diffs.
const CONTEXT: usize = 3;

/// One attribute, in both of its forms.
struct Row {
    name: String,
    /// What it is; nothing of what is created.
    before: Option<String>,
    after: String,
    notes: String,
    /// Both sides line by line.
    lines: (String, String),
    /// Whether it has to be shown line by line, however short.
    broken: bool,
}

/// Writes what changes, each attribute on a line or more.
pub fn changes(changes: &[Change], verb: Verb, indent: &str, text: &mut String) {
    let mut rows = match verb {
        Verb::Create => created(changes),
        _ => changes.iter().flat_map(parts).map(|change| row(&change, verb)).collect(),
    };
    let column = |rows: &[Row], limit: usize, of: &dyn Fn(&Row) -> usize| {
        rows.iter().filter(|row| !row.broken).map(of).filter(|width| *width <= limit).max().unwrap_or(0)
    };
    let (mut names, mut befores) = (0, 0);
    // What is broken because of its width no longer takes part in the columns.
    for _ in 0..2 {
        names = column(&rows, NAME, &|row| length(&row.name));
        befores = column(&rows, BEFORE, &|row| row.before.as_deref().map_or(0, length));
        for row in &mut rows {
            row.broken |= is_wide(&format!("{indent}{}", row.line(names, befores)));
        }
    }
    for row in &rows {
        if row.broken {
            let _ = writeln!(text, "{indent}{}{}", row.name, row.notes);
            lines(&row.lines.0, &row.lines.1, indent, text);
        } else {
            let _ = writeln!(text, "{indent}{}{}", value::dimmed(&row.line(names, befores)), row.notes);
        }
    }
}

impl Row {
    fn line(&self, names: usize, befores: usize) -> String {
        let Self { name, before, after, .. } = self;
        match before {
            Some(before) => format!("{name:names$}  {before:befores$} → {after}"),
            None => format!("{name:names$}  {after}"),
        }
    }
}

/// A change of a table within a table as the changes of what differs in it: `containers.app.image`.
fn parts(change: &Change) -> Vec<Change> {
    let (Value::Object(before), Value::Object(after)) = (&change.before, literal(&change.after)) else {
        return vec![change.clone()];
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let own = differ.flat_map(|name| {
        let value = after.get(name).cloned().unwrap_or_default();
        let after = match &change.after {
            After::Unknown { unknown_until, .. } if is_unknown(&value) => {
                After::Unknown { unknown_until: unknown_until.clone(), template: value }
            }
            // Of a template, what is known is written as one still.
            After::Unknown { .. } => After::Known { value: template::literal(&value).unwrap_or(value) },
            After::Known { .. } => After::Known { value },
        };
        let before = before.get(name).cloned().unwrap_or_default();
        parts(&Change { path: format!("{}.{name}", change.path), before, after, ..change.clone() })
    });
    own.collect()
}

fn row(change: &Change, verb: Verb) -> Row {
    let broken = is_long(&change.before) || is_long(literal(&change.after));
    Row {
        name: change.path.clone(),
        before: Some(value::inline(&change.before)),
        after: value::after(&change.after),
        notes: notes(change, verb),
        lines: (value_by_line(&change.before), by_line(&change.after)),
        broken,
    }
}

/// What is created: nothing blank, nothing that the tool sets by itself, and the fields of a table together.
fn created(changes: &[Change]) -> Vec<Row> {
    let shown: Vec<&Change> = changes.iter().filter(|c| !is_own_tag(c) && !is_blank(literal(&c.after))).collect();
    let together = |one: &Change, other: &Change| match (one.path.split_once('.'), other.path.split_once('.')) {
        (Some((one, _)), Some((other, _))) => one == other,
        _ => false,
    };
    shown
        .chunk_by(|one, other| together(one, other))
        .flat_map(|group| match group[0].path.split_once('.') {
            Some((table, _)) if !group.iter().any(|change| is_long(literal(&change.after))) => {
                let fields: Vec<String> = group
                    .iter()
                    .map(|c| format!("{} = {}", &c.path[table.len() + 1..], value::after(&c.after)))
                    .collect();
                let lines = (String::new(), fields.join("\n"));
                let after = value::table(fields.into_iter());
                vec![Row { name: table.to_owned(), before: None, after, notes: String::new(), lines, broken: false }]
            }
            _ => group
                .iter()
                .map(|change| {
                    let mut row = Row { before: None, ..row(change, Verb::Create) };
                    row.lines = (String::new(), compact(&row.lines.1));
                    row
                })
                .collect(),
        })
        .collect()
}

/// Tags that the tool sets itself are not worth a line each.
fn is_own_tag(change: &Change) -> bool {
    let prefix = ADDRESS_TAG.split(':').next().unwrap_or_default();
    change.path.strip_prefix("tags.").is_some_and(|tag| tag.split(':').next() == Some(prefix))
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn literal(after: &After) -> &Value {
    match after {
        After::Known { value } => value,
        After::Unknown { template, .. } => template,
    }
}

/// Whether a value is a text that is not for one line.
fn is_long(value: &Value) -> bool {
    Mark::of(value).is_none()
        && value.as_str().is_some_and(|text| text.trim_end().contains('\n') || length(text) > LONG)
}

/// Whether a line is too long where it can be broken.
pub fn is_wide(line: &str) -> bool {
    length(line) > WIDTH
}

/// A value as it is now, line by line.
pub fn value_by_line(value: &Value) -> String {
    by_line(&After::Known { value: value.clone() })
}

/// A value line by line: a text as it is, each item of a list or table on a line of its own.
pub fn by_line(after: &After) -> String {
    match (literal(after), value::items(after)) {
        (Value::Null, _) => String::new(),
        (Value::String(text), _) if Mark::parse(text).is_none() => match after {
            After::Known { .. } => text.clone(),
            After::Unknown { .. } => value::marked(text),
        },
        (_, Some(items)) => items.iter().map(|item| format!("{item}\n")).collect(),
        (_, None) => value::after(after),
    }
}

fn notes(change: &Change, verb: Verb) -> String {
    let mut notes = String::new();
    if change.forces_replacement {
        let _ = write!(notes, "  {}", style::paint(style::ANEW, "forces replacement"));
    }
    if change.drift && verb == Verb::Update {
        let _ = write!(notes, "  {}", style::faint("undoes a change made outside"));
    }
    let is_secret = |value: &Value| Mark::of(value).is_some();
    if is_secret(&change.before) && is_secret(literal(&change.after)) {
        let _ = write!(notes, "  {}", style::faint("another value"));
    }
    notes
}

/// A line diff with a little context.
pub fn lines(before: &str, after: &str, indent: &str, text: &mut String) {
    let diff = TextDiff::from_lines(before, after);
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            let _ = writeln!(text, "{indent}  {}", style::faint("⋮"));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", style::BAD),
                ChangeTag::Insert => ("+", style::GOOD),
                ChangeTag::Equal => (" ", style::FAINT),
            };
            let line = format!("{sign} {}", change.value().trim_end_matches(['\n', '\r']));
            let _ = writeln!(text, "{indent}  {}", style::paint(style, line.trim_end()));
        }
    }
}

/// A JSON document with what fits on a line on one; any other text as it is.
fn compact(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(document @ (Value::Object(_) | Value::Array(_))) => {
            let mut out = String::new();
            json(&document, "", &mut out);
            out
        }
        _ => text.to_owned(),
    }
}

fn json(document: &Value, indent: &str, out: &mut String) {
    let line = json_line(document);
    let deeper = format!("{indent}  ");
    let (open, close, fields): (_, _, Vec<(String, &Value)>) = match document {
        _ if length(&line) + indent.len() <= LONG => return out.push_str(&line),
        Value::Array(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
        Value::Object(map) => ('{', '}', map.iter().map(|(key, item)| (format!("{}: ", quoted(key)), item)).collect()),
        _ => return out.push_str(&line),
    };
    out.push(open);
    for (index, (key, item)) in fields.iter().enumerate() {
        let _ = write!(out, "{}\n{deeper}{key}", if index > 0 { "," } else { "" });
        json(item, &deeper, out);
    }
    let _ = write!(out, "\n{indent}{close}");
}

fn json_line(document: &Value) -> String {
    match document {
        Value::Array(items) => format!("[{}]", items.iter().map(json_line).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            value::table(map.iter().map(|(key, item)| format!("{}: {}", quoted(key), json_line(item))))
        }
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// How many characters a text takes.
fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(path: &str, before: Value, value: Value) -> Change {
        let after = After::Known { value };
        Change { path: path.into(), before, after, forces_replacement: false, drift: false }
    }

    fn shown(all: &[Change], verb: Verb) -> String {
        let mut text = String::new();
        changes(all, verb, "  ", &mut text);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn what_is_created_is_compact() {
        let ids: Vec<String> = (0..6).map(|n| format!("subnet-0123456789abcdef{n}")).collect();
        let unknown = After::Unknown { unknown_until: "vpc.main.id".into(), template: json!("${vpc.main.id}") };
        let document = "{\n  \"Statement\": [],\n  \"Version\": \"2012-10-17\"\n}";
        let all = [
            change("nothing", Value::Null, json!([])),
            change("policy", Value::Null, json!(document)),
            change("subnets", Value::Null, json!(ids)),
            change("tags.Name", Value::Null, json!("web")),
            change("tags.Team", Value::Null, json!("platform")),
            Change { after: unknown, ..change("vpc", Value::Null, Value::Null) },
        ];
        insta::assert_snapshot!(shown(&all, Verb::Create), @r#"
          policy
            + { "Statement": [], "Version": "2012-10-17" }
          subnets
            + "subnet-0123456789abcdef0"
            + "subnet-0123456789abcdef1"
            + "subnet-0123456789abcdef2"
            + "subnet-0123456789abcdef3"
            + "subnet-0123456789abcdef4"
            + "subnet-0123456789abcdef5"
          tags  { Name = "web", Team = "platform" }
          vpc   ‹vpc.main.id›
        "#);
    }

    #[test]
    fn what_is_not_known_yet_is_named_in_long_values_too() {
        let unknown = |path: &str, before: Value, template: Value| Change {
            after: After::Unknown { unknown_until: "vpc.main.id".into(), template },
            ..change(path, before, Value::Null)
        };
        let script = "#!/bin/sh\njoin ${cluster.main.name}\necho $${HOME}\n";
        let containers =
            |image: &str, boot: &str| json!({ "app": { "image": image, "boot": boot, "free": "$${X}\n1" } });
        let all = [
            unknown("user_data", json!("#!/bin/sh\njoin other\necho ${HOME}\n"), json!(script)),
            unknown(
                "containers",
                json!({ "app": { "image": "nginx:1", "boot": "one\ntwo\n", "free": "${X}\n2" } }),
                containers("${repository.app.url}:v1", "one\n${vpc.main.id}\n"),
            ),
        ];
        insta::assert_snapshot!(format!("{}\n{}", shown(&all, Verb::Update), shown(&all, Verb::Create)), @r#"
          user_data
              #!/bin/sh
            - join other
            + join ‹cluster.main.name›
              echo ${HOME}
          containers.app.boot
              one
            - two
            + ‹vpc.main.id›
          containers.app.free
              ${X}
            - 2
            + 1
          containers.app.image  "nginx:1" → "‹repository.app.url›:v1"

          user_data
            + #!/bin/sh
            + join ‹cluster.main.name›
            + echo ${HOME}
          containers  { app = { boot = "one\n‹vpc.main.id›\n", free = "${X}\n1", image = "‹repository.app.url›:v1" } }
        "#);
    }

    #[test]
    fn what_changes_is_aligned_and_long_values_are_diffs() {
        let ids = |count| (0..count).map(|n| json!(format!("subnet-0123456789abcdef{n}"))).collect::<Value>();
        let all = [
            Change { forces_replacement: true, ..change("instance_type", json!("t3.small"), json!("t3.medium")) },
            change("max", json!(3), json!(4)),
            change("subnets", ids(3), ids(4)),
            change("tags.Team", json!("a"), Value::Null),
            change("user_data", json!("#!/bin/sh\ntrue\n"), json!("#!/bin/sh\nfalse\n")),
        ];
        insta::assert_snapshot!(shown(&all, Verb::Update), @r##"
          instance_type  "t3.small" → "t3.medium"  forces replacement
          max            3          → 4
          subnets
              "subnet-0123456789abcdef0"
              "subnet-0123456789abcdef1"
              "subnet-0123456789abcdef2"
            + "subnet-0123456789abcdef3"
          tags.Team      "a"        → (unset)
          user_data
              #!/bin/sh
            - true
            + false
        "##);
    }
}
