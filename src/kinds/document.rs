//! JSON documents in attributes: policies of IAM and of endpoints, and JSON of other services.
//!
//! A document is kept as one canonical text, so that what the stack says and what AWS returns compare equal and a plan
//! shows their difference line by line: keys sorted, indented by two spaces and, in policies, lists of one written as
//! the one thing and lists without an order sorted. References may stand inside its strings.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::graph::{Problem, template};
use crate::words::nearest;

/// The current version of the policy language ("IAM JSON policy elements: Version").
pub const POLICY_VERSION: &str = "2012-10-17";

/// A policy document in its canonical text. In a stack: a file name, JSON text, or the document itself as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyDocument(String);

/// A JSON document in its canonical text, whose lists keep their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JsonDocument(String);

impl PolicyDocument {
    /// A document of this text. Text that is no JSON stays as it is; [`check_policy`] says what is wrong with it.
    pub fn new(text: &str) -> Self {
        Self(match serde_json::from_str(text) {
            Ok(document) => pretty(&canonical_policy(document)),
            Err(_) => text.to_owned(),
        })
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonDocument {
    /// A document of this text. Text that is no JSON stays as it is; [`check_json`] says what is wrong with it.
    pub fn new(text: &str) -> Self {
        Self(serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |document| pretty(&document)))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `serde_json`'s maps are sorted by key, and so is this.
fn pretty(document: &Value) -> String {
    format!("{document:#}")
}

fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        document @ Value::Object(_) => Ok(document.to_string()),
        other => {
            Err(serde::de::Error::custom(format!("`{other}` is no document: give a file name, JSON text or a table")))
        }
    }
}

impl<'de> Deserialize<'de> for PolicyDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&text_of(deserializer)?))
    }
}

impl<'de> Deserialize<'de> for JsonDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&text_of(deserializer)?))
    }
}

macro_rules! document_schema {
    ($type:ty, $name:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "anyOf": [{ "type": "string" }, { "type": "object" }] })
            }
        }
    };
}
document_schema!(PolicyDocument, "PolicyDocument");
document_schema!(JsonDocument, "JsonDocument");

/// The canonical form of a policy: a list of statements, each with its lists sorted or reduced to the one thing in them.
fn canonical_policy(document: Value) -> Value {
    let Value::Object(mut document) = document else { return document };
    if let Some(statements) = document.remove("Statement") {
        let statements = match statements {
            Value::Array(statements) => statements,
            one => vec![one],
        };
        document.insert("Statement".into(), statements.into_iter().map(canonical_statement).collect());
    }
    Value::Object(document)
}

fn canonical_statement(statement: Value) -> Value {
    let Value::Object(statement) = statement else { return statement };
    let canonical = |(key, value): (String, Value)| {
        let value = match (key.as_str(), value) {
            ("Action" | "NotAction" | "Resource" | "NotResource", value) => unordered(value),
            ("Principal" | "NotPrincipal", Value::Object(by_type)) => {
                by_type.into_iter().map(|(of, who)| (of, unordered(account_root(who)))).collect::<Map<_, _>>().into()
            }
            ("Condition", Value::Object(operators)) => operators
                .into_iter()
                .map(|(operator, keys)| match keys {
                    Value::Object(keys) => {
                        let keys = keys.into_iter().map(|(key, values)| (key, unordered(values)));
                        (operator, keys.collect::<Map<_, _>>().into())
                    }
                    other => (operator, other),
                })
                .collect::<Map<_, _>>()
                .into(),
            (_, value) => value,
        };
        (key, value)
    };
    statement.into_iter().map(canonical).collect::<Map<_, _>>().into()
}

/// A set of scalars: as text, sorted, without repetition; one alone stands for itself.
fn unordered(value: Value) -> Value {
    let as_text = |value: Value| match value {
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        other => other,
    };
    let Value::Array(items) = value else { return as_text(value) };
    if items.iter().any(|item| item.is_array() || item.is_object() || item.is_null()) {
        return Value::Array(items);
    }
    let set: BTreeSet<String> =
        items.into_iter().filter_map(|item| as_text(item).as_str().map(str::to_owned)).collect();
    let mut items: Vec<Value> = set.into_iter().map(Value::String).collect();
    match (items.len(), items.pop()) {
        (1, Some(one)) => one,
        (_, last) => Value::Array(items.into_iter().chain(last).collect()),
    }
}

