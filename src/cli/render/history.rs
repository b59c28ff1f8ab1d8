//! The history of a state, as people read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::{plural, style};
use crate::graph::Attributes;
use crate::plan::{After, Change as AttributeChange, Verb};
use crate::state::{Change, End, Run, State, Unfinished, What};

/// The runs, the newest first, a line each.
pub fn runs(runs: &[(u64, Run)], unfinished: Option<&Unfinished>) -> String {
    let (mut runs, mut last) = (runs.to_vec(), None);
    if let Some(unfinished) = unfinished {
        runs.push((unfinished.after.serial, unfinished.run.clone()));
        last = Some(unfinished);
    }
    let runs = &runs;
    let width = |of: &dyn Fn(&(u64, Run)) -> usize| runs.iter().map(of).max().unwrap_or(0);
    let numbers = width(&|(number, _)| number.to_string().len());
    let who = width(&|(_, run)| run.who.chars().count());
    let verbs = width(&|(_, run)| run.verb.chars().count());
    let mut text = String::new();
    for (number, run) in runs.iter().rev() {
        let number = style::strong(&format!("{number:numbers$}"));
        let Run { who: name, verb, began, .. } = run;
        let end = last.take().map_or_else(|| end(run.end), unfinished_end);
        let _ = writeln!(text, "{number}  {began}  {name:who$}  {verb:verbs$}  {}; {end}", counts(run));
    }
    text
}

/// How a run stands of which no snapshot tells yet.
fn unfinished_end(unfinished: &Unfinished) -> String {
    match (&unfinished.holder, unfinished.run.end) {
        (Some(_), _) => style::paint(style::CHANGED, "not ended yet"),
        (None, End::Died) => format!("{}; the next run settles what it began", style::paint(style::BAD, "died")),
        (None, ended) => end(ended),
    }
}

/// A run of which no snapshot tells yet, and what it changed so far.
pub fn unfinished(unfinished: &Unfinished) -> String {
    let Unfinished { run, before, after, .. } = unfinished;
    told(after.serial, run, Some(before), after, &unfinished_end(unfinished))
}

/// One run: who, when, how it ended, and what it changed, attribute by attribute where the state before it is still there.
pub fn run(number: u64, run: &Run, before: Option<&State>, after: &State) -> String {
    told(number, run, before, after, &end(run.end))
}

fn told(number: u64, run: &Run, before: Option<&State>, after: &State, end: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", style::strong(&format!("Run {number}:")), style::strong(&run.verb));
    let _ = writeln!(text, "  by     {}", run.who);
    let _ = writeln!(text, "  began  {}", run.began);
    if let Some(ended) = &run.ended {
        let _ = writeln!(text, "  ended  {ended}");
    }
    let _ = writeln!(text, "  result {end}\n");
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
            let changes = attributes(&with_undone(before, &change.undone), &after, &change.undone);
            super::changes::changes(&changes, Verb::Update, "      ", &mut text);
        }
    }
    if !changes.is_empty() {
        text.push('\n');
    }
    text
}

/// What the state knew, with what had been changed outside of the tool.
fn with_undone(mut before: Attributes, undone: &Attributes) -> Attributes {
    fn put(into: &mut Attributes, name: &str, value: &Value) {
        match value {
            Value::Null => drop(into.remove(name)),
            value => drop(into.insert(name.to_owned(), value.clone())),
        }
    }
    for (name, value) in undone {
        match (before.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(seen)) => {
                seen.iter().for_each(|(key, value)| put(known, key, value));
            }
            _ => put(&mut before, name, value),
        }
    }
    before
}

/// What is different between attributes; of tables, each key by itself.
fn attributes(before: &Attributes, after: &Attributes, undone: &Attributes) -> Vec<AttributeChange> {
    let mut out = Vec::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let unset = Value::Null;
    let mut differ = |path: String, before: &Value, after: &Value| {
        if before != after {
            let after = After::Known { value: after.clone() };
            let (name, key) = path.split_once('.').map_or((path.as_str(), None), |(name, key)| (name, Some(key)));
            let drift = undone.get(name).is_some_and(|undone| match (undone, key) {
                (Value::Object(keys), Some(key)) => keys.contains_key(key),
                _ => true,
            });
            out.push(AttributeChange { path, before: before.clone(), after, forces_replacement: false, drift });
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
