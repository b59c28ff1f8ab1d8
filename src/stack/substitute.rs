//! Putting values into templates that stand in nodes.

use crate::graph::Reference;
use crate::graph::template::{self, Part};
use serde_json::Value;

use super::diagnostic::{Finding, Report};
use super::node::{Item, Node};
use super::source::{Place, Sources};

/// Stands where something wrong stood, once that is told: later checks find a value that is not known yet.
pub const UNREAD: &str = "${self.unread}";

/// Reports templates that cannot be read: an unclosed `${`, a reference that is none.
pub fn check_syntax(node: &Node, sources: &Sources, report: &mut Report) {
    node.each_text(&mut |text, place| {
        for part in template::parts(text) {
            match part {
                Part::Unclosed(at) => {
                    let rest = text[at..].lines().next().unwrap_or("${");
                    let opening = match sources.within(place, rest) {
                        found if found == place => sources.within(place, "${"),
                        found => Place { end: found.start + 2, ..found },
                    };
                    report.error(
                        Finding::at(opening, "this `${` is never closed")
                            .help("close it with `}`, or write `$${` for the two characters themselves"),
                    );
                }
                Part::Reference(inner, _) if !is_reference(inner) => {
                    let at = sources.within(place, &format!("${{{inner}}}"));
                    report.error(Finding::at(at, format!("`${{{inner}}}` is no reference")).help(format!(
                        "references look like ${{vpc.main.id}} or ${{vars.x}}; the text itself is `$${{{inner}}}`"
                    )));
                }
                _ => {}
            }
        }
    });
}

/// Whether what stands between `${` and `}` can be a reference at all.
pub fn is_reference(inner: &str) -> bool {
    Reference::parse(inner).is_some_and(|reference| {
        let text = reference.to_string();
        text.split('.').all(|segment| !segment.is_empty())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
    })
}

/// Puts in what `known` answers, in the desired space. A text that is one reference takes the value's own type, and a
/// list inside a list is spliced into it.
pub fn substitute(
    node: &mut Node,
    sources: &Sources,
    report: &mut Report,
    known: &mut dyn FnMut(&Reference, Place, &mut Report) -> Option<Value>,
) {
    match &mut node.item {
        Item::Text(text) => {
            if text.contains("${")
                && let Some(item) = substitute_text(text, node.place, sources, report, known)
            {
                node.item = item;
            }
        }
        Item::List(items) => {
            let mut out = Vec::with_capacity(items.len());
            for mut item in std::mem::take(items) {
                let was_text = matches!(item.item, Item::Text(_));
                substitute(&mut item, sources, report, known);
                match item.item {
                    Item::List(spliced) if was_text => out.extend(spliced),
                    _ => out.push(item),
                }
            }
            *items = out;
        }
        Item::Table(table) => {
            for entry in &mut table.entries {
                substitute(&mut entry.node, sources, report, known);
            }
        }
        _ => {}
    }
}

fn substitute_text(
    text: &str,
    place: Place,
    sources: &Sources,
    report: &mut Report,
    known: &mut dyn FnMut(&Reference, Place, &mut Report) -> Option<Value>,
) -> Option<Item> {
    let parts = template::parts(text);
    let mut ask = |inner: &str, report: &mut Report| {
        let at = sources.within(place, &format!("${{{inner}}}"));
        let reference = Reference::parse(inner).filter(|_| is_reference(inner))?;
        known(&reference, at, report).map(|value| (value, at))
    };
    if let [Part::Reference(inner, _)] = parts.as_slice() {
        return ask(inner, report).map(|(value, _)| Node::at(&value, place).item);
    }
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    for part in parts {
        match part {
            Part::Text("${") => out.push_str("$${"),
            Part::Text(piece) => out.push_str(piece),
            Part::Unclosed(at) => out.push_str(&text[at..]),
            Part::Reference(inner, range) => {
                let answer = ask(inner, report);
                changed |= answer.is_some();
                match answer {
                    Some((Value::String(value), _)) => out.push_str(&value),
                    Some((value @ (Value::Array(_) | Value::Object(_)), at)) => {
                        let is_a = if value.is_array() { "list" } else { "table" };
                        report.error(
                            Finding::at(at, format!("`${{{inner}}}` is a {is_a} and cannot stand inside a text"))
                                .help(format!("let it be the whole value: \"${{{inner}}}\"")),
                        );
                    }
                    Some((value, _)) => out.push_str(&value.to_string()),
                    None => out.push_str(&text[range]),
                }
            }
        }
    }
    changed.then_some(Item::Text(out))
}
