//! Plans and events as JSON. The form is documented in docs/json.md and versioned by `format_version`.

use serde_json::{Value, json};

use crate::apply::{Event, Orphan, Recovered, Report};
use crate::graph::Address;
use crate::plan::{FORMAT_VERSION, Plan};
use crate::secret::without_digests;
use crate::state::{Run, Unfinished};

/// A plan: what `plan --json` prints.
pub fn plan(plan: &Plan) -> Value {
    let actions: Vec<Value> = plan
        .changing()
        .map(|action| {
            json!({
                "address": action.address,
                "kind": action.kind,
                "action": action.action,
                "reason": action.reason,
                "id": action.id,
                "create_first": action.create_first,
                "keeps_old": action.keeps_old,
                "changes": action.changes,
            })
        })
        .collect();
    let mut told = json!({
        "format_version": FORMAT_VERSION,
        "tool_version": plan.tool_version,
        "mode": plan.mode,
        "stack": plan.scope.stack,
        "env": plan.scope.env,
        "cloud": plan.cloud,
        "account": plan.scope.account,
        "region": plan.scope.region,
        "lineage": plan.lineage,
        "serial": plan.serial,
        "has_changes": plan.has_changes(),
        "summary": plan.summary,
        "actions": actions,
        "drift": plan.drift,
        "kept": plan.kept,
        "holds": plan.holds,
        "renames": plan.renames,
        "outputs": plan.output_changes,
    });
    without_digests(&mut told);
    told
}

/// A list under its name, with the version of its form.
pub fn versioned<T: serde::Serialize>(name: &str, value: &T) -> Value {
    json!({ "format_version": FORMAT_VERSION, name: value })
}

/// What a recovery found: what `recover --json` prints.
pub fn recovered(recovered: &Recovered, held: &[(Address, String, Value, Value)]) -> Value {
    let found: serde_json::Map<String, Value> = recovered
        .found
        .iter()
        .map(|(address, found)| {
            let one = json!({
                "id": found.entry.id,
                "way": found.way,
                "declared": found.declared,
                "believed": found.believed,
            });
            (address.to_string(), one)
        })
        .collect();
    let held: Vec<Value> = held
        .iter()
        .map(
            |(address, path, value, stack)| json!({ "address": address, "path": path, "value": value, "stack": stack }),
        )
        .collect();
    let nameless: Vec<Value> = recovered.nameless.iter().map(|(kind, id)| json!({ "kind": kind, "id": id })).collect();
    json!({
        "format_version": FORMAT_VERSION,
        "found": found,
        "missing": recovered.missing,
        "disputed": recovered.disputed,
        "nameless": nameless,
        "held": held,
    })
}

/// What is in no state: what `orphans --json` prints.
pub fn orphans(orphans: &[Orphan]) -> Value {
    let all: Vec<Value> = orphans
        .iter()
        .map(|orphan| json!({ "kind": orphan.kind, "id": orphan.observed.id, "address": orphan.address }))
        .collect();
    json!({ "format_version": FORMAT_VERSION, "orphans": all })
}

/// An event of an apply: one line each.
pub fn event(event: &Event) -> Value {
    match event {
        Event::Started { address, step } => json!({ "event": "started", "address": address, "step": step }),
        Event::Waiting { address, what } => json!({ "event": "waiting", "address": address, "for": what }),
        Event::News { address, line } => json!({ "event": "news", "address": address, "message": line }),
        Event::Done { address, step, id, elapsed } => json!({
            "event": "done", "address": address, "step": step, "id": id, "seconds": elapsed.as_secs_f64(),
        }),
        Event::Failed { address, step, error } => json!({
            "event": "failed", "address": address, "step": step, "call": error.call, "code": error.code,
            "message": error.message, "class": error.class, "help": error.remedy(),
        }),
        Event::Skipped { address, step, because } => {
            json!({ "event": "skipped", "address": address, "step": step, "because": because })
        }
        Event::Stopping { in_flight } => json!({ "event": "stopping", "in_flight": in_flight }),
    }
}

/// The end of an apply: the last line.
pub fn report(report: &Report) -> Value {
    json!({
        "event": "finished",
        "format_version": FORMAT_VERSION,
        "complete": report.is_complete(),
        "created": report.created,
        "updated": report.updated,
        "replaced": report.replaced,
        "deleted": report.deleted,
        "failed": report.failed.iter().map(|(address, ..)| address).collect::<Vec<_>>(),
        "skipped": report.skipped,
        "left": report.left,
        "outputs": report.outputs,
        "seconds": report.elapsed.as_secs_f64(),
    })
}

/// A run of which no snapshot tells yet: while it is at work, its end is `running`.
pub fn unfinished(unfinished: &Unfinished) -> Value {
    let mut value = run(unfinished.after.serial, &unfinished.run);
    if unfinished.holder.is_some() {
        value["end"] = "running".into();
    }
    value
}

/// A run of the history.
pub fn run(number: u64, run: &Run) -> Value {
    let mut value = json!({ "run": number, "verb": run.verb, "who": run.who, "began": run.began, "ended": run.ended });
    if let (Value::Object(map), Ok(Value::Object(end))) = (&mut value, serde_json::to_value(run.end)) {
        map.extend(end);
        map.insert("changes".into(), serde_json::to_value(&run.changes).unwrap_or_default());
    }
    value
}
