//! Deletions: what the state knows and the stack does not say.

use super::*;

impl Planner<'_, '_> {
    /// What is in the state and shall not be there: dependents first.
    pub(super) fn deletions(&mut self, is_selected: &dyn Fn(&Address) -> bool) {
        let Some(state) = self.inputs.state else { return };
        let destroy = self.inputs.mode == Mode::Destroy;
        for old in state.deposed.iter().filter(|old| is_selected(&old.address)) {
            let is_wanted = |id: &str| id == old.entry.id;
            let existing = self.inputs.graph.get(&old.address).and_then(|resource| resource.existing.as_deref());
            if !self.taken_back.get(&old.address).copied().is_some_and(is_wanted) && !existing.is_some_and(is_wanted) {
                self.deletion(&old.address, &old.entry, self.seen_aside(old), "a replacement left it behind", true);
            }
        }
        for (address, reason) in std::mem::take(&mut self.makes_way) {
            let Some(entry) = state.resources.get(address) else { continue };
            let seen = self.inputs.observed.and_then(|observed| observed.resources.get(address));
            self.deletion(address, entry, seen, &reason, true);
        }
        let graph = self.inputs.graph;
        let goes = |address: &&Address| is_selected(address) && (destroy || graph.get(address).is_none());
        let going: Vec<&Address> = state.resources.keys().filter(goes).collect();
        for address in dependents_first(state, going) {
            let Some(entry) = state.resources.get(address) else { continue };
            let seen = self.inputs.observed.and_then(|observed| observed.resources.get(address));
            let reason = if destroy { "the stack is destroyed" } else { "it is no longer in the stack" };
            self.deletion(address, entry, seen, reason, false);
        }
    }

    fn deletion(&mut self, address: &Address, entry: &Entry, seen: Option<&Seen>, reason: &str, deposed: bool) {
        let Some(spec) = (self.inputs.specs)(address.kind()) else {
            self.errors.push(PlanError::UnknownKind { address: address.clone() });
            return;
        };
        let (action, reason) = match seen {
            _ if entry.read_only => (Verb::Forget, "it was only read"),
            Some(Seen::Gone) => (Verb::Forget, "it is gone already"),
            _ => (Verb::Delete, reason),
        };
        if action == Verb::Delete {
            self.protected(address, entry.protect, "delete");
        }
        let changes = match action {
            Verb::Delete => entry.attributes.iter().map(|(name, value)| removed(name, value)).collect(),
            _ => Vec::new(),
        };
        self.actions.push(Action {
            address: address.clone(),
            kind: spec.name.to_owned(),
            action,
            reason: reason.to_owned(),
            changes,
            create_first: false,
            attributes: Attributes::new(),
            current: entry.attributes.clone(),
            outputs: with_id(entry.outputs.clone(), &entry.id),
            id: Some(entry.id.clone()),
            unfinished: false,
            deposed,
            taken_back: false,
            keeps_old: false,
            read_only: false,
            in_step: false,
            protect: false,
            depends_on: Vec::new(),
            depended_on: entry.depends_on.clone(),
        });
    }
}

fn removed(name: &str, value: &Value) -> Change {
    Change {
        path: name.to_owned(),
        before: value.clone(),
        after: After::Known { value: Value::Null },
        forces_replacement: false,
        drift: false,
    }
}

/// These addresses of the state, those that depend on others before those. What depends on each other comes last.
fn dependents_first<'a>(state: &'a State, addresses: Vec<&'a Address>) -> Vec<&'a Address> {
    let mut waiting: HashMap<&Address, usize> = addresses.iter().map(|address| (*address, 0)).collect();
    let dependencies = |address: &Address| state.resources.get(address).map_or(&[][..], |entry| &entry.depends_on);
    for address in &addresses {
        for dependency in dependencies(address) {
            if let Some(count) = waiting.get_mut(dependency) {
                *count += 1;
            }
        }
    }
    let mut ready: BTreeSet<&Address> = addresses.iter().filter(|address| waiting[**address] == 0).copied().collect();
    let mut out = Vec::with_capacity(addresses.len());
    while let Some(address) = ready.pop_first() {
        out.push(address);
        for dependency in dependencies(address) {
            if let Some(count) = waiting.get_mut(dependency) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependency);
                }
            }
        }
    }
    if out.len() < addresses.len() {
        let told: HashSet<&Address> = out.iter().copied().collect();
        out.extend(addresses.into_iter().filter(|address| !told.contains(address)));
    }
    out
}
