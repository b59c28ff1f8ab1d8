//! Names: what keeps the one that it has, and what may not have the one of something else.

use super::*;

impl<'a> Planner<'a, '_> {
    /// What a replacement left behind at an address and the stack names again: made anew, it would meet itself.
    pub(super) fn named_again(
        &self,
        address: &Address,
        spec: &KindSpec,
        attributes: &Attributes,
        standing: Option<&Entry>,
    ) -> Option<&'a Deposed> {
        let naming = spec.naming?;
        let is_named_so = |entry: &Entry| {
            let mut names = std::iter::once(&naming.attribute).chain(spec.name_within);
            names.all(|name| is_same(name, attributes, entry))
        };
        let aside = self.inputs.state?.deposed.at(address);
        if aside.is_empty() || standing.is_some_and(is_named_so) {
            return None;
        }
        aside
            .iter()
            .filter(|old| is_named_so(&old.entry))
            .rfind(|old| !matches!(self.seen_aside(old), Some(Seen::Gone)))
    }

    /// Refuses what would be made under a name that the state knows as something else's: the create would be answered with
    /// that one, and both would go with it.
    pub(super) fn names_of_others(&mut self) {
        let Some(state) = self.inputs.state else { return };
        let new: Vec<(&Action, &KindSpec, Attributes)> = self
            .actions
            .iter()
            .filter(|action| matches!(action.action, Verb::Create | Verb::Replace | Verb::Update))
            .filter_map(|action| {
                let spec = (self.inputs.specs)(&action.kind)?;
                Some((action, spec, new_names(spec, action)?))
            })
            .collect();
        if new.is_empty() {
            return;
        }
        let mut held: HashMap<(&str, Names<'_>), Vec<&Address>> = HashMap::new();
        for (address, entry) in
            state.holds().filter(|(address, entry)| !entry.read_only && !self.is_gone(address, entry))
        {
            let names = (self.inputs.specs)(address.kind()).and_then(|spec| names(spec, &entry.attributes));
            if let Some(names) = names {
                held.entry((address.kind(), names)).or_default().push(address);
            }
        }
        let mut errors = Vec::new();
        for (action, spec, attributes) in &new {
            let Some(names) = names(spec, attributes) else { continue };
            let others = held.get(&(action.address.kind(), names)).into_iter().flatten();
            if let Some(other) = others.copied().find(|other| **other != action.address) {
                let moved = self.inputs.graph.get(other).is_none().then(|| moved(other, &action.address));
                // A construct that was renamed is one mistake.
                let is_told =
                    |error: &PlanError| matches!(error, PlanError::Taken { moved: told, .. } if *told == moved);
                if moved.is_some() && errors.iter().any(is_told) {
                    continue;
                }
                let same = same(spec, attributes);
                errors.push(PlanError::Taken { address: action.address.clone(), other: other.clone(), same, moved });
            }
        }
        self.errors.extend(errors);
    }

    /// Whether the refresh did not find something that the state holds.
    fn is_gone(&self, address: &Address, entry: &Entry) -> bool {
        let Some(observed) = self.inputs.observed else { return false };
        let stands = self.entry(address).is_some_and(|standing| standing.id == entry.id);
        let seen = match stands {
            true => observed.resources.get(address),
            false => observed.deposed.get(&(address.clone(), entry.id.clone())),
        };
        matches!(seen, Some(Seen::Gone))
    }
}

/// The values that tell a resource from the others of its kind.
type Names<'v> = Vec<Option<&'v Value>>;

fn names<'v>(spec: &KindSpec, attributes: &'v Attributes) -> Option<Names<'v>> {
    let names: Names<'_> = spec.unique().into_iter().map(|name| attributes.get(name)).collect();
    names.first().is_some_and(Option::is_some).then_some(names)
}

/// Those that an action gives a resource, where it does not have them already. What is not known yet is made in this run,
/// and no other's.
fn new_names(spec: &KindSpec, action: &Action) -> Option<Attributes> {
    let mut out = Attributes::new();
    for name in spec.unique() {
        if let Some(value) = action.attributes.get(name) {
            out.insert(name.to_owned(), template::literal(value)?);
        }
    }
    let has = action.action != Verb::Create && names(spec, &action.current) == names(spec, &out);
    (!has).then_some(out)
}

/// What exists keeps its name, where the stack gives none, whatever name would be made for it now: it may have had another
/// address when it was made. Where the name bears a digest of what is another now, it is made anew under a name of its own.
/// What carries no tags would be lost with the state under a name that does not follow from the stack.
pub(super) fn keep(spec: &KindSpec, entry: &Entry, attributes: &mut Attributes) {
    let Some(naming) = spec.naming.filter(|_| spec.taggable) else { return };
    let is_as_made = spec.name_digests.iter().all(|name| is_same(name, attributes, entry));
    if let (true, Some(name)) = (is_as_made, entry.attributes.get(naming.attribute)) {
        attributes.insert(naming.attribute.to_owned(), template::escape_value(name));
    }
}

/// Whether a desired attribute is what the state says.
fn is_same(name: &str, attributes: &Attributes, entry: &Entry) -> bool {
    match (attributes.get(name), entry.attributes.get(name)) {
        (Some(desired), Some(literal)) => diff::same(desired, literal),
        (desired, literal) => desired.is_none() && literal.is_none(),
    }
}

/// What there is only one of, in words.
fn same(spec: &KindSpec, attributes: &Attributes) -> String {
    let unique = spec.unique();
    match unique.first().and_then(|name| attributes.get(*name)).and_then(Value::as_str) {
        Some(name) if spec.unique_by.is_empty() => format!("{} named `{name}`", spec.title),
        _ => {
            let given: Vec<&str> = unique.into_iter().filter(|name| attributes.contains_key(*name)).collect();
            format!("{} of this {}", spec.title, list(&given))
        }
    }
}

/// The move that makes one address of the other: of a whole construct, where only that was renamed.
fn moved(from: &Address, to: &Address) -> (String, String) {
    if let (Some(old), Some(new)) = (from.construct(), to.construct()) {
        let rest = |address: &Address| format!("{}.{}", address.kind(), address.name());
        let kind = |construct: &str| construct.split('.').next().map(str::to_owned);
        if old != new && rest(from) == rest(to) && kind(old) == kind(new) {
            return (old.to_owned(), new.to_owned());
        }
    }
    (from.to_string(), to.to_string())
}
