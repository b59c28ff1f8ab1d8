//! What names in a stack mean: bare names, zone letters, what constructs export, and whether every reference has its
//! target.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::blocks::{Block, Unread};
use super::diagnostic::{Finding, Report, did_you_mean, list, nearest};
use super::expand::Expanded;
use super::language::Language;
use super::node::{Item, Node};
use super::scopes::Scopes;
use super::shape::{Shape, each_extended};
use super::source::{Place, Sources};
use super::substitute::{UNREAD, is_reference, substitute};
use crate::aws::facts;
use crate::graph::template::{self, Part};
use crate::graph::{Address, Reference};
use crate::words::nearest_address;

/// Everything that names can mean.
pub struct Names<'n, 'a> {
    pub language: &'n Language<'a>,
    pub constructs: &'n BTreeMap<String, Expanded>,
    /// Every resource there is.
    pub resources: HashSet<String>,
    /// Blocks that could not be read; told already.
    pub unread: &'n Unread,
    /// The region, where it is one.
    pub region: Option<&'n str>,
    pub sources: &'n Sources,
}

/// What a bare name means.
enum Meaning {
    Resource(String),
    /// It is no name.
    Literal,
    /// Its target, this address, is wrong, and that is told already.
    Broken(String),
    Unknown,
}

impl Names<'_, '_> {
    /// Resolves bare names and zones in a block's attributes.
    pub fn resolve(&self, block: &mut Block, shape: Shape<'_>, report: &mut Report) {
        let Item::Table(table) = &mut block.node.item else { return };
        for entry in &mut table.entries {
            let Some(shape) = shape.property(&entry.key) else { continue };
            let names = ["x-reference", "x-zone", "x-file", "x-files"];
            each_extended(&mut entry.node, shape, &names, &mut |node, extension, value| match extension {
                "x-zone" => self.zone(node, report),
                "x-file" | "x-files" if self.constructs.is_empty() || value == "text" => {}
                "x-file" | "x-files" => self.fill_document(node, report),
                _ => self.bare_name(node, value, report),
            });
        }
    }

    fn zone(&self, node: &mut Node, report: &mut Report) {
        let (Some(region), Item::Text(zone)) = (self.region, &mut node.item) else { return };
        if zone.contains("${") {
            return;
        }
        if facts::zone_may_exist(region, zone) {
            *zone = facts::zone_name(region, zone);
            return;
        }
        let letters: Vec<String> = facts::zone_letters(region).into_iter().flatten().map(String::from).collect();
        report.error(Finding::at(node.place, format!("`{zone}` is no availability zone of {region}")).help(format!(
            "its zones are {} ({region}{} in full)",
            list(letters.iter().map(String::as_str)),
            letters.first().map_or("a", String::as_str)
        )));
        *zone = facts::zone_name(region, "a");
    }

    fn bare_name(&self, node: &mut Node, extension: &Value, report: &mut Report) {
        let Item::Text(name) = &node.item else { return };
        if name.contains("${") {
            return;
        }
        let targets: Vec<(&str, &str)> = match extension {
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect::<Vec<_>>(),
        }
        .into_iter()
        .filter_map(|target| target.split_once('.'))
        .collect();
        let Some(&(kind, wanted)) = targets.first() else { return };
        // What another stack put out is what it says, and no name of this stack's.
        if self.sources.begins_with(node.place, "${stack.") {
            return;
        }
        for &(kind, attribute) in &targets {
            match self.meaning(kind, name) {
                Meaning::Resource(address) | Meaning::Broken(address) => {
                    node.item = Item::Text(format!("${{{address}.{attribute}}}"));
                    return;
                }
                Meaning::Literal => return,
                Meaning::Unknown => {}
            }
        }
        report.error(self.no_such(kind, wanted, name, node.place));
        node.item = Item::Text(UNREAD.to_owned());
    }

