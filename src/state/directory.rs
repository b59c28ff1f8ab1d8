//! A state in a local directory.
//!
//! ```text
//! state/ecs-poc/aws-123456789012-eu-west-2/
//!     snapshot.json    what existed after the last run
//!     journal.jsonl    what was intended and done since
//!     lock             who is writing
//!     history/         the snapshots before
//!     key.json         of an encrypted state: its key, encrypted
//! ```
//!
//! The lock is the operating system's and ends with its process. Breaking it puts another file in its place; who held the
//! old one finds that out before it writes again, by the file's identity.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::place::{Contents, Held, Home, Occupied, Place, Taken};
use super::{SNAPSHOT, StateError};

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";
const HISTORY: &str = "history";
const ASIDE: &str = "set-aside";

/// How often taking a lock is tried again: looking who holds one locks the file for a moment.
const TRIES: u32 = 5;

/// A directory that holds the states of many stacks.
#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// The states below this directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Home for Directories {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn place(&self, stack: &str, scope: &str) -> Arc<dyn Place> {
        Arc::new(Directory::new(&self.root.join(stack).join(scope)))
    }

    fn scopes(&self, stack: &str) -> Result<Vec<String>, StateError> {
        names_in(&self.root.join(stack))
    }

    fn stacks(&self) -> Result<Vec<String>, StateError> {
        let mut names = names_in(&self.root)?;
        names.retain(|name| !name.starts_with('.') && self.root.join(name).is_dir());
        Ok(names)
    }
}

/// What is in a folder, sorted; nothing where there is none.
fn names_in(folder: &Path) -> Result<Vec<String>, StateError> {
    let names = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::io("read", folder)(error)),
    };
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// A state in a directory.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The state in this directory, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn file(&self, key: &str) -> PathBuf {
        self.path.join(key)
    }

    fn open_lock(&self) -> Result<File, StateError> {
        let path = self.file(LOCK);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StateError::io("open", &path))
    }
}

impl Place for Directory {
    fn name(&self, key: &str) -> String {
        self.file(key).display().to_string()
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }

    /// A writer may put a new snapshot there between the two reads; then both are read again.
    fn contents(&self) -> Result<Contents, StateError> {
        let snapshot = self.file(SNAPSHOT);
        let mut before = stamp(&snapshot);
        loop {
            let contents =
                Contents { snapshot: self.read(SNAPSHOT)?, journal: self.read(JOURNAL)?.unwrap_or_default() };
            let after = stamp(&snapshot);
            if after == before {
                return Ok(contents);
            }
            before = after;
        }
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.file(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io("read", &path)(error)),
        }
    }

    fn history(&self) -> Result<Vec<String>, StateError> {
        let folder = self.file(HISTORY);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io("read", &folder)(error)),
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn take(&self, holder: &str) -> Result<Taken, StateError> {
        let history = self.file(HISTORY);
        fs::create_dir_all(&history).map_err(StateError::io("create", &history))?;
        let path = self.file(LOCK);
        let mut tries = 0;
        let mut lock = loop {
            let mut file = self.open_lock()?;
            match file.try_lock() {
                // Somebody who breaks the lock puts another file there.
                Ok(()) if is_at(&file, &path) => break file,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    return Ok(Taken::Occupied(Occupied { holder, dead_in: None }));
                }
                Err(TryLockError::Error(error)) => return Err(StateError::io("lock", &path)(error)),
            }
        };
        lock.set_len(0)
            .and_then(|()| lock.seek(SeekFrom::Start(0)))
            .and_then(|_| lock.write_all(holder.as_bytes()))
            .map_err(StateError::io("write", &path))?;
        Ok(Taken::Held(Box::new(Writing { directory: self.clone(), lock, journal: None })))
    }

    fn holder(&self) -> Result<Option<Occupied>, StateError> {
        let path = self.file(LOCK);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io("open", &path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(StateError::io("read", &path))?;
                Ok(Some(Occupied { holder, dead_in: None }))
            }
            Err(TryLockError::Error(error)) => Err(StateError::io("lock", &path)(error)),
        }
    }

    fn break_lock(&self) -> Result<(), StateError> {
        let path = self.file(LOCK);
        let fresh = tempfile::NamedTempFile::new_in(&self.path).map_err(StateError::io("write", &path))?;
        fresh.persist(&path).map_err(|e| StateError::io("write", &path)(e.error))?;
        sync_directory(&self.path).map_err(StateError::io("sync", &self.path))
    }
}

/// A directory that is locked and written to.
#[derive(Debug)]
struct Writing {
    directory: Directory,
    lock: File,
    /// The journal and the length of what is whole in it: a failed append is cut back to it.
    journal: Option<(File, u64)>,
}

impl Writing {
    /// Writes beside a file and puts the whole in its place.
    fn put(&self, key: &str, parts: &[&[u8]]) -> Result<File, StateError> {
        let path = self.directory.file(key);
        let io = |doing| StateError::io(doing, &path);
        let mut file = tempfile::NamedTempFile::new_in(&self.directory.path).map_err(io("write"))?;
        for part in parts {
            file.write_all(part).map_err(io("write"))?;
        }
        file.as_file().sync_all().map_err(io("sync"))?;
        self.check()?;
        let file = file.persist(&path).map_err(|e| io("write")(e.error))?;
        sync_directory(&self.directory.path).map_err(io("sync"))?;
        Ok(file)
    }
}

