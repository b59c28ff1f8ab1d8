//! A plan as people read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{changes, plural, style, value};
use crate::plan::{Action, After, Drift, Mode, Plan, Rename, Summary, Verb};

/// A whole plan.
pub fn plan(plan: &Plan) -> String {
    let mut text = drift(&plan.drift);
    resources(plan, &mut text);
    kept(plan, &mut text);
    outputs(plan, &mut text);
    if plan.actions.iter().any(|a| a.changes.iter().any(|c| matches!(c.after, After::Unknown { .. }))) {
        let legend = "‹kind.name.attribute› is known once that resource is applied";
        let _ = writeln!(text, "{}", style::faint(legend));
    }
    text.push_str(&summary(plan));
    text.push_str(&legend(plan));
    renames(plan, &mut text);
    text
}

/// What is deleted and made anew, though it most likely was only renamed.
fn renames(plan: &Plan, text: &mut String) {
    if plan.renames.is_empty() {
        return;
    }
    let count = plan.renames.len();
    for Rename { from, to } in &plan.renames {
        let _ = writeln!(text, "{}", style::note(&format!("{to} looks like {from} renamed, and would be made anew")));
    }
    let moves: Vec<String> =
        plan.renames.iter().map(|Rename { from, to }| format!("{{ from = \"{from}\", to = \"{to}\" }}")).collect();
    let keeps = if count == 1 { "keeps what stands there" } else { "keep what stands there" };
    let _ = writeln!(text, "  moved = [{}] at the top of the stack {keeps}", moves.join(", "));
}

/// What the marks mean that stand before the addresses.
fn legend(plan: &Plan) -> String {
    const MARKS: [(&str, &str); 7] = [
        ("+", "create"),
        ("~", "change in place"),
        ("+/-", "make anew, then delete the old one"),
        ("-/+", "delete, then make anew"),
        ("-", "delete"),
        (".", "forget"),
        ("!", "changed outside of this tool"),
    ];
    let used: Vec<&str> = plan.changing().map(|action| sign(action).0).chain(plan.drift.iter().map(|_| "!")).collect();
    let told: Vec<String> = MARKS
        .iter()
        .filter(|(mark, _)| used.contains(mark))
        .map(|(mark, meaning)| format!("{mark} {meaning}"))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("{}\n", style::faint(&told.join("   "))),
    }
}