    fn meaning(&self, kind: &str, name: &str) -> Meaning {
        if is_reserved(kind, name) {
            return Meaning::Literal;
        }
        let address = format!("{kind}.{name}");
        if self.resources.contains(&address) {
            return Meaning::Resource(address);
        }
        // The whole address is as good as the name.
        if self.resources.contains(name) && Address::parse(name).is_ok_and(|address| address.kind() == kind) {
            return Meaning::Resource(name.to_owned());
        }
        if self.unread.has(&address) {
            return Meaning::Broken(address);
        }
        let mut broken = None;
        for (construct, expanded) in self.constructs {
            if expanded.block.address.name() != name && construct != name {
                continue;
            }
            match &expanded.expansion {
                Some(expansion) => {
                    if let Some(address) = expansion.stands_for.get(kind) {
                        return Meaning::Resource(address.as_str().to_owned());
                    }
                }
                None => broken = Some(construct.clone()),
            }
        }
        // A construct that could not be read may stand for it.
        let unread = self.unread.kinds().find(|kind| self.language.spec(kind).is_none());
        match broken.or_else(|| unread.map(|kind| format!("{kind}.{name}"))) {
            Some(construct) => Meaning::Broken(construct),
            None if looks_literal(kind, name) => Meaning::Literal,
            None => Meaning::Unknown,
        }
    }

    fn no_such(&self, kind: &str, wanted: &str, name: &str, place: Place) -> Finding {
        let finding = Finding::at(place, format!("there is no {kind} named `{name}`"));
        let prefix = format!("{kind}.");
        let own = self.resources.iter().filter_map(|address| address.strip_prefix(&prefix));
        let own = own.filter(|name| !name.contains('/'));
        let by_construct = self.constructs.values().filter_map(|expanded| {
            expanded.expansion.as_ref()?.stands_for.get(kind).map(|_| expanded.block.address.name())
        });
        let help = did_you_mean(name, own.chain(by_construct), "there are");
        finding.help(help.unwrap_or_else(|| match self.language.block(kind) {
            Some(_) if wanted == "name" => {
                format!("declare [{kind}.{name}]; for one that exists already, with existing = \"{name}\" in it")
            }
            Some(_) => format!("declare [{kind}.{name}], or give the id or ARN of one that exists"),
            None => "give the id or ARN of one that exists".to_owned(),
        }))
    }

    /// Puts what constructs export into documents, as part of their structure: a list in place of a text.
    fn fill_document(&self, node: &mut Node, report: &mut Report) {
        if let Item::Table(table) = &mut node.item {
            return table.entries.iter_mut().for_each(|entry| self.fill_document(&mut entry.node, report));
        }
        let Some(Ok(document)) = node.text().filter(|text| text.contains("${")).map(serde_json::from_str) else {
            return;
        };
        let mut document = Node::at(&document, node.place);
        substitute(&mut document, self.sources, report, &mut |reference, at, report| {
            self.export(reference, at, report)
        });
        node.item = Item::Text(document.value().to_string());
    }

    /// Puts in what constructs export, and reports references without a target.
    pub fn references(&self, node: &mut Node, report: &mut Report) {
        if !self.constructs.is_empty() {
            substitute(node, self.sources, report, &mut |reference, at, report| self.export(reference, at, report));
        }
        node.each_text(&mut |text, place| {
            if !text.contains("${") {
                return;
            }
            for part in template::parts(text) {
                if let Part::Reference(inner, _) = part
                    && is_reference(inner)
                    && let Some(reference) = Reference::parse(inner)
                {
                    let at = || self.sources.within(place, &format!("${{{inner}}}"));
                    self.check_reference(&reference, &at, report);
                }
            }
        });
    }

