//! Which of the calls that a kind declares one step takes: what hangs on attributes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tags_of;
use crate::graph::Attributes;

/// Calls that only `recover` and `orphans` make, to list what carries a stack's tags.
pub(super) const ONLY_TO_RECOVER: &[&str] = &[
    "ec2:DescribeTags",
    "ecs:ListClusters",
    "ecs:ListServices",
    "ecs:ListTaskDefinitionFamilies",
    "iam:ListInstanceProfiles",
    "route53:ListHostedZones",
    "sns:ListTopics",
];

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// It is read, at a refresh or as a lookup.
    Read,
    /// It is created, finished and waited for.
    Create,
    /// It is updated and waited for.
    Update,
    /// It is deleted and waited for.
    Delete,
}

/// A step, as far as it decides which calls are sent.
#[derive(Debug, Clone, Copy)]
pub struct Taking<'a> {
    /// What it does.
    pub during: During,
    /// The attributes before it; nothing where it is created.
    pub before: &'a Attributes,
    /// The attributes after it; references may stand in them. Nothing where it is deleted.
    pub after: &'a Attributes,
    /// Of an update: the attributes that differ.
    pub changed: &'a BTreeSet<String>,
    /// How many of the kind are read with it, itself among them.
    pub together: usize,
}

impl Taking<'_> {
    /// Whether it creates.
    pub fn creates(&self) -> bool {
        self.during == During::Create
    }

    /// Whether it is an update of one of these.
    pub fn changes(&self, names: &[&str]) -> bool {
        self.during == During::Update && names.iter().any(|name| self.changed.contains(*name))
    }

    /// Whether it is an update of something else than these.
    pub fn changes_besides(&self, names: &[&str]) -> bool {
        self.during == During::Update && self.changed.iter().any(|name| !names.contains(&name.as_str()))
    }

    /// Whether something stands in this attribute: after what is made or changed, before what is deleted.
    pub fn has(&self, name: &str) -> bool {
        match self.during {
            During::Create | During::Update => is_set(self.after, name),
            During::Read | During::Delete => is_set(self.before, name),
        }
    }

    /// Whether an attribute is set by this, to something.
    pub fn gains(&self, name: &str) -> bool {
        (self.creates() || self.changes(&[name])) && is_set(self.after, name)
    }

    /// Whether an attribute in which something stood is set to something else or nothing, or goes with all the rest.
    pub fn loses(&self, name: &str) -> bool {
        (self.during == During::Delete || self.changes(&[name])) && is_set(self.before, name)
    }

    /// Whether an attribute of several items gets one that it had not; or, by name, one that was another.
    pub fn adds(&self, name: &str) -> bool {
        self.gains(name) && has_more(self.after.get(name), self.before.get(name), false)
    }

    /// Whether an attribute of several items loses one; by name, where the name goes.
    pub fn removes(&self, name: &str) -> bool {
        self.loses(name) && has_more(self.before.get(name), self.after.get(name), true)
    }

    /// What is so of each kind: a refresh lists nothing by tags, and an update sets and removes tags only where some are to be set or removed.
    pub fn takes(&self, call: &str) -> bool {
        if self.during == During::Read && ONLY_TO_RECOVER.contains(&call) {
            return false;
        }
        let name = call.split(':').next_back().unwrap_or_default();
        let is_of_tags = name.contains("Tag") || name.starts_with("Untag");
        if self.during != During::Update || !is_of_tags || name.starts_with("List") || name.starts_with("Describe") {
            return true;
        }
        let (before, after) = (tags_of(self.before), tags_of(self.after));
        let sets = after.iter().any(|(key, value)| before.get(key) != Some(value));
        let removes = before.keys().any(|key| !after.contains_key(key));
        match () {
            () if !self.changed.contains("tags") => false,
            () if name.starts_with("Change") => true,
            () if ["Untag", "Remove", "Delete"].iter().any(|verb| name.starts_with(verb)) => removes,
            () => sets,
        }
    }
}

fn is_set(attributes: &Attributes, name: &str) -> bool {
    match attributes.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Whether the first has something that the second has not: items, or names, whatever stands under them where only those
/// count.
fn has_more(these: Option<&Value>, those: Option<&Value>, only_names: bool) -> bool {
    match (these, those) {
        (Some(Value::Array(these)), Some(Value::Array(those))) => these.iter().any(|item| !those.contains(item)),
        (Some(Value::Object(these)), Some(Value::Object(those))) => {
            let is_new = |(name, value): (&String, &Value)| match those.get(name) {
                None => true,
                Some(other) => !only_names && other != value,
            };
            these.iter().any(is_new)
        }
        (these, those) => these != those,
    }
}
