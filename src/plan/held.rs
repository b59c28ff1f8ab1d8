//! Who decides what an attribute is, where it is not the stack: a verb that holds a value, or a resource that has it.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, After, Inputs, Mode, PlanError, Seen, diff};
use crate::graph::{Address, Attributes, Graph, GraphError, KindSpec, Resource, template};
use crate::state::{Entry, HeldValue, Holds, State};

/// What decides besides the stack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Values laid over what the stack says.
    pub values: &'a [GivenValue],
    /// Whether the state lets go of what it holds.
    pub reset: bool,
    /// Whether the targets are taken alone: without what they depend on, and nothing of them changes but what is given.
    pub alone: bool,
}

/// A value that a verb puts in place of what the stack says.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenValue {
    /// The resource.
    pub address: Address,
    /// The way into its attributes: `containers.app.image`.
    pub path: String,
    /// The value (literal); nothing: what was held there is held no longer.
    pub value: Option<Value>,
    /// Whether it is held from now on, and as whose.
    pub held: Option<HeldValue>,
}

/// A value that the state holds from now on, or no longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The resource.
    pub address: Address,
    /// The way into its attributes.
    pub path: String,
    /// What is held; nothing: it is what the stack says again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldValue>,
}

/// A value that is not what the stack says, and that the plan leaves as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The resource.
    pub address: Address,
    /// The way into its attributes.
    pub path: String,
    /// What it is.
    pub value: Value,
    /// What the stack says; `null` where it says nothing.
    pub stack: After,
    /// Whose it is: a verb, or the address of the resource that has it.
    pub by: String,
    /// Of a verb: who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Of a verb: when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The stack with everything laid over it that others decide.
#[derive(Default)]
pub(super) struct LaidOver {
    pub graph: Graph,
    pub kept: Vec<Kept>,
    pub holds: Vec<Hold>,
}

/// Lays over the stack what is held, given, or left to something else; nothing where the stack decides all.
pub(super) fn laid_over(inputs: &Inputs<'_>) -> Option<LaidOver> {
    let none = Holds::new();
    let held = inputs.state.map_or(&none, |state| &state.held);
    let owners = if inputs.given.alone { BTreeMap::new() } else { owners(inputs) };
    if held.is_empty() && owners.is_empty() && inputs.given.values.is_empty() {
        return None;
    }
    let mut out = LaidOver::default();
    let is_given = |address: &Address, path: &str| {
        inputs.given.values.iter().any(|given| given.address == *address && given.path == path)
    };
    for (address, path, held) in each(held).filter(|(address, path, _)| !is_given(address, path)) {
        if inputs.given.alone {
            continue;
        }
        let exists = inputs.state.is_some_and(|state| state.resources.contains_key(address));
        let resource = inputs.graph.get(address).filter(|_| exists && !inputs.given.reset);
        let is_left = owners.contains_key(&(address.clone(), path.to_owned()));
        let said = resource.and_then(|resource| at_path(&resource.attributes, path));
        let fits = resource.is_some_and(|resource| has_place(&resource.attributes, path));
        // Once the stack says the same, nothing is left to be held.
        if !fits || is_left || said.is_some_and(|said| diff::same(said, &held.value)) {
            out.holds.push(Hold { address: address.clone(), path: path.to_owned(), held: None });
        } else {
            out.kept.push(Kept {
                address: address.clone(),
                path: path.to_owned(),
                value: held.value.clone(),
                stack: diff::after(said),
                by: held.by.clone(),
                who: Some(held.who.clone()),
                since: Some(held.at.clone()),
            });
        }
    }
    for given in inputs.given.values {
        let hold = Hold { address: given.address.clone(), path: given.path.clone(), held: given.held.clone() };
        let known = held.get(&given.address).and_then(|of_resource| of_resource.get(&given.path));
        if hold.held.is_some() || known.is_some() {
            out.holds.push(hold);
        }
    }
    let mut left: BTreeMap<&Address, Vec<(&str, Value)>> = BTreeMap::new();
    let mut kept_by_owners = Vec::new();
    for ((address, way), owner) in &owners {
        let name = attribute_of(way);
        let (Some(resource), Some(now)) = (inputs.graph.get(address), now(inputs, address, name)) else { continue };
        let said = resource.attributes.get(name);
        let Some(laid) = left_in(inputs, said, &now, way) else { continue };
        if said.is_some_and(|said| *said != laid) && !is_given(address, name) {
            let parts = said.and_then(|said| shares(inputs, name, said, &laid, way));
            let (path, value, stack) = match parts {
                Some((path, value, stack)) => (path, value, diff::after(Some(&stack))),
                None => (name.to_owned(), now, diff::after(said)),
            };
            kept_by_owners.push(Kept {
                address: address.clone(),
                path,
                value,
                stack,
                by: owner.to_string(),
                who: None,
                since: None,
            });
        }
        // What neither says was never this tool's.
        let entry = inputs.state.and_then(|state| state.resources.get(address));
        if said.is_some() || entry.is_some_and(|entry| entry.attributes.contains_key(name)) {
            left.entry(address).or_default().push((name, laid));
        }
    }
    out.graph = inputs.graph.with_attributes(|resource| {
        let mut attributes = resource.attributes.clone();
        let address = &resource.address;
        for (name, value) in left.get(address).into_iter().flatten() {
            attributes.insert((*name).to_owned(), value.clone());
        }
        for kept in out.kept.iter().filter(|kept| kept.address == *address) {
            put(&mut attributes, &kept.path, &kept.value);
        }
        for given in inputs.given.values.iter().filter(|given| given.address == *address) {
            given.value.iter().for_each(|value| put(&mut attributes, &given.path, value));
        }
        attributes
    });
    out.kept.append(&mut kept_by_owners);
    Some(out)
}

