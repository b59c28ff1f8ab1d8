//! What the simulated cloud holds, and its rules: names are unique, nothing refers to what is not there, and nothing goes
//! while something refers to it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::kinds;
use crate::cloud::{CloudError, ErrorClass, Observed, TOKEN_TAG};
use crate::graph::{Address, Attributes, Identity, KindSpec, Scope};

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
    pub(super) ready: Instant,
    /// When reading and finding begin to show it.
    pub(super) visible: Instant,
    /// Once it is being deleted: when it is gone.
    pub(super) gone: Option<Instant>,
}

/// Everything the simulated cloud holds.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub held: BTreeMap<String, Held>,
    /// Ids by the token they were created with.
    by_token: HashMap<String, String>,
    /// Ids of kinds with unique names, by kind and name.
    by_name: HashMap<(String, String), String>,
    /// For each id, how many references to it there are.
    referred: HashMap<String, usize>,
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
        address: &Address,
        attributes: &Attributes,
        token: &str,
        times: [Instant; 2],
    ) -> Result<String, CloudError> {
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
        self.check_references("Create", attributes)?;
        self.made += 1;
        let id = format!("{}-{:017x}", spec.name, self.made);
        self.count(attributes, true);
        self.by_token.insert(token.to_owned(), id.clone());
        if let Some(name) = name {
            self.by_name.insert(name, id.clone());
        }
        let [ready, visible] = times;
        let held = Held {
            kind: spec.name.to_owned(),
            address: address.clone(),
            attributes: attributes.clone(),
            token: token.to_owned(),
            revision: 0,
            finished: false,
            ready,
            visible,
            gone: None,
        };
        self.held.insert(id.clone(), held);
        Ok(id)
    }

    /// Gives a resource other attributes.
    pub fn update(
        &mut self,
        spec: &KindSpec,
        id: &str,
        after: Attributes,
        changed: &dyn Fn(&str) -> bool,
        ready: Instant,
    ) -> Result<(), CloudError> {
        self.check_references("Update", &after)?;
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
        held.revision += 1;
        held.ready = ready;
        let before = std::mem::replace(&mut held.attributes, after.clone());
        self.count(&before, false);
        self.count(&after, true);
        Ok(())
    }

    /// Begins to delete a resource; what is gone already is no error.
    pub fn delete(&mut self, id: &str, gone: Instant, now: Instant) -> Result<(), CloudError> {
        let Some(held) = self.held.get_mut(id) else { return Ok(()) };
        if held.gone.is_some() {
            return Ok(());
        }
        let references = self.referred.get(id).copied().unwrap_or(0);
        if references > 0 {
            let message = format!("{id} is in use by {references} others");
            return Err(error(ErrorClass::NotYet, "Delete", "DependencyViolation", message));
        }
        held.gone = Some(gone);
        self.sweep(id, now);
        Ok(())
    }

    /// Takes away a resource whose time to be gone has come; whether it is gone.
    pub fn sweep(&mut self, id: &str, now: Instant) -> bool {
        let Some(held) = self.held.get(id) else { return true };
        if held.gone.is_none_or(|gone| gone > now) {
            return false;
        }
        self.remove(id);
        true
    }

    /// Takes a resource away, whatever refers to it.
    pub fn remove(&mut self, id: &str) {
        if let Some(held) = self.held.remove(id) {
            self.count(&held.attributes, false);
            self.by_token.remove(&held.token);
            self.by_name.retain(|_, named| named != id);
        }
    }

    /// What a create call with this token, or of this unique name, made.
    pub fn find(&self, spec: &KindSpec, token: &str, attributes: &Attributes, now: Instant) -> Option<String> {
        let id = match spec.identity {
            Identity::UniqueName => self.by_name.get(&unique_name(spec, attributes)?)?.clone(),
            Identity::Natural => {
                let same = |held: &Held| held.kind == spec.name && held.attributes == *attributes;
                self.held.iter().find(|(_, held)| same(held))?.0.clone()
            }
            _ => self.by_token.get(token)?.clone(),
        };
        self.held.get(&id).is_some_and(|held| held.visible <= now && held.gone.is_none()).then_some(id)
    }

    /// What reading a resource gives.
    pub fn observe(&self, spec: &KindSpec, id: &str, scope: &Scope, now: Instant) -> Option<Observed> {
        let held = self.held.get(id).filter(|held| held.visible <= now)?;
        let mut attributes = held.attributes.clone();
        attributes.retain(|name, _| !spec.is_write_only(name));
        if spec.taggable
            && spec.identity == Identity::TagOnCreate
            && let Some(Value::Object(tags)) = attributes.get_mut("tags")
        {
            tags.insert(TOKEN_TAG.to_owned(), json!(held.token));
        }
        let outputs = kinds::outputs(spec, id, &held.attributes, held.revision, scope);
        Some(Observed { id: id.to_owned(), attributes, outputs })
    }

    /// Nothing may refer to what is not there.
    fn check_references(&self, call: &str, attributes: &Attributes) -> Result<(), CloudError> {
        let mut missing = None;
        each_id(attributes, &mut |id| {
            if self.held.get(id).is_none_or(|held| held.gone.is_some()) {
                missing.get_or_insert_with(|| id.to_owned());
            }
        });
        match missing {
            Some(id) => Err(error(ErrorClass::NotFound, call, "NotFound", format!("there is no {id}"))),
            None => Ok(()),
        }
    }

    fn count(&mut self, attributes: &Attributes, up: bool) {
        each_id(attributes, &mut |id| {
            if up {
                *self.referred.entry(id.to_owned()).or_default() += 1;
            } else if let Some(count) = self.referred.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.referred.remove(id);
                }
            }
        });
    }
}

/// The error of a call that names what is not there.
pub(super) fn not_found(call: &str, id: &str) -> CloudError {
    error(ErrorClass::NotFound, call, "NotFound", format!("there is no {id}"))
}

fn unique_name(spec: &KindSpec, attributes: &Attributes) -> Option<(String, String)> {
    let naming = spec.naming.filter(|_| spec.identity == Identity::UniqueName)?;
    Some((spec.name.to_owned(), attributes.get(naming.attribute)?.as_str()?.to_owned()))
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