    fn export(&self, reference: &Reference, at: Place, report: &mut Report) -> Option<Value> {
        let expansion = self.constructs.get(&reference.target)?.expansion.as_ref()?;
        if let Some(value) = expansion.exports.get(&reference.attribute) {
            return Some(value.clone());
        }
        let known = expansion.exports.keys().map(String::as_str);
        report.error(
            Finding::at(at, format!("`{}` exports no `{}`", reference.target, reference.attribute))
                .maybe_help(did_you_mean(&reference.attribute, known, "it exports")),
        );
        None
    }

    fn check_reference(&self, reference: &Reference, at: &dyn Fn() -> Place, report: &mut Report) {
        let target = &reference.target;
        // Constructs are asked for their exports before; what is wrong with them was told then.
        if Scopes::owns(reference) || self.constructs.contains_key(target) {
            return;
        }
        if !self.resources.contains(target) {
            if self.is_missed(target) {
                return;
            }
            let finding = self.no_target(reference, at());
            report.error(finding);
            return;
        }
        let kind = Address::parse(target).map(|address| address.kind().to_owned()).unwrap_or_default();
        let (Some(block), Some(spec)) = (self.language.block(&kind), self.language.spec(&kind)) else { return };
        let shape = Shape::new(&block.schema);
        if !spec.has_output(&reference.attribute) && shape.property(&reference.attribute).is_none() {
            let attributes = shape.properties();
            let all = attributes.iter().map(|(key, _)| *key).chain(spec.outputs.iter().copied()).chain(["id"]);
            report.error(
                Finding::at(at(), format!("a {kind} has no attribute `{}`", reference.attribute))
                    .maybe_help(did_you_mean(&reference.attribute, all, "it has")),
            );
        }
    }

    /// Whether an address is missing because of a mistake that is told where it was made: a block that could not be read,
    /// or a construct that was not expanded, to which it belongs, or which would have put it below what is shared.
    pub fn is_missed(&self, address: &str) -> bool {
        let is_broken = |expanded: &Expanded| expanded.expansion.is_none();
        let by_construct = match address.split_once('/') {
            Some((owner, _)) => match self.constructs.get(owner) {
                Some(expanded) => is_broken(expanded),
                None => self.constructs.values().any(is_broken),
            },
            None => false,
        };
        by_construct || self.unread.has(address)
    }

    fn no_target(&self, reference: &Reference, at: Place) -> Finding {
        let target = &reference.target;
        if target.contains('/') {
            let construct = target.split('/').next().unwrap_or("");
            let inside = self.resources.iter().filter(|address| address.starts_with(&format!("{construct}/")));
            return Finding::at(at, format!("there is no `{target}`")).maybe_help(did_you_mean(
                target,
                inside.map(String::as_str),
                "there are",
            ));
        }
        let Some((kind, name)) = target.split_once('.') else {
            let help = match meant_scope(target) {
                Some(scope) => format!("did you mean `${{{scope}.{}}}`?", reference.attribute),
                None => "references look like ${vpc.main.id}, ${vars.x} or ${self.region}".to_owned(),
            };
            return Finding::at(at, format!("`${{{reference}}}` is no reference")).help(help);
        };
        if self.language.block(kind).is_none() {
            let known = self.language.names().chain(["vars", "self", "stack"]);
            let help = meant_scope(kind).or_else(|| nearest(kind, known)).map(|near| format!("did you mean `{near}`?"));
            return Finding::at(at, format!("`${{{reference}}}` names no kind of block: there is no `{kind}`"))
                .help(help.unwrap_or_else(|| format!("for the text itself write `$${{{reference}}}`")));
        }
        match self.constructs.keys().find(|construct| construct.split_once('.') == Some((kind, name))) {
            Some(construct) => Finding::at(at, format!("`{construct}` has no `{}`", reference.attribute)),
            None => {
                let prefix = format!("{kind}.");
                let own = self.resources.iter().chain(self.constructs.keys());
                let own = own.filter_map(|address| address.strip_prefix(&prefix)).filter(|name| !name.contains('/'));
                let below = format!("/{target}");
                let help = match self.resources.iter().filter(|address| address.ends_with(&below)).min() {
                    Some(below) => Some(format!("did you mean `${{{below}.{}}}`?", reference.attribute)),
                    None => did_you_mean(name, own, "there are"),
                };
                Finding::at(at, format!("there is no {kind} named `{name}`"))
                    .help(help.unwrap_or_else(|| format!("declare [{kind}.{name}]")))
            }
        }
    }

