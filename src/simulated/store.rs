//! What the simulated cloud holds, and its rules: names are unique, nothing refers to what is not there, and nothing goes
//! while something refers to it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{aws, kinds, references};
use crate::cloud::{CloudError, CreateRequest, ErrorClass, Observed, STACK_TAG, TOKEN_TAG};
use crate::graph::{Address, Attributes, Identity, KindSpec, Scope};
use crate::state::Entry;

/// One resource that the simulated cloud holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its kind.
    pub kind: String,
    /// The address it was created for.
    pub address: Address,
    /// Its attributes, canonical.
    pub attributes: Attributes,
    /// The token of its create call.
    pub token: String,
    /// How often it was updated.
    pub revision: u64,
    /// Whether what creating takes besides the first call was done.
    pub finished: bool,
    /// Which of the calls that this takes were made, a bit each.
    pub(super) finishing: u32,
    /// When its create call had its effect.
    pub(super) made: Instant,
    pub(super) ready: Instant,
    /// When reading and finding begin to show it.
    pub(super) visible: Instant,
    /// When calls that name it begin to be accepted.
    pub(super) usable: Instant,
    /// Whether it fails when it should get ready.
    pub(super) breaks: bool,
    /// Once it is being deleted: when it is gone.
    pub(super) gone: Option<Instant>,
}

/// When things happen to a new resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub now: Instant,
    pub ready: Instant,
    pub visible: Instant,
    pub usable: Instant,
    pub breaks: bool,
}

/// Everything the simulated cloud holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdings {
    pub held: BTreeMap<String, Held>,
    /// Ids by the token they were created with.
    by_token: HashMap<String, String>,
    /// Ids by kind, name, and what the name is unique within.
    by_name: HashMap<(String, String), String>,
    /// Ids by what others name them by: kind, attribute, value.
    by_value: HashMap<(String, String, String), String>,
    /// For each id, those that it refers to.
    refers: HashMap<String, Vec<String>>,
    /// For each id, how many references to it there are.
    referred: HashMap<String, usize>,
    /// What was made and failed instead of getting ready: it is listed for a while, holds nothing and goes by itself.
    pub failed: HashMap<String, Held>,
    /// What is there to be looked up, by kind and name or id.
    pub catalog: HashMap<(String, String), Observed>,
    made: u64,
}

/// Which error a rule gives.
fn error(class: ErrorClass, call: &str, code: &str, message: String) -> CloudError {
    CloudError::new(class, &format!("simulated:{call}"), code, message)
}

impl Holdings {
    /// Creates a resource, or gives the one that an earlier call with the same token created.
    pub fn create(
        &mut self,
        spec: &KindSpec,
        request: &CreateRequest,
        times: Times,
        scope: &Scope,
    ) -> Result<String, CloudError> {
        let CreateRequest { address, token, attributes } = request;
        match spec.identity {
            Identity::ClientToken => {
                if let Some(id) = self.by_token.get(token).filter(|id| self.held.contains_key(*id)) {
                    return Ok(id.clone());
                }
            }
            Identity::Natural => {
                let same = |held: &Held| held.kind == spec.name && held.attributes == *attributes;
                if let Some((id, _)) = self.held.iter().find(|(_, held)| same(held)) {
                    return Ok(id.clone());
                }
            }
            Identity::Lookup => {
                let message = format!("a {} is only looked up", spec.title);
                return Err(error(ErrorClass::Refused, "Create", "Unsupported", message));
            }
            Identity::TagOnCreate | Identity::UniqueName => {}
        }
        let name = unique_name(spec, attributes);
        if let Some(name) = &name
            && self.by_name.contains_key(name)
        {
            let message = format!("there is a {} named {} already", spec.title, name.1);
            return Err(error(ErrorClass::Exists, "Create", "AlreadyExists", message));
        }
        self.check_references("Create", spec, attributes, times.now)?;
        self.made += 1;
        // What is a fact about something else has an id that follows from it.
        let foreseen = (spec.predict)(attributes, scope).get("id").and_then(Value::as_str).map(str::to_owned);
        let id = foreseen.unwrap_or_else(|| format!("{}-{:017x}", spec.name, self.made));
        self.refer(&id, Some((spec.name, attributes)));
        self.by_token.insert(token.to_owned(), id.clone());
        if let Some(name) = name {
            self.by_name.insert(name, id.clone());
        }
        let outputs = kinds::outputs(spec, &id, attributes, 0, scope);
        self.name(spec, &id, attributes, &outputs);
        let Times { now: made, ready, visible, usable, breaks } = times;
        let held = Held {
            kind: spec.name.to_owned(),
            address: address.clone(),
            attributes: attributes.clone(),
            token: token.to_owned(),
            revision: 0,
            finished: false,
            finishing: 0,
            made,
            ready,
            visible,
            usable,
            breaks,
            gone: None,
        };
        self.held.insert(id.clone(), held);
        Ok(id)
    }

