//! Recovering: a state is made again from the cloud alone, by the tags of its stack, and, where a kind carries none, by what
//! the stack says of it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde_json::Value;

use crate::cloud::{Cloud, CloudError, CreateRequest, Known, Lost, NAMED_TAG, Observed, TOKEN_TAG};
use crate::graph::{Address, Attributes, Graph, Identity, KindSpec, Names, Reference, Resource, template};
use crate::plan::refresh;
use crate::state::{Entry, State};

/// How a resource was found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It carries the tags of stack, environment and address.
    Tags,
    /// It has the name, and our tags where its kind has any.
    Name,
    /// It is what the stack's attributes say: an association, a record.
    Attributes,
    /// It is only read.
    LookedUp,
}

impl Way {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tags => "by its tags",
            Self::Name => "by its name",
            Self::Attributes => "by its attributes",
            Self::LookedUp => "looked up",
        }
    }
}

/// One resource that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How.
    pub way: Way,
    /// What the state is to say of it.
    pub entry: Entry,
    /// Whether the stack declares it.
    pub declared: bool,
    /// Attributes that the cloud does not return and that are therefore believed to be what the stack says; such as say no
    /// more than their default are left out here.
    pub believed: Vec<String>,
}

/// What was found of a stack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// By address.
    pub found: BTreeMap<Address, Found>,
    /// What the stack declares and is not there.
    pub missing: Vec<Address>,
    /// Addresses that several things claim, with their ids. None of them is taken.
    pub disputed: BTreeMap<Address, Vec<String>>,
    /// What carries the stack's tags and no address of its kind: kind and id.
    pub nameless: Vec<(String, String)>,
    /// The stack's outputs, as far as they are known.
    pub outputs: BTreeMap<String, Value>,
}

/// Finds everything of a stack.
///
/// # Errors
/// Where the cloud does not answer.
pub async fn recover(cloud: &dyn Cloud, graph: &Graph, fresh: &State) -> Result<Recovered, CloudError> {
    // The lookups, too; nothing else is in a state that is empty.
    let observations = refresh::refresh(cloud, graph, fresh).await?;
    let mut out = Recovered::default();
    let claims = claims(cloud, &mut out).await?;
    for (address, looked_up) in observations.reads {
        if let Some(resource) = graph.get(&address) {
            let found = Found {
                way: Way::LookedUp,
                declared: true,
                believed: Vec::new(),
                entry: read(graph, resource, looked_up.by, looked_up.observed),
            };
            out.found.insert(address, found);
        }
    }
    let mut search = Search { cloud, graph, claims, out };
    for level in levels(graph) {
        search.level(&level).await?;
    }
    search.undeclared().await?;
    let mut out = search.out;
    let mut known = |reference: &Reference| answer(&out.found, reference);
    out.outputs = graph
        .outputs
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), template::literal(&template::resolve(value, &mut known))?)))
        .collect();
    Ok(out)
}

/// What keeps the names of an address that it no longer has, by what was found: the tags tell, and where there are none,
/// those of the same construct. Of everything else it is as `said`.
pub fn names(recovered: &Recovered, said: &Names) -> Names {
    let mut out = said.clone();
    let tagged = recovered.found.iter().filter(|(_, found)| found.way == Way::Tags && found.declared);
    let origins: Vec<(&Address, Address)> = tagged
        .map(|(address, found)| (address, origin(&found.entry.attributes).unwrap_or_else(|| address.clone())))
        .collect();
    for (address, origin) in &origins {
        let construct = |of: &Address| of.construct().and_then(|text| Address::parse(text).ok());
        let is_part = (address.kind(), address.name()) == (origin.kind(), origin.name());
        if let (true, Some(own), Some(first)) = (is_part, construct(address), construct(origin)) {
            out.set(&own, &first);
        }
    }
    origins.iter().for_each(|(address, origin)| out.set(address, origin));
    out
}

/// The address that a resource's names are made from, where its tags name one.
pub fn origin(attributes: &Attributes) -> Option<Address> {
    Address::parse(attributes.get("tags")?.get(NAMED_TAG)?.as_str()?).ok()
}

