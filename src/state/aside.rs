//! Setting a state aside that was lost or damaged, and beginning one anew in its place.

use super::store::{Writing, number_of};
use super::{Holder, State, StateError, Store, Writer};

/// A store whose state is to be made anew, locked. What stands there is not touched before [`Rebuild::begin`].
#[derive(Debug)]
pub struct Rebuild {
    store: Store,
    writing: Writing,
    /// When it began: what is set aside is named after it.
    since: String,
}

impl Store {
    /// Takes the lock to make the state anew.
    ///
    /// # Errors
    /// Where somebody else writes, or the place cannot be written to.
    pub fn rebuild(&self, holder: &Holder) -> Result<Rebuild, StateError> {
        Ok(Rebuild { store: self.clone(), writing: self.lock(holder)?, since: holder.since.clone() })
    }
}

impl Rebuild {
    /// Sets aside what stands there and begins with `fresh`. Gives where it is, if there was something. Dying in between
    /// leaves a store without a state, which is to be made anew once more.
    ///
    /// # Errors
    /// Where the place cannot be written to.
    pub fn begin(self, mut fresh: State) -> Result<(Writer, Option<String>), StateError> {
        let Self { store, mut writing, since } = self;
        fresh.serial = serial(&store)?;
        let aside = writing.held.set_aside(&since.replace(':', ""))?;
        Ok((writing.anew(fresh)?, aside))
    }
}

/// A serial above all that were used here, so that no former snapshot is taken for a later one, or written over.
fn serial(store: &Store) -> Result<u64, StateError> {
    let last = store.place().history()?.iter().filter_map(|name| number_of(name)).max();
    let (read, is_empty) = match store.read() {
        Ok(state) => (state.as_ref().map(|state| state.serial), state.is_none()),
        Err(_) => (None, false),
    };
    // A damaged snapshot is the one after the newest former one.
    Ok(match (read, last) {
        (None, None) if is_empty => 0,
        (read, last) => read.max(last.map(|last| last + 1)).unwrap_or(0) + 1,
    })
}
