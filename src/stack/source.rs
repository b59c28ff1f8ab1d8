//! The texts that a stack is made of, and places in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::locate::locate;
use super::node::Node;

/// A range of bytes in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which file, in the order in which they were read; 0 is the stack file.
    pub file: usize,
    /// The first byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
}

impl Place {
    /// A place in a file.
    pub fn new(file: usize, span: std::ops::Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end.max(span.start) }
    }
}

/// One text with its name.
#[derive(Debug)]
struct Source {
    name: String,
    text: Arc<str>,
}

/// Every text that was read.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
    /// Documents that were written as tables and are texts by now.
    documents: Vec<Node>,
    /// Where each variable has its value from.
    pub variables: BTreeMap<String, Origin>,
}

/// Where a variable has its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The stack, here.
    Default(Place),
    /// From outside, in this way.
    Given(String),
}

impl Sources {
    /// Adds a text; gives its number.
    pub fn add(&mut self, name: &str, text: &str) -> usize {
        if let Some(known) = self.all.iter().position(|source| source.name == name) {
            return known;
        }
        self.all.push(Source { name: name.to_owned(), text: text.into() });
        self.all.len() - 1
    }

    /// Keeps a document that was written as a table, for places inside it.
    pub fn keep(&mut self, document: Node) {
        self.documents.push(document);
    }

    /// The place inside the document that stands at a place, as far as it can be told.
    pub fn inside(&self, place: Place, way: &[String]) -> Place {
        if let Some(document) = self.documents.iter().find(|document| document.place == place) {
            return document.find(way, &serde_json::Value::Null, place);
        }
        let text = self.slice(place);
        let start = text.find('{').unwrap_or_default();
        match locate(&text[start..], way) {
            Some(found) => Place::new(place.file, place.start + start + found.start..place.start + start + found.end),
            None => place,
        }
    }

    /// Names and texts, in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|source| (source.name.as_str(), source.text.as_ref()))
    }

    /// A file's name.
    pub fn name(&self, file: usize) -> &str {
        self.all.get(file).map_or("", |source| &source.name)
    }

    /// A file's text.
    pub fn text(&self, file: usize) -> Arc<str> {
        self.all.get(file).map_or_else(|| "".into(), |source| source.text.clone())
    }

    fn slice(&self, place: Place) -> &str {
        self.all.get(place.file).and_then(|source| source.text.get(place.start..place.end)).unwrap_or("")
    }

    /// Whether the text at a place begins with this, its quotation mark aside.
    pub fn begins_with(&self, place: Place, piece: &str) -> bool {
        self.slice(place).trim_start_matches(['"', '\'']).starts_with(piece)
    }

    /// The variable that stands at a place, whole, and where it has its value from.
    pub fn variable(&self, place: Place) -> Option<(&str, Option<&Origin>)> {
        let inner = self.slice(place).trim_matches(['"', '\'']).strip_prefix("${vars.")?.strip_suffix('}')?;
        let is_quoted = self.slice(place).starts_with(['"', '\'']);
        let name = inner.split('.').next().unwrap_or(inner);
        (is_quoted && !inner.contains(['$', '}'])).then(|| (name, self.variables.get(name)))
    }

    /// Where a piece of text stands inside a place: the place itself where it is not found (it was written with
    /// escapes, or came from elsewhere).
    pub fn within(&self, place: Place, piece: &str) -> Place {
        let found = |place: Place| {
            let at = self.slice(place).find(piece)?;
            Some(Place::new(place.file, place.start + at..place.start + at + piece.len()))
        };
        // What comes from a variable stands where that has its value.
        let of_variable = || match self.variable(place) {
            Some((_, Some(Origin::Default(default)))) => found(*default),
            _ => None,
        };
        found(place).or_else(of_variable).unwrap_or(place)
    }

    /// The place cut to its first line, so that an excerpt stays short, and moved onto whole characters.
    pub fn first_line(&self, place: Place) -> Place {
        let Some(source) = self.all.get(place.file) else { return place };
        let text = &source.text;
        let start = text.floor_char_boundary(place.start.min(text.len()));
        let end = text.ceil_char_boundary(place.end.min(text.len())).max(start);
        let line = text[start..end].find('\n').map_or(end, |at| start + at);
        Place::new(place.file, start..line)
    }

    /// Line and column of a place, both counted from 1, the column in characters.
    pub fn position(&self, place: Place) -> (usize, usize) {
        let Some(source) = self.all.get(place.file) else { return (1, 1) };
        let before = &source.text[..source.text.floor_char_boundary(place.start.min(source.text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}
