//! The blocks of a stack file: kinds and names, and what every block may carry.

use std::collections::BTreeSet;

use serde_json::Value;

use super::diagnostic::{Finding, Report, did_you_mean, nearest};
use super::language::{BlockKind, Language, What, top_schema};
use super::node::{Entry, Item, Node, Table};
use super::scopes::Scopes;
use super::shape::{Mode, Shape};
use super::source::Place;
use super::top::{Top, read_top};
use crate::graph::{Address, template};

/// A resource or construct as the stack declares it.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its address.
    pub address: Address,
    /// Where it is declared: its header.
    pub header: Place,
    /// Its attributes: a table.
    pub node: Node,
    /// Addresses it waits for, as written.
    pub depends_on: Vec<(String, Place)>,
    /// Whether it is kept from deletion.
    pub protect: bool,
    /// The id of what exists already.
    pub existing: Option<String>,
    /// Whether a construct made its name, which the stack does not give.
    pub made_name: bool,
    /// Attributes about which something was reported.
    pub bad: BTreeSet<String>,
    /// Whether something about it as a whole was reported.
    pub broken: bool,
    /// Whether its kind is misspelled, and this is what was probably meant.
    pub misspelled: bool,
}

/// What is missing because of a mistake that was told.
#[derive(Debug, Default)]
pub struct Unread {
    /// Kinds of which every block may be meant.
    kinds: BTreeSet<String>,
}

impl Unread {
    /// The kinds of such blocks.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(String::as_str)
    }

    /// Whether this address may be that of such a block, or of something below it.
    pub fn has(&self, address: &str) -> bool {
        self.kinds.contains(address.split(['/', '.']).next().unwrap_or(address))
    }
}

/// Reads a stack. Variables are filled in already.
pub fn read(mut root: Table, whole: Place, language: &Language<'_>, report: &mut Report) -> Top {
    let schema = top_schema();
    let shape = Shape::new(&schema);
    let mut known = Table::default();
    for (key, _) in shape.properties() {
        known.entries.extend(root.take(key));
    }
    let misspelled = |key: &str| {
        let free = root.keys().filter(|other| language.block(other).is_none());
        nearest(key, free).is_some()
    };
    let optional: Vec<&str> = ["name", "region"].into_iter().filter(|key| misspelled(key)).collect();
    let mut top = read_top(known, whole, &optional, report);
    let top_keys: Vec<&str> = shape.properties().into_iter().map(|(key, _)| key).collect();
    for entry in root.entries {
        read_kind(entry, &top_keys, language, &mut top, report);
    }
    // Where what a misspelled block was probably meant to be is there anyhow, it was something else.
    let spelled: BTreeSet<Address> =
        top.blocks.iter().filter(|block| !block.misspelled).map(|block| block.address.clone()).collect();
    top.blocks.retain(|block| !block.misspelled || !spelled.contains(&block.address));
    top
}

