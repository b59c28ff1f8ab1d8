//! The end of planning: outputs, counts, and what the plan is for.

use super::*;

impl Planner<'_, '_> {
    /// The plan of all actions, or everything that forbids it.
    pub(super) fn finish(self) -> Result<Plan, Vec<PlanError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let inputs = self.inputs;
        let mut outputs = BTreeMap::new();
        let mut output_changes = BTreeMap::new();
        let empty = BTreeMap::new();
        let before = inputs.state.map_or(&empty, |state| &state.outputs);
        if inputs.mode == Mode::Apply {
            for (name, value) in &inputs.graph.outputs {
                let value = template::resolve(value, &mut |reference| self.answer(reference));
                let old = before.get(name);
                if !old.is_some_and(|old| diff::same(&value, old)) {
                    let before = old.cloned().unwrap_or(Value::Null);
                    output_changes.insert(name.clone(), OutputChange { before, after: diff::after(Some(&value)) });
                }
                outputs.insert(name.clone(), value);
            }
        }
        for (name, value) in before {
            if !outputs.contains_key(name) && inputs.targets.is_empty() {
                let after = After::Known { value: Value::Null };
                output_changes.insert(name.clone(), OutputChange { before: value.clone(), after });
            }
        }
        let mut outputs_of = BTreeMap::new();
        if inputs.mode == Mode::Apply {
            outputs_of = inputs.graph.outputs_of();
            // What is given as it stands is made from what it was made from.
            for (name, of) in inputs.state.iter().flat_map(|state| &state.outputs_of) {
                if before.get(name).is_some_and(|old| outputs.get(name).is_some_and(|new| diff::same(new, old))) {
                    outputs_of.entry(name.clone()).or_insert_with(|| of.clone());
                }
            }
        }
        let mut summary = Summary { drift: self.drift.len(), ..Summary::default() };
        for action in &self.actions {
            let is_read = inputs
                .graph
                .get(&action.address)
                .is_some_and(|resource| refresh::is_read_only(resource, |kind| (inputs.specs)(kind)));
            match action.action {
                Verb::NoChange if is_read => summary.read += 1,
                Verb::Read => summary.read += 1,
                Verb::NoChange => summary.no_change += 1,
                Verb::Create => summary.create += 1,
                Verb::Update => summary.update += 1,
                Verb::Replace => summary.replace += 1,
                Verb::Delete => summary.delete += 1,
                Verb::Forget => summary.forget += 1,
            }
        }
        Ok(Plan {
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: inputs.mode,
            scope: inputs.scope.clone(),
            cloud: inputs.cloud.to_owned(),
            lineage: inputs.state.map(|state| state.lineage.clone()),
            serial: inputs.state.map_or(0, |state| state.serial),
            state_digest: None,
            inputs_digest: inputs.inputs_digest.to_owned(),
            seal: None,
            summary,
            actions: self.actions,
            drift: self.drift,
            kept: Vec::new(),
            holds: Vec::new(),
            renames: Vec::new(),
            outputs,
            outputs_of,
            output_changes,
        })
    }
}
