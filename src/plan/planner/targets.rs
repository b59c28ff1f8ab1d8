//! Targets: what a plan of a part takes along, and what it leaves alone for the sake of the rest.

use super::*;
use crate::words::nearest_address;

impl<'a> Planner<'a, '_> {
    /// The addresses that `--target` selects: those named, what they depend on, and, of what is deleted, what depends on
    /// them. `None`: everything.
    pub(super) fn selection(&self) -> Result<Option<HashSet<Address>>, Vec<PlanError>> {
        let inputs = self.inputs;
        if inputs.targets.is_empty() && inputs.replace.is_empty() {
            return Ok(None);
        }
        let held = || inputs.state.into_iter().flat_map(State::holds);
        let declared = inputs.graph.resources().iter().map(|resource| &resource.address);
        let all: BTreeSet<&Address> = declared.chain(held().map(|(address, _)| address)).collect();
        let mut errors = Vec::new();
        for name in inputs.targets.iter().chain(inputs.replace) {
            if !all.iter().any(|address| address.is_within(name)) {
                let near = nearest_address(name, all.iter().map(|a| a.as_str())).map(str::to_owned);
                errors.push(PlanError::UnknownTarget { name: name.clone(), near });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if inputs.targets.is_empty() {
            return Ok(None);
        }
        let mut dependents: HashMap<&Address, Vec<&Address>> = HashMap::new();
        for (address, entry) in held() {
            entry.depends_on.iter().for_each(|dependency| dependents.entry(dependency).or_default().push(address));
        }
        let named = |address: &&&Address| inputs.targets.iter().any(|target| address.is_within(target));
        let mut selected: HashSet<Address> = HashSet::new();
        let mut open: Vec<&Address> = all.iter().filter(named).copied().collect();
        while let Some(address) = open.pop() {
            if !selected.insert(address.clone()) {
                continue;
            }
            if inputs.given.alone {
                continue;
            }
            if inputs.mode == Mode::Apply && inputs.graph.get(address).is_some() {
                open.extend(inputs.graph.dependencies(address).into_iter().map(|(dependency, _)| dependency));
            } else {
                // It goes, so what depends on it goes before.
                open.extend(dependents.get(address).into_iter().flatten());
            }
        }
        Ok(Some(selected))
    }

    /// What is not targeted stays as it is, and so does all that it uses: what a replacement replaced is not deleted before
    /// everything that stood on it has moved. What would have to go first cannot be made anew at all.
    pub(super) fn leave_what_is_used(&mut self, selected: &HashSet<Address>) {
        let Some(state) = self.inputs.state else { return };
        let mut leaving: HashMap<&Address, Vec<usize>> = HashMap::new();
        let addresses: Vec<Address> = self.actions.iter().map(|action| action.address.clone()).collect();
        for (index, address) in addresses.iter().enumerate() {
            if matches!(self.actions[index].action, Verb::Replace | Verb::Delete) {
                leaving.entry(address).or_default().push(index);
            }
        }
        let is_user = |(address, entry): &(&Address, &Entry)| !selected.contains(*address) && !entry.read_only;
        let mut staying: Vec<(&Address, &Entry)> = state.holds().filter(is_user).collect();
        let mut users: BTreeMap<usize, BTreeSet<&Address>> = BTreeMap::new();
        while let Some((user, entry)) = staying.pop() {
            for index in entry.depends_on.iter().filter_map(|dependency| leaving.get(dependency)).flatten() {
                let is_new = !users.contains_key(index);
                users.entry(*index).or_default().insert(user);
                let action = &self.actions[*index];
                // It stays itself, and what it uses with it.
                if is_new
                    && let Some(id) = action.id.as_deref()
                    && let Some(entry) = state.entry(&action.address, id)
                {
                    staying.push((&addresses[*index], entry));
                }
            }
        }
        let mut dropped = HashSet::new();
        for (index, users) in users {
            let action = &mut self.actions[index];
            let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
            match action.action {
                Verb::Replace if action.create_first => {
                    action.keeps_old = true;
                    let verb = if names.len() == 1 { "uses" } else { "use" };
                    action.reason.push_str(&format!("; the old one stays while {} {verb} it", list(&names)));
                }
                Verb::Replace => {
                    let (address, users) = (action.address.clone(), users.into_iter().cloned().collect());
                    self.errors.push(PlanError::Untargeted { address, users });
                }
                _ => drop(dropped.insert(index)),
            }
        }
        if !dropped.is_empty() {
            // Deletions stand behind everything that references are answered from.
            let mut index = 0;
            self.actions.retain(|_| {
                index += 1;
                !dropped.contains(&(index - 1))
            });
        }
    }
}
