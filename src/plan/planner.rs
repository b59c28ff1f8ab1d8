//! The planner: desired, state and observed become actions.

mod deletions;
mod error;
mod finish;
mod known;
mod names;
mod targets;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::renames::renames;
use super::{
    Action, After, Change, Drift, FORMAT_VERSION, Given, Kept, LookedUp, Observations, OutputChange, Plan, Seen,
    Summary, Verb, diff, drift, held, refresh,
};
use crate::graph::{Address, Attributes, Graph, KindSpec, Reference, ReplaceOrder, Resource, Scope, template};
use crate::state::{Deposed, Entry, State};
pub use error::PlanError;
use known::{Known, Source};

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Making what exists what the stack says.
    Apply,
    /// Deleting everything that the state knows.
    Destroy,
}

/// What a plan is made from.
pub struct Inputs<'a> {
    /// The stack's resources. Of no account for a destroy.
    pub graph: &'a Graph,
    /// What the tool made, if anything.
    pub state: Option<&'a State>,
    /// What the cloud says; without it the state is believed.
    pub observed: Option<&'a Observations>,
    /// What is known of each kind.
    pub specs: &'a dyn Fn(&str) -> Option<&'a KindSpec>,
    /// Stack, account, region.
    pub scope: &'a Scope,
    /// `aws` or `local`.
    pub cloud: &'a str,
    /// A digest of the stack's files and variables.
    pub inputs_digest: &'a str,
    /// What it is for.
    pub mode: Mode,
    /// Only these addresses or constructs, and what they depend on; empty: everything.
    pub targets: &'a [String],
    /// Addresses to make anew although nothing asks for it.
    pub replace: &'a [String],
    /// What else than the stack decides.
    pub given: Given<'a>,
}

/// What goes with things that are deleted before their successors come.
#[derive(Default)]
struct WentAlong {
    /// What the resource is part of: it goes itself.
    part_of: Option<Address>,
    /// Attributes that held something of others, and of which.
    put_back: BTreeMap<String, Address>,
}

/// A plan in the making.
struct Planner<'a, 'i> {
    inputs: &'i Inputs<'a>,
    known: HashMap<&'a str, Known<'a>>,
    /// By address, the id of what a replacement left behind there and the stack names again.
    taken_back: BTreeMap<&'a Address, &'a str>,
    /// What stands at these addresses and makes way for something else, and why.
    makes_way: BTreeMap<&'a Address, String>,
    actions: Vec<Action>,
    drift: Vec<Drift>,
    errors: Vec<PlanError>,
}

/// Makes a plan.
///
/// # Errors
/// Everything that forbids it.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, Vec<PlanError>> {
    let Some(laid) = held::laid_over(inputs) else { return made(inputs, &held::LaidOver::default()) };
    let Inputs { state, observed, scope, cloud, inputs_digest, mode, targets, replace, given, .. } = *inputs;
    let specs = |kind: &str| (inputs.specs)(kind).map(|spec| spec as &KindSpec);
    let graph = &laid.graph;
    let specs = &specs;
    made(&Inputs { graph, state, observed, specs, scope, cloud, inputs_digest, mode, targets, replace, given }, &laid)
}

