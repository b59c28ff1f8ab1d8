//! From the tree of a stack file to its blocks: the top-level keys, kinds and names, and what every block may carry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::diagnostic::{Finding, Report, did_you_mean, nearest};
use super::language::{BlockKind, Language, What, top_schema};
use super::moves::{self, Move};
use super::node::{Entry, Item, Node, Table};
use super::scopes::Scopes;
use super::shape::{Mode, Shape};
use super::source::Place;
use crate::aws::bucket::BucketAt;
use crate::aws::facts;
use crate::graph::{Address, template};
use crate::state::Encrypt;

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
            Item::List(items) if items.iter().all(|item| item.table().is_some()) => Finding::at(
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