/// What carries tags, by address. A tag can outlive its resource for a while: what several claim is decided once they
/// are read.
async fn claims(cloud: &dyn Cloud, out: &mut Recovered) -> Result<BTreeMap<Address, Vec<String>>, CloudError> {
    let kinds = cloud.kinds();
    let owned = try_join_all(kinds.iter().map(|kind| cloud.owned(kind))).await?;
    let mut claims: BTreeMap<Address, Vec<String>> = BTreeMap::new();
    let mut nameless = Vec::new();
    for (kind, owned) in kinds.iter().zip(owned) {
        for one in owned {
            match one.address {
                Some(address) => claims.entry(address).or_default().push(one.id),
                None => nameless.push(((*kind).to_owned(), one.id)),
            }
        }
    }
    for (kind, id) in nameless {
        let known = Known {
            address: Address::new(&kind, "unknown"),
            id: id.clone(),
            attributes: Attributes::new(),
            outputs: Attributes::new(),
        };
        if cloud.read(&kind, &[known]).await?.into_iter().flatten().next().is_some() {
            out.nameless.push((kind, id));
        }
    }
    Ok(claims)
}

/// The resources of a graph in groups, each of which depends only on those before it.
fn levels(graph: &Graph) -> Vec<Vec<&Resource>> {
    let mut depth: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut levels: Vec<Vec<&Resource>> = Vec::new();
    for resource in graph.in_order() {
        let below = graph.dependencies(&resource.address);
        let own = below.iter().filter_map(|(address, _)| depth.get(*address)).max().map_or(0, |deepest| deepest + 1);
        depth.insert(&resource.address, own);
        if levels.len() <= own {
            levels.resize_with(own + 1, Vec::new);
        }
        if let Some(level) = levels.get_mut(own) {
            level.push(resource);
        }
    }
    levels
}

/// A search under way.
struct Search<'a> {
    cloud: &'a dyn Cloud,
    graph: &'a Graph,
    /// Ids by address, as far as they were not looked at.
    claims: BTreeMap<Address, Vec<String>>,
    out: Recovered,
}

