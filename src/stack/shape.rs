//! Holds values against a JSON Schema, as generated from the types of kinds and constructs, and tells every
//! difference at its place, in words of the language.

use serde_json::Value;

use super::diagnostic::{Finding, Report, did_you_mean, list, nearest};
use super::node::{Entry, Item, Node};
use crate::graph::template;

/// A schema together with the document that its `$ref`s point into.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    root: &'a Value,
    here: &'a Value,
}

/// How a check is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode<'a> {
    /// Whether required keys may be missing: overlays, and resources that exist already.
    pub partial: bool,
    /// Keys that need not be given although the schema requires them (names that are filled in).
    pub optional: &'a [&'a str],
    /// Keys that the block takes besides the schema's, for hints.
    pub besides: &'a [&'a str],
}

impl<'a> Shape<'a> {
    /// A whole schema.
    pub fn new(root: &'a Value) -> Self {
        Self { root, here: root }
    }

    fn at(self, here: &'a Value) -> Self {
        Self { here, ..self }
    }

    /// The schema that a `$ref` means.
    fn followed(self) -> Self {
        let mut here = self.here;
        for _ in 0..16 {
            let Some(pointer) = here.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) else {
                break;
            };
            match self.root.pointer(pointer) {
                Some(target) => here = target,
                None => break,
            }
        }
        self.at(here)
    }

    /// An extension such as `x-reference`.
    pub fn extension(self, name: &str) -> Option<&'a Value> {
        self.here.get(name)
    }

    fn description(self) -> Option<&'a str> {
        let text = self.here.get("description").or_else(|| self.followed().here.get("description"));
        text.and_then(Value::as_str)
    }

    /// The alternatives of `anyOf` and `oneOf`, without null; the schema itself where there are none.
    fn alternatives(self) -> Vec<Self> {
        self.alternatives_to(8)
    }

    fn alternatives_to(self, depth: usize) -> Vec<Self> {
        let schema = self.followed();
        let found = ["anyOf", "oneOf"].iter().find_map(|key| schema.here.get(*key)?.as_array());
        match found {
            Some(all) if depth > 0 => all
                .iter()
                .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"))
                .flat_map(|one| schema.at(one).alternatives_to(depth - 1))
                .collect(),
            _ => vec![schema],
        }
    }

    fn types(self) -> Vec<&'a str> {
        match self.here.get("type") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
            _ => Vec::new(),
        }
    }

    /// The only values allowed, where the schema lists them.
    fn allowed(self) -> Option<Vec<&'a Value>> {
        if let Some(one) = self.here.get("const") {
            return Some(vec![one]);
        }
        let all = self.here.get("enum")?.as_array()?;
        Some(all.iter().filter(|value| !value.is_null()).collect())
    }

    /// The properties, those of alternatives among them.
    pub fn properties(self) -> Vec<(&'a str, Self)> {
        let schema = self.followed();
        let mut out: Vec<(&str, Self)> = Vec::new();
        let own = std::iter::once(schema).chain(schema.alternatives());
        for one in own {
            if let Some(Value::Object(map)) = one.here.get("properties") {
                for (key, property) in map {
                    if !out.iter().any(|(known, _)| known == key) {
                        out.push((key, one.at(property)));
                    }
                }
            }
        }
        out
    }

    /// The schema of a key's value.
    pub fn property(self, key: &str) -> Option<Self> {
        let schema = self.followed();
        let own = |one: Self| Some(one.at(one.here.get("properties")?.get(key)?));
        own(schema).or_else(|| schema.alternatives().into_iter().find_map(own)).or_else(|| {
            let more = std::iter::once(schema).chain(schema.alternatives());
            more.filter_map(|one| Some(one.at(one.here.get("additionalProperties").filter(|s| s.is_object())?))).next()
        })
    }

    /// The schema of a list's items.
    pub fn items(self) -> Option<Self> {
        self.alternatives().into_iter().find_map(|one| Some(one.at(one.here.get("items").filter(|s| s.is_object())?)))
    }

    /// Whether any text may stand here.
    pub fn takes_text(self) -> bool {
        self.alternatives().into_iter().any(|one| {
            let types = one.types();
            one.allowed().is_none() && (types.is_empty() || types.contains(&"string"))
        })
    }

    /// What may stand here, in words.
    pub fn wanted(self) -> String {
        let all = self.alternatives();
        let allowed: Vec<String> =
            all.iter().filter_map(|one| one.allowed()).flatten().map(|value| value.to_string()).collect();
        match allowed.is_empty() {
            true => words_of(&all).join(" or "),
            false => format!("one of {}", list(allowed.iter().map(String::as_str))),
        }
    }

    /// The simplest value of this shape: stands in where a value is not known yet.
    pub fn simplest(self) -> Value {
        let all = self.alternatives();
        let Some(one) = all.first().copied() else { return Value::Null };
        if let Some(first) = one.allowed().and_then(|all| all.first().copied()) {
            return first.clone();
        }
        match one.types().first().copied() {
            Some("integer") => one.here.get("minimum").cloned().unwrap_or_else(|| 0.into()),
            Some("number") => one.here.get("minimum").cloned().unwrap_or_else(|| 0.0.into()),
            Some("boolean") => Value::Bool(false),
            Some("array") => Value::Array(Vec::new()),
            Some("object") => one
                .required()
                .filter_map(|key| Some((key.to_owned(), one.property(key)?.simplest())))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => Value::String(String::new()),
        }
    }

    fn required(self) -> impl Iterator<Item = &'a str> {
        self.here.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Reports everything in a value that is not of this shape. `what` names the value: `subnet.a.cidr`.
    pub fn check(self, node: &Node, what: &str, mode: Mode<'_>, report: &mut Report) {
        if is_whole_reference(node) || self.is_file(node) {
            return;
        }
        if self.extension("x-files").is_some() {
            let help = match node.text() {
                Some(name) if name.contains('.') && !name.contains(char::is_whitespace) => {
                    format!("put it in brackets: [\"{name}\"]")
                }
                _ => "list names of files, or give a table of name = document".to_owned(),
            };
            report
                .error(Finding::at(node.place, format!("`{what}` is {}, not a list of files", node.is_a())).help(help));
            return;
        }
        let all = self.alternatives();
        let fitting: Vec<Self> = all.iter().copied().filter(|one| one.fits_type(node)).collect();
        match fitting.as_slice() {
            _ if all.iter().all(|one| one.allowed().is_some()) => self.check_allowed(&all, node, what, report),
            [] => self.wrong_type(&all, node, what, report),
            [one] => one.check_one(node, what, mode, report),
            several => {
                let tries = several.iter().map(|one| {
                    let mut told = Report::default();
                    one.check_one(node, what, mode, &mut told);
                    told
                });
                if let Some(best) = tries.min_by_key(Report::errors) {
                    report.append(best);
                }
            }
        }
    }

    /// Whether a table or list stands where the schema says text and the text would be a document or a file.
    fn is_file(self, node: &Node) -> bool {
        let is_json = self.extension("x-file").and_then(Value::as_str) == Some("json");
        let table_or_list = matches!(node.item, Item::Table(_) | Item::List(_));
        table_or_list && (is_json || self.extension("x-files").is_some())
    }

    fn fits_type(self, node: &Node) -> bool {
        let types = self.types();
        let one_of = |names: &[&str]| types.iter().any(|t| names.contains(t));
        types.is_empty()
            || match &node.item {
                Item::Text(_) => one_of(&["string"]),
                Item::Integer(_) => one_of(&["integer", "number"]),
                Item::Float(_) => one_of(&["number"]),
                Item::Bool(_) => one_of(&["boolean"]),
                Item::Date(_) | Item::Null => false,
                Item::List(_) => one_of(&["array"]),
                Item::Table(_) => one_of(&["object"]),
            }
    }

    fn check_one(self, node: &Node, what: &str, mode: Mode<'_>, report: &mut Report) {
        if self.allowed().is_some() {
            return self.check_allowed(&[self], node, what, report);
        }
        match &node.item {
            Item::Integer(number) => self.check_range(*number as f64, node, what, report),
            Item::Float(number) => self.check_range(*number, node, what, report),
            Item::List(items) => {
                if let Some(shape) = self.items() {
                    let inner = Mode { partial: false, ..Mode::default() };
                    for (index, item) in items.iter().enumerate() {
                        shape.check(item, &format!("{what}[{index}]"), inner, report);
                    }
                }
            }
            Item::Table(_) => self.check_table(node, what, mode, report),
            _ => {}
        }
    }

    fn check_allowed(self, all: &[Self], node: &Node, what: &str, report: &mut Report) {
        let allowed: Vec<&Value> = all.iter().filter_map(|one| one.allowed()).flatten().collect();
        let value = node.value();
        if allowed.contains(&&value) || template::is_unknown(&value) {
            return;
        }
        let words: Vec<String> = allowed.iter().map(|value| value.to_string()).collect();
        let finding = match node.text() {
            Some(text) => Finding::at(node.place, format!("`{what}` cannot be \"{text}\"")),
            None => Finding::at(node.place, format!("`{what}` cannot be {}", node.is_a())),
        };
        let near = node.text().and_then(|text| nearest(text, allowed.iter().filter_map(|value| value.as_str())));
        let all = list(words.iter().map(String::as_str));
        report.error(finding.help(match near {
            Some(near) => format!("did you mean \"{near}\"? It takes one of {all}"),
            None => format!("it takes one of {all}"),
        }));
    }

    fn check_range(self, number: f64, node: &Node, what: &str, report: &mut Report) {
        let bound = |key: &str| self.here.get(key).and_then(Value::as_f64);
        let (of_low, of_high) = match self.here.get("format").and_then(Value::as_str) {
            Some("uint8") => (0.0, f64::from(u8::MAX)),
            Some("uint16") => (0.0, f64::from(u16::MAX)),
            Some("uint32") => (0.0, f64::from(u32::MAX)),
            Some("uint64" | "uint") => (0.0, f64::INFINITY),
            Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let low = bound("minimum").map_or(of_low, |low| low.max(of_low));
        let high = bound("maximum").map_or(of_high, |high| high.min(of_high));
        if number < low || number > high {
            let range = match (low.is_finite(), high.is_finite()) {
                (true, true) => format!("from {low} to {high}"),
                (true, false) => format!("from {low} on"),
                _ => format!("up to {high}"),
            };
            report.error(
                Finding::at(node.place, format!("`{what}` cannot be {number}"))
                    .help(format!("it takes numbers {range}")),
            );
        }
    }

    fn check_table(self, node: &Node, what: &str, mode: Mode<'_>, report: &mut Report) {
        let properties = self.properties();
        let closed = self.here.get("additionalProperties") == Some(&Value::Bool(false));
        let inner = Mode { partial: mode.partial, ..Mode::default() };
        let mut meant: Vec<&str> = Vec::new();
        for entry in node.entries() {
            match self.property(&entry.key) {
                Some(shape) => {
                    let what = if what.is_empty() { entry.key.clone() } else { format!("{what}.{}", entry.key) };
                    shape.check(&entry.node, &what, inner, report);
                }
                None if closed => {
                    let free = |key: &str| node.table().is_none_or(|table| table.get(key).is_none());
                    let names = properties.iter().map(|(key, _)| *key).chain(mode.besides.iter().copied());
                    let free: Vec<&str> = names.filter(|key| free(key)).collect();
                    meant.extend(nearest(&entry.key, free.iter().copied()));
                    report.error(unknown_key(entry, what, free));
                }
                None => {}
            }
        }
        if mode.partial {
            return;
        }
        let missing: Vec<&str> = self
            .required()
            .filter(|key| !mode.optional.contains(key) && !meant.contains(key))
            .filter(|key| node.table().is_none_or(|table| table.get(key).is_none()))
            .collect();
        if missing.is_empty() {
            return;
        }
        let names = missing.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
        let help: Vec<String> = missing
            .iter()
            .filter_map(|key| Some(format!("{key}: {}", first_sentence(self.property(key)?.description()?))))
            .collect();
        let what = if what.is_empty() { "the stack".to_owned() } else { format!("`{what}`") };
        let finding = Finding::at(node.place, format!("{what} lacks {names}"));
        report.error(finding.help(if help.is_empty() { format!("add {names}") } else { help.join("\n") }));
    }

    fn wrong_type(self, all: &[Self], node: &Node, what: &str, report: &mut Report) {
        let wanted = words_of(all);
        let takes = |words: &str| wanted.contains(&words);
        let mut of_variable = None;
        let help = match &node.item {
            Item::Text(text) => {
                let declared = [("an integer", "integer"), ("a number", "number"), ("true or false", "bool")];
                let declared = declared.into_iter().find(|(words, _)| takes(words));
                of_variable =
                    declared.map(|(_, name)| format!("say what it is: {{}} = {{ type = \"{name}\" }} in [vars]"));
                let bare = (takes("an integer") && text.parse::<i64>().is_ok())
                    || (takes("a number") && text.parse::<f64>().is_ok())
                    || (takes("true or false") && text.parse::<bool>().is_ok());
                match bare {
                    true => Some(format!("write it without quotes: {text}")),
                    false if takes("a list") => Some(format!("put it in brackets: [\"{text}\"]")),
                    false => None,
                }
            }
            Item::Float(number) if number.fract() == 0.0 && takes("an integer") => {
                Some(format!("write it without a point: {number:.0}"))
            }
            Item::Integer(_) | Item::Float(_) | Item::Bool(_) | Item::Date(_) if takes("a text") => {
                let text = node.value();
                Some(format!(
                    "write it in quotes: \"{}\"",
                    text.as_str().map_or_else(|| text.to_string(), str::to_owned)
                ))
            }
            Item::List(items) if items.len() == 1 && !takes("a list") && !takes("a table") => {
                Some("write the one value without brackets".to_owned())
            }
            _ => None,
        };
        let about = self.description().map(|text| format!("{}: {}", last_step(what), first_sentence(text)));
        report.error(
            Finding::at(node.place, format!("`{what}` is {}, and must be {}", node.is_a(), wanted.join(" or ")))
                .maybe_help(help.or(about).or_else(|| Some(format!("give it {}", wanted.join(" or ")))))
                .help_for_variable(of_variable),
        );
    }
}

