//! A plan as people read it.

use std::fmt::Write as _;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{plural, style, value};
use crate::cloud::ADDRESS_TAG;
use crate::plan::{Action, After, Change, Plan, Summary, Verb};

/// Texts longer than this, or of several lines, are shown as line diffs.
const LONG: usize = 100;
/// Lines of context in line diffs.
const CONTEXT: usize = 3;

/// A whole plan.
pub fn plan(plan: &Plan) -> String {
    let mut text = drift(plan);
    for action in plan.changing() {
        one(action, &mut text);
    }
    outputs(plan, &mut text);
    if plan.actions.iter().any(|a| a.changes.iter().any(|c| matches!(c.after, After::Unknown { .. }))) {
        let legend = "‹kind.name.attribute› is known once that resource is applied";
        let _ = writeln!(text, "{}", style::faint(legend));
    }
    text.push_str(&summary(plan));
    text
}

/// The last line: how many of each.
pub fn summary(plan: &Plan) -> String {
    let Summary { create, update, replace, delete, forget, no_change, .. } = plan.summary;
    if !plan.has_changes() {
        return format!(
            "{} ({}).\n",
            style::good("No changes"),
            plural(no_change, "resource is as it should be", "resources are as they should be")
        );
    }
    let counts = [
        (create, "to create", style::GOOD),
        (update, "to update", style::CHANGED),
        (replace, "to replace", style::ANEW),
        (delete, "to delete", style::BAD),
        (forget, "to forget", style::FAINT),
    ];
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _, _)| *count > 0)
        .map(|(count, what, style)| style::paint(*style, &format!("{count} {what}")))
        .collect();
    let told = if told.is_empty() { "only outputs change".to_owned() } else { told.join(", ") };
    format!("{}: {told}; {no_change} as they should be.\n", style::strong("Plan"))
}

/// What somebody changed behind the tool's back, apart from what the stack changes.
pub fn drift(plan: &Plan) -> String {
    let mut text = String::new();
    if plan.drift.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{}", style::strong("Changed outside of this tool since the last apply:"));
    for drift in &plan.drift {
        if drift.gone {
            let _ = writeln!(text, "  {} {}  {}", style::bad("!"), drift.address, style::paint(style::BAD, "is gone"));
            continue;
        }
        let _ = writeln!(text, "  {} {}", style::paint(style::CHANGED, "!"), drift.address);
        changes(&drift.changes, Verb::NoChange, "      ", &mut text);
    }
    text.push('\n');
    text
}

fn one(action: &Action, text: &mut String) {
    let (sign, style) = match action.action {
        Verb::Create => ("+", style::GOOD),
        Verb::Update => ("~", style::CHANGED),
        Verb::Replace if action.create_first => ("+/-", style::ANEW),
        Verb::Replace => ("-/+", style::ANEW),
        Verb::Delete => ("-", style::BAD),
        Verb::Forget => (".", style::FAINT),
        Verb::NoChange | Verb::Read => (" ", style::FAINT),
    };
    let head = format!("{sign:3} {}", action.address);
    let id = action.id.as_deref().filter(|_| action.action != Verb::Create);
    let mut tail = Vec::new();
    tail.extend(id.map(|id| id.to_owned()));
    if !matches!(
        (action.action, action.reason.as_str()),
        (Verb::Create, "not there yet") | (Verb::Update, "the stack changed")
    ) {
        tail.push(action.reason.clone());
    }
    let _ = writeln!(text, "{}  {}", style::paint(style.bold(), &head), style::faint(&tail.join(" · ")));
    match action.action {
        Verb::Delete | Verb::Forget => {}
        verb => changes(&action.changes, verb, "      ", text),
    }
    text.push('\n');
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

fn changes(changes: &[Change], verb: Verb, indent: &str, text: &mut String) {
    let creating = verb == Verb::Create;
    let shown: Vec<&Change> = changes.iter().filter(|change| !(creating && is_own_tag(change))).collect();
    let width = shown.iter().map(|change| change.path.chars().count()).max().unwrap_or(0).min(32);
    for change in shown {
        let path = &change.path;
        if let Some((before, after)) = long_texts(change) {
            let notes = notes(change, verb);
            let _ = writeln!(text, "{indent}{path}{notes}");
            lines(before, after, indent, text);
            continue;
        }
        let after = value::after(&change.after);
        let moves = if is_blank(&change.before) && creating {
            if matches!(&change.after, After::Known { value } if is_blank(value)) {
                continue;
            }
            after
        } else {
            format!("{} → {after}", value::inline(&change.before))
        };
        let _ = writeln!(text, "{indent}{path:width$}  {moves}{}", notes(change, verb));
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
    notes
}

/// Both sides of a change of text that is too long for a line.
fn long_texts(change: &Change) -> Option<(&str, &str)> {
    let after = match &change.after {
        After::Known { value } => value,
        After::Unknown { template, .. } => template,
    };
    let (before, after) = match (&change.before, after) {
        (Value::String(before), Value::String(after)) => (before.as_str(), after.as_str()),
        (Value::Null, Value::String(after)) => ("", after.as_str()),
        (Value::String(before), Value::Null) => (before.as_str(), ""),
        _ => return None,
    };
    [before, after]
        .iter()
        .any(|side| side.trim_end().contains('\n') || side.chars().count() > LONG)
        .then_some((before, after))
}

/// A line diff with a little context.
fn lines(before: &str, after: &str, indent: &str, text: &mut String) {
    let diff = TextDiff::from_lines(before, after);
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            let _ = writeln!(text, "{indent}  {}", style::faint("⋮"));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches(['\n', '\r']);
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", style::BAD),
                ChangeTag::Insert => ("+", style::GOOD),
                ChangeTag::Equal => (" ", style::FAINT),
            };
            let _ = writeln!(text, "{indent}  {}", style::paint(style, &format!("{sign} {line}")));
        }
    }
}

fn outputs(plan: &Plan, text: &mut String) {
    if plan.output_changes.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", style::strong("Outputs:"));
    let width = plan.output_changes.keys().map(String::len).max().unwrap_or(0);
    for (name, change) in &plan.output_changes {
        let (sign, style) = match (&change.before, &change.after) {
            (Value::Null, _) => ("+", style::GOOD),
            (_, After::Known { value: Value::Null }) => ("-", style::BAD),
            _ => ("~", style::CHANGED),
        };
        let after = value::after(&change.after);
        let moves = match (&change.before, &change.after) {
            (Value::Null, _) => after,
            (before, After::Known { value: Value::Null }) => value::inline(before),
            (before, _) => format!("{} → {after}", value::inline(before)),
        };
        let _ = writeln!(text, "  {} {name:width$} = {moves}", style::paint(style, sign));
    }
    text.push('\n');
}
