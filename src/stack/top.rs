//! The top of a stack file: everything in it that is no block.

use std::collections::BTreeMap;

use serde_json::Value;

use super::blocks::{Block, Unread};
use super::diagnostic::{Finding, Report, nearest};
use super::language::top_schema;
use super::moves::{self, Move};
use super::node::{Entry, Item, Node, Table};
use super::scopes::Scopes;
use super::shape::{Mode, Shape};
use super::source::Place;
use crate::aws::bucket::BucketAt;
use crate::aws::facts;
use crate::graph::template;
use crate::state::Encrypt;

/// The top of a stack, read.
#[derive(Debug, Default)]
pub struct Top {
    pub name: Option<String>,
    pub region: Option<String>,
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// The same as they are written.
    pub tag_nodes: Vec<Node>,
    pub outputs: Vec<Entry>,
    pub state: StateAt,
    pub guards: Guards,
    pub moved: Vec<Move>,
    pub blocks: Vec<Block>,
    /// Blocks that could not be read: who names one of them is not told that it is missing.
    pub unread: Unread,
}

/// Reads the keys that are no blocks. Those of `optional` may be missing.
pub fn read_top(known: Table, whole: Place, optional: &[&str], report: &mut Report) -> Top {
    let mut top = Top::default();
    let schema = top_schema();
    let shape = Shape::new(&schema);
    let start = Place { end: whole.start, ..whole };
    let header = Node { item: Item::Table(known), place: start };
    shape.check(&header, "", Mode { optional, ..Mode::default() }, report);
    let Item::Table(mut known) = header.item else { return top };
    for key in ["name", "region"] {
        is_known(&known, key, report);
    }

    top.name = text(&known, "name").and_then(|(name, place)| check_name(name, place, report));
    top.region = text(&known, "region").and_then(|(region, place)| check_region(region, place, report));
    top.description = text(&known, "description").map(|(text, _)| text);
    top.tags = known.get("tags").map(|node| check_tags(node, report)).unwrap_or_default();
    top.tag_nodes.extend(known.get("tags").cloned());
    top.state = known.get("state").map(|node| state_at(node, report)).unwrap_or_default();
    top.guards = known.get("guards").map(|node| guards(node, top.region.as_deref(), report)).unwrap_or_default();
    top.moved = known.get("moved").map(|node| moves::read(node, report)).unwrap_or_default();
    if let Some(Entry { node: Node { item: Item::Table(outputs), .. }, .. }) = known.take("outputs") {
        top.outputs = outputs.entries;
    }
    top
}

/// Reports a reference where the value itself must be known. What is wrong with a variable was told where it was looked up.
fn is_known(known: &Table, key: &str, report: &mut Report) {
    let Some((text, place)) = known.get(key).and_then(|node| Some((node.text()?, node.place))) else { return };
    if template::references(text).iter().any(|reference| !Scopes::owns(reference)) {
        report.error(
            Finding::at(place, format!("`{key}` is {text}, which is only known later"))
                .help("give it itself, or a variable"),
        );
    }
}

/// What a stack refuses because it is most likely a mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// The accounts that it may stand in; any where there are none.
    pub accounts: Vec<String>,
    /// The regions that it may stand in; any where there are none.
    pub regions: Vec<String>,
    /// How much of it an apply may delete, in percent.
    pub max_delete_percent: Option<u8>,
}

/// Reads them, and holds the stack's region against them.
pub fn guards(node: &Node, region: Option<&str>, report: &mut Report) -> Guards {
    let Some(table) = node.table() else { return Guards::default() };
    let texts = |key: &str| -> Vec<String> {
        match table.get(key).map(|node| &node.item) {
            Some(Item::List(items)) => items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    };
    let percent = table.get("max_delete_percent").and_then(|node| node.value().as_u64());
    let guards = Guards {
        accounts: texts("accounts"),
        regions: texts("regions"),
        max_delete_percent: percent.and_then(|percent| u8::try_from(percent).ok()).filter(|percent| *percent <= 100),
    };
    if let (Some(region), Some(allowed)) = (region, table.get("regions"))
        && !guards.regions.iter().any(|one| one == region)
    {
        report.error(
            Finding::at(
                allowed.place,
                format!("the stack is in {region}, and its guards allow {}", guards.regions.join(" and ")),
            )
            .help("change the region, or the guards"),
        );
    }
    guards
}

fn text(table: &Table, key: &str) -> Option<(String, Place)> {
    let node = table.get(key)?;
    let literal = template::literal(&Value::from(node.text()?))?;
    Some((literal.as_str()?.to_owned(), node.place))
}

fn check_name(name: String, place: Place, report: &mut Report) -> Option<String> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 32
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        report.error(
            Finding::at(place, format!("`{name}` cannot name a stack"))
                .help("use up to 32 lower-case letters, digits and `-`, beginning with a letter"),
        );
    }
    good.then_some(name)
}

