//! The graph that is measured: a ten-ary tree of `node`s, each standing on its parent, with the tags that a stack gives.

use std::collections::BTreeMap;

use cofferdam::cloud::{ADDRESS_TAG, Cloud, STACK_TAG};
use cofferdam::graph::{Address, Graph, Resource};
use cofferdam::plan::{Inputs, Mode, Observations, Plan};
use cofferdam::simulated::Simulated;
use cofferdam::state::State;
use serde_json::{Map, Value};

/// How many resources stand on each.
pub const WIDTH: usize = 10;

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// A tree of `count` resources.
pub fn graph(count: usize) -> Graph {
    graph_of(count, None)
}

/// The same with an attribute that cannot be changed in place.
pub fn graph_of(count: usize, fixed: Option<&str>) -> Graph {
    let resources = (0..count).map(|number| {
        let address = Address::new("node", &format!("n{number}"));
        let mut tags = Map::new();
        tags.insert(STACK_TAG.into(), text("tree"));
        tags.insert(ADDRESS_TAG.into(), text(address.as_str()));
        tags.insert("Project".into(), text("measurements"));
        let mut attributes = Map::new();
        attributes.insert("size".into(), Value::from(1));
        attributes.insert("tags".into(), tags.into());
        if let Some(fixed) = fixed {
            attributes.insert("fixed".into(), text(fixed));
        }
        if number > 0 {
            let parent = text(format!("${{node.n{}.id}}", (number - 1) / WIDTH));
            attributes.insert("inputs".into(), Value::Array(vec![parent]));
        }
        Resource::new(address, attributes)
    });
    match Graph::new(resources.collect(), BTreeMap::new(), |_, _| false) {
        Ok(graph) => graph,
        Err(errors) => panic!("the tree is a graph: {errors:?}"),
    }
}

/// The state of a stack that was never applied.
pub fn empty() -> State {
    State::empty("tree", None, "simulated", "123456789012", "eu-west-2")
}

/// The plan for a graph and a state.
pub fn plan(cloud: &Simulated, graph: &Graph, state: &State, observed: Option<&Observations>) -> Plan {
    planned(cloud, graph, state, observed, Mode::Apply, &[])
}

/// The plan of this mode for these addresses; none: for everything.
pub fn planned(
    cloud: &Simulated,
    graph: &Graph,
    state: &State,
    observed: Option<&Observations>,
    mode: Mode,
    targets: &[String],
) -> Plan {
    let inputs = Inputs {
        graph,
        state: Some(state),
        observed,
        specs: &|kind| cloud.spec(kind),
        scope: cloud.scope(),
        cloud: "simulated",
        inputs_digest: "",
        mode,
        targets,
        replace: &[],
        given: cofferdam::plan::Given::default(),
    };
    match cofferdam::plan::plan(&inputs) {
        Ok(plan) => plan,
        Err(errors) => panic!("the tree can be planned: {errors:?}"),
    }
}
