//! What the engine needs to know about a kind, without knowing any cloud.

use serde_json::{Map, Value};

/// Attributes of a resource by name.
pub type Attributes = Map<String, Value>;

/// Where names, ARNs and zones are to be computed for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scope {
    /// The stack's name.
    pub stack: String,
    /// The environment, where the stack is planned for one.
    pub env: Option<String>,
    /// The account's number; unknown offline.
    pub account: Option<String>,
    /// The region's name.
    pub region: String,
    /// The ARN partition of the region: `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
}

impl Scope {
    /// `stack` or `stack-env`: what names in the cloud begin with.
    pub fn prefix(&self) -> String {
        match &self.env {
            Some(env) => format!("{}-{env}", self.stack),
            None => self.stack.clone(),
        }
    }
}

/// How a resource is found again when its create call was sent and its answer never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The API takes a client token and answers a second create with the first one's resource.
    ClientToken,
    /// Ownership tags are set by the create call itself.
    TagOnCreate,
    /// The name is unique in account and region.
    UniqueName,
    /// The resource is a fact about another one (an association), so creating it again changes nothing.
    Natural,
    /// Only read, never created.
    Lookup,
}

impl Identity {
    /// Whether a create call may be sent again without making a second resource.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::ClientToken | Self::Natural)
    }
}

/// What replacing a resource does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceOrder {
    /// The new one comes first, dependents move over, then the old one goes.
    CreateFirst,
    /// The old one must go first: both cannot exist at once.
    DeleteFirst,
}

/// How a name is made where the stack gives none.
#[derive(Debug, Clone, Copy)]
pub struct Naming {
    /// The attribute that holds the name.
    pub attribute: &'static str,
    /// The longest name the cloud takes, in characters.
    pub longest: usize,
}

/// Something wrong with a resource's attributes, found without a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The attribute, and the way into it: `["ingress", "0", "ports"]`. Empty: the resource as a whole.
    pub path: Vec<String>,
    /// Where the attribute is a document in a text, the way into that: `["Statement", "0", "Action", "=s3"]`, where `=s3` is
    /// the item that is this text.
    pub inside: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether it may be the consequence of another mistake: it is then told only where there is no other.
    pub maybe_follows: bool,
}

impl Problem {
    /// A problem at a dotted path such as `ingress.0.ports`.
    pub fn at(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            inside: Vec::new(),
            message: message.into(),
            help: None,
            maybe_follows: false,
        }
    }

    /// The same problem, which may follow from another mistake: a block that is looked for is broken or misspelled.
    pub fn maybe_follows(mut self) -> Self {
        self.maybe_follows = true;
        self
    }

    /// The same problem with what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What the engine knows about a kind. Everything here is pure data or a pure function.