/// What these alternatives take, in words.
fn words_of(all: &[Shape<'_>]) -> Vec<&'static str> {
    let mut wanted: Vec<&str> = Vec::new();
    for name in all.iter().flat_map(|one| one.types()) {
        let words = match name {
            "string" => "a text",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            _ => "a table",
        };
        if !wanted.contains(&words) {
            wanted.push(words);
        }
    }
    wanted
}

fn unknown_key(entry: &Entry, what: &str, free: Vec<&str>) -> Finding {
    Finding::at(entry.key_place, format!("`{what}` has no key `{}`", entry.key))
        .maybe_help(did_you_mean(&entry.key, free, "it also takes").or_else(|| Some("take it out".to_owned())))
}

/// Whether a node is one reference and nothing else: its value may be of any type.
pub fn is_whole_reference(node: &Node) -> bool {
    node.text().is_some_and(|text| matches!(template::parts(text).as_slice(), [template::Part::Reference(..)]))
}

fn last_step(what: &str) -> &str {
    what.rsplit('.').next().unwrap_or(what)
}

/// The first sentence of a description, on one line.
fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        Some(end) => line[..=end].to_owned(),
        None => line,
    }
}

/// Calls `found` for every value whose schema carries one of these extensions, with the extension. An extension on a
/// list is for its items.
pub fn each_extended(
    node: &mut Node,
    shape: Shape<'_>,
    names: &[&str],
    found: &mut dyn FnMut(&mut Node, &str, &Value),
) {
    for name in names {
        if let Some(value) = shape.extension(name) {
            let each = *name != "x-files" && *name != "x-file";
            match &mut node.item {
                Item::List(items) if each => items.iter_mut().for_each(|item| found(item, name, value)),
                _ => found(node, name, value),
            }
            return;
        }
    }
    match &mut node.item {
        Item::List(items) => {
            if let Some(shape) = shape.items() {
                items.iter_mut().for_each(|item| each_extended(item, shape, names, found));
            }
        }
        Item::Table(table) => {
            for entry in &mut table.entries {
                if let Some(shape) = shape.property(&entry.key) {
                    each_extended(&mut entry.node, shape, names, found);
                }
            }
        }
        _ => {}
    }
}
