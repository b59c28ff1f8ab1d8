//! Executing plans: the schedule, what is retried, what is written down, and what is told while it goes on.

mod event;
mod execute;
pub mod limiter;
mod settle;

pub use event::{Event, Report, StepName};
pub use execute::{Execution, Ledger, Options, Stop, execute};
pub use settle::{SettleError, Settled, settle};
