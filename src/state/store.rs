//! One state in its place: read by anybody, written by one run at a time.

use std::path::Path;
use std::sync::Arc;

use crate::secret::Seal;

use super::history::{Traces, changes_of};
use super::place::{Contents, Held, Home, Place, Taken};
use super::{
    Change, Directories, Directory, End, Holder, Occupied, Record, Run, SNAPSHOT, Snapshot, State, StateError, journal,
    sealed, snapshot,
};

/// How many former snapshots are kept.
const HISTORY: usize = 50;

/// How often a state is read again where its former holder was still writing.
const TRIES: usize = 5;

/// One state in its place.
#[derive(Debug, Clone)]
pub struct Store {
    place: Arc<dyn Place>,
}

/// A run that has left no snapshot yet.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// What is known of it.
    pub run: Run,
    /// The state that it began with.
    pub before: State,
    /// The state by what it wrote down; its serial is the number that the run will have.
    pub after: State,
    /// Who holds the lock: then it is most likely at work still.
    pub holder: Option<Holder>,
}

/// What was read of a place.
struct Found {
    snapshot: Snapshot,
    /// What the journal says of runs that have not come to their snapshot.
    records: Vec<Record>,
    /// How many bytes of the journal count.
    whole: u64,
}

impl Store {
    /// The store of a stack in a cloud, account and region, in a directory below `root`.
    pub fn new(root: &Path, stack: &str, env: Option<&str>, cloud: &str, account: &str, region: &str) -> Self {
        Self::of(&Directories::new(root), stack, env, cloud, account, region)
    }

    /// The store of a stack in a cloud, account and region.
    pub fn of(home: &dyn Home, stack: &str, env: Option<&str>, cloud: &str, account: &str, region: &str) -> Self {
        Self { place: home.place(&folder(stack, env), &format!("{cloud}-{account}-{region}")) }
    }

    /// The stores of a stack in all accounts and regions of a cloud.
    ///
    /// # Errors
    /// Where it cannot be found out which there are.
    pub fn all(home: &dyn Home, stack: &str, env: Option<&str>, cloud: &str) -> Result<Vec<Self>, StateError> {
        let stack = folder(stack, env);
        let of_cloud = |scope: &String| scope.split('-').next() == Some(cloud);
        let scopes = home.scopes(&stack)?.into_iter().filter(of_cloud);
        Ok(scopes.map(|scope| Self { place: home.place(&stack, &scope) }).collect())
    }

    /// The store in this directory.
    pub fn at(directory: &Path) -> Self {
        Self { place: Arc::new(Directory::new(directory)) }
    }

    /// The store in this place.
    pub fn in_place(place: Arc<dyn Place>) -> Self {
        Self { place }
    }

    /// How messages name it.
    pub fn name(&self) -> String {
        self.place.name("").trim_end_matches('/').to_owned()
    }

    /// Its directory, where it is in one.
    pub fn directory(&self) -> Option<&Path> {
        self.place.directory()
    }

