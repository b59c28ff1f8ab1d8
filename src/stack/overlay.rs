//! Environments: `[env.NAME]` holds what differs from the stack for one of them.
//!
//! Tables are merged key by key, everything else is replaced. `remove = ["nat_gateway.b", "tags.Team"]` takes out
//! what the environment shall not have, before the rest is laid over.

use super::diagnostic::{Finding, Report, did_you_mean};
use super::node::{Entry, Item, Node, Table};

/// Takes `[env]` out of a stack; gives its environments.
pub fn take_environments(root: &mut Table, report: &mut Report) -> Vec<Entry> {
    let Some(entry) = root.take("env") else { return Vec::new() };
    let is_a = entry.node.is_a();
    let Item::Table(table) = entry.node.item else {
        report.error(
            Finding::at(entry.node.place, format!("`env` is {is_a}, not a table of environments"))
                .help("declare an environment as [env.staging]"),
        );
        return Vec::new();
    };
    let (environments, wrong): (Vec<_>, Vec<_>) =
        table.entries.into_iter().partition(|entry| matches!(entry.node.item, Item::Table(_)));
    for entry in wrong {
        report.error(
            Finding::at(entry.node.place, format!("`env.{}` is {}, not a table", entry.key, entry.node.is_a()))
                .help(format!("declare the environment as [env.{}] with what differs in it", entry.key)),
        );
    }
    for entry in &environments {
        let good = entry.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good || !entry.key.starts_with(|c: char| c.is_ascii_lowercase()) || entry.key.len() > 32 {
            report.error(
                Finding::at(entry.key_place, format!("`{}` cannot name an environment", entry.key))
                    .help("use up to 32 lower-case letters, digits and `-`, beginning with a letter"),
            );
        }
    }
    environments
}

/// Lays one environment over the stack. `false` where there is no such environment.
pub fn apply(root: &mut Table, environments: &[Entry], wanted: &str, report: &mut Report) -> bool {
    let Some(entry) = environments.iter().find(|entry| entry.key == wanted) else {
        let names = environments.iter().map(|entry| entry.key.as_str());
        report.error(
            Finding::nowhere(format!("the stack has no environment `{wanted}`")).maybe_help(
                did_you_mean(wanted, names, "it has").or_else(|| Some(format!("declare it: [env.{wanted}]"))),
            ),
        );
        return false;
    };
    let Item::Table(mut overlay) = entry.node.item.clone() else { return false };
    if let Some(entry) = overlay.take("remove") {
        remove(root, &entry.node, report);
    }
    merge_variables(root, &mut overlay);
    merge(root, overlay);
    true
}

/// Reports values that environments give to variables which the stack does not declare: nothing would ever read them.
pub fn check_variables(root: &Table, environments: &[Entry], report: &mut Report) {
    let declared: Vec<&str> =
        root.get("vars").and_then(Node::table).map(|table| table.keys().collect()).unwrap_or_default();
    for environment in environments {
        let given = environment.node.table().and_then(|table| table.get("vars")).map(Node::entries).unwrap_or_default();
        for entry in given.iter().filter(|entry| !declared.contains(&entry.key.as_str())) {
            let (key, env) = (&entry.key, &environment.key);
            let message = format!("`env.{env}.vars` sets a variable `{key}` that the stack does not declare");
            let help = did_you_mean(key, declared.iter().copied(), "declared are")
                .unwrap_or_else(|| format!("declare it: [vars] with {key} = \"…\" in it"));
            report.error(Finding::at(entry.key_place, message).help(help));
        }
    }
}

/// `[env.x.vars] y = 3` over `y = { type = … }` gives the declaration another default.
fn merge_variables(root: &mut Table, overlay: &mut Table) {
    let Some(Item::Table(declared)) = root.entry_mut("vars").map(|entry| &mut entry.node.item) else { return };
    let Some(Item::Table(given)) = overlay.entry_mut("vars").map(|entry| &mut entry.node.item) else { return };
    for entry in std::mem::take(&mut given.entries) {
        match declared.entry_mut(&entry.key).map(|known| &mut known.node.item) {
            Some(Item::Table(declaration)) if !matches!(entry.node.item, Item::Table(_)) => {
                declaration.take("default");
                declaration.entries.push(Entry { key: "default".into(), ..entry });
            }
            _ => given.entries.push(entry),
        }
    }
}

fn merge(base: &mut Table, overlay: Table) {
    for entry in overlay.entries {
        match base.entry_mut(&entry.key) {
            Some(known) => match (&mut known.node.item, entry.node.item) {
                (Item::Table(base), Item::Table(overlay)) => merge(base, overlay),
                (_, item) => {
                    known.node = Node { item, place: entry.node.place };
                    known.key_place = entry.key_place;
                }
            },
            None => base.entries.push(entry),
        }
    }
}

fn remove(root: &mut Table, list: &Node, report: &mut Report) {
    let Item::List(items) = &list.item else {
        report.error(
            Finding::at(list.place, format!("`remove` is {}, not a list", list.is_a()))
                .help("list what goes: remove = [\"nat_gateway.b\", \"tags.Team\"]"),
        );
        return;
    };
    for item in items {
        let Some(text) = item.text() else {
            report.error(
                Finding::at(item.place, format!("`remove` takes texts, and this is {}", item.is_a()))
                    .help("write the address of what goes: \"nat_gateway.b\""),
            );
            continue;
        };
        let removed = remove_path(root, text);
        // The table of a kind whose last block went goes with it.
        if let Some((kind, _)) = text.split_once('.')
            && root.get(kind).and_then(Node::table).is_some_and(|table| table.entries.is_empty())
        {
            root.take(kind);
        }
        if let Err((missing, help)) = removed {
            report.error(
                Finding::at(item.place, format!("there is no `{missing}` to remove from the stack"))
                    .maybe_help(help.or_else(|| Some("take the entry out of `remove`".to_owned()))),
            );
        }
    }
}

fn remove_path(table: &mut Table, path: &str) -> Result<(), (String, Option<String>)> {
    let mut here = table;
    let mut steps = path.split('.').enumerate().peekable();
    while let Some((depth, step)) = steps.next() {
        if here.entry(step).is_none() {
            let before: String = path.split('.').take(depth).map(|step| format!("{step}.")).collect();
            let known: Vec<String> = here.keys().map(|key| format!("{before}{key}")).collect();
            let wanted = format!("{before}{step}");
            return Err((path.to_owned(), did_you_mean(&wanted, known.iter().map(String::as_str), "there are")));
        }
        if steps.peek().is_none() {
            here.take(step);
            return Ok(());
        }
        match here.entry_mut(step).map(|entry| &mut entry.node.item) {
            Some(Item::Table(inner)) => here = inner,
            _ => return Err((path.to_owned(), None)),
        }
    }
    Ok(())
}
