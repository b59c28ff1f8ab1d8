//! Which service is meant.

use crate::graph::Address;
use crate::state::{Entry, State};
use crate::words::nearest;

use super::{family_of, tail};

/// A service that a state knows.
#[derive(Debug, Clone, Copy)]
pub struct Service<'s> {
    /// Its address.
    pub address: &'s Address,
    /// What the state says of it.
    pub entry: &'s Entry,
}

impl<'s> Service<'s> {
    /// Its cluster, by name.
    pub fn cluster(&self) -> &'s str {
        self.entry.id.split('/').nth(1).unwrap_or_default()
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &'s str {
        tail(&self.entry.id)
    }

    /// The revision that it was last set to, by ARN.
    pub fn revision(&self) -> &'s str {
        self.entry.attributes.get("task_definition").and_then(|arn| arn.as_str()).unwrap_or_default()
    }

    /// The family of its task definition.
    pub fn family(&self) -> &'s str {
        family_of(self.revision())
    }
}

/// Nothing, or more than one thing, is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// What was given.
    pub named: String,
    /// What was looked for: `service`.
    pub what: &'static str,
    /// Those that are meant by it, where it is more than one.
    pub several: Vec<String>,
    /// Those that there are.
    pub known: Vec<String>,
    /// Whether the block that is named stands, and is started by the clock.
    pub is_scheduled: bool,
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { named, what, several, .. } = self;
        match several.as_slice() {
            [] if self.is_scheduled => {
                write!(
                    f,
                    "`{named}` is started by the clock: its tasks are run at their times, and no {what} keeps them up"
                )
            }
            [] => write!(f, "the state holds no {what} `{named}`"),
            several => write!(f, "`{named}` may mean {}", several.join(" or ")),
        }
    }
}

impl NotFound {
    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        match (self.several.is_empty(), self.known.as_slice()) {
            (false, _) => "give the whole address".into(),
            _ if self.is_scheduled => "change it in the stack and apply: the next task is as it says then".into(),
            (true, []) => format!("it holds no {} at all: apply the stack first", self.what),
            (true, known) => match near(&self.named, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there {} {}", if known.len() == 1 { "is" } else { "are" }, known.join(", ")),
            },
        }
    }
}

/// The address that is most like a name, or whose own name is.
fn near<'k>(named: &str, known: &'k [String]) -> Option<&'k str> {
    let own = |address: &'k String| address.rsplit('.').next().unwrap_or(address);
    let whole = || nearest(named, known.iter().map(String::as_str));
    let by_name = nearest(named, known.iter().map(own));
    by_name.and_then(|name| known.iter().find(|address| own(address) == name)).map(String::as_str).or_else(whole)
}

/// The service that is meant by an address, by a block that it stands below, or by a name that only one has.
///
/// # Errors
/// Where that is none, or more than one.
pub fn find<'s>(state: &'s State, named: &str) -> Result<Service<'s>, NotFound> {
    let (address, entry) = meant(state, "ecs_service", "service", named)?;
    Ok(Service { address, entry })
}

/// Every service of a state.
pub fn all(state: &State) -> Vec<Service<'_>> {
    let own = state.resources.iter().filter(|(address, entry)| address.kind() == "ecs_service" && !entry.read_only);
    own.map(|(address, entry)| Service { address, entry }).collect()
}

/// The task definition that is meant, in the same way.
///
/// # Errors
/// Where that is none, or more than one.
pub fn definition<'s>(state: &'s State, named: &str) -> Result<(&'s Address, &'s Entry), NotFound> {
    meant(state, "task_definition", "task definition", named)
}

fn meant<'s>(
    state: &'s State,
    kind: &str,
    what: &'static str,
    named: &str,
) -> Result<(&'s Address, &'s Entry), NotFound> {
    let all: Vec<(&Address, &Entry)> =
        state.resources.iter().filter(|(address, entry)| address.kind() == kind && !entry.read_only).collect();
    let name_of_block = |address: &Address| {
        let block = address.construct().and_then(|block| block.split_once('.'));
        block.is_some_and(|(_, name)| name == named)
    };
    type Way<'a> = &'a dyn Fn(&Address, &Entry) -> bool;
    let ways: [Way<'_>; 3] = [
        &|address, _| address.as_str() == named,
        &|address, _| address.construct() == Some(named),
        &|address, entry| address.name() == named || name_of_block(address) || tail(&entry.id) == named,
    ];
    let found = ways.iter().find_map(|way| {
        let found: Vec<_> = all.iter().filter(|(address, entry)| way(address, entry)).copied().collect();
        (!found.is_empty()).then_some(found)
    });
    let is_scheduled = || {
        let clocks = state.resources.keys().filter(|address| address.kind() == "schedule");
        kind == "ecs_service"
            && clocks.into_iter().any(|address| address.construct() == Some(named) || name_of_block(address))
    };
    let names = |of: &[(&Address, &Entry)]| of.iter().map(|(address, _)| address.to_string()).collect();
    match found.as_deref() {
        Some([one]) => Ok(*one),
        several => Err(NotFound {
            named: named.to_owned(),
            what,
            several: names(several.unwrap_or_default()),
            known: names(&all),
            is_scheduled: several.is_none() && is_scheduled(),
        }),
    }
}

/// The task definition that a service runs revisions of, where it is one of the state's own.
pub fn definition_of<'s>(state: &'s State, service: &Service<'_>) -> Option<(&'s Address, &'s Entry)> {
    let family = service.family();
    state.resources.iter().find(|(address, entry)| {
        address.kind() == "task_definition" && !entry.read_only && !family.is_empty() && entry.id == family
    })
}

/// What scales a service, where something of the state does.
pub fn scaling_target_of<'s>(state: &'s State, service: &Service<'_>) -> Option<(&'s Address, &'s Entry)> {
    let is_of = |entry: &Entry| entry.attributes.get("service").is_some_and(|arn| *arn == *service.entry.id);
    state.resources.iter().find(|(address, entry)| address.kind() == "scaling_target" && is_of(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(addresses: &[(&str, &str)]) -> State {
        let mut state = State::empty("web", None, "local", "1", "eu-west-2");
        for (address, name) in addresses {
            let entry = json!({ "id": format!("arn:aws:ecs:eu-west-2:1:service/main/{name}"), "attributes": {} });
            let entry = serde_json::from_value(entry).unwrap();
            state.resources.insert(Address::parse(address).unwrap(), entry);
        }
        state
    }

    #[test]
    fn a_service_is_meant_by_address_block_and_name() {
        let state = state(&[
            ("ecs_service.api", "t-api"),
            ("service.web/ecs_service.web", "t-web"),
            ("service.jobs/ecs_service.worker", "t-worker"),
            ("service.jobs/ecs_service.clock", "t-clock"),
            ("ecs_service.clock", "other"),
        ]);
        let told = |named: &str| match find(&state, named) {
            Ok(service) => service.address.to_string(),
            Err(error) => format!("{error}; {}", error.remedy()),
        };
        let asked =
            ["ecs_service.api", "api", "service.web", "web", "t-clock", "worker", "service.jobs", "clock", "wep", "x"];
        let answers: Vec<String> = asked.iter().map(|named| format!("{named}: {}", told(named))).collect();
        insta::assert_snapshot!(answers.join("\n"));
    }
}
