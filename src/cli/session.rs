//! A session: one stack, the cloud it is in, and its state.

mod refusals;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::failure::Failure;
use super::options::{CloudName, LockOptions, PlanOptions, StackOptions};
use super::project::Standing;
use super::{home, project, render};
use crate::apply;
use crate::aws::{Aws, Connect};
use crate::cloud::{Cloud, Known};
use crate::graph::{Address, Attributes, Graph, Names};
use crate::kinds::{AwsCloud, Registry};
use crate::local::Local;
use crate::plan::guards::{MAX_DELETE_PERCENT, TooManyDeletions, too_many_deletions};
use crate::plan::{self, Given, GivenValue, Inputs, Mode, Observations, Plan};
use crate::secret::{Seal, Secrets};
use crate::stack::{Guards, Head, Moved, Stack};
use crate::state::{Entry, Holder, Home, Memory, Record, State, StateError, Store, Writer};

/// How often it is seen again whether a lock is free.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One stack, in one cloud.
pub struct Session {
    options: StackOptions,
    standing: Standing,
    /// What the stack consists of; empty where only its state is worked on.
    graph: Graph,
    /// A digest over all that the stack was read from.
    pub inputs_digest: String,
    moved: Vec<Moved>,
    /// Which stack it is.
    pub head: Head,
    /// The stack's secrets; none where only its state is worked on.
    pub secrets: Arc<Secrets>,
    /// What is refused because it is most likely a mistake.
    pub guards: Guards,
    /// The cloud.
    pub cloud: AwsCloud,
    /// Where its state lives.
    pub store: Store,
    /// What holds the states of all stacks.
    pub home: Arc<dyn Home>,
    /// Which cloud that is.
    pub name: CloudName,
    /// Of an emulated cloud: which run of it.
    pub instance: Option<String>,
    /// The key for digests of secrets where the state has none yet.
    pub seal: Seal,
}

/// The emulated cloud of this project. It runs below the state directory, so that every checkout has its own.
///
/// # Errors
/// Where there is no place for its programs.
pub fn local(state: &Path) -> Result<Local, Failure> {
    let of_user = Local::of_user(|name| std::env::var_os(name))
        .ok_or_else(|| Failure::new("there is no place for the local cloud").help("set HOME or XDG_CACHE_HOME"))?;
    let run = std::path::absolute(state).map_err(|e| Failure::new(e.to_string()))?.join(".local-cloud");
    Ok(of_user.in_folder(run))
}

impl Session {
    /// Loads the stack and connects to its cloud; the local one is started where it does not run. Refuses where the state
    /// is most likely another one's or somewhere else.
    ///
    /// # Errors
    /// What is wrong in the stack, or why the cloud does not answer.
    pub async fn open(options: &StackOptions) -> Result<Self, Failure> {
        let registry = Registry::new();
        // What is wrong in the stack is told before any cloud is asked.
        let offline = project::load(options, &registry, &Standing::default())?;
        let mut session = Self::connect(options, Head::of(&offline)).await?;
        session.is_not_left_behind(options)?;
        session.is_not_renamed(options, &offline.graph)?;
        let account = session.cloud.scope().account.clone();
        session.is_allowed_account(&offline.guards)?;
        if let Some(others) = project::namesakes(options, &session.head) {
            errln!("{}", render::style::note(&others));
        }
        let standing = Standing { account, instance: session.instance.clone(), ..Standing::default() };
        let stack = if offline.other_stacks { project::load(options, &registry, &standing)? } else { offline };
        let Stack { graph, inputs_digest, moved, warnings, secrets, guards, .. } = stack;
        warnings.iter().for_each(|warning| errln!("{}", render::style::note(&warning.line())));
        session.standing = standing;
        session.graph = graph;
        session.inputs_digest = inputs_digest;
        session.moved = moved;
        session.cloud.keep(secrets.clone());
        session.secrets = secrets;
        session.guards = guards;
        Ok(session)
    }