/// What is laid over what the stack says of an attribute that something else has: what it is now; or, where only a part of
/// each item of a list is taken over, the stack's value with those parts as they are now. Nothing where the stack's items
/// are other ones than are there: then it is the stack's.
fn left_in(inputs: &Inputs<'_>, said: Option<&Value>, now: &Value, way: &str) -> Option<Value> {
    let segments: Vec<&str> = way.split('.').skip(1).collect();
    match said.filter(|_| !segments.is_empty()) {
        Some(said) => with_parts(said, &in_the_state(inputs, said), now, &segments),
        None => Some(template::escape_value(now)),
    }
}

/// Of a list of which only a part of each item is left as it is: that part of each, by what the item names; as it is, and as
/// the stack says it. The rest of the attribute may change beside.
fn shares(inputs: &Inputs<'_>, name: &str, said: &Value, laid: &Value, way: &str) -> Option<(String, Value, Value)> {
    let (list, part) = way.split_once(".*.")?;
    let items = |value: &Value| {
        let attributes = Attributes::from_iter([(name.to_owned(), value.clone())]);
        at_path(&attributes, list).and_then(Value::as_array).cloned()
    };
    let named = |item: &Value| {
        let texts =
            item.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str().map(|text| (text, value)));
        let called = |(text, value): (&str, &Value)| match template::first_reference(value) {
            Some(reference) => reference.target,
            None => inputs.state.and_then(|state| named_by(state, value)).map_or(text.to_owned(), Address::to_string),
        };
        texts.map(called).collect::<Vec<_>>().join(" ")
    };
    let of = |items: &[Value]| -> Value {
        let part = |item: &Value| (named(item), item.get(part).cloned().unwrap_or_default());
        Value::Object(items.iter().map(part).collect())
    };
    Some((format!("{list}.{part}"), of(&items(laid)?), of(&items(said)?)))
}

/// `said` with what stands at this way as it is now; `known` is `said` with what the state knows of its references.
fn with_parts(said: &Value, known: &Value, now: &Value, way: &[&str]) -> Option<Value> {
    match way {
        [] => Some(template::escape_value(now)),
        ["*", part] => {
            let (said, known, now) = (said.as_array()?, known.as_array()?, now.as_array()?);
            if said.len() != now.len() || said.len() != known.len() {
                return None;
            }
            let item = |(said, known): (&Value, &Value)| {
                let now = now.iter().find(|now| is_same_item(known, now, part))?;
                let mut item = said.as_object()?.clone();
                item.insert((*part).to_owned(), template::escape_value(now.get(part)?));
                Some(Value::Object(item))
            };
            said.iter().zip(known).map(item).collect()
        }
        [name, rest @ ..] => {
            let mut out = said.as_object()?.clone();
            let inner = with_parts(said.get(name)?, known.get(name)?, now.get(name)?, rest)?;
            out.insert((*name).to_owned(), inner);
            Some(Value::Object(out))
        }
    }
}

/// Whether two items of a list are the same but for one part.
fn is_same_item(desired: &Value, now: &Value, part: &str) -> bool {
    let without = |item: &Value| {
        let mut item = item.as_object().cloned().unwrap_or_default();
        item.remove(part);
        Value::Object(item)
    };
    diff::same(&without(desired), &without(now))
}

fn in_the_state(inputs: &Inputs<'_>, said: &Value) -> Value {
    template::resolve(said, &mut |reference| inputs.state.and_then(|state| state.answer(reference)))
}

