//! The resource graph: what a front end produces and the planner reads. Pure; knows no file and no cloud.

mod address;
mod names;
mod spec;
pub mod template;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value;

pub use address::{Address, BadAddress};
pub use names::Names;
pub use spec::{Attributes, Identity, KindSpec, Naming, Problem, ReplaceOrder, Scope};
pub use template::Reference;

/// One thing that shall exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its address in the stack.
    pub address: Address,
    /// Its attributes, in the desired space (see [`template`]), tags merged and name filled in.
    pub attributes: Attributes,
    /// Addresses it waits for although it references nothing of them.
    pub depends_on: Vec<Address>,
    /// Whether plans that delete or replace it are refused.
    pub protect: bool,
    /// The id of something that exists already: it is read and referenced, never changed or deleted.
    pub existing: Option<String>,
    /// Whether its name was made for it, since the stack gives none: what exists keeps the name that it has.
    pub made_name: bool,
}

impl Resource {
    /// A resource with nothing special about it.
    pub fn new(address: Address, attributes: Attributes) -> Self {
        Self { address, attributes, depends_on: Vec::new(), protect: false, existing: None, made_name: false }
    }
}

/// What a dependent needs of the resource it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Its id: it must exist.
    Existence,
    /// It must be ready for use.
    Readiness,
}

/// Why resources make no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two resources have one address.
    #[error("`{0}` is declared twice")]
    Duplicate(Address),
    /// A reference or `depends_on` names nothing in the graph.
    #[error("`{from}` references `{to}`, which is not in the stack")]
    Missing {
        /// The resource that references.
        from: Address,
        /// The missing target.
        to: String,
    },
    /// Resources that depend on each other, in order; the first is also the end.
    #[error("dependency cycle: {}", cycle_text(.0))]
    Cycle(Vec<Address>),
}

fn cycle_text(cycle: &[Address]) -> String {
    let mut names: Vec<&str> = cycle.iter().map(Address::as_str).collect();
    names.extend(cycle.first().map(Address::as_str));
    names.join(" → ")
}

/// Resources and what depends on what. Edges run from a resource to its dependents.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    resources: Vec<Resource>,
    index: HashMap<Address, NodeIndex>,
    edges: DiGraph<(), Need>,
    order: Vec<NodeIndex>,
    /// The stack's outputs, in the desired space.
    pub outputs: BTreeMap<String, Value>,
}

