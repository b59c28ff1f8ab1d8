//! The stack language: TOML files into a graph of resources, with everything that is wrong told at its place.
//!
//! The steps, one file each: text into a tree with places ([`node`]), the environment laid over it ([`overlay`]),
//! variables filled in ([`scopes`]), top and blocks held against their schemas ([`top`], [`blocks`], [`shape`]), documents read
//! ([`files`]), constructs expanded ([`expand`]), names resolved and references checked ([`resolve`]), names, tags and
//! defaults filled in ([`finish`]), resources compared with each other ([`cross`]).
//!
//! Nothing here talks to a cloud, reads the environment or prints.

mod blocks;
mod cross;
mod declared;
mod diagnostic;
mod expand;
mod files;
mod finish;
mod head;
mod language;
mod locate;
mod moves;
mod node;
mod overlay;
mod reference;
mod resolve;
mod schema;
mod scopes;
mod secrecy;
mod shape;
mod source;
mod substitute;
mod top;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub use diagnostic::{Diagnostic, Diagnostics, nearest};
pub use files::Files;
pub use head::{Head, MadeOut, environments, has_name_of_its_own, head, made_out};
pub use language::{BlockKind, Language, What};
pub use top::{Guards, StateAt};

use crate::aws::facts;
use crate::graph::{Address, Attributes, Graph, GraphError, Names, Reference, Resource, Scope, follow_users, template};
use crate::kinds::Registry;
use crate::secret::Secrets;
use blocks::Block;
use diagnostic::{Finding, Report, list};
use expand::Expanded;
use node::{Item, Node, Table};
use scopes::Scopes;
use shape::Shape;
use source::{Place, Sources};
use top::Top;

/// What a stack is read with.
pub struct Options<'a> {
    /// The environment that is wanted.
    pub env: Option<String>,
    /// Variables given on the command line; they win.
    pub vars: BTreeMap<String, String>,
    /// Variables given by the process environment.
    pub environment: BTreeMap<String, String>,
    /// The outputs of another stack of this region, for `${stack.NAME.output}`: of its name and the region. Asked once a
    /// stack, and only if one is named.
    pub stack_outputs: &'a dyn Fn(&str, &str) -> Result<Attributes, String>,
    /// For who only checks: the names of the outputs that another stack's file declares, of its name and the region, where
    /// there is such a file. What they are worth is then not known yet, and no mistake; such a stack is good for nothing but
    /// being checked.
    pub declared_outputs: Option<&'a dyn Fn(&str, &str) -> Option<BTreeSet<String>>>,
    /// What keeps the names of an address that it no longer has, by the state.
    pub names: Names,
}

impl Default for Options<'_> {
    /// No environment, no variables, no other stacks, no names but those of addresses.
    fn default() -> Self {
        Self {
            env: None,
            vars: BTreeMap::new(),
            environment: BTreeMap::new(),
            stack_outputs: &|_, _| Err("no other stack is known here".to_owned()),
            declared_outputs: None,
            names: Names::default(),
        }
    }
}

/// An address that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What it was.
    pub from: Address,
    /// What it is.
    pub to: Address,
}

/// A stack, read and checked.
#[derive(Debug)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The region it stands in.
    pub region: String,
    /// The environment it was read for.
    pub env: Option<String>,
    /// The environments that it has.
    pub environments: Vec<String>,
    /// Its resources and outputs.
    pub graph: Graph,
    /// The tags that every resource carries, besides its own.
    pub tags: BTreeMap<String, String>,
    /// Where the state is kept, if the stack says so.
    pub state: StateAt,
    /// What is refused because it is most likely a mistake.
    pub guards: Guards,
    /// Addresses that changed.
    pub moved: Vec<Moved>,
    /// The secret variables. In attributes marks stand for their values.
    pub secrets: Arc<Secrets>,
    /// The values that the variables have; of secret ones, marks.
    pub vars: BTreeMap<String, Value>,
    /// The names of the files that were read; the stack's own is the first.
    pub files: Vec<String>,
    /// SHA-256, in hexadecimal, over everything that was read: files, environment, variables, outputs of other stacks.
    pub inputs_digest: String,
    /// Whether outputs of other stacks are in it.
    pub other_stacks: bool,
    /// What is worth knowing and no error.
    pub warnings: Vec<Diagnostic>,
}

