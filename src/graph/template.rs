//! Templates: strings that may hold references, `${kind.name.attribute}`.
//!
//! Values live in one of two spaces. *Desired* values are templates: `${vpc.main.id}` is a reference and `$${` stands
//! for a literal `${`. *State* and *observed* values are literal. [`resolve`] goes from the first space towards the
//! second, one known reference at a time; [`literal`] crosses over once nothing is left unknown.
//!
//! `${aws:username}` and everything else with a colon in it is an IAM policy variable and stays as it is.

use serde_json::Value;

use super::{Address, Attributes};

/// A reference found in a template: an attribute of a resource, a construct or a variable scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// What stands before the last dot: `vpc.main`, `network.main/subnet.private.a`, `vars`, `stack.network`.
    pub target: String,
    /// What stands behind the last dot.
    pub attribute: String,
}

impl Reference {
    /// The reference written between `${` and `}`; `None` where there is no dot to part target and attribute.
    pub fn parse(text: &str) -> Option<Self> {
        let (target, attribute) = text.trim().rsplit_once('.')?;
        (!target.is_empty() && !attribute.is_empty())
            .then(|| Self { target: target.to_owned(), attribute: attribute.to_owned() })
    }

    /// The target as the address of a resource; `None` for a scope such as `vars`.
    pub fn address(&self) -> Option<Address> {
        Address::parse(&self.target).ok()
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.target, self.attribute)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Literal text, escapes removed.
    Text(&'a str),
    /// What stands between `${` and `}`, and where in the template that is, in bytes.
    Reference(&'a str, std::ops::Range<usize>),
    /// A `${` without its `}`, at this byte.
    Unclosed(usize),
}

/// The pieces of a template, in order.
pub fn parts(template: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = 0;
    let mut from = 0;
    while let Some(found) = template[from..].find("${") {
        let at = from + found;
        if template[..at].ends_with('$') {
            // `$${`: keep one dollar and the brace as text.
            if at - 1 > rest {
                out.push(Part::Text(&template[rest..at - 1]));
            }
            out.push(Part::Text("${"));
            rest = at + 2;
            from = rest;
            continue;
        }
        let Some(length) = template[at..].find('}') else {
            if at > rest {
                out.push(Part::Text(&template[rest..at]));
            }
            out.push(Part::Unclosed(at));
            return out;
        };
        let inner = &template[at + 2..at + length];
        from = at + length + 1;
        if inner.contains(':') {
            continue;
        }
        if at > rest {
            out.push(Part::Text(&template[rest..at]));
        }
        out.push(Part::Reference(inner, at..from));
        rest = from;
    }
    if rest < template.len() {
        out.push(Part::Text(&template[rest..]));
    }
    out
}

/// Whether a string of the desired space holds nothing to resolve and nothing escaped.
fn is_plain(text: &str) -> bool {
    !text.contains("${")
}

/// The references of one template, in order.
pub fn references(template: &str) -> Vec<Reference> {
    if is_plain(template) {
        return Vec::new();
    }
    parts(template)
        .into_iter()
        .filter_map(|part| match part {
            Part::Reference(text, _) => Reference::parse(text),
            _ => None,
        })
        .collect()
}

/// Calls `found` for every reference anywhere in a value.
pub fn each_reference(value: &Value, found: &mut impl FnMut(Reference)) {
    match value {
        Value::String(text) => references(text).into_iter().for_each(found),
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, found)),
        Value::Object(map) => map.values().for_each(|item| each_reference(item, found)),
        _ => {}
    }
}

/// The first reference in a value: what an unknown value is waiting for.
pub fn first_reference(value: &Value) -> Option<Reference> {
    let mut first = None;
    each_reference(value, &mut |reference| {
        first.get_or_insert(reference);
    });
    first
}

/// Whether a desired value still holds a reference.
pub fn is_unknown(value: &Value) -> bool {
    match value {
        Value::String(text) => !is_plain(text) && !references(text).is_empty(),
        Value::Array(items) => items.iter().any(is_unknown),
        Value::Object(map) => map.values().any(is_unknown),
        _ => false,
    }
}

/// Whether a desired value holds a reference or an escape anywhere: whether resolving it can change it.
pub fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => !is_plain(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(map) => map.values().any(has_template),
        _ => false,
    }
}