    /// Connects to the stack's cloud to work on its state alone: of the stack itself no more is read than which one it is,
    /// so that a variable without a value or a file that is gone stands in nobody's way. Where there is no stack file any
    /// more, what its state says of it is enough.
    ///
    /// # Errors
    /// Where it cannot be told which stack is meant, or why the cloud does not answer.
    pub async fn open_state(options: &StackOptions) -> Result<Self, Failure> {
        let mut session = Self::connect(options, project::head(options)?).await?;
        session.is_not_left_behind(options)?;
        session.is_not_renamed(options, &Graph::default())?;
        session.guards = session.head.guards.clone();
        session.is_allowed_account(&session.guards)?;
        Ok(session)
    }

    /// The same, wherever the state is.
    ///
    /// # Errors
    /// Where it cannot be told which stack is meant, or why the cloud does not answer.
    pub async fn open_anywhere(options: &StackOptions) -> Result<Self, Failure> {
        Self::connect(options, project::head(options)?).await
    }

    async fn connect(options: &StackOptions, head: Head) -> Result<Self, Failure> {
        let (how, instance) = match options.cloud {
            CloudName::Aws => (Connect { region: head.region.clone(), ..Connect::default() }, None),
            CloudName::Local => {
                let endpoints = local(&options.state_directory())?.up(&|line| errln!("{line}")).await?;
                (endpoints.connect(&head.region), Some(endpoints.instance))
            }
        };
        let aws = Aws::connect(&how, &head.name, head.env.as_deref()).await?;
        let account = aws.scope.account.clone().unwrap_or_default();
        let home = home::of_stack(options, &head.state, &head.region)?;
        let name = options.cloud;
        let store = store(home.as_ref(), &head, name, &account);
        Ok(Self {
            options: options.clone(),
            standing: Standing::default(),
            graph: Graph::default(),
            inputs_digest: String::new(),
            moved: Vec::new(),
            secrets: Arc::default(),
            guards: Guards::default(),
            cloud: AwsCloud::new(aws),
            store,
            home,
            head,
            name,
            instance,
            seal: Seal::random(),
        })
    }

    /// The store of this stack in another place.
    pub fn store_in(&self, home: &dyn Home) -> Store {
        store(home, &self.head, self.name, self.account())
    }

    fn account(&self) -> &str {
        self.cloud.scope().account.as_deref().unwrap_or_default()
    }

    /// The line that says what is worked on.
    pub fn headline(&self, verb: &str) -> String {
        let scope = self.cloud.scope();
        let account = scope.account.as_deref().unwrap_or("?");
        format!("{verb} {} · {} · account {account} · {}", scope.prefix(), self.name.as_str(), scope.region)
    }

    /// The state of a stack of which nothing is known here.
    pub fn fresh(&self) -> State {
        let scope = self.cloud.scope();
        let account = scope.account.as_deref().unwrap_or_default();
        let mut state = State::empty(&scope.stack, scope.env.as_deref(), self.name.as_str(), account, &scope.region);
        state.instance.clone_from(&self.instance);
        state
    }

