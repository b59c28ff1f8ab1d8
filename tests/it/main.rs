//! The integration tests: one binary, so that the SDKs are linked once.

#[macro_use]
mod support;

mod stack;

mod cli;
mod crash;
mod damage;
mod engine;
mod fuzz;
mod guards;
mod interrupts;
mod keeping;
mod kinds;
mod language;
mod lifecycle;
mod local;
mod main_job;
mod newcomer;
mod objects;
mod orphans;
mod permissions;
mod planner;
mod proof;
mod recover;
mod reference;
mod refresh_calls;
mod sealed;
mod secrets;
mod shipped;
mod state;
mod steps;
mod teams;
mod terminal;
