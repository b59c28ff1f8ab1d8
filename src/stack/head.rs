//! The head of a stack file: which stack it holds, whatever is wrong with the rest.

use std::collections::BTreeSet;
use std::path::Path;

use super::diagnostic::{Diagnostics, Report};
use super::node::{self, Item, Node, Table};
use super::scopes::Scopes;
use super::source::{Place, Sources};
use super::top::{self, Guards, StateAt};
use super::{Options, Reading, Stack, overlay, read_text};

/// Which stack a file holds: enough to find its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// The region it stands in.
    pub region: String,
    /// The environment it was read for.
    pub env: Option<String>,
    /// Where the state is kept, if the stack says so.
    pub state: StateAt,
    /// What it refuses because it is most likely a mistake, as far as that could be read.
    pub guards: Guards,
}

impl Head {
    /// Which stack this is.
    pub fn of(stack: &Stack) -> Self {
        Self {
            name: stack.name.clone(),
            region: stack.region.clone(),
            env: stack.env.clone(),
            state: stack.state.clone(),
            guards: stack.guards.clone(),
        }
    }
}

/// What can be made out of a stack file that does not tell which stack it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeOut {
    /// Its name.
    pub name: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Where the state is kept.
    pub state: StateAt,
    /// What it refuses.
    pub guards: Guards,
    /// The names of its outputs, in whichever environment.
    pub outputs: BTreeSet<String>,
}

/// Reads which stack a file holds, and no more: enough to find its state, whatever is wrong with the rest.
///
/// # Errors
/// Where the file cannot be read, is no TOML, or does not tell its name and region.
pub fn head(path: &Path, options: &Options<'_>) -> Result<Head, Diagnostics> {
    let (name, text) = read_text(path)?;
    let mut reading = Reading { sources: Sources::default(), report: Report::default() };
    reading.sources.add(&name, &text);
    let head = node::parse(&text, 0, &mut reading.report).and_then(|root| {
        let MadeOut { name, region, state, guards, .. } = reading.head(root, &text, options, options.env.as_deref());
        Some(Head { name: name?, region: region?, env: options.env.clone(), state, guards })
    });
    let failed = reading.report.errors() > 0;
    match head {
        Some(head) if !failed => Ok(head),
        _ => Err(reading.report.told(&reading.sources).0),
    }
}

/// What can be made out of a file of which [`head`] makes nothing: it is no TOML as a whole, or lacks the environment.
pub fn made_out(path: &Path, options: &Options<'_>) -> MadeOut {
    let Ok((name, text)) = read_text(path) else { return MadeOut::default() };
    let mut reading = Reading { sources: Sources::default(), report: Report::default() };
    reading.sources.add(&name, &text);
    let root = node::recovered(&text, 0);
    let has_env = |env: &&str| root.get("env").and_then(|node| node.table()?.entry(env)).is_some();
    let env = options.env.as_deref().filter(has_env);
    reading.head(root.clone(), &text, options, env)
}

/// The environments that a stack file has; none where it cannot be read. What is wrong there is told by [`super::load`].
pub fn environments(path: &Path) -> Vec<String> {
    let Ok((_, text)) = read_text(path) else { return Vec::new() };
    let report = &mut Report::default();
    let Some(mut root) = node::parse(&text, 0, report) else { return Vec::new() };
    overlay::take_environments(&mut root, report).into_iter().map(|entry| entry.key).collect()
}

/// Whether a stack's name is written in its file, and not filled in from variables: one file then holds one stack.
pub fn has_name_of_its_own(path: &Path) -> bool {
    let Ok((_, text)) = read_text(path) else { return false };
    let root = node::recovered(&text, 0);
    root.get("name").and_then(|node| node.text()).is_some_and(|name| !name.contains("${"))
}

impl Reading {
    /// Reads what is needed to find the stack's state. A variable that has no value is missed only if that names it.
    fn head(&mut self, mut root: Table, text: &str, options: &Options<'_>, env: Option<&str>) -> MadeOut {
        let environments = overlay::take_environments(&mut root, &mut self.report);
        if let Some(env) = env {
            overlay::apply(&mut root, &environments, env, &mut self.report);
        }
        let mut scopes = Scopes::new(options, root.take("vars"), &mut self.report);
        let guards = root.take("guards");
        let of_environments = environments.iter().filter_map(|entry| entry.node.table());
        let all = std::iter::once(&root).chain(of_environments).filter_map(|table| table.get("outputs"));
        let outputs = all.flat_map(Node::entries).map(|entry| entry.key.clone()).collect();
        root.entries.retain(|entry| matches!(entry.key.as_str(), "name" | "region" | "state"));
        let mut tree = Node { item: Item::Table(root), place: Place::new(0, 0..text.len()) };
        self.fill_own(&mut tree, options, &mut scopes);
        scopes.fill(&mut tree, &self.sources, &mut self.report);
        let Item::Table(root) = tree.item else { return MadeOut::default() };
        let top = top::read_top(root, tree.place, &[], &mut self.report);
        // What is wrong with the guards is told by whoever reads the whole stack.
        let guards = guards.map(|mut entry| {
            scopes.fill(&mut entry.node, &self.sources, &mut Report::default());
            top::guards(&entry.node, None, &mut Report::default())
        });
        MadeOut { name: top.name, region: top.region, state: top.state, guards: guards.unwrap_or_default(), outputs }
    }
}
