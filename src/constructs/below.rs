//! What constructs share: building resources below an address, and references to them.

use std::collections::BTreeSet;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Input;
use crate::graph::{Address, Attributes, Problem, Reference, Resource, Scope, template};
use crate::kinds::Tags;

/// Kinds below constructs that carry no tags.
const UNTAGGED: [&str; 5] = ["ami", "cluster_capacity", "scaling_policy", "scaling_target", "schedule"];

/// The name of what a construct has one of.
pub const MAIN: &str = "main";

/// The resources below one construct.
pub struct Below<'a> {
    construct: &'a Address,
    tags: &'a Tags,
    scope: &'a Scope,
    /// What was added, in order.
    pub resources: Vec<Resource>,
}

impl<'a> Below<'a> {
    /// Nothing yet, below this construct; its tags go to each resource that takes some.
    pub fn new(input: &Input<'a>, tags: &'a Tags) -> Self {
        Self { construct: input.address, tags, scope: input.scope, resources: Vec::new() }
    }

    /// Adds a resource of these attributes; null ones are left out.
    pub fn add(&mut self, kind: &str, name: &str, attributes: Value) -> Address {
        self.add_after(kind, name, attributes, Vec::new())
    }

    /// Adds a resource that waits for others of which it references nothing.
    pub fn add_after(&mut self, kind: &str, name: &str, attributes: Value, depends_on: Vec<Address>) -> Address {
        let address = self.construct.child(kind, name);
        self.put(Resource { depends_on, ..Resource::new(address, given(attributes)) })
    }

    /// Adds a resource whose name, one of the attributes, was made for it.
    pub fn add_named(&mut self, kind: &str, name: &str, attributes: Value) -> Address {
        self.add_named_after(kind, name, attributes, Vec::new())
    }

    /// The same, of one that waits for others of which it references nothing.
    pub fn add_named_after(&mut self, kind: &str, name: &str, attributes: Value, depends_on: Vec<Address>) -> Address {
        let address = self.construct.child(kind, name);
        self.put(Resource { depends_on, made_name: true, ..Resource::new(address, given(attributes)) })
    }

    /// Adds something that exists already, by its id.
    pub fn add_existing(&mut self, kind: &str, name: &str, id: &str) -> Address {
        let address = self.construct.child(kind, name);
        let resource = Resource { existing: Some(id.to_owned()), ..Resource::new(address.clone(), Attributes::new()) };
        self.resources.push(resource);
        address
    }

    fn put(&mut self, mut resource: Resource) -> Address {
        if !UNTAGGED.contains(&resource.address.kind()) {
            let mut more = self.tags.clone();
            // What there is one of is named after the construct alone: `shop-main`, not `shop-main-main`.
            if resource.address.name() == MAIN {
                let name = format!("{}-{}", self.scope.prefix(), self.construct.slug());
                more.entry("Name".to_owned()).or_insert(name);
            }
            for (key, value) in more {
                let tags = resource.attributes.entry("tags").or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(tags) = tags {
                    tags.entry(key).or_insert_with(|| Value::String(value));
                }
            }
        }
        let address = resource.address.clone();
        self.resources.push(resource);
        address
    }
}

/// The attributes of an object, without those that are null.
pub fn given(attributes: Value) -> Attributes {
    match attributes {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Attributes::new(),
    }
}

/// A reference to an attribute of a resource, as a template: `${vpc.main.id}`.
pub fn reference(address: &Address, attribute: &str) -> String {
    format!("${{{address}.{attribute}}}")
}

/// References to one attribute of several resources.
pub fn references<'r>(addresses: impl IntoIterator<Item = &'r Address>, attribute: &str) -> Vec<String> {
    addresses.into_iter().map(|address| reference(address, attribute)).collect()
}

/// The attributes of a construct, typed.
///
/// # Errors
/// What does not fit, as a problem of the whole block.
pub fn typed<T: DeserializeOwned>(input: &Input<'_>) -> Result<T, Vec<Problem>> {
    serde_json::from_value(Value::Object(input.attributes.clone())).map_err(|e| vec![Problem::at("", e.to_string())])
}

/// Whether a string holds a reference, so that its value cannot be judged yet.
pub fn is_unknown(text: &str) -> bool {
    !template::references(text).is_empty()
}

/// A value that names a resource of a kind: a bare name of a declared one becomes a reference to its attribute; every
/// other text (a reference, a literal id) stays.
pub fn named(input: &Input<'_>, kind: &str, attribute: &str, text: &str) -> String {
    match Address::parse(&format!("{kind}.{text}")) {
        Ok(address) if input.declared.contains(&address) => reference(&address, attribute),
        _ => text.to_owned(),
    }
}

/// The service principal of EC2 in a partition.
pub fn ec2_principal(partition: &str) -> &'static str {
    if partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" }
}

/// A list of names, or one reference to a list: `"${network.main.data_subnet_ids}"`.
pub fn list_or_reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(vec![text])),
        list => serde_json::from_value(list).map(Some).map_err(de::Error::custom),
    }
}

/// A set of names, or one reference to a list.
pub fn set_or_reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    Ok(list_or_reference(deserializer)?.into_iter().flatten().collect())
}

/// The ARN of a managed policy: of the stack, or AWS's own by its name.
pub fn managed_policy(input: &Input<'_>, name: &str) -> String {
    let known = named(input, "policy", "arn", name);
    if known != name || name.starts_with("arn:") || name.contains("${") {
        return known;
    }
    format!("arn:{}:iam::aws:policy/{name}", input.scope.partition)
}

/// The ARN of the cluster: an output of a declared one, else made of the name, with any account.
pub fn cluster_arn(cluster: &str, scope: &Scope) -> String {
    match template::references(cluster).as_slice() {
        [Reference { target, attribute }] if attribute == "name" && target.starts_with("cluster.") => {
            format!("${{{target}.arn}}")
        }
        _ => format!("arn:{}:ecs:{}:*:cluster/{cluster}", scope.partition, scope.region),
    }
}

/// The operator that an ARN with or without wildcard takes in a condition.
pub fn condition_operator(arn: &str) -> &'static str {
    if arn.contains('*') { "ArnLike" } else { "ArnEquals" }
}
