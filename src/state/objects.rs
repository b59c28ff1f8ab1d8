//! A state on object storage.
//!
//! ```text
//! s3://bucket/prefix/ecs-poc/aws-123456789012-eu-west-2/
//!     snapshot.json    what existed after the last run
//!     journal.jsonl    what was intended and done since, after a line that names the parts it grew out of
//!     journal/         those parts
//!     lock.json        a lease: who is writing, and its last sign of life
//!     history/         the snapshots before
//!     key.json         of an encrypted state: its key, encrypted
//! ```
//!
//! Nothing is ever written over by who does not know what stands there: snapshot, journal and lease are only replaced
//! where they still are what was read or written last, and none of them ever becomes again what it was. So whoever lost
//! its lease cannot write, however long it slept: the next holder's first write of the journal makes it another.

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lease::{Lease, Pace, Watch};
use super::place::{Contents, Held, Home, Occupied, Place, Taken};
use super::{SNAPSHOT, StateError};

const JOURNAL: &str = "journal.jsonl";
const PARTS: &str = "journal/";
const HISTORY: &str = "history/";
const LOCK: &str = "lock.json";
const ASIDE: &str = "set-aside/";

/// How often reading is begun again where somebody writes meanwhile.
const TRIES: usize = 20;

/// How long the journal's object grows, in bytes, until what is in it becomes a part of its own: it is written anew with
/// each sync.
const LONGEST: usize = 64 * 1024;

/// What tells one version of an object from every other.
pub type Tag = String;

/// The condition under which an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Whatever stands there.
    Always,
    /// There is none.
    Absent,
    /// It is still this version.
    Is(Tag),
}

/// Storage for objects that can write conditionally.
pub trait Objects: Debug + Send + Sync {
    /// How messages name an object: its URL.
    fn name(&self, key: &str) -> String;

    /// Reads an object; `None` where there is none.
    ///
    /// # Errors
    /// Where that gets no answer.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, StateError>;

    /// Writes an object and gives its version; `None` where the condition does not hold.
    ///
    /// # Errors
    /// Where that gets no answer: it may be written or not.
    fn put(&self, key: &str, bytes: &[u8], when: &When) -> Result<Option<Tag>, StateError>;

    /// The keys that begin like this, sorted.
    ///
    /// # Errors
    /// Where that gets no answer.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StateError>;

    /// What stands right below a prefix that ends with `/`, or none, and has more below it: of `a/b/c` and `a/b/d` below `a/`,
    /// `b`. Sorted.
    ///
    /// # Errors
    /// Where that gets no answer.
    fn folders(&self, prefix: &str) -> Result<Vec<String>, StateError>;

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// Where that gets no answer.
    fn delete(&self, key: &str) -> Result<(), StateError>;
}

/// Writes an object. Where the condition does not hold it may be this very write that made it so, its answer lost and the
/// write repeated: then it has succeeded.
pub(super) fn put(objects: &dyn Objects, key: &str, bytes: &[u8], when: &When) -> Result<Option<Tag>, StateError> {
    match objects.put(key, bytes, when)? {
        Some(tag) => Ok(Some(tag)),
        None => Ok(objects.get(key)?.filter(|(there, _)| there == bytes).map(|(_, tag)| tag)),
    }
}

/// Object storage that holds the states of many stacks.
#[derive(Debug, Clone)]
pub struct ObjectHome {
    objects: Arc<dyn Objects>,
    /// With a `/` at its end where it is not empty.
    prefix: String,
    pace: Pace,
}

impl ObjectHome {
    /// The states whose keys begin like this.
    pub fn new(objects: Arc<dyn Objects>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { objects, prefix, pace: Pace::default() }
    }

    /// The same with leases of another length.
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }
}

impl Home for ObjectHome {
    fn name(&self) -> String {
        self.objects.name(self.prefix.trim_end_matches('/'))
    }

    fn place(&self, stack: &str, scope: &str) -> Arc<dyn Place> {
        Arc::new(ObjectPlace {
            objects: self.objects.clone(),
            prefix: format!("{}{stack}/{scope}/", self.prefix),
            pace: self.pace,
            watch: Arc::default(),
        })
    }

    fn scopes(&self, stack: &str) -> Result<Vec<String>, StateError> {
        self.objects.folders(&format!("{}{stack}/", self.prefix))
    }

    fn stacks(&self) -> Result<Vec<String>, StateError> {
        self.objects.folders(&self.prefix)
    }
}

/// A state on object storage.
#[derive(Debug, Clone)]
struct ObjectPlace {
    objects: Arc<dyn Objects>,
    prefix: String,
    pace: Pace,
    /// Since when the lease of somebody else gives no sign of life.
    watch: Arc<Watch>,
}

/// The first line of the journal's object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct JournalHead {
    /// Who wrote it: never the same twice.
    writer: String,
    /// The names of the objects that come before what follows this line.
    parts: Vec<String>,
}

/// The journal's object.
#[derive(Debug, Clone, Default)]
struct Journal {
    head: JournalHead,
    tail: Vec<u8>,
    /// Its version; none where it is not there yet.
    tag: Option<Tag>,
}