    /// Puts something there that was created long ago.
    pub fn plant(&mut self, spec: &KindSpec, address: &Address, entry: &Entry, now: Instant) {
        if let Some(name) = unique_name(spec, &entry.attributes) {
            self.by_name.insert(name, entry.id.clone());
        }
        self.name(spec, &entry.id, &entry.attributes, &entry.outputs);
        let held = Held {
            kind: spec.name.to_owned(),
            address: address.clone(),
            attributes: entry.attributes.clone(),
            token: entry.id.clone(),
            revision: 0,
            finished: entry.complete,
            finishing: 0,
            made: now,
            ready: now,
            visible: now,
            usable: now,
            breaks: false,
            gone: None,
        };
        self.held.insert(entry.id.clone(), held);
    }

    /// Takes down what everything refers to.
    pub fn refer_all(&mut self) {
        let held: Vec<(String, String, Attributes)> =
            self.held.iter().map(|(id, one)| (id.clone(), one.kind.clone(), one.attributes.clone())).collect();
        for (id, kind, attributes) in held {
            self.refer(&id, Some((&kind, &attributes)));
        }
    }

    /// Takes down by what others name a resource.
    fn name(&mut self, spec: &KindSpec, id: &str, attributes: &Attributes, outputs: &Attributes) {
        for attribute in references::named_by(spec.name) {
            if let Some(value) = attributes.get(attribute).or(outputs.get(attribute)).and_then(Value::as_str) {
                self.by_value.insert((spec.name.to_owned(), attribute.clone(), value.to_owned()), id.to_owned());
            }
        }
    }

