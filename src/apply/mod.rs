//! Executing plans.
pub mod limiter;
