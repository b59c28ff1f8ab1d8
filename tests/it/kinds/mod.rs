//! The life of each kind, against each emulator that has it.

mod dns;
mod identity;
mod network;