    /// The state as it is now, journal included; `None` where there is none yet. Takes no lock.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn read(&self) -> Result<Option<State>, StateError> {
        let Some(found) = self.found(&self.place.contents()?)? else { return self.never_was().map(|()| None) };
        Ok(Some(found.records.into_iter().fold(found.snapshot.state, |mut state, record| {
            state.take(record);
            state
        })))
    }

    /// Sees that where there is no state none was lost: earlier ones would be in the history.
    fn never_was(&self) -> Result<(), StateError> {
        match self.place.history()?.iter().any(|name| number_of(name).is_some()) {
            true => Err(StateError::damaged(
                self.place.name(SNAPSHOT),
                "it is missing, and the history beside it holds earlier ones",
            )),
            false => Ok(()),
        }
    }

    fn found(&self, contents: &Contents) -> Result<Option<Found>, StateError> {
        let name = self.place.name(SNAPSHOT);
        if contents.snapshot.as_deref().is_some_and(sealed::is_sealed) {
            return Err(StateError::Encrypted { name });
        }
        // Whoever was making it plain died before the journal was emptied.
        if sealed::holds_sealed(&contents.journal) {
            return Err(StateError::Encrypted { name: self.place.name("journal.jsonl") });
        }
        let (records, whole) = journal::parse(&contents.journal)
            .map_err(|why| StateError::damaged(self.place.name("journal.jsonl"), why))?;
        let Some(bytes) = &contents.snapshot else {
            return match records.is_empty() {
                true => Ok(None),
                false => Err(StateError::damaged(name, "it is missing, and the journal beside it continues it")),
            };
        };
        let snapshot = snapshot::parse(&name, bytes).map_err(|error| match error {
            StateError::Moved { to, .. } => StateError::Moved { name: self.name(), to },
            other => other,
        })?;
        let state = &snapshot.state;
        match records.first() {
            Some(Record::Begin { serial, lineage, .. }) if *lineage == state.lineage && *serial == state.serial => {
                Ok(Some(Found { snapshot, records, whole }))
            }
            // The journal of a run whose snapshot was written and which died before emptying it.
            Some(Record::Begin { serial, lineage, .. }) if *lineage == state.lineage && *serial < state.serial => {
                Ok(Some(Found { snapshot, records: Vec::new(), whole: 0 }))
            }
            None => Ok(Some(Found { snapshot, records, whole: 0 })),
            Some(_) => Err(StateError::damaged(
                self.place.name("journal.jsonl"),
                "it continues another snapshot than the one beside it",
            )),
        }
    }

    /// Who holds the lock, and where it may be dead, how much longer it must give no sign of life to lose it.
    ///
    /// # Errors
    /// Where that cannot be found out.
    pub fn holder(&self) -> Result<Option<(Holder, Option<std::time::Duration>)>, StateError> {
        let occupied = self.place.holder()?;
        Ok(occupied.map(|Occupied { holder, dead_in }| (Holder::parse(&holder), dead_in)))
    }

    /// Takes the lock away from whoever holds it.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn break_lock(&self) -> Result<(), StateError> {
        self.place.break_lock()
    }

    /// The runs in the history with their numbers, oldest first; the last one left the state that there is now.
    ///
    /// # Errors
    /// Where one of them cannot be read or is damaged.
    pub fn runs(&self) -> Result<Vec<(u64, Run)>, StateError> {
        let mut out = Vec::new();
        for name in self.place.history()? {
            let Some(number) = number_of(&name) else { continue };
            let key = format!("history/{name}");
            let Some(bytes) = self.place.read(&key)? else { continue };
            out.extend(snapshot::parse_run(&self.place.name(&key), &bytes)?.map(|run| (number, run)));
        }
        // A last one that is damaged is nobody's run any more; those before it can still be gone back to.
        let last = match self.last() {
            Err(StateError::Damaged { .. }) => None,
            last => last?,
        };
        if let Some(Snapshot { run: Some(run), state }) = last {
            out.retain(|(number, _)| *number < state.serial);
            out.push((state.serial, run));
        }
        Ok(out)
    }

    /// The run that wrote down what it did and has left no snapshot yet: it died, or is at work.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn unfinished(&self) -> Result<Option<Unfinished>, StateError> {
        let Some(Found { snapshot, records, .. }) = self.found(&self.place.contents()?)? else { return Ok(None) };
        let Some((run, mut after)) = interrupted(&snapshot.state, &records) else { return Ok(None) };
        after.serial += 1;
        Ok(Some(Unfinished { run, before: snapshot.state, after, holder: self.holder()?.map(|(holder, _)| holder) }))
    }

    /// The last snapshot, without what the journal says; `None` where there is none yet.
    fn last(&self) -> Result<Option<Snapshot>, StateError> {
        let bytes = self.place.read(SNAPSHOT)?;
        bytes.map(|bytes| snapshot::parse(&self.place.name(SNAPSHOT), &bytes)).transpose()
    }

    /// The snapshot that a run left, `None` where it is not kept any more.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn snapshot(&self, number: u64) -> Result<Option<Snapshot>, StateError> {
        let key = format!("history/{}", name_of(number));
        match self.place.read(&key)? {
            Some(bytes) => snapshot::parse(&self.place.name(&key), &bytes).map(Some),
            None => Ok(self.last()?.filter(|last| last.state.serial == number)),
        }
    }

    /// The same, of which there must be one.
    ///
    /// # Errors
    /// [`StateError::NoRun`], too.
    pub fn run(&self, number: u64) -> Result<Snapshot, StateError> {
        match self.snapshot(number)? {
            Some(snapshot) => Ok(snapshot),
            None => {
                let mut known: Vec<u64> = self.place.history()?.iter().filter_map(|name| number_of(name)).collect();
                known.extend(self.last()?.map(|last| last.state.serial));
                // The beginning, which no run left.
                known.retain(|number| *number > 0);
                Err(StateError::NoRun { name: self.name(), number, known })
            }
        }
    }

    /// Opens the state for writing: takes the lock, reads, and begins the journal of this run. `fresh` is what the state
    /// is where there is none yet. What a run before wrote down and did not come to keep in a snapshot is kept in one now.
    ///
    /// # Errors
    /// Where somebody else writes, or the place cannot be written to.
    pub fn open(&self, holder: &Holder, fresh: impl Fn() -> State) -> Result<Writer, StateError> {
        let mut writing = self.lock(holder)?;
        let mut tries = 0;
        let state = loop {
            match self.begin(&mut writing, &fresh) {
                // Whoever held the lock before wrote while this was read, and can no more now.
                Err(StateError::LockLost { .. }) if tries < TRIES && writing.held.check().is_ok() => tries += 1,
                other => break other?,
            }
        };
        Ok(Writer::new(state, writing))
    }

    /// The place that it is in.
    pub(super) fn place(&self) -> &dyn Place {
        self.place.as_ref()
    }

    /// Takes the lock, whatever stands in the place.
    pub(super) fn lock(&self, holder: &Holder) -> Result<Writing, StateError> {
        let text = serde_json::to_string(holder).unwrap_or_default();
        let held = match self.place.take(&text)? {
            Taken::Held(held) => held,
            Taken::Occupied(Occupied { holder, dead_in }) => {
                return Err(StateError::Locked { holder: Box::new(Holder::parse(&holder)), dead_in });
            }
        };
        let begin = Record::Begin {
            run: uuid::Uuid::new_v4().simple().to_string(),
            serial: 0,
            lineage: String::new(),
            verb: holder.verb.clone(),
            who: format!("{}@{}", holder.user, holder.host),
            at: holder.since.clone(),
        };
        Ok(Writing { place: self.place.clone(), held, begin })
    }

    /// Reads what there is, and begins this run's part of the journal.
    fn begin(&self, writing: &mut Writing, fresh: &dyn Fn() -> State) -> Result<State, StateError> {
        let contents = writing.held.contents()?;
        let Some(Found { snapshot, records, whole }) = self.found(&contents)? else {
            self.never_was()?;
            let state = fresh();
            writing.write(&state, None, false)?;
            writing.begin(&state, 0)?;
            return Ok(state);
        };
        writing.begin(&snapshot.state, whole)?;
        let Some((run, mut state)) = interrupted(&snapshot.state, &records) else { return Ok(snapshot.state) };
        state.serial += 1;
        writing.write(&state, Some(&run), true)?;
        writing.begin(&state, 0)?;
        Ok(state)
    }

    /// Moves a state, its history with it, here from another place, where it leaves word. `holder` is who does it.
    ///
    /// # Errors
    /// Where either is locked or cannot be written, where there is nothing to move, or something else is here already.
    pub fn move_here(&self, from: &Self, holder: &Holder) -> Result<State, StateError> {
        if from.read()?.is_none() {
            return Err(StateError::Nothing { name: from.name() });
        }
        let mut there = from.open(holder, || State::empty("", None, "", "", ""))?;
        let mut writing = self.lock(holder)?;
        let contents = writing.held.contents()?;
        let here = match self.found(&contents) {
            Err(StateError::Moved { .. }) => None,
            found => found?.map(|found| found.snapshot.state),
        };
        // A move that died had written the state here before it left word there.
        if here.is_some_and(|here| here.lineage != there.state.lineage || here.serial > there.state.serial + 1) {
            return Err(StateError::Taken { name: self.name() });
        }
        for name in from.place.history()? {
            if let Some(bytes) = from.place.read(&format!("history/{name}"))? {
                writing.held.keep(&name, &bytes)?;
            }
        }
        let kept = name_of(there.state.serial);
        if let Some(bytes) = from.place.read(SNAPSHOT)? {
            writing.held.keep(&kept, &bytes)?;
        }
        there.state.serial += 1;
        let run = there.run(End::Done);
        writing.write(&there.state, Some(&run), false)?;
        writing.held.clear()?;
        let word = snapshot::moved(&self.home_name())
            .map_err(|e| StateError::damaged(from.place.name(SNAPSHOT), e.to_string()))?;
        there.writing.held.replace(&word, Some(&kept))?;
        there.writing.held.clear()?;
        Ok(there.state)
    }

    /// Whether the state, or what is left of it, is encrypted: it has a key, or lost it.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn has_key(&self) -> Result<bool, StateError> {
        let is_sealed = || Ok(self.place.read(SNAPSHOT)?.is_some_and(|bytes| sealed::is_sealed(&bytes)));
        if self.place.read(sealed::KEY)?.is_some() { Ok(true) } else { is_sealed() }
    }

    /// Makes an encrypted state, its history with it, plain again. `opened` is the same place, through which it is read in
    /// plain; `holder` is who does it. One that died on the way is gone on with.
    ///
    /// # Errors
    /// Where it is locked or cannot be read or written, or there is none.
    pub fn make_plain(&self, opened: &Self, holder: &Holder) -> Result<State, StateError> {
        let mut writing = self.lock(holder)?;
        // What is there is what the next writes replace; what it says is read in plain.
        let kept = writing.held.contents()?.journal;
        let contents = opened.place.contents()?;
        let found = self.found(&contents)?.ok_or_else(|| StateError::Nothing { name: self.name() })?;
        let damaged = |why: String| StateError::damaged(self.place.name("journal.jsonl"), why);
        let whole = if found.whole == 0 { 0 } else { journal::frames(&kept, |_| Ok(())).map_err(damaged)?.1 };
        writing.begin(&found.snapshot.state, whole)?;
        let mut before = found.snapshot.state;
        if let Some((run, mut state)) = interrupted(&before, &found.records) {
            state.serial += 1;
            writing.write(&state, Some(&run), true)?;
            writing.begin(&state, 0)?;
            before = state;
        }
        let mut after = before.clone();
        after.serial += 1;
        let run = writing.run(End::Done, changes_of(&before, &after, &Traces::default()));
        writing.write(&after, Some(&run), true)?;
        writing.begin(&after, 0)?;
        writing.held.clear()?;
        // The history after the snapshot: who encrypts it again tells by the snapshot that some of it may be plain.
        for name in self.place.history()? {
            let file = format!("history/{name}");
            let is_sealed = self.place.read(&file)?.is_some_and(|bytes| sealed::is_sealed(&bytes));
            if is_sealed && let Some(plain) = opened.place.read(&file)? {
                writing.held.keep(&name, &plain)?;
            }
        }
        sealed::set_key_aside(self.place.as_ref(), writing.held.as_mut())?;
        writing.held.remove(sealed::KEY)?;
        Ok(after)
    }

    /// How messages name what holds the states of many stacks, this one among them.
    fn home_name(&self) -> String {
        let name = self.name();
        name.rsplitn(3, '/').nth(2).map(str::to_owned).unwrap_or(name)
    }
}

