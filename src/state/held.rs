//! Values that a verb put in place of what the stack says, and that are kept until they are taken back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graph::Address;

/// A value that is held against what the stack says: an image that was deployed, a count that was set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldValue {
    /// The value (literal).
    pub value: Value,
    /// The verb that put it: `deploy`, `rollback`, `scale`.
    pub by: String,
    /// Who did: user and host.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Held values by resource, and by their way into its attributes: `containers.app.image`.
pub type Holds = BTreeMap<Address, BTreeMap<String, HeldValue>>;
