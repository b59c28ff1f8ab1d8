//! Addresses: the one way in which resources are named, shown, targeted and referenced.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a resource stands in a stack: `kind.name`, or `construct.name/kind.name` for a resource that a construct
/// expanded into. The name may itself hold dots (`network.main/subnet.private.a`); the kind may not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Arc<str>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: {why} (an address looks like vpc.main or network.main/subnet.private.a)")]
pub struct BadAddress {
    text: String,
    why: &'static str,
}

impl Address {
    /// An address from its text.
    ///
    /// # Errors
    /// Where a segment lacks its kind or name, or holds a character other than letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = |why| BadAddress { text: text.to_owned(), why };
        let mut segments = 0;
        for segment in text.split('/') {
            segments += 1;
            let (kind, name) = segment.split_once('.').ok_or_else(|| bad("a segment needs a kind and a name"))?;
            if kind.is_empty() || name.split('.').any(str::is_empty) {
                return Err(bad("a kind or name is empty"));
            }
            if !segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
                return Err(bad("only letters, digits, `-`, `_` and `.` are allowed"));
            }
        }
        if segments > 2 {
            return Err(bad("it has more than two segments"));
        }
        Ok(Self { text: text.into() })
    }

    /// The address `kind.name` at the top level of a stack. The parts must already be valid (see [`Address::parse`]).
    pub fn new(kind: &str, name: &str) -> Self {
        Self { text: format!("{kind}.{name}").into() }
    }

    /// The address of a resource below this construct.
    pub fn child(&self, kind: &str, name: &str) -> Self {
        Self { text: format!("{}/{kind}.{name}", self.text).into() }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last segment: `subnet.private.a` of `network.main/subnet.private.a`.
    fn last(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or(&self.text)
    }

    /// The kind: `subnet` of `network.main/subnet.private.a`.
    pub fn kind(&self) -> &str {
        self.last().split('.').next().unwrap_or_default()
    }

    /// The name within its kind: `private.a` of `network.main/subnet.private.a`.
    pub fn name(&self) -> &str {
        self.last().split_once('.').map_or("", |(_, name)| name)
    }

    /// The construct that the resource belongs to: `network.main` of `network.main/subnet.private.a`.
    pub fn construct(&self) -> Option<&str> {
        self.text.split_once('/').map(|(construct, _)| construct)
    }

    /// Whether `target` selects this address: the address itself, or the construct it stands below.
    pub fn is_within(&self, target: &str) -> bool {
        self.as_str() == target || self.construct() == Some(target)
    }

    /// The parts that make a name for the cloud: `main-private-a` of `network.main/subnet.private.a`.
    pub fn slug(&self) -> String {
        let own = self.name().replace('.', "-");
        match self.construct().and_then(|c| c.split_once('.')) {
            Some((_, construct)) => format!("{}-{own}", construct.replace('.', "-")),
            None => own,
        }
    }
}

impl std::borrow::Borrow<str> for Address {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_nested_address() {
        let a = Address::parse("network.main/subnet.private.a").unwrap();
        assert_eq!((a.kind(), a.name(), a.construct()), ("subnet", "private.a", Some("network.main")));
        assert_eq!(a.slug(), "main-private-a");
        assert!(a.is_within("network.main") && !a.is_within("network.mai"));
    }

    #[test]
    fn what_is_no_address() {
        for text in ["", "vpc", "vpc.", ".main", "vpc.a b", "a.b/c.d/e.f", "vpc.a..b", "vpc.é"] {
            assert!(Address::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
