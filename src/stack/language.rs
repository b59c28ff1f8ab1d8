//! Which blocks the language has: the kinds and the constructs, with their schemas.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::constructs::Construct;
use crate::graph::KindSpec;
use crate::kinds::Registry;

/// Keys that every block of a kind may carry besides its attributes.
pub const META: [&str; 3] = ["depends_on", "existing", "protect"];

/// One kind of block.
pub struct BlockKind<'a> {
    /// What it is.
    pub what: What<'a>,
    /// The JSON Schema of its attributes.
    pub schema: Value,
}

/// A kind of resource, or a construct.
#[derive(Clone, Copy)]
pub enum What<'a> {
    /// A resource.
    Kind(&'a KindSpec),
    /// A block that expands into resources.
    Construct(&'a dyn Construct),
}

impl BlockKind<'_> {
    /// Keys that a block takes besides its attributes, where its schema has no such attribute itself.
    pub fn meta(&self) -> Vec<&'static str> {
        let own = |key: &&str| self.schema.pointer("/properties").is_some_and(|p| p.get(*key).is_some());
        let is_construct = matches!(self.what, What::Construct(_));
        META.into_iter().filter(|key| !own(key)).filter(|key| !is_construct || *key != "existing").collect()
    }
}

/// Every kind of block, by name.
pub struct Language<'a> {
    blocks: BTreeMap<&'a str, BlockKind<'a>>,
}

impl<'a> Language<'a> {
    /// The language of these kinds and constructs.
    pub fn new(
        specs: impl IntoIterator<Item = &'a KindSpec>,
        constructs: impl IntoIterator<Item = &'a dyn Construct>,
    ) -> Self {
        let kinds =
            specs.into_iter().map(|spec| (spec.name, BlockKind { what: What::Kind(spec), schema: (spec.schema)() }));
        let constructs = constructs.into_iter().map(|construct| {
            (construct.name(), BlockKind { what: What::Construct(construct), schema: construct.schema() })
        });
        Self { blocks: kinds.chain(constructs).collect() }
    }

    /// The language of all kinds and these constructs.
    pub fn of(registry: &'a Registry, constructs: &'a [Box<dyn Construct>]) -> Self {
        Self::new(registry.specs(), constructs.iter().map(AsRef::as_ref))
    }

    /// A kind of block.
    pub fn block(&self, name: &str) -> Option<&BlockKind<'a>> {
        self.blocks.get(name)
    }

    /// A kind of resource.
    pub fn spec(&self, name: &str) -> Option<&'a KindSpec> {
        match self.blocks.get(name)?.what {
            What::Kind(spec) => Some(spec),
            What::Construct(_) => None,
        }
    }

    /// Every kind of block, by name.
    pub fn blocks(&self) -> impl Iterator<Item = (&'a str, &BlockKind<'a>)> {
        self.blocks.iter().map(|(name, block)| (*name, block))
    }

    /// The names of all kinds of blocks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.keys().copied()
    }
}

/// The schema of what stands at the top of a stack, blocks aside.
pub fn top_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name", "region"],
        "properties": {
            "name": {
                "type": "string",
                "description": "The stack's name, with which names in the cloud begin: lower-case letters, digits and \
                                `-`, at most 32.",
                "pattern": "^[a-z][a-z0-9-]{0,31}$"
            },
            "region": { "type": "string", "description": "The AWS region: `\"eu-west-2\"`." },
            "description": { "type": "string", "description": "What the stack is for." },
            "vars": {
                "type": "object",
                "description": "Variables: `name = default`, or `name = { description, default, type }`; used as \
                                `${vars.name}`, set by `--var name=value` or `COFFERDAM_VAR_name`. A secret is \
                                `name = { secret = true }`: its value comes from `COFFERDAM_VAR_name`, or from a `file`."
            },
            "tags": {
                "type": "object",
                "description": "Tags that every resource gets.",
                "additionalProperties": { "type": ["string", "integer", "number", "boolean"] }
            },
            "env": { "type": "object", "description": "Environments: `[env.staging]` holds what differs for one." },
            "outputs": { "type": "object", "description": "Values to show and to keep for other stacks." },
            "state": {
                "type": "object",
                "description": "Where the state is kept, for a cloud that is not the local one; in a directory beside `stacks/` \
                                unless told otherwise.",
                "properties": {
                    "url": {
                        "type": "string",
                        "description": "In a bucket, for teams: `\"s3://bucket/prefix\"`. It is locked while somebody writes."
                    },
                    "encrypt": {
                        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                        "description": "To whom everything written is encrypted: `[\"age1…\"]`, recipients of \
                                        [age](https://age-encryption.org), of whom one has the identity file that \
                                        `COFFERDAM_STATE_IDENTITY` names; or `\"passphrase\"`, which \
                                        `COFFERDAM_STATE_PASSPHRASE` holds."
                    }
                },
                "additionalProperties": false
            },
            "guards": {
                "type": "object",
                "description": "What is refused because it is most likely a mistake.",
                "properties": {
                    "accounts": {
                        "type": "array",
                        "items": { "type": "string", "pattern": "^[0-9]{12}$" },
                        "description": "The accounts that the stack may stand in: `[\"123456789012\"]`."
                    },
                    "regions": {
                        "type": "array",
                        "items": { "type": "string" },
                        "description": "The regions that the stack may stand in, in whatever environment."
                    },
                    "max_delete_percent": {
                        "type": "integer", "minimum": 0, "maximum": 100, "default": 50,
                        "description": "How much of the stack an apply may delete, beyond a handful of resources; \
                                        `--allow-deletes` lets more through. `destroy` is not meant."
                    }
                },
                "additionalProperties": false
            },
            "moved": {
                "type": "array",
                "description": "Resources that have another address now, so that they are not made anew.",
                "items": {
                    "type": "object",
                    "required": ["from", "to"],
                    "properties": {
                        "from": { "type": "string", "description": "The address it had." },
                        "to": { "type": "string", "description": "The address it has." }
                    },
                    "additionalProperties": false
                }
            }
        }
    })
}