impl Search<'_> {
    /// Finds resources whose dependencies were looked for already.
    async fn level(&mut self, resources: &[&Resource]) -> Result<(), CloudError> {
        let mut by_kind: BTreeMap<&str, Vec<(&Resource, Attributes)>> = BTreeMap::new();
        for resource in resources.iter().filter(|one| !self.out.found.contains_key(&one.address)) {
            let wanted = self.wanted(resource);
            by_kind.entry(resource.address.kind()).or_default().push((resource, wanted));
        }
        for (kind, resources) in by_kind {
            let Some(spec) = self.cloud.spec(kind) else { continue };
            if spec.is_lookup() {
                self.look_up(kind, resources).await?;
                continue;
            }
            let mut known = Vec::new();
            for (resource, wanted) in &resources {
                for id in self.claims.remove(&resource.address).unwrap_or_default() {
                    known.push(as_known(&resource.address, id, wanted.clone()));
                }
            }
            let mut seen = self.seen(kind, &known).await?;
            for (resource, wanted) in resources {
                if resource.existing.is_some() {
                    self.look_up(kind, vec![(resource, wanted)]).await?;
                    continue;
                }
                let (mut way, mut candidates) = (Way::Tags, seen.remove(&resource.address).unwrap_or_default());
                if candidates.is_empty() && matches!(spec.identity, Identity::UniqueName | Identity::Natural) {
                    way = if spec.identity == Identity::UniqueName { Way::Name } else { Way::Attributes };
                    candidates = self.by_attributes(kind, resource, &wanted).await?;
                }
                self.decide(spec, resource.address.clone(), Some((resource, wanted)), candidates, way);
            }
        }
        Ok(())
    }

    /// Reads what is claimed, by address.
    async fn seen(&self, kind: &str, known: &[Known]) -> Result<BTreeMap<Address, Vec<Observed>>, CloudError> {
        let mut out: BTreeMap<Address, Vec<Observed>> = BTreeMap::new();
        if !known.is_empty() {
            for (known, observed) in known.iter().zip(self.cloud.read(kind, known).await?) {
                if let Some(observed) = observed {
                    out.entry(known.address.clone()).or_default().push(observed);
                }
            }
        }
        Ok(out)
    }

    /// Finds a resource by what the stack says of it. What it is found by may hang on something that is not there.
    async fn by_attributes(
        &self,
        kind: &str,
        resource: &Resource,
        wanted: &Attributes,
    ) -> Result<Vec<Observed>, CloudError> {
        if resource.attributes.keys().any(|name| !wanted.contains_key(name)) {
            return Ok(Vec::new());
        }
        let request =
            CreateRequest { address: resource.address.clone(), token: String::new(), attributes: wanted.clone() };
        let Some(found) = self.cloud.find(kind, &Lost { request }).await? else { return Ok(Vec::new()) };
        // Finding says that it is there; reading says all about it.
        let known = as_known(&resource.address, found.id, wanted.clone());
        Ok(self.cloud.read(kind, &[known]).await?.into_iter().flatten().collect())
    }

    async fn look_up(&mut self, kind: &str, resources: Vec<(&Resource, Attributes)>) -> Result<(), CloudError> {
        for (resource, wanted) in resources {
            let known = resource.attributes.keys().all(|name| wanted.contains_key(name));
            if !known {
                self.out.missing.push(resource.address.clone());
                continue;
            }
            let observed = self.cloud.look_up(kind, resource.existing.as_deref(), &wanted).await?;
            let entry = read(self.graph, resource, wanted, observed);
            let found = Found { way: Way::LookedUp, declared: true, believed: Vec::new(), entry };
            self.out.found.insert(resource.address.clone(), found);
        }
        Ok(())
    }

    /// What carries the stack's tags and is not in the stack any more: the next apply deletes it.
    async fn undeclared(&mut self) -> Result<(), CloudError> {
        let mut by_kind: BTreeMap<String, Vec<Known>> = BTreeMap::new();
        for (address, ids) in std::mem::take(&mut self.claims) {
            let known = ids.into_iter().map(|id| as_known(&address, id, Attributes::new()));
            by_kind.entry(address.kind().to_owned()).or_default().extend(known);
        }
        let mut undeclared = BTreeSet::new();
        for (kind, known) in by_kind {
            let Some(spec) = self.cloud.spec(&kind) else { continue };
            for (address, candidates) in self.seen(&kind, &known).await? {
                undeclared.insert(address.clone());
                self.decide(spec, address, None, candidates, Way::Tags);
            }
        }
        let mut entries: BTreeMap<Address, Entry> =
            self.out.found.iter().map(|(address, found)| (address.clone(), found.entry.clone())).collect();
        hang(&mut entries, &undeclared);
        for address in undeclared {
            if let (Some(found), Some(entry)) = (self.out.found.get_mut(&address), entries.remove(&address)) {
                found.entry = entry;
            }
        }
        Ok(())
    }

    /// Takes the one candidate, if there is one.
    fn decide(
        &mut self,
        spec: &KindSpec,
        address: Address,
        declared: Option<(&Resource, Attributes)>,
        mut candidates: Vec<Observed>,
        way: Way,
    ) {
        match (candidates.pop(), candidates.as_slice()) {
            (None, _) => self.out.missing.extend(declared.map(|_| address)),
            (Some(observed), []) => {
                let found = match declared {
                    Some((resource, wanted)) => self.declared(spec, resource, &wanted, observed, way),
                    None => Found { way, entry: undeclared(observed), declared: false, believed: Vec::new() },
                };
                self.out.found.insert(address, found);
            }
            (Some(last), others) => {
                let mut ids: Vec<String> = others.iter().map(|one| one.id.clone()).collect();
                ids.push(last.id);
                ids.sort();
                self.out.disputed.insert(address, ids);
            }
        }
    }

    fn declared(
        &self,
        spec: &KindSpec,
        resource: &Resource,
        wanted: &Attributes,
        observed: Observed,
        way: Way,
    ) -> Found {
        let mut attributes = observed.attributes;
        // What the stack does not say is somebody else's, and so are tags.
        attributes.retain(|name, _| wanted.contains_key(name) || resource.attributes.contains_key(name));
        if spec.taggable
            && let Some(Value::Object(tags)) = attributes.get_mut("tags")
        {
            let ours = wanted.get("tags").and_then(Value::as_object);
            tags.retain(|key, _| key == NAMED_TAG || ours.is_some_and(|ours| ours.contains_key(key)));
        }
        let mut believed = Vec::new();
        for (name, value) in wanted {
            let is_write_only = spec.is_write_only(name);
            if attributes.contains_key(name) && !is_write_only {
                continue;
            }
            if name != "tags" && !is_default(spec, wanted, name) {
                believed.push(name.clone());
            }
            attributes.insert(name.clone(), value.clone());
        }
        let entry = Entry {
            attributes,
            outputs: with_id(observed.outputs, &observed.id),
            id: observed.id,
            depends_on: depends_on(self.graph, resource),
            protect: resource.protect,
            complete: true,
            read_only: false,
            changing: Attributes::new(),
        };
        Found { way, entry, declared: true, believed }
    }

    /// The resource's attributes as far as nothing in them is left unknown.
    fn wanted(&self, resource: &Resource) -> Attributes {
        let mut known = |reference: &Reference| answer(&self.out.found, reference);
        let resolved: Attributes = resource
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), template::resolve(value, &mut known)))
            .collect();
        let canonical = match self.cloud.spec(resource.address.kind()) {
            Some(spec) => (spec.canonical)(resolved.clone()).unwrap_or(resolved),
            None => resolved,
        };
        canonical.into_iter().filter_map(|(name, value)| Some((name, template::literal(&value)?))).collect()
    }
}