fn made(inputs: &Inputs<'_>, laid: &held::LaidOver) -> Result<Plan, Vec<PlanError>> {
    let mut planner = Planner {
        inputs,
        known: HashMap::new(),
        taken_back: BTreeMap::new(),
        makes_way: BTreeMap::new(),
        actions: Vec::new(),
        drift: Vec::new(),
        errors: Vec::new(),
    };
    let selected = planner.selection()?;
    let is_selected = |address: &Address| selected.as_ref().is_none_or(|set| set.contains(address));
    if inputs.mode == Mode::Apply {
        for resource in inputs.graph.in_order() {
            planner.resource(resource, is_selected(&resource.address));
        }
    }
    planner.errors.extend(held::switched_away(inputs, &is_selected));
    planner.names_of_others();
    planner.deletions(&is_selected);
    if let Some(selected) = &selected {
        planner.leave_what_is_used(selected);
    }
    if inputs.mode == Mode::Apply
        && let (Some(state), Some(observed)) = (inputs.state, inputs.observed)
    {
        planner.drift = drift(state, observed, inputs.specs);
        planner.drift.retain(|drift| is_selected(&drift.address));
    }
    let kept = laid.kept.iter().filter(|kept| is_selected(&kept.address)).map(|kept| planner.told(kept)).collect();
    let holds = laid.holds.iter().filter(|hold| is_selected(&hold.address)).cloned().collect();
    let plan = Plan { kept, holds, ..planner.finish()? };
    let renames = match (inputs.mode, inputs.state) {
        (Mode::Apply, Some(state)) if inputs.targets.is_empty() => {
            renames(&plan.actions, state, inputs.observed, inputs.specs)
        }
        _ => Vec::new(),
    };
    Ok(Plan { renames, ..plan })
}

