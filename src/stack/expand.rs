//! Constructs into resources.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::blocks::Block;
use super::diagnostic::{Finding, Report};
use super::language::{Language, What};
use super::node::{Item, Node, Part};
use super::scopes::Scopes;
use super::shape::{Shape, is_whole_reference};
use super::source::Place;
use crate::constructs::{Construct, Expansion, Input};
use crate::graph::{Address, Attributes, Names, Problem, Scope, template};

/// A construct and what it expanded to.
#[derive(Debug)]
pub struct Expanded {
    /// The block itself.
    pub block: Block,
    /// `None` where something is wrong with it; told already.
    pub expansion: Option<Expansion>,
    /// What is not known where it has to be. Where the reference itself is wrong, that is told instead.
    pub unknown: Vec<Finding>,
    /// What may follow from mistakes elsewhere: told where there are none.
    pub follows: Vec<Finding>,
    /// Other stacks whose outputs it needs for more than is known of them: for who only checks, no mistake.
    pub waits_for: BTreeSet<String>,
    /// How many errors it was found to have itself.
    pub errors: usize,
}

/// Splits constructs from resources and expands them. The resources of constructs come with places of what they were
/// made from. Who only checks does without the values of other stacks' outputs.
pub fn expand(
    blocks: Vec<Block>,
    language: &Language<'_>,
    scope: Option<&Scope>,
    (tags, names): (&BTreeMap<String, String>, &Names),
    only_checks: bool,
    report: &mut Report,
) -> (Vec<Block>, BTreeMap<String, Expanded>) {
    let declared: BTreeSet<Address> = blocks.iter().map(|block| block.address.clone()).collect();
    let is_construct = |block: &Block| language.spec(block.address.kind()).is_none();
    // Only constructs look at their siblings.
    let siblings: BTreeMap<Address, Attributes> = match blocks.iter().any(is_construct) {
        true => blocks.iter().map(|block| (block.address.clone(), sibling(block))).collect(),
        false => BTreeMap::new(),
    };
    let mut resources = Vec::with_capacity(blocks.len());
    let mut constructs = BTreeMap::new();
    for block in blocks {
        let Some(What::Construct(construct)) = language.block(block.address.kind()).map(|b| b.what) else {
            resources.push(block);
            continue;
        };
        let (mut expansion, mut follows, before) = (None, Vec::new(), report.errors());
        let mut unknown = Unknown::default();
        if let Some(kind) = language.block(block.address.kind()) {
            unknown.look(&block.node, Shape::new(&kind.schema), block.address.as_str());
        }
        // Of a block that is wrong already, no more is told than what is wrong for itself.
        let told = block.broken.then(|| judged_alone(&block, construct, language));
        if let (true, Some(scope), false) = (told.is_none_or(|told| !told.is_empty()), scope, unknown.any) {
            let mut attributes = attributes_of(&block);
            attributes.retain(|name, _| !block.bad.contains(name));
            let (address, declared) = (&block.address, &declared);
            let input = Input { address, attributes: &attributes, scope, declared, blocks: &siblings, tags, names };
            match construct.expand(&input) {
                Ok(_) if told.is_some() => {}
                Ok(expanded) => {
                    resources.extend(made(&block, &expanded));
                    expansion = Some(expanded);
                }
                Err(problems) => {
                    let judged = |problem: &Problem| {
                        told.is_none_or(|told| problem.path.first().is_some_and(|name| told.contains(&name.as_str())))
                    };
                    for problem in problems.into_iter().filter(judged) {
                        let stacks = if only_checks { blamed(&problem, &attributes) } else { BTreeSet::new() };
                        if !stacks.is_empty() {
                            unknown.stacks.extend(stacks);
                            continue;
                        }
                        let finding = finding(&block, &problem, &attributes);
                        match problem.maybe_follows {
                            true => follows.push(finding),
                            false => report.error(finding),
                        }
                    }
                }
            }
        }
        let errors = report.errors() - before;
        let Unknown { findings: unknown, mut stacks, .. } = unknown;
        stacks.retain(|_| only_checks && expansion.is_none());
        constructs.insert(
            block.address.as_str().to_owned(),
            Expanded { block, expansion, unknown, follows, waits_for: stacks, errors },
        );
    }
    (resources, constructs)
}