/// Shares that come back to the stack from what switched them last, where all that the stack gives something is without
/// any now: requests would go where nothing answers.
pub(super) fn switched_away(inputs: &Inputs<'_>, is_selected: &dyn Fn(&Address) -> bool) -> Vec<PlanError> {
    let mut out = Vec::new();
    let Some(state) = inputs.state.filter(|_| inputs.mode == Mode::Apply && !inputs.given.alone) else { return out };
    for (owner, entry) in state.resources.iter().filter(|(owner, _)| inputs.graph.get(owner).is_some()) {
        for (attribute, way) in (inputs.specs)(owner.kind()).map_or(&[][..], |spec| spec.takes_over) {
            let Some((list, part)) = way.split_once(".*.") else { continue };
            let switched = each_at(&entry.attributes, attribute).into_iter().filter_map(|one| named_by(state, one));
            for address in switched.filter(|address| is_selected(address)) {
                let name = attribute_of(way);
                let said = inputs.graph.get(address).and_then(|resource| at_path(&resource.attributes, list));
                let (Some(said), Some(now)) = (said, now(inputs, address, name)) else { continue };
                let (said, now) = (in_the_state(inputs, said), Attributes::from_iter([(name.to_owned(), now)]));
                let (Some(said), Some(now)) = (said.as_array(), at_path(&now, list).and_then(Value::as_array)) else {
                    continue;
                };
                let has_share = |item: &&Value| item.get(part).and_then(Value::as_u64).is_some_and(|share| share > 0);
                let there = |item: &Value| now.iter().find(|now| is_same_item(item, now, part));
                let to: Vec<&Value> = said.iter().filter(has_share).filter_map(there).collect();
                if to.is_empty() || to.iter().any(has_share) || !now.iter().any(|item| has_share(&item)) {
                    continue;
                }
                if owners(inputs).contains_key(&(address.clone(), (*way).to_owned())) {
                    continue;
                }
                out.push(PlanError::SwitchedAway {
                    address: address.clone(),
                    owner: owner.clone(),
                    to: to.into_iter().flat_map(|item| named_in(state, item)).collect(),
                    from: now.iter().filter(has_share).flat_map(|item| named_in(state, item)).collect(),
                });
            }
        }
    }
    out
}

/// The texts in an item, as the addresses of what they name where the state has that.
fn named_in(state: &State, item: &Value) -> Vec<String> {
    let texts = item.as_object().into_iter().flatten().filter(|(_, value)| value.is_string());
    let called = |value: &Value| named_by(state, value).map(Address::to_string).or(value.as_str().map(str::to_owned));
    texts.filter_map(|(_, value)| called(value)).collect()
}

/// The attribute that a way leads into.
fn attribute_of(way: &str) -> &str {
    way.split('.').next().unwrap_or_default()
}

fn each(holds: &Holds) -> impl Iterator<Item = (&Address, &str, &HeldValue)> {
    holds.iter().flat_map(|(address, held)| held.iter().map(move |(path, held)| (address, path.as_str(), held)))
}

/// Nothing of a resource changes but what is given.
pub(super) fn leave_the_rest(given: &[GivenValue], action: &mut Action) {
    let is_given = |name: &str| {
        let mut own = given.iter().filter(|given| given.address == action.address);
        own.any(|given| attribute_of(&given.path) == name)
    };
    for (name, now) in &action.current {
        if action.attributes.contains_key(name) && !is_given(name) {
            action.attributes.insert(name.clone(), template::escape_value(now));
        }
    }
}

/// What is not as the stack says where verbs put other values, and nothing tells any more who did: of a state that was
/// made again from the cloud. By resource and way into its attributes, with what it is and what the stack says.
pub fn unexplained<'a>(
    state: &State,
    graph: &Graph,
    specs: &dyn Fn(&str) -> Option<&'a KindSpec>,
) -> Vec<(Address, String, Value, Value)> {
    let taken = taken_over(state, specs);
    let mut out = Vec::new();
    for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
        let (Some(resource), Some(spec)) = (graph.get(address), specs(address.kind())) else { continue };
        let paths = spec.holdable.iter().flat_map(|pattern| ways(&entry.attributes, pattern));
        for path in paths.filter(|path| !taken.iter().any(|(of, name)| *of == address && name == path)) {
            let said = at_path(&resource.attributes, &path);
            let said = said.map(|said| template::resolve(said, &mut |reference| state.answer(reference)));
            let said = said.as_ref().and_then(template::literal);
            if let (Some(now), Some(said)) = (at_path(&entry.attributes, &path), said)
                && *now != said
            {
                out.push((address.clone(), path, now.clone(), said));
            }
        }
    }
    out
}

/// The ways that there are by a pattern, in which `*` is any key.
fn ways(attributes: &Attributes, pattern: &str) -> Vec<String> {
    match pattern.split_once(".*") {
        None => vec![pattern.to_owned()],
        Some((before, after)) => {
            let keys = at_path(attributes, before).and_then(Value::as_object).into_iter().flatten();
            keys.map(|(key, _)| format!("{before}.{key}{after}")).collect()
        }
    }
}

