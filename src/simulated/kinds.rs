//! Kinds that only the simulated cloud has: small, and between them with every trait that the engine tells apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::graph::{Attributes, Identity, KindSpec, Naming, ReplaceOrder, Scope};
use crate::kinds::{Tags, spec, text};

/// A thing with inputs. Found again by tag, made anew with the new one first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Node {
    /// Changed in place.
    #[serde(default = "one")]
    size: u64,
    /// Not to be changed in place.
    #[serde(default)]
    fixed: Option<String>,
    /// Ids and other values of what it stands on; it must be ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    /// Ids of what it stands beside: they need only exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beside: Vec<String>,
    /// Never read back.
    #[serde(default)]
    secret: Option<String>,
    /// Tags.
    #[serde(default)]
    tags: Tags,
}

fn one() -> u64 {
    1
}

/// A thing of which there is one of a name, so that the old one goes before the new one comes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Site {
    /// Its name, unique in the account.
    name: String,
    /// Not to be changed in place.
    #[serde(default)]
    fixed: Option<String>,
    /// Ids of what it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    /// Tags.
    #[serde(default)]
    tags: Tags,
}

/// Something that is looked up by its name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Catalog {
    /// Its name.
    name: String,
}

/// The specifications of `node`, `site` and `catalog`.
pub(super) fn specs() -> Vec<KindSpec> {
    vec![
        KindSpec {
            replace_on: &["fixed"],
            replace_order: ReplaceOrder::CreateFirst,
            outputs: &["serial"],
            outputs_changed_by_update: &["serial"],
            needs_only_existence: &["beside"],
            write_only: &["secret"],
            typical_seconds: 1,
            ..spec::<Node>("node", "node")
        },
        KindSpec {
            replace_on: &["name", "fixed"],
            outputs: &["arn"],
            identity: Identity::UniqueName,
            naming: Some(Naming { attribute: "name", longest: 32 }),
            predict: |attributes, scope| {
                let mut outputs = Attributes::new();
                outputs.insert("arn".into(), site_arn(text(attributes, "name"), scope).into());
                outputs
            },
            ..spec::<Site>("site", "site")
        },
        KindSpec {
            outputs: &["value"],
            identity: Identity::Lookup,
            taggable: false,
            ..spec::<Catalog>("catalog", "catalog entry")
        },
    ]
}

fn site_arn(name: &str, scope: &Scope) -> String {
    format!("arn:{}:simulated:{}::site/{name}", scope.partition, scope.region)
}

/// The outputs of a resource of these kinds, or of any other: what can be foreseen, and made-up values for the rest.
/// `revision` counts the updates.
pub(super) fn outputs(spec: &KindSpec, id: &str, attributes: &Attributes, revision: u64, scope: &Scope) -> Attributes {
    let mut out = (spec.predict)(attributes, scope);
    out.insert("id".into(), id.into());
    for name in spec.outputs {
        if let Some(value) = super::aws::output(spec.name, name, &scope.region) {
            out.insert((*name).into(), value);
        }
    }
    for name in spec.outputs.iter().filter(|name| **name != "id") {
        let value = || match *name {
            "serial" => json!(revision.to_string()),
            _ if spec.outputs_changed_by_update.contains(name) => json!(format!("{name}-{revision}-of-{id}")),
            _ => json!(format!("{name}-of-{id}")),
        };
        out.entry(*name).or_insert_with(value);
    }
    out
}