/// An account number as principal is returned as the ARN of its root user ("AWS JSON policy elements: Principal"); the
/// number stands for both.
fn account_root(principals: Value) -> Value {
    let shorten = |value: Value| match &value {
        Value::String(arn) => match arn.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "iam", "", account, "root"] if account.len() == 12 => Value::String((*account).to_owned()),
            _ => value,
        },
        _ => value,
    };
    match principals {
        Value::Array(items) => items.into_iter().map(shorten).collect(),
        one => shorten(one),
    }
}

/// Where a policy stands; decides which elements it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyUse {
    /// Attached to an identity: actions on resources, for whoever has it.
    Identity,
    /// The trust of a role: who may assume it.
    Trust,
    /// Attached to a resource: principals and actions.
    Resource,
}

/// How many characters of a document count towards AWS's limits: all but white space ("IAM and AWS STS quotas").
pub fn size(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// What is wrong with a JSON document.
pub fn check_json(value: &Value, path: &[&str], problems: &mut Vec<Problem>) {
    let at = Place { path, file: value.is_string() };
    parse(value, &at, problems);
}

/// What is wrong with a policy document. `limit`: the characters it may have, see [`size`].
pub fn check_policy(value: &Value, path: &[&str], usage: PolicyUse, limit: usize, problems: &mut Vec<Problem>) {
    let at = Place { path, file: value.is_string() };
    let Some(document) = parse(value, &at, problems) else { return };
    let Value::Object(document) = document else {
        problems.push(at.problem(&[], "a policy is a JSON object").help("begin with {\"Version\": \"2012-10-17\", …"));
        return;
    };
    let misspelled = check_keys(&document, &["Version", "Id", "Statement"], &[], "the policy", &at, problems);
    match document.get("Version") {
        None if misspelled.contains("Version") => {}
        None => problems.push(
            at.problem(&[], "the policy has no `Version`")
                .help(format!("add \"Version\": \"{POLICY_VERSION}\"; without it policy variables do not work")),
        ),
        Some(Value::String(version)) if version == POLICY_VERSION || version.contains("${") => {}
        Some(other) => problems.push(
            at.problem(&["Version"], format!("the policy's `Version` is {other}"))
                .help(format!("the version of the policy language is \"{POLICY_VERSION}\", not the date of writing")),
        ),
    }
    let statements = match document.get("Statement") {
        None => {
            if !misspelled.contains("Statement") {
                problems.push(at.problem(&[], "the policy has no `Statement`").help("add a list of statements"));
            }
            return;
        }
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one) => vec![one],
    };
    if statements.is_empty() {
        problems.push(at.problem(&["Statement"], "the policy has no statement").help("add a statement"));
    }
    let mut sids = BTreeSet::new();
    for (number, statement) in statements.into_iter().enumerate() {
        check_statement(number, statement, usage, &mut sids, &at, problems);
    }
    let text = document_text(value);
    let length = size(&text);
    if length > limit && template::references(&text).is_empty() {
        problems.push(
            at.problem(&[], format!("the policy has {length} characters, and AWS takes {limit} here"))
                .help("join statements that differ only in their action or resource, or split the policy"),
        );
    }
}

fn document_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// Where problems of a document are reported: the attribute, and below it where the document is a table of the stack.
struct Place<'a> {
    path: &'a [&'a str],
    file: bool,
}

impl Place<'_> {
    fn problem(&self, inside: &[&str], message: impl Into<String>) -> Problem {
        let (below, inside) = if self.file { (&[][..], inside) } else { (inside, &[][..]) };
        let owned = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<String>>();
        let path = [owned(self.path), owned(below)].concat();
        Problem { path, inside: owned(inside), ..Problem::at("", message) }
    }
}

