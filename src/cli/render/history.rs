//! The history of a state, as people read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::{plural, style};
use crate::graph::Attributes;
use crate::plan::{After, Change as AttributeChange, Verb};
use crate::state::{Change, End, Run, State, What};

/// The runs, the newest first, a line each.
pub fn runs(runs: &[(u64, Run)]) -> String {
    let width = |of: &dyn Fn(&(u64, Run)) -> usize| runs.iter().map(of).max().unwrap_or(0);
    let numbers = width(&|(number, _)| number.to_string().len());
    let who = width(&|(_, run)| run.who.chars().count());
    let verbs = width(&|(_, run)| run.verb.chars().count());
    let mut text = String::new();
    for (number, run) in runs.iter().rev() {
        let number = style::strong(&format!("{number:numbers$}"));
        let Run { who: name, verb, began, .. } = run;
        let _ = writeln!(text, "{number}  {began}  {name:who$}  {verb:verbs$}  {}; {}", counts(run), end(run.end));
    }
    text
}

/// One run: who, when, how it ended, and what it changed, attribute by attribute where the state before it is still there.
pub fn run(number: u64, run: &Run, before: Option<&State>, after: &State) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", style::strong(&format!("Run {number}:")), style::strong(&run.verb));
    let _ = writeln!(text, "  by     {}", run.who);
    let _ = writeln!(text, "  began  {}", run.began);
    if let Some(ended) = &run.ended {
        let _ = writeln!(text, "  ended  {ended}");
    }
    let _ = writeln!(text, "  result {}\n", end(run.end));
    text.push_str(&changes(&run.changes, before.map(|before| (before, after))));
    let _ = writeln!(text, "{}.", counts(run));
    text
}

/// What became of resources, a line each; with the states before and after, what changed in them, too.
pub fn changes(changes: &[Change], states: Option<(&State, &State)>) -> String {
    let width = changes.iter().map(|change| change.address.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for change in changes {
        let (sign, style, _) = words(change.what);
        let _ = write!(text, "  {} {:width$}  {}", style::paint(style, sign), change.address, style::faint(&change.id));
        if let Some(from) = &change.from {
            let _ = write!(text, "  was {from}");
        }
        text.push('\n');
        let of = |state: &State| state.resources.get(&change.address).map(|entry| entry.attributes.clone());
        if let (Some((before, after)), What::Changed | What::Replaced) = (states, change.what)
            && let (Some(before), Some(after)) = (of(before), of(after))
        {
            super::changes::changes(&attributes(&before, &after), Verb::Update, "      ", &mut text);
        }
    }
    if !changes.is_empty() {
        text.push('\n');
    }
    text
}

/// What is different between attributes; of tables, each key by itself.
fn attributes(before: &Attributes, after: &Attributes) -> Vec<AttributeChange> {
    let mut out = Vec::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let unset = Value::Null;
    let mut differ = |path: String, before: &Value, after: &Value| {
        if before != after {
            let after = After::Known { value: after.clone() };
            out.push(AttributeChange { path, before: before.clone(), after, forces_replacement: false, drift: false });
        }
    };
    for name in names {
        match (before.get(name).unwrap_or(&unset), after.get(name).unwrap_or(&unset)) {
            (Value::Object(before), Value::Object(after)) => {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for key in keys {
                    let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    differ(format!("{name}.{key}"), &of(before), &of(after));
                }
            }
            (before, after) => differ(name.clone(), before, after),
        }
    }
    out
}

/// How many of each.
fn counts(run: &Run) -> String {
    let all = [What::Added, What::Changed, What::Replaced, What::Moved, What::Removed];
    let told: Vec<String> = all
        .into_iter()
        .map(|what| (run.changes.iter().filter(|change| change.what == what).count(), words(what).2))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if told.is_empty() { "no resource different".to_owned() } else { told.join(", ") }
}

fn words(what: What) -> (&'static str, anstyle::Style, &'static str) {
    match what {
        What::Added => ("+", style::GOOD, "added"),
        What::Changed => ("~", style::CHANGED, "changed"),
        What::Replaced => ("±", style::ANEW, "replaced"),
        What::Moved => (">", style::CHANGED, "moved"),
        What::Removed => ("-", style::BAD, "removed"),
    }
}

fn end(end: End) -> String {
    match end {
        End::Done => style::paint(style::GOOD, "done"),
        End::Incomplete { failed, left } => {
            let steps = plural(failed, "step failed", "steps failed");
            style::paint(style::BAD, &format!("not done: {steps}, {left} left"))
        }
        End::Died => style::paint(style::BAD, "died"),
    }
}
