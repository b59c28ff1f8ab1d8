//! The integration tests: one binary, so that the SDKs are linked once.

#[macro_use]
mod support;

mod stack;

mod cli;
mod crash;
mod damage;
mod engine;
mod interrupts;
mod keeping;
mod kinds;
mod language;
mod lifecycle;
mod local;
mod main_job;
mod planner;
mod reference;
mod refresh_calls;
mod state;
mod steps;
mod teams;
mod terminal;