/// What a run that died wrote down: the run, and the state after it. `None` where it did nothing yet.
fn interrupted(before: &State, records: &[Record]) -> Option<(Run, State)> {
    let first = records.iter().position(|record| !matches!(record, Record::Begin { .. }))?;
    let mut run = match records[..first].last()? {
        Record::Begin { verb, who, at, .. } => Run {
            verb: verb.clone(),
            who: who.clone(),
            began: at.clone(),
            ended: None,
            end: End::Died,
            changes: Vec::new(),
        },
        _ => return None,
    };
    let (mut state, mut traces) = (before.clone(), Traces::default());
    for record in records {
        if let Record::End { at, end } = record {
            (run.ended, run.end) = (Some(at.clone()), *end);
        }
        traces.note(record, before);
        state.take(record.clone());
    }
    run.changes = changes_of(before, &state, &traces);
    Some((run, state))
}

/// What the folder of a stack's states is called.
fn folder(stack: &str, env: Option<&str>) -> String {
    env.map_or_else(|| stack.to_owned(), |env| format!("{stack}@{env}"))
}

/// The name of a former snapshot, and which one has that name.
fn name_of(serial: u64) -> String {
    format!("{serial:08}.json")
}

pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// A place that is locked, and the run that locked it.
#[derive(Debug)]
pub(super) struct Writing {
    place: Arc<dyn Place>,
    pub(super) held: Box<dyn Held>,
    /// This run's first record, of no snapshot yet.
    begin: Record,
}