impl Stack {
    /// What names and ARNs are computed for; the account is not known here.
    pub fn scope(&self) -> Scope {
        scope(&self.name, &self.region, self.env.as_deref())
    }
}

/// What there is to say of constructs that nobody could check, since they need more of other stacks than is known.
fn not_checked(constructs: &BTreeMap<String, Expanded>) -> Option<Finding> {
    let waiting = || constructs.iter().filter(|(_, expanded)| !expanded.waits_for.is_empty());
    let stacks: BTreeSet<String> =
        waiting().flat_map(|(_, expanded)| &expanded.waits_for).map(|name| format!("`{name}`")).collect();
    let (_, first) = waiting().next()?;
    let needs = if waiting().nth(1).is_none() { "needs" } else { "need" };
    let stack = if stacks.len() == 1 { "the stack" } else { "the stacks" };
    let puts = if stacks.len() == 1 { "puts" } else { "put" };
    let (blocks, stacks) =
        (list(waiting().map(|(address, _)| address.as_str())), list(stacks.iter().map(String::as_str)));
    let what = format!("not checked: {blocks} {needs} what {stack} {stacks} {puts} out");
    Some(Finding::at(first.block.header, what))
}

fn scope(name: &str, region: &str, env: Option<&str>) -> Scope {
    Scope {
        stack: name.to_owned(),
        env: env.map(str::to_owned),
        account: None,
        region: region.to_owned(),
        partition: facts::partition(region).to_owned(),
    }
}

/// Reads a stack from a file, with the files that it names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, options: &Options<'_>, registry: &Registry) -> Result<Stack, Diagnostics> {
    let constructs = crate::constructs::all();
    let language = Language::of(registry, &constructs);
    let (name, text) = read_text(path)?;
    let root = project_root(path);
    let read = |name: &str| std::fs::read(root.join(name));
    parse(&name, &text, &Files { read: &read, root: root.display().to_string() }, options, &language)
}

/// What a file is called in messages, and what is in it.
fn read_text(path: &Path) -> Result<(String, String), Diagnostics> {
    let name = path.display().to_string();
    let unreadable = |why: String, help: &str| {
        let mut report = Report::default();
        report.error(Finding::nowhere(format!("the stack file `{name}` cannot be read: {why}")).help(help));
        report.told(&Sources::default()).0
    };
    let bytes = std::fs::read(path).map_err(|error| {
        unreadable(error.to_string(), "give the path of a stack file, or the name of one in stacks/")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        unreadable(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()), "save it as UTF-8")
    })?;
    Ok((name, text))
}

/// The JSON Schema of the whole language, for editors.
pub fn schema(registry: &Registry) -> Value {
    schema::of(&Language::of(registry, &crate::constructs::all()))
}

/// The reference of the whole language, in Markdown.
pub fn reference(registry: &Registry) -> String {
    reference::of(&Language::of(registry, &crate::constructs::all()))
}

/// The folder that the names of files are relative to: the one that holds `stacks/`, where the stack lies in a folder
/// of that name, and otherwise the stack's own. From where it is looked at makes no difference.
fn project_root(path: &Path) -> PathBuf {
    let here = || PathBuf::from(".");
    let named = |path: &Path| if path.as_os_str().is_empty() { here() } else { path.to_path_buf() };
    let own = path.parent().map_or_else(here, named);
    // What `.` is called is only known of the whole path.
    let is_in_stacks = own.canonicalize().is_ok_and(|whole| whole.ends_with("stacks"));
    match own.parent() {
        _ if !is_in_stacks => own,
        Some(parent) if own.ends_with("stacks") => named(parent),
        _ => own.join(".."),
    }
}

