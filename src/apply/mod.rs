//! Executing plans: the schedule, what is retried, what is written down, and what is told while it goes on.

mod event;
mod execute;
pub mod gate;
mod ledger;
pub mod limiter;
mod orphans;
mod recover;
mod settle;

pub use event::{Event, Report, StepName};
pub use execute::{Execution, Options, Stop, execute};
pub use ledger::Ledger;
pub use orphans::{Orphan, entries, orphans};
pub use recover::{Found, Recovered, Way, adopted, names, origin, recover};
pub use settle::{SettleError, Settled, settle};
