//! The lock: one writer of a state at a time, and its name for everybody else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StateError;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user's name.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// What it is doing: `apply`.
    pub verb: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl Holder {
    /// The holder in a sentence: `alice on mars (process 4711) runs apply since 10:00`.
    pub fn sentence(&self) -> String {
        let Self { user, host, pid, verb, since } = self;
        format!("{user} on {host} (process {pid}) runs `{verb}` since {since}")
    }

    fn unknown() -> Self {
        let unknown = || "somebody".to_owned();
        Self { user: unknown(), host: "this machine".into(), pid: 0, verb: "a run".into(), since: "just now".into() }
    }
}

/// A held lock. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// [`StateError::Locked`] with the holder, or what the file system refused.
    pub fn take(path: &Path, holder: &Holder) -> Result<Self, StateError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(StateError::io("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
                return Err(StateError::Locked(Box::new(read.unwrap_or_else(Holder::unknown))));
            }
            Err(TryLockError::Error(error)) => return Err(StateError::io("lock", path)(error)),
        }
        let text = serde_json::to_vec(holder).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(&text))
            .map_err(StateError::io("write", path))?;
        Ok(Self { _file: file })
    }
}
