//! What becomes of a step: answers, what is tried again, what is written down, and who may start then.

use super::*;

impl Run<'_> {
    pub(super) fn answered(&mut self, step: usize, answer: Answer) {
        let stage = self.steps_state[step].stage;
        if self.steps_state[step].under_way && !matches!(answer, Answer::Awake) {
            self.steps_state[step].under_way = false;
            match stage {
                Stage::Poll(_) => self.in_poll -= 1,
                _ => self.in_call -= 1,
            }
        }
        match answer {
            Answer::Awake => self.push(step),
            Answer::Created(Ok(created)) => self.created(step, created.id, created.outputs),
            Answer::Found(Ok(Some(observed))) => self.created(step, observed.id, observed.outputs),
            Answer::Found(Ok(None)) => {
                let again = self.cloud.spec(&self.action(step).kind).is_some_and(|spec| spec.identity.is_idempotent());
                let progressing = &mut self.steps_state[step];
                // It may be there and not be shown yet; made again now, there would be two.
                if progressing.lost_at.is_none_or(|at| at.elapsed() >= self.cloud.visibility()) {
                    progressing.doubtful = false;
                }
                if again || !progressing.doubtful {
                    progressing.stage = Stage::Create;
                }
                self.pause(step);
            }
            Answer::Confirmed(answer) => self.confirmed(step, answer),
            Answer::Finished(Ok(())) => self.finished(step),
            Answer::Updated(Ok(())) => self.updated(step),
            Answer::Deleted(Ok(())) => self.poll(step, Phase::Deleted),
            Answer::LookedUp(Ok(observed)) => {
                let action = self.action(step);
                let mut attributes = self.literal(action).unwrap_or_default();
                attributes.extend(observed.attributes);
                self.keep_read(action, &observed.id, attributes, observed.outputs);
                self.done(step);
            }
            Answer::Polled(Ok(Progress::Done(outputs))) => self.settled(step, outputs),
            Answer::Polled(Ok(Progress::Telling(what, news))) => {
                let address = &self.action(step).address;
                news.into_iter().for_each(|line| (self.emit)(Event::News { address: address.clone(), line }));
                // The step is not under way any more.
                self.answered(step, Answer::Polled(Ok(Progress::Pending(what))));
            }
            Answer::Polled(Ok(Progress::Pending(what))) => {
                let address = self.action(step).address.clone();
                if self.is_out_of_patience(step, self.options.settle_patience) {
                    let minutes = self.options.settle_patience.as_secs() / 60;
                    let error = CloudError::new(
                        ErrorClass::NotYet,
                        address.as_str(),
                        "",
                        format!("still {what} after {minutes} minutes"),
                    );
                    self.failed(step, error);
                } else {
                    (self.emit)(Event::Waiting { address, what });
                    self.expect_soon(step);
                    self.pause(step);
                }
            }
            Answer::Created(Err(error))
            | Answer::Found(Err(error))
            | Answer::Finished(Err(error))
            | Answer::Updated(Err(error))
            | Answer::Deleted(Err(error))
            | Answer::LookedUp(Err(error))
            | Answer::Polled(Err(error)) => self.refused(step, stage, error),
        }
    }

    /// A call failed: again, look it up, or give up.
    fn refused(&mut self, step: usize, stage: Stage, error: CloudError) {
        let patience = match (stage, error.class) {
            (_, ErrorClass::NotFound) => self.cloud.visibility(),
            (Stage::Delete, _) => self.options.delete_patience,
            (Stage::Poll(_), _) => self.options.settle_patience,
            _ => self.options.patience,
        };
        let progressing = &mut self.steps_state[step];
        let is_lost = error.is(ErrorClass::Uncertain);
        if stage == Stage::Create && (is_lost || error.doubtful) {
            progressing.doubtful = true;
            progressing.lost_at = Some(Instant::now());
        }
        let again = match error.class {
            ErrorClass::Throttled | ErrorClass::NotYet => true,
            // A refusal now (a quota that is used up, a name that is taken) says nothing of the call before it.
            _ if stage == Stage::Create && progressing.doubtful => {
                progressing.stage = Stage::Find;
                progressing.lost += u32::from(is_lost);
                progressing.lost <= LOST_ANSWERS
            }
            ErrorClass::NotFound => self.may_be_unseen(step, stage) && !patience.is_zero(),
            ErrorClass::Uncertain => {
                progressing.lost += 1;
                progressing.lost <= LOST_ANSWERS
            }
            _ => false,
        };
        if again && !self.is_out_of_patience(step, patience) {
            let what = match error.class {
                ErrorClass::Throttled => "its turn: the cloud limits the rate of calls".to_owned(),
                ErrorClass::Uncertain => format!("an answer ({})", error.call),
                _ => error.message.clone(),
            };
            let address = self.action(step).address.clone();
            (self.emit)(Event::Waiting { address, what });
            self.pause(step);
        } else {
            self.failed(step, error);
        }
    }

    /// Whether what a call does not find may be something made in this run that not every part of the cloud shows yet:
    /// the resource itself, or something that it depends on.
    fn may_be_unseen(&self, step: usize, stage: Stage) -> bool {
        let is_new = self.steps.steps[step].kind == StepKind::Create;
        match stage {
            Stage::Finish | Stage::Poll(Phase::Created) => is_new || self.steps_state[step].on_new,
            Stage::Create | Stage::Update => self.steps_state[step].on_new,
            _ => false,
        }
    }

    fn is_out_of_patience(&mut self, step: usize, patience: Duration) -> bool {
        let now = Instant::now();
        now.duration_since(*self.steps_state[step].held_up.get_or_insert(now)) > patience
    }

    /// Asks more often about the time at which what is made is usually ready: what is known late makes others wait.
    fn expect_soon(&mut self, step: usize) {
        let spec = self.cloud.spec(&self.action(step).kind);
        let usual = Duration::from_secs(spec.map_or(0, |spec| u64::from(spec.typical_seconds)));
        let progressing = &mut self.steps_state[step];
        if progressing.stage != Stage::Poll(Phase::Created) {
            return;
        }
        let elapsed = progressing.started.map(|at| at.elapsed()).unwrap_or_default();
        let often = (usual / 40).max(FIRST_PAUSE);
        let most = match elapsed {
            early if early < usual / 2 => (usual / 2 - early).max(often),
            near if near < usual * 3 / 2 => often,
            _ => return,
        };
        progressing.pause = progressing.pause.min(most);
    }

    /// Sends the step's stage again after a pause, without holding a slot.
    fn pause(&mut self, step: usize) {
        let progressing = &mut self.steps_state[step];
        let pause = progressing.pause;
        progressing.pause = longer(pause);
        if self.stop != Stop::No {
            return;
        }
        self.flights.push(
            async move {
                tokio::time::sleep(pause).await;
                (step, Answer::Awake)
            }
            .boxed(),
        );
    }

    fn next_stage(&mut self, step: usize, stage: Stage) {
        let progressing = &mut self.steps_state[step];
        progressing.stage = stage;
        progressing.held_up = None;
        progressing.pause = FIRST_PAUSE;
        progressing.lost = 0;
        progressing.doubtful = false;
        self.push(step);
    }

    /// A create call had its effect.
    fn created(&mut self, step: usize, id: String, mut outputs: Attributes) {
        let action = self.action(step);
        let Some(request) = self.steps_state[step].request.clone() else { return };
        if id.is_empty() {
            // It is there all the same, and is looked up like one whose answer was lost.
            let error =
                CloudError::new(ErrorClass::Uncertain, action.address.as_str(), "", "the cloud gave no id of it");
            let stage = self.steps_state[step].stage;
            return self.refused(step, stage, error);
        }
        for (name, value) in &action.outputs {
            if action.action != Verb::Replace || name != "id" {
                outputs.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        outputs.insert("id".into(), Value::from(id.as_str()));
        if let Some(number) = self.steps_state[step].intent.take() {
            let (id, outputs) = (id.clone(), outputs.clone());
            self.ledger.note(Record::Created { number, id, outputs, protect: action.protect });
        }
        let former = action.id.as_deref().filter(|old| action.action == Verb::Create && *old != id);
        let former = former.and_then(|old| self.ledger.state().entry(&action.address, old)).map(|entry| Known {
            address: action.address.clone(),
            id: entry.id.clone(),
            attributes: entry.attributes.clone(),
            outputs: entry.outputs.clone(),
        });
        let (address, attributes) = (action.address.clone(), request.attributes.clone());
        let progressing = &mut self.steps_state[step];
        progressing.known = Some(Arc::new(Known { address, id, attributes, outputs }));
        progressing.former = former;
        let next = if progressing.former.is_some() { Stage::Confirm } else { Stage::Finish };
        self.next_stage(step, next);
    }

    /// What had not been there when the plan was made was looked for once more. Where it is there after all, or is not to
    /// be told, it stays known beside its successor, and the next plan shows what is to become of it.
    fn confirmed(&mut self, step: usize, answer: Result<Vec<Option<Observed>>, CloudError>) {
        if let (Ok(seen), Some(former)) = (answer, self.steps_state[step].former.take())
            && seen.iter().all(Option::is_none)
        {
            self.ledger.note(Record::Remove { address: former.address, id: former.id });
        }
        self.next_stage(step, Stage::Finish);
    }

    fn finished(&mut self, step: usize) {
        let action = self.action(step);
        if action.unfinished
            && self.steps_state[step].update.is_none()
            && let Some(known) = self.steps_state[step].known.clone()
        {
            self.keep(action, known.attributes.clone(), &known.outputs, &known.id, false);
        }
        self.release(step, Need::Existence);
        match self.steps_state[step].update.is_some() {
            true => self.next_stage(step, Stage::Update),
            false => self.poll(step, Phase::Created),
        }
    }

    fn updated(&mut self, step: usize) {
        let action = self.action(step);
        if let Some(known) = self.steps_state[step].known.clone() {
            let complete = !action.unfinished;
            let mut entry = entry(action, known.attributes.clone(), &known.outputs, &known.id, complete);
            // Until it took hold, it may have to be done again.
            let update = self.steps_state[step].update.as_ref();
            entry.changing = update.into_iter().flat_map(|update| was(&update.before, &update.changed)).collect();
            self.ledger.note(Record::Put { address: action.address.clone(), entry });
        }
        self.settle_intent(step);
        self.release(step, Need::Existence);
        self.poll(step, if action.unfinished { Phase::Created } else { Phase::Updated });
    }

    fn poll(&mut self, step: usize, phase: Phase) {
        let goes_on = self.cloud.spec(&self.action(step).kind).is_some_and(|spec| spec.goes_on_by_itself);
        if !self.options.wait && goes_on && phase != Phase::Deleted {
            return self.settled(step, Attributes::new());
        }
        self.next_stage(step, Stage::Poll(phase));
    }

    pub(super) fn settle_intent(&mut self, step: usize) {
        if let Some(number) = self.steps_state[step].intent.take() {
            self.ledger.note(Record::Settled { number });
        }
    }

    /// What was waited for is so.
    fn settled(&mut self, step: usize, outputs: Attributes) {
        let action = self.action(step);
        let Some(known) = self.steps_state[step].known.clone() else { return };
        if self.steps.steps[step].kind == StepKind::Delete {
            self.ledger.note(Record::Remove { address: action.address.clone(), id: known.id.clone() });
        } else {
            let mut outputs = outputs;
            outputs.retain(|name, value| known.outputs.get(name) != Some(value));
            self.ledger.note(Record::Ready { address: action.address.clone(), outputs });
        }
        self.settle_intent(step);
        self.done(step);
    }

    pub(super) fn keep(
        &mut self,
        action: &Action,
        attributes: Attributes,
        outputs: &Attributes,
        id: &str,
        complete: bool,
    ) {
        let entry = entry(action, attributes, outputs, id, complete);
        self.ledger.note(Record::Put { address: action.address.clone(), entry });
    }

    /// Keeps what was only read: by what it was looked up, and what it is.
    pub(super) fn keep_read(&mut self, action: &Action, id: &str, attributes: Attributes, mut outputs: Attributes) {
        outputs.insert("id".into(), Value::from(id));
        let entry = Entry {
            id: id.to_owned(),
            attributes,
            outputs,
            depends_on: dependencies(action),
            protect: false,
            complete: true,
            read_only: true,
            changing: Attributes::new(),
        };
        self.ledger.note(Record::Put { address: action.address.clone(), entry });
    }

    /// Brings the state in step with a resource that needs no change: what it depends on, or what somebody already
    /// changed to what the stack now says.
    pub(super) fn keep_in_step(&mut self, action: &Action) {
        let Some(entry) = self.ledger.state().resources.get(&action.address) else { return };
        if entry.read_only || action.deposed {
            return;
        }
        let depends_on = dependencies(action);
        if action.in_step {
            if entry.depends_on != depends_on {
                let entry = Entry { depends_on, ..entry.clone() };
                self.ledger.note(Record::Put { address: action.address.clone(), entry });
            }
            return;
        }
        let same = entry.depends_on == depends_on
            && entry.outputs == action.outputs
            && entry.changing.is_empty()
            && entry.attributes.keys().all(|name| action.attributes.contains_key(name))
            && action
                .attributes
                .iter()
                .all(|(name, value)| entry.attributes.get(name).is_some_and(|known| crate::plan::same(value, known)));
        if !same && let Ok(attributes) = self.literal(action) {
            let (id, outputs) = (entry.id.clone(), action.outputs.clone());
            self.keep(action, attributes, &outputs, &id, true);
        }
    }

    fn release(&mut self, step: usize, reached: Need) {
        let first = !self.steps_state[step].exists;
        self.steps_state[step].exists = true;
        let is_news = matches!(self.steps.steps[step].kind, StepKind::Create | StepKind::Update);
        for index in 0..self.steps.dependents[step].len() {
            let (dependent, need) = self.steps.dependents[step][index];
            self.steps_state[dependent].on_new |= is_news;
            let now = match reached {
                Need::Existence => first && need == Need::Existence,
                Need::Readiness => need == Need::Readiness || first,
            };
            if now {
                self.steps.waits_for[dependent] -= 1;
                if self.steps.waits_for[dependent] == 0 && !self.skipped.contains(&dependent) {
                    self.push(dependent);
                }
            }
        }
    }

    pub(super) fn done(&mut self, step: usize) {
        let action = self.action(step);
        let progressing = &mut self.steps_state[step];
        progressing.done = true;
        let was_sent = progressing.started.is_some();
        let elapsed = progressing.started.map(|at| at.elapsed()).unwrap_or_default();
        let id = progressing.known.as_ref().map(|known| known.id.clone()).unwrap_or_default();
        match (self.steps.steps[step].kind, action.action) {
            (StepKind::Create, Verb::Replace) => {
                self.half_replaced.remove(&self.steps.steps[step].action);
                self.report.replaced += 1;
            }
            (StepKind::Create, _) => self.report.created += 1,
            (StepKind::Update, _) => self.report.updated += 1,
            (StepKind::Delete, Verb::Delete) if was_sent => self.report.deleted += 1,
            (StepKind::Delete, Verb::Replace) if was_sent && !action.create_first => {
                self.half_replaced.insert(self.steps.steps[step].action);
            }
            _ => {}
        }
        // A deletion that turned out to be none is not told.
        let is_told = match self.steps.steps[step].kind {
            StepKind::Pass | StepKind::Forget | StepKind::Read => false,
            StepKind::Delete => was_sent,
            StepKind::Create | StepKind::Update => true,
        };
        if is_told {
            let name = self.name(step);
            (self.emit)(Event::Done { address: action.address.clone(), step: name, id, elapsed });
        }
        self.release(step, Need::Readiness);
    }

    pub(super) fn failed(&mut self, step: usize, error: CloudError) {
        // Where it is certain that nothing was done, nothing is left to look up.
        let Progressing { stage, doubtful, .. } = self.steps_state[step];
        if !error.is(ErrorClass::Uncertain) && !doubtful && stage != Stage::Find {
            match self.steps_state[step].intent.take() {
                // Of several calls some may have had their effect.
                Some(number) if stage == Stage::Update => self.ledger.note(Record::HalfDone { number }),
                Some(number) => self.ledger.note(Record::Settled { number }),
                None => {}
            }
        }
        self.steps_state[step].done = true;
        let address = self.action(step).address.clone();
        let name = self.name(step);
        (self.emit)(Event::Failed { address: address.clone(), step: name, error: error.clone() });
        self.report.failed.push((address.clone(), name, error));
        let mut open = vec![step];
        while let Some(step) = open.pop() {
            for index in 0..self.steps.dependents[step].len() {
                let (dependent, _) = self.steps.dependents[step][index];
                // What was only prepared to be sent is not begun.
                if self.steps_state[dependent].started.is_none()
                    && !self.steps_state[dependent].done
                    && self.skipped.insert(dependent)
                {
                    if self.steps.steps[dependent].kind != StepKind::Pass {
                        let skipped = self.action(dependent).address.clone();
                        let name = self.name(dependent);
                        self.report.skipped.push(skipped.clone());
                        (self.emit)(Event::Skipped { address: skipped, step: name, because: address.clone() });
                    }
                    open.push(dependent);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Report, StateError> {
        for step in 0..self.steps.steps.len() {
            if self.steps_state[step].started.is_none() {
                self.settle_intent(step);
            }
            let is_over = self.steps_state[step].done || self.skipped.contains(&step);
            if is_over || self.steps.steps[step].kind == StepKind::Pass {
                continue;
            }
            let address = &self.action(step).address;
            if self.report.left.last() != Some(address) {
                self.report.left.push(address.clone());
            }
        }
        // Nothing took the place of what went: so far it is no replacement.
        self.report.deleted += self.half_replaced.len();
        if self.report.is_complete() {
            let mut known = |reference: &Reference| self.ledger.state().answer(reference);
            let outputs: BTreeMap<String, Value> = self
                .plan
                .outputs
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.clone(), template::literal(&template::resolve(value, &mut known))?))
                })
                .collect();
            if self.plan.mode == Mode::Apply || self.ledger.state().resources.is_empty() {
                let (state, of) = (self.ledger.state(), &self.plan.outputs_of);
                if state.outputs != outputs || state.outputs_of != *of {
                    self.ledger.note(Record::Outputs { outputs: outputs.clone(), of: of.clone() });
                }
                self.report.outputs = outputs;
            }
        }
        self.ledger.sync()?;
        Ok(self.report)
    }
}

/// These attributes as they are in `before`; null where they are not set.
pub(super) fn was<'a>(
    before: &'a Attributes,
    names: &'a BTreeSet<String>,
) -> impl Iterator<Item = (String, Value)> + use<'a> {
    names.iter().map(|name| (name.clone(), before.get(name).cloned().unwrap_or_default()))
}

/// A resource as the state keeps it, all of it known.
fn entry(action: &Action, attributes: Attributes, outputs: &Attributes, id: &str, complete: bool) -> Entry {
    Entry {
        id: id.to_owned(),
        attributes,
        outputs: outputs.clone(),
        depends_on: dependencies(action),
        protect: action.protect,
        complete,
        read_only: false,
        changing: Attributes::new(),
    }
}