    /// The addresses that a `depends_on` names: a resource, or all of a construct.
    pub fn dependencies(&self, block: &Block, report: &mut Report) -> Vec<Address> {
        let mut out = Vec::new();
        for (text, place) in &block.depends_on {
            match Address::parse(text) {
                Err(error) => report.error(
                    Finding::at(*place, error.to_string())
                        .maybe_help(self.full_address(text).or(Some("write kind.name".to_owned()))),
                ),
                Ok(address) => match self.constructs.get(text) {
                    Some(expanded) => out.extend(
                        expanded.expansion.iter().flat_map(|e| &e.resources).map(|resource| resource.address.clone()),
                    ),
                    None if self.resources.contains(text) => out.push(address),
                    None if self.is_missed(text) => {}
                    None => {
                        let all = || self.resources.iter().chain(self.constructs.keys()).map(String::as_str);
                        let near = nearest_address(text, all()).map(|near| format!("did you mean `{near}`?"));
                        report.error(
                            Finding::at(*place, format!("`depends_on` names `{text}`, which is not in the stack"))
                                .maybe_help(near.or_else(|| did_you_mean(text, all(), "there are"))),
                        );
                    }
                },
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    fn full_address(&self, name: &str) -> Option<String> {
        let all = self.resources.iter().chain(self.constructs.keys());
        let mut fitting: Vec<&str> =
            all.filter(|address| address.ends_with(&format!(".{name}"))).map(String::as_str).collect();
        fitting.sort_unstable();
        fitting.first().map(|address| format!("did you mean `{address}`?"))
    }
}

/// The scope that a word was meant to be: `var`, as other tools call it.
fn meant_scope(word: &str) -> Option<&'static str> {
    ["vars", "self", "stack"].into_iter().find(|scope| word.len() > 2 && scope.starts_with(word))
}

/// Words that mean something to AWS itself where a name may stand.
fn is_reserved(kind: &str, text: &str) -> bool {
    match kind {
        "security_group" => text == "self",
        "capacity_provider" => matches!(text, "FARGATE" | "FARGATE_SPOT"),
        _ => false,
    }
}

/// Whether a text is an id, ARN or range rather than the name of a block.
fn looks_literal(kind: &str, text: &str) -> bool {
    if text.contains([':', '/']) {
        return true;
    }
    if let Some((prefix, digits)) = text.rsplit_once('-') {
        let is_id = digits.len() >= 7 && digits.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
        if is_id && !prefix.is_empty() && prefix.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            return true;
        }
    }
    // AWS's own managed policies have names like AmazonSSMManagedInstanceCore.
    if kind == "policy" && text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return true;
    }
    let is_zone_id =
        text.len() >= 8 && text.starts_with('Z') && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    kind == "hosted_zone" && is_zone_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_ranges_are_no_names() {
        for (kind, text) in [
            ("vpc", "vpc-0abc123"),
            ("security_group", "10.0.0.0/8"),
            ("security_group", "pl-0123456789abcdef0"),
            ("role", "arn:aws:iam::1:role/x"),
            ("hosted_zone", "Z0123456789ABC"),
        ] {
            assert!(looks_literal(kind, text), "{text}");
        }
        for (kind, text) in [("vpc", "main"), ("security_group", "sg-web"), ("vpc", "Z0123456789ABC"), ("vpc", "a-b")] {
            assert!(!looks_literal(kind, text), "{text}");
        }
    }
}
