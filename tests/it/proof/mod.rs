//! Proofs that nothing is lost: runs over real kinds in the simulated AWS that die at every moment there is, and what the
//! next run makes of it.

mod exhaustive;
mod kill;
mod makespan;
mod mortal;
mod seeds;
mod stacks;
mod throttle;

pub use mortal::{DEATHS, dying};
pub use seeds::number;
pub use stacks::{contents, ecs_poc, ecs_poc_updated, read};