impl Held for Writing {
    fn check(&self) -> Result<(), StateError> {
        match is_at(&self.lock, &self.directory.file(LOCK)) {
            true => Ok(()),
            false => Err(StateError::LockLost { name: self.directory.path.display().to_string() }),
        }
    }

    fn contents(&mut self) -> Result<Contents, StateError> {
        self.directory.contents()
    }

    /// The journal becomes another file: who lost the lock may still have the old one open.
    fn begin(&mut self, whole: u64, record: &[u8]) -> Result<(), StateError> {
        let former = if whole > 0 { self.directory.read(JOURNAL)?.unwrap_or_default() } else { Vec::new() };
        let former = former.get(..usize::try_from(whole).unwrap_or(usize::MAX)).unwrap_or(&former);
        let file = self.put(JOURNAL, &[former, record])?;
        self.journal = Some((file, (former.len() + record.len()) as u64));
        Ok(())
    }

    fn append(&mut self, records: &[u8]) -> Result<(), StateError> {
        self.check()?;
        let path = self.directory.file(JOURNAL);
        let Some((file, whole)) = &mut self.journal else {
            return Err(StateError::io("write", &path)(io::Error::other("the journal was not begun")));
        };
        let written = file.seek(SeekFrom::Start(*whole)).and_then(|_| file.write_all(records));
        match written.and_then(|()| file.sync_data()) {
            Ok(()) => {
                *whole += records.len() as u64;
                // Whoever took the lock meanwhile may have read the journal before this was in it.
                self.check()
            }
            Err(error) => {
                // Part of it may be on disk: take it back, so that what follows does not stand behind a torn line. If
                // even that fails, reading will find the torn line.
                let _ = file.set_len(*whole);
                Err(StateError::io("write", &path)(error))
            }
        }
    }

    fn replace(&mut self, snapshot: &[u8], keep: Option<&str>) -> Result<(), StateError> {
        self.check()?;
        let path = self.directory.file(SNAPSHOT);
        if let Some(keep) = keep
            && path.exists()
        {
            let kept = self.directory.file(HISTORY).join(keep);
            let _ = fs::remove_file(&kept);
            fs::hard_link(&path, &kept)
                .or_else(|_| fs::copy(&path, &kept).map(|_| ()))
                .map_err(StateError::io("keep", &path))?;
        }
        self.put(SNAPSHOT, &[snapshot]).map(|_| ())
    }

    fn clear(&mut self) -> Result<(), StateError> {
        self.check()?;
        let Some((file, whole)) = &mut self.journal else { return Ok(()) };
        let path = self.directory.file(JOURNAL);
        file.set_len(0).map_err(StateError::io("write", &path))?;
        *whole = 0;
        file.sync_data().map_err(StateError::io("sync", &path))
    }

    fn keep(&mut self, name: &str, snapshot: &[u8]) -> Result<(), StateError> {
        self.put(&format!("{HISTORY}/{name}"), &[snapshot]).map(|_| ())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.directory.file(name);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder).map_err(StateError::io("create", folder))?;
        }
        self.put(name, &[bytes])?;
        // What is removed next may need it.
        let folder = path.parent().unwrap_or(&self.directory.path);
        sync_directory(folder).map_err(StateError::io("sync", folder))
    }

    fn set_aside(&mut self, name: &str) -> Result<Option<String>, StateError> {
        self.check()?;
        let there: Vec<(&str, PathBuf)> = [JOURNAL, SNAPSHOT]
            .into_iter()
            .map(|key| (key, self.directory.file(key)))
            .filter(|(_, path)| path.exists())
            .collect();
        if there.is_empty() {
            return Ok(None);
        }
        let all = self.directory.file(ASIDE);
        fs::create_dir_all(&all).map_err(StateError::io("create", &all))?;
        let mut number = 1;
        let to = loop {
            let to = all.join(if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
            match fs::create_dir(&to) {
                Ok(()) => break to,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(StateError::io("create", &to)(error)),
            }
        };
        for (key, path) in there {
            fs::rename(&path, to.join(key)).map_err(StateError::io("set aside", &path))?;
        }
        for directory in [&to, &self.directory.path] {
            sync_directory(directory).map_err(StateError::io("sync", directory))?;
        }
        Ok(Some(to.display().to_string()))
    }

    fn remove(&mut self, name: &str) -> Result<(), StateError> {
        self.check()?;
        let path = self.directory.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn forget(&mut self, name: &str) {
        let _ = fs::remove_file(self.directory.file(HISTORY).join(name));
    }
}

/// Whether an open file is the one that stands at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|m| (m.dev(), m.ino()));
    let there = identity(fs::metadata(path));
    there.is_some() && identity(file.metadata()) == there
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// What tells one snapshot from the next: they are replaced, never written to.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Makes a rename in a directory last over a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