    /// What the stack consists of, beside this state: what was moved keeps its names.
    ///
    /// # Errors
    /// What is wrong in the stack when it is read with them.
    pub fn graph(&self, state: Option<&State>) -> Result<Cow<'_, Graph>, Failure> {
        match state {
            Some(state) if state.names != self.standing.names && !self.graph.resources().is_empty() => {
                let standing = Standing { names: state.names.clone(), ..self.standing.clone() };
                Ok(Cow::Owned(project::load(&self.options, &Registry::new(), &standing)?.graph))
            }
            _ => Ok(Cow::Borrowed(&self.graph)),
        }
    }

    /// The stack's resources with the marks of its secrets sealed. What is not sent now need not be known: a secret without a
    /// value is believed to be what it was when it was sent.
    ///
    /// # Errors
    /// The secrets that have to be sent and have no value.
    pub fn sealed(&self, state: Option<&State>) -> Result<Graph, Failure> {
        let secrets = &self.secrets;
        let seal = state.and_then(|state| state.seal.as_ref()).unwrap_or(&self.seal);
        let mut missing = BTreeSet::new();
        let graph = self.graph(state)?.with_attributes(|resource| {
            let taken = self.cloud.spec(resource.address.kind()).map_or(&[][..], |spec| spec.secrets);
            let before = state.and_then(|state| state.resources.get(&resource.address));
            let mut attributes = resource.attributes.clone();
            for name in taken {
                if let Some(value) = attributes.get_mut(*name) {
                    let before = before.and_then(|entry| entry.attributes.get(*name));
                    *value = secrets.sealed(seal, value, before, &mut missing);
                }
            }
            attributes
        });
        match missing.into_iter().collect::<Vec<_>>().as_slice() {
            [] => Ok(graph),
            names => {
                let given: Vec<String> = names.iter().map(|name| format!("COFFERDAM_VAR_{name}")).collect();
                Err(Failure::new(format!("no value is given for the secret `{}`", names.join("`, `")))
                    .help(format!("give it in the environment, as {}, or in its file", given.join(", "))))
            }
        }
    }

    /// Gives the state its key for digests of secrets, if it needs one and has none: the one that a plan was made with, or a
    /// new one.
    pub fn give_seal(&self, writer: &mut Writer, planned: Option<&Seal>) {
        if !self.secrets.is_empty() && writer.state().seal.is_none() {
            writer.set_seal(planned.unwrap_or(&self.seal).clone());
        }
    }

    /// Whether a state is of a run of the emulated cloud that is gone, with all that was in it.
    fn is_bygone(&self, state: &State) -> bool {
        self.instance.is_some() && state.instance != self.instance && !state.resources.is_empty()
    }

    /// The state as it would be after settling what earlier runs left unresolved. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// Where it is damaged, or the cloud does not answer.
    pub async fn peek(&self) -> Result<Option<State>, Failure> {
        let Some(mut state) = self.store.read()? else { return Ok(None) };
        if let Some((holder, _)) = self.store.holder()? {
            let line = format!("{}; what it has begun and not finished is not interrupted", holder.sentence());
            errln!("{}", render::style::note(&line));
        }
        if self.is_bygone(&state) {
            errln!("{}", render::style::note(BYGONE));
            bygone(&state).into_iter().for_each(|record| state.take(record));
        }
        let mut ledger = Memory::new(state);
        apply::settle(&self.cloud, &mut ledger).await?;
        self.moves(ledger.state()).into_iter().for_each(|record| ledger.note(record));
        Ok(Some(ledger.into_state()))
    }

    /// Opens the state for writing and settles what earlier runs left unresolved, saying so. Where somebody else writes,
    /// waits as long as asked to.
    ///
    /// # Errors
    /// Where somebody else holds the lock, or the cloud does not answer.
    pub async fn lock(&self, verb: &str, wait: &LockOptions) -> Result<Writer, Failure> {
        let mut writer = waiting(wait, || self.store.open(&holder(verb), || self.fresh())).await?;
        if self.is_bygone(writer.state()) {
            errln!("{}", render::style::note(BYGONE));
            bygone(writer.state()).into_iter().for_each(|record| writer.note(record));
        }
        writer.set_instance(self.instance.clone());
        if let Some(file) = project::file(&self.options) {
            writer.set_file(file);
        }
        for settled in apply::settle(&self.cloud, &mut writer).await? {
            errln!("{}", render::style::note(&settled.sentence()));
        }
        self.moves(writer.state()).into_iter().for_each(|record| writer.note(record));
        writer.sync()?;
        Ok(writer)
    }

    /// The names that what is moved has kept, as far as the stack tells.
    pub fn moved_names(&self) -> Names {
        let mut names = Names::default();
        self.moved.iter().for_each(|moved| names.rename(&moved.from, &moved.to));
        names
    }

    /// The moves that the stack asks for and the state has not made yet, with what becomes of names.
    fn moves(&self, state: &State) -> Vec<Record> {
        let moved: Vec<_> = self.moved.iter().map(|moved| (&moved.from, &moved.to)).collect();
        let mut moves = plan::moves(state, &moved);
        if !moves.is_empty() || !state.names.is_empty() {
            let mut after = state.clone();
            moves.iter().for_each(|record| after.take(record.clone()));
            moves.extend(plan::settled_names(&after, &self.graph));
        }
        for record in &moves {
            if let Record::Move { from, to } = record {
                errln!("{}", render::style::note(&format!("{from} is {to} from now on")));
            }
        }
        moves
    }

    /// Whether the cloud still has what a state holds.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn is_there(&self, address: &Address, entry: &Entry) -> Result<bool, Failure> {
        let known = Known {
            address: address.clone(),
            id: entry.id.clone(),
            attributes: entry.attributes.clone(),
            outputs: entry.outputs.clone(),
        };
        Ok(self.cloud.read(address.kind(), &[known]).await?.into_iter().flatten().next().is_some())
    }

    /// Reads the cloud where asked to, and plans.
    ///
    /// # Errors
    /// Where the cloud does not answer, or there can be no plan.
    pub async fn plan(&self, state: Option<&State>, mode: Mode, how: &PlanOptions) -> Result<Plan, Failure> {
        let nothing = Graph::default();
        let graph = match mode {
            Mode::Destroy => Cow::Borrowed(&nothing),
            Mode::Apply if self.secrets.is_empty() => self.graph(state)?,
            Mode::Apply => Cow::Owned(self.sealed(state)?),
        };
        let graph = graph.as_ref();
        let observed = if how.refresh { Some(self.refresh(graph, state).await?) } else { None };
        let specs = |kind: &str| self.cloud.spec(kind);
        let mut plan = plan::plan(&Inputs {
            graph,
            state,
            observed: observed.as_ref(),
            specs: &specs,
            scope: self.cloud.scope(),
            cloud: self.name.as_str(),
            inputs_digest: &self.inputs_digest,
            mode,
            targets: &how.targets,
            replace: &how.replace,
            given: Given { reset: how.reset, ..Given::default() },
        })?;
        if !self.secrets.is_empty() && state.is_none_or(|state| state.seal.is_none()) {
            plan.seal = Some(self.seal.clone());
        }
        Ok(plan)
    }

    /// Plans these values for these resources alone, and nothing else: what the stack says anew is left for an apply.
    /// `change` may change what is said of a resource that stands.
    ///
    /// # Errors
    /// Where the cloud does not answer, or there can be no plan.
    pub async fn plan_given(
        &self,
        state: &State,
        targets: &[Address],
        values: &[GivenValue],
        change: impl FnMut(&Address, &mut Attributes),
    ) -> Result<Plan, Failure> {
        let graph = plan::standing(state, &self.graph.outputs, change).map_err(|errors| {
            let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::new(format!("what the state says of dependencies makes no sense: {}", told.join("; ")))
                .help("an apply puts it right")
        })?;
        let of_targets = |address: &Address| targets.contains(address);
        // What is given is read, too, where the state does not have it: what it was is told.
        let asked = |(address, entry): (&Address, &Entry)| {
            let mut entry = entry.clone();
            for given in values.iter().filter(|given| given.address == *address && !given.path.contains('.')) {
                if let Some(value) = &given.value {
                    entry.attributes.entry(given.path.clone()).or_insert_with(|| value.clone());
                }
            }
            (address.clone(), entry)
        };
        let part = State {
            resources: state.resources.iter().filter(|(address, _)| of_targets(address)).map(asked).collect(),
            deposed: crate::state::Aside::default(),
            ..state.clone()
        };
        let observed = plan::refresh::refresh(&self.cloud, &Graph::default(), &part).await?;
        let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
        Ok(plan::plan(&Inputs {
            graph: &graph,
            state: Some(state),
            observed: Some(&observed),
            specs: &|kind| self.cloud.spec(kind),
            scope: self.cloud.scope(),
            cloud: self.name.as_str(),
            inputs_digest: &self.inputs_digest,
            mode: Mode::Apply,
            targets: &names,
            replace: &[],
            given: Given { values, alone: true, ..Given::default() },
        })?)
    }

    /// Whether a plan deletes more than the stack's guards allow.
    pub fn too_many_deletions(&self, plan: &Plan, state: Option<&State>) -> Option<TooManyDeletions> {
        let percent = self.guards.max_delete_percent.unwrap_or(MAX_DELETE_PERCENT);
        too_many_deletions(plan, state, percent)
    }

    /// Sees that a saved plan was made for the secrets that are given now.
    ///
    /// # Errors
    /// Where one of them is another.
    pub fn same_secrets(&self, plan: &Plan, state: &State) -> Result<(), Failure> {
        let Some(seal) = state.seal.as_ref() else { return Ok(()) };
        let marks = plan.actions.iter().map(|action| Value::Object(action.attributes.clone())).collect();
        let moved: Vec<String> = self.secrets.moved(seal, &marks).into_iter().collect();
        match moved.as_slice() {
            [] => Ok(()),
            names => Err(Failure::new(format!(
                "the plan does not fit: the secret `{}` has another value now",
                names.join("`, `")
            ))
            .help("plan again, look at it, and apply the new plan")),
        }
    }

    async fn refresh(&self, graph: &Graph, state: Option<&State>) -> Result<Observations, Failure> {
        let fresh;
        let state = match state {
            Some(state) => state,
            None => {
                fresh = self.fresh();
                &fresh
            }
        };
        Ok(plan::refresh::refresh(&self.cloud, graph, state).await?)
    }
}

