//! The directory that a state lives in.
//!
//! ```text
//! state/ecs-poc/aws-123456789012-eu-west-2/
//!     snapshot.json    two lines: a head with the checksum of the second, and the state
//!     journal.jsonl    what was intended and done since
//!     lock             who is writing
//!     history/         the snapshots before
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, Holder, Journal, Lock, Record, State, StateError, journal};

/// How many former snapshots are kept.
const HISTORY: usize = 50;

/// Where one state lives.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format_version: u32,
    sha256: String,
}

impl Store {
    /// The store of a stack in a cloud, account and region, below `root`.
    pub fn new(root: &Path, stack: &str, env: Option<&str>, cloud: &str, account: &str, region: &str) -> Self {
        let stack = env.map_or_else(|| stack.to_owned(), |env| format!("{stack}@{env}"));
        Self { directory: root.join(stack).join(format!("{cloud}-{account}-{region}")) }
    }

    /// The store in this directory.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The stores of the same stack, environment and cloud in other accounts and regions.
    pub fn siblings(&self) -> Vec<Self> {
        let cloud = |path: &Path| path.file_name()?.to_str()?.split('-').next().map(str::to_owned);
        let Some(entries) = self.directory.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
            return Vec::new();
        };
        let mut others: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| *path != self.directory && cloud(path) == cloud(&self.directory))
            .collect();
        others.sort();
        others.into_iter().map(|directory| Self { directory }).collect()
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn snapshot(&self) -> PathBuf {
        self.directory.join("snapshot.json")
    }

    fn journal(&self) -> PathBuf {
        self.directory.join("journal.jsonl")
    }

    /// The state as it is on disk, journal included; `None` where there is none yet. Takes no lock.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn read(&self) -> Result<Option<State>, StateError> {
        Ok(self.read_with_journal()?.map(|(state, _)| state))
    }

    /// Snapshot and journal that belong together, and how many bytes of the journal count. A writer may put a new snapshot
    /// there between the two reads; then both are read again.
    fn read_with_journal(&self) -> Result<Option<(State, u64)>, StateError> {
        let mut stamp = stamp(&self.snapshot());
        loop {
            let read = self.read_once();
            let now = self::stamp(&self.snapshot());
            if now == stamp {
                return read;
            }
            stamp = now;
        }
    }

    fn read_once(&self) -> Result<Option<(State, u64)>, StateError> {
        let snapshot = read_snapshot(&self.snapshot())?;
        let (records, whole) = journal::read(&self.journal())?;
        let Some(mut state) = snapshot else {
            return match records.is_empty() {
                true => Ok(None),
                false => Err(StateError::Damaged {
                    path: self.snapshot().display().to_string(),
                    why: "it is missing, and the journal beside it continues it".into(),
                }),
            };
        };
        match records.first() {
            Some(Record::Begin { serial, lineage, .. }) if *lineage == state.lineage && *serial == state.serial => {
                records.into_iter().for_each(|record| state.take(record));
                Ok(Some((state, whole)))
            }
            // The journal of a run whose snapshot was written and which died before emptying it.
            Some(Record::Begin { serial, lineage, .. }) if *lineage == state.lineage && *serial < state.serial => {
                Ok(Some((state, 0)))
            }
            None => Ok(Some((state, 0))),
            Some(_) => Err(StateError::Damaged {
                path: self.journal().display().to_string(),
                why: "it continues another snapshot than the one beside it".into(),
            }),
        }
    }

    /// Opens the state for writing: takes the lock, reads, and begins the journal of this run. `fresh` is what the state
    /// is where there is none yet.
    ///
    /// # Errors
    /// Where somebody else writes, or the directory cannot be written to.
    pub fn open(&self, holder: &Holder, fresh: impl FnOnce() -> State) -> Result<Writer, StateError> {
        let history = self.directory.join("history");
        fs::create_dir_all(&history).map_err(StateError::io("create", &history))?;
        let lock = Lock::take(&self.directory.join("lock"), holder)?;
        let (state, whole) = match self.read_with_journal()? {
            Some(read) => read,
            None => {
                let state = fresh();
                self.write_snapshot(&state)?;
                (state, 0)
            }
        };
        let mut journal = Journal::open(&self.journal(), whole)?;
        sync_directory(&self.directory).map_err(StateError::io("sync", &self.directory))?;
        if whole == 0 {
            journal.push(&Record::Begin {
                serial: state.serial,
                lineage: state.lineage.clone(),
                verb: holder.verb.clone(),
                who: format!("{}@{}", holder.user, holder.host),
                at: holder.since.clone(),
            })?;
            journal.flush()?;
        }
        Ok(Writer { store: self.clone(), state, journal, _lock: lock, changed: whole > 0, unwritable: None })
    }

    fn write_snapshot(&self, state: &State) -> Result<(), StateError> {
        let path = self.snapshot();
        let io = |doing| StateError::io(doing, &path);
        let body = serde_json::to_vec(state)
            .map_err(|e| StateError::Damaged { path: path.display().to_string(), why: e.to_string() })?;
        let head = Head { format_version: FORMAT_VERSION, sha256: sha256(&body) };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let mut file = tempfile::NamedTempFile::new_in(&self.directory).map_err(io("write"))?;
        for part in [head.as_slice(), b"\n", &body, b"\n"] {
            file.write_all(part).map_err(io("write"))?;
        }
        file.as_file().sync_all().map_err(io("sync"))?;
        if path.exists() {
            let kept = self.directory.join("history").join(format!("{:08}.json", state.serial.saturating_sub(1)));
            let _ = fs::remove_file(&kept);
            fs::hard_link(&path, &kept).or_else(|_| fs::copy(&path, &kept).map(|_| ())).map_err(io("keep"))?;
        }
        file.persist(&path).map_err(|e| io("write")(e.error))?;
        sync_directory(&self.directory).map_err(io("sync"))?;
        self.prune_history();
        Ok(())
    }

    /// Removes the oldest former snapshots. Failing to is no failure of the run.
    fn prune_history(&self) {
        let Ok(entries) = fs::read_dir(self.directory.join("history")) else { return };
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for old in files.iter().rev().skip(HISTORY) {
            let _ = fs::remove_file(old);
        }
    }
}

