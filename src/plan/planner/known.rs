//! What is known of resources while a plan is made: what references are answered with, and what is plainly in step.

use super::*;

/// What references to a resource are answered with.
pub(super) struct Known<'a> {
    source: Source<'a>,
    /// Outputs that the planned update changes.
    volatile: &'a [&'a str],
    /// Whether it goes before its successor comes.
    pub(super) replaced_delete_first: bool,
}

/// Where that stands.
pub(super) enum Source<'a> {
    /// In the action planned for it, by index.
    Action(usize),
    /// In the state, which is what it will be.
    Entry(&'a Entry),
}

impl<'a> Planner<'a, '_> {
    /// What a reference stands for, if that is known before the apply.
    pub(super) fn answer(&self, reference: &Reference) -> Option<Value> {
        match self.known_value(&reference.target, &reference.attribute)? {
            Cow::Borrowed(desired) => template::literal(desired),
            Cow::Owned(literal) => Some(literal),
        }
    }

    /// What an attribute of a resource will be: borrowed where it stands in the desired space, owned where it is literal.
    fn known_value(&self, target: &str, attribute: &str) -> Option<Cow<'_, Value>> {
        let known = self.known.get(target)?;
        let (attributes, outputs, id) = match known.source {
            Source::Action(index) => (&self.actions[index].attributes, &self.actions[index].outputs, None),
            Source::Entry(entry) => {
                if let Some(value) = entry.attributes.get(attribute) {
                    return Some(Cow::Owned(value.clone()));
                }
                (&entry.attributes, &entry.outputs, Some(&entry.id))
            }
        };
        if let Some(value) = attributes.get(attribute) {
            return Some(Cow::Borrowed(value));
        }
        if known.volatile.contains(&attribute) {
            return None;
        }
        match id {
            Some(id) if attribute == "id" => Some(Cow::Owned(Value::from(id.as_str()))),
            _ => outputs.get(attribute).cloned().map(Cow::Owned),
        }
    }

    /// Whether a reference will be answered with this literal value.
    fn is_answered_with(&self, inner: &str, literal: &Value) -> bool {
        let Some((target, attribute)) = inner.trim().rsplit_once('.') else { return false };
        let Some(known) = self.known.get(target) else { return false };
        let Source::Entry(entry) = known.source else { return false };
        match entry.attributes.get(attribute) {
            Some(value) => value == literal,
            None if attribute == "id" => *literal == *entry.id,
            None => entry.outputs.get(attribute) == Some(literal),
        }
    }

    /// Whether a desired value will be this literal one. Where that takes more than a comparison the answer is no, and the
    /// resource is looked at closely.
    fn becomes(&self, desired: &Value, literal: &Value) -> bool {
        match (desired, literal) {
            (Value::String(text), _) if text.contains("${") => {
                // The common template: one reference and nothing else. A list would be spliced.
                let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
                inner
                    .is_some_and(|inner| !inner.contains(['$', '{', '}', ':']) && self.is_answered_with(inner, literal))
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| !b.is_array() && self.becomes(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && self.becomes(a, b))
            }
            _ => desired == literal,
        }
    }

    /// Whether a resource is plainly what the stack says: in the state, in the cloud, and nothing it depends on moves. This
    /// settles most resources of most plans without copying anything.
    pub(super) fn is_in_step(&self, resource: &Resource, spec: &KindSpec) -> bool {
        let inputs = self.inputs;
        let Some(entry) = self.entry(&resource.address) else { return false };
        let asked = || inputs.replace.iter().any(|name| resource.address.is_within(name));
        if entry.read_only
            || !entry.complete
            || !entry.changing.is_empty()
            || entry.protect != resource.protect
            || spec.is_lookup()
        {
            return false;
        }
        if resource.existing.is_some() || resource.attributes.len() != entry.attributes.len() || asked() {
            return false;
        }
        let goes_first = |address: &Address| self.known.get(address.as_str()).is_some_and(|k| k.replaced_delete_first);
        if !spec.rebuilt_around.is_empty()
            && inputs.graph.dependencies(&resource.address).iter().any(|(address, _)| goes_first(address))
        {
            return false;
        }
        let mut attributes = resource.attributes.iter().zip(&entry.attributes);
        if !attributes.all(|((name, desired), (known, literal))| name == known && self.becomes(desired, literal)) {
            return false;
        }
        match inputs.observed.map(|observed| observed.resources.get(&resource.address)) {
            None | Some(None) => true,
            Some(Some(Seen::Gone)) => false,
            Some(Some(Seen::Present(observed))) => {
                observed.outputs.iter().all(|(name, value)| entry.outputs.get(name) == Some(value))
                    && observed.attributes.iter().all(|(name, value)| diff::is_as_known(spec, entry, name, value))
            }
        }
    }

    /// The action of a resource that is as it should be; what it is stands in the state.
    pub(super) fn unchanged(&mut self, resource: &'a Resource, spec: &KindSpec) {
        let Some(entry) = self.entry(&resource.address) else { return };
        self.knows(&resource.address, Source::Entry(entry), &[], false);
        let mut action = self.action(resource, spec, Attributes::new());
        action.id = Some(entry.id.clone());
        action.in_step = true;
        action.depended_on.clone_from(&entry.depends_on);
        self.actions.push(action);
    }

    pub(super) fn knows(
        &mut self,
        address: &'a Address,
        source: Source<'a>,
        volatile: &'a [&'a str],
        replaced_delete_first: bool,
    ) {
        self.known.insert(address.as_str(), Known { source, volatile, replaced_delete_first });
    }
}
