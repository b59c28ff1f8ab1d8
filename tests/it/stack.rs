//! Small stacks for the tests of planner and engine, written as JSON.

use std::collections::BTreeMap;

use cofferdam::cloud::{Cloud, Observed};
use cofferdam::graph::{Address, Attributes, Graph, Resource};
use cofferdam::plan::{Given, Inputs, LookedUp, Mode, Observations, Plan, PlanError, Seen};
use cofferdam::simulated::Simulated;
use cofferdam::state::{Entry, State};
use serde_json::{Value, json};

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn map(value: Value) -> Attributes {
    match value {
        Value::Object(map) => map,
        Value::Null => Attributes::new(),
        other => panic!("{other} is no table"),
    }
}

fn canonical(cloud: &Simulated, kind: &str, attributes: Attributes) -> Attributes {
    let spec = cloud.spec(kind).unwrap_or_else(|| panic!("there is no kind {kind}"));
    (spec.canonical)(attributes).unwrap_or_else(|p| panic!("{kind}: {}", p.message))
}

/// A graph from `{"node.a": {attributes}}`. `depends_on`, `protect`, `existing` and `made_name` among the attributes are the
/// resource's own; what stands under `outputs` are the stack's outputs.
pub fn graph(cloud: &Simulated, stack: Value) -> Graph {
    let mut outputs = BTreeMap::new();
    let mut resources = Vec::new();
    for (name, attributes) in map(stack) {
        let mut attributes = map(attributes);
        if name == "outputs" {
            outputs.extend(attributes);
            continue;
        }
        let address = address(&name);
        let list = |value: Value| serde_json::from_value::<Vec<Address>>(value).unwrap();
        let depends_on = attributes.remove("depends_on").map(list).unwrap_or_default();
        let protect = attributes.remove("protect").is_some_and(|p| p == true);
        let existing = attributes.remove("existing").map(|id| id.as_str().unwrap().to_owned());
        let made_name = attributes.remove("made_name").is_some_and(|made| made == true);
        let attributes = if existing.is_some() { attributes } else { canonical(cloud, address.kind(), attributes) };
        resources.push(Resource { depends_on, protect, existing, made_name, ..Resource::new(address, attributes) });
    }
    Graph::new(resources, outputs, |kind, attribute| {
        cloud.spec(kind).is_some_and(|spec| spec.needs_only_existence.contains(&attribute))
    })
    .unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// A state from `{"node.a": {"id": …, "attributes": …, …}}`; the id is `ID-of-ADDRESS` where none is given.
pub fn state(cloud: &Simulated, resources: Value) -> State {
    let mut state = State::empty("simulated", None, "local", "123456789012", "eu-west-2");
    state.lineage = "lineage".into();
    state.serial = 7;
    for (name, mut entry) in map(resources) {
        if name == "outputs" {
            state.outputs = map(entry).into_iter().collect();
            continue;
        }
        if name == "held" {
            state.held = serde_json::from_value(entry).unwrap();
            continue;
        }
        let (deposed, name) = match name.strip_prefix("deposed ") {
            Some(name) => (true, name.to_owned()),
            None => (false, name),
        };
        let address = address(&name);
        entry["attributes"] = Value::Object(canonical(cloud, address.kind(), map(entry["attributes"].clone())));
        if entry["id"].is_null() {
            entry["id"] = json!(format!("id-of-{name}"));
        }
        let entry: Entry = serde_json::from_value(entry).unwrap();
        if deposed {
            state.deposed.push(cofferdam::state::Deposed { address, entry });
        } else {
            state.resources.insert(address, entry);
        }
    }
    state
}

/// What the cloud says, where it differs from the state: attributes laid over the state's, or null for what is gone. What
/// was deposed goes by address and id: `node.a old-a`.
/// `reads` are what is only read.
pub fn observations(state: &State, differences: Value) -> Observations {
    let mut differences = map(differences);
    let mut seen = |name: &str, entry: &Entry| match differences.remove(name) {
        Some(Value::Null) => Seen::Gone,
        over => {
            let mut attributes = entry.attributes.clone();
            attributes.extend(map(over.unwrap_or_default()));
            attributes.retain(|_, value| !value.is_null());
            Seen::Present(Observed { id: entry.id.clone(), attributes, outputs: entry.outputs.clone() })
        }
    };
    let mut out = Observations::default();
    for old in &state.deposed {
        let name = format!("{} {}", old.address, old.entry.id);
        out.deposed.insert((old.address.clone(), old.entry.id.clone()), seen(&name, &old.entry));
    }
    for (address, entry) in state.resources.iter().filter(|(_, entry)| !entry.read_only) {
        out.resources.insert(address.clone(), seen(address.as_str(), entry));
    }
    for (name, read) in map(differences.remove("reads").unwrap_or_default()) {
        let observed = Observed {
            id: read["id"].as_str().unwrap().to_owned(),
            attributes: map(read["attributes"].clone()),
            outputs: map(read["outputs"].clone()),
        };
        // Looked up by what the state knew, or by what it is.
        let by = if read["by"].is_null() { observed.attributes.clone() } else { map(read["by"].clone()) };
        out.reads.insert(address(&name), LookedUp { by, observed });
    }
    assert!(differences.is_empty(), "differences of what is not in the state: {differences:?}");
    out
}

/// What a plan is asked for besides the usual.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub mode: Mode,
    pub targets: &'a [&'a str],
    pub replace: &'a [&'a str],
    pub reset: bool,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { mode: Mode::Apply, targets: &[], replace: &[], reset: false }
    }
}

pub fn plan(
    cloud: &dyn Cloud,
    graph: &Graph,
    state: Option<&State>,
    observed: Option<&Observations>,
    ask: Ask<'_>,
) -> Result<Plan, Vec<PlanError>> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
    cofferdam::plan::plan(&Inputs {
        graph,
        state,
        observed,
        specs: &|kind| cloud.spec(kind),
        scope: cloud.scope(),
        cloud: "local",
        inputs_digest: "",
        mode: ask.mode,
        targets: &owned(ask.targets),
        replace: &owned(ask.replace),
        given: Given { reset: ask.reset, ..Given::default() },
    })
}
