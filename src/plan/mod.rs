//! Plans: what has to happen so that what exists becomes what the stack says. Pure: the same inputs give the same plan.

mod diff;
mod drift;
pub mod guards;
mod held;
mod moves;
mod planner;
pub mod refresh;
mod renames;
mod saved;
mod steps;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use diff::same;
pub use drift::drift;
pub use held::{Given, GivenValue, Hold, Kept, at_path, standing, unexplained};
pub use moves::{MoveError, moves, one_move, settled_names};
pub use planner::{Inputs, Mode, PlanError, plan};
pub use refresh::{LookedUp, Observations, Seen};
pub use renames::Rename;
pub use saved::SavedError;
pub use steps::{Step, StepKind, Steps};

use crate::graph::{Address, Attributes, Need, Scope};
use crate::secret::Seal;

/// The version of a plan's JSON form.
pub const FORMAT_VERSION: u32 = 1;

/// What is to happen to one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Nothing.
    NoChange,
    /// It is only read; what it says is kept in the state.
    Read,
    /// It comes into being.
    Create,
    /// It is changed in place.
    Update,
    /// It is made anew, because an attribute cannot be changed in place.
    Replace,
    /// It is deleted.
    Delete,
    /// It is gone from the cloud already, or is only read, or is no longer this tool's: the state forgets it.
    Forget,
}

impl Verb {
    /// Whether the cloud is changed by it.
    pub fn changes_cloud(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Replace | Self::Delete)
    }

    /// Its name in JSON and in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoChange => "no-change",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Forget => "forget",
        }
    }
}

/// What an attribute will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum After {
    /// Known only once something else is applied: the reference it waits for, and the whole template.
    Unknown {
        /// `vpc.main.id`
        unknown_until: String,
        /// The value with its references.
        template: Value,
    },
    /// This value.
    Known {
        /// The literal value; `null` where the attribute goes.
        value: Value,
    },
}

/// One attribute that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The attribute; of maps, each key by itself: `tags.Team`.
    pub path: String,
    /// What it is now; `null` where it is not set.
    pub before: Value,
    /// What it will be.
    pub after: After,
    /// Whether this is what forces a replacement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forces_replacement: bool,
    /// Whether this only undoes what somebody changed behind the tool's back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drift: bool,
}

impl Change {
    /// The attribute that it is within: `tags` of `tags.Team`.
    pub fn attribute(&self) -> &str {
        self.path.split('.').next().unwrap_or_default()
    }
}

/// What is to happen to one resource, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The resource.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// What is to happen.
    pub action: Verb,
    /// Why, in a few words.
    pub reason: String,
    /// What changes, by attribute.
    pub changes: Vec<Change>,
    /// Of a replacement: whether the new one comes before the old one goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_first: bool,
    /// The attributes to be, in the desired space, as far as they were known.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// The attributes as they are now: the state's overlaid by what was observed.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub current: Attributes,
    /// Outputs as read or foreseen.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub outputs: Attributes,
    /// The id of what exists; of what is made because it was deleted outside of the tool, the id it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the resource in the state was left half made by an earlier run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Whether this deletes what a replacement left behind, while its successor stands at the address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deposed: bool,
    /// Whether it takes back what a replacement left behind at the address, since the stack names it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_back: bool,
    /// Of a replacement: whether the old one stays for now, since what is not targeted uses it still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_old: bool,
    /// Of what the state forgets: whether it stays in the stack and is only read from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Whether the state says exactly what the stack says, so that there is nothing to write down either. Attributes and
    /// outputs are then left out here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_step: bool,
    /// Whether it shall be protected from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// What it depends on in the stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<(Address, Need)>,
    /// What it depended on when it was last applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depended_on: Vec<Address>,
}

/// A difference between the state and the cloud that the tool did not make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The resource.
    pub address: Address,
    /// Whether it is gone altogether.
    pub gone: bool,
    /// What differs: `before` is what the state says, `after` what the cloud says.
    pub changes: Vec<Change>,
}

/// How many resources each verb concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// To be created.
    pub create: usize,
    /// To be changed in place.
    pub update: usize,
    /// To be made anew.
    pub replace: usize,
    /// To be deleted.
    pub delete: usize,
    /// To be forgotten by the state.
    pub forget: usize,
    /// As they should be.
    pub no_change: usize,
    /// That are only read: looked up, or somebody else's.
    #[serde(default)]
    pub read: usize,
    /// That somebody changed behind the tool's back.
    pub drift: usize,
}

/// What an output was and will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    /// What it is now.
    pub before: Value,
    /// What it will be.
    pub after: After,
}

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub format_version: u32,
    /// The version of the tool that made it.
    pub tool_version: String,
    /// `apply` or `destroy`.
    pub mode: Mode,
    /// Stack, environment, account, region.
    pub scope: Scope,
    /// `aws` or `local`.
    pub cloud: String,
    /// The lineage of the state it was made for; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    /// The serial of that state.
    pub serial: u64,
    /// Of a saved plan, a digest of what that state held (see [`crate::state::State::digest`]): a run that died leaves the
    /// serial as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<String>,
    /// A digest of the stack's files and variables.
    pub inputs_digest: String,
    /// The key of the digests that stand for secret values, where the state has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// How many of each.
    pub summary: Summary,
    /// Everything, in the order in which it is shown: dependencies first, deletions last.
    pub actions: Vec<Action>,
    /// What differs between state and cloud.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// What is not as the stack says because it is held, or left to something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// What the state holds from now on, and what it holds no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// What looks renamed, and of which the stack does not tell: it is deleted and made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renames: Vec<Rename>,
    /// Outputs, in the desired space.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// What each of them is made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs_of: BTreeMap<String, Vec<Address>>,
    /// Outputs that change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_changes: BTreeMap<String, OutputChange>,
}

impl Plan {
    /// Whether an apply would change the cloud, or what the state says of it.
    pub fn has_changes(&self) -> bool {
        let Summary { create, update, replace, delete, forget, .. } = self.summary;
        create + update + replace + delete + forget > 0 || !self.output_changes.is_empty()
    }

    /// The actions that change something.
    pub fn changing(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|a| a.action.changes_cloud() || a.action == Verb::Forget)
    }
}
