//! What is known before any resource is: variables (`${vars.x}`), the stack itself (`${self.region}`), and what
//! other stacks left behind (`${stack.NAME.output}`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::Options;
use super::declared::{Declared, declaration};
use super::diagnostic::{Finding, Report, did_you_mean, nearest};
use super::files::Files;
use super::node::{Entry, Item, Node};
use super::source::{Origin, Place, Sources};
use super::substitute::substitute;
use crate::graph::{Attributes, Reference, template};
use crate::secret::{Mark, Secrets};

/// How many variables may stand between one and its value.
const DEEPEST: usize = 32;

/// The longest value that a variable may have, in bytes of JSON.
const LONGEST: usize = 1 << 20;

/// A variable's value.
enum Variable {
    /// Being worked out: meeting it again is a cycle.
    Open,
    /// Known, in the desired space.
    Known(Value),
    /// Wrong; told already.
    Broken,
}

/// Answers the references that need no resource.
pub struct Scopes<'a> {
    options: &'a Options<'a>,
    declared: BTreeMap<String, Declared>,
    variables: HashMap<String, Variable>,
    /// What `${self.…}` knows.
    pub own: BTreeMap<&'static str, Option<String>>,
    secrets: Secrets,
    stacks: BTreeMap<String, Result<Attributes, String>>,
    told: BTreeSet<String>,
    /// Whether values are needed at once, and not their names alone.
    needs_values: bool,
    depth: usize,
    too_deep: bool,
}

impl<'a> Scopes<'a> {
    /// The declarations of `[vars]`, checked.
    pub fn new(options: &'a Options<'a>, vars: Option<Entry>, report: &mut Report) -> Self {
        let mut declared = BTreeMap::new();
        if let Some(entry) = vars {
            match entry.node.item {
                Item::Table(table) => {
                    for entry in table.entries {
                        let one = declaration(entry, report);
                        declared.insert(one.name.clone(), one);
                    }
                }
                _ => report.error(
                    Finding::at(entry.node.place, format!("`vars` is {}, not a table", entry.node.is_a()))
                        .help("declare variables as [vars] with name = default in it"),
                ),
            }
        }
        let scopes = Self {
            options,
            declared,
            variables: HashMap::new(),
            own: BTreeMap::new(),
            secrets: Secrets::default(),
            stacks: BTreeMap::new(),
            told: BTreeSet::new(),
            needs_values: false,
            depth: 0,
            too_deep: false,
        };
        for name in options.vars.keys().filter(|name| !scopes.declared.contains_key(*name)) {
            report.error(
                Finding::nowhere(format!("`--var {name}=…` sets a variable that the stack does not declare"))
                    .maybe_help(scopes.undeclared_help(name)),
            );
        }
        for name in options.environment.keys().filter(|name| !scopes.declared.contains_key(*name)) {
            report.warning(
                Finding::nowhere(format!(
                    "the environment sets the variable `{name}`, which the stack does not declare"
                ))
                .maybe_help(
                    nearest(name, scopes.declared.keys().map(String::as_str))
                        .map(|near| format!("did you mean `{near}`?")),
                ),
            );
        }
        scopes
    }

    fn undeclared_help(&self, name: &str) -> Option<String> {
        let known = self.declared.keys().map(String::as_str);
        did_you_mean(name, known, "declared are")
            .or_else(|| Some(format!("declare it: [vars] with {name} = \"…\" in it")))
    }

    /// Works out every variable, used or not, so that a missing one is told at its declaration.
    pub fn settle(&mut self, sources: &Sources, report: &mut Report) {
        let names: Vec<String> = self.declared.keys().cloned().collect();
        for name in names {
            self.variable(&name, sources, report);
        }
    }

