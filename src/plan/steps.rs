//! The action graph: what a plan's actions wait for. Destroying has edges of its own; it is not creating backwards.

use std::collections::HashMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::{Plan, Verb};
use crate::graph::{Address, KindSpec, Need};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Nothing; it only passes on that what it depends on is done.
    Pass,
    /// Reads something that is only read.
    Read,
    /// Creates.
    Create,
    /// Updates in place.
    Update,
    /// Deletes: what shall go, or what a replacement replaces.
    Delete,
    /// Lets the state forget.
    Forget,
}

/// One step of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The action, as an index into the plan's.
    pub action: usize,
    /// What it does.
    pub kind: StepKind,
    /// Seconds from its start to the end of everything that hangs on it, as usual: the longest go first.
    pub remaining: u64,
}

/// The steps of a plan and their order.
#[derive(Debug, Default)]
pub struct Steps {
    /// The steps.
    pub steps: Vec<Step>,
    /// For each step, those that wait for it, and for what of it.
    pub dependents: Vec<Vec<(usize, Need)>>,
    /// For each step, how many it waits for.
    pub waits_for: Vec<usize>,
}

impl Steps {
    /// The steps of a plan.
    pub fn of<'a>(plan: &Plan, specs: &dyn Fn(&str) -> Option<&'a KindSpec>) -> Self {
        let mut out = Self::default();
        let mut applies: HashMap<&Address, usize> = HashMap::with_capacity(plan.actions.len());
        let mut deletes: HashMap<&Address, Vec<usize>> = HashMap::new();
        // Of an action: the step that applies it, and the step that deletes.
        let mut of_action = Vec::with_capacity(plan.actions.len());
        for (index, action) in plan.actions.iter().enumerate() {
            let mut step = |kind| {
                out.steps.push(Step { action: index, kind, remaining: 0 });
                out.steps.len() - 1
            };
            let (apply, delete) = match action.action {
                Verb::NoChange => (Some(step(StepKind::Pass)), None),
                Verb::Read => (Some(step(StepKind::Read)), None),
                Verb::Create => (Some(step(StepKind::Create)), None),
                Verb::Update => (Some(step(StepKind::Update)), None),
                Verb::Replace if action.keeps_old => (Some(step(StepKind::Create)), None),
                Verb::Replace => (Some(step(StepKind::Create)), Some(step(StepKind::Delete))),
                Verb::Delete => (None, Some(step(StepKind::Delete))),
                Verb::Forget if action.read_only => (Some(step(StepKind::Read)), None),
                Verb::Forget => (None, Some(step(StepKind::Forget))),
            };
            if let Some(apply) = apply {
                applies.insert(&action.address, apply);
            }
            if let Some(delete) = delete {
                deletes.entry(&action.address).or_default().push(delete);
            }
            of_action.push((apply, delete));
        }
        // Deletions wait for what used the thing to go or to move away. That is the better order, not the only one.
        let (mut after_move, mut after_deletion) = (Vec::new(), Vec::new());
        out.dependents = vec![Vec::new(); out.steps.len()];
        out.waits_for = vec![0; out.steps.len()];
        for (index, action) in plan.actions.iter().enumerate() {
            let (apply, delete) = of_action[index];
            if let Some(apply) = apply {
                for (dependency, need) in &action.depends_on {
                    if let Some(&first) = applies.get(dependency) {
                        out.edge(first, apply, *need);
                    }
                }
            }
            if let (Verb::Replace, Some(apply), Some(delete)) = (action.action, apply, delete) {
                if action.create_first {
                    out.edge(apply, delete, Need::Readiness);
                } else {
                    out.edge(delete, apply, Need::Readiness);
                }
            }
            for dependency in &action.depended_on {
                for &gone in deletes.get(dependency).into_iter().flatten() {
                    if let Some(delete) = delete
                        && delete != gone
                    {
                        out.edge(delete, gone, Need::Readiness);
                        after_deletion.push((delete, gone));
                    }
                    let other = &plan.actions[out.steps[gone].action];
                    // Who goes before its successor comes cannot wait for dependents that move to the successor.
                    let goes_first = other.action == Verb::Replace && !other.create_first;
                    // Who is made anew needs it until its own old one is deleted, and no longer.
                    if let Some(apply) = apply
                        && delete.is_none()
                        && !goes_first
                    {
                        out.edge(apply, gone, Need::Readiness);
                        after_move.push((apply, gone));
                    }
                }
            }
        }
        // What took its place back, or came to it, is there before what stood or stands aside goes: both may be the same.
        let mut after_coming = Vec::new();
        for (index, action) in plan.actions.iter().enumerate().filter(|(_, action)| action.deposed) {
            let (Some(&apply), (_, Some(delete))) = (applies.get(&action.address), of_action[index]) else { continue };
            let comes = &plan.actions[out.steps[apply].action];
            let goes_first = comes.action == Verb::Replace && !comes.create_first;
            let is_new = matches!(comes.action, Verb::Create | Verb::Replace | Verb::Read) || comes.taken_back;
            if is_new && !goes_first {
                out.edge(apply, delete, Need::Readiness);
                after_coming.push((apply, delete));
            }
        }
        out.untie(&after_coming);
        out.untie(&after_move);
        out.untie(&after_deletion);
        out.weigh(plan, specs);
        out
    }

    /// The steps that are in no order, at their numbers, and what waits for what among them.
    fn without_order(&self, order: Vec<usize>) -> DiGraph<(), ()> {
        let mut has_order = vec![false; self.steps.len()];
        order.into_iter().for_each(|step| has_order[step] = true);
        let mut graph = DiGraph::with_capacity(self.steps.len(), 0);
        for _ in &self.steps {
            graph.add_node(());
        }
        for step in (0..self.steps.len()).filter(|step| !has_order[*step]) {
            for &(dependent, _) in &self.dependents[step] {
                graph.add_edge(NodeIndex::new(step), NodeIndex::new(dependent), ());
            }
        }
        graph
    }

    /// Where steps wait for each other, lets go of these edges between them: what a deletion does not wait for then, it
    /// meets as a refusal that passes.
    fn untie(&mut self, edges: &[(usize, usize)]) {
        let order = self.in_order();
        if order.len() == self.steps.len() {
            return;
        }
        // Who waits for each other is a strongly connected component of what has no order; who stands behind one waits on.
        let mut knot = vec![None; self.steps.len()];
        for (number, component) in kosaraju_scc(&self.without_order(order)).into_iter().enumerate() {
            if component.len() > 1 {
                component.into_iter().for_each(|step| knot[step.index()] = Some(number));
            }
        }
        for &(first, then) in edges.iter().filter(|(first, then)| knot[*first].is_some() && knot[*first] == knot[*then])
        {
            if let Some(at) = self.dependents[first].iter().position(|(step, _)| *step == then) {
                self.dependents[first].swap_remove(at);
                self.waits_for[then] -= 1;
            }
        }
    }

    fn edge(&mut self, first: usize, then: usize, need: Need) {
        self.dependents[first].push((then, need));
        self.waits_for[then] += 1;
    }

    /// The steps in an order that respects every edge.
    pub fn in_order(&self) -> Vec<usize> {
        let mut waits_for = self.waits_for.clone();
        let mut order: Vec<usize> = (0..self.steps.len()).filter(|step| waits_for[*step] == 0).collect();
        let mut next = 0;
        while let Some(&step) = order.get(next) {
            next += 1;
            for &(dependent, _) in &self.dependents[step] {
                waits_for[dependent] -= 1;
                if waits_for[dependent] == 0 {
                    order.push(dependent);
                }
            }
        }
        order
    }

    fn weigh<'a>(&mut self, plan: &Plan, specs: &dyn Fn(&str) -> Option<&'a KindSpec>) {
        for step in self.in_order().into_iter().rev() {
            let Step { action, kind, .. } = self.steps[step];
            let typical = specs(&plan.actions[action].kind).map_or(1, |spec| u64::from(spec.typical_seconds));
            let own = match kind {
                StepKind::Pass | StepKind::Forget => 0,
                StepKind::Read => 1,
                StepKind::Create => typical,
                StepKind::Update | StepKind::Delete => typical.div_ceil(2),
            };
            let after = self.dependents[step].iter().map(|(next, _)| self.steps[*next].remaining).max().unwrap_or(0);
            self.steps[step].remaining = own + after;
        }
    }
}
