//! Guards: plans that are most likely a mistake.

use super::{Plan, Verb};
use crate::state::State;

/// How many resources may be deleted without a question, whatever share of the stack they are: small stacks change
/// shape all the time.
pub const FEW: usize = 5;

/// The share of a stack that may be deleted, in percent, where the stack says nothing.
pub const MAX_DELETE_PERCENT: u8 = 50;

/// More deletions than a stack allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{deleted} of {of} resources would be deleted, and this stack allows {percent} percent")]
pub struct TooManyDeletions {
    /// How many would be deleted.
    pub deleted: usize,
    /// How many there are.
    pub of: usize,
    /// The share that is allowed, in percent.
    pub percent: u8,
}

impl TooManyDeletions {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        "look at the plan: is a block, a file or the environment missing? If they shall go, give --allow-deletes; \
         `max_delete_percent` in [guards] sets the share"
            .into()
    }
}

/// Whether a plan deletes more than the given share of what the state holds. What is made anew is not deleted.
pub fn too_many_deletions(plan: &Plan, state: Option<&State>, percent: u8) -> Option<TooManyDeletions> {
    let deleted = plan.actions.iter().filter(|action| action.action == Verb::Delete && !action.deposed).count();
    let of = state.map_or(0, |state| state.resources.values().filter(|entry| !entry.read_only).count());
    let over = deleted > FEW && deleted * 100 > of * usize::from(percent);
    over.then_some(TooManyDeletions { deleted, of, percent })
}
