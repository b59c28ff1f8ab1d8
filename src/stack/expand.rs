//! Constructs into resources.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::blocks::Block;
use super::diagnostic::{Finding, Report};
use super::language::{Language, What};
use super::node::{Item, Node};
use super::source::Place;
use crate::constructs::{Expansion, Input};
use crate::graph::{Address, Attributes, Names, Problem, Scope};

/// A construct and what it expanded to.
#[derive(Debug)]
pub struct Expanded {
    /// The block itself.
    pub block: Block,
    /// `None` where something is wrong with it; told already.
    pub expansion: Option<Expansion>,
}

/// Splits constructs from resources and expands them. The resources of constructs come with places of what they were
/// made from.
pub fn expand(
    blocks: Vec<Block>,
    language: &Language<'_>,
    scope: Option<&Scope>,
    (tags, names): (&BTreeMap<String, String>, &Names),
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
        let mut expansion = None;
        if let (false, Some(scope)) = (block.broken, scope) {
            let attributes = attributes_of(&block);
            let (address, declared) = (&block.address, &declared);
            let input = Input { address, attributes: &attributes, scope, declared, blocks: &siblings, tags, names };
            match construct.expand(&input) {
                Ok(expanded) => {
                    resources.extend(made(&block, &expanded));
                    expansion = Some(expanded);
                }
                Err(problems) => {
                    for problem in problems {
                        report.error(finding(&block, &problem, &attributes));
                    }
                }
            }
        }
        constructs.insert(block.address.as_str().to_owned(), Expanded { block, expansion });
    }
    (resources, constructs)
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
    attributes.extend(block.existing.iter().map(|id| ("existing".to_owned(), Value::from(id.as_str()))));
    attributes
}

fn made(block: &Block, expansion: &Expansion) -> Vec<Block> {
    // What a construct passes on keeps the place where it was written.
    let mut places: HashMap<&str, Place> = HashMap::new();
    block.node.each_text(&mut |text, place| {
        places.entry(text).or_insert(place);
    });
    block.node.each_key(&mut |key, place| {
        places.entry(key).or_insert(place);
    });
    let place_of = |text: &str| places.get(text).copied();
    expansion
        .resources
        .iter()
        .map(|resource| {
            let attributes = Value::Object(resource.attributes.clone());
            let mut node = Node::of(&attributes, block.header, &place_of);
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
            }
        })
        .collect()
}
