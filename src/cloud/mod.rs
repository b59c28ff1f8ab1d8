//! What the engine asks of a cloud. The AWS kinds, the simulated cloud and the tests' clouds stand behind this one trait.

mod error;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

pub use error::{CloudError, ErrorClass};

use crate::graph::{Address, Attributes, KindSpec, Scope};

/// The tag that holds the stack's name.
pub const STACK_TAG: &str = "cofferdam:stack";
/// The tag that holds the environment's name, on resources of a stack planned for one.
pub const ENV_TAG: &str = "cofferdam:env";
/// The tag that holds the resource's address.
pub const ADDRESS_TAG: &str = "cofferdam:address";
/// The tag that holds the address that a resource's names are made from, where it has another one by now.
pub const NAMED_TAG: &str = "cofferdam:named";
/// The tag that holds the region of the stack, on resources that an account has once for all regions.
pub const REGION_TAG: &str = "cofferdam:region";
/// The tag that a create call sets so that its resource is found again if the answer is lost.
pub const TOKEN_TAG: &str = "cofferdam:token";

/// How long something may exist without being found. EC2's calls are eventually consistent, which its documentation
/// leaves without a bound ("Eventual consistency in the Amazon EC2 API") and which is seconds in practice.
pub const VISIBILITY: Duration = Duration::from_secs(20);

/// The pause before something is asked for again that is not there yet; see [`longer`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// The pause after this one: half as long again, up to 5 seconds.
pub fn longer(pause: Duration) -> Duration {
    pause.mul_f64(1.5).min(Duration::from_secs(5))
}

/// A resource that the state knows, to be read.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its address in the stack.
    pub address: Address,
    /// Its id in the cloud.
    pub id: String,
    /// Its attributes when it was last applied (literal).
    pub attributes: Attributes,
    /// Its outputs when it was last applied or read.
    pub outputs: Attributes,
}

/// What the cloud says a resource is like.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Its id in the cloud.
    pub id: String,
    /// Its attributes (literal, canonical). A key that the cloud does not return is absent, and is then no drift.
    pub attributes: Attributes,
    /// Its outputs.
    pub outputs: Attributes,
}

/// A create call to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The address that the resource is created for.
    pub address: Address,
    /// Unique to this intent, the same when it is tried again after a crash; 32 characters, a client token.
    pub token: String,
    /// Literal attributes, canonical, defaults filled in.
    pub attributes: Attributes,
}

/// What a create call gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The new id.
    pub id: String,
    /// Outputs known so far.
    pub outputs: Attributes,
}

/// An update in place.
#[derive(Debug, Clone)]
pub struct UpdateRequest {
    /// The resource's address.
    pub address: Address,
    /// Its id.
    pub id: String,
    /// Its attributes as they are now: the state's, overlaid by what was observed.
    pub before: Attributes,
    /// Its attributes as they shall be.
    pub after: Attributes,
    /// The names of the attributes that differ.
    pub changed: BTreeSet<String>,
    /// Its outputs as they are now.
    pub outputs: Attributes,
    /// Unique to this intent: for APIs that take a client token on updates.
    pub token: String,
}

/// Which step of a resource's life is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Created: until it is ready for use.
    Created,
    /// Updated: until the change took hold.
    Updated,
    /// Deleted: until it is gone and holds nothing else back.
    Deleted,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Done; with outputs that became known or changed.
    Done(Attributes),
    /// Not yet; with what is waited for, in a few words.
    Pending(String),
    /// Not yet; with what has happened since it was last asked, a line each, to be told once.
    Telling(String, Vec<String>),
}

/// How the resource is found again whose create call got no answer.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The call that was made.
    pub request: CreateRequest,
}

/// Something that carries the tags of a stack, whether a state knows it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its id in the cloud.
    pub id: String,
    /// The address it was made for, as its tag says; `None` where the tag is missing, or names no address of its kind.
    pub address: Option<Address>,
}

/// A cloud, as the engine sees it. Calls are retried and limited below this trait; what comes back as an error here is
/// for the engine to decide on, by its [`ErrorClass`].
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Forgets what was read, so that the next refresh asks again.
    fn forget(&self) {}

    /// For how long something just made may not be shown yet.
    fn visibility(&self) -> Duration {
        VISIBILITY
    }

    /// Account, region and names.
    fn scope(&self) -> &Scope;

    /// What is known of a kind.
    fn spec(&self, kind: &str) -> Option<&KindSpec>;

    /// The names of all kinds.
    fn kinds(&self) -> Vec<&str>;

    /// Everything of a kind that carries the tags of this cloud's stack and environment ([`Scope`]). Kinds without tags
    /// have nothing to show here.
    async fn owned(&self, kind: &str) -> Result<Vec<Owned>, CloudError>;

    /// Reads many resources of one kind with as few calls as the API allows; the answers are in the order of `wanted`,
    /// `None` where a resource is gone.
    async fn read(&self, kind: &str, wanted: &[Known]) -> Result<Vec<Option<Observed>>, CloudError>;

    /// Looks up a resource of a lookup kind by its attributes, or one that exists already by its id.
    async fn look_up(&self, kind: &str, id: Option<&str>, attributes: &Attributes) -> Result<Observed, CloudError>;

    /// Finds what a create call made whose answer was lost, by token, tag or name.
    async fn find(&self, kind: &str, lost: &Lost) -> Result<Option<Observed>, CloudError>;

    /// Sends the call that brings the resource into being, and nothing more.
    async fn create(&self, kind: &str, request: &CreateRequest) -> Result<Created, CloudError>;

    /// Does what creating takes besides the first call (attaching, rules, settings). Doing it again changes nothing.
    async fn finish(&self, kind: &str, id: &str, request: &CreateRequest) -> Result<(), CloudError>;

    /// Changes a resource in place. Doing it again changes nothing.
    async fn update(&self, kind: &str, request: &UpdateRequest) -> Result<(), CloudError>;

    /// Deletes a resource. Deleting what is gone already succeeds.
    async fn delete(&self, kind: &str, known: &Known) -> Result<(), CloudError>;

    /// How far the resource is after a step.
    async fn poll(&self, kind: &str, known: &Known, phase: Phase) -> Result<Progress, CloudError>;
}
