//! How a step begins: what it needs is resolved, and what is about to be sent is noted.

use super::*;

impl<'a> Run<'a> {
    /// Begins a step; `false` where nothing of it is left to be sent.
    pub(super) fn begins(&mut self, step: usize) -> bool {
        match self.begin(step) {
            Ok(true) => return true,
            Ok(false) => self.done(step),
            Err(error) => self.failed(step, error),
        }
        false
    }

    /// Prepares a step: resolves what it needs and notes its intent. `false`: nothing is left to do.
    fn begin(&mut self, step: usize) -> Result<bool, CloudError> {
        let action = self.action(step);
        let kind = self.steps.steps[step].kind;
        match kind {
            StepKind::Pass => {
                self.keep_in_step(action);
                return Ok(false);
            }
            StepKind::Forget => {
                let id = action.id.clone().unwrap_or_default();
                if !self.is_back(action, &id) {
                    self.ledger.note(Record::Remove { address: action.address.clone(), id });
                }
                return Ok(false);
            }
            _ => {}
        }
        match kind {
            StepKind::Read => {
                if let Some(id) = action.id.as_ref().filter(|_| !action.outputs.is_empty()) {
                    let attributes = self.literal(action)?;
                    self.keep_read(action, id, attributes, action.outputs.clone());
                    return Ok(false);
                }
                self.steps_state[step].stage = Stage::Read;
            }
            StepKind::Create => {
                self.foreseen(action)?;
                let attributes = self.literal(action)?;
                let request = CreateRequest {
                    address: action.address.clone(),
                    token: (self.options.token)(),
                    attributes: attributes.clone(),
                };
                let mut intent = self.intend(action, Operation::Create, request.token.clone());
                intent.attributes = attributes;
                intent.depends_on = dependencies(action);
                intent.id = None;
                let progressing = &mut self.steps_state[step];
                progressing.intent = Some(intent.number);
                progressing.request = Some(Arc::new(request));
                progressing.stage = Stage::Create;
                self.note_intent(intent);
            }
            StepKind::Update => return self.begin_update(step, action),
            StepKind::Delete => {
                let id = action.id.clone().unwrap_or_default();
                if self.is_back(action, &id) {
                    return Ok(false);
                }
                // Of a replacement, the action's outputs are the successor's.
                let entry = self.ledger.state().entry(&action.address, &id);
                let outputs = entry.map_or_else(|| action.outputs.clone(), |entry| entry.outputs.clone());
                let intent = self.intend(action, Operation::Delete, String::new());
                let progressing = &mut self.steps_state[step];
                progressing.intent = Some(intent.number);
                let (address, attributes) = (action.address.clone(), action.current.clone());
                progressing.known = Some(Arc::new(Known { address, id, attributes, outputs }));
                progressing.stage = Stage::Delete;
                self.note_intent(intent);
            }
            StepKind::Pass | StepKind::Forget => {}
        }
        Ok(true)
    }

    /// What was shown is what is done: nothing is made or changed at an address where something stands that the plan did
    /// not know.
    fn foreseen(&self, action: &Action) -> Result<(), CloudError> {
        let standing = self.ledger.state().resources.get(&action.address).filter(|entry| !entry.read_only);
        match standing {
            Some(entry) if !action.taken_back && action.id.as_deref() != Some(entry.id.as_str()) => {
                let message = format!("{} stands there by now, which the plan did not know", entry.id);
                Err(CloudError::unexpected(action.address.as_str(), message)
                    .help("plan again, look at it, and apply the new plan"))
            }
            _ => Ok(()),
        }
    }

    /// Whether what was to go as a predecessor is what stands at the address: it took its place back, or its successor
    /// turned out to be the same.
    fn is_back(&self, action: &Action, id: &str) -> bool {
        let former = action.deposed || (action.action == Verb::Replace && action.create_first);
        former && self.ledger.state().resources.get(&action.address).is_some_and(|entry| entry.id == id)
    }

    fn begin_update(&mut self, step: usize, action: &'a Action) -> Result<bool, CloudError> {
        self.foreseen(action)?;
        let after = self.literal(action)?;
        let id = action.id.clone().unwrap_or_default();
        let changed: BTreeSet<String> = action
            .current
            .keys()
            .chain(after.keys())
            .filter(|name| action.changes.iter().any(|c| c.path.split('.').next() == Some(name.as_str())))
            .filter(|name| action.current.get(*name) != after.get(*name))
            .cloned()
            .collect();
        let token = (self.options.token)();
        let known = Known {
            address: action.address.clone(),
            id: id.clone(),
            attributes: after.clone(),
            outputs: action.outputs.clone(),
        };
        if changed.is_empty() && !action.unfinished {
            // What was unknown turned out to be what it is already, or only the protection changes.
            self.keep(action, after, &action.outputs, &id, true);
            return Ok(false);
        }
        let mut intent = self.intend(action, Operation::Update, token.clone());
        intent.attributes = outcome::was(&action.current, &changed).collect();
        let progressing = &mut self.steps_state[step];
        progressing.known = Some(Arc::new(known));
        progressing.intent = Some(intent.number);
        if action.unfinished {
            let (address, attributes) = (action.address.clone(), after.clone());
            progressing.request = Some(Arc::new(CreateRequest { address, token: token.clone(), attributes }));
        }
        if !changed.is_empty() {
            progressing.update = Some(Arc::new(UpdateRequest {
                address: action.address.clone(),
                id,
                before: action.current.clone(),
                after,
                changed,
                outputs: action.outputs.clone(),
                token,
            }));
        }
        progressing.stage = if action.unfinished { Stage::Finish } else { Stage::Update };
        self.note_intent(intent);
        Ok(true)
    }

    /// Notes what is about to be sent: it must be safe before it goes.
    fn note_intent(&mut self, intent: Intent) {
        self.ledger.note(Record::Intent(intent));
        self.must_sync = true;
    }

    fn intend(&mut self, action: &Action, operation: Operation, token: String) -> Intent {
        let number = self.next_intent;
        self.next_intent += 1;
        Intent {
            number,
            address: action.address.clone(),
            operation,
            token,
            attributes: Attributes::new(),
            depends_on: Vec::new(),
            id: action.id.clone(),
        }
    }

    /// The action's attributes with the references that became known.
    pub(super) fn literal(&self, action: &Action) -> Result<Attributes, CloudError> {
        if !action.attributes.values().any(template::has_template) {
            return Ok(action.attributes.clone());
        }
        let state = self.ledger.state();
        let resolved = template::resolve_all(&action.attributes, &mut |reference| state.answer(reference));
        let call = action.address.as_str();
        let canonical = match self.cloud.spec(&action.kind) {
            // What is said of what exists need not be all that the kind asks for.
            Some(spec) if spec.is_lookup() || !is_only_read(action) => {
                (spec.canonical)(resolved).map_err(|p| CloudError::unexpected(call, p.message))?
            }
            _ => resolved,
        };
        let unknown = template::first_reference(&canonical.clone().into());
        match template::literal(&Value::Object(canonical)) {
            Some(Value::Object(map)) => Ok(map),
            _ => {
                let what = unknown.map(|r| r.to_string()).unwrap_or_default();
                Err(CloudError::unexpected(call, format!("`{what}` did not become known"))
                    .help("plan again: something it references is not there"))
            }
        }
    }
}

fn is_only_read(action: &Action) -> bool {
    action.action == Verb::Read || action.read_only
}

/// What an action waits for, by address.
pub(super) fn dependencies(action: &Action) -> Vec<Address> {
    action.depends_on.iter().map(|(address, _)| address.clone()).collect()
}