    /// Gives a resource other attributes.
    pub fn update(
        &mut self,
        spec: &KindSpec,
        id: &str,
        after: Attributes,
        changed: &dyn Fn(&str) -> bool,
        (now, ready): (Instant, Instant),
    ) -> Result<(), CloudError> {
        self.check_references("Update", spec, &after, now)?;
        let Some(held) = self.held.get_mut(id).filter(|held| held.gone.is_none()) else {
            return Err(not_found("Update", id));
        };
        if let Some(name) = spec.replace_on.iter().find(|name| changed(name)) {
            let message = format!("{name} of a {} cannot be changed", spec.title);
            return Err(error(ErrorClass::Refused, "Update", "Immutable", message));
        }
        if held.attributes == after {
            return Ok(());
        }
        // Tags are no part of what is counted.
        let rest = |of: &Attributes| -> Attributes {
            of.iter().filter(|(name, _)| *name != "tags").map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if rest(&held.attributes) != rest(&after) {
            held.revision += 1;
        }
        held.ready = ready;
        held.attributes.clone_from(&after);
        self.refer(id, Some((spec.name, &after)));
        Ok(())
    }

    /// Begins to delete a resource; what is gone already is no error.
    pub fn delete(&mut self, id: &str, gone: Instant, now: Instant) -> Result<(), CloudError> {
        let Some(held) = self.held.get(id) else { return Ok(()) };
        if held.gone.is_some() {
            return Ok(());
        }
        if self.referred.contains_key(id) {
            // What failed or is gone by now holds nothing any more.
            let held: Vec<String> = self.held.keys().cloned().collect();
            for one in held {
                self.sweep(&one, now);
            }
        }
        let references = self.referred.get(id).copied().unwrap_or(0);
        if references > 0 {
            let message = format!("{id} is in use by {references} others");
            return Err(error(ErrorClass::NotYet, "Delete", "DependencyViolation", message));
        }
        if let Some(held) = self.held.get_mut(id) {
            held.gone = Some(gone);
        }
        self.sweep(id, now);
        Ok(())
    }

    /// Takes away a resource whose time to be gone has come; whether it is gone.
    pub fn sweep(&mut self, id: &str, now: Instant) -> bool {
        let Some(held) = self.held.get(id) else { return true };
        if held.breaks && held.ready <= now && held.gone.is_none() {
            let (token, held) = (held.token.clone(), held.clone());
            self.remove(id);
            self.by_token.insert(token, id.to_owned());
            self.failed.insert(id.to_owned(), held);
            return true;
        }
        if held.gone.is_none_or(|gone| gone > now) {
            return false;
        }
        self.remove(id);
        true
    }

    /// Takes a resource away, whatever refers to it.
    pub fn remove(&mut self, id: &str) {
        if let Some(held) = self.held.remove(id) {
            self.refer(id, None);
            self.refers.remove(id);
            self.by_token.remove(&held.token);
            self.by_name.retain(|_, named| named != id);
            self.by_value.retain(|_, named| named != id);
        }
    }

    /// What the create call of this request made: by its token, or by its unique name where it is our own.
    pub fn find(&mut self, spec: &KindSpec, request: &CreateRequest, scope: &Scope, now: Instant) -> Option<Observed> {
        let id = match spec.identity {
            Identity::UniqueName => self.by_name.get(&unique_name(spec, &request.attributes)?)?.clone(),
            Identity::Natural => {
                let same = |held: &Held| held.kind == spec.name && held.attributes == request.attributes;
                self.held.iter().find(|(_, held)| same(held))?.0.clone()
            }
            _ => self.by_token.get(&request.token)?.clone(),
        };
        self.sweep(&id, now);
        // What failed is listed like everything else.
        let held = self.held.get(&id).or_else(|| self.failed.get(&id))?;
        if held.visible > now || held.gone.is_some() {
            return None;
        }
        let found = observed(spec, &id, held, scope);
        // Graphs that no stack file gave bear no ownership tags; nothing is somebody else's there.
        let is_tagged = spec.taggable && crate::kinds::tags_of(&request.attributes).contains_key(STACK_TAG);
        let is_own = spec.identity != Identity::UniqueName || !is_tagged || crate::kinds::is_own(&found, request);
        is_own.then_some(found)
    }

    /// What reading a resource gives.
    pub fn observe(&self, spec: &KindSpec, id: &str, scope: &Scope, now: Instant) -> Option<Observed> {
        let held = self.held.get(id).filter(|held| held.visible <= now)?;
        Some(observed(spec, id, held, scope))
    }

    /// Nothing may refer to what is not there, or not known everywhere yet.
    fn check_references(
        &self,
        call: &str,
        spec: &KindSpec,
        attributes: &Attributes,
        now: Instant,
    ) -> Result<(), CloudError> {
        let (mut missing, mut unknown) = (None, None);
        self.each_reference(spec.name, attributes, &mut |id| match self.held.get(id) {
            Some(held) if held.gone.is_none() && held.usable > now => {
                unknown.get_or_insert_with(|| id.to_owned());
            }
            Some(held) if held.gone.is_none() => {}
            // Only what was made here has a number that was given here.
            None if !self.was_made(id) => {}
            _ => {
                missing.get_or_insert_with(|| id.to_owned());
            }
        });
        match (missing, unknown) {
            (Some(id), _) => Err(error(ErrorClass::NotFound, call, "NotFound", format!("there is no {id}"))),
            (None, Some(id)) => {
                Err(error(ErrorClass::NotYet, call, "NotKnownYet", format!("{id} is not known here yet")))
            }
            (None, None) => Ok(()),
        }
    }

    fn was_made(&self, id: &str) -> bool {
        let number = id.rsplit_once('-').and_then(|(_, number)| u64::from_str_radix(number, 16).ok());
        number.is_some_and(|number| number <= self.made)
    }

    /// Calls `found` with the id of everything that is named here: whatever has the form of an id, and what the kind's
    /// schema says is another one's name or ARN. A name that nothing here has is somebody else's.
    fn each_reference(&self, kind: &str, attributes: &Attributes, found: &mut dyn FnMut(&str)) {
        each_id(attributes, found);
        references::each(kind, attributes, &mut |kind, attribute, value| {
            if attribute != "id"
                && let Some(id) = self.by_value.get(&(kind.to_owned(), attribute.to_owned(), value.to_owned()))
            {
                found(id);
            }
        });
    }

    /// Takes down what a resource refers to now, instead of what it referred to before.
    fn refer(&mut self, from: &str, now: Option<(&str, &Attributes)>) {
        let mut named = Vec::new();
        if let Some((kind, attributes)) = now {
            self.each_reference(kind, attributes, &mut |id| named.push(id.to_owned()));
            named.retain(|id| id != from && !self.held.get(id).is_some_and(|held| aws::lets_go(kind, &held.kind)));
        }
        for id in &named {
            *self.referred.entry(id.clone()).or_default() += 1;
        }
        for id in self.refers.insert(from.to_owned(), named).into_iter().flatten() {
            if let Some(count) = self.referred.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    self.referred.remove(&id);
                }
            }
        }
    }
}

