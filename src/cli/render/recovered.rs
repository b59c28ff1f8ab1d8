//! What a recovery found, for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::{plural, style, value};
use crate::apply::{Found, Orphan, Recovered, Way};
use crate::graph::{Address, Graph};
use crate::state::State;

/// Everything that was found, what was not, and what cannot be decided here.
pub fn recovered(recovered: &Recovered, stack: &str) -> String {
    let mut text = String::new();
    let addresses = recovered.found.keys().chain(&recovered.missing).chain(recovered.disputed.keys());
    let width = addresses.map(|address| address.as_str().len()).max().unwrap_or(0);
    let ids = recovered.found.values().map(|found| found.entry.id.len()).max().unwrap_or(0);
    for (address, found) in &recovered.found {
        let line = format!("  {} {address:width$}  {:ids$}  {}", style::good("✓"), found.entry.id, remarks(found));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for address in &recovered.missing {
        let _ = writeln!(text, "  {} {address:width$}  not found", style::paint(style::CHANGED, "?"));
    }
    for (address, ids) in &recovered.disputed {
        let ids = ids.join(" and ");
        let _ = writeln!(text, "  {} {address:width$}  claimed by {ids}: none of them is taken", style::bad("!"));
    }
    for (kind, id) in &recovered.nameless {
        let _ = writeln!(
            text,
            "  {} {kind} {id} carries the stack's tags, and no address of its kind: it is not taken",
            style::bad("!")
        );
    }
    let _ = writeln!(text);
    let ways = [Way::Tags, Way::Name, Way::Attributes, Way::LookedUp].into_iter().filter_map(|way| {
        let count = recovered.found.values().filter(|found| found.way == way).count();
        (count > 0).then(|| format!("{count} {}", way.words().replace(" its ", " ")))
    });
    let ways = ways.collect::<Vec<_>>().join(", ");
    let ways = if ways.is_empty() { ways } else { format!(" ({ways})") };
    let mut counts = vec![format!("{} found{ways}", recovered.found.len())];
    for (count, what) in [(recovered.missing.len(), "not found"), (recovered.disputed.len(), "claimed more than once")]
    {
        if count > 0 {
            counts.push(format!("{count} {what}"));
        }
    }
    let _ = writeln!(text, "{}.", counts.join(", "));
    if !recovered.missing.is_empty() {
        let _ = writeln!(text, "What was not found, the next apply creates.");
    }
    let gone = recovered.found.values().filter(|found| !found.declared).count();
    if gone > 0 {
        let what = plural(gone, "resource is", "resources are");
        let _ = writeln!(text, "{what} in the cloud and not in the stack: the next apply deletes them.");
    }
    if let Some((address, ids)) = recovered.disputed.first_key_value() {
        let id = ids.first().map(String::as_str).unwrap_or_default();
        let _ = writeln!(
            text,
            "Say which of the claimants is the right one, before anything is applied: cofferdam import {stack} {address} \
             {id}; the others are orphans then."
        );
    }
    text
}

/// What is not as the stack says, and is most likely so because a verb set it.
/// `apply` is the command that applies the stack.
pub fn held(held: &[(Address, String, Value, Value)], apply: &str) -> String {
    let mut text = String::new();
    for (address, path, now, said) in held {
        let _ = writeln!(text, "= {address}  {path} {}; the stack says {}", value::inline(now), value::inline(said));
    }
    if !held.is_empty() {
        let _ = writeln!(
            text,
            "What a deploy, rollback or scale may have set is held as it is; `{apply} --reset` makes it what the stack says."
        );
    }
    text
}

/// What carries the stack's tags and is in no state, and what can be done about it.
pub fn orphans(orphans: &[Orphan], state: &State, graph: &Graph) -> String {
    if orphans.is_empty() {
        return format!("{}: everything that carries the stack's tags is in the state.\n", style::good("No orphans"));
    }
    let address = |orphan: &Orphan| orphan.address.as_ref().map_or_else(|| orphan.kind.clone(), ToString::to_string);
    let width = orphans.iter().map(|orphan| address(orphan).len()).max().unwrap_or(0);
    let ids = orphans.iter().map(|orphan| orphan.observed.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for orphan in orphans {
        let remark = match &orphan.address {
            None => "carries no address",
            Some(address) if state.resources.contains_key(address) => "another one stands at its address",
            Some(address) if graph.get(address).is_none() => "not in the stack",
            Some(_) => "in the stack, and not in the state",
        };
        let (address, id) = (address(orphan), &orphan.observed.id);
        let _ = writeln!(text, "  {address:width$}  {id:ids$}  {}", style::faint(remark));
    }
    let _ = writeln!(
        text,
        "\n{}; --adopt takes them into the state, --delete deletes them.",
        plural(orphans.len(), "orphan", "orphans")
    );
    text
}

fn remarks(found: &Found) -> String {
    let mut text = style::faint(found.way.words());
    if !found.declared {
        let _ = write!(text, "; {}", style::paint(style::CHANGED, "not in the stack"));
    }
    if !found.believed.is_empty() {
        let _ = write!(text, "; as the stack says, for the cloud does not: {}", found.believed.join(", "));
    }
    text
}
