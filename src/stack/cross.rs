//! What can only be seen with several resources side by side: ranges that overlap, names given twice, cycles.

use std::collections::{BTreeMap, HashMap};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::blocks::Block;
use super::diagnostic::{Finding, Report};
use super::language::Language;
use super::source::{Place, Sources};
use crate::graph::{Address, GraphError, Resource, template};
use crate::kinds::listener_rule::ListenerRule;

/// Resources with the blocks they come from, in the same order.
pub struct Cross<'c> {
    pub blocks: &'c [Block],
    pub resources: &'c [Resource],
}

impl Cross<'_> {
    /// Reports everything that does not go together.
    pub fn check(&self, language: &Language<'_>, report: &mut Report) {
        self.check_subnets(report);
        self.check_names(language, report);
        self.check_rules(report);
        self.check_balancers(report);
    }

    fn pairs(&self) -> impl Iterator<Item = (&Block, &Resource)> {
        self.blocks.iter().zip(self.resources)
    }

    fn place_of(block: &Block, attribute: &str) -> Place {
        block.node.find(&[attribute.to_owned()], &Value::Null, block.header)
    }

    /// Subnets lie inside their VPC's ranges and apart from each other.
    fn check_subnets(&self, report: &mut Report) {
        let vpcs: HashMap<String, Vec<Ipv4Net>> = self
            .pairs()
            .filter(|(_, resource)| resource.address.kind() == "vpc")
            .filter_map(|(_, vpc)| Some((format!("${{{}.id}}", vpc.address), ranges(vpc)?)))
            .collect();
        let mut by_vpc: BTreeMap<&str, Vec<(Ipv4Net, &Block)>> = BTreeMap::new();
        for (block, resource) in self.pairs().filter(|(_, resource)| resource.address.kind() == "subnet") {
            let (Some(vpc), Some(range)) =
                (resource.attributes.get("vpc").and_then(Value::as_str), range(resource, "cidr"))
            else {
                continue;
            };
            if let Some(ranges) = vpcs.get(vpc)
                && !ranges.iter().any(|whole| whole.contains(&range))
            {
                let words: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                report.error(
                    Finding::at(
                        Self::place_of(block, "cidr"),
                        format!("`{}`: {range} lies outside its VPC's range {}", resource.address, words.join(", ")),
                    )
                    .help("choose a range inside, or give the VPC a further one with secondary_cidrs"),
                );
            }
            by_vpc.entry(vpc).or_default().push((range, block));
        }
        for mut subnets in by_vpc.into_values() {
            subnets.sort_by_key(|(range, _)| (range.network(), range.prefix_len()));
            // Of ranges in this order, one overlaps an earlier one only if the widest so far reaches into it.
            let mut widest: Option<(Ipv4Net, &Block)> = None;
            for (range, block) in subnets {
                if let Some((other, first)) = widest
                    && range.network() <= other.broadcast()
                {
                    report.error(overlap((other, first), (range, block)));
                }
                if widest.is_none_or(|(other, _)| range.broadcast() > other.broadcast()) {
                    widest = Some((range, block));
                }
            }
        }
    }

    /// What the cloud tells one resource from another by differs.
    fn check_names(&self, language: &Language<'_>, report: &mut Report) {
        let mut seen: HashMap<(&str, Vec<Option<&Value>>), &Block> = HashMap::new();
        for (block, resource) in self.pairs().filter(|(_, resource)| resource.existing.is_none()) {
            let kind = resource.address.kind();
            let Some(spec) = language.spec(kind) else { continue };
            let attributes = spec.unique();
            let Some(&attribute) = attributes.first() else { continue };
            let is_named = spec.unique_by.is_empty();
            // What makes up a name may not be known yet, and then it is no other's.
            if is_named && resource.attributes.get(attribute).is_none_or(template::is_unknown) {
                continue;
            }
            let place = |block: &Block| Self::place_of(block, attribute);
            let values = attributes.iter().map(|name| resource.attributes.get(*name)).collect();
            let Some(first) = seen.insert((kind, values), block) else { continue };
            let (what, help) = match is_named {
                true => {
                    let name = resource.attributes.get(attribute).and_then(Value::as_str).unwrap_or_default();
                    (format!("two {kind} blocks have the name `{name}`"), "give one of them another name".to_owned())
                }
                false => {
                    let given = attributes.iter().filter(|name| resource.attributes.contains_key(**name));
                    let same = given.copied().collect::<Vec<_>>().join(", ");
                    let help = match attributes.as_slice() {
                        [_, .., last] => format!("make one block of them, or let them differ in `{last}`"),
                        _ => "make one block of them".to_owned(),
                    };
                    (format!("two {kind} blocks are one and the same thing: of one {same}"), help)
                }
            };
            report.error(Finding::at(place(block), what).also(place(first), "the first").help(help));
        }
    }

    /// An application load balancer stands in two zones or more ("CreateLoadBalancer": `Subnets`).
    fn check_balancers(&self, report: &mut Report) {
        let zones: HashMap<&str, &str> = self
            .pairs()
            .filter(|(_, resource)| resource.address.kind() == "subnet")
            .filter_map(|(_, subnet)| Some((subnet.address.as_str(), subnet.attributes.get("zone")?.as_str()?)))
            .collect();
        for (block, balancer) in self.pairs().filter(|(_, resource)| resource.existing.is_none()) {
            let is_application = balancer.attributes.get("type").is_none_or(|of| *of == "application");
            if balancer.address.kind() != "load_balancer" || !is_application {
                continue;
            }
            let subnets = balancer.attributes.get("subnets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let zone = |subnet: &Value| zones.get(template::first_reference(subnet)?.target.as_str()).copied();
            let Some(found) = subnets.iter().map(zone).collect::<Option<Vec<_>>>() else { continue };
            if let Some(first) = found.first()
                && found.iter().all(|zone| zone == first)
            {
                let message = format!("`{}` has subnets in {first} alone, and AWS wants two zones", balancer.address);
                let help = "give the tier a second zone, or name a subnet in another one";
                report.error(Finding::at(Self::place_of(block, "subnets"), message).help(help));
            }
        }
    }

    /// Each rule of a listener gets requests: none asks for what all goes to one before it.
    fn check_rules(&self, report: &mut Report) {
        let mut by_listener: BTreeMap<String, Vec<(ListenerRule, &Block)>> = BTreeMap::new();
        for (block, resource) in self.pairs().filter(|(_, resource)| resource.existing.is_none()) {
            if resource.address.kind() != "listener_rule" {
                continue;
            }
            let attributes = Value::Object(resource.attributes.clone());
            let Ok(rule) = serde_json::from_value::<ListenerRule>(attributes) else { continue };
            by_listener.entry(rule.listener.clone()).or_default().push((rule, block));
        }
        // What a construct passes on as a list has the place of its first item.
        let place = |rule: &ListenerRule, block: &Block| {
            let condition = rule.first_condition().unwrap_or_default();
            match Self::place_of(block, condition) {
                place if place == block.header => {
                    let first = [condition.to_owned(), "0".to_owned()];
                    block.node.find(&first, &Value::Null, block.header)
                }
                place => place,
            }
        };
        for mut rules in by_listener.into_values() {
            rules.sort_by_key(|(rule, _)| rule.priority);
            for (at, (rule, block)) in rules.iter().enumerate() {
                // What has no condition is told of it by itself, and so is what has another's priority.
                let comes_before =
                    |(first, _): &&(ListenerRule, &Block)| first.priority < rule.priority && first.takes_all_of(rule);
                let Some((first, other)) = rules[..at].iter().find(comes_before) else { continue };
                let order = format!("{} before {}", first.priority, rule.priority);
                let (own, before) = (&block.address, &other.address);
                if rule.takes_all_of(first) {
                    let message = format!("`{own}` never gets a request: `{before}` asks for the same ({order})");
                    report.error(
                        Finding::at(place(rule, block), message)
                            .also(place(first, other), format!("{before}"))
                            .help("let one of them ask for something else, or take it out"),
                    );
                } else {
                    // A page for maintenance is a good reason to do that for a while.
                    let message = format!("`{own}` never gets a request: `{before}` takes them all ({order})");
                    report.warning(Finding::at(place(rule, block), message).also(place(first, other), "the first"));
                }
            }
        }
    }
}