/// What tells one snapshot from the next: they are replaced, never written to.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Makes a rename in a directory last over a power cut.
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn read_snapshot(path: &Path) -> Result<Option<State>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    let damaged = |why: &str| StateError::Damaged { path: path.display().to_string(), why: why.to_owned() };
    let split = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("it has no second line"))?;
    let head: Head = serde_json::from_slice(&bytes[..split]).map_err(|_| damaged("its first line is no head"))?;
    if head.format_version > FORMAT_VERSION {
        return Err(StateError::Newer { path: path.display().to_string(), found: head.format_version });
    }
    let body = bytes[split + 1..].strip_suffix(b"\n").ok_or_else(|| damaged("it is cut short"))?;
    if sha256(body) != head.sha256 {
        return Err(damaged("its checksum differs"));
    }
    serde_json::from_slice(body).map(Some).map_err(|e| damaged(&e.to_string()))
}

/// A state open for writing: locked, every change on disk before it counts.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    state: State,
    journal: Journal,
    _lock: Lock,
    changed: bool,
    /// Why a noted record cannot be written.
    unwritable: Option<StateError>,
}

impl Writer {
    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Notes which run of an emulated cloud the state is of.
    pub fn set_instance(&mut self, instance: Option<String>) {
        if self.state.instance != instance {
            self.state.instance = instance;
            self.changed = true;
        }
    }

    /// Takes a record into the state; it is safe after the next [`Writer::sync`].
    pub fn note(&mut self, record: Record) {
        if let Err(error) = self.journal.push(&record) {
            self.unwritable.get_or_insert(error);
        }
        self.state.take(record);
        self.changed = true;
    }

    /// Makes every noted record safe, all in one write and one sync.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn sync(&mut self) -> Result<(), StateError> {
        match self.unwritable.take() {
            Some(error) => Err(error),
            None => self.journal.flush(),
        }
    }

    /// Ends the run: writes a snapshot of what changed and empties the journal.
    ///
    /// # Errors
    /// Where that cannot be written; the journal then still holds it all.
    pub fn close(mut self) -> Result<State, StateError> {
        self.sync()?;
        if self.changed {
            self.state.serial += 1;
            self.store.write_snapshot(&self.state)?;
        }
        self.journal.clear()?;
        Ok(self.state)
    }
}
