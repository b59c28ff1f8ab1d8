//! The life of each kind, against each emulator that has it.

mod ec2;
mod dns;
mod identity;
mod compute;
mod network;