pub(super) fn as_known(address: &Address, id: String, attributes: Attributes) -> Known {
    Known { address: address.clone(), id, attributes, outputs: Attributes::new() }
}

/// Whether an attribute says no more than its kind would without it.
fn is_default(spec: &KindSpec, wanted: &Attributes, name: &str) -> bool {
    let mut without = wanted.clone();
    without.remove(name);
    (spec.canonical)(without).is_ok_and(|filled| filled.get(name) == wanted.get(name))
}

/// What a state is to say of something that no stack declares.
pub(super) fn undeclared(observed: Observed) -> Entry {
    let mut attributes = observed.attributes;
    if let Some(Value::Object(tags)) = attributes.get_mut("tags") {
        tags.remove(TOKEN_TAG);
    }
    Entry {
        attributes,
        outputs: with_id(observed.outputs, &observed.id),
        id: observed.id,
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
        changing: Attributes::new(),
    }
}

/// What a state is to say of something that carries the tags of a resource of the stack: `state` has what that names.
pub fn adopted(cloud: &dyn Cloud, graph: &Graph, state: &State, resource: &Resource, observed: Observed) -> Found {
    let known = state.resources.iter().map(|(address, entry)| {
        let found = Found { way: Way::Tags, entry: entry.clone(), declared: true, believed: Vec::new() };
        (address.clone(), found)
    });
    let out = Recovered { found: known.collect(), ..Recovered::default() };
    let search = Search { cloud, graph, claims: BTreeMap::new(), out };
    let wanted = search.wanted(resource);
    match cloud.spec(resource.address.kind()) {
        Some(spec) => search.declared(spec, resource, &wanted, observed, Way::Tags),
        None => Found { way: Way::Tags, entry: undeclared(observed), declared: true, believed: Vec::new() },
    }
}

/// Notes what these entries hang on: such others as they name in their attributes, by id or ARN.
pub(super) fn hang(entries: &mut BTreeMap<Address, Entry>, which: &BTreeSet<Address>) {
    let handles: Vec<(Address, Vec<String>)> =
        entries.iter().map(|(address, entry)| (address.clone(), handles(entry))).collect();
    for address in which {
        let Some(entry) = entries.get_mut(address) else { continue };
        let mut texts = BTreeSet::new();
        // Tags say whatever people like.
        let own = entry.attributes.iter().filter(|(name, _)| !matches!(name.as_str(), "tags" | "name"));
        own.for_each(|(_, value)| texts_of(value, &mut texts));
        let named = |handles: &[String]| handles.iter().any(|handle| texts.contains(handle.as_str()));
        entry.depends_on = handles
            .iter()
            .filter(|(other, handles)| other != address && named(handles))
            .map(|(other, _)| other.clone())
            .collect();
    }
}

fn read(graph: &Graph, resource: &Resource, mut by: Attributes, observed: Observed) -> Entry {
    by.extend(observed.attributes);
    Entry {
        attributes: by,
        outputs: with_id(observed.outputs, &observed.id),
        id: observed.id,
        depends_on: depends_on(graph, resource),
        protect: false,
        complete: true,
        read_only: true,
        changing: Attributes::new(),
    }
}

fn depends_on(graph: &Graph, resource: &Resource) -> Vec<Address> {
    graph.dependencies(&resource.address).into_iter().map(|(address, _)| address.clone()).collect()
}

fn with_id(mut outputs: Attributes, id: &str) -> Attributes {
    outputs.insert("id".into(), Value::from(id));
    outputs
}

/// What others name a resource by: its id and its ARN.
fn handles(entry: &Entry) -> Vec<String> {
    let arn = entry.outputs.get("arn").and_then(Value::as_str).map(str::to_owned);
    [entry.id.clone()].into_iter().chain(arn).collect()
}

fn texts_of<'a>(value: &'a Value, out: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => drop(out.insert(text)),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, out)),
        Value::Object(map) => map.values().for_each(|item| texts_of(item, out)),
        _ => {}
    }
}

/// What a reference stands for among what was found.
fn answer(found: &BTreeMap<Address, Found>, reference: &Reference) -> Option<Value> {
    let entry = &found.get(reference.target.as_str())?.entry;
    entry.attributes.get(&reference.attribute).or_else(|| entry.outputs.get(&reference.attribute)).cloned()
}