impl Graph {
    /// A graph of these resources.
    ///
    /// # Errors
    /// Every duplicate, missing target and cycle there is.
    pub fn new(
        resources: Vec<Resource>,
        outputs: BTreeMap<String, Value>,
        needs_only_existence: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, Vec<GraphError>> {
        let mut errors = Vec::new();
        let mut edges = DiGraph::with_capacity(resources.len(), resources.len() * 2);
        let mut index = HashMap::with_capacity(resources.len());
        for resource in &resources {
            let node = edges.add_node(());
            if index.insert(resource.address.clone(), node).is_some() {
                errors.push(GraphError::Duplicate(resource.address.clone()));
            }
        }
        for (position, resource) in resources.iter().enumerate() {
            let to = NodeIndex::new(position);
            let mut needs: BTreeMap<NodeIndex, Need> = BTreeMap::new();
            let mut need = |target: &str, how: Need| match index.get(target) {
                Some(&from) => {
                    let known = needs.entry(from).or_insert(how);
                    *known = how.max(*known);
                }
                None => errors.push(GraphError::Missing { from: resource.address.clone(), to: target.to_owned() }),
            };
            for (attribute, value) in &resource.attributes {
                let how = if needs_only_existence(resource.address.kind(), attribute) {
                    Need::Existence
                } else {
                    Need::Readiness
                };
                template::each_reference(value, &mut |reference| need(&reference.target, how));
            }
            for address in &resource.depends_on {
                need(address.as_str(), Need::Readiness);
            }
            for (from, how) in needs {
                edges.add_edge(from, to, how);
            }
        }
        let order = order(&edges);
        if order.len() < resources.len() {
            errors.extend(cycles(&edges, &resources));
        }
        if errors.is_empty() { Ok(Self { resources, index, edges, order, outputs }) } else { Err(errors) }
    }

    /// The same graph with other attributes. They must hold the same references.
    pub fn with_attributes(&self, mut change: impl FnMut(&Resource) -> Attributes) -> Self {
        let mut out = self.clone();
        for resource in &mut out.resources {
            resource.attributes = change(resource);
        }
        out
    }

    /// What each output is made from.
    pub fn outputs_of(&self) -> BTreeMap<String, Vec<Address>> {
        let of = |value: &Value| {
            let mut found = std::collections::BTreeSet::new();
            template::each_reference(value, &mut |reference| found.extend(reference.address()));
            found.into_iter().collect()
        };
        let all = self.outputs.iter().map(|(name, value)| (name.clone(), of(value)));
        all.filter(|(_, of): &(String, Vec<Address>)| !of.is_empty()).collect()
    }

    /// Every resource, in the order in which the front end gave them.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Every resource, dependencies before dependents.
    pub fn in_order(&self) -> impl Iterator<Item = &Resource> {
        self.order.iter().map(|&node| &self.resources[node.index()])
    }

    /// The resource at an address.
    pub fn get(&self, address: &Address) -> Option<&Resource> {
        self.index.get(address).map(|&node| &self.resources[node.index()])
    }

    /// What a resource depends on, and what it needs of each.
    pub fn dependencies(&self, address: &Address) -> Vec<(&Address, Need)> {
        self.neighbors(address, petgraph::Direction::Incoming)
    }

    /// What depends on a resource, and what each needs of it.
    pub fn dependents(&self, address: &Address) -> Vec<(&Address, Need)> {
        self.neighbors(address, petgraph::Direction::Outgoing)
    }

    fn neighbors(&self, address: &Address, direction: petgraph::Direction) -> Vec<(&Address, Need)> {
        use petgraph::visit::EdgeRef;
        let Some(&node) = self.index.get(address) else { return Vec::new() };
        let mut found: Vec<_> = self
            .edges
            .edges_directed(node, direction)
            .map(|edge| {
                let other = if direction == petgraph::Direction::Incoming { edge.source() } else { edge.target() };
                (&self.resources[other.index()].address, *edge.weight())
            })
            .collect();
        found.sort_unstable();
        found
    }
}

/// Adds the dependencies that [`KindSpec::after_users`] asks for: on those who use the same thing.
pub fn follow_users<'k>(resources: &mut [Resource], spec: impl Fn(&str) -> Option<&'k KindSpec>) {
    let asks = |resource: &Resource| spec(resource.address.kind()).map(|spec| spec.after_users).unwrap_or_default();
    if resources.iter().all(|resource| asks(resource).is_empty()) {
        return;
    }
    let targets = |resource: &Resource| {
        let mut found = std::collections::BTreeSet::new();
        for value in resource.attributes.values() {
            template::each_reference(value, &mut |reference| found.extend(reference.address()));
        }
        found
    };
    let mut users: HashMap<Address, Vec<Address>> = HashMap::new();
    for resource in resources.iter() {
        for target in targets(resource) {
            users.entry(target).or_default().push(resource.address.clone());
        }
    }
    for resource in resources {
        for (kind, by) in asks(resource) {
            for target in targets(resource).into_iter().filter(|target| target.kind() == *kind) {
                let of_kind = |user: &&Address| by.contains(&user.kind());
                // Who uses this resource itself cannot come before it.
                let behind = users.get(&resource.address).cloned().unwrap_or_default();
                let before = users.get(&target).into_iter().flatten().filter(of_kind);
                resource.depends_on.extend(before.filter(|user| !behind.contains(user)).cloned());
            }
        }
        resource.depends_on.sort_unstable();
        resource.depends_on.dedup();
    }
}