    /// The secret variables: their values where these are given now. A value that is not is missed only by who needs it.
    pub fn read_secrets(&mut self, files: &Files<'_>, report: &mut Report) {
        for (name, declared) in &self.declared {
            let Some(file) = &declared.secret else { continue };
            if self.options.vars.contains_key(name) {
                report.error(
                    Finding::at(declared.place, format!("`--var {name}=…` shows a secret to everybody on the machine"))
                        .label("declared secret here")
                        .help(format!("give it in the environment, as COFFERDAM_VAR_{name}, or in a file")),
                );
            }
            let value = match (self.options.environment.get(name), file) {
                (Some(value), _) => Some(value.clone()),
                (None, None) => None,
                (None, Some((path, place))) => match (files.read)(path).map(String::from_utf8) {
                    Ok(Ok(text)) => Some(text.strip_suffix('\n').map_or(text.clone(), str::to_owned)),
                    Ok(Err(_)) => {
                        report.error(
                            Finding::at(*place, format!("the file `{path}` is not UTF-8")).help("a secret is a text"),
                        );
                        None
                    }
                    // Whoever does not send it need not have it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(error) => {
                        report.error(
                            Finding::at(*place, format!("the file `{path}` cannot be read: {error}"))
                                .help("make it readable for yourself"),
                        );
                        None
                    }
                },
            };
            if value.as_ref().is_some_and(String::is_empty) {
                report.error(
                    Finding::at(declared.place, format!("the secret `{name}` is empty"))
                        .help("give it a value, or leave it out where it is not sent"),
                );
            }
            self.secrets.declare(name, value);
        }
    }

    /// The secret variables.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The secret variables, for good.
    pub fn take_secrets(&mut self) -> Secrets {
        std::mem::take(&mut self.secrets)
    }

    /// The variables that are known.
    pub fn variables(&self) -> BTreeMap<String, Value> {
        self.variables
            .iter()
            .filter_map(|(name, variable)| match variable {
                Variable::Known(value) => Some((name.clone(), value.clone())),
                _ => None,
            })
            .collect()
    }

    /// Where each variable has its value from: for what is wrong with a value where it is used.
    pub fn origins(&self) -> BTreeMap<String, Origin> {
        let given = |name: &String| {
            let by_option = self.options.vars.contains_key(name).then(|| format!("--var {name}=…"));
            by_option
                .or_else(|| self.options.environment.contains_key(name).then(|| format!("COFFERDAM_VAR_{name}")))
                .map(Origin::Given)
        };
        let of = |one: &Declared| given(&one.name).or_else(|| Some(Origin::Default(one.default.as_ref()?.place)));
        self.declared.values().filter_map(|one| Some((one.name.clone(), of(one)?))).collect()
    }

    /// What was read of other stacks.
    pub fn stacks(&self) -> impl Iterator<Item = (&String, &Attributes)> {
        self.stacks.iter().filter_map(|(name, outputs)| Some((name, outputs.as_ref().ok()?)))
    }

    /// Whether a reference is one of these scopes': what is left of them in a template was told already.
    pub fn owns(reference: &Reference) -> bool {
        let scope = reference.target.split('.').next().unwrap_or("");
        matches!(scope, "vars" | "self" | "stack")
    }

    /// The other stack that a reference is to.
    pub fn stack_of(reference: &Reference) -> Option<String> {
        let name = reference.target.strip_prefix("stack.")?;
        Some(name.split('.').next().unwrap_or(name).to_owned())
    }

    /// The other stacks that a template names.
    pub fn stacks_in(text: &str) -> impl Iterator<Item = String> {
        template::references(text).into_iter().filter_map(|reference| Self::stack_of(&reference))
    }

    /// Puts everything known into a node.
    pub fn fill(&mut self, node: &mut Node, sources: &Sources, report: &mut Report) {
        substitute(node, sources, report, &mut |reference, at, report| self.look(reference, at, sources, report));
    }

    /// The same for what must be known before anything else is.
    pub fn fill_now(&mut self, node: &mut Node, sources: &Sources, report: &mut Report) {
        self.needs_values = true;
        self.fill(node, sources, report);
        self.needs_values = false;
    }

    fn look(&mut self, reference: &Reference, at: Place, sources: &Sources, report: &mut Report) -> Option<Value> {
        let whole = reference.to_string();
        let mut path = whole.split('.');
        match path.next()? {
            "vars" => self.look_variable(&whole, at, sources, report),
            "self" => {
                let name = path.next()?;
                match self.own.get(name) {
                    Some(value) if path.next().is_none() => Some(value.clone().unwrap_or_default().into()),
                    _ => {
                        let known = self.own.keys().copied();
                        report.error(Finding::at(at, format!("the stack has no `{whole}`")).maybe_help(did_you_mean(
                            name,
                            known,
                            "known are",
                        )));
                        None
                    }
                }
            }
            "stack" => self.look_stack(&whole, at, report),
            _ => None,
        }
    }

    fn look_variable(&mut self, whole: &str, at: Place, sources: &Sources, report: &mut Report) -> Option<Value> {
        let mut path = whole.split('.').skip(1);
        let name = path.next()?;
        if !self.declared.contains_key(name) {
            report.error(
                Finding::at(at, format!("no variable `{name}` is declared")).maybe_help(self.undeclared_help(name)),
            );
            return None;
        }
        if matches!(self.variables.get(name), Some(Variable::Open)) {
            report.error(
                Finding::at(at, format!("the variable `{name}` is defined by itself"))
                    .help("give one of the variables on the way a value that names no other"),
            );
            return None;
        }
        let mut value = self.variable(name, sources, report)?;
        for key in path {
            match value.get(key) {
                Some(inner) => value = inner.clone(),
                // What is in another stack's output is as unknown as that.
                None if self.options.declared_outputs.is_some() && is_of_a_stack(&value) => return Some(value),
                None => {
                    let keys: Vec<String> =
                        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
                    report.error(
                        Finding::at(at, format!("`{whole}` goes into a value that has no `{key}`"))
                            .maybe_help(did_you_mean(key, keys.iter().map(String::as_str), "it has")),
                    );
                    return None;
                }
            }
        }
        Some(value)
    }

    fn variable(&mut self, name: &str, sources: &Sources, report: &mut Report) -> Option<Value> {
        match self.variables.get(name) {
            Some(Variable::Known(value)) => return Some(value.clone()),
            Some(_) => return None,
            None => {}
        }
        self.variables.insert(name.to_owned(), Variable::Open);
        let before = report.errors();
        self.depth += 1;
        let value = self.work_out(name, sources, report);
        self.depth -= 1;
        self.check_size(name, value.as_ref(), report);
        let variable = match &value {
            Some(value) if report.errors() == before => Variable::Known(value.clone()),
            _ => Variable::Broken,
        };
        self.variables.insert(name.to_owned(), variable);
        value.filter(|_| report.errors() == before)
    }

    /// Variables that hold each other several times grow quickly.
    fn check_size(&self, name: &str, value: Option<&Value>, report: &mut Report) {
        let length = value.map_or(0, |value| value.to_string().len());
        if let (true, Some(declared)) = (length > LONGEST, self.declared.get(name)) {
            report.error(
                Finding::at(declared.place, format!("the variable `{name}` would be {length} bytes long"))
                    .help("values go up to 1 MiB: let it name fewer others"),
            );
        }
    }

    fn work_out(&mut self, name: &str, sources: &Sources, report: &mut Report) -> Option<Value> {
        let declared = self.declared.get(name)?;
        if declared.secret.is_some() {
            return Some(Mark { name, digest: None }.to_string().into());
        }
        let (place, broken) = (declared.place, declared.broken);
        let (kind, mut default) = (declared.kind.clone(), declared.default.clone());
        let given = self.options.vars.get(name).map(|text| (text, format!("--var {name}=…")));
        let given =
            given.or_else(|| self.options.environment.get(name).map(|text| (text, format!("COFFERDAM_VAR_{name}"))));
        if let Some((text, origin)) = given {
            // Without a declared type it is the default's.
            let value_kind = kind.or_else(|| {
                let node = default.as_mut()?;
                self.fill(node, sources, report);
                kind_of(node).map(str::to_owned)
            });
            return match parse_given(text, value_kind.as_deref()) {
                Some(value) => Some(template::escape_value(&value)),
                None => {
                    let kind = value_kind.as_deref().unwrap_or("string");
                    report.error(
                        Finding::at(place, format!("{origin} gives `{text}`, and `{name}` is {}", with_article(kind)))
                            .label("declared here")
                            .help("give a value of that type"),
                    );
                    None
                }
            };
        }
        if default.is_none() && broken {
            return None;
        }
        let Some(node) = default.as_mut() else {
            report.error(Finding::at(place, format!("the variable `{name}` has no value")).help(format!(
                "give it with --var {name}=… or COFFERDAM_VAR_{name}, in an overlay, or declare a default"
            )));
            return None;
        };
        if self.depth > DEEPEST {
            if !std::mem::replace(&mut self.too_deep, true) {
                report.error(
                    Finding::at(node.place, format!("the variable `{name}` is more than {DEEPEST} variables away"))
                        .help("let variables name fewer others in a row"),
                );
            }
            return None;
        }
        self.fill(node, sources, report);
        if let (Some(wanted), Some(found)) = (kind.as_deref(), kind_of(node))
            && wanted != found
            && !(wanted == "number" && found == "integer")
            && !template::is_unknown(&node.value())
        {
            report.error(
                Finding::at(
                    node.place,
                    format!("the variable `{name}` is {}, and this is {}", with_article(wanted), { node.is_a() }),
                )
                .help("change the value, or the type in its declaration"),
            );
        }
        Some(node.value())
    }

    fn look_stack(&mut self, whole: &str, at: Place, report: &mut Report) -> Option<Value> {
        let rest = whole.strip_prefix("stack.")?;
        let Some((name, output)) = rest.split_once('.') else {
            report.error(
                Finding::at(at, format!("`{whole}` names no output"))
                    .help(format!("write ${{stack.NAME.OUTPUT}}; for this stack itself ${{self.{rest}}}")),
            );
            return None;
        };
        let ask = self.options.stack_outputs;
        let region = self.own.get("region").cloned().flatten().unwrap_or_default();
        let answer = self.stacks.entry(name.to_owned()).or_insert_with(|| ask(name, &region));
        if let Some(value) = answer.as_ref().ok().and_then(|outputs| outputs.get(output)) {
            return Some(template::escape_value(value));
        }
        let only_checks = self.options.declared_outputs.filter(|_| !self.needs_values);
        let declared = only_checks.and_then(|declared| declared(name, &region));
        if declared.as_ref().is_some_and(|declared| declared.contains(output)) {
            return None;
        }
        let lacks = |outputs: Vec<&str>| {
            Finding::at(at, format!("the stack `{name}` has no output `{output}`")).maybe_help(
                did_you_mean(output, outputs, "its outputs are")
                    .or_else(|| Some(format!("declare it in [outputs] of `{name}` and apply that stack"))),
            )
        };
        match (answer, declared) {
            // That its value is missed was told.
            (Err(_), Some(_)) if self.told.contains(name) => {}
            (_, Some(declared)) => report.error(lacks(declared.iter().map(String::as_str).collect())),
            (Ok(outputs), None) => report.error(lacks(outputs.keys().map(String::as_str).collect())),
            // One stack that cannot be read is one mistake, however often it is named.
            (Err(_), None) if !self.told.insert(name.to_owned()) => {}
            (Err(why), None) if only_checks.is_some() => {
                let what = format!(
                    "what the stack `{name}` puts out is not known here: {why}, and no stack file of this region declares it"
                );
                report.warning(Finding::at(at, what));
            }
            (Err(why), None) => report.error(
                Finding::at(at, format!("the outputs of the stack `{name}` cannot be read: {why}"))
                    .help(format!("apply `{name}` first, for the same cloud, account and region")),
            ),
        }
        None
    }
}