/// A literal string as a template that means it.
pub fn escape(literal: &str) -> String {
    if is_plain(literal) { literal.to_owned() } else { literal.replace("${", "$${") }
}

/// A literal value as a desired value that means it.
pub fn escape_value(literal: &Value) -> Value {
    match literal {
        Value::String(text) => Value::String(escape(text)),
        Value::Array(items) => items.iter().map(escape_value).collect(),
        Value::Object(map) => map.iter().map(|(key, item)| (key.clone(), escape_value(item))).collect(),
        other => other.clone(),
    }
}

/// A desired value with every reference that `known` answers put in. A string that is nothing but one reference takes
/// the value's own type, and a list in a list is spliced into it; what `known` does not answer stays a reference.
pub fn resolve(value: &Value, known: &mut impl FnMut(&Reference) -> Option<Value>) -> Value {
    match value {
        Value::String(text) if is_plain(text) => value.clone(),
        Value::String(text) => resolve_text(text, known),
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                match (item, resolve(item, known)) {
                    (Value::String(_), Value::Array(spliced)) => out.extend(spliced),
                    (_, resolved) => out.push(resolved),
                }
            }
            Value::Array(out)
        }
        Value::Object(map) => map.iter().map(|(key, item)| (key.clone(), resolve(item, known))).collect(),
        other => other.clone(),
    }
}

/// The same for all of a resource's attributes.
pub fn resolve_all(attributes: &Attributes, known: &mut impl FnMut(&Reference) -> Option<Value>) -> Attributes {
    attributes.iter().map(|(name, value)| (name.clone(), resolve(value, known))).collect()
}

fn resolve_text(text: &str, known: &mut impl FnMut(&Reference) -> Option<Value>) -> Value {
    let parts = parts(text);
    if let [Part::Reference(inner, _)] = parts.as_slice() {
        return match Reference::parse(inner).and_then(|reference| known(&reference)) {
            Some(value) => escape_value(&value),
            None => Value::String(text.to_owned()),
        };
    }
    let mut out = String::with_capacity(text.len());
    for part in parts {
        match part {
            Part::Text("${") => out.push_str("$${"),
            Part::Text(piece) => out.push_str(piece),
            Part::Unclosed(at) => out.push_str(&text[at..]),
            Part::Reference(inner, range) => match Reference::parse(inner).and_then(|reference| known(&reference)) {
                Some(Value::String(value)) => out.push_str(&escape(&value)),
                Some(Value::Null) | None => out.push_str(&text[range]),
                Some(other) => out.push_str(&escape(&other.to_string())),
            },
        }
    }
    Value::String(out)
}

/// A desired value as a literal one; `None` where a reference is still in it.
pub fn literal(value: &Value) -> Option<Value> {
    Some(match value {
        Value::String(text) if is_plain(text) => value.clone(),
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            for part in parts(text) {
                match part {
                    Part::Text(piece) => out.push_str(piece),
                    Part::Unclosed(at) => out.push_str(&text[at..]),
                    Part::Reference(..) => return None,
                }
            }
            Value::String(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(literal).collect::<Option<_>>()?),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| Some((key.clone(), literal(item)?))).collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn escapes_and_policy_variables_survive() {
        let text = "a $${x} ${aws:username} ${vpc.main.id}";
        assert_eq!(references(text).iter().map(ToString::to_string).collect::<Vec<_>>(), ["vpc.main.id"]);
        let resolved = resolve(&json!(text), &mut |_| Some(json!("vpc-${1}")));
        assert_eq!(literal(&resolved), Some(json!("a ${x} ${aws:username} vpc-${1}")));
    }

    #[test]
    fn a_whole_reference_keeps_its_type_and_lists_are_spliced() {
        let mut known = |r: &Reference| (r.attribute == "ids").then(|| json!(["a", "b"]));
        assert_eq!(resolve(&json!(["x", "${net.main.ids}"]), &mut known), json!(["x", "a", "b"]));
        assert_eq!(resolve(&json!("${net.main.none}"), &mut known), json!("${net.main.none}"));
        assert!(is_unknown(&json!({"a": ["${net.main.none}"]})));
        assert_eq!(literal(&json!("${net.main.none}")), None);
    }
}