/// A cycle, with the place of every step.
pub fn cycle(blocks: &[Block], cycle: &[Address], sources: &Sources) -> Finding {
    let error = GraphError::Cycle(cycle.to_vec());
    let steps = cycle.iter().zip(cycle.iter().cycle().skip(1)).filter_map(|(from, to)| {
        let block = blocks.iter().find(|block| block.address == *from)?;
        let label = format!("{from} needs {to}");
        Some((needing(block, to.as_str(), sources), label))
    });
    let mut steps: Vec<(Place, String)> = steps.collect();
    steps.sort();
    let mut steps = steps.into_iter();
    let finding = match steps.next() {
        Some((place, label)) => Finding::at(place, error.to_string()).label(label),
        None => Finding::nowhere(error.to_string()),
    };
    steps.fold(finding, |finding, (place, label)| finding.also(place, label)).help(
        match cycle.iter().all(|address| address.kind() == "security_group") {
            true => {
                "let one side name an address range, or put what talks both ways into one group with from = [\"self\"]"
            }
            false => "one of them must do without the other: give a literal value, or take the reference out",
        },
    )
}

/// Where a block says that it needs another one.
fn needing(block: &Block, target: &str, sources: &Sources) -> Place {
    let reference = format!("${{{target}.");
    let mut found = None;
    block.node.each_text(&mut |text, place| {
        if found.is_none() && text.contains(&reference) {
            found = Some(sources.within(place, &reference));
        }
    });
    found
        .or_else(|| block.depends_on.iter().find(|(text, _)| text == target).map(|(_, place)| *place))
        .unwrap_or(block.header)
}

fn overlap((one, first): (Ipv4Net, &Block), (two, second): (Ipv4Net, &Block)) -> Finding {
    let (place, other) = (Cross::place_of(first, "cidr"), Cross::place_of(second, "cidr"));
    // The later one in the text is the one that is wrong.
    let ((late, late_range, late_at), (early, early_range, early_at)) = match place <= other {
        true => ((second, two, other), (first, one, place)),
        false => ((first, one, place), (second, two, other)),
    };
    Finding::at(late_at, format!("`{}`: {late_range} overlaps {early_range} of `{}`", late.address, early.address))
        .also(early_at, format!("{}", early.address))
        .help("choose a range that no other subnet of the VPC has")
}

fn range(resource: &Resource, attribute: &str) -> Option<Ipv4Net> {
    let net: Ipv4Net = resource.attributes.get(attribute)?.as_str()?.parse().ok()?;
    (net.addr() == net.network()).then_some(net)
}

/// All ranges of a VPC; `None` where one of them is not known.
fn ranges(vpc: &Resource) -> Option<Vec<Ipv4Net>> {
    let mut out = vec![range(vpc, "cidr")?];
    if let Some(Value::Array(more)) = vpc.attributes.get("secondary_cidrs") {
        for one in more {
            out.push(one.as_str()?.parse().ok()?);
        }
    }
    Some(out)
}