/// Reads a stack from its text; `name` is what it is called in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(
    name: &str,
    text: &str,
    files: &Files<'_>,
    options: &Options<'_>,
    language: &Language<'_>,
) -> Result<Stack, Diagnostics> {
    let mut reading = Reading { sources: Sources::default(), report: Report::default() };
    reading.sources.add(name, text);
    let stack = reading.read(text, files, options, language);
    let failed = reading.report.errors() > 0;
    let (errors, warnings) = reading.report.told(&reading.sources);
    match stack {
        Some(stack) if !failed => Ok(Stack { warnings, ..stack }),
        _ => Err(errors),
    }
}

/// A stack being read.
struct Reading {
    sources: Sources,
    report: Report,
}

impl Reading {
    fn read<'a>(
        &mut self,
        text: &str,
        files: &Files<'a>,
        options: &'a Options<'a>,
        language: &Language<'_>,
    ) -> Option<Stack> {
        let report = &mut self.report;
        let mut root = node::parse(text, 0, report)?;
        let environments = overlay::take_environments(&mut root, report);
        overlay::check_variables(&root, &environments, report);
        for environment in environments.iter().filter(|entry| options.env.as_ref() != Some(&entry.key)) {
            blocks::check_environment(environment, language, report);
        }
        if let Some(env) = &options.env {
            overlay::apply(&mut root, &environments, env, report);
        }
        let mut scopes = Scopes::new(options, root.take("vars"), report);
        scopes.read_secrets(files, &mut self.report);
        let top = self.fill_and_read(root, text, options, language, &mut scopes);
        let stack = self.finish(top, files, options, language, scopes)?;
        Some(Stack { environments: environments.into_iter().map(|entry| entry.key).collect(), ..stack })
    }

    /// Fills variables in, then reads the top level. The stack's own name and region may come from variables.
    fn fill_and_read(
        &mut self,
        root: Table,
        text: &str,
        options: &Options<'_>,
        language: &Language<'_>,
        scopes: &mut Scopes<'_>,
    ) -> Top {
        let mut tree = Node { item: Item::Table(root), place: Place::new(0, 0..text.len()) };
        substitute::check_syntax(&tree, &self.sources, &mut self.report);
        self.fill_own(&mut tree, options, scopes);
        scopes.settle(&self.sources, &mut self.report);
        self.sources.variables = scopes.origins();
        scopes.fill(&mut tree, &self.sources, &mut self.report);
        let Item::Table(root) = tree.item else { return Top::default() };
        blocks::read(root, tree.place, language, &mut self.report)
    }

    /// What `${self.…}` knows: the stack's own name and region, which may come from variables.
    fn fill_own(&mut self, tree: &mut Node, options: &Options<'_>, scopes: &mut Scopes<'_>) {
        let own = |tree: &mut Node, key: &str, reading: &mut Self, scopes: &mut Scopes<'_>| {
            let Item::Table(table) = &mut tree.item else { return None };
            let node = &mut table.entry_mut(key)?.node;
            scopes.fill_now(node, &reading.sources, &mut reading.report);
            node.text().filter(|text| template::references(text).is_empty()).map(str::to_owned)
        };
        let name = own(tree, "name", self, scopes);
        let region = own(tree, "region", self, scopes);
        let (n, r) = (name.clone().unwrap_or_default(), region.clone().unwrap_or_default());
        let known = scope(&n, &r, options.env.as_deref());
        scopes.own = BTreeMap::from([
            ("name", name),
            ("region", region),
            ("env", options.env.clone()),
            ("prefix", Some(known.prefix())),
            ("partition", Some(known.partition.clone())),
            ("dns_suffix", Some(facts::dns_suffix(&known.partition).to_owned())),
        ]);
    }

    fn finish<'a>(
        &mut self,
        mut top: Top,
        files: &Files<'a>,
        options: &'a Options<'a>,
        language: &Language<'_>,
        mut scopes: Scopes<'a>,
    ) -> Option<Stack> {
        for block in &mut top.blocks {
            let Some(kind) = language.block(block.address.kind()) else { continue };
            let mut loading =
                files::Loading { files, sources: &mut self.sources, scopes: &mut scopes, report: &mut self.report };
            loading.load(&mut block.node, Shape::new(&kind.schema));
        }
        secrecy::check(&top, scopes.secrets(), language, &mut self.report);
        let name = top.name.clone().unwrap_or_else(|| "stack".to_owned());
        let env = options.env.as_deref();
        let only_checks = options.declared_outputs.is_some();
        let known = top.region.as_ref().map(|region| scope(&name, region, env));
        let all = std::mem::take(&mut top.blocks);
        let (mut blocks, constructs) =
            expand::expand(all, language, known.as_ref(), (&top.tags, &options.names), only_checks, &mut self.report);
        blocks.retain(|block| {
            let known = language.spec(block.address.kind()).is_some();
            if !known {
                self.report.error(
                    Finding::at(block.header, format!("`{}` is of a kind that does not exist", block.address))
                        .help("use a version of cofferdam that has it"),
                );
            }
            known
        });

        let names = resolve::Names {
            language,
            constructs: &constructs,
            resources: blocks.iter().map(|block| block.address.as_str().to_owned()).collect::<HashSet<_>>(),
            unread: &top.unread,
            region: top.region.as_deref(),
            sources: &self.sources,
        };
        let report = &mut self.report;
        let mut own_errors: BTreeMap<&str, usize> =
            constructs.iter().map(|(address, expanded)| (address.as_str(), expanded.errors)).collect();
        // Names in the constructs themselves are told at their own place; nothing more is done with them.
        for (address, expanded) in &constructs {
            if let Some(kind) = language.block(expanded.block.address.kind()) {
                let mut block = expanded.block.clone();
                let mut own = Report::default();
                names.resolve(&mut block, Shape::new(&kind.schema), &mut own);
                names.references(&mut block.node, &mut own);
                names.dependencies(&block, &mut own);
                if own.errors() == 0 {
                    expanded.unknown.iter().for_each(|finding| own.error(finding.clone()));
                }
                *own_errors.entry(address).or_default() += own.errors();
                report.append(own);
            }
        }
        let finish = finish::Finish {
            scope: known.as_ref().unwrap_or(&scope(&name, "", env)).to_owned(),
            tags: &top.tags,
            names: &options.names,
        };
        let mut resources: Vec<Resource> = Vec::with_capacity(blocks.len());
        let mut passed_on = Vec::new();
        for block in &mut blocks {
            let (Some(kind), Some(spec)) = (language.block(block.address.kind()), language.spec(block.address.kind()))
            else {
                continue;
            };
            let mut own = Report::default();
            names.resolve(block, Shape::new(&kind.schema), &mut own);
            names.references(&mut block.node, &mut own);
            let depends_on = names.dependencies(block, &mut own);
            resources.push(finish.resource(block, depends_on, spec, &kind.schema, &mut own));
            match block.address.construct() {
                Some(construct) => passed_on.push((construct.to_owned(), own)),
                None => report.append(own),
            }
        }
        // What a construct passes on wrongly may be told already, where it was written.
        for (construct, own) in passed_on {
            let before = report.errors();
            report.append_new(own);
            if let Some(errors) = own_errors.get_mut(construct.as_str()) {
                *errors += report.errors() - before;
            }
        }
        top.tag_nodes.iter_mut().for_each(|node| names.references(node, report));
        moves::check(&top.moved, &names, report);
        let mut outputs = BTreeMap::new();
        for mut entry in std::mem::take(&mut top.outputs) {
            names.references(&mut entry.node, report);
            outputs.insert(entry.key, entry.node.value());
        }
        cross::Cross { blocks: &blocks, resources: &resources }.check(language, report);
        let told = report.errors();
        let unchecked = not_checked(&constructs);
        // What follows from blocks that could not be expanded is no mistake.
        for (address, expanded) in constructs.iter().filter(|_| unchecked.is_none()) {
            if own_errors.get(address.as_str()).is_some_and(|own| *own == told) {
                let more: Vec<&Finding> = expanded.follows.iter().filter(|one| !report.is_told_within(one)).collect();
                more.into_iter().for_each(|finding| report.error(finding.clone()));
            }
        }
        let digest = self.digest(options, &scopes);
        if only_checks {
            let is_unchecked = |address: &str| {
                let is_there = names.resources.contains(address);
                unchecked.is_some() && !is_there && (constructs.contains_key(address) || names.is_missed(address))
            };
            // What is left of other stacks was found to be declared there.
            let mut stands_in = |reference: &Reference| {
                (Scopes::owns(reference) || is_unchecked(&reference.target)).then(|| Value::from("not known yet"))
            };
            for resource in &mut resources {
                resource.attributes = template::resolve_all(&resource.attributes, &mut stands_in);
                resource.depends_on.retain(|address| !is_unchecked(address.as_str()));
            }
            unchecked.into_iter().for_each(|finding| self.report.warning(finding));
        }
        let graph = self.graph(&blocks, resources, outputs, language)?;
        Some(Stack {
            name,
            description: top.description,
            region: top.region?,
            env: options.env.clone(),
            environments: Vec::new(),
            graph,
            tags: top.tags,
            state: top.state,
            guards: top.guards,
            moved: top.moved.into_iter().map(|one| one.moved).collect(),
            vars: scopes.variables(),
            secrets: Arc::new(scopes.take_secrets()),
            files: self.sources.iter().map(|(name, _)| name.to_owned()).collect(),
            inputs_digest: digest,
            other_stacks: scopes.stacks().next().is_some(),
            warnings: Vec::new(),
        })
    }

    fn graph(
        &mut self,
        blocks: &[Block],
        mut resources: Vec<Resource>,
        outputs: BTreeMap<String, Value>,
        language: &Language<'_>,
    ) -> Option<Graph> {
        follow_users(&mut resources, |kind| language.spec(kind));
        let needs_only_existence = |kind: &str, attribute: &str| {
            language.spec(kind).is_some_and(|spec| spec.needs_only_existence.contains(&attribute))
        };
        let errors = match Graph::new(resources, outputs, needs_only_existence) {
            Ok(graph) => return Some(graph),
            Err(errors) => errors,
        };
        let told = self.report.errors() > 0;
        for error in errors {
            match &error {
                GraphError::Cycle(cycle) => self.report.error(cross::cycle(blocks, cycle, &self.sources)),
                // A missing target is the other face of a mistake that was told where it was made.
                _ if told => {}
                GraphError::Duplicate(address) | GraphError::Missing { from: address, .. } => {
                    let block = blocks.iter().rev().find(|block| block.address == *address);
                    let finding = match block {
                        Some(block) => Finding::at(block.header, error.to_string()),
                        None => Finding::nowhere(error.to_string()),
                    };
                    self.report.error(finding.help("correct the block that it comes from"));
                }
            }
        }
        None
    }

    fn digest(&self, options: &Options<'_>, scopes: &Scopes<'_>) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(options.env.as_deref().unwrap_or(""));
        for (index, (name, text)) in self.sources.iter().enumerate() {
            // What the stack file is called depends on where it is looked at from.
            if index > 0 {
                add(name);
            }
            add(text);
        }
        for (name, value) in scopes.variables() {
            add(&name);
            add(&value.to_string());
        }
        for (name, outputs) in scopes.stacks() {
            add(name);
            add(&Value::Object(outputs.clone()).to_string());
        }
        finish::hex(&hash.finalize())
    }
}
