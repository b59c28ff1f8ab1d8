//! The life of each kind, against each emulator that has it.

mod identity;
mod network;