/// What was read, with what tells it from what is written later.
struct Seen {
    contents: Contents,
    snapshot: Option<Tag>,
    journal: Journal,
}

impl ObjectPlace {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn name_of(&self, key: &str) -> String {
        self.objects.name(&self.key(key))
    }

    fn keep(&self, name: &str, snapshot: &[u8]) -> Result<(), StateError> {
        self.objects.put(&self.key(&format!("{HISTORY}{name}")), snapshot, &When::Always).map(|_| ())
    }

    /// Reads everything. Where a run ends meanwhile, the snapshot is another: then again.
    fn see(&self) -> Result<Seen, StateError> {
        for _ in 0..TRIES {
            let snapshot = self.objects.get(&self.key(SNAPSHOT))?;
            let journal = self.journal()?;
            let mut bytes = Vec::new();
            let mut is_whole = true;
            for part in &journal.head.parts {
                match self.objects.get(&self.key(&format!("{PARTS}{part}")))? {
                    Some((part, _)) => bytes.extend_from_slice(&part),
                    None => is_whole = false,
                }
            }
            bytes.extend_from_slice(&journal.tail);
            let tag = snapshot.as_ref().map(|(_, tag)| tag);
            let after = self.objects.get(&self.key(SNAPSHOT))?;
            if after.as_ref().map(|(_, tag)| tag) != tag {
                continue;
            }
            if !is_whole {
                // Parts only go once another journal stands there.
                if self.journal()?.tag == journal.tag {
                    return Err(StateError::damaged(self.name_of(JOURNAL), "parts of it are missing"));
                }
                continue;
            }
            let (snapshot, tag) = snapshot.unzip();
            return Ok(Seen { contents: Contents { snapshot, journal: bytes }, snapshot: tag, journal });
        }
        Err(StateError::Remote {
            doing: "read",
            name: self.name_of(""),
            why: "somebody else writes without a pause".into(),
            help: "run the same command again".into(),
        })
    }