impl<'a> Planner<'a, '_> {
    fn entry(&self, address: &Address) -> Option<&'a Entry> {
        self.inputs.state.and_then(|state| state.resources.get(address))
    }

    fn resource(&mut self, resource: &'a Resource, selected: bool) {
        let inputs = self.inputs;
        let address = &resource.address;
        let Some(spec) = (inputs.specs)(address.kind()) else {
            self.errors.push(PlanError::UnknownKind { address: address.clone() });
            return;
        };
        if !selected {
            if let Some(entry) = self.entry(address) {
                self.knows(address, Source::Entry(entry), &[], false);
            }
            return;
        }
        if self.is_in_step(resource, spec) {
            self.unchanged(resource, spec);
            return;
        }
        let Some(attributes) = self.resolved(resource, spec) else { return };
        let mut action = self.action(resource, spec, attributes);
        if refresh::is_read_only(resource, |kind| (inputs.specs)(kind)) {
            self.read(resource, action);
            return;
        }
        let mut entry = self.entry(address).filter(|entry| !entry.read_only);
        if let (true, Some(entry)) = (resource.made_name, entry) {
            names::keep(spec, entry, &mut action.attributes);
        }
        let mut seen = inputs.observed.and_then(|observed| observed.resources.get(address));
        if let Some(old) = self.named_again(address, spec, &action.attributes, entry) {
            (entry, seen) = (Some(&old.entry), self.seen_aside(old));
            action.taken_back = true;
            self.taken_back.insert(address, &old.entry.id);
            self.makes_way.insert(address, "what it had replaced takes its place back".to_owned());
        }
        match (entry, seen) {
            (None, _) => self.create(spec, action, "not there yet"),
            (Some(entry), Some(Seen::Gone)) => {
                action.id = Some(entry.id.clone());
                action.depended_on.clone_from(&entry.depends_on);
                self.create(spec, action, "it was deleted outside of this tool");
            }
            (Some(entry), seen) => {
                let observed = match seen {
                    Some(Seen::Present(observed)) => Some(observed),
                    _ => None,
                };
                action.current =
                    diff::current(spec, &entry.attributes, observed.map(|o| &o.attributes), &action.attributes);
                let mut outputs = entry.outputs.clone();
                outputs.extend(observed.map(|o| o.outputs.clone()).unwrap_or_default());
                action.outputs = with_id(outputs, &entry.id);
                action.id = Some(entry.id.clone());
                action.unfinished = !entry.complete;
                action.depended_on.clone_from(&entry.depends_on);
                if inputs.given.alone {
                    held::leave_the_rest(inputs.given.values, &mut action);
                }
                let again = diff::again(spec, entry, &mut action);
                let went_along = self.went_along(resource, spec, &mut action);
                self.existing(spec, again.as_ref().unwrap_or(entry), action, &went_along);
            }
        }
    }

    /// What was seen of something that a replacement left behind.
    fn seen_aside(&self, old: &Deposed) -> Option<&'a Seen> {
        self.inputs.observed?.deposed.get(&(old.address.clone(), old.entry.id.clone()))
    }

    /// What the resource held of others goes with them where they are deleted before their successors come, even where
    /// the successor has the same name: so it is not counted as there, and put back.
    fn went_along(&self, resource: &Resource, spec: &KindSpec, action: &mut Action) -> WentAlong {
        let goes_first = |value: &Value| match value.as_str().map(template::parts).as_deref() {
            Some([template::Part::Reference(inner, _)]) => {
                let reference = Reference::parse(inner)?;
                let known = self.known.get(reference.target.as_str())?;
                reference.address().filter(|_| known.replaced_delete_first)
            }
            _ => None,
        };
        let mut out = WentAlong::default();
        for (name, value) in &resource.attributes {
            match value {
                Value::String(_) => match goes_first(value) {
                    Some(other) if spec.replace_on.contains(&name.as_str()) => out.part_of = Some(other),
                    Some(other) => {
                        // What becomes another value changes anyhow, and its kind needs to know what it was.
                        let same = |now| action.attributes.get(name).is_some_and(|wanted| diff::same(wanted, now));
                        if action.current.get(name).is_some_and(same) {
                            action.current.remove(name);
                        }
                        out.put_back.insert(name.clone(), other);
                    }
                    None => {}
                },
                Value::Array(items) => {
                    let mut known = |reference: &Reference| self.answer(reference);
                    for item in items {
                        let Some(other) = goes_first(item) else { continue };
                        if let Some(Value::Array(held)) = action.current.get_mut(name)
                            && let Some(gone) = template::literal(&template::resolve(item, &mut known))
                        {
                            held.retain(|one| *one != gone);
                            out.put_back.insert(name.clone(), other);
                        }
                    }
                }
                _ => {}
            }
        }
        out
    }

    /// The resource's attributes with every reference that is known put in.
    fn resolved(&mut self, resource: &Resource, spec: &KindSpec) -> Option<Attributes> {
        if !resource.attributes.values().any(template::has_template) {
            return Some(resource.attributes.clone());
        }
        let resolved = template::resolve_all(&resource.attributes, &mut |reference| self.answer(reference));
        if resource.existing.is_some() {
            // What is said of what exists need not be all that the kind asks for.
            return Some(resolved);
        }
        match (spec.canonical)(resolved) {
            Ok(attributes) => Some(attributes),
            Err(problem) => {
                self.errors.push(PlanError::Attribute { address: resource.address.clone(), problem });
                None
            }
        }
    }

    /// An action that does nothing yet.
    fn action(&self, resource: &Resource, spec: &KindSpec, attributes: Attributes) -> Action {
        let dependencies = self.inputs.graph.dependencies(&resource.address);
        Action {
            address: resource.address.clone(),
            kind: spec.name.to_owned(),
            action: Verb::NoChange,
            reason: String::new(),
            changes: Vec::new(),
            create_first: false,
            attributes,
            current: Attributes::new(),
            outputs: Attributes::new(),
            id: None,
            unfinished: false,
            deposed: false,
            taken_back: false,
            keeps_old: false,
            read_only: false,
            in_step: false,
            protect: resource.protect,
            depends_on: dependencies.into_iter().map(|(address, need)| (address.clone(), need)).collect(),
            depended_on: Vec::new(),
        }
    }

    fn read(&mut self, resource: &'a Resource, mut action: Action) {
        let address = &resource.address;
        let entry = self.entry(address);
        action.id.clone_from(&resource.existing);
        let desired = template::literal(&action.attributes.clone().into());
        let looked_up = self.inputs.observed.and_then(|observed| observed.reads.get(address));
        // What is looked up by something else than the state knew is looked up again.
        let looked_up = looked_up.filter(|looked_up| {
            resource.existing.is_some() || desired.as_ref().and_then(Value::as_object) == Some(&looked_up.by)
        });
        action.reason = "it is only read".into();
        match looked_up {
            Some(LookedUp { observed, .. }) => {
                action.id = Some(observed.id.clone());
                action.outputs = with_id(observed.outputs.clone(), &observed.id);
                action
                    .attributes
                    .extend(observed.attributes.clone().into_iter().map(|(k, v)| (k, template::escape_value(&v))));
                let as_known = entry.is_some_and(|entry| {
                    entry.read_only
                        && entry.id == observed.id
                        && entry.outputs == action.outputs
                        && template::literal(&action.attributes.clone().into())
                            .is_some_and(|now| now.as_object() == Some(&entry.attributes))
                });
                action.action = if as_known { Verb::NoChange } else { Verb::Read };
            }
            // Without a refresh the state is believed, where it knows the same thing.
            None => match entry.filter(|entry| self.inputs.observed.is_none() && is_same_read(entry, &action)) {
                Some(entry) => {
                    action.id = Some(entry.id.clone());
                    action.outputs = with_id(entry.outputs.clone(), &entry.id);
                }
                None => action.action = Verb::Read,
            },
        }
        match (entry.filter(|entry| !entry.read_only), action.id.as_deref()) {
            (Some(entry), Some(id)) if entry.id == id => {
                action.action = Verb::Forget;
                action.reason = "the stack only reads it from now on".into();
                action.read_only = true;
                action.depended_on.clone_from(&entry.depends_on);
            }
            (Some(entry), id) => {
                let other = id.map_or_else(String::new, |id| format!(" {id}"));
                self.makes_way.insert(address, format!("the stack reads{other} in its place"));
                action.depended_on.clone_from(&entry.depends_on);
            }
            (None, _) => {}
        }
        self.knows(address, Source::Action(self.actions.len()), &[], false);
        self.actions.push(action);
    }

    fn create(&mut self, spec: &'a KindSpec, mut action: Action, reason: &str) {
        action.action = Verb::Create;
        action.reason = reason.to_owned();
        action.changes = diff::changes(spec, &action.attributes, None, &Attributes::new());
        self.foresee(spec, action, false);
    }

    fn existing(&mut self, spec: &'a KindSpec, entry: &Entry, mut action: Action, went_along: &WentAlong) {
        action.changes = diff::changes(spec, &action.attributes, Some(&entry.attributes), &action.current);
        let put_back = |change: &Change| went_along.put_back.get(change.attribute()).cloned();
        // What an earlier run did not bring to its end, nobody else changed.
        let (unfinished, changing) = (action.unfinished, &entry.changing);
        for change in &mut action.changes {
            let is_own = unfinished || changing.contains_key(change.attribute()) || put_back(change).is_some();
            change.drift &= !is_own;
        }
        let forced: Vec<&str> =
            action.changes.iter().filter(|c| c.forces_replacement).map(|c| c.path.as_str()).collect();
        let asked = self.inputs.replace.iter().any(|name| action.address.is_within(name));
        let delete_first_below: Vec<&Address> = action
            .depends_on
            .iter()
            .map(|(address, _)| address)
            .filter(|address| self.known.get(address.as_str()).is_some_and(|known| known.replaced_delete_first))
            .collect();
        let around = delete_first_below.iter().find(|address| spec.rebuilt_around.contains(&address.kind()));
        if asked || !forced.is_empty() || around.is_some() || went_along.part_of.is_some() {
            action.action = Verb::Replace;
            action.reason = match (forced.as_slice(), around, &went_along.part_of) {
                ([], Some(address), _) if !asked => format!("{address} cannot go while this uses it"),
                ([], None, Some(other)) if !asked => format!("{other}, which it is part of, is made anew"),
                ([], ..) => "you asked for it".to_owned(),
                (paths, ..) => format!("{} cannot be changed in place", list(paths)),
            };
            let delete_first_below = !delete_first_below.is_empty();
            // Two of one unique name cannot exist at once.
            let changes = |attribute: &str| action.changes.iter().any(|change| change.path == attribute);
            let name_stays = spec.naming.is_some_and(|naming| !changes(naming.attribute))
                && !spec.name_within.iter().any(|attribute| changes(attribute));
            action.create_first = spec.replace_order == ReplaceOrder::CreateFirst && !name_stays && !delete_first_below;
            self.protected(&action.address, entry.protect || action.protect, "replace");
            let delete_first = !action.create_first;
            self.foresee(spec, action, delete_first);
            return;
        }
        if !action.changes.is_empty() || action.unfinished || action.taken_back || entry.protect != action.protect {
            action.action = Verb::Update;
            action.reason = if action.taken_back {
                "it was being replaced, and the stack names it again".into()
            } else if action.unfinished {
                "creating it was interrupted".into()
            } else if action.changes.is_empty() {
                if action.protect { "it becomes protected" } else { "it is protected no longer" }.into()
            } else if action.changes.iter().all(|change| entry.changing.contains_key(change.attribute())) {
                "changing it did not come to its end".into()
            } else if action.changes.iter().all(|change| change.drift) {
                "it was changed outside of this tool".into()
            } else if let Some(others) = action.changes.iter().map(put_back).collect::<Option<BTreeSet<Address>>>() {
                let others: Vec<&str> = others.iter().map(Address::as_str).collect();
                format!("what it holds is made anew: {}", list(&others))
            } else {
                "the stack changed".into()
            };
            let is_changed = action.changes.iter().any(|change| change.attribute() != "tags");
            let volatile = if is_changed { spec.outputs_changed_by_update } else { &[] };
            self.push(action, volatile, false);
        } else {
            self.push(action, &[], false);
        }
    }

    /// Notes what a resource that is made will be like, as far as that can be foreseen.
    fn foresee(&mut self, spec: &'a KindSpec, mut action: Action, delete_first: bool) {
        action.outputs = (spec.predict)(&action.attributes, self.inputs.scope)
            .into_iter()
            .filter_map(|(name, value)| Some((name, template::literal(&value)?)))
            .collect();
        self.push(action, &[], delete_first);
    }

    /// Takes an action into the plan; references to its resource are answered from it.
    fn push(&mut self, action: Action, volatile: &'a [&'a str], delete_first: bool) {
        // The graph's own copy of the address lives as long as the plan is made.
        if let Some(resource) = self.inputs.graph.get(&action.address) {
            self.knows(&resource.address, Source::Action(self.actions.len()), volatile, delete_first);
        }
        self.actions.push(action);
    }

    /// A kept value with what the stack says in it, as far as that is known.
    fn told(&self, kept: &Kept) -> Kept {
        let stack = match &kept.stack {
            After::Unknown { template: said, .. } => {
                diff::after(Some(&template::resolve(said, &mut |reference| self.answer(reference))))
            }
            known => known.clone(),
        };
        Kept { stack, ..kept.clone() }
    }

    fn protected(&mut self, address: &Address, protect: bool, what: &'static str) {
        if protect {
            self.errors.push(PlanError::Protected { address: address.clone(), what });
        }
    }
}

/// Whether what is kept of something that is only read is what these attributes, or this id, ask for.
fn is_same_read(entry: &Entry, action: &Action) -> bool {
    let is_same = |(name, value): (&String, &Value)| {
        let kept = entry.attributes.get(name);
        template::literal(value).is_some_and(|value| kept.is_none_or(|kept| *kept == value))
    };
    entry.read_only
        && match &action.id {
            Some(id) => *id == entry.id,
            None => action.attributes.iter().all(is_same),
        }
}

fn with_id(mut outputs: Attributes, id: &str) -> Attributes {
    outputs.insert("id".into(), Value::from(id));
    outputs
}

fn list(paths: &[&str]) -> String {
    match paths {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