fn observed(spec: &KindSpec, id: &str, held: &Held, scope: &Scope) -> Observed {
    let mut attributes = held.attributes.clone();
    attributes.retain(|name, _| !spec.is_write_only(name));
    if spec.taggable
        && spec.identity == Identity::TagOnCreate
        && let Some(Value::Object(tags)) = attributes.get_mut("tags")
    {
        tags.insert(TOKEN_TAG.to_owned(), json!(held.token));
    }
    let outputs = kinds::outputs(spec, id, &held.attributes, held.revision, scope);
    Observed { id: id.to_owned(), attributes, outputs }
}

/// The error of a call that names what is not there.
pub(super) fn not_found(call: &str, id: &str) -> CloudError {
    error(ErrorClass::NotFound, call, "NotFound", format!("there is no {id}"))
}

/// The kind, and the name with what it is unique within.
fn unique_name(spec: &KindSpec, attributes: &Attributes) -> Option<(String, String)> {
    let name = attributes.get(spec.naming?.attribute)?.as_str()?.to_owned();
    let within = spec.name_within.iter().filter_map(|within| attributes.get(*within));
    Some((spec.name.to_owned(), within.fold(name, |name, within| format!("{name} in {within}"))))
}

/// Calls `found` for everything in these attributes that has the form of an id: `node-0000000000000002a`.
fn each_id(attributes: &Attributes, found: &mut dyn FnMut(&str)) {
    fn walk(value: &Value, found: &mut dyn FnMut(&str)) {
        match value {
            Value::String(text) if is_id(text) => found(text),
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(map) => map.values().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    attributes.values().for_each(|value| walk(value, found));
}

fn is_id(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(kind, number)| {
        number.len() == 17 && number.bytes().all(|b| b.is_ascii_hexdigit()) && !kind.contains(['-', ':', '/'])
    })
}