pub struct KindSpec {
    /// The kind's name in stack files: `subnet`.
    pub name: &'static str,
    /// What it is called in sentences: `subnet`, `NAT gateway`.
    pub title: &'static str,
    /// The JSON Schema of its attributes.
    pub schema: fn() -> Value,
    /// Attributes whose change the cloud only takes by making the resource anew.
    pub replace_on: &'static [&'static str],
    /// What a replacement does first.
    pub replace_order: ReplaceOrder,
    /// Kinds whose resources cannot go while one of this kind uses them. Where one of them is made anew, and the old one
    /// goes first, the user goes before it and comes back after it.
    pub rebuilt_around: &'static [&'static str],
    /// Attributes that the cloud gives and references may name, besides the resource's own attributes. `id` is
    /// always among them.
    pub outputs: &'static [&'static str],
    /// Outputs that change when the resource is updated in place; not by its tags.
    pub outputs_changed_by_update: &'static [&'static str],
    /// Attributes that only need the resource they reference to exist, not to be ready.
    pub needs_only_existence: &'static [&'static str],
    /// Kinds of what it references, and kinds whose resources must use the same thing before: a service's target group
    /// must hang on a listener before the service comes, and until it is gone.
    pub after_users: &'static [(&'static str, &'static [&'static str])],
    /// Attributes that reference another resource, and the attribute of that one which is this one's to set from then on:
    /// a scaling target has the count of its service. `*` in a way into an attribute stands for each item of a list; of what is
    /// taken over, that part of each item alone, as long as the items are otherwise those of the stack: a rule's weights.
    pub takes_over: &'static [(&'static str, &'static str)],
    /// Ways into attributes that verbs put other values at than the stack says, and that are held then:
    /// `containers.*.image`.
    pub holdable: &'static [&'static str],
    /// Attributes that cannot be read back and therefore never count as drift.
    pub write_only: &'static [&'static str],
    /// Attributes that hold secrets: they take the value of a secret variable and nothing else, they are the only ones that
    /// take one, and they cannot be read back.
    pub secrets: &'static [&'static str],
    /// Attributes whose value is a JSON document in a string, shown as a line diff.
    pub documents: &'static [&'static str],
    /// How it is found again after a crash.
    pub identity: Identity,
    /// How it is named where the stack gives no name.
    pub naming: Option<Naming>,
    /// Attributes within which its name is unique: a group's name in its VPC. None: in the account and region.
    pub name_within: &'static [&'static str],
    /// Attributes that no two resources may share all of: a record's zone, name and type. None: its name alone tells it
    /// from others, or an id of its own.
    pub unique_by: &'static [&'static str],
    /// Attributes that force replacement and of which, where they are given, a made name bears a digest: predecessor
    /// and successor then stand side by side under names of their own.
    pub name_digests: &'static [&'static str],
    /// Whether the account has it once for all regions: the stack's region then belongs to its ownership tags.
    pub account_wide: bool,
    /// Whether it carries tags, in the attribute `tags`.
    pub taggable: bool,
    /// How many tags it takes, those that say whose it is among them.
    pub most_tags: usize,
    /// Fills defaults and puts attributes into their canonical form, so that equal things compare equal. Takes and
    /// gives desired-space attributes; also used on what the cloud returned, where keys may be missing.
    pub canonical: fn(Attributes) -> Result<Attributes, Problem>,
    /// What is wrong with these attributes, as far as that can be told offline. References may stand in them.
    pub check: fn(&Attributes) -> Vec<Problem>,
    /// Outputs that follow from the attributes, account and region alone (names, ARNs).
    pub predict: fn(&Attributes, &Scope) -> Attributes,
    /// Whether it becomes ready without being waited for, so that an apply may leave it to itself: a deployment.
    pub goes_on_by_itself: bool,
    /// Seconds that a create usually takes until the resource is ready; orders the schedule.
    pub typical_seconds: u32,
}

impl KindSpec {
    /// Whether references may name this attribute.
    pub fn has_output(&self, attribute: &str) -> bool {
        attribute == "id" || self.outputs.contains(&attribute)
    }

    /// The attributes that no two of its resources may share all of, the name first where it has one; none where only ids
    /// tell them apart.
    pub fn unique(&self) -> Vec<&'static str> {
        let name = match (self.naming, self.identity) {
            (Some(naming), _) => Some(naming.attribute),
            (None, Identity::UniqueName) if self.unique_by.is_empty() => Some("name"),
            _ => None,
        };
        match name {
            Some(name) => [name].into_iter().chain(self.name_within.iter().copied()).collect(),
            None => self.unique_by.to_vec(),
        }
    }

    /// Whether an attribute cannot be read back.
    pub fn is_write_only(&self, attribute: &str) -> bool {
        self.write_only.contains(&attribute) || self.secrets.contains(&attribute)
    }

    /// Whether the resource is only looked up.
    pub fn is_lookup(&self) -> bool {
        self.identity == Identity::Lookup
    }
}

impl std::fmt::Debug for KindSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KindSpec({})", self.name)
    }
}