fn store(home: &dyn Home, stack: &Head, cloud: CloudName, account: &str) -> Store {
    Store::of(home, &stack.name, stack.env.as_deref(), cloud.as_str(), account, &stack.region)
}

/// Does something that needs a lock; where somebody else holds it, waits as long as asked to.
///
/// # Errors
/// Where it fails, or the lock is still held then.
pub async fn waiting<T>(
    wait: &LockOptions,
    mut attempt: impl FnMut() -> Result<T, StateError>,
) -> Result<T, StateError> {
    let began = Instant::now();
    let mut told = None;
    loop {
        let (holder, dead_in, error) = match attempt() {
            Err(StateError::Locked { holder, dead_in }) => {
                (holder.clone(), dead_in, StateError::Locked { holder, dead_in })
            }
            other => return other,
        };
        // Whoever seems to be dead is waited for in any case: its lock is free soon.
        let patience = wait.lock_wait.saturating_sub(began.elapsed()).max(dead_in.unwrap_or_default());
        if patience.is_zero() {
            return Err(error);
        }
        if told.as_ref() != Some(&holder) {
            let who = holder.sentence();
            let line = match dead_in {
                Some(rest) => {
                    let rest = render::duration(rest);
                    format!("{who}, and gives no sign of life; if that stays so, its lock is taken over in {rest}")
                }
                None => format!("{who}; waiting at most {}", render::duration(wait.lock_wait)),
            };
            errln!("{}", render::style::note(&line));
            told = Some(holder);
        }
        tokio::time::sleep(patience.min(LOOK_AGAIN)).await;
    }
}

const BYGONE: &str = "the local cloud was started anew since this stack was applied: what was in it is gone";

/// The records that let a state forget everything.
fn bygone(state: &State) -> Vec<Record> {
    let resources = state.resources.iter();
    let deposed = state.deposed.iter().map(|old| (&old.address, &old.entry));
    let removed = resources
        .chain(deposed)
        .map(|(address, entry)| Record::Remove { address: address.clone(), id: entry.id.clone() });
    let settled = state.unresolved.iter().map(|intent| Record::Settled { number: intent.number });
    removed.chain(settled).chain([Record::Outputs { outputs: BTreeMap::new(), of: BTreeMap::new() }]).collect()
}

/// This process, as the holder of a lock.
pub fn holder(verb: &str) -> Holder {
    Holder {
        user: whoami::username().unwrap_or_else(|_| "somebody".to_owned()),
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        verb: verb.to_owned(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}
