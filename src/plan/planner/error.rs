//! Why there is no plan, and what to do then.

use super::list;
use crate::graph::{Address, Problem};

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Something that is protected would be deleted or replaced.
    #[error("{address} is protected, and this would {what} it")]
    Protected {
        /// The resource.
        address: Address,
        /// `delete` or `replace`.
        what: &'static str,
    },
    /// Something targeted would be deleted before it is made anew, and what is not targeted stands on it.
    #[error("{address} would be deleted before it is made anew, and {} on it", stand(.users))]
    Untargeted {
        /// The resource.
        address: Address,
        /// What stands on it.
        users: Vec<Address>,
    },
    /// What would be made has the name of something else in the state: the cloud has one of that name.
    #[error("{address} would be what {other} in the state is already: the {same}")]
    Taken {
        /// What would be made.
        address: Address,
        /// What has the name.
        other: Address,
        /// What there is one of: `role named `web``.
        same: String,
        /// Where the stack no longer has the other one: the move that is probably meant.
        moved: Option<(String, String)>,
    },
    /// What something switched last would be set back to where nothing answers any more.
    #[error("{address} would send requests to {}, and {owner} switched them to {}", list_of(.to), list_of(.from))]
    SwitchedAway {
        /// What is switched: a rule.
        address: Address,
        /// What switched it.
        owner: Address,
        /// Where the stack sends requests from now on.
        to: Vec<String>,
        /// Where they go now.
        from: Vec<String>,
    },
    /// A `--target` or `--replace` names nothing.
    #[error("`{name}` is neither in the stack nor in the state")]
    UnknownTarget {
        /// What was given.
        name: String,
        /// The address most like it.
        near: Option<String>,
    },
    /// The state holds a kind that this version does not know.
    #[error("{address}: this version knows no kind `{}`", address.kind())]
    UnknownKind {
        /// The resource.
        address: Address,
    },
    /// An attribute is wrong now that its references are known.
    #[error("{address}: {}", problem.message)]
    Attribute {
        /// The resource.
        address: Address,
        /// What is wrong.
        problem: Problem,
    },
}

impl PlanError {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::Protected { .. } => {
                "if it shall really go, set protect = false on it (in its block, put back if need be) and apply that first".into()
            }
            Self::Untargeted { users, .. } => {
                let options: Vec<String> = users.iter().map(|user| format!("--target {user}")).collect();
                format!("add {}, or leave --target out", options.join(" "))
            }
            Self::Taken { moved: Some((from, to)), .. } => format!(
                "if it only has another address now, say so at the top of the stack: \
                 moved = [{{ from = \"{from}\", to = \"{to}\" }}] (or with `cofferdam state mv STACK {from} {to}`); \
                 otherwise give it another name"
            ),
            Self::Taken { other, .. } => {
                format!("give one of them another name; or change or remove {other} first, in an apply of its own")
            }
            Self::SwitchedAway { to, .. } => format!(
                "deploy once more before, as blue/green as it is (`cofferdam deploy`, or an apply that leaves the strategy): \
                 that switches them to {}; then change it",
                list_of(to)
            ),
            Self::UnknownTarget { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownTarget { near: None, .. } => {
                "`cofferdam state list STACK` and `cofferdam graph STACK` list what there is".into()
            }
            Self::UnknownKind { .. } => "use the version of cofferdam that wrote the state, or a newer one".into(),
            Self::Attribute { problem, .. } => problem.help.clone().unwrap_or_else(|| "change the stack".into()),
        }
    }
}

fn list_of(names: &[String]) -> String {
    list(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn stand(users: &[Address]) -> String {
    let names: Vec<&str> = users.iter().map(Address::as_str).collect();
    format!(
        "{}, which {} not targeted, stand{}",
        list(&names),
        if users.len() == 1 { "is" } else { "are" },
        if users.len() == 1 { "s" } else { "" }
    )
}