impl Writing {
    /// The run that locked the place, ended now.
    fn run(&self, end: End, changes: Vec<Change>) -> Run {
        let (verb, who, began) = match &self.begin {
            Record::Begin { verb, who, at, .. } => (verb.clone(), who.clone(), at.clone()),
            _ => Default::default(),
        };
        Run { verb, who, began, ended: Some(now()), end, changes }
    }

    /// Begins with a state where there is none.
    pub(super) fn anew(mut self, state: State) -> Result<Writer, StateError> {
        self.write(&state, None, false)?;
        self.begin(&state, 0)?;
        Ok(Writer::new(state, self))
    }

    /// Begins this run's part of the journal of a snapshot, behind what counts of it.
    fn begin(&mut self, state: &State, whole: u64) -> Result<(), StateError> {
        if let Record::Begin { serial, lineage, .. } = &mut self.begin {
            (*serial, *lineage) = (state.serial, state.lineage.clone());
        }
        let mut line = Vec::new();
        encode(self.place.as_ref(), &self.begin, &mut line)?;
        self.held.begin(whole, &line)
    }

    /// Writes a snapshot; the former one is kept in the history where there is one.
    fn write(&mut self, state: &State, run: Option<&Run>, keep: bool) -> Result<(), StateError> {
        let bytes =
            snapshot::encode(state, run).map_err(|e| StateError::damaged(self.place.name(SNAPSHOT), e.to_string()))?;
        let keep = keep.then(|| name_of(state.serial.saturating_sub(1)));
        self.held.replace(&bytes, keep.as_deref())?;
        let former = self.place.history().unwrap_or_default();
        for old in former.iter().rev().skip(HISTORY) {
            self.held.forget(old);
        }
        Ok(())
    }
}

