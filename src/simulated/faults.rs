//! Faults: what may go wrong with a call of the simulated cloud, decided by whoever runs the simulation.

use crate::cloud::CloudError;
use crate::graph::Address;

/// The operations of [`crate::cloud::Cloud`] that count as calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Reading many of a kind.
    Read,
    /// Looking one up.
    LookUp,
    /// Finding what a create call made.
    Find,
    /// Creating.
    Create,
    /// What creating takes besides.
    Finish,
    /// Updating in place.
    Update,
    /// Deleting.
    Delete,
    /// Asking how far a step is.
    Poll,
}

impl Operation {
    /// Its name: `create`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::LookUp => "look-up",
            Self::Find => "find",
            Self::Create => "create",
            Self::Finish => "finish",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Poll => "poll",
        }
    }

    /// Whether it changes the cloud.
    pub fn changes_cloud(self) -> bool {
        matches!(self, Self::Create | Self::Finish | Self::Update | Self::Delete)
    }
}

/// One call that reached the simulated cloud.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its number, from 0 on, in the order in which calls were made.
    pub number: u64,
    /// The kind it concerns.
    pub kind: &'a str,
    /// What it does.
    pub operation: Operation,
    /// The resource it is made for; of a read of many, none.
    pub address: Option<&'a Address>,
}

/// The two sides of a call's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done yet.
    Before,
    /// The call had its effect; its answer is about to be sent.
    After,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call gives this error: before its effect a refusal or a request that never arrived, after it a lost answer.
    Error(CloudError),
    /// The call is never answered: whoever waits for it has to be dropped, as a process that dies drops it.
    Silence,
}

/// Decides, call by call, what goes wrong. A closure of the same signature is one, too; it also serves to watch the calls
/// go by.
pub trait Faults: Send {
    /// What goes wrong with this call at this moment, if anything.
    fn fault(&mut self, call: &Call<'_>, moment: Moment) -> Option<Fault>;
}

impl<F: FnMut(&Call<'_>, Moment) -> Option<Fault> + Send> Faults for F {
    fn fault(&mut self, call: &Call<'_>, moment: Moment) -> Option<Fault> {
        self(call, moment)
    }
}
