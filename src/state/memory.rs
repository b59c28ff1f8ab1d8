//! A state in memory, with a journal in memory: for simulated runs, and for looking ahead.

use super::{Record, State};

/// Keeps a state and its journal in memory. What was noted and not synced is lost when the run dies, as on a disk.
#[derive(Debug, Clone)]
pub struct Memory {
    state: State,
    journal: Vec<Record>,
    noted: Vec<Record>,
    syncs: u64,
}

impl Memory {
    /// A journal that continues this state.
    pub fn new(state: State) -> Self {
        Self { state, journal: Vec::new(), noted: Vec::new(), syncs: 0 }
    }

    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state as it is now, for good.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Takes a record into the state; it is safe after the next [`Memory::sync`].
    pub fn note(&mut self, record: Record) {
        self.noted.push(record.clone());
        self.state.take(record);
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

    /// What a run finds that starts after this one died: `snapshot`, with which it began, and what of the journal was safe.
    pub fn after_crash(self, snapshot: State) -> State {
        self.journal.into_iter().fold(snapshot, |mut state, record| {
            state.take(record);
            state
        })
    }

    /// What a run finds that starts after this one ended.
    pub fn close(mut self) -> State {
        self.state.serial += 1;
        self.state
    }
}
