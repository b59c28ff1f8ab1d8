//! Secret values, and what stands for them.
//!
//! A value itself is held in [`Secrets`] alone, in a type that cannot be printed or serialized. In the graph, the plan, the
//! state and the journal a mark stands in its place, `(secret NAME DIGEST)`. The digest is an HMAC under a random key that
//! belongs to the state ([`Seal`]): it tells whether the value is another one, and says nothing to who has not got the key.
//! Whoever has the state has the key too, and can try guesses against the digest: a secret has to be one that cannot be
//! guessed. Only the call that sends the value asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

const OPEN: &str = "(secret ";

/// A mark, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The variable whose value it stands for.
    pub name: &'a str,
    /// The digest of the value; none before it is sealed.
    pub digest: Option<&'a str>,
}

impl<'a> Mark<'a> {
    /// The mark that a text is, if it is one and nothing else.
    pub fn parse(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix(OPEN)?.strip_suffix(')')?;
        let (name, digest) = match inner.split_once(' ') {
            Some((name, digest)) => (name, Some(digest)),
            None => (inner, None),
        };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let is_digest = digest.is_none_or(|digest| {
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        });
        (is_name && is_digest).then_some(Self { name, digest })
    }

    /// The mark that a value is.
    pub fn of(value: &'a Value) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
}

impl fmt::Display for Mark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest {
            Some(digest) => write!(f, "{OPEN}{} {digest})", self.name),
            None => write!(f, "{OPEN}{})", self.name),
        }
    }
}

/// Takes the digests out of all marks in a value: people and programs that read plans need not see them.
pub fn without_digests(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(Mark { name, digest: Some(_) }) = Mark::parse(text) {
                *text = Mark { name, digest: None }.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_digests),
        Value::Object(map) => map.values_mut().for_each(without_digests),
        _ => {}
    }
}

/// The key under which a state's digests are made: 96 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seal(String);

impl Seal {
    /// A random one, with more than 256 random bits in it.
    pub fn random() -> Self {
        Self([(); 3].map(|()| uuid::Uuid::new_v4().simple().to_string()).concat())
    }

    /// The mark of a variable with this value.
    fn mark(&self, name: &str, value: &SecretString) -> String {
        let mut text = Mark { name, digest: None }.to_string();
        // A key of any length is taken.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) {
            for part in [name, value.expose_secret()] {
                mac.update(&(part.len() as u64).to_le_bytes());
                mac.update(part.as_bytes());
            }
            let digest = crate::state::hexadecimal(&mac.finalize().into_bytes());
            text = Mark { name, digest: Some(&digest) }.to_string();
        }
        text
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// The secret variables of a stack, and the values of those that have one.
#[derive(Default)]
pub struct Secrets {
    declared: BTreeSet<String>,
    values: BTreeMap<String, SecretString>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({:?})", self.declared)
    }
}

impl Secrets {
    /// Takes in a variable, with its value where it has one.
    pub fn declare(&mut self, name: &str, value: Option<String>) {
        self.declared.insert(name.to_owned());
        if let Some(value) = value {
            self.values.insert(name.to_owned(), value.into());
        }
    }