/// The attributes of a block that can be judged although others of it are wrong. None where these are among the wrong ones, or
/// may be meant by a key that there is not.
fn judged_alone(block: &Block, construct: &dyn Construct, language: &Language<'_>) -> &'static [&'static str] {
    let names = construct.judged_alone();
    let Some(kind) = language.block(block.address.kind()) else { return &[] };
    let shape = Shape::new(&kind.schema);
    let is_apart = |name: &String| shape.property(name).is_some() && !names.contains(&name.as_str());
    if block.misspelled || !block.bad.iter().all(is_apart) { &[] } else { names }
}

/// References where a construct has to know the value: numbers, switches, lists and tables decide what it expands to.
#[derive(Default)]
struct Unknown {
    any: bool,
    findings: Vec<Finding>,
    /// The other stacks that know it.
    stacks: BTreeSet<String>,
}

impl Unknown {
    fn look(&mut self, node: &Node, shape: Shape<'_>, what: &str) {
        // Documents are filled in later, and lists of names may come as one reference.
        let is_files = shape.extension("x-files").is_some();
        if ["x-file", "x-reference"].iter().any(|extension| shape.extension(extension).is_some()) {
            return;
        }
        match &node.item {
            Item::Text(text) if is_whole_reference(node) && (is_files || !shape.takes_text()) => {
                self.any = true;
                // What is wrong with a variable or another stack was told where that was looked up.
                if template::references(text).iter().any(Scopes::owns) {
                    self.stacks.extend(Scopes::stacks_in(text));
                    return;
                }
                let wanted = if is_files { "a list of files".to_owned() } else { shape.wanted() };
                let message = format!("`{what}` is {text}, which is only known later, and must be {wanted}");
                self.findings.push(
                    Finding::at(node.place, message)
                        .help("what there is follows from it: give the value itself, or a variable"),
                );
            }
            _ if is_files => {}
            Item::List(items) => {
                let Some(shape) = shape.items() else { return };
                for (index, item) in items.iter().enumerate() {
                    self.look(item, shape, &format!("{what}[{index}]"));
                }
            }
            Item::Table(table) => {
                for entry in &table.entries {
                    if let Some(shape) = shape.property(&entry.key) {
                        self.look(&entry.node, shape, &format!("{what}.{}", entry.key));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The other stacks whose outputs, not known yet, a problem is with: its value, or what it says, names some.
fn blamed(problem: &Problem, attributes: &Attributes) -> BTreeSet<String> {
    let mut stacks: BTreeSet<String> = Scopes::stacks_in(&problem.message).collect();
    let Some((first, rest)) = problem.path.split_first() else { return stacks };
    let mut value = attributes.get(first);
    for step in rest {
        value = value.and_then(|value| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        });
    }
    if let Some(value) = value {
        template::each_reference(value, &mut |reference| stacks.extend(Scopes::stack_of(&reference)));
    }
    stacks
}

/// A problem that a check found, at its place.
pub fn finding(block: &Block, problem: &Problem, attributes: &Attributes) -> Finding {
    let place = block.node.find(&problem.path, &Value::Object(attributes.clone()), block.header);
    let message = match problem.path.is_empty() {
        true => format!("`{}`: {}", block.address, problem.message),
        false => format!("`{}.{}`: {}", block.address, problem.path.join("."), problem.message),
    };
    Finding::at(place, message).inside(&problem.inside).maybe_help(problem.help.clone())
}

fn attributes_of(block: &Block) -> Attributes {
    match block.node.value() {
        Value::Object(map) => map,
        _ => Attributes::new(),
    }
}

/// What constructs see of a block beside them: its attributes, and whether it exists already.
fn sibling(block: &Block) -> Attributes {
    let mut attributes = attributes_of(block);
    // What is wrong with a value is told where it stands, and not once more of what it is passed on to.
    attributes.retain(|name, _| !block.bad.contains(name));
    attributes.extend(block.existing.iter().map(|id| ("existing".to_owned(), Value::from(id.as_str()))));
    attributes
}

fn made(block: &Block, expansion: &Expansion) -> Vec<Block> {
    let places = Places::of(&block.node);
    expansion
        .resources
        .iter()
        .map(|resource| {
            let attributes = Value::Object(resource.attributes.clone());
            let mut node = Node::of(&attributes, block.header, &|key, value| places.find(key, value));
            if let Item::Table(table) = &mut node.item {
                table.entries.retain(|entry| resource.attributes.get(&entry.key).is_some_and(|v| !v.is_null()));
            }
            let own = resource.depends_on.iter().map(|address| (address.as_str().to_owned(), block.header));
            Block {
                address: resource.address.clone(),
                header: block.header,
                node,
                depends_on: own.chain(block.depends_on.iter().cloned()).collect(),
                protect: resource.protect || block.protect,
                existing: resource.existing.clone(),
                made_name: resource.made_name,
                bad: BTreeSet::new(),
                broken: false,
                misspelled: false,
            }
        })
        .collect()
}

/// Where a construct's parts were written: what it passes on keeps that place.
struct Places<'a> {
    keys: HashMap<&'a str, Place>,
    texts: HashMap<&'a str, Place>,
    /// Numbers and switches mean nothing without their key.
    under: HashMap<(&'a str, String), Place>,
}

impl<'a> Places<'a> {
    fn of(node: &'a Node) -> Self {
        let mut places = Self { keys: HashMap::new(), texts: HashMap::new(), under: HashMap::new() };
        node.each_part(&mut |key, part| match part {
            Part::Key(place) => drop(places.keys.entry(key).or_insert(place)),
            Part::Value(value) => {
                places.under.entry((key, value.value().to_string())).or_insert(value.place);
                if let Some(text) = value.text() {
                    places.texts.entry(text).or_insert(value.place);
                }
            }
        });
        places
    }

    fn find(&self, key: &str, value: &Value) -> Option<Place> {
        match value {
            Value::Null => self.keys.get(key).copied(),
            Value::String(text) => {
                let same = self.under.get(&(key, value.to_string())).or_else(|| self.texts.get(text.as_str()));
                same.or_else(|| self.keys.get(text.as_str())).copied()
            }
            _ => self.under.get(&(key, value.to_string())).copied(),
        }
    }
}
