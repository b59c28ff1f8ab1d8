//! What the tests of constructs share: expanding a block of a stack's text, and the outcome as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::{Expansion, Input, all};
use crate::graph::{Address, Attributes, Names, Problem, Scope};

/// A stack in eu-west-2.
pub fn scope() -> Scope {
    Scope { stack: "shop".into(), env: None, account: None, region: "eu-west-2".into(), partition: "aws".into() }
}

/// The blocks of a stack's text, `[kind.name]` by `[kind.name]`.
pub fn blocks(text: &str) -> BTreeMap<Address, Attributes> {
    let stack: toml::Table = text.parse().expect("the text is TOML");
    let mut blocks = BTreeMap::new();
    for (kind, names) in stack {
        if matches!(kind.as_str(), "vars" | "tags" | "outputs" | "env") {
            continue;
        }
        for (name, block) in names.as_table().into_iter().flatten() {
            let Ok(Value::Object(attributes)) = serde_json::to_value(block) else {
                panic!("{kind}.{name} is no table")
            };
            blocks.insert(Address::new(&kind, name), attributes);
        }
    }
    blocks
}

/// One block of a stack's text, expanded.
pub fn expand(text: &str, address: &str) -> Result<Expansion, Vec<Problem>> {
    expand_in(&blocks(text), address)
}

/// One block, expanded.
pub fn expand_in(blocks: &BTreeMap<Address, Attributes>, address: &str) -> Result<Expansion, Vec<Problem>> {
    let address = Address::parse(address).expect("an address");
    let declared: BTreeSet<Address> = blocks.keys().cloned().collect();
    let construct = all().into_iter().find(|one| one.name() == address.kind()).expect("a construct");
    let scope = scope();
    let attributes = &blocks[&address];
    construct.expand(&Input {
        address: &address,
        attributes,
        scope: &scope,
        declared: &declared,
        blocks,
        tags: &BTreeMap::new(),
        names: &Names::default(),
    })
}

/// An expansion as text: every resource with its attributes, sorted; then exports and what the construct stands for.
pub fn text(expansion: &Expansion) -> String {
    let mut out = String::new();
    let mut resources: Vec<_> = expansion.resources.iter().collect();
    resources.sort_by_key(|resource| &resource.address);
    for resource in resources {
        let existing = resource.existing.as_ref().map(|id| format!("  = {id}")).unwrap_or_default();
        writeln!(out, "{}{existing}", resource.address).unwrap();
        for (name, value) in &resource.attributes {
            match value {
                Value::String(text) if text.contains('\n') => {
                    writeln!(out, "    {name}:").unwrap();
                    text.lines().for_each(|line| writeln!(out, "      | {line}").unwrap());
                }
                _ => writeln!(out, "    {name} = {value}").unwrap(),
            }
        }
        for address in &resource.depends_on {
            writeln!(out, "    after {address}").unwrap();
        }
    }
    out.push_str("exports\n");
    for (name, value) in &expansion.exports {
        writeln!(out, "    {name} = {value}").unwrap();
    }
    out.push_str("stands for\n");
    for (kind, address) in &expansion.stands_for {
        writeln!(out, "    {kind} = {address}").unwrap();
    }
    out
}

/// The attributes of one resource of an expansion.
pub fn attributes<'a>(expansion: &'a Expansion, address: &str) -> &'a Attributes {
    let found = expansion.resources.iter().find(|resource| resource.address.as_str() == address);
    &found.unwrap_or_else(|| panic!("{address} is not among {}", addresses(expansion).join(", "))).attributes
}

/// The addresses of an expansion, sorted.
pub fn addresses(expansion: &Expansion) -> Vec<&str> {
    let mut all: Vec<_> = expansion.resources.iter().map(|resource| resource.address.as_str()).collect();
    all.sort_unstable();
    all
}

/// Problems as text: path, message, help.
pub fn problems(found: Result<Expansion, Vec<Problem>>) -> Vec<String> {
    let mut all: Vec<String> = found
        .expect_err("there are problems")
        .into_iter()
        .map(|p| format!("{}: {} ({})", p.path.join("."), p.message, p.help.unwrap_or_default()))
        .collect();
    all.sort_unstable();
    all
}
