//! What happens during an apply: the whole interface between the engine and whoever shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cloud::CloudError;
use crate::graph::Address;
use crate::plan::{StepKind, Verb};

/// What a step does, in the words of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// Creating.
    Create,
    /// Creating the successor of what is replaced.
    Replace,
    /// Updating.
    Update,
    /// Deleting.
    Delete,
    /// Reading.
    Read,
}

impl StepName {
    /// What a step of a plan does, by its own kind and its action's.
    pub fn of(kind: StepKind, action: Verb) -> Self {
        match (kind, action) {
            (StepKind::Create, Verb::Replace) => Self::Replace,
            (StepKind::Create, _) => Self::Create,
            (StepKind::Update | StepKind::Pass, _) => Self::Update,
            (StepKind::Delete | StepKind::Forget, _) => Self::Delete,
            (StepKind::Read, _) => Self::Read,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step began.
    Started {
        /// The resource.
        address: Address,
        /// The step.
        step: StepName,
    },
    /// A step waits for the cloud.
    Waiting {
        /// The resource.
        address: Address,
        /// What is waited for, in a few words.
        what: String,
    },
    /// Something happened to what a step waits for.
    News {
        /// The resource.
        address: Address,
        /// What, in a line.
        line: String,
    },
    /// A step is done.
    Done {
        /// The resource.
        address: Address,
        /// The step.
        step: StepName,
        /// Its id in the cloud.
        id: String,
        /// How long it took.
        elapsed: Duration,
    },
    /// A step failed.
    Failed {
        /// The resource.
        address: Address,
        /// The step.
        step: StepName,
        /// Why.
        error: CloudError,
    },
    /// A step was not begun, because one that it waits for failed.
    Skipped {
        /// The resource.
        address: Address,
        /// The step.
        step: StepName,
        /// What failed.
        because: Address,
    },
    /// The user asked to stop: nothing new is begun.
    Stopping {
        /// How many steps are still under way.
        in_flight: usize,
    },
}

/// How an apply ended.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many were created.
    pub created: usize,
    /// How many were changed in place.
    pub updated: usize,
    /// How many were made anew.
    pub replaced: usize,
    /// How many were deleted.
    pub deleted: usize,
    /// What failed, and how.
    pub failed: Vec<(Address, StepName, CloudError)>,
    /// What was not begun because of that.
    pub skipped: Vec<Address>,
    /// What was not begun, or not waited for, because the user stopped.
    pub left: Vec<Address>,
    /// The stack's outputs, where all went well.
    pub outputs: BTreeMap<String, Value>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Whether all that was planned was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && self.left.is_empty()
    }
}