/// Where and how a stack's state is kept, as far as the stack says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateAt {
    /// The bucket that it is in.
    pub url: Option<String>,
    /// To whom it is encrypted.
    pub encrypt: Option<Encrypt>,
}

fn state_at(node: &Node, report: &mut Report) -> StateAt {
    let Some(table) = node.table() else { return StateAt::default() };
    let url = text(table, "url").and_then(|(url, place)| check_state_url(url, place, report));
    let encrypt = table.get("encrypt").and_then(|node| {
        let recipients: Vec<String> = match &node.item {
            Item::List(items) => items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
            _ if node.text() == Some("passphrase") => return Some(Encrypt::Passphrase),
            _ => node.text().map(str::to_owned).into_iter().collect(),
        };
        let why = match Encrypt::to(recipients) {
            Ok(Encrypt::Recipients(none)) if none.is_empty() => "nobody could read this state".to_owned(),
            Ok(encrypt) => return Some(encrypt),
            Err(why) => why,
        };
        let help = "name recipients, as `age-keygen` prints them: [\"age1…\"]; or write \"passphrase\"";
        report.error(Finding::at(node.place, why).help(help));
        None
    });
    StateAt { url, encrypt }
}

fn check_state_url(url: String, place: Place, report: &mut Report) -> Option<String> {
    match BucketAt::parse(&url, "", None) {
        Ok(_) => Some(url),
        Err(why) => {
            report.error(Finding::at(place, why).help("write it as \"s3://bucket/prefix\""));
            None
        }
    }
}

fn check_region(region: String, place: Place, report: &mut Report) -> Option<String> {
    if facts::regions().any(|known| known == region) {
        return Some(region);
    }
    let help = match nearest(&region, facts::regions()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "regions are named like eu-west-2 or us-east-1".to_owned(),
    };
    report.error(Finding::at(place, format!("AWS has no region `{region}`")).help(help));
    None
}

/// Tags as texts; what AWS and this tool keep for themselves is refused ("Tag naming limits and requirements" in the
/// AWS tagging guide).
pub fn check_tags(node: &Node, report: &mut Report) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for entry in node.entries() {
        let key = &entry.key;
        let reserved = ["aws:", "cofferdam:"].into_iter().find(|prefix| key.to_lowercase().starts_with(prefix));
        let problem = match reserved {
            Some("aws:") => Some(("AWS keeps tags that begin with `aws:` for itself", "choose another key")),
            Some(_) => {
                Some(("tags that begin with `cofferdam:` say what belongs to which stack", "choose another key"))
            }
            None if key.is_empty() => Some(("a tag needs a key", "give it one")),
            None if key.chars().count() > 128 => Some(("the key of a tag has at most 128 characters", "shorten it")),
            None => None,
        };
        if let Some((message, help)) = problem {
            report.error(Finding::at(entry.key_place, message).help(help));
            continue;
        }
        let value = match &entry.node.item {
            Item::Text(text) => text.clone(),
            Item::Integer(_) | Item::Float(_) | Item::Bool(_) => entry.node.value().to_string(),
            _ => continue,
        };
        if value.chars().count() > 256 && !template::is_unknown(&Value::from(value.as_str())) {
            report.error(
                Finding::at(entry.node.place, format!("the tag `{key}` is longer than 256 characters"))
                    .help("shorten it"),
            );
        }
        tags.insert(key.clone(), value);
    }
    tags
}
