//! Cofferdam: ECS clusters from TOML stack files, planned dry before they are applied.

pub mod apply;
pub mod aws;
pub mod cli;
pub mod cloud;
pub mod constructs;
pub mod graph;
pub mod kinds;
pub mod local;
pub mod net;
pub mod plan;
pub mod secret;
pub mod services;
pub mod simulated;
pub mod stack;
pub mod state;
pub mod words;
