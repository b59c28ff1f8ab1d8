//! Where states are kept: the interface under store, writer, journal and lock. A local directory ([`super::Directory`]) is
//! one sort of place, object storage ([`super::ObjectHome`]) another.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::StateError;

/// What holds the states of many stacks: a directory, a prefix of a bucket.
pub trait Home: Debug + Send + Sync {
    /// How messages name it.
    fn name(&self) -> String;

    /// The place of one state: `stack` is `STACK[@ENV]`, `scope` is `CLOUD-ACCOUNT-REGION`.
    fn place(&self, stack: &str, scope: &str) -> Arc<dyn Place>;

    /// The scopes that there are places for of a stack, sorted.
    ///
    /// # Errors
    /// Where that cannot be read.
    fn scopes(&self, stack: &str) -> Result<Vec<String>, StateError>;

    /// The stacks that there are places of, each as `STACK[@ENV]`, sorted.
    ///
    /// # Errors
    /// Where that cannot be read.
    fn stacks(&self) -> Result<Vec<String>, StateError>;
}

/// What stands in a place: the snapshot and the journal that was written since, read at one moment.
#[derive(Debug, Default)]
pub struct Contents {
    /// The snapshot's bytes, where there is one.
    pub snapshot: Option<Vec<u8>>,
    /// The journal's bytes.
    pub journal: Vec<u8>,
}

/// The place of one state. Reading takes no lock.
pub trait Place: Debug + Send + Sync {
    /// How messages name something in it: a path, a URL.
    fn name(&self, key: &str) -> String;

    /// The directory that it is, if it is one.
    fn directory(&self) -> Option<&std::path::Path> {
        None
    }

    /// Snapshot and journal as they are now, both of one moment.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn contents(&self) -> Result<Contents, StateError>;

    /// Reads one thing; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// The names of the former snapshots, sorted.
    ///
    /// # Errors
    /// Where they cannot be listed.
    fn history(&self) -> Result<Vec<String>, StateError>;

    /// Takes the lock if nobody has it; `holder` is what others are told then.
    ///
    /// # Errors
    /// Where it can neither be taken nor be found out who has it.
    fn take(&self, holder: &str) -> Result<Taken, StateError>;

    /// What is told of who holds the lock; `None` where nobody does.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn holder(&self) -> Result<Option<Occupied>, StateError>;

    /// Takes the lock away from whoever holds it. A holder that still lives notices before it writes again.
    ///
    /// # Errors
    /// Where that cannot be done.
    fn break_lock(&self) -> Result<(), StateError>;
}

/// What came of trying to take a lock.
#[derive(Debug)]
pub enum Taken {
    /// It is held from now on, until this is dropped.
    Held(Box<dyn Held>),
    /// Somebody else has it.
    Occupied(Occupied),
}

/// A lock that somebody has.
#[derive(Debug, Clone, Default)]
pub struct Occupied {
    /// What the holder told of itself.
    pub holder: String,
    /// Where the holder may be dead: how much longer it must give no sign of life until its lock is taken over.
    pub dead_in: Option<Duration>,
}

/// A held lock, and with it the only way to write. Dropping it lets go.
///
/// Whoever lost the lock cannot write: each of these fails then with [`StateError::LockLost`].
pub trait Held: Debug + Send {
    /// Sees whether the lock is still held, as far as can be told without asking anybody far away.
    ///
    /// # Errors
    /// [`StateError::LockLost`] where it is not.
    fn check(&self) -> Result<(), StateError>;

    /// Reads what there is. What is written later continues it.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn contents(&mut self) -> Result<Contents, StateError>;

    /// Begins this run's part of the journal behind the first `whole` bytes of what was read. From then on nobody who held
    /// the lock before can append to it.
    ///
    /// # Errors
    /// Where it cannot be made safe.
    fn begin(&mut self, whole: u64, record: &[u8]) -> Result<(), StateError>;

    /// Appends to the journal. Returning means that it is safe.
    ///
    /// # Errors
    /// Where it cannot be made safe. Nothing may be sent to a cloud then.
    fn append(&mut self, records: &[u8]) -> Result<(), StateError>;

    /// Puts a new snapshot in the place of the one that was read or written last, which is kept under `keep` in the
    /// history.
    ///
    /// # Errors
    /// Where it cannot be made safe; the former one then still stands.
    fn replace(&mut self, snapshot: &[u8], keep: Option<&str>) -> Result<(), StateError>;

    /// Empties the journal: what it held is in the snapshot now.
    ///
    /// # Errors
    /// Where that cannot be done.
    fn clear(&mut self) -> Result<(), StateError>;

    /// Puts a former snapshot of another place into the history.
    ///
    /// # Errors
    /// Where it cannot be made safe.
    fn keep(&mut self, name: &str, snapshot: &[u8]) -> Result<(), StateError>;

    /// Writes something that stands beside snapshot and journal.
    ///
    /// # Errors
    /// Where it cannot be made safe.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Removes something that stands beside snapshot and journal, if it is there.
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn remove(&mut self, name: &str) -> Result<(), StateError>;

    /// Moves what stands there out of the way, whole or damaged, to where it is kept under this name and never deleted.
    /// Gives what messages call that; `None` where nothing stood there.
    ///
    /// # Errors
    /// Where it cannot be moved; what was not moved still stands there then.
    fn set_aside(&mut self, name: &str) -> Result<Option<String>, StateError>;

    /// Removes a former snapshot. Failing to is no failure of the run.
    fn forget(&mut self, name: &str);
}