/// The nodes, dependencies before dependents and otherwise in the order in which they were given. What is on a cycle or
/// behind one is missing.
fn order(edges: &DiGraph<(), Need>) -> Vec<NodeIndex> {
    let incoming = |node| edges.edges_directed(node, petgraph::Direction::Incoming).count();
    let mut waits_for: Vec<usize> = edges.node_indices().map(incoming).collect();
    let mut ready: BinaryHeap<Reverse<NodeIndex>> =
        edges.node_indices().filter(|node| waits_for[node.index()] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waits_for.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for dependent in edges.neighbors(node) {
            waits_for[dependent.index()] -= 1;
            if waits_for[dependent.index()] == 0 {
                ready.push(Reverse(dependent));
            }
        }
    }
    order
}

/// One cycle of each strongly connected component, as a walk along its edges.
fn cycles(edges: &DiGraph<(), Need>, resources: &[Resource]) -> Vec<GraphError> {
    let mut out = Vec::new();
    for component in petgraph::algo::tarjan_scc(edges) {
        let Some(&start) = component.iter().min() else { continue };
        if component.len() == 1 && !edges.contains_edge(start, start) {
            continue;
        }
        // Depth first from the start, inside the component, until the start is met again.
        let inside: std::collections::HashSet<_> = component.iter().copied().collect();
        let mut seen = std::collections::HashSet::new();
        let mut walk = vec![(start, edges.neighbors(start).detach())];
        while let Some((node, neighbors)) = walk.last_mut() {
            let node = *node;
            match neighbors.next_node(edges) {
                Some(next) if next == start => break,
                Some(next) if inside.contains(&next) && seen.insert(next) => {
                    walk.push((next, edges.neighbors(next).detach()));
                }
                Some(_) => {}
                None => {
                    debug_assert!(node != start, "a component's start is on a cycle");
                    walk.pop();
                }
            }
        }
        let cycle = walk.iter().rev().map(|(node, _)| resources[node.index()].address.clone()).collect();
        out.push(GraphError::Cycle(cycle));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(address: &str, references: &[&str]) -> Resource {
        let mut attributes = Attributes::new();
        attributes.insert("in".into(), references.iter().map(|r| json!(format!("${{{r}.id}}"))).collect());
        Resource::new(Address::parse(address).unwrap(), attributes)
    }

    fn graph(resources: Vec<Resource>) -> Result<Graph, Vec<GraphError>> {
        Graph::new(resources, BTreeMap::new(), |_, _| false)
    }

    #[test]
    fn dependencies_come_first() {
        let g = graph(vec![resource("a.c", &["a.b"]), resource("a.b", &["a.a"]), resource("a.a", &[])]).unwrap();
        assert_eq!(g.in_order().map(|r| r.address.as_str()).collect::<Vec<_>>(), ["a.a", "a.b", "a.c"]);
    }

    #[test]
    fn users_of_the_same_come_first_where_a_kind_asks_for_it() {
        let asking = KindSpec {
            after_users: &[("group", &["rule"])],
            ..crate::kinds::spec::<BTreeMap<String, Value>>("service", "service")
        };
        let mut resources = vec![
            resource("service.a", &["group.a"]),
            resource("service.b", &["group.b"]),
            resource("rule.a", &["group.a"]),
            resource("rule.late", &["group.a", "service.a"]),
            resource("alarm.a", &["group.a"]),
            resource("group.a", &[]),
            resource("group.b", &[]),
        ];
        follow_users(&mut resources, |kind| (kind == "service").then_some(&asking));
        let before = |at: usize| resources[at].depends_on.iter().map(Address::as_str).collect::<Vec<_>>();
        assert_eq!((before(0), before(1), before(2)), (vec!["rule.a"], vec![], vec![]));
        let g = graph(resources).unwrap();
        let order: Vec<_> = g.in_order().map(|r| r.address.as_str()).collect();
        assert_eq!(order, ["group.a", "rule.a", "service.a", "rule.late", "alarm.a", "group.b", "service.b"]);
    }

    #[test]
    fn a_cycle_is_told_as_a_walk() {
        let errors = graph(vec![
            resource("a.a", &["a.c"]),
            resource("a.b", &["a.a"]),
            resource("a.c", &["a.b"]),
            resource("a.d", &["a.missing", "a.a"]),
        ])
        .unwrap_err();
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["`a.d` references `a.missing`, which is not in the stack", "dependency cycle: a.c → a.b → a.a → a.c"]
        );
    }
}
