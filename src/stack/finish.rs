//! The last steps of each resource: its name, its tags, its canonical form, and what its kind has to say about it.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::blocks::Block;
use super::diagnostic::{Finding, Report};
use super::expand::finding;
use super::node::Item;
use super::shape::Shape;
use super::top::check_tags;
use crate::cloud::{ADDRESS_TAG, ENV_TAG, NAMED_TAG, REGION_TAG, STACK_TAG};
use crate::graph::{Address, Attributes, KindSpec, Names, Resource, Scope, template};

/// What all resources of a stack share.
pub struct Finish<'f> {
    /// Names and region.
    pub scope: Scope,
    /// The stack's own tags.
    pub tags: &'f BTreeMap<String, String>,
    /// What keeps the names of an address that it no longer has.
    pub names: &'f Names,
}

impl Finish<'_> {
    /// The resource that a block stands for, whole.
    pub fn resource(
        &self,
        block: &Block,
        depends_on: Vec<Address>,
        spec: &KindSpec,
        schema: &Value,
        report: &mut Report,
    ) -> Resource {
        let mut attributes = match block.node.value() {
            Value::Object(map) => map,
            _ => Attributes::new(),
        };
        let mut made_name = block.made_name;
        if block.existing.is_none() {
            made_name |= self.name(block, spec, &mut attributes);
            if spec.taggable {
                self.tag(block, spec, &mut attributes, report);
            }
            attributes = checked(block, attributes, spec, Shape::new(schema), report);
        }
        Resource {
            address: block.address.clone(),
            attributes,
            depends_on,
            protect: block.protect,
            existing: block.existing.clone(),
            made_name,
        }
    }

    /// Gives it a name where the stack does not; says whether it did.
    fn name(&self, block: &Block, spec: &KindSpec, attributes: &mut Attributes) -> bool {
        let Some(naming) = spec.naming else { return false };
        let is_made = attributes.get(naming.attribute).is_none_or(|name| name.as_str() == Some(""));
        if is_made {
            let given: Vec<String> =
                spec.name_digests.iter().filter_map(|name| attributes.get(*name)).map(Value::to_string).collect();
            let origin = self.names.origin(&block.address).slug();
            let slug = match given.is_empty() {
                true => origin,
                false => format!("{origin}-{}", &hex(&Sha256::digest(given.concat()))[..4]),
            };
            let name = default_name(&self.scope.prefix(), &slug, naming.longest);
            attributes.insert(naming.attribute.to_owned(), name.into());
        }
        is_made
    }

    fn tag(&self, block: &Block, spec: &KindSpec, attributes: &mut Attributes, report: &mut Report) {
        let mut tags: BTreeMap<String, String> = self.tags.clone();
        if let Some(entry) = block.node.table().and_then(|table| table.entry("tags"))
            && !block.bad.contains("tags")
        {
            if !matches!(entry.node.item, Item::Table(_)) {
                report.error(
                    Finding::at(entry.node.place, format!("`{}.tags` is {}", block.address, entry.node.is_a()))
                        .help("write a table: tags = { Team = \"platform\" }"),
                );
            }
            tags.extend(check_tags(&entry.node, report));
        }
        let name = format!("{}-{}", self.scope.prefix(), block.address.slug());
        tags.entry("Name".to_owned()).or_insert(name);
        tags.insert(STACK_TAG.to_owned(), self.scope.stack.clone());
        tags.insert(ADDRESS_TAG.to_owned(), block.address.as_str().to_owned());
        let origin = self.names.origin(&block.address);
        if *origin != block.address {
            tags.insert(NAMED_TAG.to_owned(), origin.as_str().to_owned());
        }
        if let Some(env) = &self.scope.env {
            tags.insert(ENV_TAG.to_owned(), env.clone());
        }
        if spec.account_wide {
            tags.insert(REGION_TAG.to_owned(), self.scope.region.clone());
        }
        let most = spec.most_tags;
        if tags.len() > most {
            let message = format!("`{}` has {} tags, and {most} are allowed", block.address, tags.len());
            let own = tags.keys().filter(|key| key.starts_with("cofferdam:")).count();
            let help = format!("take some out, here or in the stack's [tags]; {own} of them say whose it is");
            report.error(Finding::at(block.header, message).help(help));
        }
        let tags: Attributes = tags.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
        attributes.insert("tags".to_owned(), tags.into());
    }
}

/// `prefix-slug` in lower case, shortened to what the cloud takes; a short hash then keeps it unique.
pub fn default_name(prefix: &str, slug: &str, longest: usize) -> String {
    let whole = format!("{prefix}-{slug}").to_lowercase().replace('_', "-");
    if whole.len() <= longest {
        return whole;
    }
    let digest = hex(&Sha256::digest(whole.as_bytes()));
    let hash = &digest[..8.min(longest)];
    let room = longest.saturating_sub(hash.len() + 1);
    let kept = whole.get(..room).unwrap_or_default().trim_end_matches('-');
    if kept.is_empty() { hash.to_owned() } else { format!("{kept}-{hash}") }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The canonical form, if the attributes have one, and the kind's own checks.
fn checked(
    block: &Block,
    attributes: Attributes,
    spec: &KindSpec,
    shape: Shape<'_>,
    report: &mut Report,
) -> Attributes {
    if block.broken {
        // Only what stands on its own two feet is looked at any further.
        for problem in (spec.check)(&attributes) {
            let about = problem.path.first();
            if about.is_some_and(|name| !block.bad.contains(name) && attributes.contains_key(name)) {
                report.error(finding(block, &problem, &attributes));
            }
        }
        return attributes;
    }
    // A reference may stand where a number or a list will be: the type does not take it until it is known.
    let mut masked = attributes.clone();
    let mut unknown = Vec::new();
    for (name, value) in &attributes {
        let Some(shape) = shape.property(name) else { continue };
        let mut known = value.clone();
        if mask(&mut known, shape) {
            masked.insert(name.clone(), known);
            unknown.push(name);
        }
    }
    let mut canonical = match (spec.canonical)(masked) {
        Ok(canonical) => canonical,
        Err(problem) => {
            report.error(finding(block, &problem, &attributes));
            return attributes;
        }
    };
    if unknown.is_empty() {
        for problem in (spec.check)(&canonical) {
            let told = problem.path.first().is_some_and(|name| block.bad.contains(name));
            if !told {
                report.error(finding(block, &problem, &canonical));
            }
        }
    }
    for name in unknown {
        if let Some(value) = attributes.get(name) {
            canonical.insert(name.clone(), value.clone());
        }
    }
    canonical
}

/// Replaces references that stand where no text may by the simplest value of their type; says whether there were any.
fn mask(value: &mut Value, shape: Shape<'_>) -> bool {
    match value {
        Value::String(_) if template::is_unknown(value) && !shape.takes_text() => {
            *value = shape.simplest();
            true
        }
        Value::Array(items) => {
            let Some(shape) = shape.items() else { return false };
            items.iter_mut().fold(false, |any, item| mask(item, shape) | any)
        }
        Value::Object(map) => map.iter_mut().fold(false, |any, (key, item)| match shape.property(key) {
            Some(shape) => mask(item, shape) | any,
            None => any,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_unique() {
        assert_eq!(default_name("web-prod", "Main_A", 64), "web-prod-main-a");
        let one = default_name("a-very-long-stack-name", "with-a-long-resource-name-1", 32);
        let two = default_name("a-very-long-stack-name", "with-a-long-resource-name-2", 32);
        assert!(one.len() <= 32 && one.starts_with("a-very-long-stack-name-") && one != two, "{one} {two}");
    }
}
