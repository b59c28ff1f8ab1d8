//! Where the executor keeps what it knows.

use crate::state::{Memory, Record, State, StateError, Writer};

/// Where the executor keeps what it knows. A noted record counts at once in memory; it is safe after the next sync.
pub trait Ledger {
    /// The state as it is now.
    fn state(&self) -> &State;

    /// Takes a record in.
    fn note(&mut self, record: Record);

    /// Makes every noted record safe.
    ///
    /// # Errors
    /// Where that cannot be done; nothing may be sent then.
    fn sync(&mut self) -> Result<(), StateError>;

    /// Sees, without asking anybody far away, whether this run may still write.
    ///
    /// # Errors
    /// Where it may not; nothing may be sent then.
    fn check(&self) -> Result<(), StateError> {
        Ok(())
    }
}

impl Ledger for Writer {
    fn state(&self) -> &State {
        Writer::state(self)
    }

    fn note(&mut self, record: Record) {
        Writer::note(self, record);
    }

    fn sync(&mut self) -> Result<(), StateError> {
        Writer::sync(self)
    }

    fn check(&self) -> Result<(), StateError> {
        Writer::check(self)
    }
}

impl Ledger for Memory {
    fn state(&self) -> &State {
        Memory::state(self)
    }

    fn note(&mut self, record: Record) {
        Memory::note(self, record);
    }

    fn sync(&mut self) -> Result<(), StateError> {
        Memory::sync(self);
        Ok(())
    }
}
