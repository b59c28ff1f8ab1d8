//! Renamings that the stack does not tell: what is made and what is deleted look alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Observations, Seen, Verb};
use crate::cloud::ADDRESS_TAG;
use crate::graph::{Address, Attributes, KindSpec, Reference, template};
use crate::state::State;

/// Something that is deleted and something that is made, and that look like one thing under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The address that goes: of a resource, or of a construct with all that it holds.
    pub from: Address,
    /// The address that comes.
    pub to: Address,
}

/// The share of attributes that are the same in things that look alike, as a fraction.
const ALIKE: (usize, usize) = (2, 3);

/// Plans that make and delete more than this are no renamings, and are not searched for any.
const MOST_PAIRS: usize = 10_000;

/// What a plan makes or deletes at one place: a resource, or a construct whole.
type Units<'a> = BTreeMap<&'a str, Vec<&'a Action>>;

/// What looks renamed in a plan. Where several look alike, none is taken.
pub(super) fn renames<'s>(
    actions: &[Action],
    state: &State,
    observed: Option<&Observations>,
    specs: &dyn Fn(&str) -> Option<&'s KindSpec>,
) -> Vec<Rename> {
    let made = units(actions, |action| action.action == Verb::Create && action.id.is_none());
    let gone = units(actions, |action| action.action == Verb::Delete && !action.deposed);
    if made.len() * gone.len() > MOST_PAIRS {
        return Vec::new();
    }
    let kind = |unit: &str| unit.split('.').next().map(str::to_owned);
    let mut pairs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (to, new) in &made {
        for (from, old) in gone.iter().filter(|(from, _)| kind(from) == kind(to)) {
            if bears_address(old, (from, to), observed) || look_alike((from, old), (to, new), state, specs) {
                pairs.entry(to).or_default().push(from);
            }
        }
    }
    let is_told_once = |from: &str| pairs.values().filter(|all| all.contains(&from)).count() == 1;
    let one = |(to, from): (&&str, &Vec<&str>)| match from.as_slice() {
        [from] if is_told_once(from) => Some(Rename { from: Address::parse(from).ok()?, to: Address::parse(to).ok()? }),
        _ => None,
    };
    pairs.iter().filter_map(one).collect()
}

/// The places at which everything is so.
fn units(actions: &[Action], is_so: impl Fn(&Action) -> bool) -> Units<'_> {
    let unit =
        |action: &'_ Action| -> String { action.address.construct().unwrap_or(action.address.as_str()).to_owned() };
    let others: BTreeSet<String> = actions.iter().filter(|action| !is_so(action) && stands(action)).map(unit).collect();
    let mut out = Units::new();
    for action in actions.iter().filter(|action| is_so(action)) {
        let unit = action.address.construct().unwrap_or(action.address.as_str());
        if !others.contains(unit) {
            out.entry(unit).or_default().push(action);
        }
    }
    out
}

/// Whether an action is about something that stands and stays.
fn stands(action: &Action) -> bool {
    !matches!(action.action, Verb::Read | Verb::Forget) && !action.deposed
}

/// Whether what is deleted says itself, by its tags, that it is what is made: the state is older than the cloud.
fn bears_address(old: &[&Action], (from, to): (&str, &str), observed: Option<&Observations>) -> bool {
    old.iter().any(|action| {
        let rest = action.address.as_str().strip_prefix(from);
        let Some(Seen::Present(seen)) = observed.and_then(|observed| observed.resources.get(&action.address)) else {
            return false;
        };
        let borne = seen.attributes.get("tags").and_then(|tags| tags.get(ADDRESS_TAG)).and_then(Value::as_str);
        rest.is_some() && borne.and_then(|borne| borne.strip_prefix(to)) == rest
    })
}

fn look_alike<'s>(
    (from, old): (&str, &[&Action]),
    (to, new): (&str, &[&Action]),
    state: &State,
    specs: &dyn Fn(&str) -> Option<&'s KindSpec>,
) -> bool {
    let last = |unit: &str| unit.split_once('.').map_or_else(String::new, |(_, name)| name.to_owned());
    let words = Words { from: &last(from), to: &last(to) };
    let (mut same, mut all) = (0, 0);
    for action in new {
        let Some(spec) = specs(&action.kind) else { continue };
        let rest = action.address.as_str().strip_prefix(to).unwrap_or_default();
        let before = old.iter().find(|one| one.address.as_str().strip_prefix(from) == Some(rest));
        let Some(before) = before else {
            all += action.attributes.len();
            continue;
        };
        let mut known = |reference: &Reference| {
            let target = match reference.target.strip_prefix(to) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{from}{rest}"),
                _ => reference.target.clone(),
            };
            let id = || state.resources.get(target.as_str()).map(|entry| Value::from(entry.id.as_str()));
            match reference.attribute.as_str() {
                "id" => id(),
                attribute => state.answer(&Reference { target, attribute: attribute.to_owned() }),
            }
        };
        let wanted = template::resolve_all(&action.attributes, &mut known);
        let (one, of) = agreement(spec, &words.back(wanted), &before.current);
        same += one;
        all += of;
    }
    // What was held there and comes no more differs in all that it is.
    let is_kept = |one: &&&Action| {
        let rest = one.address.as_str().strip_prefix(from);
        new.iter().any(|action| action.address.as_str().strip_prefix(to) == rest)
    };
    all += old.iter().filter(|one| !is_kept(one)).map(|one| one.current.len()).sum::<usize>();
    same * ALIKE.1 >= all * ALIKE.0
}

/// How many of all attributes are the same; names and tags are left out.
fn agreement(spec: &KindSpec, wanted: &Attributes, current: &Attributes) -> (usize, usize) {
    let is_name = |name: &str| name == "tags" || spec.naming.is_some_and(|naming| naming.attribute == name);
    let all: BTreeSet<&String> = wanted.keys().chain(current.keys()).filter(|name| !is_name(name)).collect();
    let same = all.iter().filter(|name| match (wanted.get(**name), current.get(**name)) {
        (Some(wanted), Some(current)) => super::same(wanted, current),
        _ => false,
    });
    (same.count(), all.len())
}

/// A name and the one that it had.
struct Words<'w> {
    from: &'w str,
    to: &'w str,
}

impl Words<'_> {
    /// Attributes with the former name wherever the new one stands in them as a word.
    fn back(&self, attributes: Attributes) -> Attributes {
        attributes.into_iter().map(|(name, value)| (name, self.value(value))).collect()
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (self.text(&key), self.value(item))).collect(),
            other => other,
        }
    }

    fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for (at, _) in text.match_indices(self.to).filter(|_| !self.to.is_empty()) {
            let (before, after) = (&text[..at], &text[at + self.to.len()..]);
            let is_word = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
            out.push_str(&text[done..at]);
            out.push_str(if is_word { self.from } else { self.to });
            done = at + self.to.len();
        }
        out + &text[done..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_put_back() {
        let words = Words { from: "old", to: "web" };
        for (text, wanted) in [
            ("web", "old"),
            ("shop-web/web:web", "shop-old/old:old"),
            ("webweb", "webweb"),
            ("awebweb web", "awebweb old"),
            ("webs web", "webs old"),
            ("", ""),
        ] {
            assert_eq!(words.text(text), wanted, "{text}");
        }
    }
}
