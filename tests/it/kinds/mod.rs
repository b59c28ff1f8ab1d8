//! The life of each kind, against each emulator that has it.

mod around;
mod balancing;
mod compute;
mod dns;
mod ec2;
mod identity;
mod network;
mod roundtrip;
mod workloads;
