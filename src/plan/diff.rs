//! Differences between attributes: desired, in the state, and observed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, After, Change};
use crate::graph::{Attributes, KindSpec, template};
use crate::state::Entry;

/// Whether a desired value means this literal one.
pub fn same(desired: &Value, literal: &Value) -> bool {
    match (desired, literal) {
        (Value::String(a), Value::String(b)) if !a.contains("${") => a == b,
        (Value::String(_), _) => template::literal(desired).is_some_and(|value| value == *literal),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => desired == literal,
    }
}

/// Whether a value says no more than an unset attribute does.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The attributes as they are now: the state's, overlaid by what the cloud returned. Of tags, only those that the stack
/// has or had: others are somebody else's.
pub fn current(spec: &KindSpec, state: &Attributes, observed: Option<&Attributes>, desired: &Attributes) -> Attributes {
    let mut out = state.clone();
    for (name, value) in observed.into_iter().flatten() {
        if spec.is_write_only(name) {
            continue;
        }
        let value = match (name.as_str(), value) {
            ("tags", Value::Object(tags)) if spec.taggable => {
                let ours = |key: &String| {
                    let has = |attributes: &Attributes| attributes.get("tags").is_some_and(|t| t.get(key).is_some());
                    has(state) || has(desired)
                };
                tags.iter().filter(|(key, _)| ours(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    out
}

/// Counts what an update did not bring to its end as not done, where the cloud already says what the stack says: the same
/// change is then planned once more. Gives the resource as it was before that update, or nothing where none is left over.
pub fn again(spec: &KindSpec, entry: &Entry, action: &mut Action) -> Option<Entry> {
    if entry.changing.is_empty() {
        return None;
    }
    let mut was = Entry { changing: Attributes::new(), ..entry.clone() };
    for (name, before) in &entry.changing {
        let (desired, now) = (action.attributes.get(name), action.current.get(name));
        let is_done = match (desired, now) {
            (Some(desired), Some(now)) => same(desired, now),
            (Some(desired), None) => is_blank(desired),
            (None, now) => now.is_none_or(is_blank),
        };
        let goes_back = desired.is_some_and(|desired| same(desired, before)) || (desired.is_none() && is_blank(before));
        if goes_back || spec.replace_on.contains(&name.as_str()) {
            continue;
        }
        // What has not taken hold yet is no less this tool's doing.
        let is_wanted = match (desired, entry.attributes.get(name)) {
            (Some(desired), Some(known)) => same(desired, known),
            (desired, known) => desired.is_none() && known.is_none(),
        };
        if is_done || is_wanted {
            was.changing.insert(name.clone(), before.clone());
        }
        if !is_done {
            continue;
        }
        for attributes in [&mut was.attributes, &mut action.current] {
            match before {
                Value::Null => drop(attributes.remove(name)),
                before => drop(attributes.insert(name.clone(), before.clone())),
            }
        }
    }
    Some(was)
}

/// Whether an attribute that the cloud returned says what the state says, or is none of ours.
pub fn is_as_known(spec: &KindSpec, entry: &Entry, name: &str, observed: &Value) -> bool {
    if spec.is_write_only(name) {
        return true;
    }
    match (name, entry.attributes.get(name), observed) {
        ("tags", Some(Value::Object(ours)), Value::Object(tags)) if spec.taggable => {
            ours.iter().all(|(key, value)| tags.get(key) == Some(value))
        }
        (_, Some(known), _) => known == observed,
        (_, None, _) => true,
    }
}

/// What changes from `current` to `desired`. `state` tells intended change from drift: where desired and state agree, only
/// the cloud has moved.
pub fn changes(spec: &KindSpec, desired: &Attributes, state: Option<&Attributes>, current: &Attributes) -> Vec<Change> {
    let mut out = Vec::new();
    for (name, value) in desired {
        let before = current.get(name);
        if before.is_some_and(|before| same(value, before)) || (before.is_none() && is_blank(value)) {
            continue;
        }
        let in_state = state.and_then(|state| state.get(name));
        push(spec, name, state.is_some(), [Some(value), before, in_state], &mut out);
    }
    for (name, in_state) in state.into_iter().flatten() {
        // What the stack no longer says, and said before. What it never said is not ours.
        if desired.contains_key(name) || is_blank(in_state) {
            continue;
        }
        let before = current.get(name).unwrap_or(in_state);
        if !is_blank(before) {
            push(spec, name, true, [None, Some(before), Some(in_state)], &mut out);
        }
    }
    out
}

fn push(
    spec: &KindSpec,
    name: &str,
    exists: bool,
    [desired, before, in_state]: [Option<&Value>; 3],
    out: &mut Vec<Change>,
) {
    let forces_replacement = exists && spec.replace_on.contains(&name);
    let mut change = |path: String, desired: Option<&Value>, before: Option<&Value>, in_state: Option<&Value>| {
        let drift = match (desired, in_state) {
            (Some(desired), Some(in_state)) => same(desired, in_state),
            _ => false,
        };
        let before = before.cloned().unwrap_or(Value::Null);
        out.push(Change { path, before, after: after(desired), forces_replacement, drift });
    };
    // Maps are told key by key, but for those that hold structures.
    match (desired, before) {
        (Some(Value::Object(desired)), None | Some(Value::Object(_))) if desired.values().all(|v| !v.is_object()) => {
            let empty = Attributes::new();
            let before = before.and_then(Value::as_object).unwrap_or(&empty);
            let in_state = in_state.and_then(Value::as_object);
            let keys: BTreeSet<&String> = desired.keys().chain(before.keys()).collect();
            for key in keys {
                let (want, have) = (desired.get(key), before.get(key));
                if let (Some(want), Some(have)) = (want, have)
                    && same(want, have)
                {
                    continue;
                }
                change(format!("{name}.{key}"), want, have, in_state.and_then(|map| map.get(key)));
            }
        }
        _ => change(name.to_owned(), desired, before, in_state),
    }
}

/// What a desired value says about the future.
pub fn after(desired: Option<&Value>) -> After {
    let Some(desired) = desired else { return After::Known { value: Value::Null } };
    match template::literal(desired) {
        Some(value) => After::Known { value },
        None => After::Unknown {
            unknown_until: template::first_reference(desired).map(|r| r.to_string()).unwrap_or_default(),
            template: desired.clone(),
        },
    }
}

/// What the cloud says differently from the state: `before` is the state's value.
pub fn drift(spec: &KindSpec, state: &Attributes, current: &Attributes) -> Vec<Change> {
    let as_desired = |attributes: &Attributes| -> Attributes {
        attributes.iter().map(|(name, value)| (name.clone(), template::escape_value(value))).collect()
    };
    let mut moved: Vec<Change> = changes(spec, &as_desired(current), Some(state), state);
    // What the state never held is no drift: nobody asked for it.
    moved.retain(|change| state.contains_key(change.path.split('.').next().unwrap_or_default()));
    for change in &mut moved {
        change.drift = true;
        change.forces_replacement = false;
    }
    moved
}