/// The document; `None` where it is not known yet or no JSON.
fn parse(value: &Value, at: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Value> {
    let Value::String(text) = value else { return Some(value.clone()) };
    match serde_json::from_str(text) {
        Ok(document) => Some(document),
        // A document that is nothing but a reference is known later.
        Err(_) if text.trim_start().starts_with("${") => None,
        Err(error) => {
            let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().trim();
            problems.push(at.problem(&[], format!("the document is no JSON: {error}")).help(if line.is_empty() {
                "it is empty".into()
            } else {
                format!("look at: {line}")
            }));
            None
        }
    }
}

const STATEMENT_KEYS: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

fn check_statement(
    number: usize,
    statement: &Value,
    usage: PolicyUse,
    sids: &mut BTreeSet<String>,
    at: &Place<'_>,
    problems: &mut Vec<Problem>,
) {
    let index = number.to_string();
    let here = ["Statement", index.as_str()];
    let name = statement.get("Sid").and_then(Value::as_str);
    let title = match name {
        Some(sid) => format!("statement {} (`{sid}`)", number + 1),
        None => format!("statement {}", number + 1),
    };
    let Value::Object(statement) = statement else {
        problems.push(at.problem(&here, format!("{title} is no object")).help("write it as {\"Effect\": …}"));
        return;
    };
    let misspelled = check_keys(statement, STATEMENT_KEYS, &here, &title, at, problems);
    if let Some(sid) = name {
        if !sids.insert(sid.to_owned()) {
            problems.push(at.problem(&here, format!("{title}: another statement has this `Sid`")).help("rename one"));
        }
        if !sid.chars().all(|c| c.is_ascii_alphanumeric()) && !sid.contains("${") && usage != PolicyUse::Resource {
            problems.push(
                at.problem(&here, format!("{title}: a `Sid` has only letters and digits")).help("leave the rest out"),
            );
        }
    }
    match statement.get("Effect") {
        Some(Value::String(effect)) if effect == "Allow" || effect == "Deny" || effect.contains("${") => {}
        Some(other) => problems.push(
            at.problem(&[&here[..], &["Effect"]].concat(), format!("{title}: `Effect` is {other}"))
                .help("it is \"Allow\" or \"Deny\""),
        ),
        None if misspelled.contains("Effect") => {}
        None => problems.push(at.problem(&here, format!("{title} has no `Effect`")).help("add \"Effect\": \"Allow\"")),
    }
    let has = |one: &str| statement.contains_key(one) || misspelled.contains(one);
    let mut need = |one: &str, help: &str| {
        if !has(one) && !has(&format!("Not{one}")) {
            problems.push(at.problem(&here, format!("{title} has no `{one}`")).help(help));
        }
    };
    need("Action", "add the actions it is about: \"Action\": [\"ecr:GetAuthorizationToken\"]");
    if usage != PolicyUse::Trust {
        need("Resource", "add the ARNs it is about; \"*\" means every resource");
    }
    if usage != PolicyUse::Identity {
        need("Principal", "add who may: \"Principal\": {\"Service\": \"ec2.amazonaws.com\"}");
    }
    let mut refuse = |one: &str, why: &str| {
        for key in [one.to_owned(), format!("Not{one}")] {
            if statement.contains_key(&key) {
                let here = [&here[..], &[key.as_str()]].concat();
                problems.push(at.problem(&here, format!("{title} has a `{key}`: {why}")).help("remove it"));
            }
        }
    };
    if usage == PolicyUse::Identity {
        refuse("Principal", "a policy of a role is about whoever has the role");
    }
    if usage == PolicyUse::Trust {
        refuse("Resource", "the trust of a role is about the role itself");
    }
    for key in ["Action", "NotAction"] {
        for action in strings(statement.get(key)) {
            if action != "*" && !action.contains(':') && !action.contains("${") {
                problems.push(
                    at.problem(
                        &[&here[..], &[key, &format!("={action}")]].concat(),
                        format!("{title}: `{action}` is no action"),
                    )
                    .help("write it with its service: \"ecr:GetAuthorizationToken\""),
                );
            }
        }
    }
    for key in ["Resource", "NotResource"] {
        for resource in strings(statement.get(key)) {
            if resource != "*" && !resource.starts_with("arn:") && !resource.starts_with("${") {
                problems.push(
                    at.problem(
                        &[&here[..], &[key, &format!("={resource}")]].concat(),
                        format!("{title}: `{resource}` is no resource"),
                    )
                    .help("a resource is an ARN, a reference to one, or \"*\""),
                );
            }
        }
    }
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn check_keys<'k>(
    object: &Map<String, Value>,
    known: &[&'k str],
    here: &[&str],
    title: &str,
    at: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<&'k str> {
    let mut meant = BTreeSet::new();
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        let near = nearest(key, known.iter().copied());
        meant.extend(near);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it may have {}", known.join(", ")),
        };
        problems.push(at.problem(&[here, &[key]].concat(), format!("{title} has an unknown key `{key}`")).help(help));
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(value: &Value, usage: PolicyUse) -> Vec<String> {
        let mut problems = Vec::new();
        check_policy(value, &["document"], usage, 6144, &mut problems);
        problems.into_iter().map(|p| format!("{} | {}", p.message, p.help.unwrap_or_default())).collect()
    }

    #[test]
    fn one_meaning_has_one_text() {
        let ours = PolicyDocument::new(
            r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["s3:Put*", "s3:Get*", "s3:Get*"],
                "Resource": ["${bucket.main.arn}"], "Condition": {"Bool": {"aws:SecureTransport": true}}}}"#,
        );
        let theirs = PolicyDocument::new(
            r#"{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":["true"]}},"Resource":"${bucket.main.arn}",
                "Action":["s3:Get*","s3:Put*"],"Effect":"Allow"}],"Version":"2012-10-17"}"#,
        );
        assert_eq!(ours, theirs);
        assert_eq!(PolicyDocument::new(ours.as_str()), ours, "the canonical text is its own canonical text");
        assert!(ours.as_str().starts_with("{\n  \"Statement\": [\n    {\n      \"Action\": ["), "{}", ours.as_str());
    }

    #[test]
    fn an_account_is_its_root_user() {
        let by_number = json!({"Statement": [{"Principal": {"AWS": "123456789012"}}]});
        let by_arn = json!({"Statement": [{"Principal": {"AWS": ["arn:aws:iam::123456789012:root"]}}]});
        assert_eq!(PolicyDocument::new(&by_number.to_string()), PolicyDocument::new(&by_arn.to_string()));
    }

    #[test]
    fn a_table_is_a_document_too() {
        let table = json!({"Version": POLICY_VERSION, "Statement": []});
        let from_table: PolicyDocument = serde_json::from_value(table.clone()).unwrap();
        assert_eq!(from_table, PolicyDocument::new(&table.to_string()));
        assert!(serde_json::from_value::<PolicyDocument>(json!(3)).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let statement = json!({"Efect": "Allow", "Action": "GetObject", "Resource": "bucket", "Principal": "*"});
        let document = json!({"Version": "2024-01-01", "Statement": [statement]});
        let found = problems(&json!(document.to_string()), PolicyUse::Identity).join("\n");
        for part in [
            "`Version` is \"2024-01-01\"",
            "unknown key `Efect` | did you mean `Effect`?",
            "`GetObject` is no action",
            "`bucket` is no resource",
            "statement 1 has a `Principal`",
        ] {
            assert!(found.contains(part), "{part:?} is missing in:\n{found}");
        }
        let broken = problems(&json!("{\n  \"Version\": \"2012-10-17\",\n  oops\n}"), PolicyUse::Identity);
        assert!(broken[0].contains("line 3") && broken[0].contains("oops"), "{broken:?}");
    }

    #[test]
    fn references_are_no_problem() {
        let document = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "${vars.action}",
            "Resource": ["${repository.app.arn}", "arn:aws:s3:::${aws:username}"]}]}"#;
        assert_eq!(problems(&json!(document), PolicyUse::Identity), Vec::<String>::new());
        assert_eq!(problems(&json!("${stack.network.policy}"), PolicyUse::Identity), Vec::<String>::new());
    }

    #[test]
    fn size_is_limited() {
        let resources: Vec<String> =
            (0..200).map(|n| format!("arn:aws:s3:::a-bucket-with-a-long-name-{n}/*")).collect();
        let document = json!({"Version": POLICY_VERSION, "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": resources}]});
        assert!(problems(&document, PolicyUse::Identity)[0].contains("AWS takes 6144 here"));
    }
}
