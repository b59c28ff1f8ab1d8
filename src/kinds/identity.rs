//! The table of identities: of every kind, how what a create call made is found again when its answer was lost.

use std::fmt::Write as _;

use super::{Actions, Registry};
use crate::cloud::{ADDRESS_TAG, ENV_TAG, STACK_TAG, TOKEN_TAG};
use crate::graph::{Identity, KindSpec};

/// What stands above the table.
const HEAD: &str = "\
# Identity after a crash

Before a create call is sent, its intent is safe in the journal: address, attributes, and a token of its own. If the process
dies before the outcome is safe too, the next run looks up what the call made, by what this table says of the kind, adopts it
or sees that it was never made, and says so in one line. It asks nothing, and makes nothing twice.

Updates and deletes need no identity: they name the resource by its id, and doing them again changes nothing.

This table is made from the code (`make schema`), and a test holds it against the code.

| kind | identity | how it is found again | looked up by |
|---|---|---|---|
";

/// The table, in Markdown.
pub fn table(registry: &Registry) -> String {
    let mut text = HEAD.to_owned();
    for spec in registry.specs() {
        let actions = registry.kind(spec.name).map(super::Kind::actions).unwrap_or_default();
        let (identity, how) = found_again(spec);
        let looked_up = if spec.is_lookup() { "–".to_owned() } else { calls(&actions) };
        let _ = writeln!(text, "| `{}` | {identity} | {how} | {looked_up} |", spec.name);
    }
    text
}

fn found_again(spec: &KindSpec) -> (&'static str, String) {
    match spec.identity {
        Identity::ClientToken => (
            "client token",
            format!(
                "the create call carries the intent's token, and is answered with the first one's resource if it is \
                     sent again; the next run looks for {}",
                mark(spec)
            ),
        ),
        Identity::TagOnCreate => (
            "tag on create",
            format!(
                "the create call itself sets the tag `{TOKEN_TAG}` to the \
                                                            intent's token; the next run looks for it"
            ),
        ),
        Identity::UniqueName => {
            let name = spec.naming.map_or("name", |naming| naming.attribute);
            let owned = match spec.taggable {
                true => format!(
                    "; it is ours only with our tags `{STACK_TAG}`, `{ENV_TAG}` and `{ADDRESS_TAG}`, which the create \
                     call sets"
                ),
                false => String::new(),
            };
            ("unique name", format!("by its `{name}`, of which there can be one{}{owned}", within(spec)))
        }
        Identity::Natural => {
            ("natural", "it is a fact about something else: making it again changes nothing".to_owned())
        }
        Identity::Lookup => ("none", "it is only read, and never made".to_owned()),
    }
}

/// What the token of a client-token call can be seen by.
fn mark(spec: &KindSpec) -> String {
    match spec.taggable {
        true => format!("the tag `{TOKEN_TAG}` or the caller's reference with the same token"),
        false => "the same token".to_owned(),
    }
}

fn within(spec: &KindSpec) -> String {
    match spec.name_within {
        [] => String::new(),
        within => format!(" in its {}", within.join(" and ")),
    }
}

/// The calls that read a kind, for a table.
fn calls(actions: &Actions) -> String {
    actions.read.iter().map(|call| format!("`{call}`")).collect::<Vec<_>>().join(", ")
}