fn read_kind(entry: Entry, top_keys: &[&str], language: &Language<'_>, top: &mut Top, report: &mut Report) {
    let Entry { key: kind, key_place, node } = entry;
    let Some(block) = language.block(&kind) else {
        let is_blocks = node.entries().iter().any(|entry| entry.node.table().is_some());
        let (word, mut candidates): (_, Vec<&str>) = match is_blocks {
            true => ("kind", language.names().collect()),
            false => ("key", top_keys.iter().copied().chain(language.names()).collect()),
        };
        // `[var]` and `[output]` are no misspelt kinds.
        if let Some(key) = top_keys.iter().find(|key| ***key == format!("{kind}s")) {
            candidates = vec![*key];
        }
        let near = nearest(&kind, candidates.iter().copied());
        let meant = near.and_then(|near| Some((near.to_owned(), language.block(near)?)));
        report.error(Finding::at(key_place, format!("there is no {word} `{kind}`")).maybe_help(did_you_mean(
            &kind,
            candidates,
            "there are",
        )));
        if let (Some((near, block)), Item::Table(table)) = (meant, node.item) {
            let entries = table.entries.into_iter().filter(|entry| entry.node.table().is_some());
            top.blocks.extend(entries.map(|entry| misspelled(&near, entry, block)));
        }
        return;
    };
    let Item::Table(table) = node.item else {
        let finding = match &node.item {
            Item::List(_) if is_list_of_tables(&node) => Finding::at(
                key_place,
                format!("[[{kind}]] begins an item of a list, and each {kind} is a table with a name"),
            )
            .help(format!("write [{kind}.main], or whatever it shall be called")),
            _ => Finding::at(node.place, format!("`{kind}` is {}, and must be a table", node.is_a()))
                .help(format!("declare one as [{kind}.main] with its attributes in it")),
        };
        report.error(finding);
        top.unread.kinds.insert(kind);
        return;
    };
    if let Some(stray) =
        table.entries.iter().find(|entry| entry.node.table().is_none() && !is_list_of_tables(&entry.node))
    {
        report.error(
            Finding::at(
                stray.key_place,
                format!("`{}` stands in [{kind}] itself, and each {kind} has a name", stray.key),
            )
            .help(format!("write [{kind}.main], or whatever it shall be called")),
        );
        top.unread.kinds.insert(kind);
        return;
    }
    if table.entries.is_empty() {
        report.error(
            Finding::at(key_place, format!("[{kind}] declares nothing: each {kind} has a name"))
                .help(format!("write [{kind}.main], or whatever it shall be called")),
        );
        top.unread.kinds.insert(kind);
        return;
    }
    for mut entry in table.entries {
        if entry.key.is_empty() || !entry.key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            report.error(
                Finding::at(entry.key_place, format!("`{}` cannot name a {kind}", entry.key))
                    .help("use letters, digits, `-` and `_`"),
            );
            // Others name it in whatever way it was meant.
            top.unread.kinds.insert(kind.clone());
            continue;
        }
        let several = if let Item::List(items) = &mut entry.node.item { std::mem::take(items) } else { Vec::new() };
        let is_list = !several.is_empty();
        if let Some(first) = several.into_iter().next() {
            let name = &entry.key;
            report.error(
                Finding::at(
                    entry.key_place,
                    format!("[[{kind}.{name}]] begins an item of a list, and a {kind} is a table"),
                )
                .help(format!("write [{kind}.{name}], each with a name of its own")),
            );
            entry.node = first;
        }
        let block = read_block(&kind, entry, block, report);
        top.blocks.push(Block { broken: block.broken || is_list, ..block });
    }
}

/// Whether this is what `[[kind.name]]` declares.
fn is_list_of_tables(node: &Node) -> bool {
    matches!(&node.item, Item::List(items) if !items.is_empty() && items.iter().all(|item| item.table().is_some()))
}

/// A block of which the kind is misspelled, as what was probably meant: others may name it, and no more is told of it.
fn misspelled(kind: &str, entry: Entry, block: &BlockKind<'_>) -> Block {
    let read = read_block(kind, entry, block, &mut Report::default());
    let bad = read.node.entries().iter().map(|entry| entry.key.clone()).collect();
    Block { bad, broken: true, misspelled: true, ..read }
}

fn read_block(kind: &str, entry: Entry, block: &BlockKind<'_>, report: &mut Report) -> Block {
    let address = Address::new(kind, &entry.key);
    let header = entry.node.place;
    let mut out = Block {
        address,
        header,
        node: entry.node,
        depends_on: Vec::new(),
        protect: false,
        existing: None,
        made_name: false,
        bad: BTreeSet::new(),
        broken: false,
        misspelled: false,
    };
    let meta = block.meta();
    for key in &meta {
        let Item::Table(table) = &mut out.node.item else { break };
        if let Some(entry) = table.take(key) {
            read_meta(&mut out, entry, report);
        }
    }
    check_shape(&mut out, block, &meta, report);
    out
}

/// Holds a block against its schema; remembers which attributes were wrong.
fn check_shape(out: &mut Block, block: &BlockKind<'_>, meta: &[&'static str], report: &mut Report) {
    let optional: Vec<&str> = match block.what {
        What::Kind(spec) => spec.naming.iter().map(|naming| naming.attribute).collect(),
        What::Construct(_) => Vec::new(),
    };
    let mode = Mode { partial: out.existing.is_some(), optional: &optional, besides: meta };
    let shape = Shape::new(&block.schema);
    let before = report.errors();
    shape.check(&out.node, out.address.as_str(), mode, report);
    if report.errors() == before {
        return;
    }
    out.broken = true;
    for entry in out.node.entries() {
        let mut told = Report::default();
        let one = Node { item: Item::Table(Table { entries: vec![entry.clone()] }), place: out.header };
        shape.check(&one, "", Mode { partial: true, ..mode }, &mut told);
        if told.errors() > 0 {
            out.bad.insert(entry.key.clone());
        }
    }
}

