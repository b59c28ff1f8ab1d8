//! A state in memory, with a journal in memory: for simulated runs.

use super::{Record, State};

/// Keeps a state and its journal in memory, apart as a disk keeps them: what was noted and not synced is lost in a crash.
#[derive(Debug, Clone)]
pub struct Memory {
    snapshot: State,
    journal: Vec<Record>,
    state: State,
    noted: Vec<Record>,
    syncs: u64,
}

impl Memory {
    /// A journal that continues this state.
    pub fn new(snapshot: State) -> Self {
        Self { state: snapshot.clone(), snapshot, journal: Vec::new(), noted: Vec::new(), syncs: 0 }
    }

    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes a record into the state; it is safe after the next [`Memory::sync`].
    pub fn note(&mut self, record: Record) {
        self.state.take(&record);
        self.noted.push(record);
    }

    /// Makes every noted record safe.
    pub fn sync(&mut self) {
        if !self.noted.is_empty() {
            self.journal.append(&mut self.noted);
            self.syncs += 1;
        }
    }

    /// How often there was something to make safe.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// What a run finds that starts after this one died: the snapshot, and what of the journal was safe.
    pub fn after_crash(self) -> State {
        let mut state = self.snapshot;
        self.journal.iter().for_each(|record| state.take(record));
        state
    }

    /// What a run finds that starts after this one ended.
    pub fn close(mut self) -> State {
        self.sync();
        self.state.serial += 1;
        self.state
    }
}