/// What belongs to another resource of the stack, by address and way into the attributes, and to which.
fn owners(inputs: &Inputs<'_>) -> BTreeMap<(Address, String), Address> {
    let mut out = BTreeMap::new();
    for resource in inputs.graph.resources() {
        let Some(spec) = (inputs.specs)(resource.address.kind()) else { continue };
        for (attribute, taken) in spec.takes_over {
            for value in each_at(&resource.attributes, attribute) {
                let named = match template::first_reference(value) {
                    Some(reference) => reference.address(),
                    None => inputs.state.and_then(|state| named_by(state, value)).cloned(),
                };
                if let Some(address) = named {
                    out.insert((address, (*taken).to_owned()), resource.address.clone());
                }
            }
        }
    }
    out
}

/// The same of a state: addresses and names of attributes that something else in it has.
pub(super) fn taken_over<'a, 's>(
    state: &'s State,
    specs: &dyn Fn(&str) -> Option<&'a KindSpec>,
) -> HashSet<(&'s Address, &'static str)> {
    let mut out = HashSet::new();
    for (address, entry) in &state.resources {
        for (attribute, taken) in specs(address.kind()).map_or(&[][..], |spec| spec.takes_over) {
            let values = each_at(&entry.attributes, attribute).into_iter();
            out.extend(values.filter_map(|value| named_by(state, value)).map(|of| (of, attribute_of(taken))));
        }
    }
    out
}

/// The resource that has this value as its id or among its outputs.
fn named_by<'s>(state: &'s State, value: &Value) -> Option<&'s Address> {
    let is_meant = |(_, entry): &(&Address, &Entry)| *value == *entry.id || entry.outputs.values().any(|o| o == value);
    state.resources.iter().find(is_meant).map(|(address, _)| address)
}

/// What an attribute is now: in the cloud, or else in the state.
fn now(inputs: &Inputs<'_>, address: &Address, name: &str) -> Option<Value> {
    let seen = inputs.observed.and_then(|observed| observed.resources.get(address));
    let entry = inputs.state.and_then(|state| state.resources.get(address))?;
    match seen {
        Some(Seen::Gone) => None,
        Some(Seen::Present(observed)) if observed.attributes.contains_key(name) => {
            observed.attributes.get(name).cloned()
        }
        _ => entry.attributes.get(name).cloned(),
    }
}

/// What stands at a way into attributes.
pub fn at_path<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a Value> {
    let mut segments = path.split('.');
    let first = attributes.get(segments.next()?)?;
    segments.try_fold(first, |value, segment| value.get(segment))
}

/// What stands at a way into attributes, of which `*` is each item of a list.
fn each_at<'a>(attributes: &'a Attributes, path: &str) -> Vec<&'a Value> {
    let mut segments = path.split('.');
    let mut found: Vec<&Value> = segments.next().and_then(|first| attributes.get(first)).into_iter().collect();
    for segment in segments {
        found = match segment {
            "*" => found.into_iter().filter_map(Value::as_array).flatten().collect(),
            name => found.into_iter().filter_map(|value| value.get(name)).collect(),
        };
    }
    found
}

/// Whether there is something that a value at this way would be part of.
fn has_place(attributes: &Attributes, path: &str) -> bool {
    path.rsplit_once('.').is_none_or(|(parent, _)| at_path(attributes, parent).is_some_and(Value::is_object))
}

/// Puts a literal value at a way into attributes of the desired space, where it has a place.
fn put(attributes: &mut Attributes, path: &str, value: &Value) {
    let mut segments = path.split('.').peekable();
    let mut map = attributes;
    while let Some(segment) = segments.next() {
        if segments.peek().is_none() {
            map.insert(segment.to_owned(), template::escape_value(value));
            return;
        }
        match map.get_mut(segment) {
            Some(Value::Object(inner)) => map = inner,
            _ => return,
        }
    }
}

/// What a state holds, as a stack would say it: the resources as they stand. `change` may change what is said of each.
///
/// # Errors
/// Where what the state says of dependencies makes no graph.
pub fn standing(
    state: &State,
    outputs: &BTreeMap<String, Value>,
    mut change: impl FnMut(&Address, &mut Attributes),
) -> Result<Graph, Vec<GraphError>> {
    let resources = state.resources.iter().map(|(address, entry)| {
        let escaped = entry.attributes.iter().map(|(name, value)| (name.clone(), template::escape_value(value)));
        let mut attributes = escaped.collect();
        change(address, &mut attributes);
        Resource {
            address: address.clone(),
            attributes,
            depends_on: entry.depends_on.iter().filter(|of| state.resources.contains_key(*of)).cloned().collect(),
            protect: entry.protect,
            existing: entry.read_only.then(|| entry.id.clone()),
            made_name: false,
        }
    });
    Graph::new(resources.collect(), outputs.clone(), |_, _| false)
}