fn read_meta(block: &mut Block, entry: Entry, report: &mut Report) {
    let place = entry.node.place;
    let address = block.address.clone();
    let mut wrong = |place: Place, is_a: &str, wanted: &str, help: &str| {
        report
            .error(Finding::at(place, format!("`{address}.{}` is {is_a}, and must be {wanted}", entry.key)).help(help));
    };
    let is_a = entry.node.is_a();
    match (entry.key.as_str(), entry.node.item) {
        ("protect", Item::Bool(yes)) => block.protect = yes,
        ("protect", _) => wrong(place, is_a, "true or false", "write protect = true"),
        ("existing", Item::Text(id)) => match template::literal(&Value::from(id.as_str())) {
            Some(Value::String(id)) if !id.is_empty() => block.existing = Some(id),
            // What is wrong with a variable or another stack was told where that was looked up.
            _ if is_left_over(&id) => block.existing = Some(id),
            _ => wrong(place, "not known yet", "an id", "give the id itself, a variable, or another stack's output"),
        },
        ("existing", _) => wrong(place, is_a, "an id", "give the id of what exists: \"vpc-0123456789abcdef0\""),
        ("depends_on", Item::List(items)) => {
            for item in items {
                match item.text() {
                    Some(text) => block.depends_on.push((text.to_owned(), item.place)),
                    None => wrong(item.place, item.is_a(), "an address", "write addresses: [\"nat_gateway.main\"]"),
                }
            }
        }
        (_, Item::Text(text)) => {
            wrong(place, "a text", "a list of addresses", &format!("put it in brackets: [\"{text}\"]"));
        }
        _ => wrong(place, is_a, "a list of addresses", "write addresses: [\"nat_gateway.main\"]"),
    }
}

/// Whether a text still names what is known before any resource is: it was looked up and not found.
fn is_left_over(text: &str) -> bool {
    template::references(text).iter().any(Scopes::owns)
}

/// Checks the environments that are not planned for as far as that goes: keys, kinds and types.
pub fn check_environment(environment: &Entry, language: &Language<'_>, report: &mut Report) {
    let schema = top_schema();
    let shape = Shape::new(&schema);
    for entry in environment.node.entries() {
        if matches!(entry.key.as_str(), "remove" | "vars" | "outputs") {
            continue;
        }
        let what = format!("env.{}.{}", environment.key, entry.key);
        let partial = Mode { partial: true, ..Mode::default() };
        match (language.block(&entry.key), shape.property(&entry.key)) {
            (Some(block), _) => {
                for one in entry.node.entries() {
                    let mut node = one.node.clone();
                    let meta = block.meta();
                    if let Item::Table(table) = &mut node.item {
                        table.entries.retain(|entry| !meta.contains(&entry.key.as_str()));
                    }
                    let mode = Mode { besides: &meta, ..partial };
                    Shape::new(&block.schema).check(&node, &format!("{what}.{}", one.key), mode, report);
                }
            }
            (None, Some(property)) if !matches!(entry.key.as_str(), "name" | "env") => {
                property.check(&entry.node, &what, partial, report);
            }
            _ => {
                let top = shape.properties().into_iter().map(|(key, _)| key);
                let names = top.filter(|key| !matches!(*key, "name" | "env")).chain(language.names());
                let message = match entry.key.as_str() {
                    "name" => "an environment cannot rename its stack".to_owned(),
                    _ => format!("`env.{}` has no key `{}`", environment.key, entry.key),
                };
                let help = match entry.key.as_str() {
                    "name" => Some("take it out: names in the cloud begin with STACK-ENV already".to_owned()),
                    _ => did_you_mean(&entry.key, names.chain(["remove"]), "it takes"),
                };
                report.error(Finding::at(entry.key_place, message).maybe_help(help));
            }
        }
    }
}
