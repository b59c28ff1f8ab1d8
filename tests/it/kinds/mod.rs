//! The life of each kind, against each emulator that has it.

mod compute;
mod network;