    /// Whether the stack declares none.
    pub fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }

    /// The names of all that are declared.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(String::as_str)
    }

    /// The value that a mark stands for; `None` where the variable has none now. What this gives must go nowhere but into
    /// the call that sends it.
    pub fn reveal(&self, mark: &str) -> Option<&str> {
        Some(self.values.get(Mark::parse(mark)?.name)?.expose_secret())
    }

    /// A text without the values of any secret in it: a service's error may repeat what it was sent.
    pub fn redacted(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, value) in &self.values {
            let value = value.expose_secret();
            if !value.is_empty() && out.contains(value) {
                out = out.replace(value, &Mark { name, digest: None }.to_string());
            }
        }
        out
    }

    /// A value with its marks sealed. A variable without a value now is believed to be what it was in `before`; where there
    /// was nothing, its name is added to `missing`.
    pub fn sealed(&self, seal: &Seal, value: &Value, before: Option<&Value>, missing: &mut BTreeSet<String>) -> Value {
        let Some(mark) = Mark::of(value).filter(|mark| self.declared.contains(mark.name)) else { return value.clone() };
        match (self.values.get(mark.name), before.and_then(Mark::of)) {
            (Some(given), _) => seal.mark(mark.name, given).into(),
            (None, Some(before)) if before.name == mark.name => before.to_string().into(),
            (None, _) => {
                missing.insert(mark.name.to_owned());
                value.clone()
            }
        }
    }

    /// The variables whose values are others than those that these marks were made for.
    pub fn moved(&self, seal: &Seal, marks: &Value) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let mut look = |mark: Mark<'_>| {
            if let Some(value) = self.values.get(mark.name)
                && seal.mark(mark.name, value) != mark.to_string()
            {
                out.insert(mark.name.to_owned());
            }
        };
        each_mark(marks, &mut look);
        out
    }
}

fn each_mark(value: &Value, found: &mut impl FnMut(Mark<'_>)) {
    match value {
        Value::String(text) => Mark::parse(text).into_iter().for_each(found),
        Value::Array(items) => items.iter().for_each(|item| each_mark(item, found)),
        Value::Object(map) => map.values().for_each(|item| each_mark(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.declare("password", Some("hunter2".to_owned()));
        secrets.declare("token", None);
        secrets
    }

    #[test]
    fn a_mark_tells_another_value_and_not_which() {
        let (one, other) = (Seal::random(), Seal::random());
        let seal = |seal: &Seal, value: &str| {
            let mut secrets = Secrets::default();
            secrets.declare("password", Some(value.to_owned()));
            secrets.sealed(seal, &json!("(secret password)"), None, &mut BTreeSet::new())
        };
        assert_eq!(seal(&one, "hunter2"), seal(&one, "hunter2"));
        assert_ne!(seal(&one, "hunter2"), seal(&one, "hunter3"));
        assert_ne!(seal(&one, "hunter2"), seal(&other, "hunter2"), "each state has a key of its own");
        let marked = seal(&one, "hunter2");
        assert_eq!(Mark::of(&marked).map(|mark| mark.name), Some("password"));
        assert!(!marked.to_string().contains("hunter2"));
        assert_eq!(secrets().moved(&one, &json!([{ "a": marked }])), BTreeSet::new());
        assert_eq!(secrets().moved(&other, &json!([{ "a": marked }])), BTreeSet::from(["password".to_owned()]));
    }

    #[test]
    fn nothing_prints_a_value() {
        let secrets = secrets();
        assert_eq!(format!("{secrets:?} {:?}", Seal::random()), r#"Secrets({"password", "token"}) Seal"#);
        assert_eq!(secrets.redacted("value 'hunter2' is too weak"), "value '(secret password)' is too weak");
        assert_eq!(secrets.reveal("(secret password)"), Some("hunter2"));
        assert_eq!((secrets.reveal("(secret token)"), secrets.reveal("hunter2")), (None, None));
    }

    #[test]
    fn a_value_that_is_not_given_is_what_it_was() {
        let (secrets, seal) = (secrets(), Seal::random());
        let was = json!(format!("(secret token {})", "0".repeat(64)));
        let mut missing = BTreeSet::new();
        assert_eq!(secrets.sealed(&seal, &json!("(secret token)"), Some(&was), &mut missing), was);
        assert!(missing.is_empty());
        secrets.sealed(&seal, &json!("(secret token)"), Some(&json!("else")), &mut missing);
        assert_eq!(missing, BTreeSet::from(["token".to_owned()]));
    }

    #[test]
    fn what_is_no_mark_is_left_alone() {
        for text in ["", "(secret )", "(secret a b)", "(secret a", "x(secret a)", "(secret a/b)"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
        let mut value = json!({ "a": [format!("(secret p {})", "f".repeat(64))], "b": "text" });
        without_digests(&mut value);
        assert_eq!(value, json!({ "a": ["(secret p)"], "b": "text" }));
    }
}