    fn journal_bytes(&self, head: &JournalHead, tail: &[u8]) -> Result<Vec<u8>, StateError> {
        let mut bytes =
            serde_json::to_vec(head).map_err(|e| StateError::damaged(self.name_of(JOURNAL), e.to_string()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(tail);
        Ok(bytes)
    }

    fn journal(&self) -> Result<Journal, StateError> {
        let Some((bytes, tag)) = self.objects.get(&self.key(JOURNAL))? else { return Ok(Journal::default()) };
        let damaged = |why: &str| StateError::damaged(self.name_of(JOURNAL), why);
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no first line"))?;
        let (head, tail) = bytes.split_at(end);
        let head: JournalHead = serde_json::from_slice(head).map_err(|_| damaged("its first line is no head"))?;
        let tail = tail.get(1..).unwrap_or_default().to_owned();
        Ok(Journal { head, tail, tag: Some(tag) })
    }
}

impl Place for ObjectPlace {
    fn name(&self, key: &str) -> String {
        self.name_of(key)
    }

    fn contents(&self) -> Result<Contents, StateError> {
        Ok(self.see()?.contents)
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.objects.get(&self.key(key))?.map(|(bytes, _)| bytes))
    }

    fn history(&self) -> Result<Vec<String>, StateError> {
        let prefix = self.key(HISTORY);
        let keys = self.objects.list(&prefix)?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned)).collect())
    }

    fn take(&self, holder: &str) -> Result<Taken, StateError> {
        Ok(match Lease::take(&self.objects, &self.key(LOCK), holder, self.pace, &self.watch)? {
            Ok(lease) => Taken::Held(Box::new(Writing {
                place: self.clone(),
                lease,
                writer: uuid::Uuid::new_v4().simple().to_string(),
                snapshot: None,
                journal: Journal::default(),
            })),
            Err(occupied) => Taken::Occupied(occupied),
        })
    }

    fn holder(&self) -> Result<Option<Occupied>, StateError> {
        Lease::holder(&self.objects, &self.key(LOCK), self.pace, &self.watch)
    }

    /// The journal becomes another object, too, which its holder then cannot write to.
    fn break_lock(&self) -> Result<(), StateError> {
        Lease::break_it(&self.objects, &self.key(LOCK))?;
        for _ in 0..TRIES {
            let Journal { head, tail, tag: Some(tag) } = self.journal()? else { return Ok(()) };
            let writer = uuid::Uuid::new_v4().simple().to_string();
            let bytes = self.journal_bytes(&JournalHead { writer, ..head }, &tail)?;
            if put(self.objects.as_ref(), &self.key(JOURNAL), &bytes, &When::Is(tag))?.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A state on object storage that is leased and written to.
#[derive(Debug)]
struct Writing {
    place: ObjectPlace,
    lease: Lease,
    /// The snapshot that was read or written last.
    snapshot: Option<(Vec<u8>, Tag)>,
    /// This holder's name in the journal.
    writer: String,
    /// The journal that was read or written last.
    journal: Journal,
}

impl Writing {
    fn lost(&self) -> StateError {
        StateError::LockLost { name: self.place.name_of("").trim_end_matches('/').to_owned() }
    }

    /// Writes what only the holder of the lock can.
    fn put(&self, key: &str, bytes: &[u8], when: &When) -> Result<Tag, StateError> {
        self.check()?;
        put(self.place.objects.as_ref(), key, bytes, when)?.ok_or_else(|| self.lost())
    }

    /// Puts a journal in the place of the one that was read or written last.
    fn put_journal(&mut self, parts: Vec<String>, tail: Vec<u8>) -> Result<(), StateError> {
        let head = JournalHead { writer: self.writer.clone(), parts };
        let bytes = self.place.journal_bytes(&head, &tail)?;
        let when = self.journal.tag.clone().map_or(When::Absent, When::Is);
        let tag = self.put(&self.place.key(JOURNAL), &bytes, &when)?;
        self.journal = Journal { head, tail, tag: Some(tag) };
        Ok(())
    }

    /// Deletes parts that no journal names any more. Failing to is no failure of the run: nobody reads them.
    fn delete_parts(&self, parts: &[String]) {
        for part in parts {
            let _ = self.place.objects.delete(&self.place.key(&format!("{PARTS}{part}")));
        }
    }
}

impl Held for Writing {
    fn check(&self) -> Result<(), StateError> {
        if self.lease.is_held() { Ok(()) } else { Err(self.lost()) }
    }

    fn contents(&mut self) -> Result<Contents, StateError> {
        let Seen { contents, snapshot, journal } = self.place.see()?;
        self.snapshot = contents.snapshot.clone().zip(snapshot);
        self.journal = journal;
        Ok(contents)
    }

    fn begin(&mut self, whole: u64, record: &[u8]) -> Result<(), StateError> {
        // Objects are written whole or not at all: all of the former journal counts, or nothing of it.
        let (parts, mut tail) = match whole {
            0 => (Vec::new(), Vec::new()),
            _ => (self.journal.head.parts.clone(), self.journal.tail.clone()),
        };
        let former = std::mem::take(&mut self.journal.head.parts);
        tail.extend_from_slice(record);
        self.put_journal(parts, tail)?;
        if whole == 0 {
            self.delete_parts(&former);
        }
        Ok(())
    }

    fn append(&mut self, records: &[u8]) -> Result<(), StateError> {
        let (mut parts, mut tail) = (self.journal.head.parts.clone(), self.journal.tail.clone());
        if tail.len() + records.len() > LONGEST && !tail.is_empty() {
            let part = format!("{}-{:06}.jsonl", self.writer, parts.len());
            self.put(&self.place.key(&format!("{PARTS}{part}")), &tail, &When::Always)?;
            parts.push(part);
            tail.clear();
        }
        tail.extend_from_slice(records);
        self.put_journal(parts, tail)
    }

    fn replace(&mut self, snapshot: &[u8], keep: Option<&str>) -> Result<(), StateError> {
        self.check()?;
        if let (Some(keep), Some((former, _))) = (keep, &self.snapshot) {
            self.place.keep(keep, former)?;
        }
        let when = self.snapshot.as_ref().map_or(When::Absent, |(_, tag)| When::Is(tag.clone()));
        let tag = self.put(&self.place.key(SNAPSHOT), snapshot, &when)?;
        self.snapshot = Some((snapshot.to_owned(), tag));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), StateError> {
        let former = std::mem::take(&mut self.journal.head.parts);
        self.put_journal(Vec::new(), Vec::new())?;
        self.delete_parts(&former);
        Ok(())
    }

    fn keep(&mut self, name: &str, snapshot: &[u8]) -> Result<(), StateError> {
        self.check()?;
        self.place.keep(name, snapshot)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.check()?;
        self.place.objects.put(&self.place.key(name), bytes, &When::Always).map(|_| ())
    }

    fn set_aside(&mut self, name: &str) -> Result<Option<String>, StateError> {
        self.check()?;
        let mut is_there = false;
        let there = |key: &str| self.place.objects.get(&self.place.key(key));
        let (snapshot, journal) = (there(SNAPSHOT)?, there(JOURNAL)?);
        let folder = format!("{ASIDE}{name}-{}", self.writer);
        for (key, object) in [(SNAPSHOT, &snapshot), (JOURNAL, &journal)] {
            if let Some((bytes, _)) = object {
                let to = self.place.key(&format!("{folder}/{key}"));
                self.place.objects.put(&to, bytes, &When::Always)?;
                is_there = true;
            }
        }
        // The journal first: from then on nobody else writes. Its parts stay for what was set aside.
        self.journal = Journal { tag: journal.map(|(_, tag)| tag), ..Journal::default() };
        self.put_journal(Vec::new(), Vec::new())?;
        self.place.objects.delete(&self.place.key(SNAPSHOT))?;
        self.snapshot = None;
        Ok(is_there.then(|| self.place.name_of(&folder)))
    }

    fn remove(&mut self, name: &str) -> Result<(), StateError> {
        self.check()?;
        self.place.objects.delete(&self.place.key(name))
    }

    fn forget(&mut self, name: &str) {
        let _ = self.place.objects.delete(&self.place.key(&format!("{HISTORY}{name}")));
    }
}
