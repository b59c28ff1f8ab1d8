//! Variables as a stack declares them.

use super::diagnostic::{Finding, Report, did_you_mean, nearest};
use super::node::{Entry, Item, Node, Table};
use super::source::Place;

/// The types that a variable may declare.
const TYPES: [&str; 6] = ["string", "integer", "number", "bool", "list", "table"];

/// A variable as the stack declares it.
pub struct Declared {
    pub name: String,
    pub place: Place,
    pub kind: Option<String>,
    pub default: Option<Node>,
    /// Whether its value is a secret, and the file that holds it, if it is in one.
    pub secret: Option<Option<(String, Place)>>,
    /// Whether something about the declaration was reported, because of which it may lack its value.
    pub broken: bool,
}

/// `name = default`, or `name = { description, default, type }`.
pub fn declaration(entry: Entry, report: &mut Report) -> Declared {
    let Entry { key: name, key_place: place, node } = entry;
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || name.is_empty() {
        report.error(
            Finding::at(place, format!("`{name}` cannot name a variable")).help("use letters, digits, `-` and `_`"),
        );
    }
    let Item::Table(mut table) = node.item else {
        return Declared { name, place, kind: None, default: Some(node), secret: None, broken: false };
    };
    if let Some(entry) = table.take("secret") {
        match entry.node.item {
            Item::Bool(true) => return secret(name, place, table, report),
            Item::Bool(false) => {}
            _ => report.error(
                Finding::at(entry.node.place, format!("`secret` is {}", entry.node.is_a())).help("it is true or false"),
            ),
        }
    }
    let default = table.take("default").map(|entry| entry.node);
    let kind = table.take("type").and_then(|entry| match entry.node.text() {
        Some(kind) if TYPES.contains(&kind) => Some(kind.to_owned()),
        _ => {
            let written = entry.node.text().unwrap_or("").to_owned();
            report.error(Finding::at(entry.node.place, "this is no type of a variable").maybe_help(did_you_mean(
                &written,
                TYPES,
                "types are",
            )));
            None
        }
    });
    if let Some(Entry { node, .. }) = table.take("description")
        && node.text().is_none()
    {
        report.error(
            Finding::at(node.place, format!("the description of `{name}` is {}, not a text", node.is_a()))
                .help("write it in quotes"),
        );
    }
    let broken = unknown_keys(&name, &table, &["default", "description", "type", "secret"], report);
    Declared { name, place, kind, default, secret: None, broken }
}

/// `name = { secret = true, description, file }`: its value is never in the stack.
fn secret(name: String, place: Place, mut table: Table, report: &mut Report) -> Declared {
    if let Some(entry) = table.take("default") {
        report.error(
            Finding::at(entry.key_place, format!("the value of the secret `{name}` would stand in the stack")).help(
                format!("give it in the environment, as COFFERDAM_VAR_{name}, or in a file of its own: file = \"…\""),
            ),
        );
    }
    if let Some(entry) = table.take("type")
        && entry.node.text() != Some("string")
    {
        report.error(Finding::at(entry.node.place, "a secret is a text").help("leave `type` out"));
    }
    table.take("description");
    let file = table.take("file").and_then(|entry| {
        let path = entry.node.text().map(str::to_owned);
        if path.is_none() {
            report.error(
                Finding::at(entry.node.place, format!("the file of `{name}` is {}", entry.node.is_a()))
                    .help("give its name, relative to the project: file = \"secrets/token\""),
            );
        }
        Some((path?, entry.node.place))
    });
    let broken = unknown_keys(&name, &table, &["secret", "file", "description"], report);
    Declared { name, place, kind: None, default: None, secret: Some(file), broken }
}

/// Reports keys that declarations do not have; says whether there were any.
fn unknown_keys(name: &str, table: &Table, known: &[&str], report: &mut Report) -> bool {
    for entry in &table.entries {
        let help = match nearest(&entry.key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it takes {}; a table as value is {name} = {{ default = {{ … }} }}", known.join(", ")),
        };
        report.error(
            Finding::at(entry.key_place, format!("the declaration of `{name}` has no key `{}`", entry.key)).help(help),
        );
    }
    !table.entries.is_empty()
}
