//! A rehearsal, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{duration, plural, step_words, style};
use crate::cli::rehearse::seconds;
use crate::graph::Scope;
use crate::simulated::{Rehearsal, Rehearsed};

/// The order, the critical path, and how long it takes. `range` is from the quickest to the slowest of `times` rehearsals.
pub fn text(rehearsal: &Rehearsal, range: (Duration, Duration), times: u16) -> String {
    let mut text = String::new();
    if rehearsal.steps.is_empty() {
        return "Nothing to do: the plan has no changes.\n".into();
    }
    let _ = writeln!(text, "Order (when it begins, how long it takes; ● is on the critical path):\n");
    for (index, step) in rehearsal.steps.iter().enumerate() {
        line(&mut text, step, rehearsal.critical.contains(&index));
    }
    let _ = writeln!(text, "\nCritical path:\n");
    for index in &rehearsal.critical {
        if let Some(step) = rehearsal.steps.get(*index) {
            line(&mut text, step, true);
        }
    }
    let whole = duration(rehearsal.report.elapsed);
    let _ = write!(text, "\nExpected duration: {}", style::strong(&format!("about {whole}")));
    if times > 1 {
        let (least, most) = (duration(range.0), duration(range.1));
        let _ = write!(text, ", between {least} and {most} in {times} rehearsals");
    }
    let _ = writeln!(text, "; {}.", plural(rehearsal.requests as usize, "request", "requests"));
    text
}

fn line(text: &mut String, step: &Rehearsed, is_critical: bool) {
    let (doing, _) = step_words(step.step);
    let mark = if is_critical { style::paint(style::CHANGED, "●") } else { " ".into() };
    let (start, took) = (duration(step.start), duration(step.took));
    let _ = writeln!(text, "  {mark} {start:>8} {took:>8}  {doing:<9} {}", step.address);
}

/// The same as JSON; see docs/json.md.
pub fn json(scope: &Scope, rehearsal: &Rehearsal, range: (Duration, Duration), times: u16) -> Value {
    let step = |(index, step): (usize, &Rehearsed)| {
        json!({
            "address": step.address,
            "step": step.step,
            "start": seconds(step.start),
            "seconds": seconds(step.took),
            "critical": rehearsal.critical.contains(&index),
        })
    };
    let critical = rehearsal.critical.iter().filter_map(|index| rehearsal.steps.get(*index));
    json!({
        "format_version": crate::plan::FORMAT_VERSION,
        "stack": scope.stack,
        "env": scope.env,
        "region": scope.region,
        "rehearsals": times,
        "seconds": seconds(rehearsal.report.elapsed),
        "least_seconds": seconds(range.0),
        "most_seconds": seconds(range.1),
        "requests": rehearsal.requests,
        "steps": rehearsal.steps.iter().enumerate().map(step).collect::<Vec<_>>(),
        "critical_path": critical.map(|step| &step.address).collect::<Vec<_>>(),
    })
}