fn encode(place: &dyn Place, record: &Record, out: &mut Vec<u8>) -> Result<(), StateError> {
    journal::encode(record, out).map_err(|e| StateError::damaged(place.name("journal.jsonl"), e.to_string()))
}

/// A state open for writing: locked, every change safe before it counts.
#[derive(Debug)]
pub struct Writer {
    state: State,
    /// What it was when the run began.
    before: State,
    writing: Writing,
    /// Noted and not safe yet.
    pending: Vec<u8>,
    is_changed: bool,
    /// What it does, for the history.
    traces: Traces,
    /// Why a noted record cannot be written.
    unwritable: Option<StateError>,
}

impl Writer {
    fn new(state: State, writing: Writing) -> Self {
        Self {
            before: state.clone(),
            state,
            writing,
            pending: Vec::new(),
            is_changed: false,
            traces: Traces::default(),
            unwritable: None,
        }
    }

    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Notes which run of an emulated cloud the state is of.
    pub fn set_instance(&mut self, instance: Option<String>) {
        if self.state.instance != instance {
            self.state.instance = instance;
            self.is_changed = true;
        }
    }

    /// Notes the stack's file, to be kept with what this run changes.
    pub fn set_file(&mut self, file: String) {
        self.state.file = Some(file);
    }

    /// Keeps the key of the digests that stand for secret values.
    pub fn set_seal(&mut self, seal: Seal) {
        self.state.seal = Some(seal);
        self.is_changed = true;
    }

    /// Lets the run stand in the history although nothing of the state becomes different.
    pub fn remember(&mut self) {
        self.is_changed = true;
    }

    /// Takes a record into the state; it is safe after the next [`Writer::sync`].
    pub fn note(&mut self, record: Record) {
        if let Err(error) = encode(self.writing.place.as_ref(), &record, &mut self.pending) {
            self.unwritable.get_or_insert(error);
        }
        self.traces.note(&record, &self.before);
        self.state.take(record);
        self.is_changed = true;
    }

    /// Makes every noted record safe, all in one write and one sync.
    ///
    /// # Errors
    /// Where that cannot be done; what was noted is kept for another attempt.
    pub fn sync(&mut self) -> Result<(), StateError> {
        if let Some(error) = self.unwritable.take() {
            return Err(error);
        }
        if !self.pending.is_empty() {
            self.writing.held.append(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Sees whether the lock is still held, as far as can be told without asking anybody far away.
    ///
    /// # Errors
    /// [`StateError::LockLost`] where it is not.
    pub fn check(&self) -> Result<(), StateError> {
        self.writing.held.check()
    }

    /// Makes the state what another one of the same stack was: the one that an earlier run left.
    pub fn restore(&mut self, state: State) {
        let State { lineage, serial, instance, .. } = &self.state;
        self.state = State { lineage: lineage.clone(), serial: *serial, instance: instance.clone(), ..state };
        self.is_changed = true;
    }

    /// Ends a run that did all it was to do; see [`Writer::end`].
    ///
    /// # Errors
    /// Where that cannot be written; the journal then still holds it all.
    pub fn close(self) -> Result<State, StateError> {
        self.end(End::Done)
    }

    /// Ends the run: writes a snapshot of what changed and empties the journal. A run that changed nothing leaves no trace.
    ///
    /// # Errors
    /// Where that cannot be written; the journal then still holds it all.
    pub fn end(mut self, end: End) -> Result<State, StateError> {
        if self.is_changed {
            let at = now();
            encode(self.writing.place.as_ref(), &Record::End { at: at.clone(), end }, &mut self.pending)?;
            self.sync()?;
            self.state.serial += 1;
            let run = Run { ended: Some(at), ..self.run(end) };
            self.writing.write(&self.state, Some(&run), true)?;
        }
        self.writing.held.clear()?;
        Ok(self.state)
    }
}

impl Writer {
    /// This run, ended now.
    fn run(&self, end: End) -> Run {
        self.writing.run(end, changes_of(&self.before, &self.state, &self.traces))
    }
}

/// Now, RFC 3339.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