/// The last line: how many of each.
pub fn summary(plan: &Plan) -> String {
    let Summary { create, update, replace, delete, forget, no_change, read, .. } = plan.summary;
    let only_read = if read == 0 { String::new() } else { format!(", {read} only read") };
    if !plan.has_changes() && plan.mode == Mode::Destroy {
        return format!("{}: nothing of this stack exists.\n", style::good("Nothing to delete"));
    }
    if !plan.has_changes() {
        return format!(
            "{} ({}{only_read}).\n",
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
    let rest = match (no_change, read) {
        (0, 0) => String::new(),
        (0, read) => format!("; {read} only read"),
        (no_change, _) => format!("; {no_change} as they should be{only_read}"),
    };
    format!("{}: {told}{rest}.\n", style::strong("Plan"))
}

/// What somebody changed behind the tool's back, apart from what the stack changes.
pub fn drift(drift: &[Drift]) -> String {
    let mut text = String::new();
    if drift.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{}", style::strong("Changed outside of this tool since the last apply:"));
    for drift in drift {
        if drift.gone {
            let _ = writeln!(text, "  {} {}  {}", style::bad("!"), drift.address, style::paint(style::BAD, "is gone"));
            continue;
        }
        let _ = writeln!(text, "  {} {}", style::paint(style::CHANGED, "!"), drift.address);
        changes::changes(&drift.changes, Verb::NoChange, "      ", &mut text);
    }
    text.push('\n');
    text
}

/// All that is to happen to resources: those of a construct together, in the order in which the first of them comes.
fn resources(plan: &Plan, text: &mut String) {
    let mut firsts = BTreeMap::new();
    let mut actions: Vec<(usize, &Action)> = plan
        .changing()
        .enumerate()
        .map(|(index, action)| {
            let owner = action.address.construct().unwrap_or(action.address.as_str());
            (*firsts.entry(owner).or_insert(index), action)
        })
        .collect();
    actions.sort_by_key(|(first, _)| *first);
    let signs = if actions.iter().any(|(_, action)| action.action == Verb::Replace) { 3 } else { 1 };
    let indent = " ".repeat(signs + 3);
    let addresses = actions.iter().filter(|(_, action)| is_short(action)).map(|(_, a)| a.address.as_str().len()).max();
    let mut apart = false;
    for (_, action) in &actions {
        let (sign, style) = sign(action);
        let width = if is_short(action) { addresses.unwrap_or(0) } else { 0 };
        let tail = tail(plan, action);
        let mut details = String::new();
        if !is_short(action) {
            changes::changes(&action.changes, action.action, &indent, &mut details);
        }
        // What has details stands apart from its neighbours; what has none makes a list.
        if apart || (!details.is_empty() && !text.is_empty() && !text.ends_with("\n\n")) {
            text.push('\n');
        }
        let head = format!("{sign:signs$} {}", action.address);
        let _ = match tail.is_empty() {
            true => writeln!(text, "{}", style::paint(style.bold(), &head)),
            false => {
                let gap = " ".repeat(width.saturating_sub(action.address.as_str().len()) + 2);
                writeln!(text, "{}{gap}{}", style::paint(style.bold(), &head), style::faint(&tail))
            }
        };
        apart = !details.is_empty();
        text.push_str(&details);
    }
    if !actions.is_empty() {
        text.push('\n');
    }
}

/// Whether an action is told on one line.
fn is_short(action: &Action) -> bool {
    matches!(action.action, Verb::Delete | Verb::Forget)
}

fn sign(action: &Action) -> (&'static str, anstyle::Style) {
    match action.action {
        Verb::Create => ("+", style::GOOD),
        Verb::Update => ("~", style::CHANGED),
        Verb::Replace if action.create_first => ("+/-", style::ANEW),
        Verb::Replace => ("-/+", style::ANEW),
        Verb::Delete => ("-", style::BAD),
        Verb::Forget => (".", style::FAINT),
        Verb::NoChange | Verb::Read => (" ", style::FAINT),
    }
}

/// What stands behind the address: the id, and the reason where it is not the usual one.
fn tail(plan: &Plan, action: &Action) -> String {
    let id = action.id.as_deref().filter(|_| action.action != Verb::Create);
    let usual = match action.action {
        Verb::Create => action.reason == "not there yet",
        Verb::Update => action.reason == "the stack changed",
        Verb::Delete => plan.mode == Mode::Destroy && !action.deposed,
        _ => false,
    };
    let reason = Some(action.reason.as_str()).filter(|_| !usual);
    id.into_iter().chain(reason).collect::<Vec<_>>().join(" · ")
}

/// What is not as the stack says, and stays so: held by a verb, or left to something else. What is held from now on, and
/// no longer.
fn kept(plan: &Plan, text: &mut String) {
    for kept in &plan.kept {
        let whose = match (&kept.since, &kept.who) {
            (Some(since), Some(who)) => format!("held by {} since {since} ({who})", kept.by),
            _ => format!("left to {}", kept.by),
        };
        let stack = match &kept.stack {
            After::Known { value: Value::Null } => "the stack leaves it open".to_owned(),
            stack => format!("the stack says {}", value::after(stack)),
        };
        let help = if kept.since.is_some() { "; --reset takes it back" } else { "" };
        let what = format!("{} {}", kept.path, value::inline(&kept.value));
        let _ = writeln!(text, "= {}  {what}, {whose}; {stack}{help}", kept.address);
    }
    for hold in &plan.holds {
        let what = if hold.held.is_some() { "held from now on" } else { "held no longer" };
        let _ = writeln!(text, "{}", style::faint(&format!("= {}  {} is {what}", hold.address, hold.path)));
    }
    if !plan.kept.is_empty() || !plan.holds.is_empty() {
        text.push('\n');
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
        let sign = style::paint(style, sign);
        if changes::is_wide(&format!("    {name:width$} = {moves}")) {
            let _ = writeln!(text, "  {sign} {name}");
            changes::lines(&changes::value_by_line(&change.before), &changes::by_line(&change.after), "    ", text);
        } else {
            let _ = writeln!(text, "  {sign} {name:width$} = {}", value::dimmed(&moves));
        }
    }
    text.push('\n');
}