/// Whether a value is nothing but another stack's output, which is not known.
fn is_of_a_stack(value: &Value) -> bool {
    let parts = template::parts(value.as_str().unwrap_or_default());
    matches!(parts.as_slice(), [template::Part::Reference(inner, _)] if inner.trim().starts_with("stack."))
}

fn with_article(kind: &str) -> String {
    match kind {
        "integer" => "an integer".into(),
        "bool" => "true or false".into(),
        "string" => "a text".into(),
        other => format!("a {other}"),
    }
}

fn kind_of(node: &Node) -> Option<&'static str> {
    Some(match node.item {
        Item::Null => return None,
        Item::Text(_) | Item::Date(_) => "string",
        Item::Integer(_) => "integer",
        Item::Float(_) => "number",
        Item::Bool(_) => "bool",
        Item::List(_) => "list",
        Item::Table(_) => "table",
    })
}

/// A value given as text, in the type of its variable; without one it is a text.
fn parse_given(text: &str, kind: Option<&str>) -> Option<Value> {
    match kind {
        Some("integer") => text.trim().parse::<i64>().ok().map(Value::from),
        Some("number") => match text.trim().parse::<i64>() {
            Ok(number) => Some(Value::from(number)),
            Err(_) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        },
        Some("bool") => text.trim().parse::<bool>().ok().map(Value::from),
        Some(kind @ ("list" | "table")) => {
            let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
            let value = serde_json::to_value(table.get("value")?).ok()?;
            (table.len() == 1 && if kind == "list" { value.is_array() } else { value.is_object() }).then_some(value)
        }
        _ => Some(Value::from(text)),
    }
}
