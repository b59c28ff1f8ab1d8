//! Guards: plans that are most likely a mistake.

use super::{Action, Mode, Plan, Verb};
use crate::state::State;

/// How many resources may be deleted without a question, whatever share of the stack they are: small stacks change
/// shape all the time.
pub const FEW: usize = 5;

/// The share of a stack that may be deleted, in percent, where the stack says nothing.
pub const MAX_DELETE_PERCENT: u8 = 50;

/// More deletions than a stack allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}, and this stack allows {percent} percent", what(*.deleted, *.replaced, *.of))]
pub struct TooManyDeletions {
    /// How many would be deleted for good.
    pub deleted: usize,
    /// How many would be deleted and made anew.
    pub replaced: usize,
    /// How many there are.
    pub of: usize,
    /// The share that is allowed, in percent.
    pub percent: u8,
}

impl TooManyDeletions {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        let mistake = match self.deleted {
            0 => "does a value differ that cannot be changed in place?",
            _ => "is a block, a file or the environment missing?",
        };
        format!(
            "look at the plan: {mistake} If they shall go, give --allow-deletes; `max_delete_percent` in [guards] sets the \
             share"
        )
    }
}

/// Whether a plan deletes more than the given share of what the state holds. What is made anew is deleted, too, with all
/// that is in it; who asks to destroy says what is meant.
pub fn too_many_deletions(plan: &Plan, state: Option<&State>, percent: u8) -> Option<TooManyDeletions> {
    if plan.mode == Mode::Destroy {
        return None;
    }
    let count = |is: &dyn Fn(&Action) -> bool| plan.actions.iter().filter(|action| is(action)).count();
    let deleted = count(&|action| action.action == Verb::Delete && !action.deposed);
    let replaced = count(&|action| action.action == Verb::Replace);
    let of = state.map_or(0, |state| state.resources.values().filter(|entry| !entry.read_only).count());
    let gone = deleted + replaced;
    let over = gone > FEW && gone * 100 > of * usize::from(percent);
    over.then_some(TooManyDeletions { deleted, replaced, of, percent })
}

fn what(deleted: usize, replaced: usize, of: usize) -> String {
    match (deleted, replaced) {
        (_, 0) => format!("{deleted} of {of} resources would be deleted"),
        (0, _) => format!("{replaced} of {of} resources would be deleted and made anew"),
        _ => format!("{} of {of} resources would be deleted, {replaced} of them to be made anew", deleted + replaced),
    }
}
