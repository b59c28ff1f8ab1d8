//! Where the executor keeps what it knows.

use crate::state::{Record, State, StateError, Writer};

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
}

/// A ledger that is never written down: for looking ahead, and for simulated runs.
#[derive(Debug)]
pub struct MemoryLedger {
    state: State,
}

impl MemoryLedger {
    /// A ledger that begins with this state.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// The state it came to.
    pub fn into_state(self) -> State {
        self.state
    }
}

impl Ledger for MemoryLedger {
    fn state(&self) -> &State {
        &self.state
    }

    fn note(&mut self, record: Record) {
        self.state.take(&record);
    }

    fn sync(&mut self) -> Result<(), StateError> {
        Ok(())
    }
}
